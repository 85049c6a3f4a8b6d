//! Numbers as PostgreSQL 15 answers: exact arithmetic of numerics, quotients rounded where it rounds them, types of
//! results, aggregates. Each expected value is PostgreSQL's; the number of trailing zeros of a quotient may differ.

mod support;

use support::Runner;

async fn tables() -> Runner {
    let db = Runner::new(2);
    db.script(&[
        ("create table r (id int, g text, n numeric(12,2))", "ok"),
        (
            "insert into r values (1, 'north', 10.60), (2, 'south', 20.55), (3, null, 3.33)",
            "inserted 3 updated 0 deleted 0 ignored 0",
        ),
        ("create table z (q int)", "ok"),
        ("insert into z values (10), (20), (30)", "inserted 3 updated 0 deleted 0 ignored 0"),
    ])
    .await;
    db
}

#[tokio::test]
async fn numerics_are_exact() {
    tables()
        .await
        .script(&[
            ("select sum(case when g = 'north' then round(n, 0) else n end) from r", "34.88"),
            ("select 1/3.0, 3/1234567.891", "0.33333333333333333333|0.000002430000020144700167"),
            ("select 100.00 / 3 * 3, 2.0 / 3 * 100", "99.9999999999999999|66.666666666666666667"),
            (
                "select 99999999999999999999999999999999999999::numeric + 1",
                "100000000000000000000000000000000000000",
            ),
            ("select 7.5 % 2, -7.5 % 2, 1.10 * 1.10, 10 - 0.05", "1.5|-1.5|1.2100|9.95"),
            ("select 5 / 0.0", "!22012 division by zero"),
            ("select 12345.6::numeric(4,1)", "!22003 overflow"),
            ("select '1e3'::numeric, 12.345::numeric(4,1), ' -0.5 '::numeric", "1000|12.3|-0.5"),
            ("select 'NaN'::numeric", "!22P02 numeric"),
            ("select 'NaN'::float8::numeric", "!0A000 numeric cannot hold NaN"),
            ("select 'x'::numeric", "!22P02 invalid input syntax for type numeric"),
            (
                "select round(2.567, 2), round(1234.5, -2), trunc(-2.57, 1), ceil(2.1), floor(-2.1)",
                "2.57|1200|-2.5|3|-3",
            ),
            (
                "select sqrt(2.0), sqrt(0.00000000005), 1.05 ^ 10",
                "1.4142135623730950|0.000007071067811865475|1.6288946267774414",
            ),
            ("select sqrt(20000.0), power(1.05, 10)", "141.4213562373095000|1.6288946267774414"),
            ("select n from r where round(n, 1) = n", "10.60"),
            ("select 1e100", "!22003 out of range for type numeric"),
            ("select id from r where 1e100 > id", "!22003 out of range for type numeric"),
            ("select x'1f'", "!0A000 bit strings"),
            ("select b'101'", "!0A000 bit strings"),
        ])
        .await;
}

#[tokio::test]
async fn floats_and_numerics_meet_as_floats() {
    tables()
        .await
        .script(&[
            (
                "select 1e-20::float8 > 0.0, 0.1::float8 + 0.2::float8 = 0.3, coalesce(1e-30::float8, 0.0)",
                "t|f|1e-30",
            ),
            ("select round(2.5::float8), round(-2.5::float8), round(3.5::float8)", "2|-2|4"),
            ("select 1.0::real / 3, 1::smallint + 1::bigint, 1.5::real + 1.5", "0.3333333333333333|2|3"),
            (
                "select 0.1::float8::numeric = 0.1, 123456789.123456789::float8::numeric = 123456789.123457",
                "t|t",
            ),
            ("select ln(0::float8)", "!2201E logarithm"),
            ("select sqrt(-1::float8)", "!2201F square root"),
            ("select ln(2.0)", "0.6931471805599453"),
        ])
        .await;
}

