//! The file of secrets. Each change writes the whole file again and makes it durable before it returns. Only its owner
//! may read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kernel::{Error, Result, SqlState};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Name of the file in the data directory.
const NAME: &str = "secrets";
/// Its name during a write.
const TEMPORARY: &str = "secrets.tmp";
/// Readable by its owner only.
const MODE: u32 = 0o600;
/// Version of the format.
const VERSION: u32 = 1;

/// Longest secret.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Most bytes of all secrets together.
const ALL_BYTES_MAX: usize = 16 << 20;

/// The secrets of a database, by generated names. The file is read at the first access, which must be after the data
/// directory was locked.
pub struct Secrets {
    /// None: in memory, for tests.
    directory: Option<PathBuf>,
    state: Mutex<Option<State>>,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<String, String>,
    /// Names of statements whose outcome is not known yet.
    pending: BTreeSet<String>,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// Checksum of the secrets as this program writes them.
    checksum: String,
    secrets: BTreeMap<String, String>,
}

/// The version of a file.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Secrets {
    /// The secrets of a data directory. Nothing is read or written yet.
    pub fn in_directory(directory: &Path) -> Secrets {
        Secrets { directory: Some(directory.to_owned()), state: Mutex::default() }
    }

    /// Secrets in memory, for tests.
    pub fn in_memory() -> Secrets {
        Secrets { directory: None, state: Mutex::default() }
    }

    /// Stores secrets; durable when it returns. The returned names, in the same order, are pending until they are
    /// [settled](Self::settle).
    pub fn keep(&self, secrets: &[String]) -> Result<Vec<String>> {
        self.with(|directory, state| {
            let mut kept = state.kept.clone();
            let mut names = Vec::new();
            for secret in secrets {
                let name = new_name()?;
                kept.insert(name.clone(), secret.clone());
                names.push(name);
            }
            check_sizes(&kept)?;
            write(directory, &kept)?;
            state.kept = kept;
            state.pending.extend(names.iter().cloned());
            Ok(names)
        })
    }

    /// The secret of this name.
    pub fn get(&self, name: &str) -> Result<Option<String>> {
        self.with(|_, state| Ok(state.kept.get(name).cloned()))
    }

    /// The outcome of the statement that stored these is known: the catalog shows whether they are used.
    pub fn settle(&self, names: &[String]) -> Result<()> {
        self.with(|_, state| {
            state.pending.retain(|name| !names.contains(name));
            Ok(())
        })
    }

    /// Names of no pending statement. Any of them that is not in a catalog published after this call can be
    /// [removed](Self::remove): it will not come into use again.
    pub fn settled(&self) -> Result<BTreeSet<String>> {
        self.with(|_, state| {
            let settled = state.kept.keys().filter(|name| !state.pending.contains(*name));
            Ok(settled.cloned().collect())
        })
    }

    /// Removes secrets. Names are never reused, so none of them comes into use meanwhile.
    pub fn remove(&self, names: &BTreeSet<String>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.with(|directory, state| {
            let mut kept = state.kept.clone();
            kept.retain(|name, _| !names.contains(name));
            write(directory, &kept)?;
            state.kept = kept;
            Ok(())
        })
    }

    fn with<T>(&self, work: impl FnOnce(Option<&Path>, &mut State) -> Result<T>) -> Result<T> {
        let directory = self.directory.as_deref();
        let mut state = self.state.lock();
        let state = match &mut *state {
            Some(state) => state,
            None => {
                let kept = directory.map_or(Ok(BTreeMap::new()), read)?;
                state.insert(State { kept, pending: BTreeSet::new() })
            }
        };
        work(directory, state)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// A name that no other secret ever has, of this database or of a copy of it.
fn new_name() -> Result<String> {
    let mut bytes = [0; 16];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => Ok(format!("{:032x}", u128::from_be_bytes(bytes))),
        other => Err(Error::new(SqlState::IO_ERROR, format!("no random bytes to be had: {other:?}"))),
    }
}

