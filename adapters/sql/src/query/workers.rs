//! The threads that statements are parsed and planned on, apart from those that talk to clients. Each piece of work has a thread
//! to itself while it runs, so that the operating system shares the cores among them, and a stack that is known to be large
//! enough for the deepest statement that is let in.
//!
//! DataFusion's planner cannot be interrupted where it does not ask. Whoever gives up a piece of work is answered at once; the
//! work goes on until the planner's next rule or wait, and holds its place until then. How much that can be is bounded by the
//! limits of statements, and how many there can be by the places: a large statement takes one of few, a small one, one of many,
//! so that no number of large ones keeps a small one waiting.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::abortable;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::panicked;
use crate::error::{Result, SqlError};

/// Stack of every thread that parses, plans or runs statements. It is reserved, and taken as far as it is used.
pub const STACK_BYTES: usize = 512 << 20;

/// Most threads of statements at a time.
pub const THREADS_MAX: usize = 64;

/// Places for statements of up to [`MEDIUM_BYTES`] and [`HEAVY_BYTES`], and for larger ones.
const PLACES: [usize; 3] = [56, 4, 2];

/// Parsed statements that are larger than this are few at a time.
const MEDIUM_BYTES: usize = 64 << 10;

/// And those that are larger than this, fewer.
const HEAVY_BYTES: usize = 1 << 20;

/// Places for pieces of work.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    threads: Handle,
    places: [Arc<Semaphore>; 3],
}

impl Workers {
    pub(super) fn new(threads: Handle) -> Workers {
        Workers { threads, places: PLACES.map(|places| Arc::new(Semaphore::new(places))) }
    }

    /// Runs a piece of work for a statement that is about `bytes` large once it is parsed. If this future is dropped, the work
    /// ends where it next waits.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let class = usize::from(bytes > MEDIUM_BYTES) + usize::from(bytes > HEAVY_BYTES);
        let places = &self.places[class];
        let stopping = |_| SqlError::internal("the server is stopping");
        let place = Arc::clone(places).acquire_owned().await.map_err(stopping)?;
        let (work, abort) = abortable(AssertUnwindSafe(work).catch_unwind());
        let _abort = OnDrop(move || abort.abort());
        let threads = self.threads.clone();
        let done = self.threads.spawn_blocking(move || {
            let _place = place;
            threads.block_on(work)
        });
        match done.await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(panic))) => Err(panicked(panic.as_ref())),
            Ok(Err(_)) => Err(SqlError::internal("work was given up while it was waited for")),
            Err(error) => Err(SqlError::internal(format!("a statement's thread ended: {error}"))),
        }
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}
