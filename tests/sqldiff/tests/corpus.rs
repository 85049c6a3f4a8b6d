//! The files of `tests/slt` against the real server binary, without a PostgreSQL: its answers are in the files.

use sqldiff::slt;

#[test]
fn what_the_files_say_is_true() {
    let scripts = slt::scripts(&slt::directory());
    let checked: Vec<_> = scripts.iter().flat_map(slt::check).collect();
    let untrue: Vec<String> =
        checked.iter().flatten().map(|untrue| format!("== {}\n{}", untrue.case, untrue.why)).collect();
    assert!(!checked.is_empty(), "no case was found");
    assert!(
        untrue.is_empty(),
        "{} of {} cases do not pass:\n{}",
        untrue.len(),
        checked.len(),
        untrue.join("\n")
    );
    eprintln!("{} cases of tests/slt pass", checked.len());
}

/// A pending case that passes must be moved to the other files, so that it keeps passing.
#[test]
fn what_is_pending_is_not_true_yet() {
    let (mut pending, mut moved) = (0, Vec::new());
    for script in slt::scripts(&slt::pending_directory()) {
        for (case, untrue) in script.cases.iter().zip(slt::check(&script)) {
            match untrue {
                Some(_) => pending += 1,
                None => moved.push(format!("{}: {}\n{}", script.path.display(), case.name, case.text)),
            }
        }
    }
    eprintln!("{pending} cases of tests/slt/pending do not pass yet");
    assert!(
        moved.is_empty(),
        "{} pending cases pass now; `cargo run -p sqldiff -- promote` moves them:\n{}",
        moved.len(),
        moved.join("\n")
    );
}
