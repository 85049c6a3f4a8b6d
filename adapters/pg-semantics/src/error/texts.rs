//! What DataFusion and Arrow say in words only. Both have one variant for many different mistakes; the table pairs what their messages
//! contain with an SQLSTATE. Each line has a statement in the tests that makes DataFusion say it.

use kernel::SqlState;

/// Which variant carries the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// `DataFusionError::Plan`: a statement that cannot be planned.
    Plan,
    /// `DataFusionError::Execution`: a function that fails.
    Execution,
    /// Arrow's errors of casts, parsing and arithmetic: a value that does not fit.
    Value,
}

/// In lower case. Of several lines that fit, the first one counts.
const TEXTS: &[(Told, &str, SqlState)] = &[
    (Told::Plan, "table function '", SqlState::UNDEFINED_FUNCTION),
    (Told::Plan, "' not found", SqlState::UNDEFINED_TABLE),
    (Told::Plan, "invalid function '", SqlState::UNDEFINED_FUNCTION),
    (Told::Plan, "must appear in the group by", SqlState::GROUPING_ERROR),
    (Told::Plan, "no value found for placeholder", SqlState::INDETERMINATE_DATATYPE),
    (Told::Plan, "placeholder", SqlState::UNDEFINED_PARAMETER),
    (Told::Plan, "parameter", SqlState::UNDEFINED_PARAMETER),
    (Told::Plan, "coercion", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "coerce", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "cannot infer common", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "no function matches", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "incompatible", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "can not find compatible types", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "can't cast to", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "data type", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "boolean expression", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "non-boolean", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "must be boolean", SqlState::DATATYPE_MISMATCH),
    (Told::Plan, "does not support", SqlState::FEATURE_NOT_SUPPORTED),
    (Told::Plan, "not supported", SqlState::FEATURE_NOT_SUPPORTED),
    (Told::Plan, "unsupported", SqlState::FEATURE_NOT_SUPPORTED),
    (Told::Execution, "subquery returned more than one row", SqlState::CARDINALITY_VIOLATION),
    (Told::Execution, "placeholder", SqlState::UNDEFINED_PARAMETER),
    (Told::Execution, "overflow", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Execution, "out of range", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Execution, "exceeds the representable", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Execution, "unable to parse", SqlState::INVALID_TEXT_REPRESENTATION),
    (Told::Execution, "error parsing", SqlState::INVALID_TEXT_REPRESENTATION),
    (Told::Execution, "invalid", SqlState::INVALID_TEXT_REPRESENTATION),
    (Told::Execution, "not supported", SqlState::FEATURE_NOT_SUPPORTED),
    (Told::Execution, "unsupported", SqlState::FEATURE_NOT_SUPPORTED),
    (Told::Value, "out of range", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Value, "overflow", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Value, "can't cast value", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Value, "is too large to store", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Value, "is too small to store", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    (Told::Value, "error parsing timestamp", SqlState::INVALID_DATETIME_FORMAT),
    (Told::Value, "to value of date", SqlState::INVALID_DATETIME_FORMAT),
    (Told::Value, "to value of time", SqlState::INVALID_DATETIME_FORMAT),
    (Told::Value, "unable to cast to date", SqlState::INVALID_DATETIME_FORMAT),
    (Told::Value, "for type interval", SqlState::INVALID_DATETIME_FORMAT),
];

/// The SQLSTATE of a message of DataFusion's.
pub(super) fn sqlstate(told: Told, message: &str) -> SqlState {
    let lower = message.to_ascii_lowercase();
    let line = TEXTS.iter().find(|(of, text, _)| *of == told && lower.contains(text));
    let otherwise = match told {
        Told::Plan => SqlState::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
        Told::Execution => SqlState::DATA_EXCEPTION,
        Told::Value => SqlState::INVALID_TEXT_REPRESENTATION,
    };
    line.map_or(otherwise, |(_, _, state)| *state)
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;
    use datafusion::error::DataFusionError;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::error::SqlError;

    /// What makes DataFusion, as it comes, say what each line of the table has. Without a statement: a query whose parameter gets no
    /// value.
    const RAISED_BY: &[(Told, &str, Option<&str>)] = &[
        (Told::Plan, "table function '", Some("SELECT * FROM nosuch(1)")),
        (Told::Plan, "' not found", Some("SELECT * FROM nosuch")),
        (Told::Plan, "invalid function '", Some("SELECT nosuch(1)")),
        (
            Told::Plan,
            "must appear in the group by",
            Some("SELECT column1, column2 FROM (VALUES (1, 2)) v GROUP BY column1"),
        ),
        (Told::Plan, "no value found for placeholder", None),
        (Told::Plan, "placeholder", Some("SELECT $0")),
        (Told::Plan, "parameter", Some("SELECT substr(str => 'x', nosuch => 1)")),
        (Told::Plan, "coercion", Some("SELECT sqrt(DATE '2020-01-01')")),
        (Told::Plan, "coerce", Some("SELECT 1 + ARRAY[1]")),
        (Told::Plan, "cannot infer common", Some("SELECT TRUE AND 1")),
        (Told::Plan, "no function matches", Some("SELECT abs('x'::bytea)")),
        (Told::Plan, "incompatible", Some("SELECT 1 UNION SELECT ARRAY[1]")),
        (Told::Plan, "can not find compatible types", Some("SELECT 1 IN (ARRAY[1])")),
        (Told::Plan, "can't cast to", Some("SELECT 1 IN (SELECT ARRAY[1])")),
        (Told::Plan, "data type", Some("VALUES (1), (ARRAY[1])")),
        (Told::Plan, "boolean expression", Some("SELECT NOT 1")),
        (Told::Plan, "non-boolean", Some("SELECT 1 WHERE 1")),
        (Told::Plan, "must be boolean", Some("SELECT 1 FROM (VALUES (1)) a JOIN (VALUES (1)) b ON 1")),
        (Told::Plan, "does not support", Some("SELECT regexp_like('x', '(', 'g')")),
        (Told::Plan, "not supported", Some("SELECT * EXCLUDE (v.column1) FROM (VALUES (1)) v")),
        (Told::Plan, "unsupported", Some("SHOW FUNCTIONS WHERE x = 1")),
        (
            Told::Execution,
            "subquery returned more than one row",
            Some("SELECT (SELECT column1 FROM (VALUES (1), (2)) v)"),
        ),
        (Told::Execution, "placeholder", Some("SELECT 1 + $1")),
        (Told::Execution, "overflow", Some("SELECT factorial(100)")),
        (Told::Execution, "out of range", Some("SELECT make_date(2020, 13, 1)")),
        (Told::Execution, "exceeds the representable", Some("SELECT to_timestamp(9223372036854775807)")),
        (Told::Execution, "unable to parse", Some("SELECT make_date(2020, 2, 31)")),
        (Told::Execution, "error parsing", Some("SELECT to_timestamp('x', '%Y')")),
        (Told::Execution, "invalid", Some("SELECT chr(1114112)")),
        (Told::Execution, "not supported", Some("SELECT date_part('nonsense', TIMESTAMP '2020-01-01')")),
        (Told::Execution, "unsupported", Some("SELECT date_trunc('nonsense', TIMESTAMP '2020-01-01')")),
        (Told::Value, "out of range", Some("SELECT TIMESTAMP '2020-01-01' + INTERVAL '1000000 years'")),
        (Told::Value, "overflow", Some("SELECT CAST(1.5e300 AS DECIMAL(10, 2))")),
        (Told::Value, "can't cast value", Some("SELECT CAST(100000 AS SMALLINT)")),
        (Told::Value, "is too large to store", Some("SELECT CAST(12345 AS DECIMAL(4, 2))")),
        (Told::Value, "is too small to store", Some("SELECT CAST(-12345 AS DECIMAL(4, 2))")),
        (Told::Value, "error parsing timestamp", Some("SELECT CAST('soon' AS TIMESTAMP)")),
        (Told::Value, "to value of date", Some("SELECT CAST('soon' AS DATE)")),
        (Told::Value, "to value of time", Some("SELECT CAST('soon' AS TIME)")),
        (Told::Value, "unable to cast to date", Some("SELECT to_date('x')")),
        (Told::Value, "for type interval", Some("SELECT CAST('soon' AS INTERVAL)")),
    ];

    async fn raised(statement: Option<&str>) -> DataFusionError {
        let context = SessionContext::new();
        let outcome = match statement {
            Some(sql) => async { context.sql(sql).await?.collect().await }.await.map(drop),
            None => {
                let query = context.sql("SELECT $1").await.expect("it is planned");
                query.with_param_values(Vec::<ScalarValue>::new()).map(drop)
            }
        };
        outcome.expect_err(statement.unwrap_or("a parameter without a value"))
    }

    #[tokio::test]
    async fn each_text_is_one_that_datafusion_says() {
        assert_eq!(RAISED_BY.len(), TEXTS.len(), "one statement a line, in order");
        for ((told, text, state), (of, names, statement)) in TEXTS.iter().zip(RAISED_BY) {
            assert_eq!((told, text), (of, names));
            let error = raised(*statement).await;
            let variant = match told {
                Told::Plan => "error during planning: ",
                Told::Execution => "execution error: ",
                Told::Value => "arrow error: ",
            };
            let chain = error.strip_backtrace().to_ascii_lowercase();
            let (_, said) = chain.split_once(variant).unwrap_or_else(|| panic!("{statement:?}: {chain}"));
            assert!(said.contains(text), "{statement:?} does not say {text:?}: {said}");
            let first =
                TEXTS.iter().find(|(of, text, _)| of == told && said.contains(text)).expect("this one");
            assert_eq!(first.1, *text, "{statement:?} is told apart by another line: {said}");
            assert_eq!(SqlError::from(error).sqlstate, *state, "{statement:?}: {said}");
        }
    }

    #[test]
    fn what_no_line_fits_has_the_state_of_its_variant() {
        let of = |told| sqlstate(told, "something else").to_string();
        assert_eq!([of(Told::Plan), of(Told::Execution), of(Told::Value)], ["42000", "22000", "22P02"]);
    }
}
