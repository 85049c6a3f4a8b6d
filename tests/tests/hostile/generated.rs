//! Statements of a seeded generator, half of them valid, half with a mistake: bytes changed, pieces doubled, swapped or
//! omitted. `HOSTILE_STATEMENTS` sets their number.

use super::watch::Watched;

/// Default number of statements.
const STATEMENTS: u64 = 50_000;

/// Clients at a time.
const CLIENTS: u64 = 4;

/// A small generator of numbers: the same for a seed on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len())]
    }

    fn number(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self
                .of(&[
                    "x",
                    "id",
                    "n",
                    "f",
                    "1",
                    "0",
                    "-7",
                    "2.5",
                    "1e10",
                    "NULL",
                    "9223372036854775807",
                    "'3'",
                ])
                .into();
        }
        let (a, b) = (self.number(depth - 1), self.number(depth - 1));
        match self.below(12) {
            0..=4 => format!("({a} {} {b})", self.of(&["+", "-", "*", "/", "%"])),
            5 => format!(
                "{}({a})",
                self.of(&["abs", "round", "ceil", "floor", "sqrt", "ln", "sign", "length"])
            ),
            6 => format!("coalesce({a}, {b})"),
            7 => format!("CASE WHEN {} THEN {a} ELSE {b} END", self.truth(depth - 1)),
            8 => format!(
                "CAST({a} AS {})",
                self.of(&["INT", "BIGINT", "NUMERIC(10,2)", "REAL", "DOUBLE PRECISION", "TEXT"])
            ),
            9 => format!("length({})", self.text(depth - 1)),
            10 => format!("(SELECT max({a}) FROM t)"),
            _ => format!("nullif({a}, {b})"),
        }
    }

    fn text(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.of(&["s", "'a'", "''", "'ü€😀'", "NULL", "s || 'x'"]).into();
        }
        let a = self.text(depth - 1);
        let number = self.of(&["0", "-1", "3", "x", "100000", "2147483647", "1000000000"]);
        match self.below(8) {
            0 => format!("repeat({a}, {number})"),
            1 => format!("lpad({a}, {number}, 'yz')"),
            2 => format!("substr({a}, {number}, 5)"),
            3 => format!("replace({a}, 'a', {})", self.text(depth - 1)),
            4 => format!("({a} || {})", self.text(depth - 1)),
            5 => format!("{}({a})", self.of(&["upper", "lower", "trim", "reverse", "md5", "initcap"])),
            6 => format!("left({a}, {number})"),
            _ => format!("CAST({} AS TEXT)", self.number(depth - 1)),
        }
    }

    fn truth(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self
                .of(&["x > 0", "s IS NULL", "true", "id = 1", "s LIKE '%e%'", "at > '2024-01-01'"])
                .into();
        }
        match self.below(6) {
            0 => format!("({} AND {})", self.truth(depth - 1), self.truth(depth - 1)),
            1 => format!("({} OR NOT {})", self.truth(depth - 1), self.truth(depth - 1)),
            2 => format!(
                "{} {} {}",
                self.number(depth - 1),
                self.of(&["=", "<", ">=", "<>"]),
                self.number(depth - 1)
            ),
            3 => format!("{} IN ({}, {})", self.number(depth - 1), self.number(0), self.number(0)),
            4 => format!("EXISTS (SELECT 1 FROM t u WHERE u.id = t.id AND {})", self.truth(depth - 1)),
            _ => format!("{} IS NOT NULL", self.text(depth - 1)),
        }
    }

    /// A valid statement, which may still fail when executed.
    fn statement(&mut self) -> String {
        let depth = self.below(4) as u32;
        let (number, text, truth) = (self.number(depth), self.text(depth), self.truth(depth));
        match self.below(9) {
            0 => format!("SELECT {number}, {text} FROM t WHERE {truth}"),
            1 => {
                format!("SELECT s, sum({number}), count(*) FROM t GROUP BY s HAVING count(*) > 0 ORDER BY 1")
            }
            2 => format!("SELECT {number} AS a FROM t ORDER BY a LIMIT 2"),
            3 => format!("WITH q AS (SELECT {number} AS a, {text} AS b FROM t) SELECT max(a), min(b) FROM q"),
            4 => format!(
                "SELECT a.id, {} FROM t a LEFT JOIN t b ON a.id = b.x",
                self.of(&["b.s", "a.x + b.x", "count(*) OVER ()"])
            ),
            5 => format!("SELECT {number} FROM t UNION SELECT {number} FROM t WHERE {truth}"),
            6 => format!("SELECT row_number() OVER (PARTITION BY s ORDER BY {number}) FROM t"),
            7 => format!("EXPLAIN SELECT {text} FROM t WHERE {truth}"),
            _ => format!("UPDATE t SET x = x WHERE {truth} AND false"),
        }
    }

    /// A statement with a mistake.
    fn broken(&mut self) -> String {
        let mut text: Vec<char> = self.statement().chars().collect();
        for _ in 0..=self.below(3) {
            let (at, len) = (self.below(text.len()), 1 + self.below(12));
            let end = (at + len).min(text.len());
            match self.below(5) {
                0 => drop(text.drain(at..end)),
                1 => {
                    let piece: Vec<char> = text[at..end].to_vec();
                    let times = 1 + self.below(200);
                    (0..times).for_each(|_| text.splice(at..at, piece.iter().copied()).for_each(drop));
                }
                2 => text[at] = char::from_u32(self.next() as u32 % 0x250).unwrap_or('?'),
                3 => text.insert(
                    at,
                    self.of(&["(", ")", "'", "\"", ";", "--", "/*", "$$", "[", "::", "\\"])
                        .chars()
                        .next()
                        .unwrap_or('('),
                ),
                _ => {
                    let other = self.below(text.len());
                    text.swap(at, other);
                }
            }
            if text.is_empty() {
                text.push('x');
            }
        }
        text.into_iter().filter(|c| *c != '\0').collect()
    }
}

#[test]
fn generated_statements_do_no_harm() {
    let wanted = std::env::var("HOSTILE_STATEMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(STATEMENTS);
    let watched = Watched::start("hostile-generated");
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let watched = &watched;
            scope.spawn(move || {
                let mut chance = Chance(number + 1);
                let mut client = watched.client();
                client.batch_execute("SET statement_timeout = '10s'").expect("a setting");
                for n in 0..wanted / CLIENTS {
                    let sql = if n % 2 == 0 { chance.statement() } else { chance.broken() };
                    if let Err(error) = client.simple_query(&sql) {
                        let code = error.code().map(|code| code.code().to_string());
                        let code = code.unwrap_or_else(|| panic!("{sql}\nended the connection: {error}"));
                        assert!(code != "XX000", "{sql}\n{error:?}");
                    }
                }
            });
        }
    });
    watched.end();
}
