//! ON DUPLICATE KEY UPDATE.

use super::contents::Contents;
use super::incoming::Incoming;
use super::outcome::{Groups, Outcome};
use crate::error::{Error, ErrorKind};
use crate::expr::Update;

pub(super) fn update(contents: &Contents, incoming: &Incoming, groups: &Groups, _update: &Update) -> Outcome {
    let refused = (0..incoming.len).filter(|row| !groups.inserts(*row)).map(|row| {
        let name = &contents.table.name;
        (row, Error::new(ErrorKind::FeatureNotSupported, format!("ON DUPLICATE KEY UPDATE of \"{name}\"")))
    });
    let refused = refused.collect();
    Outcome { refused, ..super::outcome::ignore(incoming, groups) }
}
