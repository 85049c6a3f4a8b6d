//! The one error type of the kernel and the adapters: an SQLSTATE, a message, and optionally detail, hint and position.
//! It is created where the error is found, and carried unchanged to the client, the errors table, the log and a
//! recording. Broken invariants are assertions, not errors.

use std::fmt;
use std::str;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// An SQLSTATE: five digits or capital letters that name the class of an error.
///
/// The constants have the names of PostgreSQL 15, appendix A. `TM001` and `TM002` are Tidemark's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

macro_rules! sql_states {
    ($($name:ident = $code:literal,)*) => {
        #[allow(missing_docs)]
        impl SqlState {
            $(pub const $name: SqlState = SqlState::known($code);)*
        }

        /// All constants with their names.
        #[cfg(test)]
        const NAMED: &[(&str, SqlState)] = &[$((stringify!($name), SqlState::$name),)*];
    };
}

sql_states! {
    SUCCESSFUL_COMPLETION = b"00000",
    // Class 08: connections. The first one also means that a source cannot be reached.
    SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION = b"08001",
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007",
    PROTOCOL_VIOLATION = b"08P01",
    FEATURE_NOT_SUPPORTED = b"0A000",
    CARDINALITY_VIOLATION = b"21000",
    // Class 22: values.
    DATA_EXCEPTION = b"22000",
    STRING_DATA_RIGHT_TRUNCATION = b"22001",
    NUMERIC_VALUE_OUT_OF_RANGE = b"22003",
    NULL_VALUE_NOT_ALLOWED = b"22004",
    INVALID_DATETIME_FORMAT = b"22007",
    DATETIME_FIELD_OVERFLOW = b"22008",
    INVALID_TIME_ZONE_DISPLACEMENT_VALUE = b"22009",
    SUBSTRING_ERROR = b"22011",
    DIVISION_BY_ZERO = b"22012",
    INTERVAL_FIELD_OVERFLOW = b"22015",
    INVALID_REGULAR_EXPRESSION = b"2201B",
    INVALID_ARGUMENT_FOR_LOGARITHM = b"2201E",
    INVALID_ARGUMENT_FOR_POWER_FUNCTION = b"2201F",
    INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION = b"2201G",
    CHARACTER_NOT_IN_REPERTOIRE = b"22021",
    INVALID_PARAMETER_VALUE = b"22023",
    INVALID_ESCAPE_SEQUENCE = b"22025",
    ARRAY_SUBSCRIPT_ERROR = b"2202E",
    INVALID_TEXT_REPRESENTATION = b"22P02",
    INVALID_BINARY_REPRESENTATION = b"22P03",
    BAD_COPY_FILE_FORMAT = b"22P04",
    UNTRANSLATABLE_CHARACTER = b"22P05",
    // Class 23: constraints.
    NOT_NULL_VIOLATION = b"23502",
    UNIQUE_VIOLATION = b"23505",
    // Class 25: transaction blocks.
    ACTIVE_SQL_TRANSACTION = b"25001",
    READ_ONLY_SQL_TRANSACTION = b"25006",
    NO_ACTIVE_SQL_TRANSACTION = b"25P01",
    IN_FAILED_SQL_TRANSACTION = b"25P02",
    INVALID_SQL_STATEMENT_NAME = b"26000",
    INVALID_AUTHORIZATION_SPECIFICATION = b"28000",
    INVALID_CURSOR_NAME = b"34000",
    INVALID_CATALOG_NAME = b"3D000",
    INVALID_SCHEMA_NAME = b"3F000",
    SERIALIZATION_FAILURE = b"40001",
    // Class 42: statements.
    SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION = b"42000",
    INSUFFICIENT_PRIVILEGE = b"42501",
    SYNTAX_ERROR = b"42601",
    NAME_TOO_LONG = b"42622",
    DUPLICATE_COLUMN = b"42701",
    AMBIGUOUS_COLUMN = b"42702",
    UNDEFINED_COLUMN = b"42703",
    UNDEFINED_OBJECT = b"42704",
    DUPLICATE_OBJECT = b"42710",
    DUPLICATE_ALIAS = b"42712",
    AMBIGUOUS_FUNCTION = b"42725",
    GROUPING_ERROR = b"42803",
    DATATYPE_MISMATCH = b"42804",
    WRONG_OBJECT_TYPE = b"42809",
    CANNOT_COERCE = b"42846",
    UNDEFINED_FUNCTION = b"42883",
    RESERVED_NAME = b"42939",
    UNDEFINED_TABLE = b"42P01",
    UNDEFINED_PARAMETER = b"42P02",
    DUPLICATE_PREPARED_STATEMENT = b"42P05",
    DUPLICATE_TABLE = b"42P07",
    INVALID_COLUMN_REFERENCE = b"42P10",
    INVALID_TABLE_DEFINITION = b"42P16",
    INDETERMINATE_DATATYPE = b"42P18",
    INVALID_RECURSION = b"42P19",
    WINDOWING_ERROR = b"42P20",
    // Class 53: resources.
    DISK_FULL = b"53100",
    OUT_OF_MEMORY = b"53200",
    TOO_MANY_CONNECTIONS = b"53300",
    // Class 54: limits of this program.
    PROGRAM_LIMIT_EXCEEDED = b"54000",
    STATEMENT_TOO_COMPLEX = b"54001",
    TOO_MANY_COLUMNS = b"54011",
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000",
    OBJECT_IN_USE = b"55006",
    CANT_CHANGE_RUNTIME_PARAM = b"55P02",
    QUERY_CANCELED = b"57014",
    ADMIN_SHUTDOWN = b"57P01",
    IO_ERROR = b"58030",
    UNDEFINED_FILE = b"58P01",
    INTERNAL_ERROR = b"XX000",
    DATA_CORRUPTED = b"XX001",
    // Tidemark's own: unread messages are missing at the source (retention or truncation).
    SOURCE_LOST = b"TM001",
    // Tidemark's own: the topic has another id than the cursors.
    SOURCE_CHANGED = b"TM002",
}

