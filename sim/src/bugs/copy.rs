//! Other binaries than the running one: this simulator, built from a copy of its source in which some files are changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files that a change touches, each as the change leaves it; None where it removes one.
pub type Changed = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// The source that this binary was built from: from Cargo's environment if it runs this binary, else the path at build
/// time, which may no longer exist.
pub fn repository() -> Result<PathBuf, String> {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let source = Path::new(&package).join("..");
    source.canonicalize().map_err(|error| {
        format!(
            "the source that this simulator was built from is not at {} any more: {error}",
            source.display()
        )
    })
}

/// A directory beside the plain build, with a copy of the source in `source` and the build of it. It stays where it
/// is, so that only what another change touches is compiled again.
pub struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// The one of this kind.
    pub fn of_kind(kind: &str) -> Result<Copy, String> {
        let own = std::env::current_exe()
            .map_err(|error| format!("this binary does not know where it is: {error}"))?;
        let target = own.ancestors().nth(2).ok_or("this binary is not in a target directory")?;
        let copy = Copy { folder: target.join(kind) };
        std::fs::create_dir_all(copy.source()).map_err(|error| copy.cannot(error))?;
        Ok(copy)
    }

    fn cannot(&self, error: std::io::Error) -> String {
        format!("{} cannot be used: {error}", self.folder.display())
    }

    fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// Builds the simulator with these files changed and runs it with these arguments. True if it succeeded. If it does
    /// not build, `blame` adds what it knows to the error. One change at a time is built.
    pub fn run(
        &self,
        changed: &Changed,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        blame: impl FnOnce(&str) -> String,
    ) -> Result<bool, String> {
        let source = repository()?;
        let turn = std::fs::File::create(self.folder.join("turn")).map_err(|error| self.cannot(error))?;
        turn.lock().map_err(|error| self.cannot(error))?;
        copy_tracked(&source, &self.source(), changed)?;
        eprintln!("building it in {}: minutes the first time, then half a minute", self.folder.display());
        self.build(blame)?;
        let binary = self.folder.join("release").join(format!("sim{}", std::env::consts::EXE_SUFFIX));
        // Patches and scenarios are read from the source itself, not from the copy.
        let mut started = Command::new(&binary)
            .args(args)
            .env("CARGO_MANIFEST_DIR", source.join("sim"))
            .spawn()
            .map_err(|error| format!("{} cannot be run: {error}", binary.display()))?;
        drop(turn);
        started.wait().map(|status| status.success()).map_err(|error| error.to_string())
    }

    fn build(&self, blame: impl FnOnce(&str) -> String) -> Result<(), String> {
        let succeeded = self.cargo(&[]).status().map_err(no_cargo)?.success();
        if succeeded {
            return Ok(());
        }
        let short = self.cargo(&["--quiet", "--message-format", "short"]).output().map_err(no_cargo)?;
        let blamed = blame(&String::from_utf8_lossy(&short.stderr));
        Err(format!("it does not build; the errors are above{blamed}"))
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "-p", "sim"]).args(QUICK).args(args);
        cargo.current_dir(self.source()).arg("--target-dir").arg(&self.folder);
        cargo
    }
}

/// What makes the second build of a changed source quick: parts of the kernel and of the simulator are compiled by
/// themselves, and kept.
const QUICK: [&str; 4] = [
    "--config",
    "profile.release.package.kernel.codegen-units=16",
    "--config",
    "profile.release.incremental=true",
];

fn no_cargo(error: std::io::Error) -> String {
    format!("cargo cannot be started: {error}")
}

/// Builds this simulator from a copy of its source to which a change was applied, and runs it. True if it succeeded.
pub fn run_patched(patch: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<bool, String> {
    let patch =
        patch.canonicalize().map_err(|error| format!("{} cannot be read: {error}", patch.display()))?;
    let changed = apply(&patch, &repository()?)?;
    Copy::of_kind("patched")?.run(&changed, args, |_| String::new())
}

/// Applies a patch to copies of the files that it touches, in a folder of their own.
pub fn apply(patch: &Path, source: &Path) -> Result<Changed, String> {
    let listed = git(source, &["apply".as_ref(), "--numstat".as_ref(), "-z".as_ref(), patch.as_os_str()])
        .map_err(|error| format!("{} is no diff: {error}", patch.display()))?;
    let names: Vec<PathBuf> = listed
        .split(|byte| *byte == 0)
        .filter_map(|line| std::str::from_utf8(line).ok()?.rsplit('\t').next())
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect();
    let scratch = Scratch::new()?;
    let cannot = |error: std::io::Error| format!("{} cannot be used: {error}", scratch.0.display());
    for name in names.iter().filter(|name| source.join(name).is_file()) {
        let to = scratch.0.join(name);
        std::fs::create_dir_all(to.parent().expect("a file lies in a folder")).map_err(cannot)?;
        std::fs::copy(source.join(name), to).map_err(cannot)?;
    }
    // A repository of its own, so that git does not search in parent directories.
    git(&scratch.0, &["init".as_ref(), "--quiet".as_ref()])?;
    git(&scratch.0, &["apply".as_ref(), "--whitespace=nowarn".as_ref(), patch.as_os_str()])
        .map_err(|error| format!("{} does not apply to this source: {error}", patch.display()))?;
    let after = |name: PathBuf| {
        let contents = std::fs::read(scratch.0.join(&name)).ok();
        (name, contents)
    };
    Ok(names.into_iter().map(after).collect())
}

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sim-patch-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn git(folder: &Path, args: &[&OsStr]) -> Result<Vec<u8>, String> {
    let output = Command::new("git").arg("-C").arg(folder).args(args).output();
    let output = output.map_err(|error| format!("git cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
}

/// Copies every tracked file as it is in the working tree, but for those that are changed. What is there already is not
/// written again.
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
