//! The client's half of a connection: bytes into messages. Each message has a limit, and so have the bytes of all
//! clients' incomplete messages together; a message beyond it is skipped and refused, and the connection continues.
//! Bytes that arrive while a statement runs are read up to a limit, so that a disconnect is noticed.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use datafusion::execution::memory_pool::MemoryReservation;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::{GssEncRequest, SslRequest, Startup};
use pgwire::messages::{DecodeContext, Message, PgWireFrontendMessage, ProtocolVersion};
use tidemark_pipeline_sql::TEXT_BYTES_MAX;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::shape;
use crate::error::{SqlError, SqlState};

/// Longest message of a client.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Longest message of the kinds that only name or end something.
const SHORT_MESSAGE_BYTES_MAX: usize = 10_000;
/// Longest message that is a text, with a name and types of parameters beside it.
const TEXT_MESSAGE_BYTES_MAX: usize = TEXT_BYTES_MAX + (1 << 20);
/// Bytes that a connection may hold uncounted.
const UNCOUNTED_BYTES: usize = 64 << 10;
/// Time after which an incomplete message ends the connection.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes read ahead while a statement runs.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// The first packet of a connection.
pub enum Opening {
    /// A request for TLS.
    SslRequest,
    /// A request for GSS encryption.
    GssRequest,
    /// A session, with these parameters.
    Startup(BTreeMap<String, String>),
    /// Cancel another session's statement.
    Cancel {
        /// Its number.
        pid: i32,
        /// Its secret.
        secret: i32,
    },
}

/// Reads messages.
pub struct Reader {
    half: OwnedReadHalf,
    buffer: BytesMut,
    context: DecodeContext,
    /// The last message has texts that are not UTF-8.
    bad_text: bool,
    /// Memory of the buffer beyond [`UNCOUNTED_BYTES`].
    memory: MemoryReservation,
    /// A message that is being skipped.
    passing: Option<Passing>,
}

struct Passing {
    left: usize,
    refused: Refused,
}

/// A message that exceeded a limit and was skipped.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its first byte.
    pub kind: u8,
    /// Why.
    pub error: SqlError,
}

impl Refused {
    /// The refusal inside an error of [`Reader::next`].
    pub fn of(error: &io::Error) -> Option<&Refused> {
        error.get_ref()?.downcast_ref()
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refused {}

fn malformed(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the client hung up")
}

impl Reader {
    /// Over this half of a socket.
    pub fn new(half: OwnedReadHalf, memory: MemoryReservation) -> Reader {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        let buffer = BytesMut::with_capacity(8 << 10);
        Reader { half, buffer, context, bad_text: false, memory, passing: None }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.half.read_buf(&mut self.buffer).await? {
            0 => Err(hung_up()),
            _ => Ok(()),
        }
    }

    /// The packet that a connection begins with.
    pub async fn opening(&mut self) -> io::Result<Opening> {
        loop {
            if let Some(len) = self.length(0)? {
                if !(8..=10_000).contains(&len) {
                    return Err(malformed("invalid length of startup packet"));
                }
                if self.buffer.len() >= len {
                    let mut packet = self.buffer.split_to(len);
                    return self.parse_opening(&mut packet);
                }
            }
            self.fill().await?;
        }
    }

    fn parse_opening(&self, packet: &mut BytesMut) -> io::Result<Opening> {
        if SslRequest::is_ssl_request_packet(packet) {
            return Ok(Opening::SslRequest);
        }
        if GssEncRequest::is_gss_enc_request_packet(packet) {
            return Ok(Opening::GssRequest);
        }
        if CancelRequest::is_cancel_request_packet(packet) {
            let request = caught(|| CancelRequest::decode(packet, &self.context))?;
            let request = request.ok_or_else(|| malformed("incomplete cancel request"))?;
            let secret = request.secret_key.as_i32().ok_or_else(|| malformed("secret of another length"))?;
            return Ok(Opening::Cancel { pid: request.pid, secret });
        }
        if !packet.get(8..).is_some_and(shape::is_whole_startup) {
            return Err(malformed("invalid startup packet layout"));
        }
        let startup = caught(|| Startup::decode(packet, &self.context))?;
        let startup = startup.ok_or_else(|| malformed("incomplete startup packet"))?;
        if startup.protocol_number_major != 3 {
            return Err(malformed("protocol version is not 3"));
        }
        Ok(Opening::Startup(startup.parameters))
    }

    /// Length field at `offset`, if it is there.
    fn length(&self, offset: usize) -> io::Result<Option<usize>> {
        let Some(mut field) = self.buffer.get(offset..offset + 4) else { return Ok(None) };
        let len = field.get_i32();
        usize::try_from(len).map(Some).map_err(|_| malformed("negative length of a message"))
    }

    /// The next message, waiting for it.
    pub async fn next(&mut self) -> io::Result<PgWireFrontendMessage> {
        if self.buffer.is_empty() && self.buffer.capacity() > UNCOUNTED_BYTES {
            self.buffer = BytesMut::with_capacity(8 << 10);
        }
        self.memory.free();
        loop {
            if let Some(refused) = self.pass()? {
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, refused));
            }
            if self.passing.is_none()
                && let Some(message) = self.buffered()?
            {
                return Ok(message);
            }
            if self.passing.as_ref().is_some_and(|passing| passing.left > 0) && !self.buffer.is_empty() {
                continue;
            }
            match self.buffer.is_empty() && self.passing.is_none() {
                true => self.fill().await?,
                false => tokio::time::timeout(STALL_TIMEOUT, self.fill())
                    .await
                    .map_err(|_| malformed("the rest of a message did not come in time"))??,
            }
        }
    }

