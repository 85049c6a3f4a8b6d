//! Definitions and writes against the real kernel, without the wire: the results and errors of each statement.

mod support;

use datafusion::common::ScalarValue;
use support::Runner;

const NONE: &str = "inserted 0 updated 0 deleted 0 ignored 0";

fn inserted(n: u64) -> String {
    format!("inserted {n} updated 0 deleted 0 ignored 0")
}

#[tokio::test]
async fn insert_values_select_and_defaults() {
    let db = Runner::new(4);
    db.script(&[
        ("create table t (a bigint not null, b text default 'none', c numeric(10,2) default 1.5, d timestamptz default now())", "ok"),
        ("insert into t (a) values (1), (2)", &inserted(2)),
        ("insert into t values (3, 'x', 2.345, '2026-01-31 12:00:00+01')", &inserted(1)),
        ("insert into t (b, a) values (null, '4'), (default, 5)", &inserted(2)),
        ("insert into t (a, c) values (6, 1e2), (7, -3)", &inserted(2)),
        ("select a, b, c, d is not null from t",
         "1|none|1.50|t ; 2|none|1.50|t ; 3|x|2.35|t ; 4|null|1.50|t ; 5|none|1.50|t ; 6|none|100.00|t ; 7|none|-3.00|t"),
        ("select d from t where a = 3", "2026-01-31 11:00:00+00"),
        ("insert into t (a) values (1 + 1), (cast('9' as integer))", &inserted(2)),
        ("insert into t (a, b) select a + 100, upper(b) from t where b = 'x'", &inserted(1)),
        ("select a, b from t where a > 100", "103|X"),
        ("insert into t (a) select 1 where false", NONE),
        ("with s as (select 31 as x) insert into t (a) select x from s", &inserted(1)),
        ("delete from t where a = 31", "inserted 0 updated 0 deleted 1 ignored 0"),
        ("with s as (select 1 as x) delete from t", "!0A000 WITH before DELETE"),
        // Each cell is assigned independently.
        ("insert into t (a, c, d) values (21, 1 + 1, now()), ('22', '2.345', '2026-01-31'), (20 + 3, null, null)", &inserted(3)),
        ("select a, c from t where a > 20 and a < 30", "21|2.00 ; 22|2.35 ; 23|null"),
        ("select d from t where a = 22", "2026-01-31 00:00:00+00"),
        ("insert into t (a, d) values (24, now()), (25, 'yesterday')", "!22007 timestamp"),
        ("delete from t where a > 20 and a < 30", "inserted 0 updated 0 deleted 3 ignored 0"),
        ("insert into t values (8)", &inserted(1)),
        ("select b from t where a = 8", "none"),
        // Errors.
        ("insert into nowhere values (1)", "!42P01 \"nowhere\""),
        ("insert into t (a, nope) values (1, 2)", "!42703 \"nope\""),
        ("insert into t (a, a) values (1, 2)", "!42701 more than once"),
        ("insert into t (a, b) values (1)", "!42601 more target columns"),
        ("insert into t (a) values (1, 2)", "!42601 more expressions"),
        ("insert into t (a, b) values (1, 'x'), (2)", "!42601 same length"),
        ("insert into t (a, b) select 1", "!42601 more target columns"),
        ("insert into t values (null)", "!23502 null value in column \"a\" of relation \"t\""),
        ("insert into t (b) values ('x')", "!23502 \"a\""),
        ("insert into t default values", "!23502 \"a\""),
        ("insert into t values ('abc')", "!22P02 invalid input syntax for type bigint: \"abc\""),
        ("insert into t values (9223372036854775808)", "!22003 bigint"),
        ("insert into t (a, c) values (1, 123456789.00)", "!22003 numeric(10,2)"),
        ("insert into t values (true)", "!42804 column \"a\" is of type bigint but expression is of type boolean"),
        ("insert into t (a, d) values (1, 'yesterday')", "!22007 timestamp"),
        ("insert into t values (1) returning a", "!0A000 RETURNING"),
        ("insert into t values (1/0)", "!22012 ero"),
        ("select count(*) from t", "11"),
    ])
    .await;
}

