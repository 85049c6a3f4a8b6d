//! Checks that all cited codes are defined: faults (`A5`, `B3`) in docs/FAULTS.md, invariants by number in
//! docs/INVARIANTS.md.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test reads the sources")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Codes, each with the place of one citation.
type Citations = BTreeMap<String, String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above the kernel").to_path_buf()
}

/// Rust sources and documents of the workspace, without directories of builds and tools.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry of a directory").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !name.starts_with("target") {
                files(&path, found);
            }
        } else if matches!(path.extension().and_then(|ending| ending.to_str()), Some("rs" | "md")) {
            found.push(path);
        }
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect()
}

fn is_number(word: &str) -> bool {
    (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Codes of faults: a letter and one or two digits, as a separate word.
fn cited_faults(text: &str) -> BTreeSet<String> {
    let is_code = |word: &&str| word.strip_prefix(['A', 'B']).is_some_and(is_number);
    words(text).into_iter().filter(is_code).map(str::to_string).collect()
}

/// Numbers after "invariant" or "invariants", also in lists: "invariants 1 and 4", "invariants 1, 2 and 3".
fn cited_invariants(text: &str) -> BTreeSet<String> {
    let words = words(text);
    let mut cited = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        if word.eq_ignore_ascii_case("invariant") || word.eq_ignore_ascii_case("invariants") {
            let list = words[at + 1..].iter().take_while(|word| is_number(word) || **word == "and");
            let may_be_list = word.ends_with(['s', 'S']);
            cited.extend(
                list.take(if may_be_list { usize::MAX } else { 1 })
                    .filter(|word| is_number(word))
                    .map(|n| n.to_string()),
            );
        }
    }
    cited
}

/// Codes that start a heading of this level, each up to the first full stop.
fn defined(document: &str, heading: &str) -> BTreeSet<String> {
    let text =
        fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
    let mut codes = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(heading)) {
        if let Some((code, _)) = line.split_once('.') {
            assert!(codes.insert(code.to_string()), "{document} defines {code} twice");
        }
    }
    codes
}

fn citations(cited: impl Fn(&str) -> BTreeSet<String>) -> Citations {
    let mut found = vec![];
    files(&root(), &mut found);
    assert!(found.len() > 100, "the sources are found");
    let mut citations = Citations::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (number, line) in text.lines().enumerate() {
            for code in cited(line) {
                citations.entry(code).or_insert_with(|| format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    citations
}

fn assert_defined(citations: &Citations, defined: &BTreeSet<String>, document: &str) {
    let unknown: Vec<_> = citations.iter().filter(|(code, _)| !defined.contains(*code)).collect();
    assert!(unknown.is_empty(), "cited and not defined in {document}: {unknown:?}");
}

#[test]
fn cited_faults_are_defined() {
    let defined = defined("docs/FAULTS.md", "### ");
    let expected = (1..=21).map(|n| format!("A{n}")).chain((1..=8).map(|n| format!("B{n}")));
    assert_eq!(defined, expected.collect(), "docs/FAULTS.md defines the whole list");
    assert_defined(&citations(cited_faults), &defined, "docs/FAULTS.md");
}

#[test]
fn cited_invariants_are_defined() {
    let defined = defined("docs/INVARIANTS.md", "## ");
    assert_eq!(
        defined,
        (1..=10).map(|n: u8| n.to_string()).collect(),
        "docs/INVARIANTS.md defines the whole list"
    );
    assert_defined(&citations(cited_invariants), &defined, "docs/INVARIANTS.md");
}

#[test]
fn citations_are_recognised() {
    let codes = |text: &str| cited_faults(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(codes("dropped (faults A1, B3); librdkafka#1 (A10)"), "A1 A10 B3");
    assert_eq!(codes("0A000, C22021, BA1, A1x, A_1, 'A'"), "");
    let numbers = |text: &str| cited_invariants(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(numbers("Invariants 1 and 4, which hold; invariant 10."), "1 10 4");
    assert_eq!(numbers("invariants 1, 2 and 3; invariant 6, 7 times; one invariant more"), "1 2 3 6");
}

#[test]
fn an_undefined_code_is_found() {
    let undefined = format!("A{}", 20);
    let citations: Citations =
        cited_faults(&format!("(fault {undefined})")).into_iter().map(|code| (code, "here".into())).collect();
    let known = BTreeSet::from(["A1".to_string()]);
    let missed = std::panic::catch_unwind(|| assert_defined(&citations, &known, "a list"));
    assert!(missed.is_err(), "{undefined} is not in the list");
}
