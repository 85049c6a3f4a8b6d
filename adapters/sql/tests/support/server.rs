//! A server in the test's own process, over the real coordinator and shards, and clients of it.

use std::sync::Arc;

use tidemark_sql::{Config, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::Host;

/// A server in this process.
pub struct Server {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(Config { query_memory_bytes: 64 << 20, ..Config::default() }).await
    }

    pub async fn start_with(config: Config) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, Arc::new(Host::new(4)), config, shutdown));
        Server { address, stop: Some(stop), task }
    }

    pub async fn client(&self) -> Client {
        let text = format!("host=127.0.0.1 port={} user=tester dbname=tidemark", self.address.port());
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap().unwrap();
    }
}

/// Rows of a simple query, and the counts of its command tags.
pub async fn simple(
    client: &Client,
    sql: &str,
) -> Result<(Vec<Vec<Option<String>>>, Vec<u64>), tokio_postgres::Error> {
    let (mut rows, mut tags) = (vec![], vec![]);
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect());
            }
            SimpleQueryMessage::CommandComplete(count) => tags.push(count),
            _ => {}
        }
    }
    Ok((rows, tags))
}

/// The one row of a query.
pub async fn one(client: &Client, sql: &str) -> String {
    let (rows, _) = simple(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    assert_eq!(rows.len(), 1, "{sql}");
    rows[0].iter().map(|v| v.as_deref().unwrap_or("null")).collect::<Vec<_>>().join("|")
}

/// A statement that must fail.
pub async fn fails(client: &Client, sql: &str, code: &SqlState) {
    match client.simple_query(sql).await {
        Ok(_) => panic!("{sql} succeeded"),
        Err(error) => assert_eq!(error.code(), Some(code), "{sql}: {error:?}"),
    }
}