fn check_sizes(kept: &BTreeMap<String, String>) -> Result<()> {
    let too_much = |message: String| Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    if kept.values().any(|secret| secret.len() > SECRET_BYTES_MAX) {
        return too_much(format!("a value in CREDENTIALS is longer than {SECRET_BYTES_MAX} bytes"));
    }
    if kept.values().map(String::len).sum::<usize>() > ALL_BYTES_MAX {
        return too_much(format!("the secrets of all pipelines are more than {ALL_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Reads the file; empty if it does not exist. An incomplete temporary file is removed.
fn read(directory: &Path) -> Result<BTreeMap<String, String>> {
    let (path, temporary) = (directory.join(NAME), directory.join(TEMPORARY));
    remove(&temporary).map_err(|error| failed("remove", &temporary, &error))?;
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed("read", &path, &error)),
    };
    // A copy, for example from a backup, may have other permissions.
    let _ = fs::set_permissions(&path, Permissions::from_mode(MODE));
    decode(&text).map_err(|why| {
        let message = format!(
            "{} {why}; restore it from a backup, or remove it and set the CREDENTIALS of the pipelines again",
            path.display()
        );
        Error::new(SqlState::DATA_CORRUPTED, message)
    })
}

fn decode(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    // An error text of serde may contain parts of the file, and so of secrets.
    let damaged = || "is damaged".to_string();
    let Version { version } = serde_json::from_slice(text).map_err(|_| damaged())?;
    if version != VERSION {
        return Err(format!("has format {version}, and this version of tidemark knows {VERSION}"));
    }
    let contents: Contents = serde_json::from_slice(text).map_err(|_| damaged())?;
    if contents.checksum != checksum(&contents.secrets) {
        return Err(damaged());
    }
    Ok(contents.secrets)
}

fn checksum(secrets: &BTreeMap<String, String>) -> String {
    let text = serde_json::to_vec(secrets).expect("text maps to text");
    format!("{:016x}", xxh3_64(&text))
}

/// Replaces the content of the file; durable when it returns.
fn write(directory: Option<&Path>, secrets: &BTreeMap<String, String>) -> Result<()> {
    let Some(directory) = directory else { return Ok(()) };
    let (path, temporary) = (directory.join(NAME), directory.join(TEMPORARY));
    let done = if secrets.is_empty() { remove(&path) } else { replace(&path, &temporary, secrets) };
    done.and_then(|()| File::open(directory)?.sync_all()).map_err(|error| {
        let _ = remove(&temporary);
        failed("write", &path, &error)
    })
}

fn replace(path: &Path, temporary: &Path, secrets: &BTreeMap<String, String>) -> io::Result<()> {
    let contents = Contents { version: VERSION, checksum: checksum(secrets), secrets: secrets.clone() };
    let text = serde_json::to_vec(&contents).expect("text maps to text");
    // Created again, so that it has the required mode.
    remove(temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SqlState::DISK_FULL,
        _ => SqlState::IO_ERROR,
    };
    Error::new(
        kind,
        format!("cannot {what} the file of secrets {}: {error}; nothing was changed", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn secrets_are_there_again_in_a_file_of_the_owner() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_directory(directory.path());
        assert_eq!(secrets.get("a").unwrap(), None);
        let kept = secrets.keep(&["one".into(), "two".into()]).unwrap();
        let path = directory.path().join(NAME);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, MODE);
        let again = Secrets::in_directory(directory.path());
        assert_eq!(again.get(&kept[1]).unwrap().as_deref(), Some("two"));
        again.remove(&names(&[&kept[0]])).unwrap();
        let again = Secrets::in_directory(directory.path());
        assert_eq!(again.get(&kept[0]).unwrap(), None);
        assert_eq!(again.get(&kept[1]).unwrap().as_deref(), Some("two"));
        again.remove(&names(&[&kept[1]])).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_statement_waits_for_is_not_settled() {
        let secrets = Secrets::in_memory();
        let kept = secrets.keep(&["one".into(), "two".into()]).unwrap();
        assert_eq!(secrets.settled().unwrap(), names(&[]));
        secrets.settle(&kept[..1]).unwrap();
        assert_eq!(secrets.settled().unwrap(), names(&[&kept[0]]));
    }

    #[test]
    fn an_unfinished_file_is_removed_and_a_damaged_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (path, temporary) = (directory.path().join(NAME), directory.path().join(TEMPORARY));
        let kept = Secrets::in_directory(directory.path()).keep(&["one".into()]).unwrap();
        fs::write(&temporary, "half of a secre").unwrap();
        let ask = || Secrets::in_directory(directory.path()).get(&kept[0]);
        assert_eq!(ask().unwrap().as_deref(), Some("one"));
        assert!(!temporary.exists());

        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replace("one", "oné")).unwrap();
        let error = ask().unwrap_err();
        assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED);
        assert!(error.message.contains("damaged") && !error.message.contains("on"), "{error}");
        fs::write(&path, whole.replace("\"version\":1", "\"version\":7")).unwrap();
        let error = ask().unwrap_err();
        assert!(error.message.contains("format 7") && error.message.contains("knows 1"), "{error}");
    }

    /// Files of this version are read for ever.
    #[test]
    fn the_format_stays() {
        let golden = r#"{"version":1,"checksum":"c1dc0ce5d95584bf","secrets":{"0a":"one","0b":"two \"2\""}}"#;
        let decoded = decode(golden.as_bytes()).unwrap();
        assert_eq!(decoded["0a"], "one");
        assert_eq!(decoded["0b"], "two \"2\"");
    }

    #[test]
    fn a_secret_has_a_limit() {
        let secrets = Secrets::in_memory();
        let error = secrets.keep(&["x".repeat(SECRET_BYTES_MAX + 1)]).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::PROGRAM_LIMIT_EXCEEDED);
        assert_eq!(secrets.settled().unwrap(), names(&[]));
        secrets.keep(&["x".repeat(SECRET_BYTES_MAX)]).unwrap();
    }
}
