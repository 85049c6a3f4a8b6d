//! Our own statements, recognised by their first words. sqlparser parses all others.

use kernel::{Error, Result, SqlState};
use std::collections::BTreeMap;
use std::fmt;

use sqlparser::ast::{
    CascadeOption, ObjectType, Query, SetExpr, Statement as SqlStatement, TruncateIdentityOption,
};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::cursor::Cursor;
use crate::error;
use crate::lex;
use crate::limits;
use crate::names::{self, literal, quote};
use crate::pipeline::{CreatePipeline, PipelineClauses};
use crate::pipeline_parse::{clauses, create_pipeline};
use crate::table::{CreateTable, create_table};

/// A parsed statement. Names in our own statements are folded.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    /// `CREATE TABLE`
    CreateTable(CreateTable),
    /// `DROP TABLE`
    DropTable {
        /// Tables, each once.
        names: Vec<String>,
        /// `IF EXISTS`
        if_exists: bool,
    },
    /// `TRUNCATE`
    Truncate {
        /// Tables, each once.
        names: Vec<String>,
    },
    /// `CREATE PIPELINE`
    CreatePipeline(Box<CreatePipeline>),
    /// `DROP PIPELINE`
    DropPipeline {
        /// Pipeline.
        name: String,
        /// `IF EXISTS`
        if_exists: bool,
    },
    /// `START PIPELINE`
    StartPipeline {
        /// Pipeline.
        name: String,
        /// `IF NOT RUNNING`
        if_not_running: bool,
    },
    /// `START ALL PIPELINES`
    StartAllPipelines,
    /// `STOP PIPELINE`
    StopPipeline {
        /// Pipeline.
        name: String,
        /// `IF RUNNING`
        if_running: bool,
    },
    /// `STOP ALL PIPELINES`
    StopAllPipelines,
    /// `ALTER PIPELINE … SET clause …`
    AlterPipeline {
        /// Pipeline.
        name: String,
        /// The replacing clauses.
        clauses: Box<PipelineClauses>,
    },
    /// `ALTER PIPELINE … SET OFFSETS …`
    SetOffsets {
        /// Pipeline.
        name: String,
        /// New positions.
        offsets: OffsetsSyntax,
    },
    /// `CLEAR PIPELINE ERRORS [FOR name]`
    ClearErrors {
        /// The pipeline; None: all.
        pipeline: Option<String>,
    },
    /// `SHOW PIPELINES`
    ShowPipelines,
    /// `SHOW CREATE PIPELINE`
    ShowCreatePipeline {
        /// Pipeline.
        name: String,
        /// `EXTENDED`: also its offsets.
        extended: bool,
    },
    /// Any other.
    Sql(Box<SqlStatement>),
}

/// New positions of a pipeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OffsetsSyntax {
    /// `EARLIEST`
    Earliest,
    /// `LATEST`
    Latest,
    /// `'{"partition": offset}'`
    At(BTreeMap<i32, i64>),
}

/// Credentials are hidden.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |said: bool, words: &'static str| if said { words } else { "" };
        match self {
            Statement::CreateTable(table) => table.fmt(f),
            Statement::DropTable { names, if_exists } => {
                write!(f, "DROP TABLE {}{}", said(*if_exists, "IF EXISTS "), list(names))
            }
            Statement::Truncate { names } => write!(f, "TRUNCATE {}", list(names)),
            Statement::CreatePipeline(pipeline) => pipeline.fmt(f),
            Statement::DropPipeline { name, if_exists } => {
                write!(f, "DROP PIPELINE {}{}", said(*if_exists, "IF EXISTS "), quote(name))
            }
            Statement::StartPipeline { name, if_not_running } => {
                write!(f, "START PIPELINE {}{}", said(*if_not_running, "IF NOT RUNNING "), quote(name))
            }
            Statement::StartAllPipelines => f.write_str("START ALL PIPELINES"),
            Statement::StopPipeline { name, if_running } => {
                write!(f, "STOP PIPELINE {}{}", said(*if_running, "IF RUNNING "), quote(name))
            }
            Statement::StopAllPipelines => f.write_str("STOP ALL PIPELINES"),
            Statement::AlterPipeline { name, clauses } => {
                write!(f, "ALTER PIPELINE {} SET{clauses}", quote(name))
            }
            Statement::ClearErrors { pipeline: None } => f.write_str("CLEAR PIPELINE ERRORS"),
            Statement::ClearErrors { pipeline: Some(name) } => {
                write!(f, "CLEAR PIPELINE ERRORS FOR {}", quote(name))
            }
            Statement::SetOffsets { name, offsets } => {
                write!(f, "ALTER PIPELINE {} SET OFFSETS {offsets}", quote(name))
            }
            Statement::ShowPipelines => f.write_str("SHOW PIPELINES"),
            Statement::ShowCreatePipeline { name, extended } => {
                write!(f, "SHOW CREATE PIPELINE {}{}", quote(name), said(*extended, " EXTENDED"))
            }
            Statement::Sql(statement) => statement.fmt(f),
        }
    }
}

