//! The result of a power cut: any version of each unsynced page, torn or whole, and the durable directory entries.

use super::{SECTOR_BYTES, State};
use crate::fault::Fault;
use crate::trace::{Actor, Mark};

impl State<'_> {
    pub(super) fn cut_power(&mut self) {
        for (number, log_file) in std::mem::take(&mut self.removed) {
            // The removal of the directory entry was not synced: the file may exist again.
            if !self.log_files.contains_key(&number) && self.decisions.strikes(Fault::ReturnedFile) {
                self.log_files.insert(number, log_file);
                self.counts.resurrected_log_files += 1;
                self.note(&[number], format_args!("log file {number}, which was removed, exists again"));
            }
        }
        self.lose_entries();
        let trace = self.trace.clone();
        for (&number, log_file) in &mut self.log_files {
            for (page, versions) in std::mem::take(&mut log_file.dirty) {
                let range = log_file.page(page);
                let torn = self.decisions.fault(Fault::TornSectors);
                let newest = versions.len();
                let platter = log_file.durable[range.clone()].to_vec();
                log_file.former.insert(page, platter[..].into());
                let version = |n: usize| if n == 0 { &platter[..] } else { &versions[n - 1].1[..] };
                let lost = self.decisions.strikes(Fault::LostPages);
                let chosen = if lost { newest - 1 - self.decisions.index(newest) } else { newest };
                self.counts.pages_lost += u64::from(chosen < newest);
                let target = &mut log_file.durable[range];
                target.copy_from_slice(version(chosen));
                trace.note(
                    Actor::Disk,
                    if chosen < newest || torn { Mark::Fault } else { Mark::Detail },
                    &[number, page as u64, chosen as u64, newest as u64, u64::from(torn)],
                    format_args!(
                        "page {page} of log file {number} {}{}",
                        PageFate { chosen, newest },
                        if torn { " and is torn" } else { "" }
                    ),
                );
                if chosen < newest || torn {
                    log_file.scars.insert(page, if torn { 't' } else { 'x' });
                }
                if !torn {
                    continue;
                }
                self.counts.pages_torn += 1;
                if self.decisions.below(2) == 0 {
                    for at in (0..target.len()).step_by(SECTOR_BYTES) {
                        let sector = at..(at + SECTOR_BYTES).min(target.len());
                        let from = newest - self.decisions.index(newest + 1);
                        target[sector.clone()].copy_from_slice(&version(from)[sector]);
                    }
                } else if chosen < newest {
                    // Written back while the process was copying the next version in.
                    let copied = self.decisions.index(target.len() / 8 + 1) * 8;
                    target[..copied].copy_from_slice(&version(chosen + 1)[..copied]);
                }
                if *target != *version(chosen) {
                    self.decisions.changed(Fault::TornSectors);
                }
            }
            log_file.memory.copy_from_slice(&log_file.durable);
        }
    }

    /// Files whose directory entries are not durable.
    fn lose_entries(&mut self) {
        let unsure: Vec<u64> =
            self.log_files.iter().filter(|(_, s)| !s.entry_durable).map(|(number, _)| *number).collect();
        for number in unsure {
            if self.decisions.strikes(Fault::LostEntry) {
                self.log_files.remove(&number);
                self.note(&[number], format_args!("log file {number}, which was just created, is missing"));
            } else if let Some(log_file) = self.log_files.get_mut(&number) {
                log_file.entry_durable = true;
            }
        }
    }
}

/// The fate of a page at a power cut.
struct PageFate {
    /// The surviving version; 0 is the last synced one.
    chosen: usize,
    newest: usize,
}

impl std::fmt::Display for PageFate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PageFate { chosen, newest } if chosen == newest => {
                write!(f, "survives although it was not synced")
            }
            PageFate { chosen: 0, .. } => write!(f, "is lost: it keeps the last synced version"),
            PageFate { chosen, newest } => write!(f, "keeps version {chosen} of {newest}"),
        }
    }
}
