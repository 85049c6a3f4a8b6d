//! `sim replay` as a command: its output and exit for every end of a term and every wrong argument. The tests of
//! `adapters/engine` and `tests/` replay recordings of real servers.

mod recorded;

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use recorded::{Server, data, recording, rewrite};
use tidemark_record::{Item, RecordedInput, file};

const DATABASE: [u8; 16] = [7; 16];

/// One test at a time: a child process holds, between fork and exec, the locks of all open data directories.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the command: whether it succeeded, and what it printed.
fn replay(recording: &Path, data: &Path, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    let output = command.arg("replay").arg(recording).arg("--data").arg(data).args(more).output().unwrap();
    assert!(output.status.code().is_some(), "it ends by itself: {output:?}");
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// Replays all recordings of a directory, expects success, and returns the line of each term.
fn replayed(directory: &Path) -> Vec<String> {
    let (passed, printed) = replay(&recording(directory), &data(directory), &[]);
    assert!(passed, "{printed}");
    let mut lines: Vec<String> = printed.lines().map(String::from).collect();
    let last = lines.pop().expect("a verdict");
    assert!(last.starts_with(&format!("REPLAYED: {} terms, ", lines.len())), "{last}");
    lines
}

/// Expects a refusal, and these words in it.
fn refused(recording: &Path, data: &Path, words: &[&str]) {
    let (passed, printed) = replay(recording, data, &[]);
    assert!(!passed && printed.starts_with("NOT REPLAYED: "), "{printed}");
    for word in words {
        assert!(printed.contains(word), "{word:?} is not said: {printed}");
    }
}

fn loaded(directory: &Path) -> Server {
    let mut server = Server::open(directory, DATABASE);
    server.load();
    assert_eq!(server.rows(), 9);
    server
}

#[test]
fn terms_end_as_they_ended() {
    let (_alone, directory) = (alone(), tempfile::tempdir().unwrap());
    loaded(directory.path()).stop();
    loaded(directory.path()).halt("the disk is gone");
    loaded(directory.path()).panic();
    loaded(directory.path()).kill();
    let lines = replayed(directory.path());
    let ends = [
        "; stopped cleanly;",
        "halted: the disk is gone",
        "panicked, as recorded: only appended records can be durable",
        "killed (0 bytes of a torn frame)",
    ];
    assert_eq!(lines.len(), ends.len());
    for ((term, line), end) in (1..).zip(&lines).zip(ends) {
        assert!(line.starts_with(&format!("term {term}: ")) && line.contains(end), "{end}: {line}");
    }
    assert!(lines[0].contains(" 9 rows from the log"), "{}", lines[0]);
    // One of them alone, and a missing one.
    let (passed, printed) = replay(&recording(directory.path()), &data(directory.path()), &["--term", "3"]);
    assert!(
        passed && printed.starts_with("term 3: ") && printed.contains("\nREPLAYED: 1 terms"),
        "{printed}"
    );
    let (passed, printed) = replay(&recording(directory.path()), &data(directory.path()), &["--term", "9"]);
    assert!(!passed && printed.contains("holds no recording"), "{printed}");
}

#[test]
fn rows_that_died_with_the_process_end_a_replay_and_are_told() {
    let (_alone, directory) = (alone(), tempfile::tempdir().unwrap());
    let mut server = Server::open(directory.path(), DATABASE);
    server.deaf = true;
    server.load();
    server.kill();
    // The next process begins where the log ends, and loads them again.
    loaded(directory.path()).stop();
    let lines = replayed(directory.path());
    let lost = "killed before record 8, whose rows were lost with the process; record 5, ";
    assert!(lines[0].contains(lost), "{}", lines[0]);
    assert!(lines[1].contains("; stopped cleanly;"), "{}", lines[1]);
}

#[test]
fn what_cannot_be_replayed_is_refused_by_name() {
    let (_alone, directory) = (alone(), tempfile::tempdir().unwrap());
    let (here, other) = (directory.path().join("here"), directory.path().join("other"));
    loaded(&here).stop();
    let mut another = Server::open(&other, [8; 16]);
    another.load();
    another.stop();
    let files = file::list(&recording(&here)).unwrap();
    let missing = directory.path().join("missing.tmrec");
    refused(&missing, &data(&here), &["missing.tmrec", "No such file"]);
    let garbage = directory.path().join("garbage.tmrec");
    std::fs::write(&garbage, "not a recording, and longer than a header would be").unwrap();
    refused(&garbage, &data(&here), &["garbage.tmrec is no recording of tidemark"]);
    let empty = directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&empty, &data(&here), &["empty holds no recording"]);
    // Data directories: not there, nothing in it, another database's.
    refused(&files[0], &directory.path().join("nowhere"), &["the log in the data directory", "nowhere"]);
    refused(&files[0], &empty, &["the log in the data directory"]);
    refused(&files[0], &data(&other), &["is of another database than", "other"]);
    // A file with an incomplete header.
    let bytes = std::fs::read(&files[0]).unwrap();
    let torn = directory.path().join("torn.tmrec");
    std::fs::write(&torn, &bytes[..40]).unwrap();
    refused(&torn, &data(&here), &["torn.tmrec is damaged at offset"]);
}

#[test]
fn a_difference_and_another_version_are_told() {
    let (_alone, directory) = (alone(), tempfile::tempdir().unwrap());
    loaded(directory.path()).stop();
    let path = file::list(&recording(directory.path())).unwrap().remove(0);
    // Another version with the same results is not a failure, and is reported.
    rewrite(&path, |header, _| header.kernel = "0.0.1".into());
    let lines = replayed(directory.path());
    let this = kernel::VERSION;
    let told = format!("kernel 0.0.1 was recorded and kernel {this} replays it");
    assert!(lines[0].contains(&told), "{}", lines[0]);
    // A difference is reported with the versions.
    rewrite(&path, |_, items| {
        let synced = |item: &Item| matches!(item, Item::Input { input: RecordedInput::Synced(_), .. });
        let at = items.iter().rposition(synced).expect("records were synced");
        items.remove(at);
    });
    refused(&path, &data(directory.path()), &[" step ", "expected ", ", saw ", &told]);
    // For this version there is no remark.
    rewrite(&path, |header, _| header.kernel = this.into());
    let (passed, printed) = replay(&path, &data(directory.path()), &[]);
    assert!(!passed && !printed.contains("was recorded and kernel"), "{printed}");
}