impl SqlState {
    /// A state given as a constant in source code.
    const fn known(code: &[u8; 5]) -> SqlState {
        assert!(is_state(code), "an SQLSTATE consists of five digits or capital letters");
        SqlState(*code)
    }

    /// The state with this text.
    pub fn parse(code: &str) -> Option<SqlState> {
        let code = code.as_bytes().try_into().ok()?;
        is_state(&code).then_some(SqlState(code))
    }

    /// Its five characters.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits and letters")
    }

    /// The first two characters: PostgreSQL's class.
    pub fn class(&self) -> &str {
        &self.as_str()[..2]
    }
}

const fn is_state(code: &[u8; 5]) -> bool {
    let mut at = 0;
    while at < code.len() {
        if !code[at].is_ascii_digit() && !code[at].is_ascii_uppercase() {
            return false;
        }
        at += 1;
    }
    true
}

/// Stored as its text.
impl<C> Encode<C> for SqlState {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> std::result::Result<(), encode::Error<W::Error>> {
        encoder.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SqlState {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> std::result::Result<SqlState, decode::Error> {
        SqlState::parse(decoder.str()?).ok_or_else(|| decode::Error::message("not an SQLSTATE"))
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<str> for SqlState {
    fn eq(&self, code: &str) -> bool {
        self.0 == *code.as_bytes()
    }
}

impl PartialEq<&str> for SqlState {
    fn eq(&self, code: &&str) -> bool {
        *self == **code
    }
}

/// An error for clients, operators and readers of the errors table.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Error {
    /// Its SQLSTATE.
    #[n(0)]
    pub sqlstate: SqlState,
    /// The problem and its reason.
    #[n(1)]
    pub message: String,
    // Boxed: most errors have no such parts.
    #[n(2)]
    more: Option<Box<More>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
struct More {
    #[n(0)]
    detail: Option<String>,
    #[n(1)]
    hint: Option<String>,
    #[n(2)]
    position: Option<TextPosition>,
}

/// A place in the text of a statement, counted in characters from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TextPosition {
    /// Line.
    #[n(0)]
    pub line: u32,
    /// Character in the line.
    #[n(1)]
    pub column: u32,
    /// Character in the whole text, as in the PostgreSQL protocol. None before
    /// [`count_position`](Error::count_position).
    #[n(2)]
    pub character: Option<u32>,
}

impl Error {
    /// An error with this SQLSTATE and message.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Error {
        Error { sqlstate, message: message.into(), more: None }
    }

    /// Adds context: replaces the message by a text made from it, and keeps the rest.
    pub fn map_message(mut self, message: impl FnOnce(&str) -> String) -> Error {
        self.message = message(&self.message);
        self
    }

    /// Adds a detail: the particulars of this case.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Error {
        self.more.get_or_insert_default().detail = Some(detail.into());
        self
    }

