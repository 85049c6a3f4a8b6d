//! Tables of statements: the parsed forms, and the errors with SQLSTATE and text.

use kernel::TextPosition;
use tidemark_pipeline_sql::sqlparser::ast::{Expr, visit_expressions_mut};
use tidemark_pipeline_sql::{Credential, Statement, alter_pipeline, parse, parse_expression, parse_pipeline};

fn one(sql: &str) -> Statement {
    let mut statements = parse(sql).unwrap_or_else(|e| panic!("{sql}\n{e}"));
    assert_eq!(statements.len(), 1, "{sql}");
    statements.pop().unwrap()
}

/// Each statement and its canonical text; the text parses back to the same statement.
#[test]
fn canonical_texts() {
    for (sql, canonical) in [
        (
            "create table Accounts (name text, balance bigint, primary key (name), shard key (name))",
            "CREATE TABLE accounts (name text, balance bigint, PRIMARY KEY (name), SHARD KEY (name))",
        ),
        (
            "CREATE TABLE IF NOT EXISTS public.\"T 1\" (a int primary key, b varchar(20) not null default 'x', \
             c numeric(10,2) default 0 not null, sort key (b, a asc), shard key ())",
            "CREATE TABLE IF NOT EXISTS \"T 1\" (a integer, b character varying(20) NOT NULL DEFAULT 'x', \
             c numeric(10,2) NOT NULL DEFAULT 0, PRIMARY KEY (a), SHARD KEY (), SORT KEY (b, a))",
        ),
        (
            "create table t (a bool, b int2, c int4, d int8, e float4, f float8, g decimal, h varchar, i bytea, \
             j date, k timestamp, l timestamptz, m json, n jsonb, o uuid, p smallint, q real, r double precision, \
             s boolean, t timestamp with time zone, u character varying(4), v numeric(5), key text, sort text, \
             shard varchar(3))",
            "CREATE TABLE t (a boolean, b smallint, c integer, d bigint, e real, f double precision, \
             g numeric(38,10), h character varying, i bytea, j date, k timestamp without time zone, l timestamp with time zone, \
             m jsonb, n jsonb, o uuid, p smallint, q real, r double precision, s boolean, \
             t timestamp with time zone, u character varying(4), v numeric(5,0), \"key\" text, \"sort\" text, \"shard\" character varying(3))",
        ),
        (
            "create table t (constraint pk primary key (a), a bigint constraint nn not null)",
            "CREATE TABLE t (a bigint NOT NULL, PRIMARY KEY (a))",
        ),
        ("drop table if exists public.t", "DROP TABLE IF EXISTS t"),
        ("drop table t restrict", "DROP TABLE t"),
        ("drop table a, \"B\", public.c, A", "DROP TABLE a, \"B\", c"),
        ("truncate table t", "TRUNCATE t"),
        ("truncate a, b", "TRUNCATE a, b"),
        ("drop pipeline if exists p", "DROP PIPELINE IF EXISTS p"),
        ("start pipeline if not running p", "START PIPELINE IF NOT RUNNING p"),
        ("START PIPELINE \"P\"", "START PIPELINE \"P\""),
        ("start all pipelines", "START ALL PIPELINES"),
        ("stop pipeline if running p", "STOP PIPELINE IF RUNNING p"),
        ("stop all pipelines", "STOP ALL PIPELINES"),
        ("alter pipeline p set offsets earliest", "ALTER PIPELINE p SET OFFSETS EARLIEST"),
        ("alter pipeline p set offsets latest", "ALTER PIPELINE p SET OFFSETS LATEST"),
        (
            "alter pipeline p set offsets '{\"1\": 7, \"0\": 42}'",
            "ALTER PIPELINE p SET OFFSETS '{\"0\":42,\"1\":7}'",
        ),
        ("show pipelines", "SHOW PIPELINES"),
        ("show create pipeline p extended", "SHOW CREATE PIPELINE p EXTENDED"),
        ("select a from t where b = $1", "SELECT a FROM t WHERE b = $1"),
        (
            "insert into t (a, b) values (1, 'x') on conflict (a) do update set b = excluded.b where t.b < 'z'",
            "INSERT INTO t (a, b) VALUES (1, 'x') ON CONFLICT(a) DO UPDATE SET b = excluded.b WHERE t.b < 'z'",
        ),
        (
            "insert into t select * from u on duplicate key update b = b + values(b)",
            "INSERT INTO t SELECT * FROM u ON DUPLICATE KEY UPDATE b = b + values(b)",
        ),
        ("start transaction", "START TRANSACTION"),
        ("begin", "BEGIN"),
        ("copy t (a, b) from stdin with (format csv)", "COPY t (a, b) FROM STDIN (FORMAT csv)"),
        (
            "create pipeline payments as load data kafka 'h:9092/payments' into table accounts \
             format json (name <- name, balance <- amount) on duplicate key update balance = balance + values(balance)",
            "CREATE PIPELINE payments AS LOAD DATA KAFKA 'h:9092/payments' INTO TABLE accounts \
             FORMAT JSON (name <- \"name\", balance <- \"amount\") \
             ON DUPLICATE KEY UPDATE balance = balance + values(balance)",
        ),
        (
            "create or replace pipeline p as load data kafka 'B1,b2:9093/t.x_y-1' \
             config '{\"security.protocol\": \"SASL_SSL\", \"fetch.wait.max.ms\": 5}' batch_interval 100 \
             max_batch_bytes 65536 max_errors 10 replace into table public.t \
             format json (a <- %::userId::\"deep key\" default -1, @raw <- %, @v<-v default null, c <- % ::x default 'it''s') \
             set b = @v::numeric / 100, d = now() where @v is not null and a > 3",
            "CREATE OR REPLACE PIPELINE p AS LOAD DATA KAFKA 'B1:9092,b2:9093/t.x_y-1' \
             CONFIG '{\"fetch.wait.max.ms\":\"5\",\"security.protocol\":\"SASL_SSL\"}' BATCH_INTERVAL 100 \
             MAX_BATCH_BYTES 65536 MAX_ERRORS 10 REPLACE INTO TABLE t \
             FORMAT JSON (a <- \"userId\"::\"deep key\" DEFAULT -1, @raw <- %, @v <- \"v\" DEFAULT NULL, \
             c <- \"x\" DEFAULT 'it''s') \
             SET b = @v::NUMERIC / 100, d = now() WHERE @v IS NOT NULL AND a > 3",
        ),
        (
            "create pipeline p as load data kafka '[::1]:19092/t' stop_on_error on into table t format csv \
             fields terminated by ',' optionally enclosed by '\"' lines terminated by '\\r\\n' ignore 1 lines \
             (a, @b, c) set d = @b null defined by '\\N' optionally enclosed",
            "CREATE PIPELINE p AS LOAD DATA KAFKA '[::1]:19092/t' STOP_ON_ERROR ON INTO TABLE t \
             FORMAT CSV FIELDS TERMINATED BY ',' ENCLOSED BY '\"' ESCAPED BY '\\\\' LINES STARTING BY '' \
             TERMINATED BY '\\r\\n' IGNORE 1 LINES NULL DEFINED BY '\\\\N' OPTIONALLY ENCLOSED (a, @b, c) SET d = @b",
        ),
        (
            "create pipeline p as load data kafka 'h/t' years 1 to 9999 on tombstone ignore into table t \
             format json (at <- ts default 0 unit 'us', d <- d unit 'd')",
            "CREATE PIPELINE p AS LOAD DATA KAFKA 'h:9092/t' YEARS 1 TO 9999 ON TOMBSTONE IGNORE INTO TABLE t \
             FORMAT JSON (at <- \"ts\" UNIT 'us' DEFAULT 0, d <- \"d\" UNIT 'd')",
        ),
        (
            "alter pipeline p set on tombstone error, years 1 to 2",
            "ALTER PIPELINE p SET YEARS 1 TO 2 ON TOMBSTONE ERROR",
        ),
        ("clear pipeline errors", "CLEAR PIPELINE ERRORS"),
        ("clear pipeline errors for P", "CLEAR PIPELINE ERRORS FOR p"),
        (
            "alter pipeline p set batch_interval 5, max_errors 3 where a > 1, into table u",
            "ALTER PIPELINE p SET BATCH_INTERVAL 5 MAX_ERRORS 3 INTO TABLE u WHERE a > 1",
        ),
        (
            "alter pipeline p set amount = @cents::numeric / 100, note = 'x' on duplicate key update n = n + 1",
            "ALTER PIPELINE p SET SET amount = @cents::NUMERIC / 100, note = 'x' ON DUPLICATE KEY UPDATE n = n + 1",
        ),
        (
            "alter pipeline p set load data kafka 'h/u' config '{}' stop_on_error off format json (a <- b::c)",
            "ALTER PIPELINE p SET LOAD DATA KAFKA 'h:9092/u' CONFIG '{}' STOP_ON_ERROR OFF \
             FORMAT JSON (a <- \"b\"::\"c\")",
        ),
        (
            "create pipeline p as load data kafka 'h/t' stop_on_error off skip duplicate key errors into table t format csv",
            "CREATE PIPELINE p AS LOAD DATA KAFKA 'h:9092/t' SKIP DUPLICATE KEY ERRORS INTO TABLE t \
             FORMAT CSV FIELDS TERMINATED BY '\\t' ENCLOSED BY '' ESCAPED BY '\\\\' LINES STARTING BY '' \
             TERMINATED BY '\\n'",
        ),
    ] {
        let statement = one(sql);
        assert_eq!(statement.to_string(), canonical);
        assert_eq!(one(canonical), statement, "{canonical}");
    }
}

