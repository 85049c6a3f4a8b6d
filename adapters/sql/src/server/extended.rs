//! The extended query protocol: Parse, Bind, Describe, Execute, Close. A statement is planned again for every
//! execution, on its snapshot; a prepared statement stores its syntax tree and its resolved types.

use std::io;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Statement as Sql};
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Parse};
use tidemark_pipeline_sql::{Statement, parse, parsed_bytes_at_most};

use super::connection::{Connection, Failure};
use crate::error::{Result, SqlError, SqlState};
use crate::query::parameters::{self, Typing};
use crate::query::{Cursor, Described};
use crate::session::{Session, StatementOutcome, Status};
use crate::write;
use pg_semantics::types::encode::Format;
use pg_semantics::types::{Base, PgType};

/// Prepared statements and portals that one connection may have.
const KEPT_MAX: usize = 10_000;

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    text: String,
    /// None: an empty text.
    statement: Option<Statement>,
    parameters: Vec<PgType>,
    described: Option<Described>,
    /// Memory of about its size.
    memory: MemoryReservation,
}

/// A prepared statement with its parameters.
pub struct Portal {
    prepared: Arc<Prepared>,
    /// The parameters, substituted at execution.
    values: Vec<Expr>,
    formats: Vec<Format>,
    running: Option<Cursor>,
    done: bool,
    /// Memory of the parameters.
    _memory: MemoryReservation,
}

/// Least bytes of memory of a parameter.
const PARAMETER_BYTES: usize = 300;

fn no_statement(name: &str) -> SqlError {
    let message = format!("prepared statement \"{name}\" does not exist");
    SqlError::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
}

