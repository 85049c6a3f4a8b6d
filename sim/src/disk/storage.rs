//! The kernel's port: every call may fail, or be the last one of the process.

use kernel::log::{ManifestSlot, MemStorage, Storage};
use kernel::{Error, Result, SqlState};

use super::log_file::LogFile;
use super::{Disk, State, gone, io};
use crate::fault::Fault;

impl Disk<'_> {
    /// A copy of the log files in the page cache.
    pub fn image(&self) -> Result<MemStorage> {
        let (mut disk, mut image) = (self.clone(), MemStorage::new());
        for (number, len) in disk.log_files()? {
            let mut bytes = vec![0; len as usize];
            disk.read(number, 0, &mut bytes)?;
            image.create(number, len)?;
            image.write(number, 0, &bytes)?;
        }
        Ok(image)
    }
}

impl Storage for Disk<'_> {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        let mut state = self.state_mut();
        if state.begin("log files")? {
            return Err(gone());
        }
        if state.fails(Fault::FailedCall) {
            state.note(&[], format_args!("the log files cannot be listed"));
            return Err(io("the log files cannot be listed"));
        }
        Ok(state.log_files.iter().map(|(n, s)| (*n, s.memory.len() as u64)).collect())
    }

    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        // Log files are created rarely, so failures are more likely then.
        let mut dies = state.begin("create")?;
        for _ in 0..9 {
            dies = dies || state.begin("create")?;
        }
        if state.log_files.contains_key(&number) {
            return Err(io(format!("log file {number} exists already")));
        }
        check_announcement(state, number, true);
        if !dies && state.fails(Fault::DiskFull) {
            state.counts.no_space += 1;
            state.note(&[number], format_args!("no space for log file {number}"));
            return Err(Error::new(SqlState::DISK_FULL, format!("no room for log file {number}")));
        }
        if dies && state.decisions.below(2) == 0 {
            return Err(gone());
        }
        // Its own name, its length and its zeros are durable together: a file is prepared under another name first.
        state.removed.remove(&number);
        state.log_files.insert(number, LogFile { entry_durable: !dies, ..LogFile::new(len) });
        if dies { Err(gone()) } else { Ok(()) }
    }

    fn prepare(&mut self, number: u64, _len: u64) {
        check_announcement(&mut self.state_mut(), number, false);
    }

    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        if state.begin("read")? {
            return Err(gone());
        }
        if state.fails(Fault::FailedRead) {
            state.counts.read_failures += 1;
            state.note(&[number, offset], format_args!("log file {number} cannot be read at {offset}"));
            return Err(io(format!("log file {number} cannot be read at {offset}")));
        }
        let short = state.fails(Fault::ShortRead);
        let read = if short { state.decisions.index(into.len().max(1)) } else { into.len() };
        let log_file = state.log_file(number, offset, into.len())?;
        into[..read].copy_from_slice(&log_file.memory[offset as usize..offset as usize + read]);
        if short {
            state.note(
                &[number, offset],
                format_args!("a read of log file {number} at {offset} ends after {read} bytes"),
            );
            return Err(io(format!("log file {number} cannot be read to the end at {offset}")));
        }
        state.make_stale(number, offset as usize, into);
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        let dies = state.begin("write")?;
        let fails = !dies && state.fails(Fault::FailedWrite);
        state.log_file(number, offset, bytes.len())?;
        let written = if dies || fails { state.bytes_written_of(bytes.len()) } else { bytes.len() };
        state.counts.writes += 1;
        state.last_write = (number, offset, bytes.len());
        if !state.recovering {
            let end = (offset + bytes.len() as u64).next_multiple_of(kernel::record::ALIGNMENT);
            let before = state.filled.filter(|(log_file, _)| *log_file == number).map_or(0, |(_, end)| end);
            state.filled = Some((number, end.max(before)));
        }
        let version = state.counts.writes;
        state.log_file(number, offset, bytes.len())?.write(offset as usize, &bytes[..written], version);
        if fails {
            state.counts.write_failures += 1;
            state.failed = true;
            state.note(&[number, offset], format_args!("a write to log file {number} fails half-way"));
            return Err(io(format!("log file {number} cannot be written at {offset}")));
        }
        if dies { Err(gone()) } else { Ok(()) }
    }

    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        let sync = self.begin_sync(number, offset, len);
        self.end_sync(&sync)
    }

    fn remove(&mut self, number: u64) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        let dies = state.begin("remove")?;
        if !dies && state.fails(Fault::FailedCall) {
            state.note(&[number], format_args!("log file {number} cannot be removed"));
            return Err(io(format!("log file {number} cannot be removed")));
        }
        if dies && state.decisions.below(2) == 0 {
            return Err(gone());
        }
        let log_file =
            state.log_files.remove(&number).ok_or_else(|| io(format!("log file {number} does not exist")))?;
        state.counts.removed_log_files += 1;
        state.removed.insert(number, log_file);
        if dies { Err(gone()) } else { Ok(()) }
    }

    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        let state = self.state();
        if state.dead.is_some() { Err(gone()) } else { Ok(state.manifest) }
    }

    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        self.put_manifest(slot, bytes)
    }
}

/// A log file is announced once per term; the successor of a log file that is more than half full must be announced.
fn check_announcement(state: &mut State<'_>, number: u64, created: bool) {
    let filled = state.filled.filter(|(log_file, _)| log_file + 1 == number);
    let half = filled.and_then(|(log_file, end)| {
        let len = state.log_files.get(&log_file)?.memory.len() as u64;
        Some(2 * end > len)
    });
    let wrong = match created {
        true => half == Some(true) && !state.announced.contains(&number),
        false => !state.announced.insert(number) || half == Some(false),
    };
    if wrong {
        state.misannounced.get_or_insert_with(|| {
            let what = if created { "made unannounced" } else { "announced too early, or twice" };
            format!("log file {number} is {what}")
        });
    }
}
