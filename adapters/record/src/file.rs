//! Files of a recording, and the meaning of a torn or damaged one.
//!
//! A directory holds the files of any number of terms of one database, `TERM-NUMBER.tmrec`, both counted from 1 in ten
//! digits. A file is
//!
//! ```text
//! magic `TMRECORD` · format version u32 · length of the header u32 · XXH3-64 of the header · header, in the kernel's CBOR encoding
//! frames: length u32 · XXH3-64 u64 · items in CBOR encoding, one after another
//! ```
//!
//! A frame's checksum is seeded with the checksum of the header and the frame's number, so that bytes of another file
//! do not verify. Nothing is ever synced: a process kill keeps the written frames, a power cut some of them. The first
//! incomplete frame ends the file; the loss is reported and not refused, because a recording is not the database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kernel::{Config, Micros, Sequence, Term, cbor};
use minicbor::{Decode, Encode};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::item::{Item, RecordedQuiescedState};

const MAGIC: [u8; 8] = *b"TMRECORD";
/// Version of the files that this program writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 4;
const PREFIX_LEN: usize = 24;
const FRAME_PREFIX_LEN: usize = 12;

/// Ending of a recording's file.
pub const EXTENSION: &str = "tmrec";

/// The header of a file: its database, and where a replay starts.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct FileHeader {
    /// Version of the kernel that ran: [`kernel::VERSION`].
    #[n(0)]
    pub kernel: String,
    /// Identity of the database.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub database: [u8; 16],
    /// The term.
    #[n(2)]
    pub term: Term,
    /// Number among the term's files, from 1.
    #[n(3)]
    pub number: u64,
    /// Shards of the database.
    #[n(4)]
    pub shard_count: u16,
    /// Limits of the coordinator.
    #[n(5)]
    pub config: Config,
    /// Where a replay starts.
    #[n(6)]
    pub begin: Begin,
}

/// Where a replay starts.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub enum Begin {
    /// At the start of the term: recover the log up to its `open` record.
    #[n(0)]
    Term {
        /// Sequence of the `open` record.
        #[n(0)]
        open: Sequence,
        /// Time at which the coordinator was made.
        #[n(1)]
        now_us: Micros,
    },
    /// In the middle of a term: recover the log up to the quiesced state's record, and continue from there.
    #[n(1)]
    Quiesced(#[n(0)] Box<RecordedQuiescedState>),
}

impl Begin {
    /// The last record of the log before the recording.
    pub fn sequence(&self) -> Sequence {
        match self {
            Begin::Term { open, .. } => *open,
            Begin::Quiesced(quiesced_state) => quiesced_state.sequence,
        }
    }
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The operating system returns an error.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// The action.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// Not a recording.
    #[error("{} is no recording of tidemark", .0.display())]
    NotARecording(PathBuf),
    /// Of another version of this program.
    #[error(
        "{} is a recording of format version {found}, this program reads {FORMAT_VERSION}; replay it with the version of tidemark \
         that wrote it",
        path.display()
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// A checksum is valid and its content is not, or the header is damaged.
    #[error("{} is damaged at offset {offset}: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// There is none.
    #[error("{} holds no recording (no file ends in .{EXTENSION})", .0.display())]
    Nothing(PathBuf),
}

/// Name of a file in its directory.
pub fn file_name(term: Term, number: u64) -> String {
    format!("{:010}-{number:010}.{EXTENSION}", term.0)
}

