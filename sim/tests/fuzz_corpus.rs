//! The corpus of the fuzz target `scenario`, run again: its inputs must not fail. Failing inputs that a fuzzer found
//! are added after the repair.

use std::path::PathBuf;

use sim::fuzz::run_bytes;

#[test]
fn the_corpus_of_the_fuzzer_breaks_nothing() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/scenario");
    let files = std::fs::read_dir(&folder).expect("the corpus is there");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "{} inputs are left", paths.len());
    let mut crashes = 0;
    for path in paths {
        let input = std::fs::read(&path).expect("it can be read");
        let outcome = run_bytes(&input).unwrap_or_else(|| panic!("{} is empty", path.display()));
        assert!(outcome.violation.is_none(), "{}: {:?}", path.display(), outcome.violation);
        crashes += outcome.crashes;
    }
    assert!(crashes > 50, "the inputs have other results than before: {crashes} crashes in all");
}