impl Connection {
    /// Answers a message of the extended protocol.
    pub(super) async fn extended(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Parse(parse) => self.parse(parse).await,
            Message::Bind(bind) => Ok(self.bind(bind)?),
            Message::Describe(describe) => Ok(self.describe(describe)?),
            Message::Execute(execute) => self.execute(execute).await,
            Message::Close(close) => {
                self.close(&close);
                Ok(())
            }
            _ => Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, "unexpected message").into()),
        }
    }

    /// Handles Sync. Outside a block its portals are dropped.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        self.skip_to_sync = false;
        if self.session.status() != Status::Block {
            self.portals.clear();
        }
        self.ready().await
    }

    async fn parse(&mut self, message: Parse) -> Result<(), Failure> {
        self.reader.check_text()?;
        let name = message.name.clone().unwrap_or_default();
        if !name.is_empty() && self.prepared.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message).into());
        }
        if self.prepared.len() >= KEPT_MAX {
            let error = SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many prepared statements");
            return Err(error.with_hint("DEALLOCATE those that are not needed.").into());
        }
        let bytes = parsed_bytes_at_most(&message.query);
        let memory = self.session.engine().client_memory("prepared statement");
        memory.try_grow(bytes).map_err(SqlError::from)?;
        let prepare = self.work(bytes, move |session| Box::pin(prepare(session, message, memory)));
        let prepared = prepare.await?;
        self.prepared.insert(name, Arc::new(prepared));
        self.writer.parse_complete();
        Ok(())
    }

    fn bind(&mut self, message: Bind) -> Result<()> {
        let name = message.statement_name.as_deref().unwrap_or_default();
        let prepared = Arc::clone(self.prepared.get(name).ok_or_else(|| no_statement(name))?);
        self.session.check_not_failed(prepared.statement.as_ref())?;
        let portal = message.portal_name.clone().unwrap_or_default();
        if self.portals.len() >= KEPT_MAX {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many portals"));
        }
        let memory = self.session.engine().client_memory("portal");
        let sent: usize =
            message.parameters.iter().map(|p| PARAMETER_BYTES + 2 * p.as_ref().map_or(0, |p| p.len())).sum();
        memory.try_grow(sent).map_err(SqlError::from)?;
        let values = values(&prepared, &message)?;
        let columns = prepared.described.as_ref().map_or(0, |d| d.fields.len());
        let formats = formats(&message.result_column_format_codes, columns)?;
        let portal_of = Portal { prepared, values, formats, running: None, done: false, _memory: memory };
        self.portals.insert(portal, portal_of);
        self.writer.bind_complete();
        Ok(())
    }

    fn describe(&mut self, message: Describe) -> Result<()> {
        let name = message.name.as_deref().unwrap_or_default();
        let (described, formats) = if message.target_type == b'S' {
            let prepared = self.prepared.get(name).ok_or_else(|| no_statement(name))?;
            self.writer.parameter_description(prepared.parameters.iter().map(|p| p.oid()).collect());
            (prepared.described.clone(), None)
        } else {
            let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
            (portal.prepared.described.clone(), Some(portal.formats.clone()))
        };
        match described {
            Some(described) => {
                let formats = formats.unwrap_or_else(|| vec![Format::Text; described.fields.len()]);
                self.writer.row_description(&described, &formats);
            }
            None => self.writer.no_data(),
        }
        Ok(())
    }

    async fn execute(&mut self, message: Execute) -> Result<(), Failure> {
        let name = message.name.clone().unwrap_or_default();
        let rows_max = usize::try_from(message.max_rows).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        let executed = self.execute_portal(&mut portal, rows_max).await;
        if executed.is_ok() {
            self.portals.insert(name, portal);
        }
        executed
    }

    async fn execute_portal(&mut self, portal: &mut Portal, rows_max: usize) -> Result<(), Failure> {
        if let Some(cursor) = &mut portal.running {
            let ended = self.send_rows(cursor, &portal.formats, rows_max).await?;
            return self.end_rows(portal, ended);
        }
        if portal.done {
            let error =
                SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run again")
                    .with_hint("Bind it again.");
            return Err(error.into());
        }
        let prepared = Arc::clone(&portal.prepared);
        let Some(statement) = &prepared.statement else {
            self.writer.empty_query();
            return Ok(());
        };
        self.note(statement, &prepared.text);
        portal.done = true;
        let before = self.session.status();
        if self.deallocate(statement)? {
            return Ok(());
        }
        let values = std::mem::take(&mut portal.values);
        let bytes = prepared.memory.size();
        let run = self.work(bytes, move |session| Box::pin(run(session, prepared, values)));
        match run.await? {
            StatementOutcome::Rows(cursor) => {
                portal.formats.resize(cursor.described().fields.len(), Format::Text);
                let cursor = portal.running.insert(cursor);
                let ended = self.send_rows(cursor, &portal.formats, rows_max).await?;
                self.end_rows(portal, ended)
            }
            other => self.finish(other, before).await,
        }
    }

    fn end_rows(&mut self, portal: &mut Portal, ended: bool) -> Result<(), Failure> {
        let Some(cursor) = &portal.running else { return Ok(()) };
        match ended {
            true => {
                self.writer.complete(cursor.tag());
                portal.running = None;
            }
            false => self.writer.portal_suspended(),
        }
        Ok(())
    }

    fn close(&mut self, message: &Close) {
        let name = message.name.as_deref().unwrap_or_default();
        if message.target_type == b'S' {
            self.prepared.remove(name);
        } else {
            self.portals.remove(name);
        }
        self.writer.close_complete();
    }

    /// Handles DEALLOCATE, which concerns the connection's own statements. True if it was one.
    pub(super) fn deallocate(&mut self, statement: &Statement) -> Result<bool> {
        let Statement::Sql(sql) = statement else { return Ok(false) };
        let Sql::Deallocate { name: Ident { value: name, quote_style, .. }, .. } = &**sql else {
            return Ok(false);
        };
        self.session.check_not_failed(Some(statement))?;
        if quote_style.is_none() && name.eq_ignore_ascii_case("all") {
            self.prepared.clear();
            self.writer.complete("DEALLOCATE ALL".into());
        } else {
            self.prepared.remove(name).ok_or_else(|| no_statement(name))?;
            self.writer.complete("DEALLOCATE".into());
        }
        Ok(true)
    }
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

