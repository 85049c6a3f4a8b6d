//! Log files as files: complete before they appear under their names, written through a memory map, read with pread,
//! synced by range.
//!
//! A log file is written full of zeros, not only reserved. A write into the map then never needs new disk space (lack
//! of which would be SIGBUS), and a sync writes data without changes of the file's layout.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use kernel::log::{Manifest, ManifestSlot, Storage, SyncPlan};
use kernel::{Error, Result, SqlState};
use memmap2::MmapRaw;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;

use crate::lock::DirLock;
use crate::manifest::ManifestFile;
use crate::{DIRECTORY_MODE, FILE_MODE, failed};

/// Zeros that are written and synced at once while a log file is made: small enough for a sync of the log in between.
const ZERO_RUN_LEN: u64 = 4 << 20;

/// The log files of a data directory.
#[derive(Debug)]
pub struct MmapStorage {
    lock: DirLock,
    manifest: ManifestFile,
    log_files: BTreeMap<u64, LogFile>,
    maps: Maps,
    preparing: Option<Preparing>,
}

/// Maps of the log files that were written to, shared with every [`Syncer`].
type Maps = Arc<Mutex<BTreeMap<u64, Arc<MmapRaw>>>>;

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// Made at the first write.
    map: Option<Arc<MmapRaw>>,
}

/// A log file under construction, under its temporary name.
#[derive(Debug)]
struct Preparing {
    number: u64,
    len: u64,
    thread: JoinHandle<Result<File>>,
}

impl MmapStorage {
    /// Locks the directory, creates it if it does not exist, and lists its log files. Incomplete files of the last
    /// owner are removed. A directory that held a database and has lost its manifest is refused.
    pub fn open(directory: &Path) -> Result<MmapStorage> {
        make_directory(directory)?;
        let lock = DirLock::take(directory)?;
        ManifestFile::remove_unfinished(directory)?;
        let manifest = ManifestFile::open(directory, true)?;
        let mut log_files = BTreeMap::new();
        let entries = fs::read_dir(directory).map_err(|e| failed("list", directory, e))?;
        for name in ["lock", "manifest"] {
            narrow(&directory.join(name), FILE_MODE);
        }
        for entry in entries {
            let path = entry.map_err(|e| failed("list", directory, e))?.path();
            match Name::of(&path) {
                Some(Name::Temporary) => fs::remove_file(&path).map_err(|e| failed("remove", &path, e))?,
                Some(Name::LogFile(number)) => {
                    log_files.insert(number, LogFile::open(path)?);
                }
                None => {}
            }
        }
        if lock.database().is_some() && !manifest.is_there() {
            return Err(without_manifest(directory, log_files.is_empty()));
        }
        Ok(MmapStorage { lock, manifest, log_files, maps: Maps::default(), preparing: None })
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.lock.directory()
    }

    /// A handle that syncs from another thread, while this one is written to.
    pub fn syncer(&self) -> Syncer {
        Syncer { maps: self.maps.clone(), manifest: self.manifest.clone() }
    }

    fn log_file(&mut self, number: u64) -> Result<&mut LogFile> {
        let directory = self.lock.directory();
        self.log_files.get_mut(&number).ok_or_else(|| {
            let message = format!("there is no log file {number} in {}", directory.display());
            Error::new(SqlState::IO_ERROR, message)
        })
    }

    /// The file of a log file, durable under its temporary name; made by the background thread, if that was asked for
    /// it.
    fn made(&mut self, number: u64, len: u64, temporary: &Path) -> Result<File> {
        if let Some(preparing) = self.preparing.take() {
            let fits = (preparing.number, preparing.len) == (number, len);
            let made = preparing.thread.join().expect("the thread that makes a log file does not panic");
            if fits {
                return made;
            }
        }
        make_zeroed(temporary, len)
    }

    fn sync_directory(&self) -> Result<()> {
        sync_directory(self.lock.directory())
    }
}

