//! The client's half of a connection: bytes into messages. A message is bounded; what is sent ahead while a statement runs
//! is read up to a bound, so that a client that hangs up is noticed.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, BytesMut};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::{GssEncRequest, SslRequest, Startup};
use pgwire::messages::{DecodeContext, Message, PgWireFrontendMessage, ProtocolVersion};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use crate::error::{SqlError, state};

/// Longest message of a client.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Bytes read ahead of the statement that runs.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// What a connection begins with.
pub enum Opening {
    /// May we speak TLS?
    SslRequest,
    /// May we speak GSS?
    GssRequest,
    /// A session, with these parameters.
    Startup(BTreeMap<String, String>),
    /// Cancel what another session runs.
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
    /// The last message has texts that are no UTF-8.
    bad_text: bool,
}

fn malformed(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the client hung up")
}

impl Reader {
    /// Over this half of a socket.
    pub fn new(half: OwnedReadHalf) -> Reader {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Reader { half, buffer: BytesMut::with_capacity(8 << 10), context, bad_text: false }
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
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// The next message, if all of it is there.
    fn buffered(&mut self) -> io::Result<Option<PgWireFrontendMessage>> {
        let Some(len) = self.length(1)? else { return Ok(None) };
        if !(4..=MESSAGE_BYTES_MAX).contains(&len) {
            return Err(malformed("invalid length of a message"));
        }
        if self.buffer.len() < len + 1 {
            self.buffer.reserve(len + 1 - self.buffer.len());
            return Ok(None);
        }
        // Alone, so that a message whose inner lengths lie cannot reach into the next one.
        let mut message = self.buffer.split_to(len + 1);
        self.bad_text = !texts_are_utf8(&message);
        let context = &self.context;
        let decoded = caught(|| PgWireFrontendMessage::decode(&mut message, context))?;
        decoded.ok_or_else(|| malformed("incomplete message")).map(Some)
    }

    /// Refuses a statement whose text is no UTF-8: pgwire puts other characters in the place of what is none.
    pub fn check_text(&self) -> Result<(), SqlError> {
        match self.bad_text {
            true => Err(SqlError::new(
                state::UNTRANSLATABLE_CHARACTER,
                "invalid byte sequence for encoding \"UTF8\"",
            )),
            false => Ok(()),
        }
    }

    /// Ends only when the client has hung up. What it sends meanwhile is kept, up to a bound.
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

/// Looks at the texts that Query and Parse begin with: a statement, or a name and a statement.
fn texts_are_utf8(message: &[u8]) -> bool {
    let texts = match message.first() {
        Some(b'Q') => 1,
        Some(b'P') => 2,
        _ => return true,
    };
    let body = message.get(5..).unwrap_or_default();
    body.split(|byte| *byte == 0).take(texts).all(|text| std::str::from_utf8(text).is_ok())
}

/// pgwire trusts some lengths inside of messages; what panics there is a malformed message.
fn caught<T>(decode: impl FnOnce() -> Result<T, pgwire::error::PgWireError>) -> io::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode))
        .map_err(|_| malformed("malformed message"))?
        .map_err(malformed)
}
