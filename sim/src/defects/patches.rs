//! The seeded defects of the kernel and the decoder: `sim/defects/NAME.patch`, each a head of `key: value` lines and a
//! diff against the shipped source. They are read when they are first asked for. `bugs::seeded` builds them in.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{About, Class};
use crate::bugs::repository;

/// A defect as a patch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Patch {
    /// Its description.
    pub about: About,
    /// The file.
    pub path: PathBuf,
}

static PATCHES: LazyLock<Result<Vec<Patch>, String>> =
    LazyLock::new(|| read_folder(&repository()?.join("sim/defects")));

/// All patches, by name. An error names the file and the reason.
pub fn patches() -> Result<&'static [Patch], String> {
    PATCHES.as_deref().map_err(String::clone)
}

fn read_folder(folder: &Path) -> Result<Vec<Patch>, String> {
    let listed = std::fs::read_dir(folder).and_then(|entries| entries.map(|e| Ok(e?.path())).collect());
    let mut paths: Vec<PathBuf> = listed.map_err(|e| format!("{} cannot be read: {e}", folder.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    paths.into_iter().map(|path| read(&path).map_err(|e| format!("{}: {e}", path.display()))).collect()
}

fn read(path: &Path) -> Result<Patch, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let name = path.file_stem().and_then(|name| name.to_str()).ok_or("its name is not UTF-8")?;
    Ok(Patch { about: about(name, &text)?, path: path.into() })
}

/// The description in the head of a patch. It is read once and kept for the rest of the process.
fn about(name: &str, text: &str) -> Result<About, String> {
    let (mut what, mut origin, mut class, mut together, mut invariant) = (None, None, None, Vec::new(), None);
    for line in text.lines().take_while(|line| !line.starts_with("diff --git ")) {
        match line.split_once(": ") {
            Some(("what", value)) => what = Some(leak(value)),
            Some(("origin", value)) => origin = Some(leak(value)),
            Some(("class", "logic")) => class = Some(Class::Logic),
            Some(("class", "needs a fault")) => class = Some(Class::NeedsFault),
            Some(("class", "needs two faults")) => class = Some(Class::NeedsTwoFaults),
            Some(("together", value)) => together = value.split(' ').map(leak).collect(),
            Some(("invariant", value)) => invariant = Some(leak(value)),
            None if line.is_empty() => {}
            _ => return Err(format!("a line of its head is not understood: {line:?}")),
        }
    }
    let missing = |key: &str| format!("its head has no line {key:?}");
    Ok(About {
        name: leak(name),
        what: what.ok_or_else(|| missing("what: "))?,
        origin: origin.ok_or_else(|| missing("origin: "))?,
        class: class.ok_or_else(|| missing("class: "))?,
        together: Vec::leak(together),
        invariant: invariant.ok_or_else(|| missing("invariant: "))?,
    })
}

fn leak(text: &str) -> &'static str {
    String::leak(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_or_what_it_lacks_is_named() {
        let head = "what: It is wrong.\norigin: x#1: (A1)\nclass: needs two faults\ntogether: kill power-cut\ninvariant: live\n\ndiff --git a/x b/x\n";
        let read = about("it-is-wrong", head).unwrap();
        assert_eq!((read.name, read.origin, read.class), ("it-is-wrong", "x#1: (A1)", Class::NeedsTwoFaults));
        assert_eq!((read.together, read.invariant), (&["kill", "power-cut"][..], "live"));
        let without = about("x", &head.replace("invariant: live\n", "")).unwrap_err();
        assert!(without.contains("invariant"), "{without}");
        let strange = about("x", &head.replace("class: needs two faults", "class: hard")).unwrap_err();
        assert!(strange.contains("class: hard"), "{strange}");
    }
}
