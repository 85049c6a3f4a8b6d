//! Parses `CREATE PIPELINE`. Syntax that is not supported is read far enough to be named in the error.

use kernel::{Error, Result, SqlState};
use std::collections::BTreeMap;

use serde_json::Value;
use sqlparser::ast::AssignmentTarget;
use sqlparser::tokenizer::{Location, Token};
use tidemark_decode::{CsvFormat, TimeUnit, YEARS_ALL};

use crate::cursor::Cursor;
use crate::error;
use crate::names;
use crate::pipeline::*;
use crate::source::{Credential, Credentials, KINDS, SourceSpec};

/// Of `lines::0::sku` and `lines[0]`.
const NO_ELEMENTS: &str = "a path goes through objects by their keys and takes no elements of arrays: map the whole array to a \
     @variable, and take the element in SET, as in @lines::jsonb -> 0 ->> 'sku' (a key that is a number is quoted: '0')";

/// Most keys in a path.
const PATH_KEYS_MAX: usize = 64;

/// Parses from `CREATE` on.
pub(crate) fn create_pipeline(c: &mut Cursor) -> Result<CreatePipeline> {
    c.expect(&["CREATE"])?;
    let or_replace = c.take(&["OR", "REPLACE"]);
    if c.peek(&["AGGREGATOR"]) {
        return Err(c.unsupported("AGGREGATOR PIPELINE is not supported: every pipeline loads all shards"));
    }
    c.expect(&["PIPELINE"])?;
    let at = c.here();
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    if or_replace && if_not_exists {
        return Err(error::at(
            SqlState::SYNTAX_ERROR,
            "OR REPLACE and IF NOT EXISTS contradict each other",
            at,
        ));
    }
    let name = c.relation()?;
    c.expect(&["AS", "LOAD", "DATA"])?;
    let mut source = source(c)?;
    let mut options = Options::default();
    while !c.peek(&["INTO"]) {
        if !options.next(c)? {
            return Err(
                unsupported_option(c).unwrap_or_else(|| c.expected("INTO TABLE or a pipeline option"))
            );
        }
    }
    let Options { clauses, .. } = options;
    source.config = clauses.config.unwrap_or_default();
    source.credentials = clauses.credentials.unwrap_or_default();
    c.expect(&["INTO"])?;
    if c.peek(&["PROCEDURE"]) {
        return Err(c.unsupported("INTO PROCEDURE is not supported: there are no stored procedures"));
    }
    c.expect(&["TABLE"])?;
    let table = c.relation()?;
    let mut format = format(c)?;
    let set = if c.take(&["SET"]) { assignments(c)? } else { Vec::new() };
    let filter = if c.take(&["WHERE"]) { Some(c.expr()?) } else { None };
    let at = c.here();
    let update = c.take(&["ON", "DUPLICATE", "KEY", "UPDATE"]).then(|| assignments(c)).transpose()?;
    if let FormatSyntax::Csv(csv, _) = &mut format {
        null_defined_by(c, csv)?;
    }
    let on_duplicate = match (clauses.on_duplicate, update) {
        (None, None) => OnDuplicateSyntax::Reject,
        (Some(said), None) => said,
        (None, Some(update)) => OnDuplicateSyntax::Update(update),
        (Some(_), Some(_)) => return Err(error::at(SqlState::SYNTAX_ERROR, TWO_DECISIONS, at)),
    };
    Ok(CreatePipeline {
        name,
        or_replace,
        if_not_exists,
        source,
        batch_interval_ms: clauses.batch_interval_ms,
        batch_bytes_max: clauses.batch_bytes_max,
        years: clauses.years,
        ignores_tombstones: clauses.ignores_tombstones.unwrap_or(false),
        error_limit: clauses.error_limit.flatten(),
        table,
        format,
        set,
        filter,
        on_duplicate,
    })
}

fn source(c: &mut Cursor) -> Result<SourceSpec> {
    for other in ["S3", "FS", "AZURE", "GCS", "HDFS", "LINK", "MYSQL", "MONGODB", "ICEBERG"] {
        if c.peek(&[other]) {
            return Err(c.unsupported(format!("LOAD DATA {other} is not supported: KAFKA is")));
        }
    }
    let named = KINDS.iter().find(|syntax| c.peek(&[syntax.keyword]));
    let syntax = named.unwrap_or(&KINDS[0]);
    c.expect(&[syntax.keyword])?;
    let at = c.here();
    let address = c.string(syntax.address_form)?;
    SourceSpec::new(syntax.kind, &address)
        .map_err(|message| error::at(SqlState::INVALID_PARAMETER_VALUE, message, at))
}