impl Storage for MmapStorage {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        Ok(self.log_files.iter().map(|(number, log_file)| (*number, log_file.len)).collect())
    }

    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        let (path, temporary) = (self.lock.directory().join(Name::log_file(number)), self.temporary(number));
        if self.log_files.contains_key(&number) {
            let message = format!("log file {} exists already", path.display());
            return Err(Error::new(SqlState::IO_ERROR, message));
        }
        let file = self.made(number, len, &temporary)?;
        fs::rename(&temporary, &path).map_err(|e| failed("rename", &temporary, e))?;
        self.sync_directory()?;
        self.log_files.insert(number, LogFile { path, file, len, map: None });
        Ok(())
    }

    fn prepare(&mut self, number: u64, len: u64) {
        if self.preparing.is_some() || self.log_files.contains_key(&number) {
            return;
        }
        let temporary = self.temporary(number);
        let builder = std::thread::Builder::new().name("log-prepare".into());
        // Without the thread the log file is made when it is needed.
        if let Ok(thread) = builder.spawn(move || make_zeroed(&temporary, len)) {
            self.preparing = Some(Preparing { number, len, thread });
        }
    }

    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        let log_file = self.log_file(number)?;
        log_file.check_range(offset, into.len() as u64)?;
        log_file.file.read_exact_at(into, offset).map_err(|e| failed("read", &log_file.path, e))
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        let maps = self.maps.clone();
        let log_file = self.log_file(number)?;
        log_file.check_range(offset, bytes.len() as u64)?;
        if log_file.map.is_none() {
            let map = Arc::new(log_file.map_for_writing()?);
            maps.lock().insert(number, map.clone());
            log_file.map = Some(map);
        }
        let map = log_file.map.as_ref().expect("made above");
        // SAFETY: the range lies inside the map, whose length is the log file's (`check_range`); the file is never
        // shortened while this process holds the directory's lock. Only this method writes to the map, and it has the storage
        // exclusively; no reference into the map is ever made.
        unsafe {
            let into = map.as_mut_ptr().add(offset as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), into, bytes.len());
        }
        Ok(())
    }

    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        let log_file = self.log_file(number)?;
        log_file.check_range(offset, len)?;
        match &log_file.map {
            Some(map) => flush(map, number, offset, len),
            // Nothing was written to it in this term.
            None => Ok(()),
        }
    }

    fn remove(&mut self, number: u64) -> Result<()> {
        let path = self.log_file(number)?.path.clone();
        fs::remove_file(&path).map_err(|e| failed("remove", &path, e))?;
        self.sync_directory()?;
        self.log_files.remove(&number);
        self.maps.lock().remove(&number);
        Ok(())
    }

    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        self.manifest.read()
    }

    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        self.manifest.write(slot, bytes)?;
        match Manifest::of_slots(&[*bytes; 2]) {
            Ok(manifest) => self.lock.remember(manifest.database),
            // A failed hint is not an error.
            Err(_) => Ok(()),
        }
    }
}

impl MmapStorage {
    fn temporary(&self, number: u64) -> PathBuf {
        self.lock.directory().join(Name::temporary(number))
    }
}

impl Drop for MmapStorage {
    /// The directory stays locked until the background thread has ended.
    fn drop(&mut self) {
        if let Some(preparing) = self.preparing.take() {
            let _ = preparing.thread.join();
            let _ = fs::remove_file(self.temporary(preparing.number));
        }
    }
}

/// Syncs from another thread than the one that writes.
#[derive(Clone, Debug)]
pub struct Syncer {
    maps: Maps,
    manifest: ManifestFile,
}

impl Syncer {
    /// Carries out a plan: when it returns, everything written to the plan's ranges before the call is durable, and so
    /// is its manifest.
    pub fn sync(&self, plan: &SyncPlan) -> Result<()> {
        for range in &plan.ranges {
            let map = self.maps.lock().get(&range.log_file).cloned();
            let map = map.ok_or_else(|| {
                let message = format!("log file {} was removed before it was synced", range.log_file);
                Error::new(SqlState::INTERNAL_ERROR, message)
            })?;
            flush(&map, range.log_file, range.offset, range.len)?;
        }
        match &plan.manifest {
            Some(manifest) => self.manifest.write(manifest.slot(), &manifest.encode()),
            None => Ok(()),
        }
    }
}

