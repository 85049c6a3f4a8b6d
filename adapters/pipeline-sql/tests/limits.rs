//! The cost of parsing: limits that are checked before any recursion, and forms that would take the parser exponential
//! time.

use kernel::{Error, SqlState};
use tidemark_pipeline_sql::{STATEMENTS_MAX, Statement, TOKENS_MAX, parse, parsed_bytes_at_most};

/// Parses with the stack that the server gives its statements.
fn parsed(sql: impl Into<String>) -> Result<Vec<Statement>, Error> {
    let sql = sql.into();
    let with_stack = std::thread::Builder::new().stack_size(512 << 20);
    with_stack.spawn(move || parse(&sql)).unwrap().join().expect("nothing overflows")
}

fn refused(sql: impl Into<String>) -> SqlState {
    parsed(sql).expect_err("it is refused").sqlstate
}

fn nested(open: &str, inner: &str, close: &str, times: usize) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn what_people_and_programs_write_is_parsed() {
    for sql in [
        format!("SELECT {}", vec!["x"; 5_000].join("+")),
        format!("SELECT {}", nested("(", "1", ")", 100_000)),
        format!("SELECT {}", nested("(1+", "1", ")", 1_000)),
        format!("SELECT {}", nested("abs(", "1", ")", 500)),
        format!("SELECT {}", nested("make_array(", "1", ")", 500)),
        format!("SELECT {}", nested("(SELECT ", "1", ")", 300)),
        format!("SELECT * FROM {}", nested("(SELECT * FROM ", "t", ") x", 300)),
        format!("SELECT {}", nested("CASE WHEN a THEN ", "1", " END", 300)),
        format!("SELECT 1 WHERE 1 IN ({})", vec!["7"; 100_000].join(", ")),
        format!("SELECT {}", nested("NOT ", "true", "", 500)),
        format!("SELECT '{}'", "a,b ".repeat(2 << 20)),
    ] {
        let shown: String = sql.chars().take(60).collect();
        assert!(parsed(sql).is_ok(), "{shown}");
    }
}

#[test]
fn what_cannot_be_walked_is_refused_before_it_is_parsed() {
    assert_eq!(refused(format!("SELECT {}", vec!["x"; 30_000].join("+"))), "54001");
    assert_eq!(refused(format!("SELECT {}", nested("(1+", "1", ")", 50_000))), "54001");
    assert_eq!(refused(format!("SELECT {}", nested("- ", "1", "", 50_000))), "54001");
    assert_eq!(refused(format!("SELECT {}", nested("CASE WHEN a THEN ", "1", " END", 50_000))), "54001");
    assert_eq!(refused(format!("SELECT {}", "[".repeat(1_000_000))), "54001");
}

/// At each start of the database, threads with small stacks parse the definitions again.
#[test]
fn what_is_kept_is_limited_more() {
    let table = |default: &str| format!("CREATE TABLE t (a BIGINT DEFAULT {default})");
    let small = |sql: String| {
        let spawned = std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(move || parse(&sql).map(|statements| format!("{}", statements[0])));
        spawned.unwrap().join().expect("nothing overflows")
    };
    assert!(small(table(&vec!["1"; 400].join("+"))).is_ok());
    assert!(small(table(&nested("(1+", "1", ")", 40))).is_ok());
    assert_eq!(small(table(&vec!["1"; 800].join("+"))).unwrap_err().sqlstate, "54001");
    assert_eq!(small(table(&nested("(1+", "1", ")", 400))).unwrap_err().sqlstate, "54001");
}

#[test]
fn forms_that_double_the_parsers_work_a_level_end() {
    // The parser tries a function's arguments, POSITION, CAST and tables in parentheses in two ways each.
    assert!(parsed(format!("SELECT {}", nested("f(a, ", "1", ")", 60))).is_ok());
    assert_eq!(refused(format!("SELECT {}", nested("position(", "1", ")", 60))), "54001");
    assert!(parsed(format!("SELECT {}", nested("cast(", "1 as", ")", 60))).is_err());
    assert!(parsed(format!("SELECT * FROM {}", nested("((SELECT * FROM ", "t", ") x JOIN t)", 60))).is_err());
}

#[test]
fn the_number_of_statements_and_tokens_is_limited() {
    assert_eq!(parsed("SELECT 1;".repeat(STATEMENTS_MAX)).map(|s| s.len()), Ok(STATEMENTS_MAX));
    assert_eq!(refused("SELECT 1;".repeat(STATEMENTS_MAX + 1)), "54000");
    assert_eq!(refused(format!("SELECT {}", "1,".repeat(TOKENS_MAX / 2))), "54000");
    // No comment, quote or tag hides tokens from the count.
    for before in ["-- it's\n", "/* ' */", "/* /* */ ' */", "E'\\'' ", "\"'\" ", "$a$ ' $a$ ", "'it''s' "] {
        assert_eq!(refused(format!("{before}{}", "1,".repeat(TOKENS_MAX / 2 + 9))), "54000", "{before}");
    }
}

#[test]
fn memory_is_known_before_it_is_taken() {
    let one = parsed_bytes_at_most("SELECT 1");
    let many = parsed_bytes_at_most(&"SELECT 1;".repeat(1_000));
    assert!(one < 8 << 10 && many > 1_000 * 4_000, "{one}, {many}");
    assert!(parsed_bytes_at_most(&format!("SELECT '{}'", "x, ".repeat(1 << 20))) < 4 << 20);
}

#[test]
fn parentheses_that_repeat_each_other_mean_what_two_mean() {
    let same = |a: &str, b: &str| assert_eq!(parsed(a), parsed(b), "{a}");
    same("SELECT ((((1))))", "SELECT ((1))");
    same("SELECT f((((1, 2))))", "SELECT f((1, 2))");
    same("SELECT (((1) + (2)))", "SELECT (((1) + (2)))");
    same("SELECT 1 IN ((((SELECT 2))))", "SELECT 1 IN ((SELECT 2))");
    same("SELECT (((((a)) + 1)))", "SELECT ((((a)) + 1))");
    assert!(parsed("SELECT ((((1)))").is_err() && parsed("SELECT (((1))))").is_err());
}