/// Executes a prepared statement with its parameters.
async fn run(session: &mut Session, prepared: Arc<Prepared>, values: Vec<Expr>) -> Result<StatementOutcome> {
    let described = prepared.described.as_ref();
    match &prepared.statement {
        Some(Statement::Sql(sql)) if !values.is_empty() => {
            let mut sql = sql.clone();
            parameters::substitute(&mut sql, &values)?;
            session.run(&Statement::Sql(sql), described).await
        }
        Some(statement) => session.run(statement, described).await,
        None => Ok(StatementOutcome::Empty),
    }
}

/// Parses a statement and resolves its types.
async fn prepare(session: &mut Session, message: Parse, memory: MemoryReservation) -> Result<Prepared> {
    let parsed = parse(&message.query);
    let mut statements = parsed.map_err(|error| error.count_position(&message.query))?;
    if statements.len() > 1 {
        return Err(SqlError::syntax("cannot insert multiple commands into a prepared statement"));
    }
    let statement = statements.pop();
    session.check_not_failed(statement.as_ref())?;
    settle(session, message, statement, memory).await
}

/// Resolves the types of a statement's parameters and columns: the client's declaration first, then a cast, then the
/// statement's context; the default is text.
async fn settle(
    session: &mut Session,
    message: Parse,
    statement: Option<Statement>,
    memory: MemoryReservation,
) -> Result<Prepared> {
    let text = message.query;
    let Some(parsed) = statement else {
        return Ok(Prepared { text, statement: None, parameters: vec![], described: None, memory });
    };
    let mut types: Vec<Option<PgType>> = vec![];
    for oid in &message.type_oids {
        types.push(match *oid {
            0 | 705 => None,
            oid => Some(PgType::from_oid(oid).unwrap_or(PgType::One(Base::Text))),
        });
    }
    let mut sample = parsed.clone();
    if let Statement::Sql(sql) = &mut sample {
        let mentioned = parameters::mentioned(sql)?;
        if let Some((last, _)) = mentioned.last_key_value() {
            types.resize(types.len().max(last + 1), None);
        }
        for (i, cast) in &mentioned {
            types[*i] = types[*i].or(*cast);
        }
        if mentioned.keys().any(|i| types[*i].is_none()) {
            let implied = session.parameter_types(sql).await?;
            for (known, implied) in types.iter_mut().zip(implied) {
                *known = known.or_else(|| implied.as_ref().map(PgType::of_arrow));
            }
        }
        let nulls: Vec<Expr> =
            types.iter().map(|t| parameters::typed_null(t.unwrap_or(PgType::One(Base::Text)))).collect();
        if !write::is_write(sql) {
            parameters::substitute(sql, &nulls)?;
        }
    }
    let described = session.describe(&sample).await?;
    let parameters = types.into_iter().map(|t| t.unwrap_or(PgType::One(Base::Text))).collect();
    Ok(Prepared { text, statement: Some(parsed), parameters, described, memory })
}

fn values(prepared: &Prepared, message: &Bind) -> Result<Vec<Expr>> {
    if message.parameters.len() != prepared.parameters.len() {
        let message = format!(
            "bind message supplies {} parameters, but prepared statement requires {}",
            message.parameters.len(),
            prepared.parameters.len()
        );
        return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message));
    }
    let formats = formats(&message.parameter_format_codes, message.parameters.len())?;
    let typing = match &prepared.statement {
        Some(Statement::Sql(sql)) if write::is_write(sql) => Typing::Literal,
        _ => Typing::Exact,
    };
    let bound = prepared.parameters.iter().zip(formats).zip(&message.parameters);
    bound.map(|((pg, format), bytes)| parameters::value(*pg, format, bytes.as_deref(), typing)).collect()
}

/// One format for each value, from none, one for all, or one each.
fn formats(codes: &[i16], count: usize) -> Result<Vec<Format>> {
    match codes {
        [] => Ok(vec![Format::Text; count]),
        [one] => Ok(vec![Format::from_code(*one)?; count]),
        each if each.len() == count => each.iter().map(|code| Format::from_code(*code)).collect(),
        each => Err(SqlError::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("{} format codes for {count} values", each.len()),
        )),
    }
}