#[test]
fn several_statements_and_none() {
    assert_eq!(parse("").unwrap(), vec![]);
    assert_eq!(parse(" ; -- nothing\n ; /* ; */ ").unwrap(), vec![]);
    assert_eq!(parse("begin; insert into t values (';'); commit;").unwrap().len(), 3);
    assert_eq!(parse("start pipeline a; start pipeline b").unwrap().len(), 2);
}

const P: &str = "create pipeline p as load data kafka 'h/t'";

/// Each text, its SQLSTATE, and words that its message must contain.
#[test]
fn refusals() {
    let pipeline = |rest: &str| format!("{P} {rest}");
    let json = "into table t format json (a <- a)";
    for (sql, sqlstate, words) in [
        ("selec 1".into(), "42601", "near \"selec\""),
        ("select 1 from".into(), "42601", "end of input"),
        ("select 'abc".into(), "42601", "Unterminated"),
        ("select 1 2".into(), "42601", "end of the statement"),
        ("create table t".into(), "42601", "\"(\""),
        ("create table t (a".into(), "42601", "end of input"),
        ("create table t (a bigint".into(), "42601", "\",\" or \")\""),
        ("create table t (a nonsense)".into(), "42704", "type \"nonsense\" does not exist"),
        ("create table t (a serial)".into(), "0A000", "sequences"),
        ("create table t (a int[])".into(), "0A000", "jsonb"),
        ("create table t (a interval)".into(), "0A000", "INTERVAL"),
        ("create table t (a char(3))".into(), "0A000", "use varchar(n) or text"),
        ("create table t (a varchar(0))".into(), "22023", "length for type varchar must be at least 1"),
        ("create table t (a varchar(10485761))".into(), "22023", "cannot exceed 10485760"),
        ("create table t (a numeric(39))".into(), "22023", "between 1 and 38"),
        ("create table t (a numeric(5,6))".into(), "22023", "scale"),
        ("create table t (a timestamp(3))".into(), "0A000", "microseconds"),
        ("create table t (a int, unique (a))".into(), "0A000", "UNIQUE"),
        ("create table t (a int, unique key (a))".into(), "0A000", "UNIQUE KEY"),
        ("create table t (a int, unique key k (a))".into(), "0A000", "UNIQUE KEY"),
        ("create table t (a int unique)".into(), "0A000", "UNIQUE"),
        ("create table t (a int references u)".into(), "0A000", "foreign key"),
        ("create table t (a int, foreign key (a) references u (b))".into(), "0A000", "FOREIGN KEY"),
        ("create table t (a int, constraint c check (a > 1))".into(), "0A000", "CHECK"),
        ("create table t (a int check (a > 1))".into(), "0A000", "CHECK"),
        ("create table t (a int, key (a))".into(), "0A000", "secondary keys"),
        ("create table t (a int, index k (a))".into(), "0A000", "secondary indexes"),
        ("create table t (a int generated always as identity)".into(), "0A000", "generated"),
        ("create table t (a text collate \"C\")".into(), "0A000", "COLLATE"),
        (
            "create table t (a int, primary key (a), primary key (a))".into(),
            "42P16",
            "more than one PRIMARY KEY",
        ),
        (
            "create table t (a int primary key, b int primary key)".into(),
            "42P16",
            "more than one PRIMARY KEY",
        ),
        ("create table t (a int, primary key ())".into(), "42601", "without columns"),
        ("create table t (a int, primary key (a desc))".into(), "0A000", "descending"),
        ("create table t (a int null not null)".into(), "42601", "both NULL and NOT NULL"),
        ("create table t (a int) with (x = 1)".into(), "0A000", "storage parameters"),
        ("create table t as select 1".into(), "0A000", "CREATE TABLE AS"),
        ("create temp table t (a int)".into(), "0A000", "TEMP"),
        ("create or replace table t (a int)".into(), "0A000", "OR REPLACE TABLE"),
        ("create table other.t (a int)".into(), "3F000", "\"other\""),
        (format!("create table {} (a int)", "n".repeat(64)), "42622", "longer than 63"),
        ("drop table a cascade".into(), "0A000", "CASCADE"),
        ("create pipeline".into(), "42601", "end of input"),
        (P.into(), "42601", "INTO TABLE"),
        (pipeline(&format!("{json} x")), "42601", "near \"x\""),
        (pipeline("into table t"), "42601", "FORMAT"),
        (pipeline("into table t format json"), "42601", "\"(\""),
        (pipeline("into table t format json ()"), "42601", "maps nothing"),
        (pipeline("into table t format json (a)"), "42601", "\"<-\""),
        (pipeline("into table t format json (a < - b"), "42601", "\",\" or \")\""),
        (pipeline("into table t format json (a <- =)"), "42601", "a key of the message"),
        (pipeline("into table t format json (a <- lines::0::sku)"), "0A000", "no elements of arrays"),
        (pipeline("into table t format json (a <- lines[0])"), "0A000", "no elements of arrays"),
        (pipeline("into table t format json (a <- $.a[0])"), "42P02", "key::key"),
        (pipeline("into table t format json (a <- b default c)"), "42601", "a constant"),
        (pipeline("into table t format json (a <- b default -'x')"), "42601", "a constant"),
        (pipeline("into table t format avro (a <- b)"), "0A000", "FORMAT AVRO"),
        (pipeline("into table t format parquet (a <- b)"), "0A000", "FORMAT PARQUET"),
        (pipeline("into table t format json (a <- b unit 'h')"), "22023", "none of 'd'"),
        (pipeline("into table t format json (a <- b unit s)"), "42601", "a unit of time"),
        (pipeline("into table t format csv (a unit 'm')"), "22023", "none of 'd'"),
        (pipeline(&format!("years 0 to 5 {json}")), "22023", "between 1 and"),
        (pipeline(&format!("years 1999 to 1998 {json}")), "22023", "no year"),
        (pipeline(&format!("years 1999 {json}")), "42601", "TO"),
        (pipeline(&format!("on tombstone delete {json}")), "42601", "IGNORE or ERROR"),
        (pipeline("into procedure t format csv"), "0A000", "INTO PROCEDURE"),
        (pipeline(&format!("with transform ('a', 'b', 'c') {json}")), "0A000", "WITH TRANSFORM"),
        (pipeline(&format!("resource pool x {json}")), "0A000", "RESOURCE POOL"),
        (pipeline(&format!("skip all errors {json}")), "0A000", "SKIP DUPLICATE KEY ERRORS"),
        (pipeline(&format!("max_partitions_per_batch 3 {json}")), "0A000", "MAX_PARTITIONS_PER_BATCH"),
        (pipeline(&format!("batch_interval 5 batch_interval 6 {json}")), "42601", "given twice"),
        (pipeline(&format!("batch_interval 99999999999 {json}")), "22023", "between 0 and"),
        (pipeline(&format!("batch_interval 1.5 {json}")), "22023", "whole number"),
        (pipeline(&format!("max_batch_bytes 1 {json}")), "22023", "between 1024"),
        (pipeline(&format!("stop_on_error off max_errors 3 {json}")), "42601", "contradict"),
        (pipeline(&format!("stop_on_error maybe {json}")), "42601", "ON or OFF"),
        (pipeline(&format!("config 'x' {json}")), "22023", "CONFIG is not a JSON object"),
        (
            pipeline(&format!("config '{{\"a\": []}}' {json}")),
            "22023",
            "no string, number or boolean at \"a\"",
        ),
        (pipeline(&format!("replace {json} on duplicate key update a = 1")), "42601", "contradicts REPLACE"),
        (pipeline(&format!("{json} set a = 1, a = 2")), "42601", "more than once"),
        (pipeline(&format!("{json} set @a = 1")), "0A000", "variables come from the message"),
        (pipeline(&format!("{json} set (a, b) = (1, 2)")), "0A000", "several columns"),
        (pipeline(&format!("{json} where a = $1")), "42P02", "no parameters"),
        (pipeline("into table t format csv ignore x lines"), "42601", "number of lines"),
        (pipeline("into table t format csv fields enclosed by 'ab'"), "22023", "one ASCII character"),
        (pipeline("into table t format csv fields terminated by ''"), "22023", "must not be empty"),
        (pipeline("into table t format csv ()"), "42601", "names no column"),
        ("create pipeline p as load data s3 'b'".into(), "0A000", "LOAD DATA S3"),
        ("create pipeline p as load data fs '/x'".into(), "0A000", "LOAD DATA FS"),
        ("create pipeline p as load data link l 'b'".into(), "0A000", "LOAD DATA LINK"),
        ("create pipeline p as load data kafka 'h'".into(), "22023", "names no topic"),
        ("create pipeline p as load data kafka 'h:x/t'".into(), "22023", "not a broker"),
        ("create pipeline p as load data kafka 'h:0/t'".into(), "22023", "not a broker"),
        ("create pipeline p as load data kafka 'h:70000/t'".into(), "22023", "not a broker"),
        ("create pipeline p as load data kafka 'h:/t'".into(), "22023", "not a broker"),
        ("create pipeline p as load data kafka 'h,/t'".into(), "22023", "not a broker"),
        ("create pipeline p as load data kafka '[::1/t'".into(), "22023", "not a broker"),
        ("create pipeline p as load data kafka 'h/a b'".into(), "22023", "not a topic name"),
        ("create aggregator pipeline p".into(), "0A000", "AGGREGATOR"),
        ("create or replace pipeline if not exists p".into(), "42601", "contradict"),
        ("start pipeline p foreground".into(), "0A000", "FOREGROUND"),
        ("stop pipeline p detach".into(), "0A000", "DETACH"),
        ("start failed pipelines".into(), "0A000", "START FAILED"),
        ("start nonsense".into(), "42601", "PIPELINE"),
        ("test pipeline p".into(), "0A000", "TEST PIPELINE"),
        ("profile pipeline p".into(), "0A000", "PROFILE PIPELINE"),
        ("extract pipeline p into outfile 'x'".into(), "0A000", "EXTRACT PIPELINE"),
        ("clear pipeline errors of p".into(), "42601", "end of the statement"),
        ("load data kafka 'x'".into(), "0A000", "LOAD DATA"),
        ("alter pipeline p set".into(), "42601", "a clause of CREATE PIPELINE"),
        ("alter pipeline p set nonsense 5".into(), "42601", "a clause of CREATE PIPELINE"),
        ("alter pipeline p set batch_interval 5 batch_interval 6".into(), "42601", "given twice"),
        ("alter pipeline p set replace on duplicate key update a = 1".into(), "42601", "contradicts REPLACE"),
        ("alter pipeline p set resource pool x".into(), "0A000", "RESOURCE POOL"),
        ("alter pipeline p set where a = $1".into(), "42P02", "no parameters"),
        ("alter pipeline p set batch_interval 5, offsets earliest".into(), "42601", "a clause of CREATE"),
        ("alter pipeline p drop file 'x'".into(), "0A000", "DROP"),
        ("alter pipeline p set offsets".into(), "42601", "EARLIEST, LATEST"),
        ("alter pipeline p set offsets '[1]'".into(), "22023", "partition"),
        ("alter pipeline p set offsets '{}'".into(), "22023", "no partition"),
        ("alter pipeline p set offsets '{\"0\": -1}'".into(), "22023", "from 0"),
        ("alter pipeline p set offsets '{\"x\": 1}'".into(), "22023", "partition"),
        ("create link l as kafka".into(), "0A000", "CREATE LINK"),
    ] {
        let error = match parse(&sql) {
            Ok(parsed) => panic!("{sql} was parsed as {parsed:?}"),
            Err(error) => error,
        };
        assert_eq!(error.sqlstate, sqlstate, "{sql}\n{error}");
        assert!(error.message.contains(words), "{sql}\n{error}\nhas no {words:?}");
    }
}

