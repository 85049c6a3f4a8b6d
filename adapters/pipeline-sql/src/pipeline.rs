//! `CREATE PIPELINE` as data, and its canonical text, which parses back to the same data. A database stores that text
//! ([`CreatePipeline::to_sql`]); the form for people hides the credentials (`Display`). `pipeline_parse` parses it.

use std::collections::BTreeMap;
use std::fmt;

use sqlparser::ast::Expr;
use tidemark_decode::{CsvFormat, TimeUnit};

use crate::names::{literal, quote};
use crate::source::{Credentials, SourceSpec, config_shown, credentials_json, credentials_shown};

/// Longest BATCH_INTERVAL: a day, in milliseconds.
pub const BATCH_INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Bounds of MAX_BATCH_BYTES.
pub const BATCH_BYTES_RANGE: std::ops::RangeInclusive<u64> = 1024..=(1 << 30);

/// Default of MAX_BATCH_BYTES.
pub const BATCH_BYTES_DEFAULT: u64 = 16 << 20;

/// `CREATE PIPELINE`, names folded.
#[derive(Clone, PartialEq, Debug)]
pub struct CreatePipeline {
    /// Name.
    pub name: String,
    /// `OR REPLACE`
    pub or_replace: bool,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// Source.
    pub source: SourceSpec,
    /// `BATCH_INTERVAL`: a batch waits at least this long after the previous one. None: as soon as the log is idle.
    pub batch_interval_ms: Option<u64>,
    /// `MAX_BATCH_BYTES`
    pub batch_bytes_max: Option<u64>,
    /// `YEARS n TO m`: accepted years of dates and times. None: the default.
    pub years: Option<(u32, u32)>,
    /// `ON TOMBSTONE IGNORE`: messages without a value are filtered. Otherwise they are dead letters, `ON TOMBSTONE
    /// ERROR`.
    pub ignores_tombstones: bool,
    /// `MAX_ERRORS n`: dead letters since START at which the pipeline stops; `STOP_ON_ERROR ON` is 0. None: any number.
    pub error_limit: Option<u64>,
    /// Table that it loads.
    pub table: String,
    /// Format of the messages.
    pub format: FormatSyntax,
    /// `SET`
    pub set: Vec<Assignment>,
    /// `WHERE`
    pub filter: Option<Expr>,
    /// What happens on an existing primary key.
    pub on_duplicate: OnDuplicateSyntax,
}

/// The clauses of `ALTER PIPELINE … SET`; None keeps the pipeline's clause.
#[derive(Clone, PartialEq, Default)]
pub struct PipelineClauses {
    /// `LOAD DATA kind 'address'`; of it kind and address count.
    pub source: Option<SourceSpec>,
    /// `CONFIG`, as a whole.
    pub config: Option<BTreeMap<String, String>>,
    /// `CREDENTIALS`, as a whole.
    pub credentials: Option<Credentials>,
    /// `BATCH_INTERVAL`
    pub batch_interval_ms: Option<u64>,
    /// `MAX_BATCH_BYTES`
    pub batch_bytes_max: Option<u64>,
    /// `YEARS`
    pub years: Option<(u32, u32)>,
    /// `ON TOMBSTONE`
    pub ignores_tombstones: Option<bool>,
    /// `MAX_ERRORS`, `STOP_ON_ERROR`; `Some(None)` is any number.
    pub error_limit: Option<Option<u64>>,
    /// `INTO TABLE`
    pub table: Option<String>,
    /// `FORMAT`, with all of its mappings.
    pub format: Option<FormatSyntax>,
    /// `SET`, all of it.
    pub set: Option<Vec<Assignment>>,
    /// `WHERE`
    pub filter: Option<Expr>,
    /// `REPLACE`, `SKIP DUPLICATE KEY ERRORS`, `ON DUPLICATE KEY UPDATE`
    pub on_duplicate: Option<OnDuplicateSyntax>,
}

/// Target of a message's field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A column of the table.
    Column(String),
    /// A variable for SET and WHERE; the name is without the sign.
    Variable(String),
}

/// `FORMAT …`
#[derive(Clone, PartialEq, Debug)]
pub enum FormatSyntax {
    /// `FORMAT JSON (target <- path [UNIT unit] [DEFAULT literal], …)`
    Json(Vec<JsonMapping>),
    /// `FORMAT CSV … (target [UNIT unit], …)`; none: all columns of the table, in order.
    Csv(CsvFormat, Vec<CsvMapping>),
}