    /// Skips the available bytes of a refused message; returns the refusal at its end.
    fn pass(&mut self) -> io::Result<Option<Refused>> {
        let Some(passing) = &mut self.passing else { return Ok(None) };
        let here = passing.left.min(self.buffer.len());
        self.buffer.advance(here);
        passing.left -= here;
        match passing.left {
            0 => Ok(self.passing.take().map(|passing| passing.refused)),
            _ => Ok(None),
        }
    }

    /// Why a message of this kind and length is refused, if it is.
    fn refusal(&self, kind: u8, len: usize) -> Option<SqlError> {
        let too_long = |max: usize| {
            let message = format!("message of {len} bytes is longer than the limit of {max}");
            SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("Load large amounts with COPY.")
        };
        if matches!(kind, b'Q' | b'P') && len > TEXT_MESSAGE_BYTES_MAX {
            return Some(too_long(TEXT_MESSAGE_BYTES_MAX));
        }
        if len > MESSAGE_BYTES_MAX {
            return Some(too_long(MESSAGE_BYTES_MAX));
        }
        // Counted as it arrives, in doubling steps, not by its announced length.
        let kept = (len + 1).min(2 * self.buffer.len().max(UNCOUNTED_BYTES));
        let counted = kept.saturating_sub(UNCOUNTED_BYTES);
        match counted > self.memory.size() {
            true => self.memory.try_resize(counted).err().map(|_| {
                let message = "out of memory: incomplete messages of clients exceed the memory for them";
                SqlError::new(SqlState::OUT_OF_MEMORY, message)
                    .with_hint("Send shorter messages, or try again later.")
            }),
            false => None,
        }
    }

    /// The next message, if all of it is there.
    fn buffered(&mut self) -> io::Result<Option<PgWireFrontendMessage>> {
        let Some(len) = self.length(1)? else { return Ok(None) };
        let kind = self.buffer[0];
        let short = matches!(kind, b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c');
        if len < 4 || short && len > SHORT_MESSAGE_BYTES_MAX || !b"BCDEFHPQSXcdfp".contains(&kind) {
            return Err(malformed("invalid kind or length of a message"));
        }
        if let Some(error) = self.refusal(kind, len) {
            self.passing = Some(Passing { left: len + 1, refused: Refused { kind, error } });
            return Ok(None);
        }
        if self.buffer.len() < len + 1 {
            let kept = (len + 1).min(2 * self.buffer.len().max(UNCOUNTED_BYTES));
            self.buffer.reserve(kept - self.buffer.len());
            return Ok(None);
        }
        // Split off, so that a message with wrong inner lengths cannot reach into the next one.
        let mut message = self.buffer.split_to(len + 1);
        if !shape::is_whole(kind, &message[5..]) {
            return Err(malformed("invalid message format"));
        }
        self.bad_text = !texts_are_utf8(&message);
        let context = &self.context;
        let decoded = caught(|| PgWireFrontendMessage::decode(&mut message, context))?;
        decoded.ok_or_else(|| malformed("incomplete message")).map(Some)
    }

    /// Refuses a statement whose text is not UTF-8: pgwire would replace the invalid bytes.
    pub fn check_text(&self) -> Result<(), SqlError> {
        match self.bad_text {
            true => Err(SqlError::new(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\"",
            )),
            false => Ok(()),
        }
    }

    /// Completes only when the client has disconnected. Bytes that arrive meanwhile are kept, up to a limit.
    pub async fn until_hung_up(&mut self) -> io::Error {
        loop {
            if self.buffer.len() >= AHEAD_BYTES_MAX {
                return std::future::pending().await;
            }
            if let Err(error) = self.fill().await {
                return error;
            }
        }
    }
}

/// Checks the texts at the beginning of Query and Parse: a statement, or a name and a statement.
fn texts_are_utf8(message: &[u8]) -> bool {
    let texts = match message.first() {
        Some(b'Q') => 1,
        Some(b'P') => 2,
        _ => return true,
    };
    let body = message.get(5..).unwrap_or_default();
    body.split(|byte| *byte == 0).take(texts).all(|text| std::str::from_utf8(text).is_ok())
}

/// pgwire trusts the content of messages. Their shape was checked before; a remaining panic counts as a malformed
/// message, too.
fn caught<T>(decode: impl FnOnce() -> Result<T, pgwire::error::PgWireError>) -> io::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode))
        .map_err(|_| malformed("malformed message"))?
        .map_err(malformed)
}