fn flush(map: &MmapRaw, number: u64, offset: u64, len: u64) -> Result<()> {
    let done = map.flush_range(offset as usize, len as usize);
    done.map_err(|e| failed("sync", Path::new(&Name::log_file(number)), e))
}

impl LogFile {
    fn open(path: PathBuf) -> Result<LogFile> {
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|e| failed("open", &path, e))?;
        let len = file.metadata().map_err(|e| failed("ask for the length of", &path, e))?.len();
        narrow(&path, FILE_MODE);
        Ok(LogFile { path, file, len, map: None })
    }

    /// A log file that was copied by a backup may have holes: they are filled first, so that a full disk is an error here.
    fn map_for_writing(&self) -> Result<MmapRaw> {
        let filled = rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, self.len);
        match filled {
            // Not every file system supports this; holes then remain possible. With too little space, ext4 has filled
            // some of the holes: this is kept, because the next start needs the same space.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(failed("reserve space for", &self.path, error.into())),
        }
        MmapRaw::map_raw(&self.file).map_err(|e| failed("map", &self.path, e))
    }

    fn check_range(&self, offset: u64, len: u64) -> Result<()> {
        if offset.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let path = self.path.display();
        let message = format!("{path} has {} bytes, and none at {offset}+{len}", self.len);
        Err(Error::new(SqlState::IO_ERROR, message))
    }
}

/// What a file in the data directory is, by its name.
pub(crate) enum Name {
    LogFile(u64),
    Temporary,
}

impl Name {
    pub fn log_file(number: u64) -> String {
        format!("log-{number:010}.tml")
    }

    fn temporary(number: u64) -> String {
        format!("log-{number:010}.tmp")
    }

    pub fn of(path: &Path) -> Option<Name> {
        let (number, ending) = path.file_name()?.to_str()?.strip_prefix("log-")?.split_once('.')?;
        let number = number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()))?;
        match ending {
            "tml" => Some(Name::LogFile(number)),
            "tmp" => Some(Name::Temporary),
            _ => None,
        }
    }
}

/// Removes permissions that an earlier version, or a person, gave to other users. An error is ignored: then the
/// directory's owner decided so.
fn narrow(path: &Path, mode: u32) {
    let wider = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o777 & !mode != 0);
    if wider {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    }
}

fn without_manifest(directory: &Path, empty: bool) -> Error {
    let directory = directory.display();
    let message = match empty {
        true => format!(
            "{directory} held a database, and its log and its manifest are missing, with all records; nothing was changed; restore \
             the data directory from a backup, or empty it to begin a new database"
        ),
        false => format!(
            "the manifest of {directory} is missing, so that the required length of the log is unknown; nothing was changed; \
             restore the data directory from a backup; to continue with the log as it is, empty the file named lock in it"
        ),
    };
    Error::new(SqlState::DATA_CORRUPTED, message)
}

fn make_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        narrow(directory, DIRECTORY_MODE);
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|e| failed("make data directory", directory, e))?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}

pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(|e| failed("sync directory", directory, e))
}

/// Makes a file of zeros, durable except for its directory entry. An incomplete file is removed again.
fn make_zeroed(path: &Path, len: u64) -> Result<File> {
    write_zeroed(path, len).map_err(|error| {
        let _ = fs::remove_file(path);
        failed("make log file", path, error)
    })
}

fn write_zeroed(path: &Path, len: u64) -> io::Result<File> {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    // Free space is checked before anything is written, and before fallocate, which on some file systems (ext4) takes
    // all free space before it fails. If that still happens, the caller frees the space by removing the file.
    let space = rustix::fs::fstatvfs(&file)?;
    if space.f_bavail.saturating_mul(space.f_frsize) < len {
        return Err(rustix::io::Errno::NOSPC.into());
    }
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    let mut written = 0;
    while written < len {
        let run = (len - written).min(ZEROS.len() as u64);
        file.write_all(&ZEROS[..run as usize])?;
        written += run;
        if written % ZERO_RUN_LEN == 0 {
            file.sync_data()?;
        }
    }
    file.sync_all()?;
    Ok(file)
}
