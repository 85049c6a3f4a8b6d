//! Properties: JSON compared with serde_json, CSV with the written fields, numbers and times with other
//! implementations, the extractor with the list of messages.

mod common;
mod oracle;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use common::{Table, field, message};
use kernel::schema::{ColumnDef, ColumnType, TableDef};
use kernel::*;
use proptest::collection::vec;
use proptest::prelude::*;
use tidemark_decode::*;

/// JSON text of a string, now and then with needless escapes.
fn string() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        8 => proptest::char::range(' ', '~').prop_map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c => c.to_string(),
        }),
        2 => any::<char>().prop_map(|c| serde_json::to_string(&c).expect("text").trim_matches('"').to_string()),
        1 => any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
        1 => any::<char>().prop_map(|c| c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("\\u{u:04X}")).collect()),
        1 => proptest::sample::select(vec!["\\n", "\\/", "\\b", "\\f", "\\r", "\\t"]).prop_map(String::from),
    ];
    vec(character, 0..12).prop_map(|characters| format!("\"{}\"", characters.concat()))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-1000i64..1000).prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "h", "x"]).prop_map(|k| format!("\"{k}\"")),
        1 => Just("\"\\u0061\"".to_string()),
        1 => string(),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\n\t\r ")]
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), key(), space(), space(), value, space());
    let member = member.prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    (vec(member, 0..8), space()).prop_map(|(members, s)| match members.is_empty() {
        true => format!("{{{s}}}"),
        false => format!("{{{}}}", members.join(",")),
    })
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        number(),
        string(),
        proptest::sample::select(vec!["null", "true", "false", "\"12\"", "\"t\"", "\"1.5\""])
            .prop_map(String::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            object(inner.clone()),
            (vec(inner, 0..4), space()).prop_map(|(values, s)| format!("[{s}{}]", values.join(", "))),
        ]
    })
}

/// A message: most often an object, now and then damaged.
fn json_message() -> impl Strategy<Value = Vec<u8>> {
    let sound = (space(), prop_oneof![9 => object(value()).boxed(), 1 => value().boxed()], space())
        .prop_map(|(a, message, b)| format!("{a}{message}{b}").into_bytes())
        .boxed();
    let damage = vec((any::<prop::sample::Index>(), 0u8..3, any::<u8>()), 1..3);
    let damaged = (sound.clone(), damage).prop_map(|(mut message, damage)| {
        for (place, kind, byte) in damage {
            let at = place.index(message.len().max(1));
            match kind {
                _ if message.is_empty() => {}
                0 => message[at] = byte,
                1 => drop(message.remove(at)),
                _ => message.insert(at, b"\"\\{}[]:,0e.-tn"[byte as usize % 14]),
            }
        }
        message
    });
    prop_oneof![4 => sound, 1 => damaged]
}

