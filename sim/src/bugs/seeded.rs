//! The build with every seeded defect of the kernel: a copy of the source in which each function that some patches
//! change chooses between its own body and theirs, by the defect that is active on its thread.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::copy::{Changed, Copy, apply, repository};
use super::instrument::{Choices, variant_at};
use crate::defects::{BUILT_IN, Patch, SeededDefect, patches};

/// The crate that gets the switch, and the file with the root of its modules.
const KERNEL: &str = "kernel";
const KERNEL_ROOT: &str = "kernel/src/lib.rs";
/// The module with the switch, in the copy.
const SWITCH: &str = "kernel/src/seeded.rs";
/// The file that is another one in the copy: see [`crate::defects::in_kernel`].
const IN_KERNEL: &str = "sim/src/defects/in_kernel.rs";
const IN_KERNEL_TEXT: &str = "//! The switch of the kernel's seeded defects, in the build that has them.\n\n\
                              pub use kernel::seeded::activate;\n\n\
                              /// Whether the kernel of this build has the defects.\n\
                              pub const BUILT_IN: bool = true;\n";

/// Runs the command line of this process in the build with the kernel's seeded defects, if one of these needs it and
/// this one has not got them. True if it succeeded there.
pub fn elsewhere(bugs: impl IntoIterator<Item = SeededDefect>) -> Option<bool> {
    let is_kernels = |bug: SeededDefect| matches!(bug, SeededDefect::Kernel(_));
    if BUILT_IN || !bugs.into_iter().any(is_kernels) {
        return None;
    }
    Some(run_seeded(std::env::args_os().skip(1)).unwrap_or_else(|error| {
        eprintln!("{error}");
        false
    }))
}

fn run_seeded(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<bool, String> {
    eprintln!("this needs the simulator with the seeded defects of the kernel");
    let changed = seeded_source(&repository()?, patches()?)?;
    Copy::of_kind("defects")?.run(&changed, args, |errors| blame(errors, &changed))
}

/// The files in which the build with these defects differs from the source. An error names every patch that does not
/// apply, changes nothing or cannot be chosen at run time, and the reason.
fn seeded_source(source: &Path, patches: &[Patch]) -> Result<Changed, String> {
    let mut wrong = String::new();
    let mut variants: BTreeMap<PathBuf, Vec<(usize, String)>> = BTreeMap::new();
    for (number, patch) in patches.iter().enumerate() {
        let mut add = |name: PathBuf, contents: Option<Vec<u8>>| {
            let text = contents.and_then(|contents| String::from_utf8(contents).ok());
            let text = text.ok_or_else(|| format!("it leaves no text in {}", name.display()))?;
            variants.entry(name).or_default().push((number, text));
            Ok::<(), String>(())
        };
        let applied = apply(&patch.path, source);
        if let Err(error) = applied.and_then(|files| files.into_iter().try_for_each(|(n, c)| add(n, c))) {
            let _ = writeln!(wrong, "the seeded defect {}: {error}", patch.about.name);
        }
    }
    let names: Vec<&str> = patches.iter().map(|patch| patch.about.name).collect();
    let mut changed = Changed::new();
    for (name, variants) in variants {
        let before = read(source, &name)?;
        let mut choices = Choices::new(&before).map_err(|error| format!("{}: {error}", name.display()))?;
        for (number, text) in variants {
            if let Err(error) = choices.add(number, &text) {
                let _ =
                    writeln!(wrong, "the seeded defect {}, in {}: {error}", names[number], name.display());
            }
        }
        let krate = if name.starts_with(KERNEL) { "crate" } else { "kernel" };
        let text = choices.write(&format!("{krate}::seeded::active()"), &names);
        changed.insert(name, Some(text.into_bytes()));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let root = match changed.remove(Path::new(KERNEL_ROOT)).flatten() {
        Some(text) => String::from_utf8(text).expect("it was a text"),
        None => read(source, KERNEL_ROOT.as_ref())?,
    };
    changed.insert(KERNEL_ROOT.into(), Some(format!("{root}\npub mod seeded;\n").into_bytes()));
    changed.insert(SWITCH.into(), Some(switch(&names).into_bytes()));
    changed.insert(IN_KERNEL.into(), Some(IN_KERNEL_TEXT.into()));
    Ok(changed)
}

fn read(source: &Path, name: &Path) -> Result<String, String> {
    let path = source.join(name);
    std::fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The module that says which defect is active on a thread.
fn switch(names: &[&str]) -> String {
    format!(
        "//! The seeded defect that is active on this thread.
#![allow(missing_docs)]
use std::cell::Cell;
const NAMES: &[&str] = &{names:#?};
const NONE: usize = usize::MAX;
thread_local! {{
    static ACTIVE: Cell<usize> = const {{ Cell::new(NONE) }};
}}
#[inline]
pub fn active() -> usize {{
    ACTIVE.get()
}}
pub fn activate(name: Option<&str>) {{
    let number = |name| NAMES.iter().position(|known| *known == name).expect(\"this build has the defect\");
    ACTIVE.set(name.map_or(NONE, number));
}}
"
    )
}

/// The patches that the compiler's errors lie in, one a line as `FILE:LINE:COLUMN: error…`.
fn blame(errors: &str, changed: &Changed) -> String {
    let mut blamed = std::collections::BTreeSet::new();
    for line in errors.lines().filter(|line| line.contains(": error")) {
        let mut words = line.splitn(3, ':');
        let (Some(file), Some(Ok(line))) = (words.next(), words.next().map(str::parse)) else { continue };
        let text = changed.get(Path::new(file)).and_then(|text| std::str::from_utf8(text.as_deref()?).ok());
        blamed.extend(text.and_then(|text| variant_at(text, line)));
    }
    blamed.into_iter().map(|name| format!("\nthe seeded defect {name} does not build")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_applies_and_can_be_chosen_at_run_time() {
        let changed = seeded_source(&repository().unwrap(), patches().unwrap());
        let changed = changed.unwrap_or_else(|error| panic!("{error}"));
        assert!(patches().unwrap().len() > 80, "the patches are found");
        assert!(changed.len() > 20);
    }

    #[test]
    fn an_error_of_the_compiler_is_blamed_on_its_patch() {
        let mut choices = Choices::new("fn f() {\n    a();\n}\n").unwrap();
        choices.add(0, "fn f() {\n    a() + ;\n}\n").expect_err("it cannot be parsed");
        choices.add(0, "fn f() {\n    b();\n}\n").unwrap();
        let text = choices.write("active()", &["b-for-a"]);
        let line = text.lines().position(|line| line.contains("b();")).unwrap() + 1;
        let changed = Changed::from([("x/y.rs".into(), Some(text.into_bytes()))]);
        let blamed = |errors: &str| blame(errors, &changed);
        assert_eq!(
            blamed(&format!("x/y.rs:{line}:5: error[E0425]: no b\nerror: could not compile")),
            "\nthe seeded defect b-for-a does not build"
        );
        assert_eq!(blamed("x/y.rs:1:5: error[E0425]: no f"), "");
    }
}
