//! The evaluator against an interpreter of one row at a time.

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::expr::scalar::{Value, array, interpret, same, value_at};
use crate::schema::{ColumnDef, errors_table};

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 9, scale: 2 };
/// Column types of the rows that expressions read, stored and incoming.
const TYPES: [ColumnType; 8] = [
    ColumnType::Int16,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float64,
    DECIMAL,
    ColumnType::Text,
    ColumnType::Bool,
    ColumnType::Date,
];
const NUMBERS: [ColumnType; 6] = [
    ColumnType::Int16,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float32,
    ColumnType::Float64,
    DECIMAL,
];

fn value(column_type: ColumnType) -> BoxedStrategy<Value> {
    let some = match column_type {
        ColumnType::Int16 => {
            prop_oneof![-3i16..4, any::<i16>(), Just(i16::MIN), Just(i16::MAX)].prop_map(Value::I16).boxed()
        }
        ColumnType::Int32 => prop_oneof![-3i32..4, any::<i32>(), Just(i32::MIN)].prop_map(Value::I32).boxed(),
        ColumnType::Int64 => prop_oneof![-3i64..4, any::<i64>(), Just(i64::MIN)].prop_map(Value::I64).boxed(),
        ColumnType::Float32 => {
            prop_oneof![(-3i8..4).prop_map(f32::from), any::<f32>()].prop_map(Value::F32).boxed()
        }
        ColumnType::Float64 => prop_oneof![
            (-3i8..4).prop_map(f64::from),
            any::<f64>(),
            Just(-0.0),
            Just(f64::NAN),
            Just(f64::MAX)
        ]
        .prop_map(Value::F64)
        .boxed(),
        ColumnType::Decimal { precision, scale } => {
            prop_oneof![-300i128..400, -999_999_999i128..=999_999_999]
                .prop_map(move |v| Value::Decimal(v, precision, scale))
                .boxed()
        }
        ColumnType::Text => "[ab ä]{0,3}".prop_map(Value::Text).boxed(),
        ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ColumnType::Date => (-2i32..3).prop_map(Value::Date).boxed(),
        other => unreachable!("{other:?}"),
    };
    prop_oneof![4 => some, 1 => Just(Value::Null)].boxed()
}

fn literal(value: Value, column_type: ColumnType) -> Expr {
    let literal = match value {
        Value::Null => Literal::Null,
        Value::Bool(v) => Literal::Bool(v),
        Value::I16(v) => Literal::Int(v.into()),
        Value::I32(v) => Literal::Int(v.into()),
        Value::I64(v) => Literal::Int(v),
        Value::F32(v) => Literal::Float(v.into()),
        Value::F64(v) => Literal::Float(v),
        Value::Decimal(v, _, scale) => Literal::Decimal(v, scale),
        Value::Text(v) => Literal::Text(v),
        Value::Date(v) => Literal::Date(v),
    };
    Expr::Literal(literal, column_type)
}

fn number() -> impl Strategy<Value = ColumnType> {
    prop::sample::select(&NUMBERS[..])
}

/// A table of columns of these types, whose ids are their ordinals.
fn table(types: &[ColumnType]) -> TableDef {
    let column = |(at, column_type): (usize, &ColumnType)| ColumnDef {
        id: ColumnId(at as u32),
        name: format!("c{at}"),
        column_type: *column_type,
        nullable: true,
        default_sql: None,
    };
    TableDef { columns: types.iter().enumerate().map(column).collect(), ..errors_table() }
}

