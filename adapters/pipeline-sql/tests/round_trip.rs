//! Properties of the parser: the stored text of a pipeline has the same meaning as the statement, and no text makes the
//! parser panic.

use std::collections::BTreeMap;

use kernel::SourceKind;
use proptest::prelude::*;
use tidemark_decode::{CsvFormat, TimeUnit};
use tidemark_pipeline_sql::{
    Assignment, Constant, CreatePipeline, Credential, Credentials, CsvMapping, FormatSyntax, JsonMapping,
    OnDuplicateSyntax, SourceSpec, Statement, Target, parse, parse_expression, parse_pipeline,
};

/// Names as they may be stored: plain, quoted, keywords of ours and of SQL.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,8}",
        "[A-Za-z \"'é$.]{1,8}",
        prop::sample::select(vec![
            "select",
            "pipeline",
            "into",
            "set",
            "where",
            "on",
            "key",
            "primary",
            "if",
            "table",
            "default",
            "null",
            "values",
            "format",
            "as",
            "batch_interval",
            "group",
            "order",
            "user",
            "offsets",
            "earliest",
            "not",
        ])
        .prop_map(String::from),
    ]
}

fn variable() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_][a-z0-9_]{0,6}", Just("select".to_string())]
}

/// Texts with all characters that affect quoting.
fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 '\"\\\\\t\n,;:%@$(){}é-]{0,12}"
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![name().prop_map(Target::Column), variable().prop_map(Target::Variable)]
}

fn constant() -> impl Strategy<Value = Constant> {
    prop_oneof![
        Just(Constant::Null),
        any::<bool>().prop_map(Constant::Bool),
        "-?[0-9]{1,6}(\\.[0-9]{1,4})?".prop_map(Constant::Number),
        text().prop_map(Constant::Text),
    ]
}

fn unit() -> impl Strategy<Value = Option<TimeUnit>> {
    prop::option::of(prop::sample::select(TimeUnit::ALL.to_vec()))
}

fn mapping() -> impl Strategy<Value = JsonMapping> {
    (target(), prop::collection::vec("[a-zA-Z \"'é.:%0-9]{1,8}", 0..4), unit(), prop::option::of(constant()))
        .prop_map(|(target, path, unit, default)| JsonMapping { target, path, unit, default })
}

/// Expressions from texts: their parsed form must survive.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        name().prop_map(|n| format!("\"{}\"", n.replace('"', "\"\""))),
        "[a-z]{1,4}[0-9]".prop_map(|n| n),
        variable().prop_map(|v| format!("@{v}")),
        text().prop_map(|t| format!("'{}'", t.replace('\'', "''"))),
        "[0-9]{1,5}(\\.[0-9]{1,3})?",
        prop::sample::select(vec![
            "NULL",
            "TRUE",
            "now()",
            "current_date",
            "interval '1 day'",
            "date '2026-01-01'"
        ])
        .prop_map(String::from),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "%",
            "||",
            "=",
            "<>",
            "<",
            ">=",
            "AND",
            "OR",
            "->",
            "->>",
            "IS DISTINCT FROM",
            "~",
            "LIKE",
            "AT TIME ZONE",
        ]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("- {a}")),
            inner.clone().prop_map(|a| format!("NOT {a}")),
            inner.clone().prop_map(|a| format!("{a}::numeric(10,2)")),
            inner.clone().prop_map(|a| format!("CAST({a} AS varchar(5))")),
            inner.clone().prop_map(|a| format!("{a} IS NOT NULL")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("coalesce({a}, {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("CASE WHEN {a} THEN {b} ELSE {c} END")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("{a} BETWEEN {b} AND {c}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a} NOT IN ({b}, 1)")),
        ]
    })
}

fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z.\"']{1,8}", text(), 0..3)
}

fn credentials() -> impl Strategy<Value = Credentials> {
    let credential = (text(), 0..4).prop_map(|(text, kind)| match kind {
        0 => Credential::Clear(text),
        1 => Credential::File(format!("/{}", text.replace('\0', "0"))),
        2 => Credential::Env(format!("E{}", text.replace(['=', '\0'], "0"))),
        _ => Credential::Kept(text),
    });
    prop::collection::btree_map("[a-z.\"']{1,8}", credential, 0..3)
}

fn csv() -> impl Strategy<Value = CsvFormat> {
    let delimiter = || "[,;|\t\n\r\\\\'\"é]{1,3}".prop_map(String::into_bytes);
    let byte = || prop::option::of(prop::sample::select(vec![b'"', b'\'', b'\\', b'\t', 0]));
    (
        delimiter(),
        byte(),
        byte(),
        "[>'\\\\]{0,2}",
        delimiter(),
        0..5u32,
        prop::option::of(("[N'\\\\]{0,3}", any::<bool>())),
    )
        .prop_map(|(fields, enclosed_by, escaped_by, starting, lines, ignore_lines, null)| CsvFormat {
            fields_terminated_by: fields,
            enclosed_by,
            escaped_by,
            lines_starting_by: starting.into_bytes(),
            lines_terminated_by: lines,
            ignore_lines,
            null_defined_by: null.as_ref().map(|(text, _)| text.clone().into_bytes()),
            null_optionally_enclosed: null.is_some_and(|(_, enclosed)| enclosed),
        })
}

fn line_mapping() -> impl Strategy<Value = CsvMapping> {
    (target(), unit()).prop_map(|(target, unit)| CsvMapping { target, unit })
}

fn format() -> impl Strategy<Value = FormatSyntax> {
    prop_oneof![
        prop::collection::vec(mapping(), 1..4).prop_map(FormatSyntax::Json),
        (csv(), prop::collection::vec(line_mapping(), 0..4))
            .prop_map(|(csv, targets)| FormatSyntax::Csv(csv, targets)),
    ]
}