impl fmt::Display for OffsetsSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffsetsSyntax::Earliest => f.write_str("EARLIEST"),
            OffsetsSyntax::Latest => f.write_str("LATEST"),
            OffsetsSyntax::At(offsets) => {
                f.write_str(&literal(&serde_json::to_string(offsets).expect("numbers map to numbers")))
            }
        }
    }
}

/// Parses a text of any number of statements.
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    lex::statements(sql)?.into_iter().map(statement).collect()
}

/// Parses the stored definition of a pipeline.
pub fn parse_pipeline(definition_sql: &str) -> Result<CreatePipeline> {
    let not_one =
        || Error::new(SqlState::SYNTAX_ERROR, "the definition is not one CREATE PIPELINE statement");
    let mut statements = lex::statements(definition_sql)?;
    let tokens = statements.pop().filter(|_| statements.is_empty()).ok_or_else(not_one)?;
    pipeline_of(tokens)
}

/// Parses one expression, such as a column's stored DEFAULT.
pub fn parse_expression(sql: &str) -> Result<sqlparser::ast::Expr> {
    let mut statements = lex::statements(sql)?;
    let tokens = match statements.len() {
        1 => statements.pop().expect("there is one"),
        _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: one expression is expected")),
    };
    let c = &mut Cursor::new(tokens);
    let expression = c.expr()?;
    c.end()?;
    Ok(expression)
}

fn statement(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    if begins_with(&tokens, &["CREATE"]) || begins_with(&tokens, &["ALTER"]) {
        limits::check_kept_shape(&tokens)?;
    }
    // In our own statements with expressions over messages, variables are words.
    let tokens = if begins_with(&tokens, &["ALTER", "PIPELINE"]) { own_words(tokens)? } else { tokens };
    let c = &mut Cursor::new(tokens);
    let parsed = if c.peek(&["CREATE"]) {
        return create(c);
    } else if c.peek(&["DROP"]) {
        drop(c)?
    } else if c.peek(&["START"]) && !c.peek(&["START", "TRANSACTION"]) {
        start(c)?
    } else if c.peek(&["STOP"]) {
        stop(c)?
    } else if c.peek(&["ALTER", "PIPELINE"]) {
        alter(c)?
    } else if c.take(&["CLEAR", "PIPELINE", "ERRORS"]) {
        Statement::ClearErrors { pipeline: c.take(&["FOR"]).then(|| c.relation()).transpose()? }
    } else if c.peek(&["SHOW", "PIPELINES"]) {
        c.expect(&["SHOW", "PIPELINES"])?;
        Statement::ShowPipelines
    } else if c.peek(&["SHOW", "CREATE", "PIPELINE"]) {
        c.expect(&["SHOW", "CREATE", "PIPELINE"])?;
        Statement::ShowCreatePipeline { name: c.relation()?, extended: c.take(&["EXTENDED"]) }
    } else if let Some(refused) = unsupported_command(c) {
        return Err(refused);
    } else {
        sql(c)?
    };
    c.end()?;
    Ok(parsed)
}

fn sql(c: &mut Cursor) -> Result<Statement> {
    let at = c.here();
    match c.parser.parse_statement().map_err(error::parser)? {
        SqlStatement::Truncate(truncate) => {
            if truncate.identity == Some(TruncateIdentityOption::Restart)
                || truncate.cascade == Some(CascadeOption::Cascade)
                || truncate.partitions.is_some()
                || truncate.on_cluster.is_some()
                || truncate.if_exists
            {
                return Err(error::unsupported("TRUNCATE takes no options", at));
            }
            Ok(Statement::Truncate { names: relations(truncate.table_names.iter().map(|t| &t.name))? })
        }
        SqlStatement::Query(query) => Ok(Statement::Sql(Box::new(with_write(*query, at)?))),
        other => Ok(Statement::Sql(Box::new(other))),
    }
}

/// `WITH … INSERT`, which sqlparser parses as a query: its common tables belong to the query of the inserted rows.
fn with_write(query: Query, at: Location) -> Result<SqlStatement> {
    let unsupported = |what: &str| {
        let message = format!("WITH before {what} is not supported: put the query where its rows are used");
        Err(error::unsupported(message, at))
    };
    match (*query.body, query.with) {
        (SetExpr::Insert(SqlStatement::Insert(mut insert)), with) => match &mut insert.source {
            Some(source) if source.with.is_none() => {
                source.with = with;
                Ok(SqlStatement::Insert(insert))
            }
            _ => unsupported("an INSERT that has one of its own or no query"),
        },
        (SetExpr::Insert(_), _) => unsupported("INSERT"),
        (SetExpr::Update(_), _) => unsupported("UPDATE"),
        (SetExpr::Delete(_), _) => unsupported("DELETE"),
        (SetExpr::Merge(_), _) => unsupported("MERGE"),
        (body, with) => Ok(SqlStatement::Query(Box::new(Query { body: Box::new(body), with, ..query }))),
    }
}