/// `target [UNIT unit]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CsvMapping {
    /// Where the field goes.
    pub target: Target,
    /// Unit of a number that is a time.
    pub unit: Option<TimeUnit>,
}

/// `target <- path [UNIT unit] [DEFAULT literal]`
#[derive(Clone, PartialEq, Debug)]
pub struct JsonMapping {
    /// Where the value goes.
    pub target: Target,
    /// Keys from the top down, as written: JSON keys are case-sensitive. Empty: `%`, the whole message.
    pub path: Vec<String>,
    /// Unit of a number that is a time.
    pub unit: Option<TimeUnit>,
    /// Value of a missing field.
    pub default: Option<Constant>,
}

/// A literal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Constant {
    /// `NULL`
    Null,
    /// `TRUE`, `FALSE`
    Bool(bool),
    /// A number, as written, with its sign.
    Number(String),
    /// A string.
    Text(String),
}

/// `column = expr`
#[derive(Clone, PartialEq, Debug)]
pub struct Assignment {
    /// Column.
    pub column: String,
    /// Its value.
    pub value: Expr,
}

/// What happens to a row whose primary key exists already.
#[derive(Clone, PartialEq, Debug)]
pub enum OnDuplicateSyntax {
    /// Default: the message becomes a dead letter.
    Reject,
    /// `SKIP DUPLICATE KEY ERRORS`: the row is dropped.
    Skip,
    /// `REPLACE`: the row replaces the stored one.
    Replace,
    /// `ON DUPLICATE KEY UPDATE`
    Update(Vec<Assignment>),
}

impl Constant {
    /// The text for the decoder; None for NULL.
    pub fn text(&self) -> Option<String> {
        match self {
            Constant::Null => None,
            Constant::Bool(value) => Some(value.to_string()),
            Constant::Number(text) | Constant::Text(text) => Some(text.clone()),
        }
    }
}

impl CreatePipeline {
    /// The whole definition, credentials included, in one canonical form, which the database stores. `OR REPLACE` and
    /// `IF NOT EXISTS` are not part of it.
    pub fn to_sql(&self) -> String {
        let kept = CreatePipeline { or_replace: false, if_not_exists: false, ..self.clone() };
        Shown { pipeline: &kept, secrets: true }.to_string()
    }
}

impl PipelineClauses {
    /// The pipeline with these clauses replacing its own.
    pub fn applied_to(&self, pipeline: &CreatePipeline) -> CreatePipeline {
        let mut altered = pipeline.clone();
        let clauses = self.clone();
        if let Some(SourceSpec { kind, address, .. }) = clauses.source {
            (altered.source.kind, altered.source.address) = (kind, address);
        }
        altered.source.config = clauses.config.unwrap_or(altered.source.config);
        altered.source.credentials = clauses.credentials.unwrap_or(altered.source.credentials);
        altered.batch_interval_ms = clauses.batch_interval_ms.or(altered.batch_interval_ms);
        altered.batch_bytes_max = clauses.batch_bytes_max.or(altered.batch_bytes_max);
        altered.years = clauses.years.or(altered.years);
        altered.ignores_tombstones = clauses.ignores_tombstones.unwrap_or(altered.ignores_tombstones);
        altered.error_limit = clauses.error_limit.unwrap_or(altered.error_limit);
        altered.table = clauses.table.unwrap_or(altered.table);
        altered.format = clauses.format.unwrap_or(altered.format);
        altered.set = clauses.set.unwrap_or(altered.set);
        altered.filter = clauses.filter.or(altered.filter);
        altered.on_duplicate = clauses.on_duplicate.unwrap_or(altered.on_duplicate);
        altered
    }
}

