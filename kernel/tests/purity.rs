//! The kernel's dependencies are an allow-list, and its source uses no I/O, clock, thread or environment. With
//! `clippy.toml` (types and methods) and the simulator's trace hashes (behaviour) this keeps the kernel pure.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test reads the sources and asks cargo"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The reasons: columns (arrow-*), owned bytes (bytes), the key index (hashbrown, without a default hasher), the
/// encoding of definitions (minicbor), error types (thiserror), the routing hash (xxhash-rust).
const ALLOWED: [&str; 10] = [
    "arrow-array",
    "arrow-buffer",
    "arrow-data",
    "arrow-schema",
    "arrow-select",
    "bytes",
    "hashbrown",
    "minicbor",
    "thiserror",
    "xxhash-rust",
];

/// Everything that is compiled into the kernel on 64-bit Linux, with the features that the kernel turns on, and the
/// reason why its results cannot depend on chance, time or the machine. Read a new crate or feature before you add it
/// here.
const REVIEWED: [(&str, &str, &str); 24] = [
    (
        "ahash",
        "getrandom,runtime-rng",
        "seeded by chance: used by arrow-array's dictionary builders and view builders that drop duplicates, which clippy.toml \
         forbids; arrow-select gives it a fixed seed",
    ),
    (
        "arrow-array",
        "",
        "arrays are values; a HashSet checks the types of unions, which the kernel does not use",
    ),
    ("arrow-buffer", "", "bytes; allocates, but no result depends on an address"),
    ("arrow-data", "", "checks and describes arrays"),
    (
        "arrow-schema",
        "",
        "metadata are a HashMap: the kernel's schemas have none, and clippy.toml forbids their use",
    ),
    ("arrow-select", "", "concat keeps a HashSet of types for dictionaries and only counts it"),
    ("bytes", "default,std", "counted slices; clippy.toml forbids results that depend on a count"),
    ("cfg-if", "", "a macro"),
    (
        "chrono",
        "alloc,clock,iana-time-zone,now,std,winapi,windows-link",
        "reads the clock and the machine's time zone: arrow-array uses it to show and to convert times, which the kernel does not do",
    ),
    ("getrandom", "", "random numbers, for ahash's seeds alone: see ahash"),
    (
        "half",
        "num-traits",
        "numbers of 16 bits; detects the processor's features, for speed; the kernel has no such column",
    ),
    ("hashbrown", "", "without a hasher of its own: the kernel passes hashes to it and never uses its order"),
    ("iana-time-zone", "fallback", "reads the machine's time zone: for chrono alone, see chrono"),
    ("libc", "", "declarations; for getrandom"),
    ("libm", "arch,default", "mathematics in software, chosen at build time; the kernel calls none of it"),
    (
        "minicbor",
        "alloc,derive,minicbor-derive,std",
        "an encoding in the order of field numbers; no HashMap is encoded",
    ),
    ("num-bigint", "std", "256-bit decimals of Arrow, which the kernel does not use"),
    ("num-complex", "std", "comes with num-bigint's and arrow's traits"),
    ("num-integer", "i128,std", "integer arithmetic"),
    ("num-traits", "i128,libm,std", "traits of numbers"),
    ("once_cell", "alloc,race", "for ahash's seeds alone: see ahash"),
    ("thiserror", "default,std", "derived code"),
    (
        "xxhash-rust",
        "xxh3",
        "the routing hash: the same result whichever instructions it was compiled for, held by test vectors",
    ),
    ("zerocopy", "derive,simd,zerocopy-derive", "reinterprets bytes as numbers, for ahash and half"),
];

fn manifest(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Lines of definitions in one section of a manifest.
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
    assert_eq!(headers, expected, "no other section adds dependencies");
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

/// Checks the indirect dependencies too.
#[test]
fn all_that_is_compiled_in_was_reviewed() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", "kernel", "--edges", "normal,no-proc-macro"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}|{f}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let found: BTreeSet<(String, String)> = String::from_utf8_lossy(&tree.stdout)
        .lines()
        .map(|line| line.split_once('|').expect("as asked for"))
        .map(|(package, features)| (package.split(' ').next().unwrap(), features.trim_end_matches(" (*)")))
        .filter(|(package, _)| *package != "kernel")
        .map(|(package, features)| (package.to_string(), features.to_string()))
        .collect();
    let reviewed: BTreeSet<(String, String)> =
        REVIEWED.iter().map(|(package, features, _)| (package.to_string(), features.to_string())).collect();
    let new: Vec<_> = found.difference(&reviewed).collect();
    let gone: Vec<_> = reviewed.difference(&found).collect();
    assert!(new.is_empty(), "new dependencies, or other features: {new:?}");
    assert!(gone.is_empty(), "no longer dependencies: {gone:?}");
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

/// Thread-local state is global state. Coverage marks are counted in one, only in test builds.
#[test]
fn only_what_tests_turn_on_remembers_anything() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let remembers = |file: &&PathBuf| fs::read_to_string(file).unwrap().contains("thread_local!");
    let mut names: Vec<&str> =
        files.iter().filter(remembers).map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["coverage.rs"]);
    let own = manifest("Cargo.toml");
    assert!(
        section(&own, "features").iter().all(|feature| !feature.starts_with("default")),
        "no feature is on by default"
    );
    let adapters = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters")).unwrap();
    let adapters: Vec<PathBuf> = adapters.map(|entry| entry.unwrap().path().join("Cargo.toml")).collect();
    assert!(adapters.len() > 5, "the shipped crates are found");
    for path in adapters {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("kernel"));
        assert!(lines.clone().all(|l| !l.contains("coverage")), "{}", path.display());
    }
}

/// Clippy's lists name single items. This check finds whole modules, also in a `use`.
#[test]
fn sources_name_no_module_that_acts() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 10, "the sources are found");
    let forbidden = ["fs", "net", "env", "thread", "time", "process", "io", "os"];
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            // `Duration` is a number, not a clock.
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