fn create(c: &mut Cursor) -> Result<Statement> {
    let begins = |c: &Cursor, words: &[&str]| {
        let mut with_create = vec!["CREATE"];
        with_create.extend(words);
        c.peek(&with_create)
    };
    if [&["PIPELINE"][..], &["OR", "REPLACE", "PIPELINE"], &["AGGREGATOR"], &["OR", "REPLACE", "AGGREGATOR"]]
        .iter()
        .any(|words| begins(c, words))
    {
        let mut tokens = Vec::new();
        while !c.peek_token(&Token::EOF) {
            tokens.push(c.parser.next_token());
        }
        return Ok(Statement::CreatePipeline(Box::new(pipeline_of(tokens)?)));
    }
    for temporary in ["TEMP", "TEMPORARY", "UNLOGGED", "GLOBAL", "LOCAL", "EXTERNAL", "FOREIGN"] {
        if begins(c, &[temporary]) {
            return Err(c.unsupported(format!("CREATE {temporary} is not supported")));
        }
    }
    if begins(c, &["LINK"]) {
        return Err(c.unsupported("CREATE LINK is not supported: say CONFIG and CREDENTIALS in the pipeline"));
    }
    if begins(c, &["OR", "REPLACE", "TABLE"]) {
        return Err(c.unsupported("CREATE OR REPLACE TABLE is not supported: DROP TABLE first"));
    }
    if !begins(c, &["TABLE"]) {
        let parsed = sql(c)?;
        c.end()?;
        return Ok(parsed);
    }
    c.expect(&["CREATE"])?;
    let table = create_table(c)?;
    c.end()?;
    Ok(Statement::CreateTable(table))
}

/// Parses a CREATE PIPELINE and compares it with its canonical text: the stored definition must mean the same.
fn pipeline_of(tokens: Vec<TokenWithSpan>) -> Result<CreatePipeline> {
    let pipeline = pipeline_once(tokens)?;
    check_kept(&pipeline)?;
    Ok(pipeline)
}

fn check_kept(pipeline: &CreatePipeline) -> Result<()> {
    let kept = CreatePipeline { or_replace: false, if_not_exists: false, ..pipeline.clone() };
    let read_back =
        lex::statements(&kept.to_sql()).and_then(|mut s| pipeline_once(s.pop().unwrap_or_default()));
    match read_back {
        Ok(read_back) if read_back == kept => Ok(()),
        _ => Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "the pipeline has an expression that cannot be kept as text without changing it: write it differently",
        )),
    }
}

/// A new definition of a pipeline, with these clauses replacing its own. Compared with its canonical text, too.
pub fn alter_pipeline(pipeline: &CreatePipeline, clauses: &PipelineClauses) -> Result<CreatePipeline> {
    let altered = clauses.applied_to(pipeline);
    check_kept(&altered)?;
    Ok(altered)
}

/// Tokens of a statement of our own: variables are words, and parameters have no value when a pipeline runs.
fn own_words(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if let Some(parameter) = tokens.iter().find(|t| matches!(t.token, Token::Placeholder(_))) {
        let message = match &parameter.token {
            Token::Placeholder(text) if text == "$" => {
                "a path is written key::key from the top of the message, not as JSONPath ($.key)".to_string()
            }
            other => format!("a pipeline takes no parameters: {other} has no value when it runs"),
        };
        return Err(error::at(SqlState::UNDEFINED_PARAMETER, message, parameter.span.start));
    }
    Ok(lex::join_variables(tokens))
}

fn begins_with(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    let mut said = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    words.iter().all(|word| match said.next().map(|t| &t.token) {
        Some(Token::Word(w)) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word),
        _ => false,
    })
}

fn pipeline_once(tokens: Vec<TokenWithSpan>) -> Result<CreatePipeline> {
    let c = &mut Cursor::new(own_words(tokens)?);
    let pipeline = create_pipeline(c)?;
    c.end()?;
    Ok(pipeline)
}

fn drop(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["DROP", "PIPELINE"]) {
        let if_exists = c.take(&["IF", "EXISTS"]);
        return Ok(Statement::DropPipeline { name: c.relation()?, if_exists });
    }
    let at = c.here();
    match c.parser.parse_statement().map_err(error::parser)? {
        SqlStatement::Drop { object_type: ObjectType::Table, if_exists, names, cascade, .. } => {
            drop_table(if_exists, &names, cascade, at)
        }
        other => Ok(Statement::Sql(Box::new(other))),
    }
}

