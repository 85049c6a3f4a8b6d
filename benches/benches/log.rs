//! The log without a disk: encode a record, append it to memory, read a log back. The expected cost is one pass of the
//! checksum and one copy per byte, which are measured as well.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kernel::log::{self, LogWriter, ManifestSlot, MemStorage, Storage};
use kernel::record::{Body, Commit, CursorAdvance, Record, RecordKind, Tally};
use kernel::{Epoch, Generation, Identity, PipelineId, Position, Result, SplitId};
use xxhash_rust::xxh3::xxh3_64;

const SHARDS: u16 = 8;
const LOG_FILE_LEN: u64 = 64 << 20;
/// Bytes of one shard's piece: a small and a large batch.
const PIECE_LENS: [usize; 2] = [4 << 10, 512 << 10];

fn body(piece_len: usize) -> Body {
    let advance = |split: u32| CursorAdvance {
        pipeline: PipelineId(1),
        generation: Generation(1),
        epoch: Epoch(1),
        split: SplitId(split),
        first: Position::kafka(1_000_000, 3),
        next: Position::kafka(1_010_000, 3),
        identity: Identity::new(&[5; 16]),
        finished: false,
        tally: Tally { applied: 10_000, ..Tally::default() },
    };
    let piece = |shard: u16| vec![Bytes::from(vec![shard as u8 + 1; piece_len])];
    let (cursors, outcomes) = ((0..8).map(advance).collect(), (0..SHARDS).map(piece).collect());
    Body::Commit(RecordKind::Batch, Commit { at_us: 1, cursors, outcomes, ..Commit::default() })
}

/// Every log file uses the same memory, which was touched before, so that page faults are not measured.
struct Warm(Vec<u8>);

impl Warm {
    fn new() -> Warm {
        Warm(vec![1; LOG_FILE_LEN as usize])
    }
}

impl Storage for Warm {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        Ok(vec![])
    }
    fn create(&mut self, _number: u64, len: u64) -> Result<()> {
        assert_eq!(len, LOG_FILE_LEN);
        Ok(())
    }
    fn prepare(&mut self, _number: u64, _len: u64) {}
    fn read(&mut self, _number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(&self.0[offset as usize..][..into.len()]);
        Ok(())
    }
    fn write(&mut self, _number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self, _number: u64, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }
    fn remove(&mut self, _number: u64) -> Result<()> {
        Ok(())
    }
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        Ok(None)
    }
    fn write_manifest(&mut self, _slot: usize, _bytes: &ManifestSlot) -> Result<()> {
        Ok(())
    }
}

fn new_log() -> LogWriter<MemStorage> {
    let opened = log::create(MemStorage::new(), [1; 16], SHARDS, 1, LOG_FILE_LEN, &mut |_| Ok(()));
    opened.expect("in memory").writer
}

/// A log of about one log file.
fn written(body: &Body) -> (MemStorage, u64) {
    let mut writer = new_log();
    let stored_len = body.encode(writer.last()).stored_len();
    let records = LOG_FILE_LEN / stored_len - 1;
    for _ in 0..records {
        writer.append(&body.encode(writer.last().next())).expect("in memory");
        // Records that the last one reports as synced are read but not rewritten.
        writer.sync().expect("in memory");
    }
    (writer.into_storage(), records * stored_len)
}

fn bench_append(c: &mut Criterion) {
    let mut group = c.benchmark_group("log append");
    for piece_len in PIECE_LENS {
        let body = body(piece_len);
        let sequence = new_log().last().next();
        let record = body.encode(sequence);
        group.throughput(Throughput::Bytes(record.stored_len()));
        let name = |what: &str| format!("{what}, {SHARDS} outcomes of {} KiB", piece_len >> 10);
        group.bench_function(name("encode"), |b| b.iter(|| black_box(&body).encode(sequence)));
        let payload = record.parts.concat();
        group.bench_function(name("checksum alone"), |b| b.iter(|| xxh3_64(black_box(&payload))));
        let mut place = vec![0u8; payload.len()];
        group.bench_function(name("copy alone"), |b| {
            b.iter(|| black_box(&mut place).copy_from_slice(&payload))
        });
        let mut writer = log::create(Warm::new(), [1; 16], SHARDS, 1, LOG_FILE_LEN, &mut |_| Ok(()))
            .expect("in memory")
            .writer;
        group.bench_function(name("append"), |b| {
            b.iter(|| {
                writer.append(&body.encode(writer.last().next())).expect("in memory");
                writer.sync().expect("in memory");
            })
        });
    }
    group.finish();
}

fn bench_recover(c: &mut Criterion) {
    let mut group = c.benchmark_group("log recover");
    group.sample_size(20);
    for piece_len in PIECE_LENS {
        let (storage, bytes) = written(&body(piece_len));
        group.throughput(Throughput::Bytes(bytes));
        let name = format!("open, records of {SHARDS} outcomes of {} KiB", piece_len >> 10);
        group.bench_function(name, |b| {
            let open = |storage| {
                log::open(storage, 2, LOG_FILE_LEN, &mut |record: Record| {
                    black_box(record);
                    Ok(())
                })
            };
            b.iter_batched(
                || storage.clone(),
                |storage| open(storage).expect("whole").writer,
                BatchSize::PerIteration,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, bench_append, bench_recover);
criterion_main!(benches);
