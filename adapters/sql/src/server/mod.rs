//! The server: accepts connections, and implements the PostgreSQL wire protocol with pgwire's messages. A connection is
//! one task; no client can affect the others by what it sends.
//!
//! No TLS (an SSLRequest is answered with "no") and no passwords yet: the server is for loopback.

mod connection;
mod extended;
mod reader;
mod shape;
mod simple;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::catalog::DATABASE;
use crate::client::settings::Settings;
use crate::client::{Registry, SessionInfo, now_us};
use crate::error::{SqlError, SqlState};
use crate::query::{Environment, QueryEngine};
use tidemark_database::Database;

use connection::Connection;
use reader::{Opening, Reader};
use writer::Writer;

/// Limits of the server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Clients at a time; one more is refused with 53300.
    pub connections_max: usize,
    /// Bytes that all queries together may hold beyond the tables themselves.
    pub query_memory_bytes: usize,
    /// Partitions of one query.
    pub query_threads: usize,
    /// Bytes that one transaction may buffer before it is committed.
    pub write_bytes_max: usize,
    /// Time within which a client must send its startup packet.
    pub startup_timeout: Duration,
    /// Time for running statements when the server stops.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            connections_max: 100,
            query_memory_bytes: 1 << 30,
            query_threads: std::thread::available_parallelism().map_or(2, usize::from),
            write_bytes_max: 512 << 20,
            startup_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Serves connections until `shutdown` is done; then no new statement starts, and running ones get
/// [`Config::stop_timeout`].
pub async fn serve(
    listener: TcpListener,
    database: Arc<dyn Database>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let engine = QueryEngine::new(config.query_memory_bytes, config.query_threads);
    let engine = Arc::new(engine.map_err(|e| std::io::Error::other(e.to_string()))?);
    let server = Arc::new(Server {
        database,
        engine,
        registry: Arc::default(),
        places: Arc::new(Semaphore::new(config.connections_max)),
        config,
    });
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(Arc::clone(&server).converse(stream, stopping.clone()));
                }
                Err(error) => {
                    // Most likely out of file descriptors: open connections continue.
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(server.config.stop_timeout, all_ended).await.is_err() {
        tracing::warn!("connections that did not end in time are cut off");
    }
    Ok(())
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection failed: {error}");
    }
}

struct Server {
    database: Arc<dyn Database>,
    engine: Arc<QueryEngine>,
    registry: Arc<Registry>,
    places: Arc<Semaphore>,
    config: Config,
}

impl Server {
    /// A connection from its first byte to its last.
    async fn converse(self: Arc<Self>, stream: TcpStream, stopping: watch::Receiver<bool>) {
        let client = stream.peer_addr().map_or_else(|_| String::new(), |a| a.to_string());
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let memory = self.engine.client_memory("messages of a client");
        let (mut reader, mut writer) = (Reader::new(read, memory), Writer::new(write));
        let opening = tokio::time::timeout(self.config.startup_timeout, open(&mut reader, &mut writer)).await;
        let parameters = match opening {
            Ok(Ok(Opening::Startup(parameters))) => parameters,
            Ok(Ok(Opening::Cancel { pid, secret })) => return self.registry.cancel_with_secret(pid, secret),
            Ok(Ok(Opening::SslRequest | Opening::GssRequest)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::debug!("{client}: {error}");
                return;
            }
        };
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
            let error = SqlError::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
            writer.fatal(&error);
            let _ = writer.flush().await;
            return;
        };
        let session = match self.session(&parameters, client) {
            Ok(session) => Arc::new(session),
            Err(error) => {
                writer.fatal(&error);
                let _ = writer.flush().await;
                return;
            }
        };
        let _registered = self.registry.enter(Arc::clone(&session));
        let environment = Environment {
            database: Arc::clone(&self.database),
            engine: Arc::clone(&self.engine),
            session,
            registry: Arc::clone(&self.registry),
            run: Arc::default(),
        };
        let connection = Connection::new(reader, writer, environment, self.config.write_bytes_max, stopping);
        if let Err(error) = connection.run().await {
            tracing::debug!("connection ended: {error}");
        }
    }

    fn session(
        &self,
        parameters: &BTreeMap<String, String>,
        client: String,
    ) -> Result<SessionInfo, SqlError> {
        let Some(user) = parameters.get("user").filter(|user| !user.is_empty()) else {
            return Err(SqlError::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "no PostgreSQL user name specified in startup packet",
            ));
        };
        let database = parameters.get("database").filter(|name| !name.is_empty()).unwrap_or(user);
        if database != DATABASE {
            let message = format!("database \"{database}\" does not exist");
            return Err(SqlError::new(SqlState::INVALID_CATALOG_NAME, message).with_hint(format!(
                "The one database is \"{DATABASE}\": name it, as in psql -d {DATABASE}. Without a name clients ask for one that is \
                 called as the user is."
            )));
        }
        let mut settings = Settings::default();
        settings.start(parameters)?;
        Ok(SessionInfo {
            pid: self.registry.next_pid(),
            secret: rand::random(),
            user: user.clone(),
            client,
            started_us: now_us(),
            settings: Mutex::new(settings),
            ..SessionInfo::internal()
        })
    }
}

/// Answers encryption requests until the client sends a startup packet or a cancel request.
async fn open(reader: &mut Reader, writer: &mut Writer) -> std::io::Result<Opening> {
    // One request for each kind of encryption, then the startup packet.
    for _ in 0..3 {
        match reader.opening().await? {
            Opening::SslRequest | Opening::GssRequest => {
                writer.raw(b"N");
                writer.flush().await?;
            }
            other => return Ok(other),
        }
    }
    Err(std::io::Error::other("no startup packet"))
}
