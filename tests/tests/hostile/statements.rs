//! Families of statements that are known to harm databases of this kind: each is executed or fails with an appropriate
//! SQLSTATE.

use std::time::Duration;

use postgres::SimpleQueryMessage;
use tests::eventually;
use tests::server::said;

use super::watch::Watched;

fn nested(open: &str, inner: &str, close: &str, times: usize) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

fn chained_tables(count: usize, next: &str) -> String {
    let mut with = "WITH c0 AS (SELECT 1 AS x)".to_string();
    for i in 1..count {
        with.push_str(&format!(", c{i} AS ({})", next.replace("PREV", &format!("c{}", i - 1))));
    }
    format!("{with} SELECT count(*) FROM c{}", count - 1)
}

/// Executed, or failed with one of these.
fn families() -> Vec<(&'static str, String, &'static [&'static str])> {
    let sum = |term: &str, count: usize, tail: &str| format!("SELECT {}{tail}", vec![term; count].join("+"));
    let deep: &[&str] = &["54001", "57014"];
    let memory: &[&str] = &["54000", "53200", "57014"];
    let big: &[&str] = &["54001", "54011", "54000", "53200", "57014"];
    let mut all = vec![
        ("a list of 1,665 columns", format!("SELECT {}", vec!["1"; 1_665].join(",")), &["54011"] as &[&str]),
        ("a list of 20,000 columns", format!("SELECT {}", vec!["x"; 20_000].join(",")), big),
        (
            "the same inside",
            format!("SELECT count(*) FROM (SELECT {} FROM t) q", vec!["x"; 20_000].join(",")),
            big,
        ),
        (
            "20,000 columns of a table",
            format!(
                "CREATE TABLE w ({})",
                (0..20_000).map(|i| format!("c{i} INT")).collect::<Vec<_>>().join(",")
            ),
            &["54011", "54000", "42P16", "0A000"],
        ),
        ("30,000 terms", sum("x", 30_000, " FROM t"), deep),
        ("100,000 nested parentheses", format!("SELECT {}", nested("(1+", "1", ")", 100_000)), deep),
        ("100,000 signs", format!("SELECT {}1", "- ".repeat(100_000)), deep),
        ("open brackets", format!("SELECT {}", "[".repeat(1_000_000)), &["54001", "42601"]),
        ("open parentheses", format!("SELECT {}", "(".repeat(1_000_000)), &["54001", "42601"]),
        (
            "a default of 800 terms",
            format!("CREATE TABLE d (a BIGINT DEFAULT {})", vec!["1"; 800].join("+")),
            deep,
        ),
        ("1,000 common tables in a chain", chained_tables(1_000, "SELECT x FROM PREV"), deep),
        ("common tables that double", chained_tables(40, "SELECT a.x FROM PREV a, PREV b"), deep),
        ("a value of 2 GB", "SELECT length(repeat('x', 2000000000))".into(), memory),
        (
            "values of 300 MB",
            "SELECT max(length(repeat(x::text, 300000000))) FROM generate_series(1,1000) g(x)".into(),
            memory,
        ),
        (
            "padding of 300 MB",
            "SELECT max(length(lpad(x::text, 300000000, 'y'))) FROM generate_series(1,1000) g(x)".into(),
            memory,
        ),
        ("padding of 2 GB", "SELECT length(rpad('x', 2000000000, 'y'))".into(), memory),
        (
            "values that double",
            format!("SELECT length({})", nested("replace(", "repeat('x', 1000)", ", 'x', 'xxxxxxxxxx')", 7)),
            memory,
        ),
        (
            "an array of a billion",
            "SELECT array_length(array_fill(1, ARRAY[1000000000]), 1)".into(),
            &["54000", "53200", "57014", "42883", "0A000"],
        ),
        (
            "a series of a trillion in an array",
            "SELECT count(*) FROM (SELECT array_agg(g) FROM generate_series(1, 1000000000000) g(g)) q".into(),
            &["54000", "53200", "57014", "0A000"],
        ),
        (
            "a text of a trillion parts",
            "SELECT length(string_agg('xxxxxxxxxxxxxxxxxxxxxxxx', ',')) FROM generate_series(1, 1000000000)"
                .into(),
            memory,
        ),
        (
            "an IN list of a million",
            format!(
                "SELECT count(*) FROM t WHERE id IN ({})",
                (0..1_000_000).map(|i| i.to_string()).collect::<Vec<_>>().join(",")
            ),
            big,
        ),
        ("1.8 million statements", "SELECT 1;".repeat(1_800_000), &["54000", "53200"]),
        ("16 MB of semicolons", ";".repeat(16 << 20), &["54000", "53200"]),
        (
            "a join of everything with itself",
            format!(
                "SELECT count(*) FROM {}",
                (0..30).map(|i| format!("t t{i}")).collect::<Vec<_>>().join(", ")
            ),
            &["57014", "54001", "53200"],
        ),
        (
            "joins of 600 tables",
            format!(
                "SELECT 1 FROM t t0 {}",
                (1..1_100).map(|i| format!("JOIN t t{i} USING (id)")).collect::<Vec<_>>().join(" ")
            ),
            deep,
        ),
        ("100 queries in one another", format!("SELECT {}", nested("(SELECT ", "7", ")", 100)), deep),
        ("300 functions in one another", format!("SELECT {}", nested("abs(", "x", ")", 300)), deep),
        ("2,000 queries in a union", vec!["SELECT 1"; 2_000].join(" UNION ALL "), deep),
    ];
    for times in [20, 60] {
        for (open, close) in [
            ("make_array(", ")"),
            ("position(", ")"),
            ("coalesce(NULL, ", ")"),
            ("CASE WHEN x=1 THEN 2 ELSE ", " END"),
            ("abs(", ")"),
        ] {
            let from = if open.starts_with("CASE") { " FROM t" } else { "" };
            let sql = format!("SELECT {}{from}", nested(open, "1", close, times));
            all.push((
                "functions in one another",
                sql,
                &["54001", "57014", "42601", "42883", "0A000", "42804", "22003"],
            ));
        }
    }
    all
}

#[test]
fn listed_statements_are_carried_out_or_refused() {
    let watched = Watched::start("hostile-statements");
    let mut client = watched.client();
    client.batch_execute("SET statement_timeout = '20s'").expect("a setting");
    for (name, sql, codes) in families() {
        if let Err(error) = client.simple_query(&sql) {
            let code = error.code().map(|code| code.code().to_string()).unwrap_or_default();
            assert!(codes.contains(&code.as_str()), "{name}: {}", said(&error));
        }
    }
    watched.end();
}

/// Long statements that people and programs do write.
#[test]
fn long_statements_of_honest_people_work() {
    let watched = Watched::start("hostile-honest");
    let mut client = watched.client();
    let mut value = |sql: String| {
        let shown: String = sql.chars().take(60).collect();
        let found = client.simple_query(&sql).unwrap_or_else(|e| panic!("{shown}: {}", said(&e)));
        let row = found.iter().find_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_string()),
            _ => None,
        });
        row.unwrap_or_else(|| panic!("{shown}: no row"))
    };
    let list = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(value(format!("SELECT {}", nested("(", "7", ")", 1_000))), "7");
    assert_eq!(value(format!("SELECT {}", nested("(SELECT ", "7", ")", 10))), "7");
    assert_eq!(value(format!("SELECT count(*) FROM {}", nested("(SELECT * FROM ", "t", ") q", 100))), "3");
    assert_eq!(value(format!("SELECT count(*) FROM t WHERE id IN ({})", list(100_000))), "3");
    assert_eq!(value(format!("SELECT {}", vec!["1"; 5_000].join("+"))), "5000");
    assert_eq!(value(format!("SELECT {} FROM t WHERE id = 1", vec!["x"; 5_000].join(" + "))), "5000");
    assert_eq!(value(format!("SELECT {}", nested("(1 + ", "1", ")", 1_000))), "1001");
    assert_eq!(value(format!("SELECT {}", nested("(", "1", " + 1)", 1_000))), "1001");
    assert_eq!(value(format!("SELECT length({})", vec!["'ab'"; 5_000].join(" || "))), "10000");
    assert_eq!(value(format!("SELECT 7{}", "::bigint::int".repeat(100))), "7");
    assert_eq!(value(format!("SELECT count(*) FROM t WHERE {}", vec!["x = 1"; 5_000].join(" OR "))), "1");
    assert_eq!(value(format!("SELECT count(*) FROM t WHERE {}", vec!["x <> 5"; 1_000].join(" AND "))), "2");
    assert_eq!(value(chained_tables(50, "SELECT x FROM PREV")), "1");
    watched.end();
}

