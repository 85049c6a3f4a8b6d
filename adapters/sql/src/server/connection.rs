//! One connection: its messages in order, one statement at a time. A statement can be cancelled, can time out, and is
//! abandoned when the client disconnects. `simple` and `extended` implement the two query protocols.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use pgwire::messages::PgWireFrontendMessage as Message;
use tidemark_pipeline_sql::Statement;
use tokio::sync::watch;

use super::extended::{Portal, Prepared};
use super::reader::{Reader, Refused};
use super::writer::{FLUSH_BYTES, Writer};
use crate::client::{Execution, SessionInfo};
use crate::copy::{CopyIn, CopyOut};
use crate::error::{Result, SqlError, SqlState};
use crate::query::{Cursor, Environment};
use crate::session::{Session, Status};
use pg_semantics::types::encode::Format;

/// Why a statement did not complete.
pub enum Failure {
    /// The client gets the error, and the connection continues.
    Sql(SqlError),
    /// The connection is broken.
    Io(io::Error),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Failure {
        Failure::Sql(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// A client.
pub struct Connection {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) session: Session,
    pub(super) prepared: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// After an error in the extended protocol: everything up to Sync is skipped.
    pub(super) skip_to_sync: bool,
    /// Start of the running statement.
    began: Instant,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    /// A client that has sent its startup packet.
    pub fn new(
        reader: Reader,
        writer: Writer,
        environment: Environment,
        write_bytes_max: usize,
        stopping: watch::Receiver<bool>,
    ) -> Connection {
        Connection {
            reader,
            writer,
            session: Session::new(environment, write_bytes_max),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            skip_to_sync: false,
            began: Instant::now(),
            stopping,
        }
    }

    /// Serves the client until it disconnects.
    pub async fn run(mut self) -> io::Result<()> {
        self.writer.welcome(self.session.info());
        self.ready().await?;
        loop {
            let message = tokio::select! {
                message = self.reader.next() => Some(message),
                _ = self.stopping.wait_for(|stop| *stop) => None,
            };
            let Some(message) = message else { return self.say_goodbye().await };
            let message = match message {
                Ok(message) => message,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let error = SqlError::new(SqlState::PROTOCOL_VIOLATION, error.to_string());
                    self.writer.fatal(&error);
                    return self.writer.flush().await;
                }
                Err(error) => match Refused::of(&error) {
                    Some(refused) => {
                        self.refuse(refused).await?;
                        continue;
                    }
                    None => return Err(error),
                },
            };
            if matches!(message, Message::Terminate(_)) {
                return Ok(());
            }
            self.take(message).await?;
        }
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        let error = SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminating connection: the server is stopping");
        self.writer.fatal(&error);
        self.writer.flush().await
    }

    /// Answers a refused message.
    async fn refuse(&mut self, refused: &Refused) -> io::Result<()> {
        match refused.kind {
            b'Q' => {
                self.report(&refused.error);
                self.ready().await
            }
            // Sent before the client knew of an error in COPY.
            b'd' => Ok(()),
            _ if self.skip_to_sync => Ok(()),
            _ => {
                self.report(&refused.error);
                self.skip_to_sync = true;
                self.writer.flush().await
            }
        }
    }

    async fn take(&mut self, message: Message) -> io::Result<()> {
        self.begin_statement();
        match message {
            Message::Query(query) => {
                self.skip_to_sync = false;
                self.simple_query(&query.query).await
            }
            Message::Sync(_) => self.sync().await,
            Message::Flush(_) => self.writer.flush().await,
            // Sent before the client knew of an error in COPY.
            Message::CopyData(_) | Message::CopyDone(_) | Message::CopyFail(_) => Ok(()),
            _ if self.skip_to_sync => Ok(()),
            extended => match self.extended(extended).await {
                Ok(()) => Ok(()),
                Err(Failure::Io(error)) => Err(error),
                Err(Failure::Sql(error)) => {
                    self.report(&error);
                    self.skip_to_sync = true;
                    self.writer.flush().await
                }
            },
        }
    }

    /// Sends an error of a statement; an open block fails.
    pub(super) fn report(&mut self, error: &SqlError) {
        let told = self.session.failed();
        self.writer.error(error);
        told.into_iter().for_each(|(name, value)| self.writer.parameter(name, value));
    }

    /// Starts the time of a statement.
    pub(super) fn begin_statement(&mut self) {
        self.began = Instant::now();
    }

    /// Sends ReadyForQuery.
    pub(super) async fn ready(&mut self) -> io::Result<()> {
        let status = self.session.status();
        let state = match status {
            Status::Idle => "idle",
            Status::Block => "idle in transaction",
            Status::Failed => "idle in transaction (aborted)",
        };
        self.session.info().set_state(state, None);
        self.writer.ready(status);
        self.writer.flush().await
    }

    /// Records the running statement for `pg_stat_activity`. Our own statements are shown without their credentials.
    pub(super) fn note(&self, statement: &Statement, text: &str) {
        match statement {
            Statement::Sql(_) => self.session.info().set_state("active", Some(text)),
            own => self.session.info().set_state("active", Some(&own.to_string())),
        }
    }

    /// Sends a cursor's rows, up to `rows_max`. True if the cursor has no more.
    pub(super) async fn send_rows(
        &mut self,
        cursor: &mut Cursor,
        formats: &[Format],
        rows_max: usize,
    ) -> Result<bool, Failure> {
        let (writer, reader) = (&mut self.writer, &mut self.reader);
        let run = Execution::default();
        let work = async {
            let mut left = rows_max;
            while left > 0 {
                if !cursor.advance().await? {
                    return Ok(true);
                }
                left -= cursor.write_rows(formats, left, FLUSH_BYTES, writer.buffer())?;
                if writer.is_full() {
                    writer.flush().await?;
                }
            }
            Ok(false)
        };
        supervised(self.session.info(), &run, self.began, reader, work).await
    }

    pub(super) async fn send_copy(&mut self, copy: &mut CopyOut) -> Result<String, Failure> {
        self.writer.copy_out(copy.format_code(), copy.column_count());
        let (writer, reader) = (&mut self.writer, &mut self.reader);
        let run = Execution::default();
        let work = async {
            while let Some(messages) = copy.next().await? {
                for message in messages.iter() {
                    writer.copy_data(message);
                }
                if writer.is_full() {
                    writer.flush().await?;
                }
            }
            let (trailer, tag) = copy.end();
            writer.copy_data(&trailer);
            writer.copy_done();
            Ok(tag)
        };
        supervised(self.session.info(), &run, self.began, reader, work).await
    }

    /// Receives the client's rows, to the end or to CopyFail.
    pub(super) async fn receive_copy(&mut self, mut copy: CopyIn) -> Result<String, Failure> {
        self.writer.copy_in(copy.format_code(), copy.column_count());
        self.writer.flush().await?;
        loop {
            let cancelled = self.session.info().cancel.notified();
            let message = tokio::select! {
                message = self.reader.next() => message.map_err(|error| match Refused::of(&error) {
                    Some(refused) => Failure::Sql(refused.error.clone()),
                    None => Failure::Io(error),
                })?,
                () = cancelled => return Err(canceled("canceling statement due to user request").into()),
            };
            match message {
                Message::CopyData(piece) => {
                    for part in piece.data.chunks(COPY_STEP_BYTES) {
                        copy.push(part).await?;
                        tokio::task::yield_now().await;
                    }
                }
                Message::CopyDone(_) => break,
                Message::CopyFail(fail) => {
                    let message = format!("COPY from stdin failed: {}", fail.message);
                    return Err(SqlError::new(SqlState::QUERY_CANCELED, message).into());
                }
                // Clients may send these ahead.
                Message::Flush(_) | Message::Sync(_) => {}
                _ => {
                    let message = "unexpected message type during COPY from stdin";
                    return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message).into());
                }
            }
        }
        self.begin_statement();
        let rows = self
            .work(0, move |session| Box::pin(async move { session.copied(copy.finish().await?).await }))
            .await?;
        Ok(format!("COPY {rows}"))
    }

    /// Runs work of the session on another thread than the network's, for a statement of about `bytes` bytes. If the
    /// work is abandoned, the session continues without its changes.
    pub(super) async fn work<T: Send + 'static>(
        &mut self,
        bytes: usize,
        work: impl for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, Result<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        let info = Arc::clone(self.session.info());
        let engine = Arc::clone(self.session.engine());
        let given_up = self.session.given_up();
        let mut session = std::mem::replace(&mut self.session, given_up);
        let run = session.begin_run();
        let work = async move {
            let done = work(&mut session).await;
            (session, done)
        };
        let work = async { Ok(engine.work(bytes, work).await?) };
        let (session, done) = supervised(&info, &run, self.began, &mut self.reader, work).await?;
        self.session = session;
        Ok(done?)
    }
}

/// COPY data handled at once before yielding to other connections.
const COPY_STEP_BYTES: usize = 64 << 10;

fn canceled(why: &str) -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, why)
}

/// Runs a part of a statement until it completes, is cancelled, times out, or the client disconnects. A commit in the
/// kernel is waited for: its outcome must be known.
async fn supervised<T>(
    info: &SessionInfo,
    run: &Execution,
    began: Instant,
    reader: &mut Reader,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let timeout = info.settings.lock().statement_timeout();
    let time_is_up = async {
        match timeout {
            Some(timeout) => tokio::time::sleep_until((began + timeout).into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(work, time_is_up);
    let cancelled = info.cancel.notified();
    tokio::pin!(cancelled);
    cancelled.as_mut().enable();
    let why = tokio::select! {
        biased;
        outcome = &mut work => return outcome,
        () = &mut cancelled => Failure::Sql(canceled("canceling statement due to user request")),
        () = &mut time_is_up => Failure::Sql(
            canceled("canceling statement due to statement timeout")
                .with_hint("SET statement_timeout to a longer time, or to 0 for none."),
        ),
        error = reader.until_hung_up() => Failure::Io(error),
    };
    match run.give_up() {
        true => Err(why),
        false => work.await,
    }
}
