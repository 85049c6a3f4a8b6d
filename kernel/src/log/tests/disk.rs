//! A disk that loses unsynced writes: after a power cut, every unit (a sector by default) that was written since its
//! last sync holds any of its versions since then, independently of other units. The process can be ended at any call.

use std::collections::BTreeMap;

use crate::error::{Error, Result, SqlState};
use crate::log::{MANIFEST_SLOT_LEN, ManifestSlot, Storage};

/// The unit of independent survival.
pub const UNIT: usize = 512;

/// Log files made of units.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    log_files: BTreeMap<u64, Vec<Unit>>,
    /// The manifest after a crash of any kind.
    manifest: Option<[ManifestSlot; 2]>,
    /// Mutating calls left before the process ends; None: any number.
    pub calls_left: Option<usize>,
    /// Mutating calls so far.
    pub calls: usize,
    /// The next sync fails, and leaves clean pages that are not on the disk (fault B3).
    pub next_sync_fails: bool,
    /// Where records were written: log file and offset of each header.
    pub headers: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Unit {
    /// What may be on the disk, the newest last, which is also what is read. Never empty.
    versions: Vec<Vec<u8>>,
    /// A sync failed: the operating system marks the unit as clean and does not write it until it is written to again.
    forsaken: bool,
}

impl Disk {
    /// An empty disk whose process ends after this number of calls.
    pub fn ending_after(calls: usize) -> Disk {
        Disk { calls_left: Some(calls), ..Disk::default() }
    }

    /// Number of states that a power cut can leave.
    pub fn outcomes(&self) -> usize {
        self.units().map(|unit| unit.versions.len()).product()
    }

    /// The `choice`th of all states after a power cut. The next process has any number of calls.
    pub fn power_cut(&self, mut choice: usize) -> Disk {
        let mut left = self.killed();
        for unit in left.log_files.values_mut().flatten() {
            let version = unit.versions.swap_remove(choice % unit.versions.len());
            choice /= unit.versions.len() + 1;
            *unit = Unit { versions: vec![version], forsaken: false };
        }
        left
    }

    /// The state after the end of the process: everything that was written.
    pub fn killed(&self) -> Disk {
        Disk { calls_left: None, calls: 0, ..self.clone() }
    }

    /// The bytes as they are read.
    pub fn bytes(&self, number: u64) -> Vec<u8> {
        self.log_files[&number].iter().flat_map(|unit| unit.newest().clone()).collect()
    }

    fn units(&self) -> impl Iterator<Item = &Unit> {
        self.log_files.values().flatten()
    }

    fn step(&mut self) -> Result<()> {
        if let Some(left) = &mut self.calls_left {
            *left =
                left.checked_sub(1).ok_or_else(|| Error::new(SqlState::IO_ERROR, "the process has ended"))?;
        }
        self.calls += 1;
        Ok(())
    }

    fn range(&mut self, number: u64, offset: u64, len: u64) -> Result<&mut [Unit]> {
        let outside =
            || Error::new(SqlState::IO_ERROR, format!("log file {number} has no bytes {offset}+{len}"));
        let units = self.log_files.get_mut(&number).ok_or_else(outside)?;
        let end =
            offset.checked_add(len).filter(|end| *end <= (units.len() * UNIT) as u64).ok_or_else(outside)?;
        Ok(&mut units[offset as usize / UNIT..(end as usize).div_ceil(UNIT)])
    }
}

impl Unit {
    fn newest(&self) -> &Vec<u8> {
        self.versions.last().expect("never empty")
    }
}

impl Storage for Disk {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        Ok(self.log_files.iter().map(|(number, units)| (*number, (units.len() * UNIT) as u64)).collect())
    }

    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        self.step()?;
        if self.log_files.contains_key(&number) {
            return Err(Error::new(SqlState::IO_ERROR, format!("log file {number} exists already")));
        }
        assert_eq!(len as usize % UNIT, 0);
        let unit = Unit { versions: vec![vec![0; UNIT]], forsaken: false };
        self.log_files.insert(number, vec![unit; len as usize / UNIT]);
        Ok(())
    }

    fn prepare(&mut self, _number: u64, _len: u64) {}

    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        let bytes: Vec<u8> = self
            .range(number, offset, into.len() as u64)?
            .iter()
            .flat_map(|unit| unit.newest().clone())
            .collect();
        let start = offset as usize % UNIT;
        into.copy_from_slice(&bytes[start..start + into.len()]);
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.range(number, offset, bytes.len() as u64)?;
        self.step()?;
        if bytes.len() == 64 && bytes.starts_with(b"TMLR") {
            self.headers.push((number, offset));
        }
        let mut at = offset as usize % UNIT;
        let mut rest = bytes;
        for unit in self.range(number, offset, bytes.len() as u64)? {
            let (run, after) = rest.split_at(rest.len().min(UNIT - at));
            let mut version = unit.newest().clone();
            version[at..at + run.len()].copy_from_slice(run);
            // Bytes that stay the same are written too: they may bring a forsaken unit to the disk.
            if version != *unit.newest() {
                unit.versions.push(version);
            }
            unit.forsaken = false;
            (at, rest) = (0, after);
        }
        Ok(())
    }

    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        let fails = std::mem::take(&mut self.next_sync_fails);
        self.step()?;
        for unit in self.range(number, offset, len)? {
            if fails {
                unit.forsaken = true;
            } else if !unit.forsaken {
                unit.versions.drain(..unit.versions.len() - 1);
            }
        }
        if fails { Err(Error::new(SqlState::IO_ERROR, "the sync failed")) } else { Ok(()) }
    }

    fn remove(&mut self, number: u64) -> Result<()> {
        self.range(number, 0, 0)?;
        self.step()?;
        self.log_files.remove(&number);
        Ok(())
    }

    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        Ok(self.manifest)
    }

    /// A process that ends during the write leaves half of it, except of the first manifest, which is written
    /// completely or not at all.
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        if let Err(error) = self.step() {
            if let Some(slots) = &mut self.manifest {
                let half = MANIFEST_SLOT_LEN / 8;
                slots[slot][..half].copy_from_slice(&bytes[..half]);
            }
            return Err(error);
        }
        self.manifest.get_or_insert([[0; MANIFEST_SLOT_LEN]; 2])[slot] = *bytes;
        Ok(())
    }
}
