//! Other binaries than the running one: this source with its seeded defects compiled in, and this source with a patch.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The source that this binary was built from: from Cargo's environment if it runs this binary, else the path at build
/// time, which may no longer exist.
fn repository() -> Result<PathBuf, String> {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let source = Path::new(&package).join("..");
    source.canonicalize().map_err(|error| {
        format!(
            "the source that this simulator was built from is not at {} any more: {error}",
            source.display()
        )
    })
}

/// Directory for builds of another kind, beside the plain one, so that neither disturbs the other.
fn target_dir(kind: &str) -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("this binary does not know where it is: {error}"))?;
    let target = own.ancestors().nth(2).ok_or("this binary is not in a target directory")?;
    Ok(target.join(kind))
}

fn build(source: &Path, target: &Path, features: &[&str]) -> Result<PathBuf, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "-p", "sim"]).args(features).current_dir(source);
    cargo.arg("--target-dir").arg(target);
    let status = cargo.status().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let binary = target.join("release").join(format!("sim{}", std::env::consts::EXE_SUFFIX));
    if status.success() { Ok(binary) } else { Err("it does not build; the errors are above".into()) }
}

/// Builds this simulator with its seeded defects. Returns the binary.
pub fn build_with_bugs() -> Result<PathBuf, String> {
    let target = target_dir("defects")?;
    eprintln!("building the simulator with its seeded defects, in {}", target.display());
    build(&repository()?, &target, &["--features", "defects"])
}

/// Runs another simulator instead of this one. True if it succeeded.
pub fn run_binary(binary: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<bool, String> {
    let status = Command::new(binary).args(args).status();
    status
        .map(|status| status.success())
        .map_err(|error| format!("{} cannot be run: {error}", binary.display()))
}

/// Builds this simulator from a patched copy of its source, and passes the binary to `then`.
pub fn patched<T>(patch: &Path, then: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    let patch =
        patch.canonicalize().map_err(|error| format!("{} cannot be read: {error}", patch.display()))?;
    let copy = std::env::temp_dir().join(format!("sim-patched-{}", std::process::id()));
    let result = copy_tracked(&repository()?, &copy).and_then(|()| {
        apply(&patch, &copy)?;
        let target = target_dir("patched")?;
        eprintln!("building the changed source, in {}", target.display());
        let binary = build(&copy, &target, &[])?;
        then(&binary)
    });
    // An error leaves only temporary files.
    let _ = std::fs::remove_dir_all(&copy);
    result
}

fn git(folder: &Path, args: &[&OsStr]) -> Result<Vec<u8>, String> {
    let output = Command::new("git").arg("-C").arg(folder).args(args).output();
    let output = output.map_err(|error| format!("git cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
}

/// Copies every tracked file from the working tree.
fn copy_tracked(source: &Path, copy: &Path) -> Result<(), String> {
    let names = git(source, &["ls-files".as_ref(), "-z".as_ref()])?;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).map_err(|_| "a tracked file has a name that is no UTF-8")?;
        let (from, to) = (source.join(name), copy.join(name));
        // A tracked file that was removed from the working tree is skipped.
        if !from.is_file() {
            continue;
        }
        let folder = to.parent().expect("a file lies in a folder");
        let copied = std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(&from, &to));
        copied
            .map_err(|error| format!("{} cannot be copied to {}: {error}", from.display(), to.display()))?;
    }
    Ok(())
}

fn apply(patch: &Path, copy: &Path) -> Result<(), String> {
    // A repository of its own, so that git does not search in parent directories.
    git(copy, &["init".as_ref(), "--quiet".as_ref()])?;
    git(copy, &["apply".as_ref(), "--whitespace=nowarn".as_ref(), patch.as_os_str()])
        .map(|_| ())
        .map_err(|error| format!("{} does not apply to this source: {error}", patch.display()))
}
