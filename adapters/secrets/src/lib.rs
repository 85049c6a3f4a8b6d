//! The secrets of pipelines. A definition, and so the log and every recording, contains only the place of a secret.
//! [`Secrets`] is the database's own file for values that were given in clear; [`resolve`] reads values from it, from
//! files and from the environment each time a source is opened.
//!
//! A crash is harmless because of the order: a secret is durable in the file before the record that names it is
//! appended, and is removed from the file after the record that no longer names it is durable. A crash in between
//! leaves an unused secret, which the next start removes.

#![forbid(unsafe_code)]

mod file;
mod resolve;

pub use file::{SECRET_BYTES_MAX, Secrets};
pub use resolve::{resolve, used};
