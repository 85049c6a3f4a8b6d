//! The stored types, as docs/internals/stored-types.md lists them: every type that derives `Encode` and `Decode`, with the
//! numbers of its fields and variants. The list shows a changed number, a reused one or a removed field in review.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test reads the sources")]

use std::fs;
use std::path::{Path, PathBuf};

/// Where the types are.
const SOURCES: [&str; 2] = ["kernel/src", "adapters/record/src"];
const LIST: &str = "docs/internals/stored-types.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above the kernel").to_path_buf()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry of a directory").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The number in `#[n(3)]` or `#[cbor(n(3), with = "…")]`.
fn number(attribute: &str) -> Option<u32> {
    let inside = attribute.strip_prefix("#[")?;
    let inside = inside.strip_prefix("cbor(").unwrap_or(inside);
    inside.strip_prefix("n(")?.split(')').next()?.parse().ok()
}

/// A line without its attributes; a number of a field becomes a prefix, as in `Lost(0: SplitName)`.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some(start) = rest.find("#[") {
        let end = start + rest[start..].find(']').expect("an attribute ends on its line") + 1;
        plain.push_str(&rest[..start]);
        if let Some(number) = number(&rest[start..end]) {
            plain.push_str(&format!("{number}: "));
        }
        rest = rest[end..].trim_start();
    }
    plain.push_str(rest);
    plain.replace("pub(super) ", "").replace("pub ", "").trim_end_matches(',').to_string()
}

/// The types of one file, each with a line per field or variant.
fn types(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        if !(line.starts_with("#[derive(") && line.contains("Encode, Decode")) {
            continue;
        }
        while lines.next_if(|line| line.starts_with('#')).is_some() {}
        let head = lines.next().expect("a type follows its attributes");
        let mut text = vec![plain(head.trim_end_matches(" {"))];
        let (mut pending, mut stored) = (None, true);
        while let Some(line) = lines.next_if(|line| head.ends_with('{') && *line != "}") {
            let (indent, line) = (line.len() - line.trim_start().len(), line.trim_start());
            if line.starts_with("//") || line.is_empty() {
                continue;
            }
            match number(line) {
                Some(number) => pending = Some(number),
                None if line == "#[cbor(skip)]" => stored = false,
                None if line.starts_with("#[") || line.starts_with('}') => {}
                None if !stored => stored = true,
                None => {
                    let number = pending.take().map_or(String::new(), |number| format!("{number}: "));
                    text.push(format!(
                        "{}{number}{}",
                        " ".repeat(indent),
                        plain(line).trim_end_matches(" {")
                    ));
                }
            }
        }
        found.push(text.join("\n"));
    }
    found
}

#[test]
fn the_list_of_stored_types_is_up_to_date() {
    let root = root();
    let mut files = Vec::new();
    SOURCES.iter().for_each(|source| sources(&root.join(source), &mut files));
    files.sort();
    let mut list = String::from(
        "# Stored types\n\nGenerated from the sources by `kernel/tests/stored_types.rs`. Numbers are what is stored; names are not. \
         [The rules](../../kernel/src/cbor.rs) say which changes are allowed.\n",
    );
    for file in files {
        let types = types(&fs::read_to_string(&file).expect("a source is text"));
        if !types.is_empty() {
            let name = file.strip_prefix(&root).expect("below the root").display().to_string();
            list.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", types.join("\n\n")));
        }
    }
    assert!(list.contains("struct Commit\n    0: at_us: Micros\n"), "the scan finds types");
    let written = fs::read_to_string(root.join(LIST)).unwrap_or_default();
    if std::env::var_os("WRITE_STORED_TYPES").is_some() {
        fs::write(root.join(LIST), &list).expect("the list can be written");
    }
    let first = list.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        list == written,
        "stored types differ from {LIST}, first in {first:?}. If the change keeps to the rules in kernel/src/cbor.rs, write the \
         list again with WRITE_STORED_TYPES=1"
    );
}