/// Well-typed expressions.
fn expr(column_type: ColumnType, depth: u32) -> BoxedStrategy<Expr> {
    let constant = value(column_type).prop_map(move |v| literal(v, column_type)).boxed();
    let leaf = match TYPES.iter().position(|t| *t == column_type) {
        Some(at) => prop_oneof![
            constant,
            Just(Expr::Stored(ColumnId(at as u32))),
            Just(Expr::Incoming(ColumnId(at as u32)))
        ]
        .boxed(),
        None => constant,
    };
    if depth == 0 {
        return leaf;
    }
    let of = move |t: ColumnType| expr(t, depth - 1);
    let boxed = move |t: ColumnType| of(t).prop_map(Box::new);
    let branches = vec((of(ColumnType::Bool), of(column_type)), 0..3);
    let mut choices = vec![
        leaf,
        vec(of(column_type), 1..4).prop_map(Expr::Coalesce).boxed(),
        vec(of(column_type), 1..4).prop_map(Expr::Greatest).boxed(),
        vec(of(column_type), 1..4).prop_map(Expr::Least).boxed(),
        (branches, boxed(column_type)).prop_map(|(b, e)| Expr::Case(b, e)).boxed(),
    ];
    if NUMBERS.contains(&column_type) {
        use Arithmetic::*;
        let operator = prop::sample::select(&[Add, Subtract, Multiply, Divide, Remainder][..]);
        let two = (operator, boxed(column_type), boxed(column_type));
        choices.push(two.prop_map(|(o, a, b)| Expr::Arithmetic(o, a, b)).boxed());
        choices.push(boxed(column_type).prop_map(Expr::Negate).boxed());
        if let ColumnType::Decimal { .. } = column_type {
            let (operands, ways) = ((boxed(column_type), boxed(column_type)), (any::<bool>(), any::<bool>()));
            choices.push(
                (operands, ways)
                    .prop_map(move |((a, b), (rounded, places_known))| {
                        Expr::Quotient(Quotient { to: column_type, rounded, places_known }, a, b)
                    })
                    .boxed(),
            );
        }
        let from = number().prop_flat_map(boxed);
        choices.push(from.prop_map(move |a| Expr::Cast(a, column_type)).boxed());
    }
    if column_type == ColumnType::Text {
        choices.push((boxed(column_type), boxed(column_type)).prop_map(|(a, b)| Expr::Concat(a, b)).boxed());
        let short = ColumnType::Varchar { max_chars: Some(2) };
        choices.push(boxed(column_type).prop_map(move |a| Expr::Cast(a, short)).boxed());
    }
    if column_type == ColumnType::Bool {
        use Comparison::*;
        let any_type = || prop::sample::select(&TYPES[..]);
        let comparison =
            prop::sample::select(&[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual][..]);
        let sides = any_type().prop_flat_map(move |t| (boxed(t), boxed(t)));
        choices.push((comparison, sides).prop_map(|(c, (a, b))| Expr::Compare(c, a, b)).boxed());
        let two = move || (boxed(ColumnType::Bool), boxed(ColumnType::Bool));
        choices.push(two().prop_map(|(a, b)| Expr::And(a, b)).boxed());
        choices.push(two().prop_map(|(a, b)| Expr::Or(a, b)).boxed());
        choices.push(boxed(ColumnType::Bool).prop_map(Expr::Not).boxed());
        choices.push(any_type().prop_flat_map(boxed).prop_map(Expr::IsNull).boxed());
    }
    proptest::strategy::Union::new(choices).boxed()
}

type Row = Vec<Value>;

fn found_at(errors: &RowErrors, row: usize) -> Option<SqlState> {
    errors.iter().find(|(at, _)| *at == row).map(|(_, kind)| kind)
}

fn row() -> impl Strategy<Value = Row> {
    TYPES.map(value).to_vec()
}

fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let column = |at: usize| array(TYPES[at], &rows.iter().map(|r| r[at].clone()).collect::<Vec<_>>());
    (0..TYPES.len()).map(column).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn columns_give_what_rows_give(
        (column_type, expr) in prop_oneof![prop::sample::select(&TYPES[..]), number()]
            .prop_flat_map(|t| (Just(t), expr(t, 3))),
        rows in vec((row(), row()), 1..12),
    ) {
        let (stored, incoming): (Vec<Row>, Vec<Row>) = rows.iter().cloned().unzip();
        let (stored_columns, incoming_columns) = (columns(&stored), columns(&incoming));
        let table = table(&TYPES);
        let scope = Scope { table: &table, stored: &stored_columns, incoming: &incoming_columns, rows: rows.len() };
        let mut errors = RowErrors::default();
        let result = evaluate(&expr, scope, &mut errors);
        prop_assert_eq!(result.data_type(), &column_type.arrow());
        for row in 0..rows.len() {
            match interpret(&expr, &stored[row], &incoming[row]) {
                Err(kind) => prop_assert_eq!(found_at(&errors, row), Some(kind), "row {}", row),
                Ok(value) => {
                    prop_assert_eq!(found_at(&errors, row), None, "row {}", row);
                    let found = value_at(&result, row);
                    prop_assert!(same(&found, &value), "row {}: {:?} is not {:?}", row, found, value);
                }
            }
        }
    }
}

