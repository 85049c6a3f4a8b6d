//! A blocking client of the PostgreSQL wire, for what this program asks of servers.

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, Statement};

/// A connection with a runtime of its own.
pub struct Client {
    runtime: Runtime,
    client: tokio_postgres::Client,
}

impl Client {
    /// Connects.
    pub fn connect(parameters: &str) -> Result<Client> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(parameters, NoTls))?;
        runtime.spawn(connection);
        Ok(Client { runtime, client })
    }

    /// Runs statements that return no rows.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.runtime.block_on(self.client.batch_execute(sql)).with_context(|| sql.to_string())
    }

    /// The one number that a query returns; null is 0.
    pub fn number(&mut self, sql: &str) -> Result<i64> {
        let rows = self.runtime.block_on(self.client.simple_query(sql)).with_context(|| sql.to_string())?;
        let row = rows.into_iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.with_context(|| format!("a row of {sql}"))?;
        row.get(0).map_or(Ok(0), |text| text.parse().with_context(|| format!("{sql}: {text}")))
    }

    /// Prepares a query that returns one bigint.
    pub fn prepare(&mut self, sql: &str) -> Result<Statement> {
        let statement = self.runtime.block_on(self.client.prepare(sql))?;
        anyhow::ensure!(statement.columns()[0].type_() == &Type::INT8, "a bigint comes back");
        Ok(statement)
    }

    /// Runs a prepared query.
    pub fn prepared_number(&mut self, statement: &Statement) -> Result<i64> {
        let row = self.runtime.block_on(self.client.query_one(statement, &[]))?;
        Ok(row.get::<_, Option<i64>>(0).unwrap_or(0))
    }
}
