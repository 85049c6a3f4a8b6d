//! COPY: its options, and the streams in both directions. `session` adds the rows to a transaction.

mod input;
mod output;

use datafusion::sql::sqlparser::ast::{
    CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Ident, ObjectName, Query,
    Statement as Sql,
};

use crate::error::{Result, SqlError, SqlState};
use crate::query::{Cursor, StatementContext};
use tidemark_database::SnapshotGuard;

pub use input::CopyIn;
pub use output::CopyOut;

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Lines of tab-separated values with backslash escapes.
    Text,
    /// Comma-separated values.
    Csv,
    /// Length-prefixed binary values.
    Binary,
}

/// Options of a COPY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Layout.
    pub layout: Layout,
    /// Between values.
    pub delimiter: u8,
    /// Stands for null.
    pub null: String,
    /// The first line has names.
    pub header: bool,
    /// Around values, in CSV.
    pub quote: u8,
    /// Before a quote inside a value, in CSV.
    pub escape: u8,
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn one_byte(c: char, what: &str) -> Result<u8> {
    u8::try_from(c).ok().filter(|b| b.is_ascii() && !matches!(b, b'\n' | b'\r' | b'\\' | 0)).ok_or_else(
        || invalid(format!("COPY {what} must be a single one-byte character, no newline or backslash")),
    )
}

#[derive(Default)]
struct Said {
    layout: Option<Layout>,
    delimiter: Option<u8>,
    null: Option<String>,
    header: bool,
    quote: Option<u8>,
    escape: Option<u8>,
}

impl Said {
    fn option(&mut self, option: &CopyOption) -> Result<()> {
        match option {
            CopyOption::Format(name) => {
                self.layout = Some(match name.value.to_ascii_lowercase().as_str() {
                    "text" => Layout::Text,
                    "csv" => Layout::Csv,
                    "binary" => Layout::Binary,
                    other => return Err(invalid(format!("COPY format \"{other}\" not recognized"))),
                })
            }
            CopyOption::Delimiter(c) if *c == '\t' => self.delimiter = Some(b'\t'),
            CopyOption::Delimiter(c) => self.delimiter = Some(one_byte(*c, "delimiter")?),
            CopyOption::Null(text) => self.null = Some(text.clone()),
            CopyOption::Header(header) => self.header = *header,
            CopyOption::Quote(c) => self.quote = Some(one_byte(*c, "quote")?),
            CopyOption::Escape(c) if *c == '\\' => self.escape = Some(b'\\'),
            CopyOption::Escape(c) => self.escape = Some(one_byte(*c, "escape")?),
            CopyOption::Encoding(name) if name.to_ascii_lowercase().replace('-', "") == "utf8" => {}
            CopyOption::Freeze(_) => {}
            other => return Err(SqlError::unsupported(format!("COPY option {other} is not supported"))),
        }
        Ok(())
    }

    fn legacy(&mut self, option: &CopyLegacyOption) -> Result<()> {
        match option {
            CopyLegacyOption::Binary => self.layout = Some(Layout::Binary),
            CopyLegacyOption::Delimiter(c) => self.option(&CopyOption::Delimiter(*c))?,
            CopyLegacyOption::Null(text) => self.null = Some(text.clone()),
            CopyLegacyOption::Header => self.header = true,
            CopyLegacyOption::Csv(options) => {
                self.layout = Some(Layout::Csv);
                for option in options {
                    match option {
                        CopyLegacyCsvOption::Header => self.header = true,
                        CopyLegacyCsvOption::Quote(c) => self.option(&CopyOption::Quote(*c))?,
                        CopyLegacyCsvOption::Escape(c) => self.option(&CopyOption::Escape(*c))?,
                        other => {
                            return Err(SqlError::unsupported(format!(
                                "COPY option {other} is not supported"
                            )));
                        }
                    }
                }
            }
            other => return Err(SqlError::unsupported(format!("COPY option {other} is not supported"))),
        }
        Ok(())
    }