fn drop_table(
    if_exists: bool,
    names: &[sqlparser::ast::ObjectName],
    cascade: bool,
    at: Location,
) -> Result<Statement> {
    if cascade {
        let message = "DROP TABLE … CASCADE is not supported: drop the pipelines that load it first";
        return Err(error::unsupported(message, at));
    }
    Ok(Statement::DropTable { names: relations(names.iter())?, if_exists })
}

/// Folded names of tables. Repeated names count once.
fn relations<'a>(names: impl Iterator<Item = &'a sqlparser::ast::ObjectName>) -> Result<Vec<String>> {
    let mut folded = Vec::new();
    for name in names {
        let name = names::relation(name)?;
        if !folded.contains(&name) {
            folded.push(name);
        }
    }
    Ok(folded)
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

fn start(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["START", "ALL", "PIPELINES"]) {
        return Ok(Statement::StartAllPipelines);
    }
    if c.peek(&["START", "FAILED", "PIPELINES"]) {
        return Err(c.unsupported("START FAILED PIPELINES is not supported: START each of them"));
    }
    c.expect(&["START", "PIPELINE"])?;
    let if_not_running = c.take(&["IF", "NOT", "RUNNING"]);
    let name = c.relation()?;
    if c.peek(&["FOREGROUND"]) {
        return Err(c.unsupported("START PIPELINE … FOREGROUND is not supported: it runs in the background"));
    }
    Ok(Statement::StartPipeline { name, if_not_running })
}

fn stop(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["STOP", "ALL", "PIPELINES"]) {
        return Ok(Statement::StopAllPipelines);
    }
    c.expect(&["STOP", "PIPELINE"])?;
    let if_running = c.take(&["IF", "RUNNING"]);
    let name = c.relation()?;
    if c.peek(&["DETACH"]) {
        return Err(c.unsupported("STOP PIPELINE … DETACH is not supported: STOP does not wait long"));
    }
    Ok(Statement::StopPipeline { name, if_running })
}

fn alter(c: &mut Cursor) -> Result<Statement> {
    c.expect(&["ALTER", "PIPELINE"])?;
    let name = c.relation()?;
    if c.peek(&["DROP"]) {
        return Err(c.unsupported(
            "ALTER PIPELINE … DROP is not supported: CREATE OR REPLACE PIPELINE leaves clauses out and keeps the offsets",
        ));
    }
    c.expect(&["SET"])?;
    if !c.take(&["OFFSETS"]) {
        return Ok(Statement::AlterPipeline { name, clauses: Box::new(clauses(c)?) });
    }
    let offsets = if c.take(&["EARLIEST"]) {
        OffsetsSyntax::Earliest
    } else if c.take(&["LATEST"]) {
        OffsetsSyntax::Latest
    } else {
        OffsetsSyntax::At(offsets_at(c)?)
    };
    Ok(Statement::SetOffsets { name, offsets })
}

fn offsets_at(c: &mut Cursor) -> Result<BTreeMap<i32, i64>> {
    let at = c.here();
    let text = c.string("EARLIEST, LATEST or '{\"partition\": offset}'")?;
    let wrong =
        |why: String| error::at(SqlState::INVALID_PARAMETER_VALUE, format!("offsets {text} {why}"), at);
    let form = "are not of the form {\"partition\": offset, …}, all whole numbers from 0";
    let offsets: BTreeMap<i32, i64> = serde_json::from_str(&text).map_err(|_| wrong(form.into()))?;
    if offsets.is_empty() {
        return Err(wrong("name no partition".into()));
    }
    if offsets.iter().any(|(partition, offset)| *partition < 0 || *offset < 0) {
        return Err(wrong(form.into()));
    }
    Ok(offsets)
}

fn unsupported_command(c: &Cursor) -> Option<Error> {
    const SAID: [(&[&str], &str); 5] = [
        (&["TEST", "PIPELINE"], "TEST PIPELINE is not supported"),
        (&["PROFILE", "PIPELINE"], "PROFILE PIPELINE is not supported"),
        (&["EXTRACT", "PIPELINE"], "EXTRACT PIPELINE is not supported"),
        (&["LOAD", "DATA"], "LOAD DATA is not supported by itself: CREATE PIPELINE … AS LOAD DATA, or COPY"),
        (&["REPLACE", "INTO"], "REPLACE INTO is not supported: use INSERT … ON CONFLICT … DO UPDATE"),
    ];
    SAID.iter().find(|(words, _)| c.peek(words)).map(|(_, message)| c.unsupported(*message))
}
