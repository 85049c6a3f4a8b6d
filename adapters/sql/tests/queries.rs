//! Queries for which plain DataFusion's answer differs from PostgreSQL's.

mod support;

use support::Runner;

#[tokio::test]
async fn arithmetic_that_does_not_fit_is_an_error() {
    let db = Runner::new(2);
    db.script(&[
        ("create table t (k bigint, x bigint, i integer, s smallint, f double precision, r real, primary key (k))", "ok"),
        (
            "insert into t values (1, 9223372036854775807, 2147483647, 32767, 1e308, 3e38), (2, 2, 2, 2, 2, 2), \
             (3, null, null, null, null, null)",
            "inserted 3 updated 0 deleted 0 ignored 0",
        ),
        // Constants, which are folded.
        ("select 2147483647 + 1", "!22003 integer out of range"),
        ("select 2147483647::bigint + 1", "2147483648"),
        ("select 9223372036854775807 + 1", "!22003 bigint out of range"),
        ("select 9223372036854775807 * 2", "!22003 bigint out of range"),
        ("select 32767::smallint + 1::smallint", "!22003 smallint out of range"),
        ("select -(-9223372036854775807 - 1::bigint)", "!22003 bigint out of range"),
        ("select 1 / 0", "!22012 division by zero"),
        ("select 1 % 0", "!22012 division by zero"),
        ("select 1.5 / 0", "!22012 division by zero"),
        ("select 1::double precision / 0", "!22012 division by zero"),
        ("select 'NaN'::double precision / 0", "NaN"),
        ("select 1e308::double precision * 10", "!22003 overflow"),
        ("select 1e-300::double precision * 1e-300::double precision", "!22003 underflow"),
        ("select 'Infinity'::double precision + 1", "Infinity"),
        ("select 1 where 1 = 2147483647 + 1", "!22003 integer out of range"),
        ("select case when true then 1 else 1 / 0 end", "1"),
        // Columns, in any place of an expression.
        ("select x + 1 from t", "!22003 bigint out of range"),
        ("select x + 1 from t where k > 1", "3 ; null"),
        ("select i * 2 from t", "!22003 integer out of range"),
        ("select s + 1 from t where k = 1", "32768"),
        ("select s + 1::smallint from t", "!22003 smallint out of range"),
        ("select -x from t", "-2 ; -9223372036854775807 ; null"),
        ("select k from t where x * 2 > 0", "!22003 bigint out of range"),
        ("select sum(x * 9223372036854775807) from t", "!22003 bigint out of range"),
        ("select max(x + k) from t", "!22003 bigint out of range"),
        ("select k from t order by x + 1", "!22003 bigint out of range"),
        ("select count(*) from t group by x + 1", "!22003 bigint out of range"),
        ("select a.k from t a join t b on a.x + 1 = b.x", "!22003 bigint out of range"),
        ("select sum(x + 1) over () from t", "!22003 bigint out of range"),
        ("select k from t where exists (select 1 from t u where u.x + t.x > 0)", "!22003 bigint out of range"),
        ("select f * 10 from t", "!22003 overflow"),
        ("select r * 10::real from t", "!22003 overflow"),
        ("select f / (k - 2) from t", "!22012 division by zero"),
        ("update t set x = x + 1", "!22003 bigint out of range"),
        // Values in range are unchanged.
        ("select x - 1, i - 1, s - 1::smallint, f / 2, r / 2 from t where k = 2", "1|1|1|1|1"),
        ("select x + 1, count(*) from t where k = 2 group by x + 1 having x + 1 = 3 order by x + 1", "3|1"),
    ])
    .await;
}

