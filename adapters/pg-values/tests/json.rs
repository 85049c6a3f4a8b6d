//! jsonb values as PostgreSQL 15 has them. The expected texts are its answers.

use std::cmp::Ordering;

use pg_values::Fault;
use pg_values::json::{
    BYTES_MAX, DEPTH_MAX, EditFault, Json, Step, append_key, canonical, compare, concat, contains, delete,
    delete_index, delete_path, get, has_key, parse, pretty, scalar_text, set_path,
};

fn canon(text: &str) -> Result<String, Fault> {
    let mut out = b"kept".to_vec();
    let outcome = canonical(text, &mut out);
    let written = String::from_utf8(out).expect("UTF-8");
    let added = written.strip_prefix("kept").expect("earlier bytes stay").to_string();
    if outcome.is_err() {
        assert_eq!(added, "", "after a fault nothing is added");
    } else {
        assert_eq!(tree(text).to_text(), added, "the tree writes the same");
    }
    outcome.map(|()| added)
}

fn tree(text: &str) -> Json<'_> {
    parse(text).expect("JSON")
}

#[test]
fn one_text_for_a_value() {
    for (written, kept) in [
        (r#"{"b":1,"a":2}"#, r#"{"a": 2, "b": 1}"#),
        (r#"{"aa":1,"b":2}"#, r#"{"b": 2, "aa": 1}"#),
        (r#"{"a":1,"b":0,"a":2}"#, r#"{"a": 2, "b": 0}"#),
        (r#"{"é":1,"zz":2,"\u00e8":3}"#, r#"{"zz": 2, "è": 3, "é": 1}"#),
        (" {\"x\" : [ ] , \"y\":{ } } ", r#"{"x": [], "y": {}}"#),
        (r#"[1,"a",null,true,false]"#, r#"[1, "a", null, true, false]"#),
        (r#""\u0041\/\b\f\n\r\t\"\\\u001f""#, r#""A/\b\f\n\r\t\"\\\u001f""#),
        (r#""\ud83d\ude00""#, "\"😀\""),
        (r#"{"o":{"b":[{"d":1,"c":2}],"a":0}}"#, r#"{"o": {"a": 0, "b": [{"c": 2, "d": 1}]}}"#),
    ] {
        assert_eq!(canon(written).as_deref(), Ok(kept), "{written}");
    }
}

#[test]
fn numbers_keep_their_digits() {
    for (written, kept) in [
        ("1.10", "1.10"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("1e3", "1000"),
        ("1.10e1", "11.0"),
        ("1e-2", "0.01"),
        ("1.5e-3", "0.0015"),
        ("0e5", "0"),
        ("0.0e5", "0"),
        ("100e-2", "1.00"),
        ("1.230E+2", "123.0"),
        ("123456789012345678901234567890.12", "123456789012345678901234567890.12"),
    ] {
        assert_eq!(canon(written).as_deref(), Ok(kept), "{written}");
    }
    // Eight bytes would become a hundred thousand.
    assert_eq!(canon("1e100000"), Err(Fault::OutOfRange));
    assert_eq!(canon("1e-100000"), Err(Fault::OutOfRange));
    assert_eq!(canon("1e99999999999999999999"), Err(Fault::OutOfRange));
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "1 2",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "\"a",
        "\"\t\"",
        "'a'",
        "\"\\x\"",
        "[1}",
        "-",
        "1e",
        "\"\\ud83d\"",
        "\"\\ude00\"",
    ] {
        assert_eq!(canon(text), Err(Fault::Invalid), "{text}");
    }
    assert_eq!(canon("\"\\u0000\""), Err(Fault::ZeroCharacter));
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(canon(&deep(DEPTH_MAX)).is_ok());
    assert_eq!(canon(&deep(100_000)), Err(Fault::TooDeep));
    assert_eq!(parse(&deep(100_000)), Err(Fault::TooDeep));
}

#[test]
fn order_is_that_of_postgresql() {
    let ascending = [
        "[]",
        "null",
        "\"\"",
        "\"a\"",
        "\"b\"",
        "-10",
        "-9.5",
        "-1.25",
        "-1",
        "-0.2",
        "-0.01",
        "0",
        "0.009",
        "0.01",
        "0.1",
        "9",
        "10",
        "10.5",
        "false",
        "true",
        "[1]",
        "[2]",
        "[\"z\", 1]",
        "{}",
        "{\"a\": 1}",
        "{\"a\": 2}",
        "{\"b\": 0}",
        "{\"a\": 0, \"b\": 0}",
    ];
    for (at, left) in ascending.iter().enumerate() {
        for (other, right) in ascending.iter().enumerate() {
            assert_eq!(compare(&tree(left), &tree(right)), at.cmp(&other), "{left} {right}");
            assert_eq!(key(left).cmp(&key(right)), at.cmp(&other), "{left} {right}");
        }
    }
    let (written, otherwise) = ("[1.0, -120.00, {\"a\": 0.10}]", "[1, -120, {\"a\": 0.1}]");
    assert_eq!(compare(&tree(written), &tree(otherwise)), Ordering::Equal);
    assert_eq!(key(written), key(otherwise));
}

fn key(text: &str) -> Vec<u8> {
    let mut key = vec![];
    append_key(&tree(text), &mut key);
    key
}

#[test]
fn a_short_text_stands_for_no_endless_one() {
    let zeros = format!("[{}1]", "1e1000,".repeat(BYTES_MAX / 1000 + 1));
    assert_eq!(canon(&zeros), Err(Fault::TooLarge));
}

#[test]
fn steps_lead_to_values() {
    let document = canon(r#"{"a":{"b":[1,{"c":"x,]}"},null]},"n":null,"\"q":7}"#).expect("JSON");
    let at = |steps: &[Step]| get(&document, steps).map(str::to_string);
    assert_eq!(at(&[Step::Key("a"), Step::Key("b"), Step::Index(1)]).as_deref(), Some(r#"{"c": "x,]}"}"#));
    assert_eq!(at(&[Step::Either("a"), Step::Either("b"), Step::Either("-3")]).as_deref(), Some("1"));
    assert_eq!(at(&[Step::Key("\"q")]).as_deref(), Some("7"));
    assert_eq!(at(&[Step::Key("n")]).and_then(|v| scalar_text(&v).map(|t| t.to_string())), None);
    assert_eq!(at(&[Step::Key("zz")]), None);
    assert_eq!(at(&[Step::Index(0)]), None);
    assert_eq!(get("\"s\"", &[Step::Index(0)]), Some("\"s\""));
    assert_eq!(scalar_text("\"a\\\"b\"").as_deref(), Some("a\"b"));
}

#[test]
fn containment_and_keys() {
    for (whole, part, expected) in [
        (r#"{"a":1,"b":[1,2]}"#, r#"{"b":[2]}"#, true),
        (r#"{"a":1.0}"#, r#"{"a":1}"#, true),
        (r#"["foo","bar"]"#, r#""bar""#, true),
        (r#""bar""#, r#"["bar"]"#, false),
        ("[1,[2,3]]", "[[3]]", true),
        ("[1,2]", "[2,2,1]", true),
        (r#"{"a":{"b":1}}"#, r#"{"b":1}"#, false),
        ("[]", "{}", false),
    ] {
        assert_eq!(contains(&tree(whole), &tree(part)), expected, "{whole} {part}");
    }
    assert!(
        has_key(&tree(r#"{"a":1}"#), "a") && has_key(&tree(r#"["a"]"#), "a") && has_key(&tree(r#""a""#), "a")
    );
    assert!(!has_key(&tree(r#"{"b":"a"}"#), "a") && !has_key(&tree("[1]"), "1"));
}

#[test]
fn values_of_others() {
    let joined = |l: &str, r: &str| concat(tree(l), tree(r)).to_text();
    assert_eq!(joined(r#"{"a":1,"c":0}"#, r#"{"b":2,"a":3}"#), r#"{"a": 3, "b": 2, "c": 0}"#);
    assert_eq!(joined("[1]", "[2]"), "[1, 2]");
    assert_eq!(joined("1", r#"{"a":1}"#), r#"[1, {"a": 1}]"#);
    assert_eq!(delete(tree(r#"{"a":1,"b":2}"#), &["a"]).map(|v| v.to_text()).as_deref(), Ok(r#"{"b": 2}"#));
    assert_eq!(delete(tree("1"), &["a"]), Err(EditFault::Scalar));
    assert_eq!(delete_index(tree("[1,2,3]"), -1).map(|v| v.to_text()).as_deref(), Ok("[1, 2]"));
    assert_eq!(delete_index(tree("{}"), 0), Err(EditFault::IndexInObject));
    let path = [Some("a"), Some("1"), Some("b")];
    assert_eq!(
        delete_path(tree(r#"{"a":[1,{"b":2}]}"#), &path).map(|v| v.to_text()).as_deref(),
        Ok(r#"{"a": [1, {}]}"#)
    );
    assert_eq!(delete_path(tree("[]"), &[Some("x")]).map(|v| v.to_text()).as_deref(), Ok("[]"));
    assert_eq!(delete_path(tree("[1]"), &[Some("x")]), Err(EditFault::NotAnIndex(1, "x".into())));
    let set = |document: &str, path: &[Option<&str>], create| {
        set_path(tree(document), path, &tree("9"), create).map(|v| v.to_text())
    };
    assert_eq!(set(r#"{"a":1}"#, &[Some("b")], true).as_deref(), Ok(r#"{"a": 1, "b": 9}"#));
    assert_eq!(set(r#"{"a":1}"#, &[Some("b")], false).as_deref(), Ok(r#"{"a": 1}"#));
    assert_eq!(set("[1,2]", &[Some("5")], true).as_deref(), Ok("[1, 2, 9]"));
    assert_eq!(set("[1,2]", &[Some("-5")], true).as_deref(), Ok("[9, 1, 2]"));
    assert_eq!(set(r#"{"a":1}"#, &[Some("b"), Some("c")], true).as_deref(), Ok(r#"{"a": 1}"#));
    assert_eq!(set("1", &[Some("b")], true), Err(EditFault::Scalar));
    assert_eq!(
        pretty(&tree(r#"{"a":[1,{}],"c":[]}"#)),
        "{\n    \"a\": [\n        1,\n        {\n        }\n    ],\n    \"c\": [\n    ]\n}"
    );
}