/// A statement that runs or is planned without end is ended by a cancel request, by a timeout, and by the disconnection
/// of its client.
#[test]
fn statements_end_when_they_are_told() {
    let watched = Watched::start("hostile-cancel");
    let endless = [
        "SELECT count(*) FROM generate_series(1, 1000000000000)".to_string(),
        "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b".to_string(),
        format!("SELECT {}", vec!["x"; 2_000].join("+x*")),
        format!(
            "SELECT count(*) FROM t t0 {}",
            (1..60).map(|i| format!("JOIN t t{i} ON t{i}.x = t0.x")).collect::<Vec<_>>().join(" ")
        ),
    ];
    for sql in &endless {
        let mut client = watched.client();
        client.batch_execute("SET statement_timeout = 500").expect("a setting");
        if let Err(error) = client.simple_query(sql) {
            assert!(
                ["57014", "42703", "54001"].contains(&error.code().map_or("", |c| c.code())),
                "{}",
                said(&error)
            );
        }
        let mut client = watched.client();
        let cancel = client.cancel_token();
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            cancel.cancel_query(postgres::NoTls).expect("a cancel request is taken");
        });
        let _ = client.simple_query(sql);
        canceller.join().expect("it is sent");
        assert!(client.simple_query("SELECT 1").is_ok() || client.simple_query("SELECT 1").is_ok());
    }
    eventually("abandoned statements are gone", || {
        (watched.server.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'") == "1")
            .then_some(())
    });
    watched.end();
}
