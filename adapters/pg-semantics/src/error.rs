//! Errors for PostgreSQL clients: a SQLSTATE and a message. Maps DataFusion's and Arrow's errors; a user's mistake
//! never becomes XX000.

use std::borrow::Cow;
use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// Result with [`SqlError`].
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

/// Longest excerpt of a bad value in an error, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// An error for a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqlError {
    /// Five-character SQLSTATE.
    pub code: Cow<'static, str>,
    /// The message.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

/// SQLSTATEs that the SQL layer raises itself (PostgreSQL 15, appendix A).
#[allow(missing_docs)]
pub mod state {
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const CARDINALITY_VIOLATION: &str = "21000";
    pub const DATA_EXCEPTION: &str = "22000";
    pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
    pub const NUMERIC_OUT_OF_RANGE: &str = "22003";
    pub const INVALID_DATETIME_FORMAT: &str = "22007";
    pub const DATETIME_OVERFLOW: &str = "22008";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    pub const NULL_VALUE_NOT_ALLOWED: &str = "22004";
    pub const SUBSTRING_ERROR: &str = "22011";
    pub const INVALID_ESCAPE_SEQUENCE: &str = "22025";
    pub const ARRAY_SUBSCRIPT_ERROR: &str = "2202E";
    pub const INVALID_REGULAR_EXPRESSION: &str = "2201B";
    pub const WRONG_OBJECT_TYPE: &str = "42809";
    pub const UNTRANSLATABLE_CHARACTER: &str = "22021";
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    pub const BAD_COPY_FILE_FORMAT: &str = "22P04";
    pub const ACTIVE_TRANSACTION: &str = "25001";
    pub const NO_ACTIVE_TRANSACTION: &str = "25P01";
    pub const FAILED_TRANSACTION: &str = "25P02";
    pub const INVALID_STATEMENT_NAME: &str = "26000";
    pub const INVALID_CURSOR_NAME: &str = "34000";
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    pub const SYNTAX_ERROR_OR_ACCESS_RULE: &str = "42000";
    pub const SYNTAX_ERROR: &str = "42601";
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    pub const UNDEFINED_COLUMN: &str = "42703";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const GROUPING_ERROR: &str = "42803";
    pub const DATATYPE_MISMATCH: &str = "42804";
    pub const AMBIGUOUS_FUNCTION: &str = "42725";
    pub const CANNOT_COERCE: &str = "42846";
    pub const UNDEFINED_FUNCTION: &str = "42883";
    pub const DUPLICATE_COLUMN: &str = "42701";
    pub const DUPLICATE_STATEMENT: &str = "42P05";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const UNDEFINED_PARAMETER: &str = "42P02";
    pub const INDETERMINATE_DATATYPE: &str = "42P18";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    pub const QUERY_CANCELED: &str = "57014";
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    pub const INTERNAL: &str = "XX000";
}

impl SqlError {
    /// An error with this SQLSTATE and message.
    pub fn new(code: &'static str, message: impl Into<String>) -> SqlError {
        SqlError { code: Cow::Borrowed(code), message: message.into(), hint: None }
    }

    /// PostgreSQL's error for a text that is not a value of a type. A long text is truncated.
    pub fn bad_text(code: &'static str, type_name: &str, text: &str) -> SqlError {
        let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        let message = match code {
            state::NUMERIC_OUT_OF_RANGE => format!("value \"{shown}\" is out of range for type {type_name}"),
            state::DATETIME_OVERFLOW => format!("date/time field value out of range: \"{shown}\""),
            _ => format!("invalid input syntax for type {type_name}: \"{shown}\""),
        };
        SqlError::new(code, message)
    }

    /// 0A000
    pub fn unsupported(message: impl Into<String>) -> SqlError {
        SqlError::new(state::FEATURE_NOT_SUPPORTED, message)
    }

    /// 42601
    pub fn syntax(message: impl Into<String>) -> SqlError {
        SqlError::new(state::SYNTAX_ERROR, message)
    }

    /// XX000: a violated internal invariant, not a user's mistake.
    pub fn internal(message: impl Into<String>) -> SqlError {
        SqlError::new(state::INTERNAL, message)
    }

    /// Adds a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> SqlError {
        self.hint = Some(hint.into());
        self
    }

    /// An error of DataFusion during planning: its internal errors are nearly always statements that it cannot plan,
    /// and the message names the cause.
    pub fn planning(error: DataFusionError) -> SqlError {
        let mut mapped = SqlError::from(error);
        if mapped.code == state::INTERNAL {
            mapped.code = Cow::Borrowed(state::FEATURE_NOT_SUPPORTED);
        }
        mapped
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for SqlError {}

/// Lets our errors pass through DataFusion unchanged.
impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}

