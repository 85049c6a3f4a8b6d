//! The engine on a failing disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kernel::log::{ManifestSlot, MemStorage, Storage};
use kernel::message::{Definition, SourceFailure, TableSpec};
use kernel::schema::{ColumnDef, ColumnType};
use kernel::source::{Source, Sources};
use kernel::{ColumnId, Error, Result, SqlState};
use parking_lot::Mutex;
use tidemark_decode::Extractor;
use tidemark_record::{End, Item, RecorderSettings, Recording};

use super::open;
use crate::{Engine, EngineConfig, ExtractorSpec, PipelineFactory};

struct NoPipelines;

impl Sources for NoPipelines {
    fn source(&self, _definition_sql: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        Err(SourceFailure::Permanent(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "no pipelines here")))
    }
}

impl PipelineFactory for NoPipelines {
    fn extractor(&self, _spec: ExtractorSpec) -> Result<Extractor> {
        Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "no pipelines here"))
    }
}

fn table(name: &str) -> Definition {
    let column = ColumnDef {
        id: ColumnId(0),
        name: "a".into(),
        column_type: ColumnType::Int64,
        nullable: true,
        default_sql: None,
    };
    let spec = TableSpec {
        name: name.into(),
        columns: vec![column],
        primary_key: vec![],
        shard_key: vec![],
        sort_key: vec![],
    };
    Definition::CreateTable { spec, if_not_exists: false }
}

#[tokio::test]
async fn a_failed_sync_halts_and_nothing_more_is_acknowledged() {
    let mut config = EngineConfig::new("");
    config.log_file_bytes = 1 << 20;
    let halts: Arc<Mutex<Vec<Error>>> = Arc::default();
    let seen = halts.clone();
    config.on_halt = Arc::new(move |error| seen.lock().push(error.clone()));
    let record = tempfile::tempdir().unwrap();
    config.record = Some(RecorderSettings::new(record.path(), 1 << 20));
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = syncs.clone();
    let syncer = Box::new(move |_: &_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(Error::new(SqlState::IO_ERROR, "the disk is gone")),
    });
    let inner = open::on_storage(MemStorage::new(), syncer, config, Arc::new(NoPipelines), None).unwrap();
    let engine = Engine::of(inner);
    engine.define(table("first")).await.unwrap();
    let error = engine.define(table("second")).await.unwrap_err();
    assert!(error.message.contains("the disk is gone"), "{error}");
    assert_eq!(error.sqlstate, "08007", "it may be there after a restart");
    assert!(engine.define(table("third")).await.is_err());
    engine.shutdown();
    assert_eq!(halts.lock().len(), 1, "told once");
    let files = tidemark_record::file::list(record.path()).unwrap();
    let mut recording = Recording::open(&files[0]).unwrap();
    let items = std::iter::from_fn(|| recording.next_item().unwrap());
    let Some(Item::End(End::Halted(why))) = items.last() else { panic!("the recording says how it ended") };
    assert!(why.message.contains("the disk is gone"), "{why}");
    assert_eq!(syncs.load(Ordering::SeqCst), 2, "the log was not touched again");
}

/// Storage in memory that can be told to have no space for another log file.
#[derive(Default)]
struct Crowded {
    inner: MemStorage,
    disk: Arc<Disk>,
}

#[derive(Default)]
struct Disk {
    is_full: AtomicBool,
    refused: AtomicUsize,
}

impl Storage for Crowded {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        self.inner.log_files()
    }
    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        if self.disk.is_full.load(Ordering::SeqCst) {
            self.disk.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(SqlState::DISK_FULL, "no room"));
        }
        self.inner.create(number, len)
    }
    fn prepare(&mut self, number: u64, len: u64) {
        self.inner.prepare(number, len);
    }
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        self.inner.read(number, offset, into)
    }
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write(number, offset, bytes)
    }
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        self.inner.sync(number, offset, len)
    }
    fn remove(&mut self, number: u64) -> Result<()> {
        self.inner.remove(number)
    }
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        self.inner.manifest()
    }
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        self.inner.write_manifest(slot, bytes)
    }
}

/// An engine on a disk that is full from now on, with a definition that waits for space. Earlier definitions were
/// executed.
async fn without_room() -> (Engine, Arc<Disk>, tokio::task::JoinHandle<Result<usize>>) {
    let mut config = EngineConfig::new("");
    config.log_file_bytes = 1 << 13;
    config.on_halt = Arc::new(|error| panic!("a full disk is no reason to halt: {error}"));
    let storage = Crowded::default();
    let disk = storage.disk.clone();
    let inner = open::on_storage(storage, Box::new(|_| Ok(())), config, Arc::new(NoPipelines), None).unwrap();
    let engine = Engine::of(inner);
    disk.is_full.store(true, Ordering::SeqCst);
    let (definer, full) = (engine.clone(), disk.clone());
    let defined = tokio::spawn(async move {
        let mut count = 0;
        while full.refused.load(Ordering::SeqCst) == 0 {
            definer.define(table(&format!("t{count}"))).await?;
            count += 1;
        }
        Ok(count)
    });
    while disk.refused.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (engine, disk, defined)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_makes_the_database_read_only_and_what_is_under_way_wait() {
    let (engine, disk, defined) = without_room().await;
    // Those that arrive before the coordinator is informed wait, too.
    let mut waiting = vec![];
    let refused = loop {
        let (name, definer) = (format!("late{}", waiting.len()), engine.clone());
        let mut late = tokio::spawn(async move { definer.define(table(&name)).await });
        tokio::select! {
            answer = &mut late => match answer.unwrap() {
                Err(error) => break error,
                Ok(()) => panic!("there is no room for it"),
            },
            () = tokio::time::sleep(Duration::from_millis(50)) => waiting.push(late),
        }
    };
    assert_eq!(refused.sqlstate, SqlState::DISK_FULL, "{refused}");
    assert!(refused.message.contains("nothing was changed"), "{refused}");
    assert!(!engine.snapshot().unwrap().catalog.tables.is_empty(), "reading goes on");
    disk.is_full.store(false, Ordering::SeqCst);
    let count = defined.await.unwrap().unwrap();
    for late in waiting {
        late.await.unwrap().unwrap();
    }
    assert!(count > 5, "{count} definitions fitted into the first log file");
    assert!(disk.refused.load(Ordering::SeqCst) > 0);
    while engine.define(table("after")).await.is_err_and(|error| error.sqlstate == SqlState::DISK_FULL) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let catalog = engine.snapshot().unwrap().catalog.clone();
    assert!(
        catalog.table_named(&format!("t{}", count - 1)).is_some() && catalog.table_named("after").is_some()
    );
    assert!(engine.halted().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_room_for_long_is_told_that_its_outcome_is_not_known() {
    let (engine, disk, defined) = without_room().await;
    let error = defined.await.unwrap().unwrap_err();
    assert_eq!(error.sqlstate, "08007", "{error}");
    assert!(error.message.contains("is not known") && error.message.contains("disk is full"), "{error}");
    let tables = |engine: &Engine| {
        let engine = engine.clone();
        async move { engine.snapshot().unwrap().catalog.tables.len() }
    };
    let before = tables(&engine).await;
    disk.is_full.store(false, Ordering::SeqCst);
    while tables(&engine).await == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(tables(&engine).await, before + 1, "it took effect after all");
    assert!(engine.halted().is_none());
}
