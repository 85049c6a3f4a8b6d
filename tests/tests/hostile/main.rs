//! Hostile clients: harmful statements and bytes against the real binary. Whatever is sent, the process keeps running,
//! logs no panic or internal error, stays within its memory, and serves other clients meanwhile.

mod generated;
mod statements;
mod watch;
mod wire;
