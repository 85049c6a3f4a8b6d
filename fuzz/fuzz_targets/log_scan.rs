//! An intact log is damaged: opening never panics, returns only exact prefixes, and an opened log opens again with the
//! same records. Also, arbitrary bytes as a log.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use kernel::log::{self, FIRST_LOG_FILE, LogWriter, MemStorage, Storage};
use kernel::record::{Body, Commit, Record, RecordKind};
use libfuzzer_sys::fuzz_target;

const LOG_FILE_LEN: u64 = 4096;

#[derive(Arbitrary, Debug)]
struct Generation<'a> {
    steps: Vec<Step>,
    damages: Vec<Damage<'a>>,
    /// A log of these bytes only.
    raw: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Step {
    Append { len: u16 },
    Sync,
    SyncMarker,
}

#[derive(Arbitrary, Debug)]
enum Damage<'a> {
    Overwrite { log_file: u8, offset: u16, bytes: &'a [u8] },
    Copy { from: u8, from_offset: u16, to: u8, to_offset: u16, len: u16 },
    Remove { log_file: u8 },
}

fuzz_target!(|run: Generation| {
    let (mut storage, bodies) = written(&run.steps);
    for damage in run.damages.iter().take(8) {
        inflict(&mut storage, damage);
    }
    check(storage, &bodies);
    let mut storage = MemStorage::new();
    storage.create(FIRST_LOG_FILE, run.raw.len() as u64).expect("in memory");
    storage.write(FIRST_LOG_FILE, 0, run.raw).expect("in memory");
    check(storage, &[]);
});

fn written(steps: &[Step]) -> (MemStorage, Vec<Body>) {
    let opened = log::create(MemStorage::new(), [9; 16], 1, 1, LOG_FILE_LEN, &mut |_| Ok(()));
    let mut writer = opened.expect("in memory").writer;
    let mut bodies = Vec::new();
    for step in steps.iter().take(32) {
        match step {
            Step::Append { len } => bodies.push(append(&mut writer, *len as usize % 6000, bodies.len())),
            Step::Sync => drop(writer.sync().expect("in memory")),
            Step::SyncMarker => {
                writer.append(&Body::SyncMarker.encode(writer.last().next())).expect("in memory");
            }
        }
    }
    (writer.into_storage(), bodies)
}

fn append(writer: &mut LogWriter<MemStorage>, len: usize, number: usize) -> Body {
    let outcomes = vec![vec![Bytes::from(vec![number as u8 + 1; len])]];
    let body =
        Body::Commit(RecordKind::Batch, Commit { at_us: number as i64, outcomes, ..Commit::default() });
    writer.append(&body.encode(writer.last().next())).expect("in memory");
    body
}

fn inflict(storage: &mut MemStorage, damage: &Damage) {
    let mut overwrite = |log_file: u8, offset: u16, bytes: &[u8]| {
        if let Some(log_file) = storage.log_file_mut(log_file as u64) {
            let start = (offset as usize).min(log_file.len());
            let len = bytes.len().min(log_file.len() - start);
            log_file[start..start + len].copy_from_slice(&bytes[..len]);
        }
    };
    match damage {
        Damage::Overwrite { log_file, offset, bytes } => overwrite(*log_file, *offset, bytes),
        Damage::Copy { from, from_offset, to, to_offset, len } => {
            let Some(log_file) = storage.log_file_mut(*from as u64) else { return };
            let start = (*from_offset as usize).min(log_file.len());
            let len = (*len as usize).min(log_file.len() - start);
            let bytes = log_file[start..start + len].to_vec();
            inflict(storage, &Damage::Overwrite { log_file: *to, offset: *to_offset, bytes: &bytes });
        }
        Damage::Remove { log_file } => drop(storage.remove(*log_file as u64)),
    }
}

fn check(mut storage: MemStorage, bodies: &[Body]) {
    if log::is_created(&mut storage) != Ok(true) {
        return;
    }
    let Some((storage, found)) = opened(storage) else { return };
    assert!(found.len() <= bodies.len() && found == bodies[..found.len()], "an exact prefix");
    let (_, again) = opened(storage).expect("what was opened opens again");
    assert_eq!(again, found);
}

fn opened(storage: MemStorage) -> Option<(MemStorage, Vec<Body>)> {
    let mut found = Vec::new();
    let opened = log::open(storage, 2, LOG_FILE_LEN, &mut |record: Record| {
        found.extend(matches!(record.body, Body::Commit(..)).then_some(record.body));
        Ok(())
    });
    Some((opened.ok()?.writer.into_storage(), found))
}
