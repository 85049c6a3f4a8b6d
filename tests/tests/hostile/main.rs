//! What a client can do to the server: statements and bytes that mean harm, against the real binary. Whatever is sent, the
//! process lives, says nothing of a panic or an internal error, stays within its memory, and serves others meanwhile.

mod generated;
mod statements;
mod watch;
mod wire;
