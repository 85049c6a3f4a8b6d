//! The wire protocol with a real client: tokio-postgres against a server in this process, over the real coordinator and
//! shards. Each test is a scenario with its own database.

mod support;

use std::time::Duration;

use futures::{SinkExt, TryStreamExt, pin_mut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::Type;

use tidemark_sql::Config;

use support::server::{Server, fails, one, simple};

const ACCOUNTS: &str =
    "CREATE TABLE accounts (name TEXT, balance BIGINT, PRIMARY KEY (name), SHARD KEY (name))";

#[tokio::test]
async fn statements_and_their_tags() {
    let server = Server::start().await;
    let client = server.client().await;
    assert_eq!(simple(&client, ACCOUNTS).await.unwrap().1, [0]);
    let (_, tags) = simple(&client, "INSERT INTO accounts VALUES ('a', 1), ('b', 2); SELECT * FROM accounts; COMMIT; DELETE FROM accounts WHERE name = 'a'").await.unwrap();
    assert_eq!(tags, [2, 2, 0, 1]);
    assert_eq!(simple(&client, "UPDATE accounts SET balance = 5 WHERE name = 'b'").await.unwrap().1, [1]);
    assert_eq!(one(&client, "SELECT name, balance FROM accounts").await, "b|5");
    assert_eq!(one(&client, "SELECT count(*) FROM accounts").await, "1");
    assert!(simple(&client, ";").await.unwrap().0.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn errors_have_sqlstates_and_leave_the_session_usable() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, ACCOUNTS).await.unwrap();
    simple(&client, "INSERT INTO accounts VALUES ('a', 1)").await.unwrap();
    for (sql, code) in [
        ("SELEC 1", SqlState::SYNTAX_ERROR),
        ("SELECT * FROM nothing", SqlState::UNDEFINED_TABLE),
        ("SELECT nothing FROM accounts", SqlState::UNDEFINED_COLUMN),
        ("SELECT name FROM accounts a, accounts b", SqlState::AMBIGUOUS_COLUMN),
        ("SELECT nothing(1)", SqlState::UNDEFINED_FUNCTION),
        ("SELECT 1 / (balance - 1) FROM accounts", SqlState::DIVISION_BY_ZERO),
        ("SELECT CAST('x' AS BIGINT)", SqlState::INVALID_TEXT_REPRESENTATION),
        ("INSERT INTO accounts VALUES ('a', 1)", SqlState::UNIQUE_VIOLATION),
        ("INSERT INTO accounts VALUES (NULL, 1)", SqlState::NOT_NULL_VIOLATION),
        ("INSERT INTO accounts VALUES ('c', 'x')", SqlState::INVALID_TEXT_REPRESENTATION),
        ("CREATE INDEX i ON accounts (balance)", SqlState::FEATURE_NOT_SUPPORTED),
        ("COPY (SELECT 1) TO '/tmp/x'", SqlState::FEATURE_NOT_SUPPORTED),
        ("SET nothing = 1", SqlState::UNDEFINED_OBJECT),
        ("SET client_encoding = 'LATIN1'", SqlState::INVALID_PARAMETER_VALUE),
        ("SELECT sum(balance), name FROM accounts", SqlState::GROUPING_ERROR),
    ] {
        fails(&client, sql, &code).await;
        assert_eq!(one(&client, "SELECT 1").await, "1");
    }
    let place =
        |error: tokio_postgres::Error| error.as_db_error().and_then(|error| error.position().cloned());
    let wrong = "SELECT 'é';\nSELECT )";
    assert_eq!(place(client.simple_query(wrong).await.unwrap_err()), Some(ErrorPosition::Original(20)));
    assert_eq!(place(client.prepare(&wrong[13..]).await.unwrap_err()), Some(ErrorPosition::Original(8)));
    let columns = |n: usize| (0..n).map(|i| format!("{i} AS c{i}")).collect::<Vec<_>>().join(", ");
    fails(&client, &format!("SELECT {}", columns(1665)), &SqlState::TOO_MANY_COLUMNS).await;
    assert_eq!(simple(&client, &format!("SELECT {}", columns(1664))).await.unwrap().0[0].len(), 1664);
    server.stop().await;
}

/// Types and their modifiers as PostgreSQL 15 describes them; `\\gdesc` shows the same.
#[tokio::test]
async fn varchar_is_described_with_its_length() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, "CREATE TABLE t (id INT, v VARCHAR(3), w VARCHAR, x VARCHAR(5), s TEXT, j JSONB)")
        .await
        .unwrap();
    for (expression, wanted, modifier) in [
        ("v", Type::VARCHAR, 7),
        ("w", Type::VARCHAR, -1),
        ("'abcd'::varchar(9)", Type::VARCHAR, 13),
        ("v || v", Type::TEXT, -1),
        ("upper(v)", Type::TEXT, -1),
        ("v::text", Type::TEXT, -1),
        ("v::varchar", Type::VARCHAR, -1),
        ("coalesce(v, v)", Type::VARCHAR, 7),
        ("coalesce(v, x)", Type::VARCHAR, -1),
        ("coalesce(v, 'x')", Type::VARCHAR, -1),
        ("coalesce(v, s)", Type::VARCHAR, -1),
        ("coalesce(s, v)", Type::TEXT, -1),
        ("CASE WHEN id > 0 THEN v ELSE v END", Type::VARCHAR, 7),
        ("CASE WHEN id > 0 THEN v END", Type::VARCHAR, -1),
        ("CASE WHEN id > 0 THEN v ELSE s END", Type::TEXT, -1),
        ("nullif(v, v)", Type::TEXT, -1),
        ("greatest(v, v)", Type::VARCHAR, 7),
        ("lag(v) OVER (ORDER BY id)", Type::VARCHAR, -1),
        ("first_value(v) OVER (ORDER BY id)", Type::VARCHAR, -1),
        ("max(v) OVER ()", Type::TEXT, -1),
        ("(SELECT v FROM t LIMIT 1)", Type::VARCHAR, 7),
        ("coalesce(j, '{}')", Type::JSONB, -1),
        ("CASE WHEN id > 0 THEN j END", Type::JSONB, -1),
        ("nullif(j, '{}')", Type::JSONB, -1),
        ("lag(j) OVER (ORDER BY id)", Type::JSONB, -1),
    ] {
        let statement = client.prepare(&format!("SELECT {expression} FROM t")).await.unwrap();
        let column = &statement.columns()[0];
        assert_eq!((column.type_(), column.type_modifier()), (&wanted, modifier), "{expression}");
    }
    server.stop().await;
}

