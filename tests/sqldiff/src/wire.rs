//! A client of the PostgreSQL protocol that exposes the type of every column and the raw bytes of every cell, by the
//! simple and the extended protocol, in text and in binary. Drivers decode, and could hide errors of the server.
//! `value` interprets the bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres::config::Host;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Message, RowDescriptionBody};
use postgres_protocol::message::frontend;

/// The protocol of a statement and the format of its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One message; cells are text.
    Simple,
    /// Parse, Bind, Describe, Execute; cells are text.
    ExtendedText,
    /// Parse, Bind, Describe, Execute; cells are binary.
    ExtendedBinary,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The number of its type in `pg_type`.
    pub type_oid: u32,
}

/// A cell: the bytes, or NULL.
pub type Cell = Option<Vec<u8>>;

/// The answer to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Columns, if it returns rows.
    pub columns: Option<Vec<Column>>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// The tag of its completion: `INSERT 0 1`.
    pub tag: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server returned an error, and the connection continues.
    Refused {
        /// SQLSTATE.
        code: String,
        /// The text.
        message: String,
    },
    /// The connection is closed or hangs.
    Lost(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused { code, message } => write!(f, "{code}: {message}"),
            Failure::Lost(why) => write!(f, "connection lost: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Lost(error.to_string())
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    received: BytesMut,
}

impl Wire {
    /// Connects by TCP to the first host that is named. A read that takes longer than the limit is a lost connection.
    pub fn connect(config: &postgres::Config, limit: Duration) -> Result<Wire, Failure> {
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            _ => "127.0.0.1".to_string(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let stream = TcpStream::connect((host.as_str(), port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        let mut wire = Wire { stream, received: BytesMut::new() };
        wire.start(config)?;
        Ok(wire)
    }

    /// Runs one statement, or by the simple protocol several; then the answer is that of the last.
    pub fn run(&mut self, sql: &str, mode: Mode) -> Result<Answer, Failure> {
        let mut out = BytesMut::new();
        match mode {
            Mode::Simple => frontend::query(sql, &mut out)?,
            Mode::ExtendedText | Mode::ExtendedBinary => {
                frontend::parse("", sql, std::iter::empty(), &mut out)?;
                let format = i16::from(mode == Mode::ExtendedBinary);
                bind(format, &mut out)?;
                frontend::describe(b'P', "", &mut out)?;
                frontend::execute("", 0, &mut out)?;
                frontend::sync(&mut out);
            }
        }
        self.stream.write_all(&out)?;
        self.answer()
    }

    /// Reads all messages until the server is ready again.
    fn answer(&mut self) -> Result<Answer, Failure> {
        let mut answer = Answer { columns: None, rows: Vec::new(), tag: String::new() };
        let mut refused = None;
        loop {
            match self.receive()? {
                Message::RowDescription(body) => {
                    answer.columns = Some(columns(&body)?);
                    answer.rows.clear();
                }
                Message::DataRow(body) => answer.rows.push(cells(&body)?),
                Message::CommandComplete(body) => answer.tag = body.tag()?.to_string(),
                Message::ErrorResponse(body) => refused = Some(failure(body.fields())?),
                Message::ReadyForQuery(_) => return refused.map_or(Ok(answer), Err),
                Message::CopyInResponse(_) | Message::CopyOutResponse(_) => {
                    return Err(Failure::Lost("COPY is not spoken here".to_string()));
                }
                _ => {}
            }
        }
    }

    fn start(&mut self, config: &postgres::Config) -> Result<(), Failure> {
        let user = config.get_user().unwrap_or("postgres");
        let database = config.get_dbname().unwrap_or(user);
        let mut out = BytesMut::new();
        let parameters = [("user", user), ("database", database), ("client_encoding", "UTF8")];
        frontend::startup_message(parameters, &mut out)?;
        self.stream.write_all(&out)?;
        let password = config.get_password().unwrap_or_default();
        let mut scram = None;
        loop {
            out.clear();
            match self.receive()? {
                Message::AuthenticationCleartextPassword => frontend::password_message(password, &mut out)?,
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut out)?;
                }
                Message::AuthenticationSasl(_) => {
                    let exchange = ScramSha256::new(password, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut out)?;
                    scram = Some(exchange);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let exchange =
                        scram.as_mut().ok_or_else(|| Failure::Lost("SASL out of turn".to_string()))?;
                    exchange.update(body.data())?;
                    frontend::sasl_response(exchange.message(), &mut out)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let exchange =
                        scram.as_mut().ok_or_else(|| Failure::Lost("SASL out of turn".to_string()))?;
                    exchange.finish(body.data())?;
                }
                Message::ErrorResponse(body) => return Err(failure(body.fields())?),
                Message::ReadyForQuery(_) => return Ok(()),
                _ => {}
            }
            self.stream.write_all(&out)?;
        }
    }

    fn receive(&mut self) -> Result<Message, Failure> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(message) = Message::parse(&mut self.received)? {
                return Ok(message);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(Failure::Lost("the server closed it".to_string())),
                count => self.received.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

fn bind(format: i16, out: &mut BytesMut) -> Result<(), Failure> {
    let none = std::iter::empty::<()>();
    let bound = frontend::bind(
        "",
        "",
        std::iter::empty::<i16>(),
        none,
        |(), _| Ok(postgres_protocol::IsNull::Yes),
        std::iter::once(format),
        out,
    );
    bound.map_err(|_| Failure::Lost("a statement without parameters cannot be bound".to_string()))
}

fn columns(body: &RowDescriptionBody) -> Result<Vec<Column>, Failure> {
    let fields =
        body.fields().map(|field| Ok(Column { name: field.name().to_string(), type_oid: field.type_oid() }));
    Ok(fields.collect()?)
}

fn cells(body: &DataRowBody) -> Result<Vec<Cell>, Failure> {
    let cells = body.ranges().map(|range| Ok(range.map(|range| body.buffer()[range].to_vec())));
    Ok(cells.collect()?)
}

fn failure(mut fields: ErrorFields<'_>) -> Result<Failure, Failure> {
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(field) = fields.next()? {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value,
            b'M' => message = value,
            _ => {}
        }
    }
    Ok(Failure::Refused { code, message })
}