const TWO_DECISIONS: &str = "ON DUPLICATE KEY UPDATE contradicts REPLACE and SKIP DUPLICATE KEY ERRORS";

/// The clauses after `ALTER PIPELINE name SET`: any clause of CREATE PIPELINE, several in any order, with or without
/// commas.
pub(crate) fn clauses(c: &mut Cursor) -> Result<PipelineClauses> {
    let mut options = Options::default();
    loop {
        if !options.next(c)? && !options.next_of_statement(c)? {
            let expected = "a clause of CREATE PIPELINE, or OFFSETS alone";
            return Err(unsupported_option(c).unwrap_or_else(|| c.expected(expected)));
        }
        let more = c.take_token(&Token::Comma);
        if !more && c.peek_token(&Token::EOF) {
            return Ok(options.clauses);
        }
    }
}

/// Clauses read so far, each at most once.
#[derive(Default)]
struct Options {
    seen: Vec<&'static str>,
    clauses: PipelineClauses,
}

impl Options {
    /// Reads a clause between the source and INTO. False: there is none here.
    fn next(&mut self, c: &mut Cursor) -> Result<bool> {
        if self.begin(c, "CONFIG")? {
            self.clauses.config = Some(config(c)?);
        } else if self.begin(c, "CREDENTIALS")? {
            self.clauses.credentials = Some(credentials(c)?);
        } else if self.begin(c, "BATCH_INTERVAL")? {
            let range = 0..=BATCH_INTERVAL_MS_MAX;
            self.clauses.batch_interval_ms = Some(bounded(c, "BATCH_INTERVAL", "milliseconds", range)?);
        } else if self.begin(c, "MAX_BATCH_BYTES")? {
            self.clauses.batch_bytes_max = Some(bounded(c, "MAX_BATCH_BYTES", "bytes", BATCH_BYTES_RANGE)?);
        } else if self.begin(c, "YEARS")? {
            self.clauses.years = Some(years(c)?);
        } else if c.peek(&["ON", "TOMBSTONE"]) {
            self.begin(c, "ON")?;
            c.expect(&["TOMBSTONE"])?;
            self.clauses.ignores_tombstones = Some(match () {
                () if c.take(&["IGNORE"]) => true,
                () if c.take(&["ERROR"]) => false,
                () => return Err(c.expected("IGNORE or ERROR")),
            });
        } else if self.begin(c, "MAX_ERRORS")? {
            let limit = bounded(c, "MAX_ERRORS", "messages", 0..=i64::MAX as u64)?;
            self.limit_errors(c, Some(limit))?;
        } else if self.begin(c, "STOP_ON_ERROR")? {
            let limit = if c.take(&["ON"]) {
                Some(0)
            } else if c.take(&["OFF"]) {
                None
            } else {
                return Err(c.expected("ON or OFF"));
            };
            self.limit_errors(c, limit)?;
        } else if self.begin(c, "REPLACE")? {
            self.decide_duplicates(c, OnDuplicateSyntax::Replace)?;
        } else if c.peek(&["SKIP", "DUPLICATE", "KEY", "ERRORS"]) {
            self.begin(c, "SKIP")?;
            c.expect(&["DUPLICATE", "KEY", "ERRORS"])?;
            self.decide_duplicates(c, OnDuplicateSyntax::Skip)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Reads a clause that has a fixed position in CREATE PIPELINE.
    fn next_of_statement(&mut self, c: &mut Cursor) -> Result<bool> {
        let at = c.here();
        if c.peek(&["LOAD", "DATA"]) {
            self.begin(c, "LOAD")?;
            c.expect(&["DATA"])?;
            self.clauses.source = Some(source(c)?);
        } else if self.begin(c, "INTO")? {
            c.expect(&["TABLE"])?;
            self.clauses.table = Some(c.relation()?);
        } else if c.peek(&["FORMAT"]) {
            self.see("FORMAT", at)?;
            self.clauses.format = Some(format(c)?);
        } else if self.begin(c, "SET")? || c.parser.peek_nth_token_ref(1).token == Token::Eq {
            // The first SET is that of ALTER; after it the clause may begin with its first assignment.
            if self.clauses.set.is_some() {
                return Err(error::at(SqlState::SYNTAX_ERROR, "SET is given twice", at));
            }
            self.clauses.set = Some(assignments(c)?);
        } else if self.begin(c, "WHERE")? {
            self.clauses.filter = Some(c.expr()?);
        } else if c.peek(&["ON", "DUPLICATE"]) {
            c.expect(&["ON", "DUPLICATE", "KEY", "UPDATE"])?;
            if self.clauses.on_duplicate.is_some() {
                return Err(error::at(SqlState::SYNTAX_ERROR, TWO_DECISIONS, at));
            }
            self.clauses.on_duplicate = Some(OnDuplicateSyntax::Update(assignments(c)?));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Consumes the option's first word if it is here.
    fn begin(&mut self, c: &mut Cursor, word: &'static str) -> Result<bool> {
        let at = c.here();
        if !c.take(&[word]) {
            return Ok(false);
        }
        self.see(word, at)?;
        Ok(true)
    }

    fn see(&mut self, word: &'static str, at: Location) -> Result<()> {
        if self.seen.contains(&word) {
            return Err(error::at(SqlState::SYNTAX_ERROR, format!("{word} is given twice"), at));
        }
        self.seen.push(word);
        Ok(())
    }

    fn limit_errors(&mut self, c: &Cursor, limit: Option<u64>) -> Result<()> {
        let merged = match self.clauses.error_limit {
            None => limit,
            // STOP_ON_ERROR ON and MAX_ERRORS n together: it stops after n.
            Some(Some(0)) if limit.is_some() => limit,
            Some(Some(before)) if limit == Some(0) => Some(before),
            Some(_) => {
                let message = "STOP_ON_ERROR OFF and MAX_ERRORS contradict each other";
                return Err(error::at(SqlState::SYNTAX_ERROR, message, c.here()));
            }
        };
        self.clauses.error_limit = Some(merged);
        Ok(())
    }

    fn decide_duplicates(&mut self, c: &Cursor, decision: OnDuplicateSyntax) -> Result<()> {
        if self.clauses.on_duplicate.is_some() {
            let message =
                "REPLACE, SKIP DUPLICATE KEY ERRORS and ON DUPLICATE KEY UPDATE contradict each other";
            return Err(error::at(SqlState::SYNTAX_ERROR, message, c.here()));
        }
        self.clauses.on_duplicate = Some(decision);
        Ok(())
    }
}

fn unsupported_option(c: &Cursor) -> Option<Error> {
    const SAID: [(&[&str], &str); 11] = [
        (&["WITH", "TRANSFORM"], "WITH TRANSFORM is not supported: use SET and WHERE"),
        (&["MAX_PARTITIONS_PER_BATCH"], "MAX_PARTITIONS_PER_BATCH is not supported: use MAX_BATCH_BYTES"),
        (
            &["MAX_RETRIES_PER_BATCH_PARTITION"],
            "MAX_RETRIES_PER_BATCH_PARTITION is not supported: what can succeed later is tried until it does",
        ),
        (
            &["MAX_OFFSETS_PER_BATCH_PARTITION"],
            "MAX_OFFSETS_PER_BATCH_PARTITION is not supported: use MAX_BATCH_BYTES",
        ),
        (&["RESOURCE", "POOL"], "RESOURCE POOL is not supported"),
        (&["ENABLE", "OUT_OF_ORDER"], "OUT_OF_ORDER OPTIMIZATION is not supported: order is always kept"),
        (&["DISABLE", "OUT_OF_ORDER"], "OUT_OF_ORDER OPTIMIZATION is not supported: order is always kept"),
        (&["IGNORE"], "IGNORE is not supported: say SKIP DUPLICATE KEY ERRORS, or MAX_ERRORS"),
        (
            &["SKIP"],
            "only SKIP DUPLICATE KEY ERRORS is supported: other errors are dead letters, up to MAX_ERRORS",
        ),
        (&["SUBSCRIBE"], "SUBSCRIBE is not supported"),
        (&["KAFKA", "KEY"], "KAFKA KEY is not supported"),
    ];
    SAID.iter().find(|(words, _)| c.peek(words)).map(|(_, message)| c.unsupported(*message))
}

fn bounded(c: &mut Cursor, option: &str, unit: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64> {
    let at = c.here();
    let number = c.unsigned(&format!("a number of {unit}"))?;
    if range.contains(&number) {
        return Ok(number);
    }
    let message = format!("{option} {number} must be between {} and {} {unit}", range.start(), range.end());
    Err(error::at(SqlState::INVALID_PARAMETER_VALUE, message, at))
}

/// `n TO m`
fn years(c: &mut Cursor) -> Result<(u32, u32)> {
    let at = c.here();
    let range = u64::from(YEARS_ALL.start().unsigned_abs())..=u64::from(YEARS_ALL.end().unsigned_abs());
    let first = bounded(c, "YEARS", "AD", range.clone())?;
    c.expect(&["TO"])?;
    let last = bounded(c, "YEARS", "AD", range)?;
    if first > last {
        return Err(error::at(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("YEARS {first} TO {last} has no year in it"),
            at,
        ));
    }
    // Both are below the last valid year.
    Ok((first as u32, last as u32))
}

/// `CONFIG '{"name": "value", …}'`
fn config(c: &mut Cursor) -> Result<BTreeMap<String, String>> {
    json_map(c, "CONFIG", |value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err("has no string, number or boolean"),
    })
}

/// `CREDENTIALS '{"name": "value", "name": {"file": "/path"}, "name": {"env": "NAME"}, …}'`
fn credentials(c: &mut Cursor) -> Result<Credentials> {
    json_map(c, "CREDENTIALS", Credential::from_json)
}

/// A string with a JSON object. An error never contains the text: it may hold credentials.
fn json_map<T>(
    c: &mut Cursor,
    option: &str,
    read: impl Fn(Value) -> Result<T, &'static str>,
) -> Result<BTreeMap<String, T>> {
    let at = c.here();
    let text = c.string("a string with a JSON object")?;
    let wrong = |why: String| error::at(SqlState::INVALID_PARAMETER_VALUE, format!("{option} {why}"), at);
    let parsed: serde_json::Map<String, Value> = serde_json::from_str(&text).map_err(|e| {
        wrong(format!("is not a JSON object (at line {}, column {} of it)", e.line(), e.column()))
    })?;
    let entry = |(name, value): (String, Value)| match read(value) {
        Ok(value) => Ok((name, value)),
        Err(why) => Err(wrong(format!("{why} at \"{name}\""))),
    };
    parsed.into_iter().map(entry).collect()
}

fn format(c: &mut Cursor) -> Result<FormatSyntax> {
    c.expect(&["FORMAT"])?;
    for other in ["AVRO", "PARQUET", "PROTOBUF", "BSON", "ICEBERG"] {
        if c.peek(&[other]) {
            return Err(c.unsupported(format!("FORMAT {other} is not supported: JSON and CSV are")));
        }
    }
    if c.take(&["JSON"]) {
        let at = c.here();
        let mappings = c.list("a mapping: column <- path", json_mapping)?;
        if mappings.is_empty() {
            return Err(error::at(
                SqlState::SYNTAX_ERROR,
                "FORMAT JSON maps nothing: (column <- path, …)",
                at,
            ));
        }
        return Ok(FormatSyntax::Json(mappings));
    }
    if c.take(&["CSV"]) {
        return csv(c);
    }
    Err(c.expected("JSON or CSV"))
}

fn target(c: &mut Cursor) -> Result<Target> {
    let at = c.here();
    let ident = c.ident()?;
    match ident.value.strip_prefix('@') {
        Some(variable) if ident.quote_style.is_none() => {
            Ok(Target::Variable(names::checked(variable.to_ascii_lowercase(), at)?))
        }
        _ => Ok(Target::Column(names::checked(names::fold(&ident), at)?)),
    }
}

fn json_mapping(c: &mut Cursor) -> Result<JsonMapping> {
    let target = target(c)?;
    // The tokenizer makes two tokens of the arrow; with a `%` directly after it, the second is an operator.
    let arrow = c.take_token(&Token::Lt);
    let whole = arrow && c.take_token(&Token::CustomBinaryOperator("-%".into()));
    if !arrow || !(whole || c.take_token(&Token::Minus)) {
        return Err(c.expected("\"<-\""));
    }
    let path = path(c, whole)?;
    let mut mapping = JsonMapping { target, path, unit: None, default: None };
    loop {
        if mapping.unit.is_none() && c.take(&["UNIT"]) {
            mapping.unit = Some(time_unit(c)?);
        } else if mapping.default.is_none() && c.take(&["DEFAULT"]) {
            mapping.default = Some(constant(c)?);
        } else {
            return Ok(mapping);
        }
    }
}

fn csv_mapping(c: &mut Cursor) -> Result<CsvMapping> {
    let target = target(c)?;
    let unit = c.take(&["UNIT"]).then(|| time_unit(c)).transpose()?;
    Ok(CsvMapping { target, unit })
}

/// The unit after UNIT.
fn time_unit(c: &mut Cursor) -> Result<TimeUnit> {
    let at = c.here();
    let text = c.string("a unit of time: 'd', 's', 'ms', 'us' or 'ns'")?;
    let found = TimeUnit::ALL.into_iter().find(|unit| unit.name() == text);
    found.ok_or_else(|| {
        let message = format!(
            "UNIT '{text}' is none of 'd' (days), 's', 'ms', 'us' and 'ns', all since 1970-01-01 UTC"
        );
        error::at(SqlState::INVALID_PARAMETER_VALUE, message, at)
    })
}

/// `%`, `[%::]key[::key …]`
fn path(c: &mut Cursor, percent_taken: bool) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    let whole = percent_taken || c.take_token(&Token::Mod);
    if whole && !c.take_token(&Token::DoubleColon) {
        return Ok(keys);
    }
    loop {
        keys.push(key(c)?);
        if !c.take_token(&Token::DoubleColon) {
            return Ok(keys);
        }
        if keys.len() == PATH_KEYS_MAX {
            return Err(error::at(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("a path has at most {PATH_KEYS_MAX} keys"),
                c.here(),
            ));
        }
    }
}

fn key(c: &mut Cursor) -> Result<String> {
    let key = match &c.parser.peek_token_ref().token {
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(text) => text.clone(),
        Token::Number(..) => return Err(c.unsupported(NO_ELEMENTS)),
        _ => return Err(c.expected("a key of the message")),
    };
    c.parser.advance_token();
    if c.peek_token(&Token::LBracket) {
        return Err(c.unsupported(NO_ELEMENTS));
    }
    Ok(key)
}

fn constant(c: &mut Cursor) -> Result<Constant> {
    let negative = c.take_token(&Token::Minus);
    let constant = match &c.parser.peek_token_ref().token {
        Token::Number(digits, false) if negative => Constant::Number(format!("-{digits}")),
        Token::Number(digits, false) => Constant::Number(digits.clone()),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) if !negative => {
            Constant::Text(text.clone())
        }
        Token::DollarQuotedString(text) if !negative => Constant::Text(text.value.clone()),
        Token::Word(w) if !negative && w.quote_style.is_none() => {
            match w.value.to_ascii_lowercase().as_str() {
                "null" => Constant::Null,
                "true" => Constant::Bool(true),
                "false" => Constant::Bool(false),
                _ => return Err(c.expected("a constant: a number, a string, TRUE, FALSE or NULL")),
            }
        }
        _ => return Err(c.expected("a constant: a number, a string, TRUE, FALSE or NULL")),
    };
    c.parser.advance_token();
    Ok(constant)
}

fn csv(c: &mut Cursor) -> Result<FormatSyntax> {
    let mut csv = CsvFormat::default();
    if c.take(&["FIELDS"]) || c.take(&["COLUMNS"]) {
        csv_fields(c, &mut csv)?;
    }
    if c.take(&["LINES"]) {
        csv_lines(c, &mut csv)?;
    }
    if c.take(&["IGNORE"]) {
        csv.ignore_lines = bounded(c, "IGNORE", "lines", 0..=u32::MAX as u64)? as u32;
        c.expect(&["LINES"])?;
    }
    null_defined_by(c, &mut csv)?;
    let at = c.here();
    let mut targets = Vec::new();
    if c.peek_token(&Token::LParen) {
        targets = c.list("a column or a @variable", csv_mapping)?;
        if targets.is_empty() {
            return Err(error::at(SqlState::SYNTAX_ERROR, "FORMAT CSV names no column", at));
        }
    }
    null_defined_by(c, &mut csv)?;
    Ok(FormatSyntax::Csv(csv, targets))
}

fn csv_fields(c: &mut Cursor, csv: &mut CsvFormat) -> Result<()> {
    let mut any = false;
    loop {
        if c.take(&["TERMINATED", "BY"]) {
            csv.fields_terminated_by = delimiter(c, "FIELDS TERMINATED BY")?;
        } else if c.take(&["OPTIONALLY", "ENCLOSED", "BY"]) || c.take(&["ENCLOSED", "BY"]) {
            csv.enclosed_by = one_byte(c, "ENCLOSED BY")?;
        } else if c.take(&["ESCAPED", "BY"]) {
            csv.escaped_by = one_byte(c, "ESCAPED BY")?;
        } else if any {
            return Ok(());
        } else {
            return Err(c.expected("TERMINATED BY, ENCLOSED BY or ESCAPED BY"));
        }
        any = true;
    }
}

fn csv_lines(c: &mut Cursor, csv: &mut CsvFormat) -> Result<()> {
    let mut any = false;
    loop {
        if c.take(&["STARTING", "BY"]) {
            csv.lines_starting_by = unescape(&c.string("a string")?);
        } else if c.take(&["TERMINATED", "BY"]) {
            csv.lines_terminated_by = delimiter(c, "LINES TERMINATED BY")?;
        } else if any {
            return Ok(());
        } else {
            return Err(c.expected("STARTING BY or TERMINATED BY"));
        }
        any = true;
    }
}

fn null_defined_by(c: &mut Cursor, csv: &mut CsvFormat) -> Result<()> {
    let at = c.here();
    if !c.take(&["NULL", "DEFINED", "BY"]) {
        return Ok(());
    }
    if csv.null_defined_by.is_some() {
        return Err(error::at(SqlState::SYNTAX_ERROR, "NULL DEFINED BY is given twice", at));
    }
    csv.null_defined_by = Some(unescape(&c.string("a string")?));
    csv.null_optionally_enclosed = c.take(&["OPTIONALLY", "ENCLOSED"]);
    Ok(())
}

fn delimiter(c: &mut Cursor, option: &str) -> Result<Vec<u8>> {
    let at = c.here();
    let bytes = unescape(&c.string("a string")?);
    if bytes.is_empty() {
        return Err(error::at(SqlState::INVALID_PARAMETER_VALUE, format!("{option} must not be empty"), at));
    }
    Ok(bytes)
}

fn one_byte(c: &mut Cursor, option: &str) -> Result<Option<u8>> {
    let at = c.here();
    match unescape(&c.string("a string of one character")?).as_slice() {
        [] => Ok(None),
        [byte] if byte.is_ascii() => Ok(Some(*byte)),
        _ => Err(error::at(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("{option} takes one ASCII character, or none"),
            at,
        )),
    }
}

fn assignments(c: &mut Cursor) -> Result<Vec<Assignment>> {
    let mut list: Vec<Assignment> = Vec::new();
    loop {
        let at = c.here();
        let parsed = c.parser.parse_assignment().map_err(error::parser)?;
        let assignment = Assignment { column: assigned_column(&parsed.target, at)?, value: parsed.value };
        if list.iter().any(|a| a.column == assignment.column) {
            let message = format!("column \"{}\" is assigned more than once", assignment.column);
            return Err(error::at(SqlState::SYNTAX_ERROR, message, at));
        }
        list.push(assignment);
        if !c.take_token(&Token::Comma) {
            return Ok(list);
        }
    }
}

fn assigned_column(target: &AssignmentTarget, at: Location) -> Result<String> {
    let AssignmentTarget::ColumnName(name) = target else {
        return Err(error::unsupported("assigning several columns at once is not supported", at));
    };
    match name.0.as_slice() {
        [part] => match part.as_ident() {
            Some(ident) if ident.quote_style.is_none() && ident.value.starts_with('@') => {
                Err(error::unsupported("SET assigns columns; variables come from the message only", at))
            }
            Some(ident) => names::checked(names::fold(ident), at),
            None => Err(error::at(SqlState::SYNTAX_ERROR, format!("\"{name}\" is not a column"), at)),
        },
        _ => Err(error::unsupported(
            format!("assigning \"{name}\" is not supported: name the column alone"),
            at,
        )),
    }
}