/// Hides the credentials.
impl fmt::Debug for PipelineClauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hides the credentials.
impl fmt::Display for PipelineClauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, " LOAD DATA {} {}", source.syntax().keyword, literal(&source.address))?;
        }
        // An empty CONFIG is written: it removes the previous settings.
        if let Some(config) = &self.config {
            write!(f, " CONFIG {}", literal(&json(&config_shown(config))))?;
        }
        if let Some(credentials) = &self.credentials {
            write!(f, " CREDENTIALS {}", literal(&credentials_json(&credentials_shown(credentials))))?;
        }
        write_limits(f, self.batch_interval_ms, self.batch_bytes_max)?;
        write_years(f, self.years)?;
        if let Some(ignores) = self.ignores_tombstones {
            write!(f, " ON TOMBSTONE {}", if ignores { "IGNORE" } else { "ERROR" })?;
        }
        match self.error_limit {
            None => {}
            Some(None) => write!(f, " STOP_ON_ERROR OFF")?,
            Some(limit) => write_error_limit(f, limit)?,
        }
        write_duplicates(f, self.on_duplicate.as_ref())?;
        if let Some(table) = &self.table {
            write!(f, " INTO TABLE {}", quote(table))?;
        }
        if let Some(format) = &self.format {
            format.fmt(f)?;
        }
        assignments(f, " SET ", self.set.as_deref().unwrap_or_default())?;
        if let Some(filter) = &self.filter {
            write!(f, " WHERE {filter}")?;
        }
        write_update(f, self.on_duplicate.as_ref())
    }
}

fn write_limits(
    f: &mut fmt::Formatter<'_>,
    batch_interval_ms: Option<u64>,
    batch_bytes_max: Option<u64>,
) -> fmt::Result {
    if let Some(interval) = batch_interval_ms {
        write!(f, " BATCH_INTERVAL {interval}")?;
    }
    if let Some(bytes) = batch_bytes_max {
        write!(f, " MAX_BATCH_BYTES {bytes}")?;
    }
    Ok(())
}

fn write_years(f: &mut fmt::Formatter<'_>, years: Option<(u32, u32)>) -> fmt::Result {
    years.map_or(Ok(()), |(first, last)| write!(f, " YEARS {first} TO {last}"))
}

fn write_error_limit(f: &mut fmt::Formatter<'_>, limit: Option<u64>) -> fmt::Result {
    match limit {
        None => Ok(()),
        Some(0) => write!(f, " STOP_ON_ERROR ON"),
        Some(limit) => write!(f, " MAX_ERRORS {limit}"),
    }
}

/// Writes the clauses for existing keys that precede INTO.
fn write_duplicates(f: &mut fmt::Formatter<'_>, on_duplicate: Option<&OnDuplicateSyntax>) -> fmt::Result {
    match on_duplicate {
        Some(OnDuplicateSyntax::Skip) => write!(f, " SKIP DUPLICATE KEY ERRORS"),
        Some(OnDuplicateSyntax::Replace) => write!(f, " REPLACE"),
        Some(OnDuplicateSyntax::Reject | OnDuplicateSyntax::Update(_)) | None => Ok(()),
    }
}

/// Writes the clause for existing keys at the end.
fn write_update(f: &mut fmt::Formatter<'_>, on_duplicate: Option<&OnDuplicateSyntax>) -> fmt::Result {
    match on_duplicate {
        Some(OnDuplicateSyntax::Update(update)) => assignments(f, " ON DUPLICATE KEY UPDATE ", update),
        _ => Ok(()),
    }
}

/// Hides the credentials.
impl fmt::Display for CreatePipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { pipeline: self, secrets: false }.fmt(f)
    }
}

struct Shown<'a> {
    pipeline: &'a CreatePipeline,
    secrets: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = self.pipeline;
        let or_replace = if p.or_replace { "OR REPLACE " } else { "" };
        let if_not_exists = if p.if_not_exists { "IF NOT EXISTS " } else { "" };
        let (keyword, address) = (p.source.syntax().keyword, literal(&p.source.address));
        write!(
            f,
            "CREATE {or_replace}PIPELINE {if_not_exists}{} AS LOAD DATA {keyword} {address}",
            quote(&p.name)
        )?;
        self.source_options(f)?;
        write_limits(f, p.batch_interval_ms, p.batch_bytes_max)?;
        write_years(f, p.years)?;
        if p.ignores_tombstones {
            write!(f, " ON TOMBSTONE IGNORE")?;
        }
        write_error_limit(f, p.error_limit)?;
        write_duplicates(f, Some(&p.on_duplicate))?;
        write!(f, " INTO TABLE {}{}", quote(&p.table), p.format)?;
        assignments(f, " SET ", &p.set)?;
        if let Some(filter) = &p.filter {
            write!(f, " WHERE {filter}")?;
        }
        write_update(f, Some(&p.on_duplicate))
    }
}

impl Shown<'_> {
    fn source_options(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.pipeline.source;
        let (config, credentials) = match self.secrets {
            true => (source.config.clone(), source.credentials.clone()),
            false => (source.config_shown(), source.credentials_shown()),
        };
        if !config.is_empty() {
            write!(f, " CONFIG {}", literal(&json(&config)))?;
        }
        if !credentials.is_empty() {
            write!(f, " CREDENTIALS {}", literal(&credentials_json(&credentials)))?;
        }
        Ok(())
    }
}