#[test]
fn is_distinct_from_binds_as_in_postgresql() {
    for (said, meant) in [
        ("a is distinct from b and c", "(a is distinct from b) and c"),
        ("not a is not distinct from b or c", "(not (a is not distinct from b)) or c"),
        ("x and a is distinct from b or c", "(x and (a is distinct from b)) or c"),
        ("a is distinct from b = c", "a is distinct from (b = c)"),
        ("a is distinct from b + 1 and c", "(a is distinct from (b + 1)) and c"),
    ] {
        let plain = |sql: &str| {
            let mut expression = parse_expression(sql).unwrap();
            let _ = visit_expressions_mut(&mut expression, |e| {
                while let Expr::Nested(inner) = e {
                    *e = inner.as_ref().clone();
                }
                std::ops::ControlFlow::<()>::Continue(())
            });
            expression
        };
        assert_eq!(plain(said), plain(meant), "{said}");
    }
}

#[test]
fn positions() {
    let sql = "select 1;\nselect é\n  from t where";
    let error = parse(sql).unwrap_err();
    assert_eq!(error.position(), None, "the end of the text has no place: {error}");
    let sql = "select 'é' from t\n where )";
    let error = parse(sql).unwrap_err();
    assert_eq!(error.position(), Some(TextPosition::new(2, 8)));
    assert_eq!(error.clone().count_position(sql).position().and_then(|at| at.character), Some(26));
    assert!(error.message.ends_with("(line 2, column 8)"), "{error}");
}

