//! Queries the database over the PostgreSQL wire protocol.

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::producer::Totals;

/// A connection.
pub(super) struct Client(tokio_postgres::Client);

impl Client {
    pub(super) async fn connect(port: u16) -> Result<Client, String> {
        let settings = format!("host=127.0.0.1 port={port} user=tidemark dbname=tidemark connect_timeout=5");
        let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.map_err(said)?;
        // Ends with the connection; the next query reports its error.
        tokio::spawn(connection);
        Ok(Client(client))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(super) async fn run(&self, sql: &str) -> Result<(), String> {
        self.0.batch_execute(sql).await.map_err(said)
    }

    /// Count and sum of the table, on one snapshot.
    pub(super) async fn totals(&self) -> Result<Totals, String> {
        let sql = "SELECT coalesce(sum(payments), 0), coalesce(sum(balance), 0) FROM accounts";
        let messages = self.0.simple_query(sql).await.map_err(said)?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0)?.parse().ok()?, row.get(1)?.parse().ok()?)),
            _ => None,
        });
        let (payments, cents) = row.ok_or_else(|| format!("no numbers came back from: {sql}"))?;
        Ok(Totals { payments, cents })
    }
}

fn said(error: tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}
