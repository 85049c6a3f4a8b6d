//! Converts a column of texts into a column of values, by the decoders' rules. For callers with texts of their own,
//! such as SQL literals and COPY.

use arrow_array::ArrayRef;
use kernel::SqlState;
use kernel::schema::ColumnType;

use crate::plan::FieldMapping;
use crate::value::Column;

/// A text that is not a value of the type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadText {
    /// Which of the texts.
    pub row: usize,
    /// SQLSTATE.
    pub sqlstate: SqlState,
    /// Why, to follow the text: `is not a valid bigint`.
    pub reason: String,
}

/// The values that texts stand for, with the Arrow type of `column_type`. Stops at the first invalid text.
pub fn parse_texts<'a>(
    column_type: ColumnType,
    texts: impl Iterator<Item = Option<&'a str>>,
) -> Result<ArrayRef, BadText> {
    let mapping = FieldMapping {
        name: String::new(),
        column_type,
        nullable: true,
        path: Vec::new(),
        default: None,
        unit: None,
    };
    let mut column = Column::new(&mapping).expect("a mapping without a default always makes a column");
    for (row, text) in texts.enumerate() {
        let appended = match text {
            Some(text) => column.append_text(text.as_bytes()),
            None => column.append_null(),
        };
        appended.map_err(|fault| BadText {
            row,
            sqlstate: fault.sqlstate(),
            reason: fault.reason(column_type),
        })?;
    }
    Ok(column.finish())
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int16Type;

    use super::*;

    #[test]
    fn texts_become_values_or_say_which_one_does_not() {
        let read = parse_texts(ColumnType::Int16, [Some(" 7"), None, Some("-32768")].into_iter()).unwrap();
        let expected = [Some(7), None, Some(-32768)];
        assert_eq!(read.as_primitive::<Int16Type>().iter().collect::<Vec<_>>(), expected);
        let bad = parse_texts(ColumnType::Int16, [Some("7"), Some("32768")].into_iter()).unwrap_err();
        assert_eq!((bad.row, bad.sqlstate), (1, SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
        let bad = parse_texts(ColumnType::Bool, [Some("maybe")].into_iter()).unwrap_err();
        assert_eq!((bad.row, bad.sqlstate), (0, SqlState::INVALID_TEXT_REPRESENTATION));
        assert_eq!(bad.reason, "is not a valid boolean");
    }
}
