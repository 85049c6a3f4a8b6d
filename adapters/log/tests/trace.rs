//! kill -9 does not test syncs: the operating system keeps written bytes. So this test records every call of the log on
//! the real files. Whenever the log reports a record as durable, each of its bytes and each byte of its log file's
//! header must be covered by a successful sync that started after the byte was written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use kernel::log::{self, LogWriter, ManifestSlot, Storage, SyncPlan};
use kernel::record::{Body, Commit, Record, RecordKind};
use kernel::{Result, Sequence};
use parking_lot::Mutex;
use proptest::prelude::*;
use tidemark_log::{MmapStorage, Syncer};

const LOG_FILE_LEN: u64 = 64 << 10;

/// Writes that no sync has covered yet.
#[derive(Debug, Default)]
struct Trace {
    writes: usize,
    uncovered: Vec<Write>,
    syncs: usize,
}

#[derive(Clone, Debug)]
struct Write {
    /// Counts all writes.
    index: usize,
    log_file: u64,
    bytes: Range<u64>,
}

impl Trace {
    fn write(&mut self, log_file: u64, bytes: Range<u64>) {
        if !bytes.is_empty() {
            self.uncovered.push(Write { index: self.writes, log_file, bytes });
            self.writes += 1;
        }
    }

    /// A sync that began when there were `began` writes has succeeded.
    fn synced(&mut self, began: usize, log_file: u64, synced: Range<u64>) {
        self.syncs += 1;
        let mut left = Vec::new();
        for write in self.uncovered.drain(..) {
            if write.log_file != log_file || write.index >= began {
                left.push(write);
                continue;
            }
            let before = write.bytes.start..write.bytes.end.min(synced.start);
            let after = write.bytes.start.max(synced.end)..write.bytes.end;
            left.extend(
                [before, after].into_iter().filter(|r| !r.is_empty()).map(|bytes| Write { bytes, ..write }),
            );
        }
        self.uncovered = left;
    }

    /// None of the first `writes` writes is without its sync.
    fn assert_covered(&self, writes: usize) {
        let bare = self.uncovered.iter().find(|write| write.index < writes);
        assert!(bare.is_none(), "reported as durable, but never synced: {bare:?}");
    }
}

/// The real storage, with every call recorded.
struct Traced {
    inner: MmapStorage,
    trace: Arc<Mutex<Trace>>,
}

impl Storage for Traced {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        self.inner.log_files()
    }
    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        self.inner.create(number, len)
    }
    fn prepare(&mut self, number: u64, len: u64) {
        self.inner.prepare(number, len);
    }
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        self.inner.read(number, offset, into)
    }
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.trace.lock().write(number, offset..offset + bytes.len() as u64);
        self.inner.write(number, offset, bytes)
    }
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        let began = self.trace.lock().writes;
        self.inner.sync(number, offset, len)?;
        self.trace.lock().synced(began, number, offset..offset + len);
        Ok(())
    }
    fn remove(&mut self, number: u64) -> Result<()> {
        self.inner.remove(number)
    }
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        self.inner.manifest()
    }
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        // It reports everything written so far as durable.
        self.trace.lock().assert_covered(usize::MAX);
        self.inner.write_manifest(slot, bytes)
    }
}

/// A traced log, and the number of writes after each record.
struct Bench {
    writer: LogWriter<Traced>,
    trace: Arc<Mutex<Trace>>,
    syncer: Syncer,
    writes_at: BTreeMap<Sequence, usize>,
}

impl Bench {
    fn new(directory: &std::path::Path) -> Bench {
        let inner = MmapStorage::open(directory).unwrap();
        let (trace, syncer) = (Arc::new(Mutex::new(Trace::default())), inner.syncer());
        let mut storage = Traced { inner, trace: trace.clone() };
        let visit = &mut |_: Record| Ok(());
        let opened = match log::is_created(&mut storage).unwrap() {
            true => log::open(storage, 1, LOG_FILE_LEN, visit),
            false => log::create(storage, [7; 16], 1, 1, LOG_FILE_LEN, visit),
        };
        let writer = opened.unwrap().writer;
        // The returned records and the open record are reported as durable.
        trace.lock().assert_covered(usize::MAX);
        let writes_at = BTreeMap::from([(writer.last(), trace.lock().writes)]);
        Bench { writer, trace, syncer, writes_at }
    }

    fn append(&mut self, len: usize) {
        let outcomes = vec![vec![Bytes::from(vec![0xAB; len])]];
        let body = Body::Commit(RecordKind::Batch, Commit { outcomes, ..Commit::default() });
        self.writer.append(&body.encode(self.writer.last().next())).unwrap();
        self.writes_at.insert(self.writer.last(), self.trace.lock().writes);
    }

    fn sync(&mut self) {
        let through = self.writer.sync().unwrap();
        assert_eq!(through, self.writer.last());
        self.check();
    }

    /// Syncs like a host that syncs on another thread while it continues to append.
    fn sync_aside(&mut self, appends_meanwhile: &[usize]) {
        let plan = self.writer.sync_plan().unwrap();
        let began = self.trace.lock().writes;
        let (syncer, thread_plan) = (self.syncer.clone(), plan.clone());
        let thread = std::thread::spawn(move || syncer.sync(&thread_plan));
        for len in appends_meanwhile {
            self.append(*len);
        }
        thread.join().unwrap().unwrap();
        self.confirm(&plan, began);
    }

    fn confirm(&mut self, plan: &SyncPlan, began: usize) {
        for range in &plan.ranges {
            self.trace.lock().synced(began, range.log_file, range.offset..range.offset + range.len);
        }
        self.writer.synced(plan).unwrap();
        assert!(self.writer.durable() >= plan.through);
        self.check();
    }

    /// Everything reported as durable is durable.
    fn check(&self) {
        self.trace.lock().assert_covered(self.writes_at[&self.writer.durable()]);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Sync,
    SyncAside(Vec<usize>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![4 => 0..2000usize, 1 => 0..100_000usize];
    prop_oneof![
        6 => len.clone().prop_map(Step::Append),
        2 => Just(Step::Sync),
        2 => prop::collection::vec(len, 0..4).prop_map(Step::SyncAside),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_to_be_durable_was_synced_after_it_was_written(steps in prop::collection::vec(step(), 1..25)) {
        let directory = tempfile::tempdir().unwrap();
        let mut bench = Bench::new(directory.path());
        for step in steps {
            match step {
                Step::Append(len) => bench.append(len),
                Step::Sync => bench.sync(),
                Step::SyncAside(appends) => bench.sync_aside(&appends),
                Step::Reopen => {
                    drop(bench);
                    bench = Bench::new(directory.path());
                }
            }
        }
        bench.sync();
        prop_assert!(bench.trace.lock().syncs > 0);
    }
}

#[test]
fn the_trace_sees_a_byte_without_a_sync() {
    let uncovered = |synced: Range<u64>, began: usize| {
        let mut trace = Trace::default();
        trace.write(1, 100..200);
        trace.synced(began, 1, synced);
        trace.uncovered.iter().map(|write| write.bytes.clone()).collect::<Vec<_>>()
    };
    assert_eq!(uncovered(100..200, 1), []);
    assert_eq!(uncovered(101..199, 1), [100..101, 199..200]);
    let first = uncovered(0..1000, 0).into_iter().next();
    assert_eq!(first, Some(100..200), "the sync began before the write");
}