#[test]
fn credentials_are_kept_and_never_shown() {
    let sql = format!(
        "{P} config '{{\"sasl.mechanism\": \"PLAIN\", \"ssl.key.password\": \"hidden1\"}}' \
         credentials '{{\"sasl.password\": \"hidden2\"}}' into table t format json (a <- a)"
    );
    let statement = one(&sql);
    let Statement::CreatePipeline(pipeline) = &statement else { panic!("{statement}") };
    for shown in [statement.to_string(), format!("{statement:?}"), format!("{:?}", pipeline.source)] {
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(shown.contains("sasl.password") && shown.contains("PLAIN"), "{shown}");
    }
    let kept = parse_pipeline(&pipeline.to_sql()).unwrap();
    assert_eq!(kept.source.credentials["sasl.password"], Credential::Clear("hidden2".into()));
    assert_eq!(kept.source.config["ssl.key.password"], "hidden1");
    assert_eq!(kept, **pipeline);
    // Nor do errors repeat them.
    for wrong in ["credentials '{\"sasl.password\": hidden3}'", "credentials 'hidden3' 'hidden3'"] {
        let error = parse(&format!("{P} {wrong} into table t format json (a <- a)")).unwrap_err();
        assert!(!error.message.contains("hidden3"), "{error}");
    }
}

