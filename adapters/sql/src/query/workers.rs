//! The threads on which statements are parsed and planned, apart from those that serve clients. Each piece of work has
//! its own thread while it runs, so that the operating system shares the cores, and a stack that suffices for the
//! deepest permitted statement.
//!
//! DataFusion's planner can be interrupted only at certain points. A caller that abandons work returns at once; the
//! work continues until the planner's next rule or wait, and holds its slot until then. The limits of statements bound
//! this time, and the slots bound the number: a large statement takes one of few slots, a small one, one of many, so
//! that large ones never delay a small one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::abortable;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::panicked;
use crate::error::{Result, SqlError};

/// Stack of every thread that parses, plans or runs statements. It is reserved, and allocated as it is used.
pub const STACK_BYTES: usize = 512 << 20;

/// Most threads of statements at a time.
pub const THREADS_MAX: usize = 64;

/// Slots for statements of up to [`MEDIUM_BYTES`] and [`HEAVY_BYTES`], and for larger ones.
const PLACES: [usize; 3] = [56, 4, 2];

/// Larger parsed statements use the second number of slots.
const MEDIUM_BYTES: usize = 64 << 10;

/// Still larger ones use the third.
const HEAVY_BYTES: usize = 1 << 20;

/// Slots for pieces of work.
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
