//! The real storage keeps the port's contract.

use kernel::log::contract::storage_contract;
use tidemark_log::MmapStorage;

#[test]
fn mapped_files_keep_the_storage_contract() {
    let root = tempfile::tempdir().unwrap();
    let mut made = 0;
    let make = || {
        made += 1;
        MmapStorage::open(&root.path().join(made.to_string())).unwrap()
    };
    storage_contract(make, |storage| {
        let directory = storage.directory().to_owned();
        drop(storage);
        MmapStorage::open(&directory).unwrap()
    });
}
