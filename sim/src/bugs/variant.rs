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

/// What makes the second build of a changed source quick: parts of the kernel and of the simulator are compiled by themselves, and kept.
const QUICK: [&str; 4] = [
    "--config",
    "profile.release.package.kernel.codegen-units=16",
    "--config",
    "profile.release.incremental=true",
];

fn build(source: &Path, target: &Path, args: &[&str]) -> Result<PathBuf, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "-p", "sim"]).args(args).current_dir(source);
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

/// Builds this simulator from a copy of its source to which a change was applied, and hands the binary to `then`. Copy and build stay
/// where they are, so that only what another change touches is compiled again; one change has its turn at a time.
pub fn patched<T>(patch: &Path, then: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    let patch =
        patch.canonicalize().map_err(|error| format!("{} cannot be read: {error}", patch.display()))?;
    let target = target_dir("patched")?;
    let copy = target.join("source");
    let cannot = |error: std::io::Error| format!("{} cannot be used: {error}", target.display());
    std::fs::create_dir_all(&copy).map_err(cannot)?;
    let turn = std::fs::File::create(target.join("turn")).map_err(cannot)?;
    turn.lock().map_err(cannot)?;
    copy_tracked(&repository()?, &copy, &apply_on(&patch, &copy)?)?;
    eprintln!(
        "building the changed source in {}: minutes the first time, then half a minute",
        target.display()
    );
    let binary = build(&copy, &target, &QUICK)?;
    then(&binary)
}

/// The files that a change touches, each as the change leaves it; None where it removes one.
type Changed = std::collections::BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Applies a change to copies of the files that it touches, in a folder of their own.
fn apply_on(patch: &Path, copy: &Path) -> Result<Changed, String> {
    let (source, scratch) = (repository()?, copy.with_file_name("changed"));
    let cannot = |error: std::io::Error| format!("{} cannot be used: {error}", scratch.display());
    // Of a run that was cut off.
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).map_err(cannot)?;
    let listed = git(&source, &["apply".as_ref(), "--numstat".as_ref(), "-z".as_ref(), patch.as_os_str()])
        .map_err(|error| format!("{} is no diff: {error}", patch.display()))?;
    let names: Vec<PathBuf> = listed
        .split(|byte| *byte == 0)
        .filter_map(|line| std::str::from_utf8(line).ok()?.rsplit('\t').next())
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect();
    for name in names.iter().filter(|name| source.join(name).is_file()) {
        let to = scratch.join(name);
        std::fs::create_dir_all(to.parent().expect("a file lies in a folder")).map_err(cannot)?;
        std::fs::copy(source.join(name), to).map_err(cannot)?;
    }
    apply(patch, &scratch)?;
    let after = |name: PathBuf| {
        let contents = std::fs::read(scratch.join(&name)).ok();
        (name, contents)
    };
    Ok(names.into_iter().map(after).collect())
}

fn git(folder: &Path, args: &[&OsStr]) -> Result<Vec<u8>, String> {
    let output = Command::new("git").arg("-C").arg(folder).args(args).output();
    let output = output.map_err(|error| format!("git cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
}

/// Copies every tracked file as it is in the working tree, but for those that are changed. What is there already is not written again.
fn copy_tracked(source: &Path, copy: &Path, changed: &Changed) -> Result<(), String> {
    let names = git(source, &["ls-files".as_ref(), "-z".as_ref()])?;
    let mut wanted: Changed = changed.clone();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).map_err(|_| "a tracked file has a name that is no UTF-8")?;
        // A tracked file that was removed from the working tree is skipped.
        wanted.entry(name.into()).or_insert_with(|| std::fs::read(source.join(name)).ok());
    }
    for (name, contents) in &wanted {
        let to = copy.join(name);
        let written = match contents {
            Some(contents) => write_if_other(&to, contents),
            None if to.exists() => std::fs::remove_file(&to),
            None => Ok(()),
        };
        written.map_err(|error| format!("{} cannot be written: {error}", to.display()))?;
    }
    // Of an earlier change, or an earlier state of the source.
    let listed = copy.with_file_name("files");
    let before = std::fs::read_to_string(&listed).unwrap_or_default();
    for name in before.lines().filter(|name| !wanted.contains_key(Path::new(name))) {
        let _ = std::fs::remove_file(copy.join(name));
    }
    let names: Vec<String> = wanted.keys().map(|name| name.display().to_string()).collect();
    std::fs::write(&listed, names.join("\n")).map_err(|error| format!("{}: {error}", listed.display()))
}

fn write_if_other(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == contents) {
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
    std::fs::write(path, contents)
}

fn apply(patch: &Path, copy: &Path) -> Result<(), String> {
    // A repository of its own, so that git does not search in parent directories.
    git(copy, &["init".as_ref(), "--quiet".as_ref()])?;
    git(copy, &["apply".as_ref(), "--whitespace=nowarn".as_ref(), patch.as_os_str()])
        .map(|_| ())
        .map_err(|error| format!("{} does not apply to this source: {error}", patch.display()))
}
