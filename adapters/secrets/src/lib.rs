//! Where the secrets of pipelines are. A definition, and so the log and every recording, has only where one is to be had:
//! [`Secrets`] is the database's own file for those that were said in clear, [`resolve`] reads them there, in files and in the
//! environment, each time that a source is opened.
//!
//! The order that makes a crash harmless: a secret is durable in the file before the record that names it is appended, and goes
//! from the file after the record that names it no more is durable. What a crash leaves in between is a secret that nobody
//! names; it goes at the next start.

#![forbid(unsafe_code)]

mod file;
mod resolve;

pub use file::{SECRET_BYTES_MAX, Secrets};
pub use resolve::{resolve, used};
