//! The build that holds all mutants: a copy of the crates that the simulator needs with an instrumented kernel, and
//! compiler rounds in which mutants that do not compile are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::catalog::Mutant;
use crate::instrument::{Instrumented, MODULE, instrument};

/// The file that gets the module for the active mutant.
const KERNEL_ROOT: &str = "kernel/src/lib.rs";

/// Rounds with the compiler, which stops at the first phase that finds errors.
const ROUNDS_MAX: u32 = 40;

/// Mutants that are not in the build.
#[derive(Debug, Default)]
pub struct Dropped {
    /// They do not compile.
    pub unviable: BTreeSet<usize>,
    /// They may compile alone, but not as a choice at run time (constants, opaque types).
    pub alone: BTreeSet<usize>,
}

/// Builds the simulator on a kernel that holds the mutants; returns the test binary that judges them.
pub fn build(root: &Path, tree: &Path, mutants: &[Mutant]) -> Result<(PathBuf, Dropped)> {
    copy(root, tree, mutants)?;
    let mut dropped = Dropped::default();
    // An early return with another type than the rest of the function.
    dropped.alone.extend((0..mutants.len()).filter(|number| mutants[*number].returns_opaque_value()));
    for round in 1..=ROUNDS_MAX {
        let files = write_kernel(root, tree, mutants, &mut dropped)?;
        let errors = errors(tree, &["check", "--package", "sim", "--test", "budget"])?;
        if errors.is_empty() {
            return Ok((build_test(tree)?, dropped));
        }
        let before = dropped.unviable.len() + dropped.alone.len();
        errors.iter().for_each(|error| drop_out(error, &files, &mut dropped));
        let now = dropped.unviable.len() + dropped.alone.len();
        println!("round {round} with the compiler: {} errors, {now} mutants dropped out", errors.len());
        ensure!(now > before, "the compiler's errors belong to no mutant: {}", rendered(&errors[0]));
    }
    bail!("the instrumented kernel does not compile after {ROUNDS_MAX} rounds")
}