impl From<ArrowError> for SqlError {
    fn from(error: ArrowError) -> SqlError {
        arrow(&error)
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> SqlError {
        datafusion(&error)
    }
}

fn arrow(error: &ArrowError) -> SqlError {
    use ArrowError as E;
    let (code, message) = match error {
        E::DivideByZero => (state::DIVISION_BY_ZERO, "division by zero".to_string()),
        E::ArithmeticOverflow(m) => (state::NUMERIC_OUT_OF_RANGE, m.clone()),
        E::CastError(m) | E::ParseError(m) => (cast_state(m), cast_message(m)),
        E::ComputeError(m) | E::InvalidArgumentError(m) => (cast_state(m), m.clone()),
        E::NotYetImplemented(m) => (state::FEATURE_NOT_SUPPORTED, m.clone()),
        E::MemoryError(m) => (state::OUT_OF_MEMORY, m.clone()),
        E::CsvError(m) | E::JsonError(m) => (state::DATA_EXCEPTION, m.clone()),
        E::DictionaryKeyOverflowError | E::OffsetOverflowError(_) => {
            (state::PROGRAM_LIMIT_EXCEEDED, error.to_string())
        }
        E::ExternalError(inner) => return external(inner.as_ref()),
        other => (state::INTERNAL, other.to_string()),
    };
    SqlError::new(code, message)
}

/// SQLSTATE of a message about a value that did not convert.
fn cast_state(message: &str) -> &'static str {
    let lower = message.to_ascii_lowercase();
    if lower.contains("divide by zero") {
        state::DIVISION_BY_ZERO
    } else if lower.contains("out of range")
        || lower.contains("overflow")
        || lower.contains("can't cast value")
        || lower.contains("cannot be stored in")
        || lower.contains("is too large to store")
        || lower.contains("is too small to store")
    {
        state::NUMERIC_OUT_OF_RANGE
    } else if lower.contains("timestamp") || lower.contains("date") {
        state::INVALID_DATETIME_FORMAT
    } else {
        state::INVALID_TEXT_REPRESENTATION
    }
}

/// The message for a text that did not convert, in SQL's terms.
fn cast_message(message: &str) -> String {
    let parts = message
        .strip_prefix("Cannot cast string '")
        .and_then(|rest| rest.strip_suffix(" type"))
        .and_then(|rest| rest.rsplit_once("' to value of "));
    let Some((text, arrow_name)) = parts else { return message.to_string() };
    let name = match arrow_name {
        "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Boolean" => "boolean",
        "Date32" => "date",
        other => other,
    };
    format!("invalid input syntax for type {name}: \"{text}\"")
}

fn external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> SqlError {
    if let Some(ours) = error.downcast_ref::<SqlError>() {
        ours.clone()
    } else if let Some(theirs) = error.downcast_ref::<DataFusionError>() {
        datafusion(theirs)
    } else if let Some(arrows) = error.downcast_ref::<ArrowError>() {
        arrow(arrows)
    } else {
        SqlError::internal(error.to_string())
    }
}

fn datafusion(error: &DataFusionError) -> SqlError {
    use DataFusionError as E;
    match error {
        E::ArrowError(inner, _) => arrow(inner),
        E::SQL(inner, _) => SqlError::syntax(parser_message(&inner.to_string())),
        E::NotImplemented(m) => SqlError::unsupported(clean(m)),
        E::Plan(m) => plan_message(clean(m)),
        E::Configuration(m) => SqlError::new(state::INVALID_PARAMETER_VALUE, clean(m)),
        E::SchemaError(inner, _) => schema(inner),
        E::Execution(m) => execution_message(clean(m)),
        E::ResourcesExhausted(m) => SqlError::new(state::OUT_OF_MEMORY, clean(m))
            .with_hint("Select less data at a time, or raise the server's query memory."),
        E::External(inner) => external(inner.as_ref()),
        E::Context(_, inner) => datafusion(inner),
        E::Diagnostic(_, inner) => datafusion(inner),
        E::Shared(inner) => datafusion(inner),
        E::Collection(all) => all.first().map_or_else(|| SqlError::internal("unknown error"), datafusion),
        other => SqlError::internal(clean(&other.strip_backtrace())),
    }
}

/// Removes parts of the message that address DataFusion's developers.
fn clean(message: &str) -> String {
    let end = message.find("\n\nbacktrace:").unwrap_or(message.len());
    let end = message[..end].find("\nThis issue was likely caused by a bug").unwrap_or(end);
    // Guesses by spelling.
    let end = message[..end].find("Did you mean").unwrap_or(end);
    message[..end].trim_end().to_string()
}