#[test]
fn rounding_and_ranges() {
    let decimal = |v| Expr::Literal(Literal::Decimal(v, 2), DECIMAL);
    let check = |expr: Expr, wanted: Result<Value, SqlState>| {
        let mut errors = RowErrors::default();
        let result =
            evaluate(&expr, Scope { table: &table(&[]), stored: &[], incoming: &[], rows: 1 }, &mut errors);
        match wanted {
            Ok(value) => assert!(same(&value_at(&result, 0), &value), "{expr:?}: {result:?}"),
            Err(kind) => assert_eq!(found_at(&errors, 0), Some(kind), "{expr:?}"),
        }
    };
    let two = |operator, a, b| Expr::Arithmetic(operator, Box::new(decimal(a)), Box::new(decimal(b)));
    // 0.05 * 0.50 = 0.025 -> 0.03; -1.00 / 3.00 = -0.33; 2.00 / 3.00 = 0.67
    check(two(Arithmetic::Multiply, 5, 50), Ok(Value::Decimal(3, 9, 2)));
    check(two(Arithmetic::Divide, -100, 300), Ok(Value::Decimal(-33, 9, 2)));
    check(two(Arithmetic::Divide, 200, 300), Ok(Value::Decimal(67, 9, 2)));
    check(two(Arithmetic::Multiply, 999_999_999, 200), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    check(two(Arithmetic::Divide, 1, 0), Err(SqlState::DIVISION_BY_ZERO));
    let cast = |v: f64, t| Expr::Cast(Box::new(Expr::Literal(Literal::Float(v), ColumnType::Float64)), t);
    check(cast(2.5, ColumnType::Int64), Ok(Value::I64(2)));
    check(cast(3.5, ColumnType::Int16), Ok(Value::I16(4)));
    check(cast(9.3e18, ColumnType::Int64), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    check(cast(f64::NAN, ColumnType::Int64), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    check(cast(1e39, ColumnType::Float32), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    let narrow = |v, t| Expr::Cast(Box::new(decimal(v)), t);
    check(narrow(250, ColumnType::Int64), Ok(Value::I64(3)));
    check(narrow(-250, ColumnType::Int64), Ok(Value::I64(-3)));
}

#[test]
fn a_program_that_does_not_fit_refuses_its_rows() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_new(
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)])),
        vec![column],
    )
    .unwrap();
    let table = table(&[ColumnType::Int64]);
    let scope = Scope { table: &table, stored: &[], incoming: batch.columns(), rows: 2 };
    for expr in [
        Expr::Stored(ColumnId(0)),
        Expr::Incoming(ColumnId(7)),
        Expr::Not(Box::new(Expr::Incoming(ColumnId(0)))),
        Expr::Coalesce(vec![]),
        Expr::Literal(Literal::Int(1 << 40), ColumnType::Int32),
    ] {
        let mut errors = RowErrors::default();
        evaluate(&expr, scope, &mut errors);
        let all: Vec<_> = errors.iter().collect();
        assert_eq!(all, [(0, SqlState::INTERNAL_ERROR), (1, SqlState::INTERNAL_ERROR)]);
    }
}

/// The value of a cast of a constant.
fn cast_of(literal: Literal, from: ColumnType, to: ColumnType) -> Result<Value, SqlState> {
    let expr = Expr::Cast(Box::new(Expr::Literal(literal, from)), to);
    let mut errors = RowErrors::default();
    let result =
        evaluate(&expr, Scope { table: &table(&[]), stored: &[], incoming: &[], rows: 1 }, &mut errors);
    match errors.iter().next() {
        Some((_, kind)) => Err(kind),
        None => Ok(value_at(&result, 0)),
    }
}