#[tokio::test]
async fn aggregates_have_postgresqls_types() {
    tables()
        .await
        .script(&[
            ("select sum(q) + 1, sum(q) * 100 / count(*), sum(case when q > 10 then 1 else 0 end) * 100 from z", "61|2000|200"),
            ("select sum(q) from z having sum(q) > 5", "60"),
            ("select sum(q), count(distinct q) from z", "60|3"),
            ("select avg(q), avg(distinct q), sum(distinct q) from z", "20.0000000000000000|20.0000000000000000|60"),
            ("select avg(x) = 9007199254740993 from (values (9007199254740993::bigint), (9007199254740993)) t(x)", "t"),
            ("select sum(x) from (values (9223372036854775807::bigint), (9223372036854775807)) t(x)", "18446744073709551614"),
            ("select variance(n), stddev(n), var_pop(n) from r", "74.7306333333333333|8.6446881570900713|49.8204222222222222"),
            ("select avg(q::float8), avg(q::float4), sum(q::float8) from z", "20|20|60"),
            ("select sum(1e308::float8) from z", "!22003 out of range"),
            ("select sum(g) from r", "!42883 function sum(text) does not exist"),
            ("select avg(q) over (order by q rows 1 preceding) from z order by q", "10.0000000000000000 ; 15.0000000000000000 ; 25.0000000000000000"),
            // A value that left a frame of floats has no effect.
            (
                "select sum(f) over (order by i rows 1 preceding) from (values (1, 1e20::float8), (2, 1::float8), (3, 1::float8)) v(i, f) order by i",
                "1e+20 ; 1e+20 ; 2",
            ),
        ])
        .await;
}

#[tokio::test]
async fn operators_are_resolved_by_the_types_of_both_operands() {
    tables()
        .await
        .script(&[
            ("select '5' + 3, 3 * '4', 1 = '1'", "8|12|t"),
            ("select 1 = 'x'", "!22P02 integer"),
            ("select g = 1 from r", "!42883 operator does not exist: text = integer"),
            ("select 2147483647 + 1", "!22003 integer out of range"),
            ("select x + 2147483647 from (select 1 as x) t", "!22003 integer out of range"),
            ("select q in (10, 20.0), q between 10 and 20.5 from z where q = 20", "t|t"),
            ("select case q when 10 then 1.5 else 2 end from z order by q", "1.5 ; 2.0 ; 2.0"),
        ])
        .await;
}

/// The kernel's arithmetic during staging: products keep all their digits until they are stored, and quotients those of
/// PostgreSQL.
#[tokio::test]
async fn upserts_multiply_and_divide_as_postgresql() {
    let db = Runner::new(2);
    db.script(&[
        ("create table d (k bigint, b numeric(10,2), n int, primary key (k))", "ok"),
        ("insert into d values (1, 100.00, 7)", "inserted 1 updated 0 deleted 0 ignored 0"),
        // 100.00 * 0.3333 * 3.0003 = 99.999999, which is stored as 100.00; with intermediate rounding it would be
        // 99.99.
        (
            "insert into d values (1, 0, 0) on duplicate key update b = b * 0.3333 * 3.0003",
            "inserted 0 updated 1 deleted 0 ignored 0",
        ),
        ("select b from d", "100.00"),
        (
            "insert into d values (1, 5, 0) on conflict (k) do update set b = d.b + excluded.b * 1.005, n = d.n / 2",
            "inserted 0 updated 1 deleted 0 ignored 0",
        ),
        ("select b, n from d", "105.03|3"),
        // 105.03 / 7 = 15.0042857142857143, and three times that is 45.0128571428571429.
        (
            "insert into d values (1, 0, 0) on duplicate key update b = b / 7 * 3, n = round(b / 7 * 3 * 1e9)",
            "!22003 out of the range",
        ),
        (
            "insert into d values (1, 0, 0) on duplicate key update b = b / 7 * 3",
            "inserted 0 updated 1 deleted 0 ignored 0",
        ),
        ("select b from d", "45.01"),
        (
            "insert into d values (1, 0, 0) on duplicate key update b = 2.0 / 3 * 100",
            "inserted 0 updated 1 deleted 0 ignored 0",
        ),
        ("select b from d", "66.67"),
        ("insert into d values (1, 0, 0) on duplicate key update b = b / values(b)", "!22012 division by zero"),
        ("insert into d values (1, 0, 0) on duplicate key update b = b / 3 / 3", "!0A000 quotient of a quotient"),
        // An intermediate quotient with too many digits.
        (
            "insert into d values (1, 0, 0) on duplicate key update b = 1 + 0.000000001 / 99999.0 / 1.0",
            "!0A000 quotient of a quotient",
        ),
        ("insert into d values (1, 0, 0) on duplicate key update b = 1 + 1e-9 / 9999999.0", "!22003 out of the range"),
        ("select b from d", "66.67"),
    ])
    .await;
}
