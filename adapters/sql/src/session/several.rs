//! Several statements in one text: one transaction, as in PostgreSQL, unless it contains BEGIN and COMMIT.
//!
//! A block here buffers rows and commits them as one record. Statements that are transactions of their own (UPDATE,
//! DELETE, definitions, pipeline commands) cannot be undone by a later failure. A text may contain one of them, as the
//! last statement before its end or a COMMIT. The whole text is checked before any statement is executed.

use datafusion::sql::sqlparser::ast::Statement as Sql;
use tidemark_pipeline_sql::Statement;

use super::{Block, Session, Status, Transaction, tag};
use crate::error::{Result, SqlError};

/// The role of a statement in its transaction.
enum Part {
    Begins,
    Ends,
    /// Rows that wait for the commit.
    Buffers,
    /// A transaction of its own.
    Alone(&'static str),
    /// Reads, or concerns the session.
    Other,
}

fn part(statement: &Statement) -> Part {
    match statement {
        Statement::Sql(sql) => match &**sql {
            Sql::StartTransaction { .. } => Part::Begins,
            Sql::Commit { .. } | Sql::Rollback { savepoint: None, .. } => Part::Ends,
            Sql::Insert(_) | Sql::Copy { to: false, .. } => Part::Buffers,
            Sql::Update(_) => Part::Alone("UPDATE"),
            Sql::Delete(_) => Part::Alone("DELETE"),
            _ => Part::Other,
        },
        Statement::ShowPipelines | Statement::ShowCreatePipeline { .. } => Part::Other,
        definition => Part::Alone(tag(definition)),
    }
}

/// Refuses a text that cannot be executed as one transaction.
pub fn check(statements: &[Statement], status: Status) -> Result<()> {
    let mut explicit = status != Status::Idle;
    let (mut buffers, mut alone) = (false, None);
    for statement in statements {
        let part = part(statement);
        let others = match (&part, alone) {
            (Part::Begins | Part::Buffers | Part::Alone(_) | Part::Other, Some(before)) => Some(before),
            (Part::Alone(name), None) if buffers && !explicit => Some(*name),
            _ => None,
        };
        if let Some(name) = others {
            return Err(SqlError::unsupported(format!(
                "{name} cannot be one of several statements: they are one transaction, and it is a transaction of its own"
            ))
            .with_hint("Send it alone, or end the statements before it and the statement itself with COMMIT."));
        }
        match part {
            Part::Begins => explicit = true,
            Part::Ends => (explicit, buffers, alone) = (false, false, None),
            Part::Buffers => buffers = true,
            Part::Alone(name) if !explicit => alone = Some(name),
            Part::Alone(_) | Part::Other => {}
        }
    }
    Ok(())
}

impl Session {
    /// Called before each statement of a text of several: outside a block it begins an implicit one.
    pub fn begin_implicit(&mut self) {
        if matches!(self.transaction, Transaction::None) {
            self.open(Block::implicit());
        }
    }

    /// After the last statement of a text.
    pub async fn end_implicit(&mut self) -> Result<Vec<(&'static str, String)>> {
        match &self.transaction {
            Transaction::Open(block) if block.is_implicit() => match self.commit().await? {
                super::StatementOutcome::Changed(_, told) => Ok(told),
                _ => Ok(vec![]),
            },
            _ => Ok(vec![]),
        }
    }
}
