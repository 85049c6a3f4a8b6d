//! Compares the decoder with serde_json on JSON messages. Used by the property tests here and by the fuzz target of the
//! same name.

mod canonical;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use kernel::schema::ColumnType;
use kernel::{RawMessage, SqlState};
use serde_json::Value;
use tidemark_decode::{DecodePlan, Decoded, FieldMapping, Format, Refused};

/// Mapped paths; generated messages use these keys.
const PATHS: [(&str, &[&str], ColumnType); 8] = [
    ("a", &["a"], ColumnType::Int64),
    ("b", &["b"], ColumnType::Text),
    ("c", &["c"], ColumnType::Float64),
    ("d", &["d"], ColumnType::Json),
    ("f", &["e", "f"], ColumnType::Text),
    ("g", &["e", "g"], ColumnType::Json),
    ("h", &["h"], ColumnType::Bool),
    ("c2", &["c"], ColumnType::Json),
];

fn plan(paths: &[(&str, &[&str], ColumnType)]) -> DecodePlan {
    let field = |(name, path, column_type): &(&str, &[&str], ColumnType)| FieldMapping {
        name: name.to_string(),
        column_type: *column_type,
        nullable: true,
        path: path.iter().map(|key| key.to_string()).collect(),
        default: None,
        unit: None,
    };
    DecodePlan { format: Format::Json, fields: paths.iter().map(field).collect() }
}

fn decode<'a>(plan: &DecodePlan, messages: &[&'a [u8]]) -> (Decoded, Vec<Refused>) {
    let raw = |value: &&'a [u8]| RawMessage {
        ordinal: 0,
        mark: kernel::Mark::LeaderEpoch(0),
        timestamp_ms: -1,
        key: None,
        value: Some(value),
    };
    let raw: Vec<_> = messages.iter().map(raw).collect();
    plan.decoder().expect("a sound plan").decode(&raw)
}

/// Decodes the messages in order, so that shapes learned from one are applied to the next. Panics if the outcome
/// differs from that of a new decoder, or from serde_json's.
pub fn check(messages: &[&[u8]]) {
    check_mapped(messages);
    for message in messages {
        check_whole(message);
    }
}

/// `%` into a JSON column accepts exactly the texts that serde_json accepts, and stores the canonical text of jsonb.
fn check_whole(message: &[u8]) {
    let (decoded, refused) = decode(&plan(&[("all", &[], ColumnType::Json)]), &[message]);
    match serde_json::from_slice::<Value>(message) {
        Ok(Value::Null) => assert!(decoded.columns.column(0).is_null(0)),
        Ok(_) => match canonical::text(message) {
            Ok(text) => {
                assert_eq!(refused, []);
                assert_eq!(decoded.columns.column(0).as_string::<i32>().value(0), text);
            }
            Err(code) => assert_eq!(refused[0].error.sqlstate, code),
        },
        Err(error) if is_narrower(&error) => {}
        Err(error) => assert_eq!(refused.len(), 1, "serde_json says {error}"),
    }
}

fn check_mapped(messages: &[&[u8]]) {
    let plan = plan(&PATHS);
    let (decoded, refused) = decode(&plan, messages);
    let mut refused = refused.into_iter().peekable();
    let mut row = 0;
    for (index, message) in messages.iter().enumerate() {
        let this_refused = refused.next_if(|r| r.message as usize == index);
        let (alone, alone_refused) = decode(&plan, &[message]);
        assert_eq!(
            this_refused.as_ref().map(|r| &r.error),
            alone_refused.first().map(|r| &r.error),
            "what came before must not matter"
        );
        check_against_serde(message, &alone, this_refused.as_ref());
        if this_refused.is_none() {
            assert_eq!(decoded.origin[row], index as u32);
            assert_eq!(decoded.columns.slice(row, 1), alone.columns, "what came before must not matter");
            row += 1;
        }
    }
    assert_eq!((row, refused.next()), (decoded.columns.num_rows(), None));
}

