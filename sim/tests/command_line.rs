//! The simulator's command line: an interrupt ends a run with its summary, and a page of a run is written.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

fn sim() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sim"))
}

#[test]
fn an_interrupt_ends_a_run_with_its_summary() {
    let mut child = sim()
        .args(["run", "--seeds", "0..", "--jobs", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run without a terminal prints its progress at intervals.
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains(" seeds in "), "{line}");
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    std::thread::spawn(move || told.read_to_end(&mut Vec::new()));
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let verdict = printed.lines().find(|line| line.starts_with("INTERRUPTED, nothing failed: "));
    let verdict = verdict.unwrap_or_else(|| panic!("{:?}: {printed}", output.status));
    assert!(verdict.contains(" seeds in ") && verdict.contains("crashes survived"), "{verdict}");
    for word in ["trace hash of all", "kernel: ", "world: ", "might in"] {
        assert!(printed.contains(word), "{word:?} is not in the summary: {printed}");
    }
    assert!(output.status.success(), "{:?}", output.status);
}

#[test]
fn a_seed_a_page_of_it_and_a_scenario_exclude_one_another() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let explained = sim().args(["explain", "3", "--html"]).arg(&page).output().unwrap();
    let printed = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.status.success() && printed.contains("page.html: "), "{printed}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("\"title\":\"seed 3\""));
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/early-answer.toml");
    for arguments in [
        ["run", "--scenario", scenario, "--seed", "3"],
        ["run", "--scenario", scenario, "--seeds", "0..9"],
        ["run", "--scenario", scenario, "--profile", "disk"],
        ["explain", "3", "--html=x.html", "--scenario", scenario],
        ["shrink", "--seed", "3", "--scenario", scenario],
    ] {
        let refused = sim().args(arguments).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains("cannot be used with"), "{arguments:?}: {said}");
    }
}
