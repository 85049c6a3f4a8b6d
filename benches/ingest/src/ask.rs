//! What this program asks of servers over the PostgreSQL wire.

use anyhow::{Context, Result};
use postgres::{Client, SimpleQueryMessage};

/// The one number that a query returns; null is 0.
pub fn number(client: &mut Client, sql: &str) -> Result<i64> {
    let messages = client.simple_query(sql).with_context(|| sql.to_string())?;
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.with_context(|| format!("a row of {sql}"))?;
    row.get(0).map_or(Ok(0), |text| text.parse().with_context(|| format!("{sql}: {text}")))
}

/// Runs statements that return no rows.
pub fn run(client: &mut Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).with_context(|| sql.to_string())
}
