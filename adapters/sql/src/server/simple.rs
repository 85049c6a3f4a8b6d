//! The simple query protocol: a text of any number of statements, each answered in turn. Outside of BEGIN … COMMIT they are one
//! transaction (see `session::several`); the first error ends the text.

use std::io;

use tidemark_pipeline_sql::{Statement, parse, parsed_bytes_at_most};

use super::connection::{Connection, Failure};
use crate::error::{SqlError, SqlState};
use crate::session::{StatementOutcome, Status, check_several};
use pg_semantics::types::encode::Format;

impl Connection {
    /// Answers a Query message.
    pub(super) async fn simple_query(&mut self, text: &str) -> io::Result<()> {
        // The unnamed statement and portal are dropped, as in PostgreSQL.
        self.prepared.remove("");
        self.portals.remove("");
        match self.run_text(text).await {
            Ok(()) => {}
            Err(Failure::Sql(error)) => self.report(&error),
            Err(Failure::Io(error)) => return Err(error),
        }
        if self.session.status() == Status::Idle {
            self.portals.clear();
        }
        self.ready().await
    }

    async fn run_text(&mut self, text: &str) -> Result<(), Failure> {
        self.reader.check_text()?;
        let bytes = parsed_bytes_at_most(text);
        let memory = self.session.engine().memory("text of a statement");
        memory.try_grow(bytes).map_err(SqlError::from)?;
        let owned = text.to_string();
        let statements = self
            .work(bytes, move |_| {
                Box::pin(async move { Ok(parse(&owned).map_err(|error| error.count_position(&owned))?) })
            })
            .await?;
        let count = statements.len();
        if count == 0 {
            self.writer.empty_query();
            return Ok(());
        }
        if count > 1 {
            check_several(&statements, self.session.status())?;
        }
        for statement in statements {
            self.begin_statement();
            self.note(&statement, text);
            if count > 1 {
                self.session.begin_implicit();
            }
            self.run_statement(statement, bytes / count).await?;
        }
        if count > 1 {
            let told = self.work(0, |session| Box::pin(session.end_implicit())).await?;
            told.into_iter().for_each(|(name, value)| self.writer.parameter(name, value));
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: Statement, bytes: usize) -> Result<(), Failure> {
        let before = self.session.status();
        if self.deallocate(&statement)? {
            return Ok(());
        }
        let run =
            self.work(bytes, move |session| Box::pin(async move { session.run(&statement, None).await }));
        match run.await? {
            StatementOutcome::Rows(mut cursor) => {
                let formats = vec![Format::Text; cursor.described().fields.len()];
                self.writer.row_description(cursor.described(), &formats);
                self.send_rows(&mut cursor, &formats, usize::MAX).await?;
                self.writer.complete(cursor.tag());
            }
            other => self.finish(other, before).await?,
        }
        Ok(())
    }

    /// Answers a statement without rows.
    pub(super) async fn finish(&mut self, outcome: StatementOutcome, before: Status) -> Result<(), Failure> {
        match outcome {
            StatementOutcome::Rows(_) => return Err(SqlError::internal("rows without a reader").into()),
            StatementOutcome::Empty => self.writer.empty_query(),
            StatementOutcome::Done(tag) => {
                self.warn(&tag, before);
                self.writer.complete(tag);
            }
            StatementOutcome::Noticed(tag, notices) => {
                for notice in &notices {
                    self.writer.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, notice);
                }
                self.writer.complete(tag);
            }
            StatementOutcome::Changed(tag, told) => {
                if tag == "DISCARD ALL" {
                    self.prepared.clear();
                    self.portals.clear();
                }
                self.warn(&tag, before);
                for (name, value) in told {
                    self.writer.parameter(name, value);
                }
                self.writer.complete(tag);
            }
            StatementOutcome::Warned(tag, sqlstate, text) => {
                self.writer.notice("WARNING", sqlstate, text);
                self.writer.complete(tag);
            }
            StatementOutcome::CopyIn(copy) => {
                let tag = self.receive_copy(*copy).await?;
                self.writer.complete(tag);
            }
            StatementOutcome::CopyOut(mut copy) => {
                let tag = self.send_copy(&mut copy).await?;
                self.writer.complete(tag);
            }
        }
        Ok(())
    }

    fn warn(&mut self, tag: &str, before: Status) {
        match (tag, before) {
            ("BEGIN", Status::Block) => self.writer.notice(
                "WARNING",
                SqlState::ACTIVE_SQL_TRANSACTION,
                "there is already a transaction in progress",
            ),
            ("COMMIT" | "ROLLBACK", Status::Idle) => self.writer.notice(
                "WARNING",
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "there is no transaction in progress",
            ),
            _ => {}
        }
    }
}
