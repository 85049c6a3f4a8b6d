//! Writes the files of a recording: appends frames, begins files, removes the oldest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::file::{self, FileHeader, RecordingError};
use crate::item::Item;

/// The file being written.
pub(super) struct Output {
    file: File,
    seed: u64,
    frames: u64,
    /// Bytes written so far.
    pub written: u64,
    frame: Vec<u8>,
}

impl Output {
    /// Begins a file, after removing the oldest ones so that it fits the limit.
    pub fn begin(directory: &Path, header: &FileHeader, keep_bytes: u64) -> io::Result<Output> {
        drop_oldest(directory, keep_bytes)?;
        let path = directory.join(file::file_name(header.term, header.number));
        let bytes = file::encode_header(header);
        // A file of the same name is from a start that ended before its first record.
        let mut options = OpenOptions::new();
        // It contains data of the database: readable by its owner only.
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&bytes)?;
        let mut frame = Vec::new();
        file::begin_frame(&mut frame);
        Ok(Output { file, seed: file::frame_seed(&bytes), frames: 0, written: bytes.len() as u64, frame })
    }

    pub fn push(&mut self, item: &Item) {
        file::push_item(&mut self.frame, item);
    }

    /// Bytes that are not written yet.
    pub fn waiting(&self) -> usize {
        self.frame.len()
    }

    /// Writes the waiting items as one frame.
    pub fn flush(&mut self) -> io::Result<()> {
        if file::is_empty_frame(&self.frame) {
            return Ok(());
        }
        file::seal_frame(&mut self.frame, self.seed, self.frames);
        self.file.write_all(&self.frame)?;
        self.written += self.frame.len() as u64;
        self.frames += 1;
        file::begin_frame(&mut self.frame);
        Ok(())
    }
}

/// Removes the oldest files until the others take no more than so many bytes.
fn drop_oldest(directory: &Path, keep_bytes: u64) -> io::Result<()> {
    let mut files: Vec<(PathBuf, u64)> = vec![];
    for path in file::list(directory).map_err(to_io)? {
        let len = fs::metadata(&path)?.len();
        files.push((path, len));
    }
    let mut all: u64 = files.iter().map(|(_, len)| len).sum();
    for (path, len) in files {
        if all <= keep_bytes {
            break;
        }
        fs::remove_file(&path)?;
        all -= len;
    }
    Ok(())
}

fn to_io(error: RecordingError) -> io::Error {
    match error {
        RecordingError::Io { error, .. } => error,
        other => io::Error::other(other.to_string()),
    }
}