fn source() -> impl Strategy<Value = SourceSpec> {
    ("[a-z][a-z0-9-]{0,5}(:[1-9][0-9]{0,3})?(,[a-z]{1,4})?/[a-zA-Z0-9_-]{1,9}", map(), credentials())
        .prop_map(|(address, config, credentials)| SourceSpec {
            config,
            credentials,
            ..SourceSpec::new(SourceKind::Kafka, &address).unwrap()
        })
}

prop_compose! {
    fn pipeline()(
        name in name(),
        (or_replace, if_not_exists) in prop::sample::select(vec![(false, false), (true, false), (false, true)]),
        source in source(),
        batch_interval_ms in prop::option::of(0..1000u64),
        batch_bytes_max in prop::option::of(1024..100_000u64),
        error_limit in prop::option::of(0..100u64),
        years in prop::option::of((1..2000u32).prop_map(|first| (first, first + 7))),
        ignores_tombstones in any::<bool>(),
        table in name(),
        format in format(),
        set in prop::collection::btree_map(name(), expression(), 0..3),
        filter in prop::option::of(expression()),
        on_duplicate in prop_oneof![
            Just(Some(OnDuplicateSyntax::Reject)),
            Just(Some(OnDuplicateSyntax::Skip)),
            Just(Some(OnDuplicateSyntax::Replace)),
            Just(None),
        ],
        update in prop::collection::btree_map(name(), expression(), 1..3),
    ) -> Option<CreatePipeline> {
        let parsed = |text: &String| {
            // Read with the pipeline's tokenizer: variables are words.
            let sql = format!("create pipeline p as load data kafka 'h/t' into table t format csv where {text}");
            match parse(&sql).ok()?.pop()? {
                Statement::CreatePipeline(p) => p.filter,
                _ => None,
            }
        };
        let assignments = |map: BTreeMap<String, String>| {
            map.into_iter()
                .map(|(column, value)| Some(Assignment { column, value: parsed(&value)? }))
                .collect::<Option<Vec<_>>>()
        };
        Some(CreatePipeline {
            name, or_replace, if_not_exists, source, batch_interval_ms, batch_bytes_max, years, ignores_tombstones,
            error_limit, table, format,
            set: assignments(set)?,
            filter: match filter { None => None, Some(text) => Some(parsed(&text)?) },
            on_duplicate: match on_duplicate {
                Some(said) => said,
                None => OnDuplicateSyntax::Update(assignments(update)?),
            },
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// The stored text parses back to the same definition, and is its own canonical form.
    #[test]
    fn what_is_kept_means_what_was_said(pipeline in pipeline()) {
        // Some random expressions are not valid SQL; those that the parser accepts must survive.
        prop_assume!(pipeline.is_some());
        let pipeline = pipeline.unwrap();
        let kept = pipeline.to_sql();
        let read = parse_pipeline(&kept).map_err(|e| TestCaseError::fail(format!("{kept}\n{e}")))?;
        let expected = CreatePipeline { or_replace: false, if_not_exists: false, ..pipeline };
        prop_assert_eq!(&read, &expected, "{}", kept);
        prop_assert_eq!(read.to_sql(), kept);
    }

    /// The shown text parses too, and contains no secret.
    #[test]
    fn what_is_shown_parses_and_hides(pipeline in pipeline(), secret in "SECRET[0-9]{8}") {
        prop_assume!(pipeline.is_some());
        let mut pipeline = pipeline.unwrap();
        pipeline.source.credentials.insert("sasl.password".into(), Credential::Clear(secret.clone()));
        let shown = pipeline.to_string();
        prop_assert!(!shown.contains(&secret));
        let debug = format!("{pipeline:?}");
        prop_assert!(!debug.contains(&secret));
        let parsed = parse(&shown).map_err(|e| TestCaseError::fail(format!("{shown}\n{e}")))?;
        prop_assert_eq!(parsed.len(), 1);
        prop_assert_eq!(parsed[0].to_string(), shown);
    }

    /// Any text is parsed or fails with an SQLSTATE.
    #[test]
    fn no_text_panics(words in prop::collection::vec(prop_oneof![
        "\\PC{0,4}",
        prop::sample::select(vec![
            "create", "pipeline", "table", "as", "load", "data", "kafka", "'h:1/t'", "into", "t", "format", "json", "csv",
            "(", ")", "a", "<-", "<", "-", "%", "::", ",", "@a", "default", "1", "'x'", "set", "=", "where", "on", "duplicate",
            "key", "update", "primary", "shard", "sort", "bigint", "not", "null", "fields", "terminated", "by", "lines",
            "alter", "offsets", "start", "stop", "all", "pipelines", "if", "exists", "or", "replace", ";", "$1", "'{}'",
            "config", "credentials", "insert", "values", "conflict", "do", "nothing", "select", "from", "/*", "--", "\"",
        ]).prop_map(String::from),
    ], 0..24)) {
        let sql = words.join(" ");
        if let Err(error) = parse(&sql) {
            prop_assert!(["0A", "22", "3F", "42", "54"].contains(&error.sqlstate.class()), "{:?}", error);
            prop_assert!(!error.message.is_empty());
            let counted = error.count_position(&sql).position();
            if let Some(character) = counted.and_then(|position| position.character) {
                prop_assert!(character >= 1 && character as usize <= sql.chars().count() + 1);
            }
        }
        let _ = parse_expression(&sql);
        let _ = parse_pipeline(&sql);
    }
}
