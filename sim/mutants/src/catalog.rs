//! The mutants that cargo-mutants lists, and their parts of the kernel.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A change to the kernel, as cargo-mutants lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct Mutant {
    /// Location and change as text; its identity.
    pub name: String,
    /// From the root of the workspace.
    pub file: String,
    /// Function that it is in.
    pub function: Option<Function>,
    /// Kind of change.
    pub genre: Genre,
    /// The replacement.
    pub replacement: String,
    /// Where it begins.
    pub span: Span,
}

/// Function that a mutant is in.
#[derive(Clone, Debug, Deserialize)]
pub struct Function {
    /// As in the source, with the arrow; empty for none.
    pub return_type: String,
}

/// Kind of change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[allow(missing_docs)]
pub enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

/// Where a piece of a file begins.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Span {
    /// First character.
    pub start: SourceLocation,
}

/// A character of a file, counted from 1.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct SourceLocation {
    pub line: usize,
    pub column: usize,
}

/// A part of the kernel that has a score of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Log and recovery.
    Log,
    /// Coordinator, with its own recovery.
    Coordinator,
    /// Cursors: extracts, epochs, positions.
    Cursors,
    /// Shards: staging, publishing, merging, snapshots.
    Shard,
    /// Columns and rows as bytes, hashing, definitions.
    Encoding,
    /// Expressions of ON DUPLICATE KEY.
    Expressions,
}

impl Part {
    /// All of them, in the order of a report.
    pub const ALL: [Part; 6] =
        [Part::Log, Part::Coordinator, Part::Cursors, Part::Shard, Part::Encoding, Part::Expressions];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Part::Log => "log, recovery",
            Part::Coordinator => "coordinator",
            Part::Cursors => "cursors",
            Part::Shard => "shards, snapshots, publishing",
            Part::Encoding => "columns, routing, schema",
            Part::Expressions => "expressions",
        }
    }

    /// Whether the higher target applies to it.
    pub fn is_core(self) -> bool {
        !matches!(self, Part::Encoding | Part::Expressions)
    }
}

impl Mutant {
    /// The part of the kernel that it is in.
    pub fn part(&self) -> Part {
        let inside = self.file.strip_prefix("kernel/src/").unwrap_or(&self.file);
        match inside.split(['/', '.']).next().unwrap_or_default() {
            "log" | "record" => Part::Log,
            "coordinator" | "message" => Part::Coordinator,
            "extract" | "source" | "ids" => Part::Cursors,
            "shard" | "snapshot" => Part::Shard,
            "expr" => Part::Expressions,
            _ => Part::Encoding,
        }
    }

    /// Whether it changes the result of a function that returns an opaque type.
    pub fn returns_opaque_value(&self) -> bool {
        self.genre == Genre::FnValue
            && self.function.as_ref().is_some_and(|f| f.return_type.contains("impl "))
    }
}

/// Asks cargo-mutants for all mutants of the kernel. `.cargo/mutants.toml` lists exclusions.
pub fn list(root: &Path) -> Result<Vec<Mutant>> {
    let output = Command::new("cargo")
        .args(["mutants", "--list", "--json", "--package", "kernel"])
        .current_dir(root)
        .output()
        .context("cargo cannot be started")?;
    ensure!(
        output.status.success(),
        "cargo-mutants does not list its mutants; install it with `cargo install cargo-mutants`:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("cargo-mutants' list cannot be read")
}