#[test]
fn credentials_say_where_a_secret_is() {
    let with =
        |credentials: &str| format!("{P} credentials '{credentials}' into table t format json (a <- a)");
    let said = r#"{"a": {"file": "/run/secret"}, "b": {"env": "NAME"}, "c": {"kept": "0f"}, "d": "hidden"}"#;
    let Statement::CreatePipeline(pipeline) = one(&with(said)) else { panic!("{said}") };
    let source = &pipeline.source;
    assert_eq!(source.credentials["a"], Credential::File("/run/secret".into()));
    assert_eq!(source.credentials["b"], Credential::Env("NAME".into()));
    assert_eq!(source.kept_secrets().collect::<Vec<_>>(), ["0f"]);
    assert_eq!(parse_pipeline(&pipeline.to_sql()).unwrap(), *pipeline);
    // The place of a secret is shown; its value and its name in the database are not.
    let shown = pipeline.to_string();
    let places = r#"{"a":{"file":"/run/secret"},"b":{"env":"NAME"},"c":"<redacted>","d":"<redacted>"}"#;
    assert!(shown.contains(places), "{shown}");
    for (wrong, why) in [
        (r#"{"a": {"file": "secret"}}"#, "absolute"),
        (r#"{"a": {"env": "A=B"}}"#, "no variable"),
        (r#"{"a": {"env": ""}}"#, "no variable"),
        (r#"{"a": {"fil": "/hidden"}}"#, "none of"),
        (r#"{"a": {"file": "/hidden", "env": "B"}}"#, "none of"),
        (r#"{"a": ["hidden"]}"#, "none of"),
        (r#"{"a": null}"#, "none of"),
        (r#"{"a": {"file": "/hidden\u0000"}}"#, "zero"),
    ] {
        let error = parse(&with(wrong)).unwrap_err();
        assert_eq!(error.sqlstate, "22023", "{wrong}");
        assert!(error.message.contains(why) && error.message.contains("\"a\""), "{wrong}: {error}");
        assert!(!error.message.contains("hidden"), "{wrong}: {error}");
    }
}

#[test]
fn what_is_secret_by_its_name_moves_out_of_config() {
    let sql = format!(
        "{P} config '{{\"ssl.key.password\": \"hidden\", \"client.id\": \"c\"}}' into table t format json (a <- a)"
    );
    let Statement::CreatePipeline(mut pipeline) = one(&sql) else { panic!("{sql}") };
    assert!(pipeline.source.is_in_clear());
    pipeline.source.move_secrets();
    assert_eq!(pipeline.source.config.keys().collect::<Vec<_>>(), ["client.id"]);
    assert_eq!(pipeline.source.credentials["ssl.key.password"], Credential::Clear("hidden".into()));
    assert!(pipeline.source.is_in_clear());
    pipeline.source.credentials.insert("ssl.key.password".into(), Credential::Kept("1".into()));
    assert!(!pipeline.source.is_in_clear());
}

#[test]
fn hostile_texts_neither_panic_nor_overflow() {
    let deep = [
        format!("select {}1{}", "(1 + ".repeat(20_000), ")".repeat(20_000)),
        format!("select {}", "-".repeat(3) + &" -".repeat(20_000)),
        format!("select {}true", "not ".repeat(20_000)),
        format!("select 1{}", " + 1".repeat(20_000)),
        format!("select a{}", " is null".repeat(20_000)),
        format!("select 1{}", "::int".repeat(20_000)),
        format!("select 1{}", " union select 1".repeat(20_000)),
        format!("select * from t{}", " join t on true".repeat(20_000)),
        format!("select {}1", "(select ".repeat(20_000)),
        format!("select a{}", "[1]".repeat(20_000)),
        format!("select a{}", "->'b'".repeat(20_000)),
        format!("{P} into table t format json (a <- {})", vec!["k"; 20_000].join("::")),
        format!("{P} into table t format json (a <- a) where a{}", " or a".repeat(20_000)),
        format!("create table t ({}", "a int check ((".repeat(10_000)),
        format!("/*{}", "/*".repeat(20_000)),
    ];
    for sql in deep {
        let error = parse(&sql).expect_err(&sql[..60]);
        assert!(["42601", "54000", "54001"].contains(&error.sqlstate.as_str()), "{} {error}", &sql[..60]);
    }
    assert_eq!(parse(&" ".repeat((16 << 20) + 1)).unwrap_err().sqlstate, "54000");
    // Redundant nested parentheses cost nothing.
    assert_eq!(parse(&format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000))).unwrap().len(), 1);
    // A long insert is accepted.
    let rows = vec!["(1, 'abc', -3.5, null)"; 20_000].join(", ");
    assert_eq!(parse(&format!("insert into t values {rows}")).unwrap().len(), 1);
    let terms = vec!["t.a = 1"; 400].join(" or ");
    assert_eq!(parse(&format!("select * from t where {terms}")).unwrap().len(), 1);
}

#[test]
fn clauses_take_the_place_of_a_pipelines_own() {
    let before = parse_pipeline(&format!(
        "{P} credentials '{{\"sasl.password\": \"hidden\"}}' batch_interval 5 max_errors 3 into table t \
         format json (a <- a, @x <- x) set b = @x where a > 1"
    ))
    .unwrap();
    let altered = |sql: &str| {
        let Statement::AlterPipeline { clauses, .. } = one(sql) else { panic!("{sql}") };
        alter_pipeline(&before, &clauses)
    };
    let all = altered("alter pipeline p set batch_interval 7 stop_on_error off, b = @x || 'y' where a > 2")
        .unwrap();
    let expected = format!(
        "{P} credentials '{{\"sasl.password\": \"hidden\"}}' batch_interval 7 into table t \
         format json (a <- a, @x <- x) set b = @x || 'y' where a > 2"
    );
    assert_eq!(all, parse_pipeline(&expected).unwrap());
    // Omitted clauses stay, the secrets too; a given clause replaces the old one completely.
    let moved =
        altered("alter pipeline p set load data kafka 'h/u' replace into table u format csv").unwrap();
    assert_eq!((moved.source.address.rsplit('/').next().unwrap(), moved.table.as_str()), ("u", "u"));
    assert_eq!(moved.source.credentials["sasl.password"], Credential::Clear("hidden".into()));
    assert_eq!((moved.batch_interval_ms, moved.error_limit), (Some(5), Some(3)));
    assert_eq!(moved.filter, before.filter);
    let secret = one("alter pipeline p set credentials '{\"sasl.password\": \"hidden2\"}'");
    assert!(!secret.to_string().contains("hidden2") && !format!("{secret:?}").contains("hidden2"));
}

/// The expression with parentheses around its groups.
fn grouped(expression: &str) -> String {
    use sqlparser::ast::Expr;
    fn write(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", write(left), write(right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", write(expr)),
            Expr::AtTimeZone { timestamp, time_zone } => {
                format!("({} AT TIME ZONE {})", write(timestamp), write(time_zone))
            }
            Expr::Nested(inner) => write(inner),
            other => other.to_string(),
        }
    }
    write(&tidemark_pipeline_sql::parse_expression(expression).expect("it parses"))
}

#[test]
fn operators_bind_as_in_postgresql() {
    for (written, meant) in [
        ("-2 ^ 2", "((- 2) ^ 2)"),
        ("2 ^ 3 ^ 2", "((2 ^ 3) ^ 2)"),
        ("-a::int", "(- a::INT)"),
        ("-a AT TIME ZONE 'UTC'", "((- a) AT TIME ZONE 'UTC')"),
        ("- - 2 * 3", "((- (- 2)) * 3)"),
        ("~ 1 + 2", "(~ (1 + 2))"),
        ("~ 1 | 2", "((~ 1) | 2)"),
        ("a = b ~ c", "(a = (b ~ c))"),
        ("a || b ~ c", "((a || b) ~ c)"),
        ("a !~~ b = c", "((a !~~ b) = c)"),
        ("a = b -> 'c'", "(a = (b -> 'c'))"),
        ("NOT a = b", "(NOT (a = b))"),
        ("a + b < c AND d OR e", "((((a + b) < c) AND d) OR e)"),
    ] {
        assert_eq!(grouped(written), meant, "{written}");
    }
}
