//! A session: its settings, its transaction block, its prepared statements, and how it carries out a statement.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// What functions and views may know of a session.
#[derive(Debug)]
pub struct SessionInfo {
    /// Number that cancels name it by.
    pub pid: i32,
    /// As said at connect.
    pub user: String,
    /// Settings, by name in lower case.
    pub settings: Mutex<BTreeMap<String, String>>,
}