#[tokio::test]
async fn every_type_takes_its_texts() {
    let db = Runner::new(2);
    db.script(&[
        ("create table t (a boolean, b smallint, c integer, d bigint, e real, f double precision, g numeric(6,3), \
          h varchar(10), i bytea, j date, k timestamp, l timestamptz, m jsonb, n uuid)", "ok"),
        ("insert into t values ('yes', '-7', 8, 9, 1.5, '2.5', 3.14159, 'longer', '\\xDEAD', '2026-02-03', \
          '2026-02-03 04:05:06.789', '2026-02-03T04:05:06Z', '{\"a\": [1]}', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')",
         &inserted(1)),
        ("select * from t",
         "t|-7|8|9|1.5|2.5|3.142|longer|\\xdead|2026-02-03|2026-02-03 04:05:06.789|2026-02-03 04:05:06+00|{\"a\": [1]}|\
          a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("insert into t (h) values ('longer than ten')", "!22001 value too long for type character varying(10)"),
        ("insert into t (h) select 12345678901", "!22001 value too long for type character varying(10)"),
        ("insert into t (b) values (40000)", "!22003 smallint"),
        ("insert into t (b) select 40000", "!22003 smallint out of range"),
        ("insert into t (b) select 1.5", &inserted(1)),
        ("insert into t (b) select -2.5", &inserted(1)),
        ("insert into t (b) select cast(2.5 as double precision)", &inserted(1)),
        ("select b from t where a is null", "-3 ; 2 ; 2"),
        ("insert into t (n) values ('x')", "!22P02 uuid"),
        ("insert into t (m) values ('{')", "!22P02 json"),
        ("insert into t (i) values ('\\x0')", "!22P02 bytea"),
        ("insert into t (h) select 12.50", &inserted(1)),
        ("insert into t (h) select date '2026-01-01'", &inserted(1)),
        ("select h from t where a is null and h is not null", "12.50 ; 2026-01-01"),
        ("insert into t (k) select timestamptz '2026-01-01 00:00:00+02'", &inserted(1)),
        ("select k from t where a is null and k is not null", "2025-12-31 22:00:00"),
        ("insert into t (j) values (5)", "!42804 column \"j\""),
    ])
    .await;
}

#[tokio::test]
async fn update_and_delete() {
    let db = Runner::new(4);
    db.script(&[
        ("create table t (k bigint, v bigint, s text, primary key (k))", "ok"),
        ("create table u (k bigint, w bigint)", "ok"),
        (
            "insert into t select x, x * 10, 'r' || x from (values (1), (2), (3), (4), (5), (6)) as v(x)",
            &inserted(6),
        ),
        ("update t set v = v + 1, s = upper(s) where k <= 2", "inserted 0 updated 2 deleted 0 ignored 0"),
        ("select * from t where k <= 3", "1|11|R1 ; 2|21|R2 ; 3|30|r3"),
        ("update t set v = 0 where k = 99", NONE),
        ("update t as x set s = null, v = default where x.k = 6", "inserted 0 updated 1 deleted 0 ignored 0"),
        ("select v, s from t where k = 6", "null|null"),
        // Keys change all at once, to any shard.
        ("update t set k = k + 1", "inserted 0 updated 6 deleted 0 ignored 0"),
        ("select k, v from t", "2|11 ; 3|21 ; 4|30 ; 5|40 ; 6|50 ; 7|null"),
        ("update t set k = 2 where k = 3", "!23505"),
        ("select k from t where k < 4", "2 ; 3"),
        ("insert into u values (2, 100), (2, 200), (4, 400)", &inserted(3)),
        (
            "update t set v = u.w from u where u.k = t.k and t.k = 4",
            "inserted 0 updated 1 deleted 0 ignored 0",
        ),
        ("select v from t where k = 4", "400"),
        ("update t set v = 1 from u where u.k = t.k", "inserted 0 updated 2 deleted 0 ignored 0"),
        ("delete from t using u where u.k = t.k and u.w = 400", "inserted 0 updated 0 deleted 1 ignored 0"),
        ("delete from t where k in (select k from u)", "inserted 0 updated 0 deleted 1 ignored 0"),
        ("select k from t", "3 ; 5 ; 6 ; 7"),
        ("delete from t as x where x.v is null", "inserted 0 updated 0 deleted 1 ignored 0"),
        ("delete from t", "inserted 0 updated 0 deleted 3 ignored 0"),
        ("delete from t", NONE),
        ("insert into t values (1, 1, 'x')", &inserted(1)),
        // Errors.
        ("update t set v = 9223372036854775807 + v", "!22003"),
        ("update t set v = 'abc'", "!22P02 bigint"),
        ("update t set v = true", "!42804 \"v\""),
        ("update t set nope = 1", "!42703 \"nope\""),
        ("update t set v = nope", "!42703 nope"),
        ("update t set v = 1, v = 2", "!42601 multiple assignments"),
        ("update t set k = null", "!23502 \"k\""),
        ("update t set (k, v) = (1, 2)", "!0A000 several columns"),
        ("update nowhere set v = 1", "!42P01 \"nowhere\""),
        ("update t set v = 1 returning v", "!0A000 RETURNING"),
        ("delete from nowhere", "!42P01 \"nowhere\""),
        ("delete from t returning v", "!0A000 RETURNING"),
        ("select * from t", "1|1|x"),
        // No table lock was left behind.
        ("insert into t select k + 1, v, s from t", &inserted(1)),
    ])
    .await;
}

#[tokio::test]
async fn upserts() {
    let db = Runner::new(4);
    db.script(&[
        ("create table a (name text, balance bigint, seen timestamptz, primary key (name), shard key (name))", "ok"),
        ("insert into a values ('x', 5), ('y', 7)", &inserted(2)),
        ("insert into a values ('x', 1)", "!23505"),
        ("insert into a values ('x', 1), ('z', 1) on conflict do nothing", "inserted 1 updated 0 deleted 0 ignored 1"),
        ("insert into a values ('x', 10), ('w', 2) on duplicate key update balance = balance + values(balance)",
         "inserted 1 updated 1 deleted 0 ignored 0"),
        ("insert into a values ('x', 100) on conflict (name) do update set balance = a.balance + excluded.balance",
         "inserted 0 updated 1 deleted 0 ignored 0"),
        ("insert into a as old values ('x', 1) on conflict on constraint a_pkey do update set balance = old.balance + 1000",
         "inserted 0 updated 1 deleted 0 ignored 0"),
        ("insert into a values ('y', 1) on conflict (name) do update set balance = excluded.balance \
          where a.balance < excluded.balance", "inserted 0 updated 0 deleted 0 ignored 1"),
        ("insert into a values ('y', 8) on conflict (name) do update set balance = greatest(a.balance, excluded.balance), \
          seen = now()", "inserted 0 updated 1 deleted 0 ignored 0"),
        ("select name, balance, seen is null from a", "w|2|t ; x|1115|t ; y|8|f ; z|1|t"),
        ("insert into a values ('x', 9223372036854775807) on duplicate key update balance = balance + values(balance)",
         "!22003"),
        ("insert into a values ('x', 1) on conflict (balance) do nothing", "!42P10"),
        ("insert into a values ('x', 1) on conflict do update set balance = 1", "!42601 requires the conflict"),
        ("insert into a values ('x', 1) on conflict (nope) do nothing", "!42703 \"nope\""),
        ("insert into a values ('x', 1) on duplicate key update name = 'y'", "!0A000 primary key"),
        ("insert into a values ('x', 1) on duplicate key update balance = 'abc'", "!22P02 bigint"),
        ("insert into a values ('x', 1) on duplicate key update balance = name", "!42804 \"balance\""),
        ("insert into a values ('x', 1) on duplicate key update balance = sqrt(balance)", "!0A000 sqrt"),
        ("create table b (v bigint)", "ok"),
        ("insert into b values (1) on duplicate key update v = 2", "!42P10 \"b\" has none"),
        ("insert into b values (1) on conflict do nothing", &inserted(1)),
    ])
    .await;
}

#[tokio::test]
async fn parameters() {
    let db = Runner::new(2);
    db.run("create table t (k bigint, v numeric(12,3), s text, d timestamp, b bytea, primary key (k))")
        .await
        .unwrap();
    let values = [
        ScalarValue::Int64(Some(-5)),
        ScalarValue::Decimal128(Some(12345), 12, 3),
        ScalarValue::Utf8(Some("it's".into())),
        ScalarValue::TimestampMicrosecond(Some(1_700_000_000_123_456), None),
        ScalarValue::Binary(Some(vec![0, 255])),
    ];
    let one = "inserted 1 updated 0 deleted 0 ignored 0";
    assert_eq!(db.run_with("insert into t values ($1, $2, $3, $4, $5)", &values).await.unwrap(), one);
    let all = "-5|12.345|it's|2023-11-14 22:13:20.123456|\\x00ff";
    assert_eq!(db.run("select * from t").await.unwrap(), all);
    let sql = "update t set v = v + $2, s = $3 where k = $1";
    assert_eq!(db.run_with(sql, &values).await.unwrap(), "inserted 0 updated 1 deleted 0 ignored 0");
    let sql =
        "insert into t (k, v) values ($1, $2) on conflict (k) do update set v = t.v + $2 where t.k = $1";
    assert_eq!(db.run_with(sql, &values).await.unwrap(), "inserted 0 updated 1 deleted 0 ignored 0");
    assert_eq!(db.run("select v from t").await.unwrap(), "37.035");
    let nulls = [ScalarValue::Int64(None), ScalarValue::Utf8(None)];
    let error = db.run_with("insert into t (k, s) values ($1, $2)", &nulls).await.unwrap_err();
    assert_eq!(error.sqlstate, "23502");
    let error = db.run_with("insert into t (k) values ($3)", &nulls).await.unwrap_err();
    assert_eq!(error.sqlstate, "42P02");
}

#[tokio::test]
async fn parameter_types() {
    use datafusion::arrow::datatypes::DataType::*;
    let db = Runner::new(2);
    db.run("create table t (k bigint, v numeric(12,3), s text, primary key (k))").await.unwrap();
    let snapshot = db.env.database.snapshot().unwrap();
    let decimal = || Some(Decimal128(12, 3));
    for (sql, expected) in [
        ("insert into t values (1, 2, 'x')", vec![]),
        (
            "insert into t values ($1, $2, $3), ($4, 1, null)",
            vec![Some(Int64), decimal(), Some(Utf8), Some(Int64)],
        ),
        ("insert into t (s, k) values ($1, $2)", vec![Some(Utf8), Some(Int64)]),
        ("insert into t (k) select k from t where s = $1", vec![Some(Utf8)]),
        (
            "insert into t (k) values (1) on conflict (k) do update set v = $1 + t.v where t.s = $2",
            vec![decimal(), Some(Utf8)],
        ),
        ("update t set v = v * $2, s = $3 where k = $1", vec![Some(Int64), decimal(), Some(Utf8)]),
        ("delete from t where k = $1 or s like $2", vec![Some(Int64), Some(Utf8)]),
    ] {
        let mut statements = tidemark_pipeline_sql::parse(sql).unwrap();
        let Some(tidemark_pipeline_sql::Statement::Sql(statement)) = statements.pop() else {
            panic!("{sql}")
        };
        let context = db.env.context(&snapshot);
        let found = tidemark_sql::write::parameter_types(&context, &statement).await.unwrap();
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test]
async fn definitions() {
    let db = Runner::new(2);
    db.script(&[
        ("create table t (a bigint, b text not null default 'x', primary key (a))", "ok"),
        ("create table t (a bigint)", "!42P07 \"t\""),
        ("create table if not exists t (a bigint)", "ok"),
        ("create table u (a bigint, a text)", "!42701 \"a\""),
        ("create table u (a bigint, primary key (b))", "!42703 \"b\" named in PRIMARY KEY"),
        ("create table u (a bigint, shard key (b))", "!42703 \"b\" named in SHARD KEY"),
        ("create table u (a bigint, primary key (a, a))", "!42701 twice"),
        (
            "create table u (a bigint, b bigint, primary key (a), shard key (b))",
            "!42P16 not part of the primary key",
        ),
        ("create table u (a jsonb, primary key (a))", "!42P16 jsonb"),
        ("create table u (__run bigint)", "!42939 reserved"),
        ("create table u (\"@a\" bigint)", "!42939 reserved"),
        ("create table u ()", "!42P16 no column"),
        ("create table u (a bigint default 'abc')", "!22P02 bigint"),
        ("create table u (a bigint default b)", "!42703 b"),
        ("create table u (a bigint default true)", "!42804 \"a\""),
        ("create table u (a timestamptz default current_timestamp, b date default current_date)", "ok"),
        ("insert into u default values", &inserted(1)),
        ("select a is null, b is null from u", "f|f"),
        ("insert into t values (1), (2)", &inserted(2)),
        ("truncate t", "ok"),
        ("select count(*) from t", "0"),
        ("truncate nowhere", "!42P01"),
        ("insert into t values (1), (2)", &inserted(2)),
        ("truncate t, nowhere", "!42P01 \"nowhere\""),
        ("select count(*) from t", "2"),
        ("truncate t, u", "ok"),
        ("select (select count(*) from t) + (select count(*) from u)", "0"),
        ("create table v (a bigint)", "ok"),
        ("drop table u, nowhere", "!42P01 \"nowhere\""),
        ("drop table u, v, u", "ok"),
        ("drop table if exists u, v", "ok"),
        ("drop table t", "ok"),
        ("drop table t", "!42P01"),
        ("drop table if exists t", "ok"),
        ("select * from t", "!42P01 \"t\""),
    ])
    .await;
}