    /// Adds a hint: the remedy.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.more.get_or_insert_default().hint = Some(hint.into());
        self
    }

    /// Adds the position in the statement.
    pub fn with_position(mut self, position: TextPosition) -> Error {
        self.more.get_or_insert_default().position = Some(position);
        self
    }

    /// Computes the character of the position in the whole text.
    pub fn count_position(mut self, text: &str) -> Error {
        if let Some(position) = self.more.as_mut().and_then(|more| more.position.as_mut()) {
            position.character = position.character_in(text);
        }
        self
    }

    /// The detail.
    pub fn detail(&self) -> Option<&str> {
        self.more.as_ref()?.detail.as_deref()
    }

    /// The hint.
    pub fn hint(&self) -> Option<&str> {
        self.more.as_ref()?.hint.as_deref()
    }

    /// The position in the statement.
    pub fn position(&self) -> Option<TextPosition> {
        self.more.as_ref()?.position
    }
}

/// Message, detail and hint, as log lines and the errors table show them.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut last = self.message.as_str();
        for text in [self.detail(), self.hint()].into_iter().flatten() {
            let gap = if last.ends_with(['.', '?', '!']) { " " } else { ". " };
            write!(f, "{gap}{text}")?;
            last = text;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl TextPosition {
    /// A position given by line and character in the line.
    pub fn new(line: u32, column: u32) -> TextPosition {
        TextPosition { line, column, character: None }
    }

    fn character_in(self, text: &str) -> Option<u32> {
        let mut before: u32 = 0;
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            if number == self.line {
                return before.checked_add(self.column);
            }
            before = before.checked_add(line.chars().count().try_into().ok()?)?;
        }
        None
    }
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_codes_are_paired_one_to_one() {
        let names: BTreeSet<_> = NAMED.iter().map(|(name, _)| name).collect();
        let codes: BTreeSet<_> = NAMED.iter().map(|(_, code)| code).collect();
        assert_eq!((names.len(), codes.len()), (NAMED.len(), NAMED.len()));
        assert!(NAMED.iter().all(|(_, state)| SqlState::parse(state.as_str()) == Some(*state)));
    }

    #[test]
    fn a_state_is_five_digits_or_capitals() {
        assert_eq!(SqlState::parse("22P02"), Some(SqlState::INVALID_TEXT_REPRESENTATION));
        for text in ["", "22P0", "22P020", "22p02", "22 02", "22P0é"] {
            assert_eq!(SqlState::parse(text), None, "{text:?}");
        }
        assert_eq!(SqlState::DIVISION_BY_ZERO.class(), "22");
        assert!(SqlState::DIVISION_BY_ZERO == "22012" && SqlState::DIVISION_BY_ZERO != "2201");
    }

    #[test]
    fn an_error_comes_back_as_it_was_written_and_a_wrong_state_is_refused() {
        let plain = Error::new(SqlState::DISK_FULL, "no space left");
        let place = TextPosition::new(2, 3);
        let full = plain.clone().with_detail("7 bytes are left").with_hint("Make room.").with_position(place);
        for error in [&plain, &full] {
            let bytes = crate::cbor::to_vec(error);
            assert_eq!(crate::cbor::from_slice::<Error>(&bytes).as_ref(), Ok(error));
        }
        assert!(crate::cbor::from_slice::<SqlState>(b"22p02").is_err());
        assert_eq!(full.to_string(), "no space left. 7 bytes are left. Make room.");
        assert_eq!(plain.to_string(), "no space left");
    }

    #[test]
    fn a_position_counts_characters_over_all_lines() {
        let at = |line, column| {
            let error = Error::new(SqlState::SYNTAX_ERROR, "").with_position(TextPosition::new(line, column));
            error.count_position("sélect\n  x\n").position().and_then(|position| position.character)
        };
        assert_eq!([at(1, 1), at(2, 3), at(3, 1)], [Some(1), Some(10), None]);
    }

    #[test]
    fn an_error_stays_small() {
        assert!(size_of::<Error>() <= 40);
        assert_eq!(size_of::<SqlState>(), 5);
    }
}