#[tokio::test]
async fn prepared_statements_infer_their_parameters() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(
        &client,
        "CREATE TABLE t (id BIGINT NOT NULL, small SMALLINT, n INT, d DOUBLE PRECISION, r REAL, ok BOOLEAN, s TEXT, \
         b BYTEA, at TIMESTAMPTZ, PRIMARY KEY (id))",
    )
    .await
    .unwrap();
    let insert =
        client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now())").await.unwrap();
    assert_eq!(
        insert.params(),
        [Type::INT8, Type::INT2, Type::INT4, Type::FLOAT8, Type::FLOAT4, Type::BOOL, Type::TEXT, Type::BYTEA]
    );
    let bytes = vec![0u8, 255, 7];
    for id in [1i64, 2, -3] {
        let text = format!("it's {id}");
        let inserted = client
            .execute(&insert, &[&id, &7i16, &-9i32, &1.5f64, &0.25f32, &(id > 1), &text, &bytes])
            .await
            .unwrap();
        assert_eq!(inserted, 1);
    }
    let select =
        client.prepare("SELECT id, small, n, d, r, ok, s, b FROM t WHERE id = $1 AND n < $2").await.unwrap();
    assert_eq!(select.params(), [Type::INT8, Type::INT4]);
    let row = client.query_one(&select, &[&-3i64, &0i32]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), -3);
    assert_eq!(row.get::<_, i16>(1), 7);
    assert_eq!(row.get::<_, i32>(2), -9);
    assert_eq!(row.get::<_, f64>(3), 1.5);
    assert_eq!(row.get::<_, f32>(4), 0.25);
    assert!(!row.get::<_, bool>(5));
    assert_eq!(row.get::<_, String>(6), "it's -3");
    assert_eq!(row.get::<_, Vec<u8>>(7), bytes);
    let null = client.query_one("SELECT $1::text, $2::bigint", &[&None::<String>, &4i64]).await.unwrap();
    assert_eq!((null.get::<_, Option<String>>(0), null.get::<_, i64>(1)), (None, 4));
    let updated = client.execute("UPDATE t SET n = n + $1 WHERE id > $2", &[&10i32, &0i64]).await.unwrap();
    assert_eq!(updated, 2);
    let limited = client.query("SELECT id FROM t ORDER BY id LIMIT $1", &[&2i64]).await.unwrap();
    assert_eq!(limited.iter().map(|r| r.get::<_, i64>(0)).collect::<Vec<_>>(), [-3, 1]);
    server.stop().await;
}

