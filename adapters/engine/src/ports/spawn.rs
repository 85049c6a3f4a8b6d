//! Named threads. A panic in a thread of the database is a broken invariant: the process must not continue.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// Starts a thread. Only the operating system can refuse one; then the process panics.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    Builder::new().name(name.into()).spawn(run).unwrap_or_else(|error| panic!("thread {name}: {error}"))
}

/// Starts a thread and calls `on_panic` with the text of its panic.
pub(crate) fn spawn_guarded(
    name: &str,
    run: impl FnOnce() + Send + 'static,
    on_panic: impl FnOnce(String) + Send + 'static,
) -> JoinHandle<()> {
    let thread = name.to_string();
    spawn(name, move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            on_panic(format!("thread {thread} panicked: {}", text_of(&*panic)));
        }
    })
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
