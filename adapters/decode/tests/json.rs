//! JSON messages: the decoded values by type and by shape, and the error texts.

mod common;

use common::*;
use kernel::schema::ColumnType::*;
use tidemark_decode::Format;

fn json(fields: Vec<tidemark_decode::FieldMapping>) -> Table {
    Table::new(Format::Json, fields)
}

#[test]
fn every_type_takes_its_text_and_its_number() {
    let one =
        |column_type, value: &str| json(vec![field("c", column_type)]).one(&format!("{{\"c\":{value}}}"));
    let numeric = Decimal { precision: 10, scale: 2 };
    for (column_type, value, expected) in [
        (Bool, "true", "true"),
        (Bool, "\"off\"", "false"),
        (Bool, "1", "true"),
        (Int16, "-32768", "-32768"),
        (Int32, "2147483647", "2147483647"),
        (Int64, "9223372036854775807", "9223372036854775807"),
        (Int64, "-9223372036854775808", "-9223372036854775808"),
        (Int64, "\" 42 \"", "42"),
        (Int64, "\"+42\"", "42"),
        (Int64, "\"\\u000b-0042\\u000b\"", "-42"),
        (Int64, "\"-9223372036854775808\"", "-9223372036854775808"),
        (Int16, "-1.50e1", "-15"),
        (Int64, "1e3", "1000"),
        (Int64, "12.0", "12"),
        (Int64, "-0", "0"),
        (Float64, "0.1", "0.1"),
        (Float64, "-0.0", "-0.0"),
        (Float64, "1.7976931348623157e308", "1.7976931348623157e308"),
        (Float64, "\"NaN\"", "NaN"),
        (Float64, "\"-Infinity\"", "-inf"),
        (Float32, "16777217", "16777216.0"),
        (numeric, "12.345", "1235"),
        (numeric, "-12.345", "-1235"),
        (numeric, "\"1.5e2\"", "15000"),
        (numeric, "0.004", "0"),
        (numeric, "0.005", "1"),
        (numeric, "99999999.99", "9999999999"),
        (Text, "\"a\\u00e9\\n\\ud83d\\ude00\"", "a\u{e9}\n\u{1f600}"),
        (Text, "12.50", "12.50"),
        (Varchar { max_chars: Some(5) }, "12.50", "12.50"),
        (Varchar { max_chars: Some(2) }, "\"\u{e9}\u{e9}\"", "\u{e9}\u{e9}"),
        (Varchar { max_chars: Some(2) }, "\"a    \"", "a "),
        (Varchar { max_chars: Some(1) }, "\"\\u00e9\\u0020\"", "\u{e9}"),
        (Varchar { max_chars: None }, "\"as it is \"", "as it is "),
        (Text, "{\"a\": [1]}", "{\"a\": [1]}"),
        (Json, "{\"a\": [1, \"x\\n\"]}", "{\"a\": [1, \"x\\n\"]}"),
        (Json, "\"s\"", "\"s\""),
        (Json, "{\"bb\":1.50,\"a\" : [1e3, 0e0],\"bb\":-0}", "{\"a\": [1000, 0], \"bb\": 0}"),
        (Json, "\"\\u00e9\\/\\u000A\"", "\"\u{e9}/\\n\""),
        (Uuid, "\"{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}\"", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (Uuid, "\"a0eebc999c0b4ef8bb6d6bb9bd380a11\"", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (Bytea, "\"\\\\x00fF\"", "[0, 255]"),
        (Bytea, "\"hi\"", "[104, 105]"),
        (Date, "\"1970-01-02\"", "1"),
        (Date, "\"2026-11-22T23:59:59Z\"", "20779"),
        (Timestamp, "\"2000-01-01 00:00:00.1234567+05\"", "946684800123457"),
        (TimestampTz, "\"2000-01-01T00:00:00+02:00\"", "946677600000000"),
        (TimestampTz, "\"2000-01-01\"", "946684800000000"),
        (Int64, "null", "null"),
    ] {
        assert_eq!(one(column_type, value), Ok(expected.to_string()), "{column_type:?} from {value}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_code() {
    let code = |column_type, value: &str| {
        json(vec![field("c", column_type)]).one(&format!("{{\"c\":{value}}}")).unwrap_err().sqlstate
    };
    let numeric = Decimal { precision: 4, scale: 2 };
    for (column_type, value, expected) in [
        (Bool, "2", "22P02"),
        (Int16, "32768", "22003"),
        (Int32, "-2147483649", "22003"),
        (Int64, "9223372036854775808", "22003"),
        (Int64, "1e400000000000000000000", "22003"),
        (Int64, "1.5", "22P02"),
        (Int64, "\"\"", "22P02"),
        // A string is parsed as PostgreSQL parses an integer, unlike a JSON number.
        (Int64, "\"1e3\"", "22P02"),
        (Int32, "\"1.\"", "22P02"),
        (Int16, "\"1.0\"", "22P02"),
        (Int64, "\"+\"", "22P02"),
        (Int64, "\"1 2\"", "22P02"),
        (Int64, "\"9223372036854775808\"", "22003"),
        (Int64, "true", "22P02"),
        (Int64, "[1]", "22P02"),
        (Float64, "1e400", "22003"),
        (Float32, "1e39", "22003"),
        (Float64, "\"one\"", "22P02"),
        (numeric, "100", "22003"),
        (numeric, "99.995", "22003"),
        (numeric, "\"NaN\"", "22P02"),
        (Text, "\"a\\u0000\"", "22P05"),
        (Text, "\"\\ud800\"", "22P05"),
        (Text, "\"\\ud800\\u0041\"", "22P05"),
        (Varchar { max_chars: Some(2) }, "\"abc\"", "22001"),
        (Varchar { max_chars: Some(2) }, "\"ab\\u0063\"", "22001"),
        (Varchar { max_chars: Some(2) }, "123", "22001"),
        (Varchar { max_chars: Some(2) }, "{\"a\":1}", "22001"),
        (Json, "{\"a\\u0000\": 1}", "22P05"),
        (Json, "{\"a\": \"\\u0000\", \"a\": 1}", "22P05"),
        (Json, "[\"\\ud800\"]", "22P02"),
        (Json, "[1e100000]", "22003"),
        (Uuid, "\"a0eebc99\"", "22P02"),
        (Bytea, "\"\\\\x0\"", "22P02"),
        (Date, "\"2026-02-29\"", "22008"),
        (Date, "\"yesterday\"", "22007"),
        (TimestampTz, "\"2026-01-01T25:00:00Z\"", "22008"),
        (TimestampTz, "1700000000", "22007"),
        (Date, "20000", "22007"),
    ] {
        assert_eq!(code(column_type, value), expected, "{column_type:?} from {value}");
    }
}

#[test]
fn numbers_are_times_only_of_a_stated_unit() {
    use tidemark_decode::TimeUnit::*;
    let read = |column_type, unit, value: &str| {
        let mapping = tidemark_decode::FieldMapping { unit: Some(unit), ..field("c", column_type) };
        json(vec![mapping]).one(&format!("{{\"c\":{value}}}")).map_err(|error| error.sqlstate.to_string())
    };
    for (column_type, unit, value, expected) in [
        (TimestampTz, Seconds, "1700000000", Ok("1700000000000000")),
        (TimestampTz, Seconds, "1700000000.1234565", Ok("1700000000123457")),
        (TimestampTz, Milliseconds, "1700000000123", Ok("1700000000123000")),
        (Timestamp, Milliseconds, "1700000000123.4567", Ok("1700000000123457")),
        (TimestampTz, Microseconds, "1700000000123456", Ok("1700000000123456")),
        (TimestampTz, Nanoseconds, "1700000000123456500", Ok("1700000000123457")),
        (TimestampTz, Nanoseconds, "-1500", Ok("-2")),
        (TimestampTz, Seconds, "\"1700000000\"", Ok("1700000000000000")),
        (TimestampTz, Seconds, "\"2000-01-01\"", Ok("946684800000000")),
        (TimestampTz, Seconds, "\"soon\"", Err("22007")),
        (TimestampTz, Seconds, "1700000000123456", Err("22008")),
        (TimestampTz, Seconds, "1e300", Err("22008")),
        (TimestampTz, Nanoseconds, "1e40", Err("22008")),
        (Date, Days, "-1", Ok("-1")),
        (Date, Days, "1.5", Ok("1")),
        (Date, Seconds, "86399", Ok("0")),
        (Date, Milliseconds, "-1", Ok("-1")),
        (Date, Days, "1e9", Err("22008")),
    ] {
        let found = read(column_type, unit, value);
        assert_eq!(
            found,
            expected.map(String::from).map_err(String::from),
            "{column_type:?} from {value} {}",
            unit.name()
        );
    }
    let text = json(vec![field("at", TimestampTz)]).one(r#"{"at":1700000000}"#).unwrap_err().message;
    assert!(text.contains("1700000000 is a number") && text.contains("UNIT 's'"), "{text}");
}

#[test]
fn errors_name_column_path_value_and_reason() {
    let mut table = json(vec![at("balance", Int64, &["user", "amount"])]);
    let text = table.one(r#"{"user":{"amount":"abc"}}"#).unwrap_err().message;
    assert_eq!(text, "column balance (path user::amount): \"abc\" is not a valid bigint");
    let text = table.one(r#"{"user":{"amount":1"#).unwrap_err().message;
    assert_eq!(text, "malformed JSON at byte 19: a comma or } is wanted, the message ends");
    let text = table.one("[1]").unwrap_err().message;
    assert!(
        text.starts_with("the message is an array, an object with the mapped fields is wanted"),
        "{text}"
    );
}

#[test]
fn malformed_messages_are_refused_wherever_the_fault_is() {
    let deep = format!("{{\"c\":1,\"x\":{}{}}}", "[".repeat(127), "]".repeat(127));
    for message in [
        "",
        " ",
        "{",
        "{}x",
        "{\"c\":1,}",
        "{\"c\":1 \"d\":2}",
        "{c:1}",
        "{\"c\":01}",
        "{\"c\":1.}",
        "{\"c\":.5}",
        "{\"c\":1,\"x\":tru}",
        "{\"c\":1,\"x\":[1,]}",
        "{\"c\":1,\"x\":{\"y\"}}",
        "{\"c\":1,\"x\":\"\\x\"}",
        "{\"c\":1,\"x\":\"a\nb\"}",
        "{\"c\":1,\"x\":\"\\u12g4\"}",
        "{\"c\":1}}",
        "null",
        "\"c\"",
        "1",
        &deep,
    ] {
        let mut table = json(vec![field("c", Int64)]);
        // Once with an unknown shape, once with a known one.
        table.push(message);
        table.push("{\"c\":1}");
        table.push(message);
        let codes: Vec<_> = table.refused.iter().map(|r| (r.message, r.error.sqlstate.as_str())).collect();
        assert_eq!(codes, [(0, "22P02"), (2, "22P02")], "{message}");
        assert_eq!(table.rows(), [["1"]], "{message}");
    }
}

#[test]
fn invalid_utf8_and_tombstones_are_refused() {
    let mut table = json(vec![field("c", Text)]);
    table.push_bytes(Some(b"{\"c\":\"\xff\"}"));
    table.push_bytes(Some(b"{\"c\":\"a\",\"x\":\"\xc3\"}"));
    table.push_bytes(None);
    assert_eq!(table.refused.iter().map(|r| r.error.sqlstate.as_str()).collect::<Vec<_>>(), ["22P02"; 3]);
    assert!(table.rows().is_empty());
}

#[test]
fn shapes_change_from_message_to_message() {
    let mut table = json(vec![field("a", Int64), field("b", Text), at("c", Int64, &["n", "c"])]);
    let messages = [
        (r#"{"a":1,"b":"x","n":{"c":3}}"#, ["1", "x", "3"]),
        (r#"{"a":2,"b":"y","n":{"c":4}}"#, ["2", "y", "4"]),
        (r#"{"b":"z","a":3}"#, ["3", "z", "null"]),
        (r#"{"a":1,"b":"x","n":5}"#, ["1", "x", "null"]),
        (r#"{"a":1,"b":"x","n":{"c":3}}"#, ["1", "x", "3"]),
        (r#"{"a":1,"b":"x","n":{"c":3,"d":[{}]}, "o" : {"a":7}}"#, ["1", "x", "3"]),
        (r#"{"a":1,"b":"x","n":[{"c":3}]}"#, ["1", "x", "null"]),
        (r#"{"a":1,"b":"x","n":{"c":8}}"#, ["1", "x", "8"]),
        (r#"  { "a" : 1 , "b" : "x" , "n" : { } }  "#, ["1", "x", "null"]),
        (r#"  { "a" : 2 , "b" : null , "n" : { } }  "#, ["2", "null", "null"]),
        ("{}", ["null", "null", "null"]),
        (r#"{"\u0061":9,"b":"q\"","n":{"c":3}}"#, ["9", "q\"", "3"]),
        (r#"{"\u0061":8,"b":"q","n":{"c":3}}"#, ["8", "q", "3"]),
    ];
    for _ in 0..3 {
        for (message, expected) in &messages {
            table.push(message);
            assert_eq!(table.refused, [], "{message}");
            assert_eq!(table.rows(), [*expected], "{message}");
            table.clear();
        }
    }
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    let mut table = json(vec![field("a", Int64), at("c", Int64, &["n", "c"])]);
    for (message, expected) in [
        (r#"{"a":"bad","a":2}"#, ["2", "null"]),
        (r#"{"a":1,"a":null}"#, ["null", "null"]),
        (r#"{"n":{"c":1},"n":{"c":2}}"#, ["null", "2"]),
        (r#"{"n":{"c":1},"n":{}}"#, ["null", "null"]),
        (r#"{"n":{"c":1},"n":7}"#, ["null", "null"]),
        (r#"{"n":{"c":1,"c":3}}"#, ["null", "3"]),
    ] {
        table.push(message);
        table.push(message);
        assert_eq!(table.rows(), [expected, expected], "{message}");
        table.clear();
    }
}

#[test]
fn missing_takes_the_default_and_null_does_not() {
    let mut wanted = field("a", Int64);
    wanted.default = Some("7".into());
    let mut table = json(vec![wanted, field("b", Int64)]);
    for _ in 0..2 {
        table.push(r#"{"b":1}"#);
        table.push(r#"{"b":1,"a":null}"#);
    }
    assert_eq!(table.rows(), [["7", "1"], ["null", "1"], ["7", "1"], ["null", "1"]]);
}

#[test]
fn not_null_refuses_null_and_missing() {
    let mut wanted = field("a", Int64);
    wanted.nullable = false;
    let mut table = json(vec![field("b", Text), wanted]);
    for message in [r#"{"b":"x","a":1}"#, r#"{"b":"x","a":null}"#, r#"{"b":"x"}"#, r#"{"b":"y","a":2}"#] {
        table.push(message);
    }
    assert_eq!(table.rows(), [["x", "1"], ["y", "2"]]);
    let texts: Vec<_> =
        table.refused.iter().map(|r| (r.error.sqlstate.as_str(), r.error.message.as_str())).collect();
    assert_eq!(
        texts,
        [
            ("23502", "column a (path a): null violates the column's NOT NULL constraint"),
            ("23502", "column a (path a): a missing field violates the column's NOT NULL constraint"),
        ]
    );
}

#[test]
fn one_path_can_feed_several_columns_and_overlap_another() {
    let mut table = json(vec![
        at("x", Text, &["n"]),
        at("y", Json, &["n"]),
        at("z", Int64, &["n", "c"]),
        at("all", Json, &[]),
    ]);
    for _ in 0..2 {
        table.push(r#" {"n":{"c":1}} "#);
        table.push(r#"{"n":2}"#);
    }
    let (object, plain) =
        ([r#"{"c":1}"#, r#"{"c": 1}"#, "1", r#"{"n": {"c": 1}}"#], ["2", "2", "null", r#"{"n": 2}"#]);
    assert_eq!(table.rows(), [object, plain, object, plain]);
}

#[test]
fn the_whole_value_may_be_no_object() {
    let mut table = json(vec![at("v", Int64, &[])]);
    table.push("42");
    table.push(" 43 ");
    table.push("[]");
    assert_eq!(table.rows(), [["42"], ["43"]]);
    assert_eq!(table.refused.len(), 1);
}

#[test]
fn many_shapes_do_not_grow_without_bound_and_stay_right() {
    let names: Vec<String> = (0..8).map(|i| format!("f{i}")).collect();
    let mut table = json(names.iter().map(|n| field(n, Int64)).collect());
    let mut order: Vec<usize> = (0..8).collect();
    for round in 0..3000usize {
        order.swap(round % 8, (round * 5 + 3) % 8);
        order.swap(round % 7, (round / 7) % 8);
        let body: Vec<String> = order.iter().map(|i| format!("\"f{i}\":{}", i + round)).collect();
        table.push(&format!("{{{}}}", body.join(",")));
        let expected: Vec<String> = (0..8).map(|i| (i + round).to_string()).collect();
        assert_eq!(table.rows(), [expected]);
        table.clear();
    }
}

#[test]
fn many_mapped_keys_are_told_apart() {
    let names: Vec<String> = (0..40).map(|i| format!("a_long_name_{}_{i}", "x".repeat(i % 3))).collect();
    let mut table = json(names.iter().map(|n| field(n, Int64)).collect());
    for step in [1usize, 3, 7, 11] {
        let member = |i: usize| format!("\"{}\":{}", names[i * step % 40], i * step % 40);
        table.push(&format!(
            "{{\"a_long_name__40\":-1,{}}}",
            (0..40).map(member).collect::<Vec<_>>().join(",")
        ));
        let expected: Vec<String> = (0..40).map(|i| i.to_string()).collect();
        assert_eq!(table.rows(), [expected]);
        table.clear();
    }
}