/// The recording's files in a directory, in order of term and number.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let failed = |error| RecordingError::Io { what: "list", path: directory.into(), error };
    let mut files = vec![];
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A file's first bytes.
pub fn encode_header(header: &FileHeader) -> Vec<u8> {
    let body = cbor::to_vec(header);
    let mut bytes = Vec::with_capacity(PREFIX_LEN + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Seed of the checksums of a file's frames, from its encoded header.
pub fn frame_seed(header: &[u8]) -> u64 {
    xxh3_64(header)
}

/// Space at the front of a frame, to be filled in by [`seal_frame`].
pub fn begin_frame(frame: &mut Vec<u8>) {
    frame.clear();
    frame.resize(FRAME_PREFIX_LEN, 0);
}

/// Whether a frame has no items.
pub fn is_empty_frame(frame: &[u8]) -> bool {
    frame.len() <= FRAME_PREFIX_LEN
}

/// Appends an item to a frame.
pub fn push_item(frame: &mut Vec<u8>, item: &Item) {
    cbor::extend(item, frame);
}

/// Completes a frame, which is then ready to be written.
pub fn seal_frame(frame: &mut [u8], seed: u64, number: u64) {
    let (prefix, items) = frame.split_at_mut(FRAME_PREFIX_LEN);
    prefix[0..4].copy_from_slice(&u32::try_from(items.len()).unwrap_or(u32::MAX).to_le_bytes());
    prefix[4..12].copy_from_slice(&xxh3_64_with_seed(items, seed.wrapping_add(number)).to_le_bytes());
}

/// A file, being read.
#[derive(Debug)]
pub struct Recording {
    /// Its header.
    pub header: FileHeader,
    path: PathBuf,
    bytes: Vec<u8>,
    seed: u64,
    /// Where the next frame begins, and its number.
    next_frame: usize,
    frames: u64,
    /// Items of the present frame that are still to be read.
    at: usize,
    frame_end: usize,
    torn: bool,
}

impl Recording {
    /// Reads a file and its header.
    pub fn open(path: &Path) -> Result<Recording, RecordingError> {
        let bytes =
            fs::read(path).map_err(|error| RecordingError::Io { what: "read", path: path.into(), error })?;
        let Some(prefix) = bytes.get(..PREFIX_LEN).filter(|prefix| prefix[..8] == MAGIC) else {
            return Err(RecordingError::NotARecording(path.into()));
        };
        let found = u32_at(prefix, 8);
        if found != FORMAT_VERSION {
            return Err(RecordingError::Version { path: path.into(), found });
        }
        let damaged = |what: String| RecordingError::Damaged { path: path.into(), offset: 0, what };
        let end = PREFIX_LEN.saturating_add(u32_at(prefix, 12) as usize);
        let body = bytes.get(PREFIX_LEN..end).ok_or_else(|| damaged("its header is cut off".into()))?;
        if xxh3_64(body) != u64_at(prefix, 16) {
            return Err(damaged("its header does not match its checksum".into()));
        }
        let header: FileHeader =
            cbor::from_slice(body).map_err(|error| damaged(format!("its header makes no sense: {error}")))?;
        let seed = frame_seed(&bytes[..end]);
        Ok(Recording {
            header,
            path: path.into(),
            bytes,
            seed,
            next_frame: end,
            frames: 0,
            at: end,
            frame_end: end,
            torn: false,
        })
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file after the last complete frame: the frame that was being written when the process died. Known
    /// at the end.
    pub fn torn_bytes(&self) -> usize {
        if self.torn { self.bytes.len() - self.next_frame } else { 0 }
    }

    /// The next item; None at the end.
    pub fn next_item(&mut self) -> Result<Option<Item>, RecordingError> {
        while self.at == self.frame_end {
            if !self.enter_frame() {
                return Ok(None);
            }
        }
        let rest = &self.bytes[self.at..self.frame_end];
        let (item, left) = cbor::take::<Item>(rest).map_err(|error| RecordingError::Damaged {
            path: self.path.clone(),
            offset: self.at as u64,
            what: format!("an item makes no sense: {error}"),
        })?;
        self.at = self.frame_end - left.len();
        Ok(Some(item))
    }

    fn enter_frame(&mut self) -> bool {
        let rest = &self.bytes[self.next_frame..];
        if rest.is_empty() {
            return false;
        }
        self.torn = true;
        let Some(prefix) = rest.get(..FRAME_PREFIX_LEN) else { return false };
        let end = FRAME_PREFIX_LEN.saturating_add(u32_at(prefix, 0) as usize);
        let Some(items) = rest.get(FRAME_PREFIX_LEN..end) else { return false };
        if xxh3_64_with_seed(items, self.seed.wrapping_add(self.frames)) != u64_at(prefix, 4) {
            return false;
        }
        self.torn = false;
        self.at = self.next_frame + FRAME_PREFIX_LEN;
        self.frame_end = self.next_frame + end;
        self.next_frame = self.frame_end;
        self.frames += 1;
        true
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
