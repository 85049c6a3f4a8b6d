//! The kernel's error among DataFusion's and Arrow's: how it travels through them and comes back unchanged, and which SQLSTATE an
//! error of theirs gets. A user's mistake never comes out as XX000.

mod texts;

use std::fmt;
use std::ops::{Deref, DerefMut};

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
pub use kernel::{Error, SqlState};
use texts::Told;

/// Result with [`SqlError`].
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

/// Longest excerpt of a bad value in an error, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// The kernel's [`Error`], nothing added: a type of this crate, because only for such a one can this crate say how `?` makes it of an
/// error of DataFusion and the other way round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqlError(Box<Error>);

impl SqlError {
    /// An error with this SQLSTATE and message.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> SqlError {
        SqlError::from(Error::new(sqlstate, message))
    }

    /// PostgreSQL's error for a text that is not a value of a type. A long text is truncated.
    pub fn bad_text(sqlstate: SqlState, type_name: &str, text: &str) -> SqlError {
        let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        let message = match sqlstate {
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE => {
                format!("value \"{shown}\" is out of range for type {type_name}")
            }
            SqlState::DATETIME_FIELD_OVERFLOW => format!("date/time field value out of range: \"{shown}\""),
            _ => format!("invalid input syntax for type {type_name}: \"{shown}\""),
        };
        SqlError::new(sqlstate, message)
    }

    /// 0A000
    pub fn unsupported(message: impl Into<String>) -> SqlError {
        SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
    }

    /// 42601
    pub fn syntax(message: impl Into<String>) -> SqlError {
        SqlError::new(SqlState::SYNTAX_ERROR, message)
    }

    /// XX000: a violated internal invariant, not a user's mistake.
    pub fn internal(message: impl Into<String>) -> SqlError {
        SqlError::new(SqlState::INTERNAL_ERROR, message)
    }

    /// Adds a hint.
    pub fn with_hint(self, hint: impl Into<String>) -> SqlError {
        SqlError::from(self.0.with_hint(hint))
    }

    /// Says the particulars.
    pub fn with_detail(self, detail: impl Into<String>) -> SqlError {
        SqlError::from(self.0.with_detail(detail))
    }

    /// An error of DataFusion during planning: its internal errors are nearly always statements that it cannot plan,
    /// and the message names the cause.
    pub fn planning(error: DataFusionError) -> SqlError {
        let mut mapped = SqlError::from(error);
        if mapped.sqlstate == SqlState::INTERNAL_ERROR {
            mapped.sqlstate = SqlState::FEATURE_NOT_SUPPORTED;
        }
        mapped
    }
}

impl Deref for SqlError {
    type Target = Error;

    fn deref(&self) -> &Error {
        &self.0
    }
}

impl DerefMut for SqlError {
    fn deref_mut(&mut self) -> &mut Error {
        &mut self.0
    }
}

/// Before detail and hint and behind them, where DataFusion may put a text around ours.
const FIELD_END: char = '\u{1f}';

/// With all that there is to it, which `ours_within` finds again in a text of DataFusion's.
impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)?;
        match (self.detail(), self.hint()) {
            (None, None) => Ok(()),
            (detail, hint) => {
                let [detail, hint] = [detail, hint].map(Option::unwrap_or_default);
                write!(f, "{FIELD_END}{detail}{FIELD_END}{hint}{FIELD_END}")
            }
        }
    }
}

impl std::error::Error for SqlError {}

impl From<Error> for SqlError {
    fn from(error: Error) -> SqlError {
        SqlError(Box::new(error))
    }
}