fn json(map: &BTreeMap<String, String>) -> String {
    serde_json::to_string(map).expect("text maps to text")
}

fn assignments(f: &mut fmt::Formatter<'_>, before: &str, list: &[Assignment]) -> fmt::Result {
    for (n, assignment) in list.iter().enumerate() {
        let comma = if n == 0 { before } else { ", " };
        write!(f, "{comma}{} = {}", quote(&assignment.column), assignment.value)?;
    }
    Ok(())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Column(name) => f.write_str(&quote(name)),
            Target::Variable(name) => write!(f, "@{name}"),
        }
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constant::Null => f.write_str("NULL"),
            Constant::Bool(true) => f.write_str("TRUE"),
            Constant::Bool(false) => f.write_str("FALSE"),
            Constant::Number(text) => f.write_str(text),
            Constant::Text(text) => f.write_str(&literal(text)),
        }
    }
}

impl fmt::Display for JsonMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <- ", self.target)?;
        if self.path.is_empty() {
            write!(f, "%")?;
        }
        for (n, key) in self.path.iter().enumerate() {
            let separator = if n == 0 { "" } else { "::" };
            write!(f, "{separator}\"{}\"", key.replace('"', "\"\""))?;
        }
        write_unit(f, self.unit)?;
        match &self.default {
            Some(default) => write!(f, " DEFAULT {default}"),
            None => Ok(()),
        }
    }
}

fn write_unit(f: &mut fmt::Formatter<'_>, unit: Option<TimeUnit>) -> fmt::Result {
    unit.map_or(Ok(()), |unit| write!(f, " UNIT '{}'", unit.name()))
}

impl fmt::Display for CsvMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)?;
        write_unit(f, self.unit)
    }
}

impl fmt::Display for FormatSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatSyntax::Json(mappings) => {
                write!(f, " FORMAT JSON (")?;
                comma_separated(f, mappings)?;
                write!(f, ")")
            }
            FormatSyntax::Csv(format, targets) => {
                csv_options(f, format)?;
                if targets.is_empty() {
                    return Ok(());
                }
                write!(f, " (")?;
                comma_separated(f, targets)?;
                write!(f, ")")
            }
        }
    }
}

fn comma_separated<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(n, item)| write!(f, "{}{item}", if n == 0 { "" } else { ", " }))
}

fn csv_options(f: &mut fmt::Formatter<'_>, format: &CsvFormat) -> fmt::Result {
    write!(f, " FORMAT CSV FIELDS TERMINATED BY {}", bytes(&format.fields_terminated_by))?;
    write!(f, " ENCLOSED BY {}", bytes(format.enclosed_by.as_slice()))?;
    write!(f, " ESCAPED BY {}", bytes(format.escaped_by.as_slice()))?;
    write!(f, " LINES STARTING BY {}", bytes(&format.lines_starting_by))?;
    write!(f, " TERMINATED BY {}", bytes(&format.lines_terminated_by))?;
    if format.ignore_lines > 0 {
        write!(f, " IGNORE {} LINES", format.ignore_lines)?;
    }
    if let Some(null) = &format.null_defined_by {
        write!(f, " NULL DEFINED BY {}", bytes(null))?;
        if format.null_optionally_enclosed {
            write!(f, " OPTIONALLY ENCLOSED")?;
        }
    }
    Ok(())
}

/// A delimiter as a literal with the escapes that [`unescape`] undoes. Delimiters come from SQL text, so they are UTF-8.
fn bytes(delimiter: &[u8]) -> String {
    let mut escaped = String::new();
    for c in String::from_utf8_lossy(delimiter).chars() {
        match c {
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\0' => escaped.push_str("\\0"),
            '\\' => escaped.push_str("\\\\"),
            c => escaped.push(c),
        }
    }
    literal(&escaped)
}

/// `\t`, `\n`, `\r`, `\0` and `\\` of a delimiter's literal; any other backslash is itself.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut unescaped = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let meant = match (c, chars.peek()) {
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('0')) => '\0',
            ('\\', Some('\\')) => '\\',
            _ => {
                unescaped.push(c);
                continue;
            }
        };
        chars.next();
        unescaped.push(meant);
    }
    unescaped.into_bytes()
}
