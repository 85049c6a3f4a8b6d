//! The expected text of the errors table for a rejected row: the reason and the row. Computed without the kernel: dates
//! by `chrono`, texts by `serde_json`.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use kernel::schema::ColumnType;

use super::value::{Row, Value};
use crate::scenario::TableShape;

/// The message for a rejected row, by its SQLSTATE.
pub fn refusal(code: &str, table: &str, shape: TableShape, row: &Row) -> String {
    let columns = shape.columns();
    if code == "23505" {
        let key: Vec<usize> = shape.key().iter().map(|column| usize::from(*column)).collect();
        let names: Vec<&str> = key.iter().map(|column| columns[*column].0).collect();
        let values: Vec<String> =
            key.iter().map(|column| value_text(&row[*column], columns[*column].1)).collect();
        return format!(
            "duplicate key in table \"{table}\": ({}) = ({}) exists already; use ON DUPLICATE KEY UPDATE to change the row that \
             is there",
            names.join(", "),
            values.join(", ")
        );
    }
    let what = match code {
        "22001" => "a value is too long for the type of its column",
        "22003" => "a value is out of the range of its type",
        "22012" => "division by zero",
        "53200" => "a text becomes too long",
        _ => "an assignment does not fit its column",
    };
    format!("ON DUPLICATE KEY UPDATE of table \"{table}\": {what}")
}

/// The row's own columns, truncated to this many bytes.
pub fn row_text(shape: TableShape, row: &Row, bytes_max: usize) -> String {
    let mut text = String::from("{");
    for (at, (name, column_type, _)) in shape.columns().iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        text += &format!("{comma}\"{name}\":{}", value_text(&row[at], *column_type));
        if text.len() > bytes_max {
            let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).expect("0 is one");
            return format!("{}…", &text[..end]);
        }
    }
    text + "}"
}

fn value_text(value: &Value, column_type: ColumnType) -> String {
    let int = match value {
        Value::Null => return "null".into(),
        Value::Text(text) if column_type == ColumnType::Bytea => {
            let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            return format!("\"\\\\x{digits}\"");
        }
        Value::Text(text) => return serde_json::to_string(text).expect("a text is JSON"),
        Value::Bytes(_) => unreachable!("only of a message that no row came of"),
        Value::Float(bits) if column_type == ColumnType::Float32 => {
            return (f64::from_bits(*bits) as f32).to_string();
        }
        Value::Float(bits) => return f64::from_bits(*bits).to_string(),
        Value::Int(int) => i128::from(*int),
        Value::Big(int) => *int,
    };
    let time = || {
        let time = DateTime::from_timestamp_micros(int as i64);
        time.expect("the world's times are of this era")
    };
    match column_type {
        ColumnType::Bool => (int == 1).to_string(),
        ColumnType::Decimal { scale: 0, .. } => int.to_string(),
        ColumnType::Decimal { scale, .. } => {
            let one = 10u128.pow(scale.unsigned_abs().into());
            let (sign, digits) = (if int < 0 { "-" } else { "" }, int.unsigned_abs());
            format!(
                "{sign}{}.{:0width$}",
                digits / one,
                digits % one,
                width = usize::from(scale.unsigned_abs())
            )
        }
        ColumnType::Date => {
            let first = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");
            let day = first + chrono::Duration::days(int as i64);
            format!("\"{:04}-{:02}-{:02}\"", day.year(), day.month(), day.day())
        }
        ColumnType::Timestamp | ColumnType::TimestampTz => {
            let (at, zone) = (time(), if column_type == ColumnType::TimestampTz { "+00" } else { "" });
            format!(
                "\"{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}{zone}\"",
                at.year(),
                at.month(),
                at.day(),
                at.hour(),
                at.minute(),
                at.second(),
                at.timestamp_subsec_micros()
            )
        }
        _ => int.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_as_users_write_them() {
        let price = ColumnType::Decimal { precision: 18, scale: 4 };
        assert_eq!(value_text(&Value::Int(-12_345), price), "-1.2345");
        assert_eq!(value_text(&Value::Int(-1), ColumnType::Date), "\"1969-12-31\"");
        let time = Value::Int(951_782_400_000_001);
        assert_eq!(value_text(&time, ColumnType::TimestampTz), "\"2000-02-29 00:00:00.000001+00\"");
        assert_eq!(value_text(&Value::Text("a\"\n".into()), ColumnType::Text), "\"a\\\"\\n\"");
        assert_eq!(value_text(&Value::Text("ab".into()), ColumnType::Bytea), "\"\\\\x6162\"");
    }

    #[test]
    fn a_long_row_is_cut_off_between_characters() {
        let row = vec![Value::Int(1), Value::Int(2), Value::Text("ää".into())];
        assert_eq!(row_text(TableShape::Latest, &row, 100), "{\"k\":1,\"amount\":2,\"tag\":\"ää\"}");
        assert_eq!(row_text(TableShape::Latest, &row, 27), "{\"k\":1,\"amount\":2,\"tag\":\"ä…");
    }
}
