//! Arbitrary input of a client: statements as texts, statements with parameters, and messages of any bytes, over the
//! wire codec and the planner to a server in this process. Nothing may panic (a caught panic counts), no error may be
//! an internal one, and every connection ends when its client is done.
#![no_main]

#[path = "../../adapters/sql/tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// Longer than any statement takes, which ends after five seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A definition is a transaction of its own.
const TABLE: [&str; 2] = [
    "CREATE TABLE t (id BIGINT NOT NULL, x INT, s TEXT, f DOUBLE PRECISION, n NUMERIC(12,2), \
                     at TIMESTAMPTZ, j JSONB, PRIMARY KEY (id))",
    "INSERT INTO t VALUES (1, 1, 'one', 1.5, 10.60, '2024-01-01', '{\"a\": 1}'), \
                     (2, NULL, NULL, NULL, NULL, NULL, NULL)",
];

/// A step of a client.
#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// A text of one statement or several.
    Query(&'a str),
    /// Parse, Bind with these values as texts, Describe, Execute, Sync.
    Extended { sql: &'a str, values: Vec<Option<&'a [u8]>> },
    /// A message of this kind.
    Message { kind: u8, body: &'a [u8] },
    /// Arbitrary bytes.
    Bytes(&'a [u8]),
}

fn server() -> SocketAddr {
    static SERVER: OnceLock<(Runtime, SocketAddr)> = OnceLock::new();
    let (_, address) = SERVER.get_or_init(|| {
        let runtime = Runtime::new().expect("threads");
        let address = runtime.block_on(async {
            let server = support::server::Server::start().await;
            let client = server.client().await;
            for sql in TABLE {
                client.batch_execute(sql).await.expect("a table with rows");
            }
            let address = server.address;
            // It serves until the process ends.
            std::mem::forget(server);
            address
        });
        (runtime, address)
    });
    *address
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() + 4) as u32;
    [&[kind][..], &len.to_be_bytes(), body].concat()
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0fuzz\0database\0tidemark\0options\0-c statement_timeout=5000\0\0";
    [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

fn bytes(step: &Step) -> Vec<u8> {
    match step {
        Step::Query(sql) => message(b'Q', &[sql.as_bytes(), b"\0"].concat()),
        Step::Extended { sql, values } => {
            let parse = message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
            let mut bind = b"\0\0\0\0".to_vec();
            bind.extend((values.len() as u16).to_be_bytes());
            for value in values {
                match value {
                    Some(value) => {
                        bind.extend((value.len() as u32).to_be_bytes());
                        bind.extend(*value);
                    }
                    None => bind.extend((-1i32).to_be_bytes()),
                }
            }
            bind.extend(b"\0\0");
            let rest = [message(b'D', b"P\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
            [parse, message(b'B', &bind), rest].concat()
        }
        Step::Message { kind, body } => message(*kind, body),
        Step::Bytes(bytes) => bytes.to_vec(),
    }
}

/// Codes of the errors among the messages of the server.
fn codes(mut answer: &[u8]) -> Vec<String> {
    let mut codes = vec![];
    while let [kind, a, b, c, d, rest @ ..] = answer {
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        let Some((body, after)) = rest.split_at_checked(len) else { break };
        if *kind == b'E' {
            let fields = body.split(|byte| *byte == 0);
            codes.extend(
                fields
                    .filter_map(|field| field.strip_prefix(b"C"))
                    .map(|c| String::from_utf8_lossy(c).into()),
            );
        }
        answer = after;
    }
    codes
}

fuzz_target!(|steps: Vec<Step>| {
    let mut stream = TcpStream::connect(server()).expect("the server listens");
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a socket");
    let mut sent = startup();
    steps.iter().take(8).for_each(|step| sent.extend(bytes(step)));
    sent.extend(message(b'X', b""));
    // The server may have disconnected already.
    let _ = stream.write_all(&sent).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = vec![];
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the connection does not end");
    }
    for code in codes(&answer) {
        assert_ne!(code, "XX000", "{steps:?}");
    }
});