#[tokio::test]
async fn sums_are_wide_enough() {
    let db = Runner::new(2);
    db.script(&[
        ("create table t (k bigint, x bigint, i integer, n numeric(38,0), primary key (k))", "ok"),
        (
            "insert into t values (1, 9223372036854775807, 2147483647, '99999999999999999999999999999999999999'), \
             (2, 9223372036854775807, 2147483647, '99999999999999999999999999999999999999')",
            "inserted 2 updated 0 deleted 0 ignored 0",
        ),
        ("select sum(x), sum(i), sum(n) from t", "18446744073709551614|4294967294|199999999999999999999999999999999999998"),
        ("select sum(x) from t group by k < 5", "18446744073709551614"),
        ("select sum(distinct x), sum(x) filter (where k = 1) from t", "9223372036854775807|9223372036854775807"),
        ("select sum(x) over (order by k) from t", "18446744073709551614 ; 9223372036854775807"),
        ("select sum(x) from t where false", "null"),
        ("select coalesce(sum(x), 0) + 1 from t", "18446744073709551615"),
        ("select sum(case when k = 1 then 1 else 0 end) + 9223372036854775807 from t", "!22003 bigint out of range"),
        ("select sum('x')", "!42883 sum(text)"),
    ])
    .await;
}

#[tokio::test]
async fn whole_numbers_are_integers() {
    let db = Runner::new(2);
    db.script(&[
        ("select a + 2147483647 from (select 1 as a) s", "!22003 integer out of range"),
        ("select b + 9223372036854775807 from (select 3000000000 as b) s", "!22003 bigint out of range"),
        (
            "select x + 9223372036854775807 from (select 1 as x union all select 3000000000) u",
            "!22003 bigint out of range",
        ),
        ("select count(1), count(*), count(2) filter (where true)", "1|1|1"),
        ("select 1, count(*) group by 1", "1|1"),
        ("select x, x + 1 from (values (1), (2)) v(x) order by 2 limit 1 offset 1", "2|3"),
        ("with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select n from r", "1 ; 2 ; 3"),
        ("select substr('abcdef', 2, 3), round(1.256, 2), repeat('x', 2), lpad('a', 3), (array[5, 6])[2]", "bcd|1.26|xx|  a|6"),
        ("select generate_series from generate_series(1, 3)", "1 ; 2 ; 3"),
        ("select g, g.g from generate_series(1, 2) g", "1|1 ; 2|2"),
        ("select x from generate_series(1, 2) as g(x)", "1 ; 2"),
        ("select lag(x, 1, 0) over (order by x) from (values (1), (2)) v(x)", "0 ; 1"),
        ("select ntile(2) over (order by x), nth_value(x, 1) over (order by x) from (values (1), (2)) v(x)", "1|1 ; 2|1"),
        ("select case 2 when 1 then 'a' when 2 then 'b' end, 2 in (1, 2), 2 between 1 and 3", "b|t|t"),
        ("select sum(x), min(y) from (select 1 as x, 2 as y) s group by rollup (x)", "1|2 ; 1|2"),
        ("select coalesce(null, 1), nullif(1, 1), greatest(1, 2), least(1, 2), abs(-1)", "1|null|2|1|1"),
    ])
    .await;
}

#[tokio::test]
async fn casts_are_those_of_postgresql() {
    let db = Runner::new(2);
    db.script(&[
        ("select cast(2.7 as integer), cast(-2.5 as integer), 2.5::double precision::bigint, 3.5::real::smallint", "3|-3|2|4"),
        ("select cast(40000.0 as smallint)", "!22003 smallint out of range"),
        ("select 'NaN'::double precision::integer", "!22003 out of range"),
        ("select 1.0::double precision::text, 1e15::double precision::text, true::text, (1.50)::text", "1|1e+15|true|1.50"),
        ("select timestamp '2026-01-02 03:04:05'::text, timestamptz '2026-01-02 03:04:05+01'::text", "2026-01-02 03:04:05|2026-01-02 02:04:05+00"),
        ("select 1e15::double precision, 1.5e3, 2E-3, -12.5e1, 1e0, 1e300::float8 > 1, 1.0e-5", "1e+15|1500|0.002|-125|1|t|0.000010"),
        ("select 'x' || 1.5::double precision, 'x' || 2, 'at ' || date '2026-01-02'", "x1.5|x2|at 2026-01-02"),
        ("create table t (s text)", "ok"),
        ("insert into t select true", "inserted 1 updated 0 deleted 0 ignored 0"),
        ("select s from t", "true"),
    ])
    .await;
}