/// Folders of the workspace's crates that the simulator and its tests consist of.
fn crates(root: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("cargo")
        .args([
            "tree",
            "--package",
            "sim",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root)
        .output()
        .context("cargo cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A crate of the workspace is followed by its folder.
    let prefix = format!("({}/", root.display());
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let folders = lines.lines().filter_map(|line| line.split_once(&prefix)?.1.split_once(')'));
    Ok(folders.map(|(folder, _)| folder.to_string()).collect())
}

fn copy(root: &Path, tree: &Path, mutants: &[Mutant]) -> Result<()> {
    let mut written: BTreeSet<PathBuf> = mutants.iter().map(|mutant| tree.join(&mutant.file)).collect();
    written.insert(tree.join(KERNEL_ROOT));
    let crates = crates(root)?;
    for folder in &crates {
        copy_folder(&root.join(folder), &tree.join(folder), &written)?;
    }
    for file in ["Cargo.lock", "rust-toolchain.toml"] {
        fs::copy(root.join(file), tree.join(file)).with_context(|| format!("{file} cannot be copied"))?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("the workspace's manifest")?;
    let members = format!(
        "members = [{}]",
        crates.iter().map(|folder| format!("{folder:?}")).collect::<Vec<_>>().join(", ")
    );
    let lines = manifest.lines().filter(|line| !line.starts_with("default-members"));
    let lines = lines.map(|line| if line.starts_with("members = ") { &members } else { line });
    // Optimised where it pays, with all checks: an overflow is a violation.
    let profile = "\n[profile.mutants]\ninherits = \"dev\"\ndebug = false\n\n[profile.mutants.package.\"*\"]\nopt-level = 2\n\
                   \n[profile.mutants.package.kernel]\nopt-level = 1\n[profile.mutants.package.sim]\nopt-level = 2\n";
    write(&tree.join("Cargo.toml"), &(lines.collect::<Vec<_>>().join("\n") + profile))
}

/// Mirrors a folder, except files that are written separately.
fn copy_folder(from: &Path, to: &Path, otherwise: &BTreeSet<PathBuf>) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for old in entries(to)? {
        if old.is_file() && !from.join(old.file_name().expect("it is an entry")).exists() {
            fs::remove_file(&old).with_context(|| format!("{} cannot be removed", old.display()))?;
        }
    }
    for from in entries(from)? {
        let to = to.join(from.file_name().expect("it is an entry"));
        if from.is_dir() {
            // A crate inside a crate is not a part of it.
            if !from.join("Cargo.toml").exists() {
                copy_folder(&from, &to, otherwise)?;
            }
        } else if !otherwise.contains(&to) {
            write(&to, &fs::read(&from)?)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    Ok(listed.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?)
}

/// Does not touch unchanged files, so that they are not compiled again.
fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    if fs::read(path).ok().as_deref() == Some(contents.as_ref()) {
        return Ok(());
    }
    fs::write(path, contents).with_context(|| format!("{} cannot be written", path.display()))
}

fn write_kernel(
    root: &Path,
    tree: &Path,
    mutants: &[Mutant],
    dropped: &mut Dropped,
) -> Result<BTreeMap<String, Instrumented>> {
    let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in mutants.iter().enumerate() {
        let of_file = by_file.entry(&mutant.file).or_default();
        if !dropped.unviable.contains(&number) && !dropped.alone.contains(&number) {
            of_file.push((number, mutant));
        }
    }
    let mut files = BTreeMap::new();
    for (file, mutants) in by_file {
        let source = fs::read_to_string(root.join(file)).with_context(|| format!("{file} cannot be read"))?;
        let (instrumented, left_out) = instrument(&source, &mutants).with_context(|| file.to_string())?;
        // Conditions with `let`: `||` does not compile there.
        dropped.unviable.extend(left_out);
        files.insert(file.to_string(), instrumented);
    }
    for (file, instrumented) in &files {
        write(&tree.join(file), &instrumented.text)?;
    }
    write(&tree.join("kernel/src/mutant.rs"), MODULE)?;
    let text = fs::read_to_string(root.join(KERNEL_ROOT)).context("the kernel's root module")?;
    write(
        &tree.join(KERNEL_ROOT),
        text.replacen("pub mod message;", "pub mod message;\npub mod mutant;", 1),
    )?;
    Ok(files)
}

fn cargo(tree: &Path, arguments: &[&str]) -> Result<Vec<Value>> {
    let output = Command::new("cargo")
        .args(arguments)
        .args(["--offline", "--profile", "mutants", "--message-format", "json"])
        .env("CARGO_TARGET_DIR", tree.join("target"))
        .env("RUSTFLAGS", "--cap-lints allow")
        .current_dir(tree)
        .output()
        .context("cargo cannot be started")?;
    let messages: Vec<Value> =
        output.stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let told = messages.iter().any(|message| message["reason"] == "build-finished");
    ensure!(told, "cargo does not build in {}:\n{}", tree.display(), String::from_utf8_lossy(&output.stderr));
    Ok(messages)
}

fn errors(tree: &Path, arguments: &[&str]) -> Result<Vec<Value>> {
    let messages =
        cargo(tree, arguments)?.into_iter().filter(|message| message["reason"] == "compiler-message");
    let errors = messages.map(|mut message| message["message"].take());
    let located =
        |error: &Value| error["level"] == "error" && error["spans"].as_array().is_some_and(|s| !s.is_empty());
    Ok(errors.filter(located).collect())
}

fn rendered(error: &Value) -> &str {
    error["rendered"].as_str().unwrap_or_default()
}

/// An error in a variant is that mutant's; an error in a choice is that of all its mutants together.
fn drop_out(error: &Value, files: &BTreeMap<String, Instrumented>, dropped: &mut Dropped) {
    let spans = error["spans"].as_array().into_iter().flatten();
    let mut found: Vec<&(std::ops::Range<usize>, Vec<usize>)> = Vec::new();
    for span in spans.filter(|span| span["is_primary"] == true) {
        let Some(file) = span["file_name"].as_str().and_then(|name| files.get(name)) else { continue };
        let place = |name: &str| span[name].as_u64().unwrap_or_default() as usize;
        let (start, end) = (place("byte_start"), place("byte_end"));
        let around = file.ranges.iter().filter(|(range, _)| range.contains(&start));
        found.extend(around.min_by_key(|(range, _)| (*range != (start..end), range.len())));
    }
    for (_, numbers) in found {
        for number in numbers {
            let alone = match error["code"]["code"].as_str() {
                // Without the arm the match is not exhaustive.
                Some("E0004") => false,
                // A choice in a constant.
                Some("E0015") => true,
                _ => numbers.len() > 1,
            };
            if alone {
                dropped.alone.insert(*number)
            } else {
                dropped.unviable.insert(*number)
            };
        }
    }
}

fn build_test(tree: &Path) -> Result<PathBuf> {
    let messages = cargo(tree, &["test", "--no-run", "--package", "sim", "--test", "budget"])?;
    for message in &messages {
        if message["message"]["level"] == "error" {
            bail!(
                "the simulator does not build on the instrumented kernel: {}",
                rendered(&message["message"])
            );
        }
    }
    let mut built = messages.iter().filter(|m| m["target"]["name"] == "budget");
    let path = built.find_map(|m| m["executable"].as_str()).context("cargo names no test binary")?;
    Ok(path.into())
}