/// Several messages of one shape: the values change, the keys stay.
fn alike() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let keys = vec(key(), 0..6);
    (keys, vec(vec(value(), 6), 1..5)).prop_map(|(keys, rows)| {
        let message = |values: &Vec<String>| {
            let members: Vec<_> = keys.iter().zip(values).map(|(k, v)| format!("{k}:{v}")).collect();
            format!("{{{}}}", members.join(",")).into_bytes()
        };
        rows.iter().map(message).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn json_is_what_serde_json_says(messages in vec(json_message(), 1..6)) {
        oracle::check(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn prediction_never_changes_the_outcome(first in alike(), second in alike()) {
        let both = first.iter().chain(&second).chain(&first);
        oracle::check(&both.map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn csv_reads_back_what_was_written(
        rows in vec((any::<i64>(), "[ -~\u{e9}\n\r,\"\\\\]{0,12}", any::<bool>()), 1..5),
        last_line_ends in any::<bool>(),
    ) {
        let line = |(number, text, enclose): &(i64, String, bool)| {
            let special = text.contains(['\n', '\r', ',', '"', '\\']) || text == "NULL";
            match *enclose || special {
                true => format!("{number},\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\"")),
                false => format!("{number},{text}"),
            }
        };
        let mut message = rows.iter().map(line).collect::<Vec<_>>().join("\n");
        if last_line_ends {
            message.push('\n');
        }
        let format =
            CsvFormat { fields_terminated_by: b",".to_vec(), enclosed_by: Some(b'"'), ..CsvFormat::default() };
        let mut table =
            Table::new(Format::Csv(format), vec![field("a", ColumnType::Int64), field("b", ColumnType::Text)]);
        table.push(&message);
        prop_assert_eq!(&table.refused, &[]);
        let expected: Vec<Vec<String>> =
            rows.into_iter().map(|(number, text, _)| vec![number.to_string(), text]).collect();
        prop_assert_eq!(table.rows(), expected);
    }

    #[test]
    fn numeric_rounds_half_away_from_zero(
        unscaled in -10i128.pow(24)..10i128.pow(24), places in 0usize..12, scale in 0i8..10, exponent in -8i64..8,
    ) {
        let digits = format!("{:0width$}", unscaled.abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let point = if places > 0 { "." } else { "" };
        let sign = if unscaled < 0 { "-" } else { "" };
        let text = format!("{sign}{whole}{point}{fraction}e{exponent}");
        let shift = scale as i64 + exponent - places as i64;
        let expected = match u32::try_from(shift) {
            Ok(up) => unscaled.checked_mul(10i128.pow(up)).filter(|v| v.abs() < 10i128.pow(38)),
            Err(_) => {
                let unit = 10i128.pow(-shift as u32);
                Some((unscaled.abs() + unit / 2) / unit * unscaled.signum())
            }
        };
        let mut table =
            Table::new(Format::Json, vec![field("c", ColumnType::Decimal { precision: 38, scale })]);
        let outcome = table.one(&format!("{{\"c\":\"{text}\"}}")).map_err(|error| error.sqlstate);
        prop_assert_eq!(outcome, expected.map(|v| v.to_string()).ok_or(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    }

    #[test]
    fn short_floats_are_rounded_right(text in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,8})?") {
        let mut table = Table::new(Format::Json, vec![field("c", ColumnType::Float64)]);
        let wanted: f64 = text.parse().unwrap();
        prop_assert_eq!(table.one(&format!("{{\"c\":{text}}}")), Ok(format!("{wanted:?}")));
    }

    #[test]
    fn times_are_what_chrono_says(
        micros in -62_135_596_800_000_000i64..253_402_300_799_999_999, zone in -(15 * 60 - 1)..15 * 60i32, zoned in any::<bool>(),
    ) {
        let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap();
        let text = match zoned {
            true => {
                let local = time.with_timezone(&FixedOffset::east_opt(zone * 60).unwrap());
                prop_assume!((1..=9999).contains(&chrono::Datelike::year(&local)));
                local.to_rfc3339_opts(SecondsFormat::Micros, true)
            }
            false => time.naive_utc().to_string(),
        };
        let mut table = Table::new(Format::Json, vec![field("c", ColumnType::TimestampTz)]);
        prop_assert_eq!(table.one(&format!("{{\"c\":\"{text}\"}}")), Ok(micros.to_string()), "{}", text);
        let days = micros.div_euclid(86_400_000_000);
        let mut table = Table::new(Format::Json, vec![field("c", ColumnType::Date)]);
        prop_assert_eq!(table.one(&format!("{{\"c\":\"{}\"}}", time.date_naive())), Ok(days.to_string()));
    }

    #[test]
    fn each_message_has_one_disposition_whatever_is_delivered(
        kinds in vec(0u8..4, 1..60),
        deliveries in vec((any::<prop::sample::Index>(), 1usize..20, any::<bool>()), 1..12),
    ) {
        check_deliveries(&kinds, &deliveries);
    }
}

/// Messages: 0 sound, 1 malformed, 2 without the NOT NULL field, 3 a hole in the source's log.
fn check_deliveries(kinds: &[u8], deliveries: &[(prop::sample::Index, usize, bool)]) {
    let text = |kind: u8| match kind {
        0 => br#"{"a":1}"#.as_slice(),
        1 => b"{",
        _ => b"{}",
    };
    let mut extractor = numbers_extractor();
    let (mut seen, mut model_next) = (BTreeMap::new(), 0);
    let mut extracts = Vec::new();
    for (from, count, take) in deliveries {
        // A source delivers from any offset at or below the next expected one.
        let from = from.index(model_next as usize + 1);
        let range = from..(from + count).min(kinds.len());
        let messages: Vec<_> = range
            .filter(|&offset| kinds[offset] != 3)
            .map(|offset| message(offset as i64, Some(text(kinds[offset]))))
            .collect();
        extractor.push(&messages);
        for message in messages.iter().filter(|m| m.ordinal >= model_next) {
            seen.insert(message.ordinal, kinds[message.ordinal as usize]);
        }
        model_next = messages.last().map_or(model_next, |m| model_next.max(m.ordinal + 1));
        if *take {
            extracts.extend(extractor.take(0).unwrap());
        }
    }
    extracts.extend(extractor.take(0).unwrap());
    assert_eq!(extractor.position().ordinal(), model_next);

    let mut next = 0;
    let (mut rows, mut aside) = (Vec::new(), Vec::new());
    for extract in &extracts {
        assert_eq!(extract.first.ordinal(), next, "ranges follow one another");
        next = extract.next.ordinal();
        let before = (rows.len(), aside.len());
        for piece in extract.rows.iter().flatten() {
            rows.extend(
                (0..piece.num_rows()).map(|row| common::texts(piece, row)[3].parse::<i64>().unwrap()),
            );
        }
        aside.extend(extract.dead_letters.iter().map(|s| (s.ordinal, s.error.sqlstate.to_string())));
        let disposed = (rows.len() - before.0 + aside.len() - before.1) as u64 + extract.filtered;
        assert_eq!(disposed, extract.messages);
    }
    assert_eq!(next, model_next);
    rows.sort();
    let wanted = |kind| seen.iter().filter(move |(_, k)| **k == kind).map(|(offset, _)| *offset);
    assert_eq!(rows, wanted(0).collect::<Vec<_>>());
    let mut wanted_aside: Vec<_> = wanted(1).map(|o| (o, "22P02".to_string())).collect();
    wanted_aside.extend(wanted(2).map(|o| (o, "23502".to_string())));
    wanted_aside.sort();
    assert_eq!(aside, wanted_aside);
}

fn numbers_extractor() -> Extractor {
    let column = ColumnDef {
        id: ColumnId(0),
        name: "a".into(),
        column_type: ColumnType::Int64,
        nullable: false,
        default_sql: None,
    };
    let table = TableDef {
        id: TableId(1),
        name: "t".into(),
        schema_version: 1,
        columns: vec![column],
        primary_key: vec![],
        shard_key: vec![],
        sort_key: vec![],
        created_at: Sequence(1),
    };
    let decode = DecodePlan { format: Format::Json, fields: vec![field("a", ColumnType::Int64)] };
    let table = Arc::new(table);
    let plan = ExtractPlan {
        table,
        decode,
        defaults: vec![],
        shard_count: 2,
        years: YEARS_ALL,
        ignores_tombstones: false,
    };
    let start = Position::kafka(0, -1);
    Extractor::new(plan, None, PipelineId(1), Epoch(1), Generation(1), SplitId(0), start).unwrap()
}
