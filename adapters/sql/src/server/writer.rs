//! The server's half of a connection: messages into bytes, sent when the buffer is full or when the client waits.

use std::io;

use bytes::{BufMut, BytesMut};
use kernel::{Error, SqlState};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::copy::{CopyInResponse, CopyOutResponse};
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use crate::client::SessionInfo;
use crate::query::Described;
use crate::session::Status;
use pg_semantics::types::encode::Format;

/// Bytes that are buffered before they are sent.
pub const FLUSH_BYTES: usize = 64 << 10;

/// Writes messages.
pub struct Writer {
    half: OwnedWriteHalf,
    /// Whole messages, of which the socket may have taken the beginning.
    out: BytesMut,
}

impl Writer {
    /// Over this half of a socket.
    pub fn new(half: OwnedWriteHalf) -> Writer {
        Writer { half, out: BytesMut::with_capacity(8 << 10) }
    }

    /// The buffer for rows.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// True if the buffer should be sent.
    pub fn is_full(&self) -> bool {
        self.out.len() >= FLUSH_BYTES
    }

    /// Sends the buffer. A dropped call leaves the rest for the next one.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            self.half.write_buf(&mut self.out).await?;
        }
        if self.out.capacity() > 4 * FLUSH_BYTES {
            self.out = BytesMut::with_capacity(FLUSH_BYTES);
        }
        Ok(())
    }

    /// Bytes outside of messages.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    fn put(&mut self, message: Message) {
        let start = self.out.len();
        if let Err(error) = message.encode(&mut self.out) {
            // A message beyond its limit, such as a long error: send an error about that.
            self.out.truncate(start);
            tracing::warn!("a message could not be encoded: {error}");
        }
    }

    /// The session begins.
    pub fn welcome(&mut self, session: &SessionInfo) {
        self.put(Message::Authentication(Authentication::Ok));
        let settings = session.settings.lock().reported();
        for (name, value) in settings {
            self.parameter(name, value);
        }
        let key = BackendKeyData::new(session.pid, SecretKey::I32(session.secret));
        self.put(Message::BackendKeyData(key));
    }

    /// A setting that is reported to the client.
    pub fn parameter(&mut self, name: &str, value: String) {
        self.put(Message::ParameterStatus(ParameterStatus::new(name.into(), value)));
    }

    /// Ready for the next query.
    pub fn ready(&mut self, status: Status) {
        let status = match status {
            Status::Idle => TransactionStatus::Idle,
            Status::Block => TransactionStatus::Transaction,
            Status::Failed => TransactionStatus::Error,
        };
        self.put(Message::ReadyForQuery(ReadyForQuery::new(status)));
    }

    /// An error of a statement.
    pub fn error(&mut self, error: &Error) {
        self.put(Message::ErrorResponse(ErrorResponse::new(fields("ERROR", error))));
    }

    /// An error that ends the connection.
    pub fn fatal(&mut self, error: &Error) {
        self.put(Message::ErrorResponse(ErrorResponse::new(fields("FATAL", error))));
    }

    /// A notice.
    pub fn notice(&mut self, severity: &str, sqlstate: SqlState, text: &str) {
        let fields = fields(severity, &Error::new(sqlstate, text));
        self.put(Message::NoticeResponse(NoticeResponse::new(fields)));
    }

    /// A statement is done.
    pub fn complete(&mut self, tag: String) {
        self.put(Message::CommandComplete(CommandComplete::new(tag)));
    }

    /// There was no statement.
    pub fn empty_query(&mut self) {
        self.put(Message::EmptyQueryResponse(EmptyQueryResponse::new()));
    }

    /// The description of the rows.
    pub fn row_description(&mut self, described: &Described, formats: &[Format]) {
        let fields = described.fields.iter().zip(formats);
        let fields = fields.map(|(f, format)| {
            FieldDescription::new(f.name.clone(), 0, 0, f.pg.oid(), f.pg.size(), f.modifier, format.code())
        });
        self.put(Message::RowDescription(RowDescription::new(fields.collect())));
    }

    /// There are no rows.
    pub fn no_data(&mut self) {
        self.put(Message::NoData(NoData::new()));
    }

    /// Types of the parameters.
    pub fn parameter_description(&mut self, oids: Vec<u32>) {
        self.put(Message::ParameterDescription(ParameterDescription::new(oids)));
    }

    /// Answers Parse.
    pub fn parse_complete(&mut self) {
        self.put(Message::ParseComplete(ParseComplete::new()));
    }

    /// Answers Bind.
    pub fn bind_complete(&mut self) {
        self.put(Message::BindComplete(BindComplete::new()));
    }

    /// Answers Close.
    pub fn close_complete(&mut self) {
        self.put(Message::CloseComplete(CloseComplete::new()));
    }

    /// There may be more rows.
    pub fn portal_suspended(&mut self) {
        self.put(Message::PortalSuspended(PortalSuspended::new()));
    }

    /// Rows may come.
    pub fn copy_in(&mut self, format: i8, columns: usize) {
        let formats = vec![i16::from(format); columns];
        self.put(Message::CopyInResponse(CopyInResponse::new(format, columns as i16, formats)));
    }

    /// Rows will come.
    pub fn copy_out(&mut self, format: i8, columns: usize) {
        let formats = vec![i16::from(format); columns];
        self.put(Message::CopyOutResponse(CopyOutResponse::new(format, columns as i16, formats)));
    }

    /// A piece of COPY data.
    pub fn copy_data(&mut self, data: &[u8]) {
        if !data.is_empty() {
            self.out.put_u8(b'd');
            self.out.put_i32(data.len() as i32 + 4);
            self.out.put_slice(data);
        }
    }

    /// The end of COPY data.
    pub fn copy_done(&mut self) {
        self.out.put_u8(b'c');
        self.out.put_i32(4);
    }
}

fn fields(severity: &str, error: &Error) -> Vec<(u8, String)> {
    // Zero bytes would end a field early.
    let clean = |text: &str| text.replace('\0', "\u{fffd}").chars().take(8000).collect::<String>();
    let mut fields = vec![
        (b'S', severity.to_string()),
        (b'V', severity.to_string()),
        (b'C', error.sqlstate.to_string()),
        (b'M', clean(&error.message)),
    ];
    fields.extend(error.detail().map(|detail| (b'D', clean(detail))));
    let position = error.position().and_then(|position| position.character);
    fields.extend(position.map(|character| (b'P', character.to_string())));
    fields.extend(error.hint().map(|hint| (b'H', clean(hint))));
    fields
}
