//! CSV messages: the decoded rows, and the errors.

mod common;

use common::*;
use kernel::schema::ColumnType::*;
use tidemark_decode::{CsvFormat, Format};

fn comma() -> CsvFormat {
    CsvFormat { fields_terminated_by: b",".to_vec(), enclosed_by: Some(b'"'), ..CsvFormat::default() }
}

fn table(format: CsvFormat) -> Table {
    Table::new(Format::Csv(format), vec![field("a", Int64), field("b", Text)])
}

#[test]
fn fields_lines_and_enclosures() {
    for (message, expected) in [
        ("1,x", vec![["1", "x"]]),
        ("1,x\n", vec![["1", "x"]]),
        ("1,x\r\n2,y\r\n", vec![["1", "x"], ["2", "y"]]),
        ("1,\n2,\"\"", vec![["1", ""], ["2", ""]]),
        ("\"1\",\"x,\"\"y\"\"\nz\"\n2,z", vec![["1", "x,\"y\"\nz"], ["2", "z"]]),
        ("1,a\\,b\\n\\\\", vec![["1", "a,b\n\\"]]),
        ("1,\"a\\\"b\"", vec![["1", "a\"b"]]),
        ("\\N,\\N\nNULL,\"NULL\"", vec![["null", "null"], ["null", "NULL"]]),
        ("1,\u{e9}\\\u{e9}", vec![["1", "\u{e9}\u{e9}"]]),
        ("1,x\"y", vec![["1", "x\"y"]]),
        ("1,x\\", vec![["1", "x\\"]]),
    ] {
        let mut table = table(comma());
        table.push(message);
        assert_eq!(table.refused, [], "{message}");
        assert_eq!(table.rows(), expected, "{message}");
    }
}

#[test]
fn one_bad_line_refuses_the_whole_message_and_no_other() {
    let mut table = table(comma());
    for message in ["1,x\n2,y", "3,x\nbad,y\n4,z", "5,z", "", "6", "7,x,y", "8,\"x", "9,\"x\"y", "10,\\0"] {
        table.push(message);
    }
    assert_eq!(table.rows(), [["1", "x"], ["2", "y"], ["5", "z"]]);
    assert_eq!(table.origin(), [0, 0, 2]);
    let refused: Vec<_> =
        table.refused.iter().map(|r| (r.error.sqlstate.as_str(), r.error.message.as_str())).collect();
    assert_eq!(
        refused,
        [
            ("22P02", "line 2, field 1, column a: \"bad\" is not a valid bigint"),
            ("22P04", "the message is empty"),
            ("22P04", "line 1 has 1 of 2 fields"),
            ("22P04", "line 1 has more than 2 fields"),
            ("22P04", "line 1: an enclosed field is not closed"),
            ("22P04", "line 1: an enclosed field continues after its closing character"),
            (
                "22P05",
                "line 1, field 2, column b: \"\\u{0}\" contains the NUL character, which text cannot hold"
            ),
        ]
    );
}

#[test]
fn terminators_may_be_long_and_lines_may_begin_with_a_prefix() {
    let format = CsvFormat {
        fields_terminated_by: b"||".to_vec(),
        lines_terminated_by: b"<end>".to_vec(),
        lines_starting_by: b">>".to_vec(),
        ignore_lines: 1,
        ..CsvFormat::default()
    };
    let mut table = table(format);
    table.push("head<end>x>>1||a|b<end>no prefix<end>>>2||c<e<end>");
    assert_eq!(table.refused, []);
    assert_eq!(table.rows(), [["1", "a|b"], ["2", "c<e"]]);
}

#[test]
fn ignored_lines_may_hold_enclosed_terminators() {
    let mut table = table(CsvFormat { ignore_lines: 1, ..comma() });
    table.push("\"he\nad\",x\n1,y");
    table.push("only,a header");
    assert_eq!(table.refused, []);
    assert_eq!(table.rows(), [["1", "y"]]);
}

#[test]
fn null_defined_by_takes_the_place_of_the_usual_nulls() {
    let null = |optionally| CsvFormat {
        null_defined_by: Some(b"-".to_vec()),
        null_optionally_enclosed: optionally,
        ..comma()
    };
    let mut bare = table(null(false));
    bare.push("-,\"-\"\n1,\\N\n2,NULL");
    assert_eq!(bare.rows(), [["null", "-"], ["1", "N"], ["2", "NULL"]]);
    let mut enclosed = table(null(true));
    enclosed.push("-,\"-\"");
    assert_eq!(enclosed.rows(), [["null", "null"]]);
}

#[test]
fn an_enclosing_character_that_escapes_itself() {
    let mut table = table(CsvFormat { escaped_by: Some(b'"'), ..comma() });
    table.push("1,\"a\"\"b\\n\"");
    assert_eq!(table.rows(), [["1", "a\"b\\n"]]);
}

#[test]
fn trailing_fields_with_defaults_may_be_missing() {
    let mut b = field("b", Text);
    b.default = Some("none".into());
    let mut table = Table::new(Format::Csv(comma()), vec![field("a", Int64), b]);
    table.push("1\n2,x\n");
    assert_eq!(table.rows(), [["1", "none"], ["2", "x"]]);
}

#[test]
fn formats_that_contradict_themselves_are_refused() {
    let plan =
        |format| tidemark_decode::DecodePlan { format: Format::Csv(format), fields: vec![field("a", Text)] };
    for format in [
        CsvFormat { fields_terminated_by: vec![], ..comma() },
        CsvFormat { fields_terminated_by: b"\n".to_vec(), ..comma() },
        CsvFormat { fields_terminated_by: vec![0xa9], ..comma() },
        CsvFormat { enclosed_by: Some(0xe9), ..comma() },
    ] {
        assert!(plan(format.clone()).decoder().is_err(), "{format:?}");
    }
}