#[tokio::test]
async fn a_block_of_inserts_is_one_transaction() {
    let server = Server::start().await;
    let (client, other) = (server.client().await, server.client().await);
    simple(&client, "CREATE TABLE t (id BIGINT, PRIMARY KEY (id))").await.unwrap();
    simple(&client, "CREATE TABLE log (x BIGINT)").await.unwrap();
    simple(&client, "BEGIN; INSERT INTO t VALUES (1), (2); INSERT INTO log VALUES (1)").await.unwrap();
    assert_eq!(one(&client, "SELECT count(*), sum(id) FROM t").await, "2|3");
    assert_eq!(one(&other, "SELECT count(*) FROM t").await, "0");
    simple(&client, "COMMIT").await.unwrap();
    assert_eq!(one(&other, "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM log)").await, "3");

    simple(&client, "BEGIN; INSERT INTO t VALUES (3); ROLLBACK").await.unwrap();
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "2");

    // All statements of a block read one snapshot.
    simple(&client, "BEGIN").await.unwrap();
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "2");
    simple(&other, "INSERT INTO t VALUES (4)").await.unwrap();
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "2");
    simple(&client, "COMMIT").await.unwrap();
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "3");

    // A violation at COMMIT leaves nothing behind, of any table.
    simple(&client, "BEGIN; INSERT INTO log VALUES (2); INSERT INTO t VALUES (1)").await.unwrap();
    fails(&client, "COMMIT", &SqlState::UNIQUE_VIOLATION).await;
    assert_eq!(one(&client, "SELECT count(*) FROM log").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn a_block_refuses_what_it_cannot_hold_and_commits_nothing_then() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, "CREATE TABLE t (id BIGINT, v BIGINT, PRIMARY KEY (id))").await.unwrap();
    simple(&client, "INSERT INTO t VALUES (1, 1)").await.unwrap();
    for sql in
        ["UPDATE t SET v = 2", "DELETE FROM t", "CREATE TABLE u (x BIGINT)", "TRUNCATE t", "SAVEPOINT s"]
    {
        simple(&client, "BEGIN; INSERT INTO t VALUES (2, 2)").await.unwrap();
        fails(&client, sql, &SqlState::FEATURE_NOT_SUPPORTED).await;
        fails(&client, "SELECT 1", &SqlState::IN_FAILED_SQL_TRANSACTION).await;
        simple(&client, "COMMIT").await.unwrap();
        assert_eq!(one(&client, "SELECT count(*), sum(v) FROM t").await, "1|1", "{sql}");
    }
    simple(&client, "BEGIN; INSERT INTO t VALUES (9, 9) ON CONFLICT (id) DO NOTHING").await.unwrap();
    fails(&client, "SELECT * FROM t", &SqlState::FEATURE_NOT_SUPPORTED).await;
    simple(&client, "ROLLBACK").await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn copy_in_and_out() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, "CREATE TABLE t (id BIGINT, s TEXT, n NUMERIC(10,2) DEFAULT 1.5)").await.unwrap();
    let text = "1\ttab\\there\t2.50\n2\t\\N\t-0.01\n\\.\n";
    // Pieces end anywhere.
    for (sql, data) in [
        ("COPY t FROM STDIN", text),
        ("COPY t (id, s) FROM STDIN (FORMAT csv, HEADER true)", "id,s\n3,\"quo\"\"te,\nline\"\n4,\n5,\"\"\n"),
    ] {
        let sink = client.copy_in(sql).await.unwrap();
        pin_mut!(sink);
        for piece in data.as_bytes().chunks(3) {
            sink.send(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
        }
        sink.finish().await.unwrap();
    }
    let out = client.copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT").await.unwrap();
    let rows: Vec<bytes::Bytes> = out.try_collect().await.unwrap();
    assert_eq!(rows.len(), 5, "each row is a message");
    let out = rows.concat();
    let expected = "1\ttab\\there\t2.50\n2\t\\N\t-0.01\n3\tquo\"te,\\nline\t1.50\n4\t\\N\t1.50\n5\t\t1.50\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let out =
        client.copy_out("COPY (SELECT id, s FROM t ORDER BY id) TO STDOUT WITH CSV HEADER").await.unwrap();
    let out: Vec<u8> = out.map_ok(|b| b.to_vec()).try_concat().await.unwrap();
    let expected = "id,s\n1,tab\there\n2,\n3,\"quo\"\"te,\nline\"\n4,\n5,\"\"\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    // Binary output can be read in again.
    let out = client.copy_out("COPY t TO STDOUT (FORMAT binary)").await.unwrap();
    let rows: Vec<bytes::Bytes> = out.try_collect().await.unwrap();
    assert_eq!(rows.len(), 6, "the header comes with the first row, the trailer by itself");
    let out = rows.concat();
    let sink = client.copy_in("COPY t FROM STDIN (FORMAT binary)").await.unwrap();
    pin_mut!(sink);
    for piece in out.chunks(5) {
        sink.send(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 5);
    assert_eq!(one(&client, "SELECT count(*), sum(n) FROM t").await, "10|13.98");

    // A bad row loads nothing, and the session continues.
    let sink = client.copy_in("COPY t FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"7\ta\t1\nx\tb\t1\n")).await.unwrap();
    let error = sink.finish().await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_TEXT_REPRESENTATION), "{error:?}");
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "10");
    server.stop().await;
}

