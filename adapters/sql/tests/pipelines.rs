//! Pipelines without a broker: the errors of CREATE PIPELINE, and the extraction of messages.

mod support;

use kernel::cursors::Cursors;
use kernel::expr::{Arithmetic, Expr, OnDuplicate};
use kernel::extract::{Extract, RawMessage};
use kernel::message::{Alteration, Definition, PipelineSpec};
use kernel::{ColumnId, Epoch, Generation, PipelineId, Position, Request, SourceKind, SplitId};
use support::Runner;
use tidemark_decode::Extractor;
use tidemark_pipeline_sql::parse_pipeline;
use tidemark_sql::define::show_create;
use tidemark_sql::transform::PipelinePlanner;

const NOW_US: i64 = 1_767_225_600_000_000; // 2026-01-01 00:00:00

async fn with_tables() -> Runner {
    let db = Runner::new(1);
    db.script(&[
        ("create table t (id bigint, amount numeric(10,2), note text default 'none', at timestamptz default now(), \
          primary key (id))", "ok"),
        ("create table keyless (a bigint not null, b integer)", "ok"),
    ])
    .await;
    db
}

fn pipeline(rest: &str) -> String {
    format!("create pipeline p as load data kafka 'h:9092/topic' {rest}")
}

#[tokio::test]
async fn what_create_pipeline_refuses() {
    let db = with_tables().await;
    let json = "into table t format json (id <- id, amount <- amount, @x <- x)";
    for (rest, code, words) in [
        ("into table nowhere format json (a <- a)".to_string(), "42P01", "\"nowhere\""),
        ("into table t format json (id <- id, nope <- x)".into(), "42703", "\"nope\""),
        ("into table t format json (id <- id, id <- x)".into(), "22023", "twice"),
        ("into table t format json (id <- id default 'abc')".into(), "22023", "abc"),
        ("into table t format json (amount <- amount)".into(), "23502", "\"id\""),
        ("into table keyless format json (b <- b)".into(), "23502", "\"a\""),
        ("into table t format json (id <- id unit 's')".into(), "22023", "UNIT 's'"),
        ("into table t format json (id <- id, at <- at unit 'd')".into(), "22023", "UNIT 'd'"),
        ("into table t format json (id <- id, @x <- x unit 's')".into(), "22023", "@x"),
        (format!("{json} set nope = 1"), "42703", "\"nope\""),
        (format!("{json} set note = nope"), "42703", "nope"),
        (format!("{json} set note = @y"), "42703", "variable @y"),
        (format!("{json} set id = true"), "42804", "\"id\""),
        (format!("{json} set note = no_such_function(id)"), "42883", "no_such_function"),
        (format!("{json} set id = sum(id)"), "0A000", "aggregate"),
        (format!("{json} where id"), "42804", "boolean"),
        (format!("{json} on duplicate key update id = 1"), "0A000", "primary key"),
        (format!("{json} on duplicate key update note = @x"), "0A000", "variable @x"),
        (format!("{json} on duplicate key update at = now()"), "0A000", "now()"),
        (format!("{json} on duplicate key update amount = sqrt(amount)"), "0A000", "sqrt"),
        ("into table keyless format json (a <- a) on duplicate key update b = 1".into(), "42P10", "keyless"),
        ("replace into table keyless format json (a <- a)".into(), "42P10", "keyless"),
    ] {
        let sql = pipeline(&rest);
        let error = db.run(&sql).await.expect_err(&sql);
        assert_eq!(error.sqlstate, code, "{sql}\n{error}");
        assert!(error.message.contains(words), "{sql}\n{error}");
    }
    assert!(db.env.database.snapshot().unwrap().catalog.pipelines.is_empty());
}

