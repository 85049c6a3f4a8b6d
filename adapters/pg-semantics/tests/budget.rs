//! Functions reserve memory before they allocate: a value beyond PostgreSQL's limit is 54000, an allocation beyond the
//! available memory 53200, and dropped values release their memory.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::prelude::{SessionConfig, SessionContext};
use pg_semantics::SqlError;
use pg_semantics::budget::{Budget, Texts, VALUE_BYTES_MAX};

const ROOM_BYTES: usize = 1 << 20;

fn options() -> (Arc<dyn MemoryPool>, ConfigOptions) {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(ROOM_BYTES));
    let mut options = ConfigOptions::new();
    options.extensions.insert(Budget::new(Arc::clone(&pool), Arc::default()));
    (pool, options)
}

#[test]
fn texts_keep_their_room_for_as_long_as_they_live() {
    let (pool, options) = options();
    let mut texts = Texts::new(&options, "f", 3);
    texts.push("one").unwrap();
    texts.push_null();
    texts.push_with(300_000, |piece| (0..100_000).for_each(|_| piece.push("xyz"))).unwrap();
    assert_eq!(
        texts.push_with(ROOM_BYTES, |_| unreachable!("there is no room")).unwrap_err().sqlstate,
        "53200"
    );
    assert_eq!(
        texts.push_with(VALUE_BYTES_MAX + 1, |_| unreachable!("too long")).unwrap_err().sqlstate,
        "54000"
    );
    let array = texts.finish();
    assert_eq!((array.value(0), array.is_null(1), array.value(2).len()), ("one", true, 300_000));
    let slice = array.slice(2, 1);
    drop(array);
    assert!(pool.reserved() >= 300_000, "a slice of the values is alive");
    drop(slice);
    assert_eq!(pool.reserved(), 0);
}

#[test]
fn nobody_goes_on_for_one_who_does_not_wait() {
    let stopped = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let budget = Budget::new(Arc::new(GreedyMemoryPool::new(1)), Arc::clone(&stopped));
    assert!(budget.check_wanted().is_ok());
    stopped.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(budget.check_wanted().unwrap_err().sqlstate, "57014");
}

#[tokio::test]
async fn functions_of_the_engine_are_bounded() {
    let (_, options) = options();
    let context = SessionContext::new_with_config(SessionConfig::from(options));
    let mut state = context.state();
    pg_semantics::install(&mut state).unwrap();
    let context = SessionContext::new_with_state(state);
    let run = async |sql: &str| -> Result<usize, SqlError> {
        let rows = context.sql(sql).await?.collect().await?;
        Ok(rows.iter().map(|batch| batch.num_rows()).sum())
    };
    for (sql, code) in [
        ("SELECT repeat('x', 2000000000)", "54000"),
        ("SELECT repeat('x', 2000000)", "53200"),
        ("SELECT repeat(column1, 600000) FROM (VALUES ('a'), ('b')) v", "53200"),
        ("SELECT lpad('x', 2000000000, 'y')", "54000"),
        ("SELECT rpad(column1, 2000000, 'ü') FROM (VALUES ('a'), ('b')) v", "53200"),
        ("SELECT replace(repeat('x', 100000), 'x', repeat('y', 100))", "53200"),
        ("SELECT replace(repeat('x', 100000), 'x', repeat('y', 100000))", "54000"),
    ] {
        assert_eq!(run(sql).await.unwrap_err().sqlstate, code, "{sql}");
    }
    for sql in [
        "SELECT repeat('x', 1000)",
        "SELECT repeat('x', -1), repeat(NULL, 5), lpad('x', -5, 'y')",
        "SELECT concat('a', 1, NULL), concat_ws(',', 'a', 'b')",
    ] {
        assert_eq!(run(sql).await.unwrap(), 1, "{sql}");
    }
}
