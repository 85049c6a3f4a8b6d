//! What happens when the disk fails under the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kernel::log::MemStorage;
use kernel::message::{Definition, TableSpec};
use kernel::schema::{ColumnDef, ColumnType};
use kernel::source::{Source, Sources};
use kernel::{ColumnId, Error, ErrorKind, Result};
use parking_lot::Mutex;
use tidemark_decode::Extractor;
use tidemark_record::{End, Item, RecorderSettings, Recording};

use crate::{Engine, EngineConfig, ExtractorSpec, PipelineFactory, open};

struct NoPipelines;

impl Sources for NoPipelines {
    fn source(&self, _definition_sql: &str) -> Result<Arc<dyn Source>> {
        Err(Error::new(ErrorKind::FeatureNotSupported, "no pipelines here"))
    }
}

impl PipelineFactory for NoPipelines {
    fn extractor(&self, _spec: ExtractorSpec) -> Result<Extractor> {
        Err(Error::new(ErrorKind::FeatureNotSupported, "no pipelines here"))
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
    config.segment_bytes = 1 << 20;
    let halts: Arc<Mutex<Vec<Error>>> = Arc::default();
    let seen = halts.clone();
    config.on_halt = Arc::new(move |error| seen.lock().push(error.clone()));
    let record = tempfile::tempdir().unwrap();
    config.record = Some(RecorderSettings::new(record.path(), 1 << 20));
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = syncs.clone();
    let syncer = Box::new(move |_: &_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(Error::new(ErrorKind::IoError, "the disk is gone")),
    });
    let inner = open::on_storage(MemStorage::new(), syncer, config, Arc::new(NoPipelines), None).unwrap();
    let engine = Engine::of(inner);
    engine.define(table("first")).await.unwrap();
    let error = engine.define(table("second")).await.unwrap_err();
    assert!(error.message.contains("the disk is gone"), "{error}");
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