fn parser_message(message: &str) -> String {
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    format!("syntax error: {message}")
}

fn schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::AmbiguousReference { field } => SqlError::new(
            state::AMBIGUOUS_COLUMN,
            format!("column reference \"{}\" is ambiguous", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            SqlError::new(state::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = match &field.relation {
                Some(relation) => format!("{}.{}", relation.table(), field.name),
                None => format!("\"{}\"", field.name),
            };
            let error = SqlError::new(state::UNDEFINED_COLUMN, format!("column {name} does not exist"));
            if valid_fields.is_empty() || valid_fields.len() > 64 {
                return error;
            }
            // Names that no statement can contain are internal.
            let own = |name: &&str| name.ends_with("()");
            let names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).filter(|n| !own(n)).collect();
            if names.is_empty() {
                return error;
            }
            error.with_hint(format!("There are: {}.", names.join(", ")))
        }
    }
}

/// DataFusion has one variant for all errors of a plan; the texts distinguish them.
fn plan_message(message: String) -> SqlError {
    if let Some(ours) = ours_within(&message) {
        return ours;
    }
    let has = |needle: &str| message.contains(needle);
    if message.starts_with("table '") && message.ends_with("not found") {
        let name = message.trim_start_matches("table '").trim_end_matches("' not found");
        let name = name.rsplit('.').next().unwrap_or(name);
        return SqlError::new(state::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
    }
    if let Some(rest) = message.strip_prefix("Invalid function '")
        && let Some((name, _guess)) = rest.split_once("'.")
    {
        // DataFusion's suggestion is a guess by spelling, and mostly an unrelated function.
        return SqlError::new(state::UNDEFINED_FUNCTION, format!("function {name} does not exist"));
    }
    let code = if has("Invalid function") || has("does not exist") && has("function") {
        state::UNDEFINED_FUNCTION
    } else if has("must appear in the GROUP BY") || has("could not be resolved from available columns") {
        state::GROUPING_ERROR
    } else if has("ambiguous") {
        state::AMBIGUOUS_COLUMN
    } else if has("Placeholder type for")
        || has("No value found for placeholder")
        || has("type could not be inferred")
    {
        state::INDETERMINATE_DATATYPE
    } else if has("placeholder") || has("Placeholder") || has("parameter") {
        state::UNDEFINED_PARAMETER
    } else if has("coerce")
        || has("coercion")
        || has("Cannot infer common")
        || has("No function matches")
        || has("cannot be cast")
        || has("Cannot cast")
        || has("incompatible")
        || has("Invalid comparison")
        || has("type signature")
        || has("data type")
        || has("must be a boolean")
        || has("expected to be of type")
        || has("boolean expression")
    {
        state::DATATYPE_MISMATCH
    } else if has("not supported") || has("Unsupported") || has("unsupported") {
        state::FEATURE_NOT_SUPPORTED
    } else {
        state::SYNTAX_ERROR_OR_ACCESS_RULE
    };
    SqlError::new(code, message)
}

/// An error of ours that DataFusion has wrapped in a text: `… failed with: External error: TEXT (CODE). …`.
fn ours_within(message: &str) -> Option<SqlError> {
    let (_, rest) = message.split_once("failed with: External error: ")?;
    let end = rest.match_indices(" (").find(|(at, _)| {
        let code = rest.get(at + 2..at + 7).unwrap_or_default();
        let is_code = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        is_code && rest[at + 7..].starts_with(')')
    });
    let (at, _) = end?;
    let code = Cow::Owned(rest[at + 2..at + 7].to_string());
    Some(SqlError { code, message: rest[..at].to_string(), hint: None })
}

fn execution_message(message: String) -> SqlError {
    if message.contains("subquery returned more than one row") {
        let message = "more than one row returned by a subquery used as an expression";
        return SqlError::new(state::CARDINALITY_VIOLATION, message);
    }
    if let Some(ours) = ours_within(&message) {
        return ours;
    }
    let lower = message.to_ascii_lowercase();
    let code = if lower.contains("divide by zero") || lower.contains("division by zero") {
        state::DIVISION_BY_ZERO
    } else if lower.contains("overflow") || lower.contains("out of range") {
        state::NUMERIC_OUT_OF_RANGE
    } else if lower.contains("cast") || lower.contains("parse") || lower.contains("invalid") {
        state::INVALID_TEXT_REPRESENTATION
    } else if lower.contains("not supported") || lower.contains("unsupported") {
        state::FEATURE_NOT_SUPPORTED
    } else {
        state::DATA_EXCEPTION
    };
    SqlError::new(code, message)
}
