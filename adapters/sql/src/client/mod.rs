//! The sessions of clients, for `pg_stat_activity`, cancel requests and functions of the session.

pub mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;

use settings::Settings;

/// Microseconds since 1970-01-01 UTC.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// A session's public state.
#[derive(Debug)]
pub struct SessionInfo {
    /// Number for cancel requests.
    pub pid: i32,
    /// Proves that a cancel request comes from its own client.
    pub secret: i32,
    /// From the startup packet.
    pub user: String,
    /// Address and port of the client.
    pub client: String,
    /// When it connected.
    pub started_us: i64,
    /// Settings.
    pub settings: Mutex<Settings>,
    /// Its activity.
    pub activity: Mutex<Activity>,
    /// Ends the running statement.
    pub cancel: Notify,
}

/// The activity of a session.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// The newest statement.
    pub query: String,
    /// When it began.
    pub query_start_us: Option<i64>,
    /// When the state changed.
    pub state_change_us: Option<i64>,
    /// When the transaction block began.
    pub transaction_start_us: Option<i64>,
}

impl SessionInfo {
    /// A session of the server itself, for statements that no client sent.
    pub fn internal() -> SessionInfo {
        SessionInfo {
            pid: 0,
            secret: 0,
            user: "tidemark".into(),
            client: String::new(),
            started_us: now_us(),
            settings: Mutex::default(),
            activity: Mutex::default(),
            cancel: Notify::new(),
        }
    }

    /// Records the session's new activity.
    pub fn set_state(&self, state: &'static str, query: Option<&str>) {
        let mut activity = self.activity.lock();
        let now = now_us();
        activity.state = state;
        activity.state_change_us = Some(now);
        if let Some(query) = query {
            activity.query = query.chars().take(1024).collect();
            activity.query_start_us = Some(now);
        }
    }
}

/// One run of a statement, waited for or abandoned. A commit in the kernel cannot be abandoned, because its outcome
/// must be known; an abandoned run never begins a commit.
#[derive(Debug, Default)]
pub struct Execution {
    state: AtomicU8,
    /// Set once the run is abandoned.
    pub stopped: Arc<AtomicBool>,
}

impl Execution {
    const OPEN: u8 = 0;
    const COMMITTING: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Before a commit goes to the kernel; false if the run has been abandoned.
    pub fn begin_commit(&self) -> bool {
        self.change(Execution::OPEN, Execution::COMMITTING)
    }

    /// After the kernel's answer.
    pub fn end_commit(&self) {
        self.change(Execution::COMMITTING, Execution::OPEN);
    }

    /// Abandons the run; false if a commit is in the kernel.
    pub fn give_up(&self) -> bool {
        let given_up = self.change(Execution::OPEN, Execution::GIVEN_UP);
        if given_up {
            self.stopped.store(true, Ordering::SeqCst);
        }
        given_up
    }
}

/// All sessions of a server.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<BTreeMap<i32, Arc<SessionInfo>>>,
    last_pid: AtomicI32,
}

impl Registry {
    /// A number for the next session.
    pub fn next_pid(&self) -> i32 {
        self.last_pid.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Registers a session until the guard is dropped.
    pub fn enter(self: &Arc<Self>, session: Arc<SessionInfo>) -> Registered {
        let pid = session.pid;
        self.sessions.lock().insert(pid, session);
        Registered { registry: Arc::clone(self), pid }
    }

    /// Sessions in order of number.
    pub fn all(&self) -> Vec<Arc<SessionInfo>> {
        self.sessions.lock().values().cloned().collect()
    }

    /// Cancels a session's statement; false if there is no such session.
    pub fn cancel(&self, pid: i32) -> bool {
        let session = self.sessions.lock().get(&pid).cloned();
        session.inspect(|s| s.cancel.notify_waiters()).is_some()
    }

    /// The same, for a client with its secret.
    pub fn cancel_with_secret(&self, pid: i32, secret: i32) {
        let session = self.sessions.lock().get(&pid).cloned();
        if let Some(session) = session.filter(|s| s.secret == secret) {
            session.cancel.notify_waiters();
        }
    }
}

/// Removes the session from the list when dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    pid: i32,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.sessions.lock().remove(&self.pid);
    }
}
