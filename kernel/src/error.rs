//! Errors that reach a person: a kind that maps to one SQLSTATE, and a sentence that names the thing, the reason and the
//! remedy. Broken invariants of our own are assertions, not errors.

use serde::{Deserialize, Serialize};

/// Classes of errors, each with its SQLSTATE (PostgreSQL 15, appendix A).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ErrorKind {
    /// 0A000
    FeatureNotSupported,
    /// 22003
    NumericValueOutOfRange,
    /// 22012
    DivisionByZero,
    /// 22P02
    InvalidTextRepresentation,
    /// 22023
    InvalidParameterValue,
    /// 23502
    NotNullViolation,
    /// 23505
    UniqueViolation,
    /// 42P01
    UndefinedTable,
    /// 42703
    UndefinedColumn,
    /// 42704: a pipeline that does not exist
    UndefinedObject,
    /// 42P07
    DuplicateTable,
    /// 42710: a pipeline that exists already
    DuplicateObject,
    /// 42P16: an impossible table definition
    InvalidTableDefinition,
    /// 55006: in use, as a table that a pipeline loads
    ObjectInUse,
    /// 55000: not in the state that the command needs
    ObjectNotInPrerequisiteState,
    /// 40001: the definition changed under the statement; ask again
    SerializationFailure,
    /// 53100
    DiskFull,
    /// 53200
    OutOfMemory,
    /// 54000: more than this program takes at once
    ProgramLimitExceeded,
    /// 57014
    QueryCanceled,
    /// 57P01
    AdminShutdown,
    /// 08001: the source cannot be reached
    SourceUnreachable,
    /// 58030: input or output failed
    IoError,
    /// XX001
    DataCorrupted,
    /// TM001: messages that were not read yet are gone from the source (retention or truncation)
    SourceLost,
    /// TM002: the topic is another one than the cursors speak of
    SourceChanged,
    /// XX000
    Internal,
    /// 42501
    InsufficientPrivilege,
    /// 08007: whether a statement is in the log is not known
    TransactionResolutionUnknown,
    /// 58P01: a file that a definition names is not there
    UndefinedFile,
    /// 22001: a text too long for its column
    StringDataRightTruncation,
}

impl ErrorKind {
    /// The five-character SQLSTATE.
    pub fn sqlstate(self) -> &'static str {
        use ErrorKind::*;
        match self {
            FeatureNotSupported => "0A000",
            NumericValueOutOfRange => "22003",
            DivisionByZero => "22012",
            InvalidTextRepresentation => "22P02",
            InvalidParameterValue => "22023",
            NotNullViolation => "23502",
            UniqueViolation => "23505",
            UndefinedTable => "42P01",
            UndefinedColumn => "42703",
            UndefinedObject => "42704",
            DuplicateTable => "42P07",
            DuplicateObject => "42710",
            InvalidTableDefinition => "42P16",
            ObjectInUse => "55006",
            ObjectNotInPrerequisiteState => "55000",
            SerializationFailure => "40001",
            DiskFull => "53100",
            OutOfMemory => "53200",
            ProgramLimitExceeded => "54000",
            QueryCanceled => "57014",
            AdminShutdown => "57P01",
            SourceUnreachable => "08001",
            IoError => "58030",
            DataCorrupted => "XX001",
            SourceLost => "TM001",
            SourceChanged => "TM002",
            Internal => "XX000",
            InsufficientPrivilege => "42501",
            TransactionResolutionUnknown => "08007",
            UndefinedFile => "58P01",
            StringDataRightTruncation => "22001",
        }
    }
}

/// An error for whoever asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Class.
    pub kind: ErrorKind,
    /// What, why and what to do, in one sentence or two.
    pub message: String,
}

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