impl From<SqlError> for Error {
    fn from(error: SqlError) -> Error {
        *error.0
    }
}

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
        E::DivideByZero => (SqlState::DIVISION_BY_ZERO, "division by zero".to_string()),
        E::ArithmeticOverflow(m) => (SqlState::NUMERIC_VALUE_OUT_OF_RANGE, m.clone()),
        E::CastError(m) | E::ParseError(m) => (texts::sqlstate(Told::Value, m), cast_message(m)),
        E::ComputeError(m) | E::InvalidArgumentError(m) => (texts::sqlstate(Told::Value, m), m.clone()),
        E::NotYetImplemented(m) => (SqlState::FEATURE_NOT_SUPPORTED, m.clone()),
        E::MemoryError(m) => (SqlState::OUT_OF_MEMORY, m.clone()),
        E::CsvError(m) | E::JsonError(m) => (SqlState::DATA_EXCEPTION, m.clone()),
        E::DictionaryKeyOverflowError | E::OffsetOverflowError(_) => {
            (SqlState::PROGRAM_LIMIT_EXCEEDED, error.to_string())
        }
        E::ExternalError(inner) => return external(inner.as_ref()),
        other => (SqlState::INTERNAL_ERROR, other.to_string()),
    };
    SqlError::new(code, message)
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
    } else if let Some(ours) = error.downcast_ref::<Error>() {
        SqlError::from(ours.clone())
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
        E::Configuration(m) => SqlError::new(SqlState::INVALID_PARAMETER_VALUE, clean(m)),
        E::SchemaError(inner, _) => schema(inner),
        E::Execution(m) => execution_message(clean(m)),
        E::ResourcesExhausted(m) => SqlError::new(SqlState::OUT_OF_MEMORY, clean(m))
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
            SqlState::AMBIGUOUS_COLUMN,
            format!("column reference \"{}\" is ambiguous", field.name),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            SqlError::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = match &field.relation {
                Some(relation) => format!("{}.{}", relation.table(), field.name),
                None => format!("\"{}\"", field.name),
            };
            let error = SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column {name} does not exist"));
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

/// An error of a plan, in SQL's words where DataFusion's would not be understood.
fn plan_message(message: String) -> SqlError {
    if let Some(ours) = ours_within(&message) {
        return ours;
    }
    let sqlstate = texts::sqlstate(Told::Plan, &message);
    SqlError::new(sqlstate, relation_missing(&message).or(function_missing(&message)).unwrap_or(message))
}

fn relation_missing(message: &str) -> Option<String> {
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    Some(format!("relation \"{}\" does not exist", name.rsplit('.').next().unwrap_or(name)))
}

/// Which function DataFusion takes for meant is a guess by spelling, and mostly another function altogether.
fn function_missing(message: &str) -> Option<String> {
    let (name, _guess) = message.strip_prefix("Invalid function '")?.split_once("'.")?;
    Some(format!("function {name} does not exist"))
}

/// An error of ours that DataFusion has wrapped in a text: `… failed with: External error: TEXT (CODE). …`.
fn ours_within(message: &str) -> Option<SqlError> {
    let (_, rest) = message.split_once("failed with: External error: ")?;
    let code_at = |at: usize| rest.get(at + 2..at + 7).and_then(SqlState::parse);
    let mut ends = rest.match_indices(" (").map(|(at, _)| at);
    let at = ends.find(|at| code_at(*at).is_some() && rest[at + 7..].starts_with(')'))?;
    let mut error = SqlError::new(code_at(at)?, &rest[..at]);
    let mut fields =
        rest[at + 8..].strip_prefix(FIELD_END).into_iter().flat_map(|more| more.split(FIELD_END));
    if let Some(detail) = fields.next().filter(|detail| !detail.is_empty()) {
        error = error.with_detail(detail);
    }
    if let Some(hint) = fields.next().filter(|hint| !hint.is_empty()) {
        error = error.with_hint(hint);
    }
    Some(error)
}

fn execution_message(message: String) -> SqlError {
    if let Some(ours) = ours_within(&message) {
        return ours;
    }
    match texts::sqlstate(Told::Execution, &message) {
        state @ SqlState::CARDINALITY_VIOLATION => {
            SqlError::new(state, "more than one row returned by a subquery used as an expression")
        }
        state => SqlError::new(state, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_out_of_datafusion_as_it_went_in() {
        let plain = SqlError::new(SqlState::UNDEFINED_FUNCTION, "function f(text) (that one) does not exist");
        let full = plain.clone().with_detail("There is f(integer).").with_hint("Cast it.");
        for error in [plain.clone(), plain.with_hint("Cast it."), full] {
            let carried = DataFusionError::from(error.clone()).context("on the way");
            assert_eq!(SqlError::from(carried), error);
            let kernels = DataFusionError::External(Box::new(Error::from(error.clone())));
            assert_eq!(SqlError::from(kernels), error);
            let told = DataFusionError::from(error.clone());
            let told = format!(
                "Function 'f' user-defined coercion failed with: {told}. No function matches f(Utf8)."
            );
            assert_eq!(SqlError::from(DataFusionError::Plan(told.clone())), error);
            assert_eq!(SqlError::from(DataFusionError::Execution(told)), error);
        }
    }
}