#[tokio::test]
async fn what_create_pipeline_keeps() {
    let db = with_tables().await;
    let rest = "credentials '{\"sasl.password\": \"hidden\"}' batch_interval 20 max_errors 3 into table t \
                format json (id <- id, amount <- amount) on duplicate key update amount = amount + values(amount)";
    db.script(&[(&pipeline(rest), "ok"), (&pipeline(rest), "!42710 \"p\"")]).await;
    let snapshot = db.env.database.snapshot().unwrap();
    let kept = snapshot.catalog.pipeline_named("p").unwrap();
    assert_eq!((kept.error_limit, kept.batch_interval_us), (Some(3), 20_000));
    // A sum is recognised, not hidden under casts.
    let OnDuplicate::Update(update) = &kept.on_duplicate else { panic!("{:?}", kept.on_duplicate) };
    let sum = Expr::Arithmetic(
        Arithmetic::Add,
        Box::new(Expr::Stored(ColumnId(1))),
        Box::new(Expr::Incoming(ColumnId(1))),
    );
    assert_eq!(update.assignments, [(ColumnId(1), sum)]);
    // The definition is logged: it contains the place of the secret, not the secret.
    assert!(!kept.definition_sql.contains("hidden"));
    let source = parse_pipeline(&kept.definition_sql).unwrap().source;
    let name = source.kept_secrets().next().expect("it is kept").to_owned();
    assert_eq!(db.host.secrets().get(&name).unwrap().as_deref(), Some("hidden"));
    let shown = show_create(kept, &Cursors::default(), true).unwrap();
    assert!(!shown.contains("hidden") && !shown.contains(&name) && shown.contains("<redacted>"), "{shown}");
}

#[tokio::test]
async fn secrets_of_older_versions_are_kept_apart_at_the_next_alteration() {
    let db = with_tables().await;
    let json = "into table t format json (id <- id)";
    db.script(&[(&pipeline(json), "ok")]).await;
    let definition = async || {
        let snapshot = db.env.database.snapshot().unwrap();
        snapshot.catalog.pipeline_named("p").unwrap().definition_sql.clone()
    };
    let was = definition().await;
    let clear = "CONFIG '{\"ssl.key.password\":\"hidden1\"}' CREDENTIALS '{\"sasl.password\":\"hidden2\"}' INTO TABLE";
    let spec = PipelineSpec {
        name: "p".into(),
        table: "t".into(),
        source_kind: SourceKind::Kafka,
        definition_sql: was.replace("INTO TABLE", clear),
        on_duplicate: OnDuplicate::Reject,
        error_limit: None,
        batch_interval_us: 0,
        batch_bytes_max: 1 << 20,
    };
    let older = Definition::AlterPipeline(Alteration { spec: Box::new(spec), was, source_changed: false });
    db.env.database.request(Request::Define(older)).await.unwrap();
    assert!(definition().await.contains("hidden1"));
    db.script(&[("alter pipeline p set batch_interval 5", "ok")]).await;
    let source = parse_pipeline(&definition().await).unwrap().source;
    assert!(!source.is_in_clear());
    let secret = |name: &str| db.host.secrets().get(name).unwrap().unwrap();
    assert_eq!(source.kept_secrets().map(secret).collect::<Vec<_>>(), ["hidden2", "hidden1"]);
}

