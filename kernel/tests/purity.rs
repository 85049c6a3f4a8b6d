//! The kernel's dependencies are an allow-list, and its source names nothing that acts. Together with `clippy.toml` (types
//! and methods) and the simulator's trace hashes (behaviour) this holds the kernel to being pure.

#![allow(clippy::disallowed_methods, reason = "a test reads the sources")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each is here for a reason: columns (arrow-*), owned bytes (bytes), the key index (hashbrown, without a default hasher),
/// the encoding of definitions (postcard, serde), error types (thiserror), the routing hash (xxhash-rust).
const ALLOWED: [&str; 11] = [
    "arrow-array",
    "arrow-buffer",
    "arrow-data",
    "arrow-schema",
    "arrow-select",
    "bytes",
    "hashbrown",
    "postcard",
    "serde",
    "thiserror",
    "xxhash-rust",
];

fn manifest(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Lines of one section of a manifest that define something.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let header = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| line.trim() != header).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| line.contains('=')).collect()
}

#[test]
fn dependencies_are_those_allowed() {
    let own = manifest("Cargo.toml");
    let found: Vec<&str> = section(&own, "dependencies")
        .iter()
        .map(|line| line.split(['.', '=', ' ']).next().unwrap())
        .collect();
    assert_eq!(found, ALLOWED);
    let headers: Vec<&str> = own.lines().filter(|line| line.starts_with('[')).collect();
    let expected = ["[package]", "[dependencies]", "[features]", "[dev-dependencies]", "[lints]"];
    assert_eq!(headers, expected, "no other way in");
    for feature in section(&own, "features") {
        assert!(feature.ends_with("= []"), "a feature brings no dependency: {feature}");
    }
}

#[test]
fn features_that_bring_chance_are_off() {
    let workspace = manifest("../Cargo.toml");
    let dependencies = section(&workspace, "workspace.dependencies");
    for name in ["hashbrown", "arrow-array"] {
        let line = dependencies.iter().find(|line| line.starts_with(&format!("{name} ="))).unwrap();
        assert!(line.contains("default-features = false"), "{line}");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// What a thread remembers is a global. Probes count into one and planted bugs are chosen by one, and only where a test build asked
/// for it.
#[test]
fn only_what_tests_turn_on_remembers_anything() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let remembers = |file: &&PathBuf| fs::read_to_string(file).unwrap().contains("thread_local!");
    let mut names: Vec<&str> =
        files.iter().filter(remembers).map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["planted.rs", "probe.rs"]);
    let own = manifest("Cargo.toml");
    assert!(
        section(&own, "features").iter().all(|feature| !feature.starts_with("default")),
        "none is on by itself"
    );
    let adapters = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters")).unwrap();
    let adapters: Vec<PathBuf> = adapters.map(|entry| entry.unwrap().path().join("Cargo.toml")).collect();
    assert!(adapters.len() > 5, "the crates that are shipped were found");
    for path in adapters {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("kernel"));
        assert!(lines.clone().all(|l| !l.contains("probes") && !l.contains("planted")), "{}", path.display());
    }
}

/// Clippy's lists name items one by one; this catches whole modules, also in a `use`.
#[test]
fn sources_name_no_module_that_acts() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 10, "the sources were found");
    let forbidden = ["fs", "net", "env", "thread", "time", "process", "io", "os"];
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            // A length of time is a number, not a clock.
            let line = line.replace("std::time::Duration", "");
            for module in forbidden {
                let named = line.match_indices(&format!("std::{module}")).any(|(at, name)| {
                    !line[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                });
                assert!(!named, "{}:{}: std::{module}", file.display(), number + 1);
            }
            assert!(
                !line.contains("async fn") && !line.contains(".await"),
                "{}:{}",
                file.display(),
                number + 1
            );
        }
    }
}
