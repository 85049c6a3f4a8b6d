//! The real storage fulfils the contract of the port, on the file system of the temporary directory. A workload that is
//! killed runs in a separate process: this test, started again.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kernel::log::contract::{Disks, Workload, storage_contract};
use tempfile::TempDir;
use tidemark_log::{MmapStorage, free_bytes};

/// Tell the process its workload and directory.
const WORKLOAD_ENV: &str = "TIDEMARK_TEST_WORKLOAD";
const DIRECTORY_ENV: &str = "TIDEMARK_TEST_DIRECTORY";
/// The line that it prints when the workload is done and it waits for the kill.
const LIVED: &str = "this workload is done";

struct RealFiles {
    root: TempDir,
    made: u32,
    small: Vec<TempDir>,
}

impl RealFiles {
    fn directory(&mut self) -> PathBuf {
        self.made += 1;
        self.root.path().join(self.made.to_string())
    }
}

fn open(directory: &Path) -> MmapStorage {
    MmapStorage::open(directory).expect("the directory is unused")
}

impl Disks for RealFiles {
    type Storage = MmapStorage;

    fn make(&mut self) -> MmapStorage {
        open(&self.directory())
    }

    fn reopen(&mut self, storage: MmapStorage) -> MmapStorage {
        let directory = storage.directory().to_owned();
        drop(storage);
        open(&directory)
    }

    fn killed(&mut self, workload: Workload) -> MmapStorage {
        let directory = self.directory();
        let mut process = Command::new(std::env::current_exe().expect("this test is a program"))
            .args(["mapped_files_keep_the_storage_contract", "--exact", "--nocapture"])
            .envs([(WORKLOAD_ENV, workload.name().as_ref()), (DIRECTORY_ENV, directory.as_os_str())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts once more");
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        let lived = output.lines().map_while(Result::ok).any(|line| line.ends_with(LIVED));
        process.kill().expect("it is ours");
        process.wait().expect("it was killed");
        assert!(lived, "the process did not live {workload:?} to the end");
        open(&directory)
    }

    /// A file system in memory: it rejects a file larger than itself at once, where one on a disk would fill the disk
    /// first and disturb other programs of this machine.
    fn full(&mut self) -> Option<(MmapStorage, u64)> {
        let small = tempfile::tempdir_in("/dev/shm").expect("Linux has a file system in memory");
        let free = free_bytes(small.path()).expect("the file system answers");
        let storage = open(small.path());
        self.small.push(small);
        Some((storage, free + (64 << 30)))
    }

    /// Truncates the file from outside: a read is short.
    fn spoil(&mut self, storage: &mut MmapStorage, number: u64) -> bool {
        let path = storage.directory().join(format!("log-{number:010}.tml"));
        let file = OpenOptions::new().write(true).open(path).expect("the log file has a file");
        file.set_len(4096).expect("a file can be cut");
        true
    }
}

/// In the process that will be killed: never returns.
fn run(workload: &str) -> ! {
    let directory = std::env::var_os(DIRECTORY_ENV).expect("it is set with the workload");
    let workload = Workload::named(workload).expect("a workload of the contract");
    let _held = workload.run(open(Path::new(&directory)));
    println!("{LIVED}");
    // The input ends with the test, however it ends.
    let _ = std::io::stdin().lines().count();
    std::process::exit(1)
}

#[test]
fn mapped_files_keep_the_storage_contract() {
    if let Ok(workload) = std::env::var(WORKLOAD_ENV) {
        run(&workload);
    }
    let root = tempfile::tempdir().expect("there is a directory for temporary files");
    storage_contract(&mut RealFiles { root, made: 0, small: vec![] });
}