#[tokio::test]
async fn what_a_statement_cannot_say_of_its_source() {
    let db = with_tables().await;
    let json = "into table t format json (id <- id)";
    let with = |credentials: &str| pipeline(&format!("credentials '{credentials}' {json}"));
    db.script(&[
        (&with(r#"{"sasl.password": {"kept": "0"}}"#), "!22023 only the database"),
        (&with(r#"{"sasl.password": "<redacted>"}"#), "!22023 the placeholder that is shown"),
        (&format!("create pipeline q as load data kafka 'forbidden:1/t' {json}"), "!42501 forbidden"),
        (&pipeline(json), "ok"),
        (
            "alter pipeline p set credentials '{\"sasl.password\": {\"kept\": \"0\"}}'",
            "!22023 only the database",
        ),
        ("alter pipeline p set load data kafka 'forbidden:1/t'", "!42501 forbidden"),
    ])
    .await;
}

/// Runs messages through the extractor of a pipeline.
async fn extracted(db: &Runner, rest: &str, messages: &[&str]) -> Extract {
    let snapshot = db.env.database.snapshot().unwrap();
    let table = snapshot.catalog.table_named("t").unwrap();
    let (plan, transform) = PipelinePlanner::new().unwrap().extract_plan(&pipeline(rest), table, 1).unwrap();
    let start = Position::kafka(100, -1);
    let mut extractor =
        Extractor::new(plan, transform, PipelineId(1), Epoch(1), Generation(1), SplitId(0), start).unwrap();
    let raw: Vec<RawMessage<'_>> = messages
        .iter()
        .enumerate()
        .map(|(n, text)| RawMessage {
            ordinal: 100 + n as i64,
            mark: kernel::Mark::LeaderEpoch(-1),
            timestamp_ms: -1,
            key: None,
            value: Some(text.as_bytes()),
        })
        .collect();
    extractor.push(&raw);
    extractor.take(NOW_US).unwrap().expect("messages were pushed")
}

fn rows(extract: &Extract) -> Vec<String> {
    let Some(Some(piece)) = extract.rows.first() else { return vec![] };
    let row = |n: usize| support::row_text(&piece.slice(n, 1), 4);
    (0..piece.num_rows()).map(row).collect()
}

#[tokio::test]
async fn set_and_where_see_variables_defaults_and_the_input_time() {
    let db = with_tables().await;
    let rest = "into table t format json (id <- id, @cents <- cents, @kind <- kind) \
                set amount = @cents::numeric(20,4) / 100, note = coalesce(upper(@kind), note), at = now() \
                where @kind is distinct from 'skip' and amount > 0";
    let extract = extracted(
        &db,
        rest,
        &[
            r#"{"id": 1, "cents": 250, "kind": "a"}"#,
            r#"{"id": 2, "cents": 100, "kind": "skip"}"#,
            r#"{"id": 3, "cents": 5}"#,
            r#"{"id": 4, "cents": -5}"#,
        ],
    )
    .await;
    let at = "2026-01-01 00:00:00+00";
    assert_eq!(rows(&extract), [format!("1|2.50|A|{at}"), format!("3|0.05|none|{at}")]);
    assert_eq!((extract.filtered, extract.dead_letters.len()), (2, 0));
}

#[tokio::test]
async fn a_row_that_fails_is_set_aside_alone() {
    let db = with_tables().await;
    let rest = "into table t format json (id <- id, @v <- v) set id = id + 1, amount = 10 / @v::bigint";
    let max = format!(r#"{{"id": {}, "v": 1}}"#, i64::MAX);
    let messages = [
        r#"{"id": 1, "v": 2}"#,
        r#"{"id": 2, "v": 0}"#,
        r#"{"id": 3, "v": "x"}"#,
        &max,
        r#"{"id": 5, "v": 5}"#,
    ];
    let extract = extracted(&db, rest, &messages).await;
    let at = "2026-01-01 00:00:00+00";
    assert_eq!(rows(&extract), [format!("2|5.00|none|{at}"), format!("6|2.00|none|{at}")]);
    let aside: Vec<(i64, &str)> =
        extract.dead_letters.iter().map(|s| (s.ordinal, s.error.sqlstate.as_str())).collect();
    assert_eq!(aside, [(101, "22012"), (102, "22P02"), (103, "22003")]);
}

#[tokio::test]
async fn texts_keep_to_their_length_and_jsonb_to_its_form() {
    let db = Runner::new(2);
    db.script(&[("create table t (id bigint, v varchar(3), doc jsonb, note text, primary key (id))", "ok")])
        .await;
    let decoded = "into table t format json (id <- id, v <- v, doc <- doc)";
    let messages = [
        r#"{"id": 1, "v": "abc  ", "doc": {"bb":1.50,"a":[1e2],"bb":-0}}"#,
        r#"{"id": 2, "v": "abcd", "doc": {}}"#,
        r#"{"id": 3, "v": "ok", "doc": "\u0000"}"#,
        r#"{"id": 4, "v": "ok", "doc": [1e9999]}"#,
        r#"{"id": 5, "v": "ok", "doc": null}"#,
    ];
    let aside = |extract: &Extract| {
        extract.dead_letters.iter().map(|s| (s.ordinal, s.error.sqlstate.to_string())).collect::<Vec<_>>()
    };
    let extract = extracted(&db, decoded, &messages).await;
    assert_eq!(rows(&extract), [r#"1|abc|{"a": [100], "bb": 0}|null"#, "5|ok|null|null"]);
    let codes = [(101, "22001"), (102, "22P05"), (103, "22003")].map(|(at, code)| (at, code.to_string()));
    assert_eq!(aside(&extract), codes);
    // The same for results of SET; jsonb stays jsonb there.
    let set = "into table t format json (id <- id, @v <- v, doc <- doc) \
               set v = @v || 'x', doc = doc || '{\"b\":2,\"a\":1.0}', note = doc ->> 'b' where doc = '{\"a\":1,\"b\":2}'";
    let messages = [
        r#"{"id": 1, "v": "ab", "doc": {"b":1}}"#,
        r#"{"id": 2, "v": "abc", "doc": {}}"#,
        r#"{"id": 3, "v": "a", "doc": {"c":1}}"#,
    ];
    let extract = extracted(&db, set, &messages).await;
    assert_eq!(rows(&extract), [r#"1|abx|{"a": 1.0, "b": 2}|1"#]);
    assert_eq!((aside(&extract), extract.filtered), (vec![(101, "22001".to_string())], 1));
}

#[tokio::test]
async fn constants_need_no_expressions() {
    let db = with_tables().await;
    let snapshot = db.env.database.snapshot().unwrap();
    let planner = PipelinePlanner::new().unwrap();
    let table = snapshot.catalog.table_named("keyless").unwrap();
    let plain = pipeline("into table keyless format json (a <- a)");
    assert!(planner.extract_plan(&plain, table, 2).unwrap().1.is_none());
    let table = snapshot.catalog.table_named("t").unwrap();
    let timed = pipeline("into table t format json (id <- id)");
    assert!(planner.extract_plan(&timed, table, 2).unwrap().1.is_some(), "now() is no constant");
}

#[tokio::test]
async fn another_definition_keeps_the_offsets_of_the_same_source() {
    let db = with_tables().await;
    let json = "into table t format json (id <- id)";
    let replaced = |source: &str, rest: &str| {
        format!("create or replace pipeline p as load data kafka '{source}' {rest} {json}")
    };
    let kept = async || {
        let snapshot = db.env.database.snapshot().unwrap();
        let p = snapshot.catalog.pipeline_named("p").unwrap().clone();
        let positions = snapshot.catalog.cursors[&p.id].positions();
        let cursors: Vec<_> = positions.map(|(split, at)| (split.0, at.ordinal())).collect();
        (cursors, p.generation.0, p.batch_interval_us, p.error_limit)
    };
    db.script(&[
        (&replaced("h:9092/topic", ""), "ok"),
        ("alter pipeline p set offsets '{\"0\": 7}'", "ok"),
        ("alter pipeline p set batch_interval 20, max_errors 3 where id > 0", "ok"),
    ])
    .await;
    assert_eq!(kept().await, (vec![(0, 7)], 2, 20_000, Some(3)));
    assert_eq!(db.run(&replaced("h:9092/topic", "batch_interval 30")).await.unwrap(), "ok");
    assert_eq!(kept().await, (vec![(0, 7)], 2, 30_000, None));
    let told = db.run(&replaced("h:9092/other", "")).await.unwrap();
    assert!(told.contains("its offsets are dropped") && told.contains("'h:9092/other'"), "{told}");
    assert_eq!(kept().await, (vec![], 3, 0, None));
    // The result is checked like a new pipeline.
    db.script(&[
        ("alter pipeline nobody set batch_interval 1", "!42704 \"nobody\""),
        ("alter pipeline p set where nope", "!42703 nope"),
        ("alter pipeline p set into table nowhere", "!42P01 nowhere"),
        ("alter pipeline p set format json (note <- note)", "!23502 \"id\""),
        ("alter pipeline p set into table keyless format json (a <- a)", "ok"),
        ("alter pipeline p set replace", "!42P10 keyless"),
    ])
    .await;
}

#[tokio::test]
async fn offsets_are_those_that_the_partitions_have() {
    let db = with_tables().await;
    let json = "into table t format json (id <- id)";
    db.script(&[
        (&pipeline(json), "ok"),
        (&format!("create pipeline q as load data kafka 'gone:1/topic' {json}"), "ok"),
        ("alter pipeline p set offsets '{\"7\": 0}'", "!22023 no partition 7: it has 2"),
        ("alter pipeline p set offsets '{\"0\": 21}'", "!22023 5 to 20"),
        ("alter pipeline p set offsets '{\"0\": 4}'", "!22023 5 to 20"),
        ("alter pipeline p set offsets '{\"1\": 1, \"0\": 20}'", "!22023 0 to 0"),
        ("alter pipeline p set offsets '{\"1\": 0, \"0\": 20}'", "ok"),
        ("alter pipeline q set offsets '{\"0\": 5}'", "!08001 nothing was changed"),
        ("alter pipeline q set offsets earliest", "ok"),
        ("alter pipeline nobody set offsets earliest", "!42704 nobody"),
        ("start pipeline p", "ok"),
        ("alter pipeline p set offsets '{\"0\": 20}'", "!55000 is running"),
        ("alter pipeline p set batch_interval 5", "ok"),
        ("select p.state, c.lag is null from information_schema.pipelines p join information_schema.pipelines_cursors c \
          on p.pipeline_name = c.pipeline_name where p.pipeline_name = 'p'", "Running|t ; Running|t"),
    ])
    .await;
}

#[tokio::test]
async fn errors_are_cleared_and_shown_whatever_their_bytes() {
    let db = with_tables().await;
    db.script(&[
        (&pipeline("into table t format json (id <- id)"), "ok"),
        ("select error_message, message_text from information_schema.pipelines_errors", ""),
        ("select count(*) from information_schema.pipelines_errors where message_text like 'x%'", "0"),
        ("clear pipeline errors", "ok"),
        ("clear pipeline errors for p", "ok"),
        ("clear pipeline errors for nobody", "!42704 nobody"),
        ("drop pipeline p", "ok"),
    ])
    .await;
}

#[tokio::test]
async fn hints_say_what_is_certain() {
    let db = with_tables().await;
    let json = "into table t format json (id <- id, @x <- x)";
    for set in ["note = jsonb_path_query(@x, '$')", "note = nope", "at = to_dates(@x)"] {
        let sql = pipeline(&format!("{json} set {set}"));
        let error = db.run(&sql).await.expect_err(&sql);
        let told = format!("{error} {:?}", error.hint());
        assert!(!told.contains("Did you mean") && !told.contains("now()"), "{told}");
    }
    // The advice in the error for a number in a path works.
    let rest = "into table t format json (id <- id, @lines <- lines) set note = @lines::jsonb -> 0 ->> 'sku'";
    let extract = extracted(&db, rest, &[r#"{"id": 1, "lines": [{"sku": "a-7"}, {}]}"#]).await;
    assert_eq!(rows(&extract), ["1|null|a-7|2026-01-01 00:00:00+00"]);
}