#[test]
fn a_text_fits_its_column_or_refuses_the_row() {
    let cast = |text: &str, max_chars| {
        let to = ColumnType::Varchar { max_chars };
        cast_of(Literal::Text(text.into()), ColumnType::Text, to)
    };
    let text = |text: &str| Ok(Value::Text(text.into()));
    assert_eq!(cast("äöü", Some(3)), text("äöü"));
    assert_eq!(cast("äö   ", Some(3)), text("äö "));
    assert_eq!(cast("äöü!", Some(3)), Err(SqlState::STRING_DATA_RIGHT_TRUNCATION));
    assert_eq!(cast("   !", Some(3)), Err(SqlState::STRING_DATA_RIGHT_TRUNCATION));
    assert_eq!(cast("as long as it likes", None), text("as long as it likes"));
    assert_eq!(
        cast_of(Literal::Null, ColumnType::Text, ColumnType::Varchar { max_chars: Some(1) }),
        Ok(Value::Null)
    );
}

#[test]
fn casts_to_floats_round_once() {
    // Just above the middle of two reals: the nearest double is that middle, which would round to even, downwards.
    let above = (1i64 << 60) + (1 << 36) + 1;
    let next = ((1u64 << 60) + (1 << 37)) as f32;
    assert_eq!(cast_of(Literal::Int(above), ColumnType::Int64, ColumnType::Float32), Ok(Value::F32(next)));
    let numeric = ColumnType::Decimal { precision: 38, scale: 3 };
    let digits = 123_456_789_012_345_678_901;
    let literal = || Literal::Decimal(digits, 3);
    assert_eq!(cast_of(literal(), numeric, ColumnType::Float64), Ok(Value::F64(123_456_789_012_345_678.901)));
    assert_eq!(cast_of(literal(), numeric, ColumnType::Float32), Ok(Value::F32(123_456_789_012_345_678.901)));
    for unscaled in [9_007_199_254_740_993i128, 90_071_992_547_409_935, -36_028_797_018_963_971] {
        let exact: f64 = format!("{unscaled}e-3").parse().expect("a number");
        let found = cast_of(Literal::Decimal(unscaled, 3), numeric, ColumnType::Float64);
        assert_eq!(found, Ok(Value::F64(exact)), "{unscaled}");
    }
}

/// PostgreSQL 15's results for the same floats.
#[test]
fn a_float_becomes_a_numeric_of_its_first_digits() {
    let numeric = |scale| ColumnType::Decimal { precision: 38, scale };
    let of = |float, scale| cast_of(Literal::Float(float), ColumnType::Float64, numeric(scale));
    let of_real = |float, scale| cast_of(Literal::Float(float), ColumnType::Float32, numeric(scale));
    let is = |unscaled, scale| Ok(Value::Decimal(unscaled, 38, scale));
    assert_eq!(of(0.285, 2), is(29, 2));
    assert_eq!(of(-1.005, 2), is(-101, 2));
    assert_eq!(of(4_177_409.666_666_667, 10), is(41_774_096_666_666_700, 10));
    assert_eq!(of(1_000_000_000_000_005.0, 0), is(1_000_000_000_000_000, 0));
    assert_eq!(of(1_000_000_000_000_015.0, 0), is(1_000_000_000_000_020, 0));
    assert_eq!(of(99_999_999_999_999.5, 3), is(99_999_999_999_999_500, 3));
    assert_eq!(of(1e-9, 10), is(10, 10));
    assert_eq!(of(1e-300, 10), is(0, 10));
    assert_eq!(of(-0.0, 10), is(0, 10));
    assert_eq!(of(1e37, 0), is(10i128.pow(37), 0));
    assert_eq!(of_real(100_000.5, 2), is(10_000_000, 2));
    assert_eq!(of_real(1_000_005.0, 0), is(1_000_000, 0));
    // The double next to 1e38 is below it, but has 39 digits after it is rounded to fifteen.
    for float in [1e38, -1e38, 1.1e38, 1e39, -1e39, f64::MAX, f64::INFINITY, f64::NAN] {
        assert_eq!(of(float, 0), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE), "{float}");
    }
}