fn check_against_serde(message: &[u8], decoded: &Decoded, refused: Option<&Refused>) {
    let value = match serde_json::from_slice::<Value>(message) {
        Ok(value) => value,
        // Keys and values that are not mapped may contain half a surrogate pair.
        Err(error) if is_narrower(&error) || error.to_string().contains("hex escape") => return,
        Err(error) => {
            assert_eq!(
                refused.map(|r| r.error.sqlstate),
                Some(SqlState::INVALID_TEXT_REPRESENTATION),
                "serde_json says {error}"
            );
            return;
        }
    };
    let fits: Vec<Fit> = PATHS
        .iter()
        .enumerate()
        .map(|(column, (_, path, column_type))| {
            let found = path.iter().try_fold(&value, |value, key| value.as_object()?.get(*key));
            let got = refused.is_none().then(|| decoded.columns.column(column));
            let got = got.map(|g| g.as_ref());
            match (column_type, found) {
                (ColumnType::Json, Some(found)) if !found.is_null() => fit_json(message, path, got),
                (_, found) => fit(found.unwrap_or(&Value::Null), *column_type, got),
            }
        })
        .collect();
    match refused {
        None => assert!(value.is_object() && !fits.contains(&Fit::No), "accepted, but {value} does not fit"),
        Some(r) if r.error.sqlstate == SqlState::UNTRANSLATABLE_CHARACTER && writes_nul(message) => {}
        Some(r) => assert!(!value.is_object() || fits.iter().any(|f| *f != Fit::Yes), "{r:?} from {value}"),
    }
}

/// Whether a value fits a column, as far as serde_json's value shows it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fit {
    Yes,
    No,
    Unknown,
}

/// Determines the fit and checks the outcome, if there is one.
fn fit(value: &Value, column_type: ColumnType, got: Option<&dyn Array>) -> Fit {
    if value.is_null() {
        got.inspect(|got| assert!(got.is_null(0)));
        return Fit::Yes;
    }
    got.inspect(|got| assert!(got.is_valid(0), "{value} became null"));
    match column_type {
        ColumnType::Int64 => fit_integer(value, got.map(|g| g.as_primitive::<Int64Type>().value(0))),
        ColumnType::Float64 => match value {
            Value::Number(number) => {
                got.inspect(|got| {
                    let got = got.as_primitive::<Float64Type>().value(0);
                    assert_eq!(Some(got), number.as_f64());
                });
                // A number that is too small for the type is zero for serde_json, and refused here as PostgreSQL does.
                if number.as_f64() == Some(0.0) { Fit::Unknown } else { Fit::Yes }
            }
            Value::String(_) => Fit::Unknown,
            _ => Fit::No,
        },
        ColumnType::Text => match value {
            Value::String(text) => {
                got.inspect(|got| assert_eq!(got.as_string::<i32>().value(0), text));
                if text.contains('\0') { Fit::No } else { Fit::Yes }
            }
            value => {
                got.inspect(|got| assert_eq!(&parse(got.as_string::<i32>().value(0)), value));
                Fit::Yes
            }
        },
        ColumnType::Bool => match value {
            Value::Bool(wanted) => {
                got.inspect(|got| assert_eq!(got.as_boolean().value(0), *wanted));
                Fit::Yes
            }
            Value::Array(_) | Value::Object(_) => Fit::No,
            _ => Fit::Unknown,
        },
        other => panic!("no column of type {other:?} in the plan"),
    }
}

/// The value at an existing path, as jsonb.
fn fit_json(message: &[u8], path: &[&str], got: Option<&dyn Array>) -> Fit {
    let Ok(text) = canonical::text_at(message, path) else { return Fit::No };
    got.inspect(|got| assert_eq!(got.as_string::<i32>().value(0), text));
    Fit::Yes
}

fn fit_integer(value: &Value, got: Option<i64>) -> Fit {
    match value {
        Value::Number(number) if number.is_i64() => {
            got.inspect(|got| assert_eq!(Some(*got), number.as_i64()));
            Fit::Yes
        }
        Value::Number(number) if number.is_u64() => Fit::No,
        Value::Number(number) => {
            got.inspect(|got| assert_eq!(Some(*got as f64), number.as_f64()));
            Fit::Unknown
        }
        Value::String(_) => Fit::Unknown,
        _ => Fit::No,
    }
}

/// serde_json's own limits, which are not JSON's: numbers beyond a double, and its own measure of depth.
fn is_narrower(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    text.contains("number out of range") || text.contains("recursion limit")
}

/// The NUL may be in the value of a duplicate key, which serde_json's value does not contain.
fn writes_nul(message: &[u8]) -> bool {
    message.windows(6).any(|window| window == b"\\u0000")
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("what the decoder took for JSON")
}