#[tokio::test]
async fn statements_are_cancelled_and_time_out() {
    let server = Server::start().await;
    let client = server.client().await;
    let slow =
        "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a * b % 7 = 3";
    simple(&client, "SET statement_timeout = '50ms'").await.unwrap();
    fails(&client, slow, &SqlState::QUERY_CANCELED).await;
    simple(&client, "SET statement_timeout = 0").await.unwrap();

    let token = client.cancel_token();
    let other = server.client().await;
    let watch = async {
        // Waits until the statement runs.
        loop {
            let sql = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%100000%' AND pid <> pg_backend_pid()";
            if !simple(&other, sql).await.unwrap().0.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        token.cancel_query(NoTls).await.unwrap();
    };
    let (failed, ()) = tokio::join!(client.simple_query(slow), watch);
    assert_eq!(failed.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(one(&client, "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn memory_is_bounded() {
    let server = Server::start_with(Config { query_memory_bytes: 1 << 20, ..Config::default() }).await;
    let client = server.client().await;
    fails(
        &client,
        "SELECT x, count(*) FROM generate_series(1, 1000000) x GROUP BY x ORDER BY x",
        &SqlState::OUT_OF_MEMORY,
    )
    .await;
    // Rows that a statement holds while it changes them are counted too.
    simple(&client, "CREATE TABLE t (x BIGINT)").await.unwrap();
    for chunk in 0..20 {
        let sql = format!("INSERT INTO t SELECT x + {chunk} FROM generate_series(1, 10000) x");
        assert_eq!(simple(&client, &sql).await.unwrap().1, [10_000]);
    }
    for sql in
        ["INSERT INTO t SELECT x FROM generate_series(1, 1000000) x", "UPDATE t SET x = 0", "DELETE FROM t"]
    {
        fails(&client, sql, &SqlState::OUT_OF_MEMORY).await;
    }
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "200000");
    assert_eq!(one(&client, "SELECT 1").await, "1");
    server.stop().await;
}

/// A row of a few values can be far larger than its sources, and is built completely before it is sent.
#[tokio::test]
async fn memory_of_rows_on_their_way_is_bounded() {
    let server = Server::start_with(Config { query_memory_bytes: 64 << 20, ..Config::default() }).await;
    let client = server.client().await;
    let array = |numbers: u32| format!("SELECT array_agg(x::bigint) FROM generate_series(1, {numbers}) x");
    assert_eq!(one(&client, &array(200_000)).await.len(), 1_288_896);
    fails(&client, &array(2_000_000), &SqlState::OUT_OF_MEMORY).await;
    let copied = client.copy_out(&format!("COPY ({}) TO STDOUT", array(2_000_000))).await.unwrap();
    let error = copied.try_for_each(|_| async { Ok(()) }).await.expect_err("it does not fit");
    assert_eq!(error.code(), Some(&SqlState::OUT_OF_MEMORY));
    assert_eq!(one(&client, "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn what_is_sent_in_error_disturbs_nobody() {
    let server = Server::start().await;
    let client = server.client().await;
    for garbage in
        [&b"\0\0\0\x09\0\x03\0\0\0"[..], b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\0\0\0\x04", b""]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = vec![];
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap();
    }
    // A valid start, then messages with wrong lengths.
    for garbage in [
        &b"P\0\0\0\x08ab\0\0"[..],
        b"B\0\0\0\x0a\0\0\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff",
        b"Q\xff\xff\xff\xff",
        b"?\0\0\0\x04",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"\0\0\0\x23\0\x03\0\0user\0me\0database\0tidemark\0\0").await.unwrap_or(());
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = vec![];
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap();
    }
    assert_eq!(one(&client, "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn a_statement_that_is_no_utf8_is_refused() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"\0\0\0\x23\0\x03\0\0user\0me\0database\0tidemark\0\0").await.unwrap();
    stream.write_all(b"Q\0\0\0\x0fSELECT '\xff'\0").await.unwrap();
    stream.write_all(b"P\0\0\0\x12\0SELECT '\xff'\0\0\0S\0\0\0\x04").await.unwrap();
    stream.write_all(b"Q\0\0\0\x13SELECT 'after'\0X\0\0\0\x04").await.unwrap();
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches("C22021\0").count(), 2, "{answer:?}");
    assert!(answer.contains("after"), "{answer:?}");
    server.stop().await;
}

#[tokio::test]
async fn json_operators_and_types() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, "CREATE TABLE j (id BIGINT, doc JSONB)").await.unwrap();
    simple(&client, r#"INSERT INTO j VALUES (1, '{"a": {"b": [10, "x\ny", null]}, "n": 1.50}')"#)
        .await
        .unwrap();
    assert_eq!(
        one(&client, "SELECT doc -> 'a' -> 'b' -> 0, doc #>> '{a,b,1}', doc ->> 'n', doc -> 'none' FROM j")
            .await,
        "10|x\ny|1.50|null"
    );
    assert_eq!(one(&client, "SELECT doc -> 'a' -> 'b' ->> -1 IS NULL FROM j").await, "t");
    let statement = client.prepare("SELECT doc FROM j").await.unwrap();
    assert_eq!(statement.columns()[0].type_(), &Type::JSONB);
    assert_eq!(one(&client, "SELECT 1.5, '1e300'::double precision, 1.0::real / 3, date '2024-02-29', ARRAY[1, NULL, 3], 'x'::bytea").await, "1.5|1e+300|0.3333333333333333|2024-02-29|{1,NULL,3}|\\x78");
    assert_eq!(
        one(&client, "SELECT time_bucket(INTERVAL '5 minutes', TIMESTAMP '2024-01-01 00:07:30')").await,
        "2024-01-01 00:05:00"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_catalog_that_clients_ask_for() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, ACCOUNTS).await.unwrap();
    simple(&client, "CREATE TABLE t (id BIGINT NOT NULL DEFAULT 7, n NUMERIC(10,2))").await.unwrap();
    assert_eq!(
        one(&client, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'").await,
        "2"
    );
    assert_eq!(
        one(&client, "SELECT data_type, column_default, is_nullable FROM information_schema.columns WHERE table_name = 't' AND column_name = 'id'").await,
        "bigint|7|NO"
    );
    assert_eq!(one(&client, "SHOW server_version_num").await, "150008");
    assert_eq!(
        one(
            &client,
            "SELECT current_database(), current_schema(), current_user, current_setting('TimeZone')"
        )
        .await,
        "tidemark|public|tester|UTC"
    );
    assert_eq!(one(&client, "SELECT 'accounts'::regclass::oid = c.oid, c.oid::regclass FROM pg_class c WHERE relname = 'accounts'").await, "t|accounts");
    // The queries of psql 15 for \d and \dt.
    let rows = simple(&client, PSQL_LIST).await.unwrap().0;
    assert_eq!(rows.len(), 2);
    let found = simple(&client, PSQL_FIND).await.unwrap().0;
    assert_eq!(found.len(), 1);
    let oid = found[0][0].clone().unwrap();
    for sql in PSQL_DESCRIBE {
        simple(&client, &sql.replace("16386", &oid)).await.unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
    }
    let (columns, _) = simple(&client, &PSQL_DESCRIBE[1].replace("16386", &oid)).await.unwrap();
    assert_eq!(columns[0][..2], [Some("name".to_string()), Some("text".to_string())]);
    let (indexes, _) = simple(&client, &PSQL_DESCRIBE[2].replace("16386", &oid)).await.unwrap();
    assert_eq!(indexes[0][0].as_deref(), Some("accounts_pkey"));
    // \du, \df and the size of \dt+.
    let roles = simple(&client, PSQL_ROLES).await.unwrap().0;
    assert_eq!(roles[0][..2], [Some("tester".to_string()), Some("t".to_string())]);
    assert!(simple(&client, PSQL_FUNCTIONS).await.unwrap().0.is_empty());
    assert_eq!(
        one(&client, "SELECT pg_size_pretty(10239), pg_size_pretty(10240), pg_size_pretty(5000000)").await,
        "10239 bytes|10 kB|4883 kB"
    );
    assert!(simple(&client, "SELECT * FROM information_schema.pipelines_cursors; SELECT * FROM information_schema.pipelines_errors; SHOW PIPELINES").await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn bytes_are_read_as_text() {
    let server = Server::start().await;
    let client = server.client().await;
    simple(&client, "CREATE TABLE b (id INT, m BYTEA)").await.unwrap();
    simple(&client, "INSERT INTO b VALUES (1, '\\x7bc3a4'), (2, NULL), (3, '\\xff')").await.unwrap();
    assert_eq!(one(&client, "SELECT convert_from(m, 'UTF8') FROM b WHERE id = 1").await, "{ä");
    assert_eq!(one(&client, "SELECT convert_from(m, 'utf-8') IS NULL FROM b WHERE id = 2").await, "t");
    for (sql, code) in [
        ("SELECT convert_from(m, 'UTF8') FROM b", SqlState::CHARACTER_NOT_IN_REPERTOIRE),
        ("SELECT convert_from(m, 'KLINGON') FROM b", SqlState::INVALID_PARAMETER_VALUE),
        ("SELECT convert_from(m) FROM b", SqlState::UNDEFINED_FUNCTION),
    ] {
        fails(&client, sql, &code).await;
    }
    server.stop().await;
}

const PSQL_LIST: &str = r#"SELECT n.nspname as "Schema", c.relname as "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'i' THEN 'index' END as "Type",
  pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind IN ('r','p','')
      AND n.nspname <> 'pg_catalog'
      AND n.nspname !~ '^pg_toast'
      AND n.nspname <> 'information_schema'
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 1,2"#;

const PSQL_ROLES: &str = r#"SELECT r.rolname, r.rolsuper, r.rolinherit,
  r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
  r.rolconnlimit, r.rolvaliduntil,
  ARRAY(SELECT b.rolname
        FROM pg_catalog.pg_auth_members m
        JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
        WHERE m.member = r.oid) as memberof
, r.rolreplication
, r.rolbypassrls
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'
ORDER BY 1"#;

const PSQL_FUNCTIONS: &str = r#"SELECT n.nspname as "Schema",
  p.proname as "Name",
  pg_catalog.pg_get_function_result(p.oid) as "Result data type",
  pg_catalog.pg_get_function_arguments(p.oid) as "Argument data types",
 CASE p.prokind
  WHEN 'a' THEN 'agg'
  WHEN 'w' THEN 'window'
  WHEN 'p' THEN 'proc'
  ELSE 'func'
 END as "Type"
FROM pg_catalog.pg_proc p
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE pg_catalog.pg_function_is_visible(p.oid)
      AND n.nspname <> 'pg_catalog'
      AND n.nspname <> 'information_schema'
ORDER BY 1, 2, 4"#;

const PSQL_FIND: &str = r#"SELECT c.oid, n.nspname, c.relname
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.~) '^(accounts)$' COLLATE pg_catalog.default
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 2, 3"#;

const PSQL_DESCRIBE: [&str; 5] = [
    r#"SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, c.relforcerowsecurity, false AS relhasoids, c.relispartition, '', c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END, c.relpersistence, c.relreplident, am.amname
FROM pg_catalog.pg_class c
 LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid)
LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid)
WHERE c.oid = '16386'"#,
    r#"SELECT a.attname,
  pg_catalog.format_type(a.atttypid, a.atttypmod),
  (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)
   FROM pg_catalog.pg_attrdef d
   WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
  a.attnotnull,
  (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
   WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
  a.attidentity,
  a.attgenerated
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = '16386' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"#,
    r#"SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true),
  pg_catalog.pg_get_constraintdef(con.oid, true), contype, condeferrable, condeferred, i.indisreplident, c2.reltablespace
FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
  LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
WHERE c.oid = '16386' AND c.oid = i.indrelid AND i.indexrelid = c2.oid
ORDER BY i.indisprimary DESC, c2.relname"#,
    r#"SELECT pol.polname, pol.polpermissive,
  CASE WHEN pol.polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,
  pg_catalog.pg_get_expr(pol.polqual, pol.polrelid)
FROM pg_catalog.pg_policy pol
WHERE pol.polrelid = '16386' ORDER BY 1"#,
    r#"SELECT c.oid::pg_catalog.regclass
FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
WHERE c.oid = i.inhparent AND i.inhrelid = '16386'
  AND c.relkind != 'p' AND c.relkind != 'I'
ORDER BY inhseqno"#,
];