#[tokio::test]
async fn columns_of_inner_queries_have_their_names() {
    let db = Runner::new(2);
    db.script(&[
        ("select count, max from (select count(*), max(1 + 1) from generate_series(1, 3)) s", "3|2"),
        ("with c as (select upper('a'), 1 as one) select upper, one from c", "A|1"),
        ("select * from (select 1 + 1, 2 + 2) s", "2|4"),
        ("select sum from (select sum(x) from (values (1), (2)) v(x) union all select 7) u", "3 ; 7"),
        ("select abs from (select abs(x), count(*) from (values (-1), (1)) v(x) group by abs(x) order by abs(x)) s", "1"),
    ])
    .await;
}

#[tokio::test]
async fn uuids_are_compared_as_uuids() {
    let db = Runner::new(2);
    db.script(&[
        ("create table t (u uuid, primary key (u))", "ok"),
        (
            "insert into t values ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')",
            "inserted 1 updated 0 deleted 0 ignored 0",
        ),
        ("select count(*) from t where u = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "1"),
        ("select count(*) from t where 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid = u", "1"),
        ("select count(*) from t where u in ('{a0eebc999c0b4ef8bb6d6bb9bd380a11}')", "1"),
        ("select count(*) from t where u <> 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "0"),
        ("select count(*) from t where u = 'x'", "!22P02 uuid"),
        (
            "delete from t where u = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "inserted 0 updated 0 deleted 1 ignored 0",
        ),
    ])
    .await;
}

#[tokio::test]
async fn bytea_and_jsonb_are_compared_as_values() {
    let db = Runner::new(2);
    db.script(&[
        ("create table t (b bytea, m jsonb, primary key (b))", "ok"),
        (
            "insert into t values ('\\xDEADBEEF', '{\"a\": [1, 2]}'), ('x', null)",
            "inserted 2 updated 0 deleted 0 ignored 0",
        ),
        ("select b from t where b = '\\xdeadBEEF'", "\\xdeadbeef"),
        ("select b from t where b in ('x', '\\xDE')", "\\x78"),
        ("select b from t where b > 'x'::bytea", "\\xdeadbeef"),
        ("select '\\xde'::bytea, 'ab'::bytea", "\\xde|\\x6162"),
        ("select 1 from t where b = '\\x0'", "!22P02 bytea"),
        ("delete from t where b = '\\x78'", "inserted 0 updated 0 deleted 1 ignored 0"),
        ("select 1 from t where m = '{\"a\":[1,2]}'", "1"),
        ("select 1 from t x join t y on x.m = y.m", "1"),
        ("select 1 from t where m::text = '{\"a\": [1, 2]}' and m -> 'a' ->> 0 = '1'", "1"),
        ("select count(m), count(*) from t where m is not null", "1|1"),
    ])
    .await;
}

#[tokio::test]
async fn order_and_comparison() {
    let db = Runner::new(2);
    db.script(&[
        ("create table t (k bigint, f double precision, s text, primary key (k))", "ok"),
        (
            "insert into t values (1, 'NaN', 'b'), (2, 1, 'B'), (3, null, null), (4, 'Infinity', 'a'), (5, -1, '')",
            "inserted 5 updated 0 deleted 0 ignored 0",
        ),
        ("select string_agg(k::text, ' ' order by f) from t", "5 2 4 1 3"),
        ("select string_agg(k::text, ' ' order by f desc) from t", "3 1 4 2 5"),
        ("select string_agg(k::text, ' ' order by s) from t", "5 2 4 1 3"),
        ("select k from t order by f limit 1", "5"),
        ("select k from t order by f desc limit 1", "3"),
        ("select k from t order by f desc nulls last limit 1", "1"),
        ("select k from t where f = 'NaN'", "1"),
        ("select k from t where f > 1", "1 ; 4"),
        ("select max(f), min(f) from t", "NaN|-1"),
        ("select 7 / 2, -7 / 2, -7 % 2, 7.0 / 2 > 3.4", "3|-3|-1|t"),
        ("select k from t where s similar to 'b%'", "1"),
        ("select k from t where s is distinct from 'b' and k < 4", "2 ; 3"),
    ])
    .await;
}
