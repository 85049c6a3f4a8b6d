//! Free space and the reserve, so that a server becomes read-only before the disk is full.

use std::path::{Path, PathBuf};

use kernel::Result;

use crate::failed;

/// Bytes that this user can still write on the file system of `path`.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let space = rustix::fs::statvfs(path).map_err(|e| failed("ask for the free space of", path, e.into()))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Checks that a number of bytes stays free. After a shortage, a quarter more than the reserve must be free before the
/// check passes again, so that a server does not alternate between read-only and read-write.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    reserve_bytes: u64,
    sufficient: bool,
}

impl Reserve {
    /// A reserve on the file system of `path`.
    pub fn new(path: &Path, reserve_bytes: u64) -> Reserve {
        Reserve { path: path.to_owned(), reserve_bytes, sufficient: true }
    }

    /// Asks the file system. Some if the result has changed: the value for [`kernel::Input::DiskSpace`].
    pub fn poll(&mut self) -> Result<Option<bool>> {
        let free = free_bytes(&self.path)?;
        Ok(self.judge(free))
    }

    fn judge(&mut self, free: u64) -> Option<bool> {
        let margin = if self.sufficient { 0 } else { self.reserve_bytes / 4 };
        let sufficient = free >= self.reserve_bytes.saturating_add(margin);
        let changed = sufficient != self.sufficient;
        self.sufficient = sufficient;
        changed.then_some(sufficient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_answers_once_each_way_and_with_a_margin() {
        let mut reserve = Reserve::new(Path::new("/"), 100);
        assert_eq!(reserve.judge(100), None);
        assert_eq!(reserve.judge(99), Some(false));
        assert_eq!(reserve.judge(110), None);
        assert_eq!(reserve.judge(125), Some(true));
        assert_eq!(reserve.judge(100), None);
    }

    #[test]
    fn a_file_system_has_free_bytes_and_a_missing_path_is_an_error() {
        assert!(free_bytes(&std::env::temp_dir()).is_ok());
        assert!(free_bytes(Path::new("/no/such/path")).unwrap_err().message.contains("/no/such/path"));
    }
}