    fn options(self) -> Result<Options> {
        let layout = self.layout.unwrap_or(Layout::Text);
        if layout != Layout::Csv && (self.quote.is_some() || self.escape.is_some()) {
            return Err(SqlError::syntax("COPY QUOTE and ESCAPE are for CSV only"));
        }
        if layout == Layout::Binary && (self.delimiter.is_some() || self.null.is_some() || self.header) {
            return Err(SqlError::syntax("COPY DELIMITER, NULL and HEADER are not for BINARY"));
        }
        let quote = self.quote.unwrap_or(b'"');
        let options = Options {
            layout,
            delimiter: self.delimiter.unwrap_or(if layout == Layout::Csv { b',' } else { b'\t' }),
            null: self.null.unwrap_or_else(|| if layout == Layout::Csv { "" } else { "\\N" }.into()),
            header: self.header,
            quote,
            escape: self.escape.unwrap_or(quote),
        };
        if layout == Layout::Csv && options.delimiter == quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if options.null.contains(['\n', '\r']) || options.null.contains(char::from(options.delimiter)) {
            return Err(invalid("COPY null must not contain a newline or the delimiter"));
        }
        Ok(options)
    }
}

fn options(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<Options> {
    let mut said = Said::default();
    options.iter().try_for_each(|o| said.option(o))?;
    legacy.iter().try_for_each(|o| said.legacy(o))?;
    said.options()
}

fn only_the_client(target: &CopyTarget) -> Result<()> {
    match target {
        CopyTarget::Stdin | CopyTarget::Stdout => Ok(()),
        _ => Err(SqlError::unsupported("COPY to or from a file or program of the server is not supported")
            .with_hint("COPY FROM STDIN and TO STDOUT are; psql's \\copy uses them.")),
    }
}

/// Begins a `COPY … FROM STDIN`.
pub async fn start_in(context: StatementContext, sql: &Sql, bytes_max: usize) -> Result<CopyIn> {
    let Sql::Copy { source, target, options: said, legacy_options, .. } = sql else {
        return Err(SqlError::internal("COPY of something else"));
    };
    only_the_client(target)?;
    let CopySource::Table { table_name, columns } = source else {
        return Err(SqlError::syntax("COPY FROM takes a table"));
    };
    CopyIn::new(context, table_name, columns, options(said, legacy_options)?, bytes_max)
}

/// Begins a `COPY … TO STDOUT`.
pub async fn start_out(guard: SnapshotGuard, context: &StatementContext, sql: &Sql) -> Result<CopyOut> {
    let Sql::Copy { source, target, options: said, legacy_options, .. } = sql else {
        return Err(SqlError::internal("COPY of something else"));
    };
    only_the_client(target)?;
    let options = options(said, legacy_options)?;
    let query = match source {
        CopySource::Query(query) => query.clone(),
        CopySource::Table { table_name, columns } => select(table_name, columns)?,
    };
    let (plan, names) = context.plan_named(&Sql::Query(query)).await?;
    let stream = context.stream(&plan).await?;
    let mut cursor = Cursor::new(guard, stream, Some(context.client_rows()), None, "COPY")?;
    cursor.rename(names);
    Ok(CopyOut::new(cursor, options))
}

fn select(table: &ObjectName, columns: &[Ident]) -> Result<Box<Query>> {
    let list: Vec<String> = columns.iter().map(Ident::to_string).collect();
    let list = if list.is_empty() { "*".into() } else { list.join(", ") };
    let mut parsed = tidemark_pipeline_sql::parse(&format!("SELECT {list} FROM {table}"))?;
    match parsed.pop() {
        Some(tidemark_pipeline_sql::Statement::Sql(sql)) => match *sql {
            Sql::Query(query) => Ok(query),
            _ => Err(SqlError::syntax("COPY TO takes a table or a query")),
        },
        _ => Err(SqlError::syntax("COPY TO takes a table or a query")),
    }
}
