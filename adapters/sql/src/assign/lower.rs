//! From SQL expressions to the kernel's: the assignments and conditions of ON DUPLICATE KEY UPDATE and ON CONFLICT DO
//! UPDATE. A column alone is the stored row's, `VALUES(col)` and `excluded.col` the incoming row's. Types are coerced
//! here, so that the kernel never has to; expressions that its language lacks are refused with 0A000.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CeilFloorKind, DataType, DateTimeField, ExactNumberInfo, Expr as Sql, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, Ident, UnaryOperator, Value,
};
use kernel::expr::{Arithmetic, Comparison, Expr, Literal, OnDuplicate, Update};
use kernel::schema::{ColumnDef, ColumnType, TableDef, chars_len};
use kernel::{ColumnId, Micros};
use tidemark_pipeline_sql::{column_type, names, type_name};

use super::arithmetic::{self, as_number, as_operands, calculate, copy, natural_type, shortened};
use super::convert::literal_from_text;
use crate::error::{Result, SqlError, SqlState};

/// Deepest expression that is lowered.
const DEPTH_MAX: usize = 100;

const MICROS_A_DAY: i64 = 86_400_000_000;

/// `floor(x)` and not `floor(x TO DAY)`.
const NO_FIELD: CeilFloorKind = CeilFloorKind::DateTimeField(DateTimeField::NoDateTime);

/// The names of the clause.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The table that is written.
    pub table: &'a TableDef,
    /// Name of the stored row in the statement.
    pub alias: &'a str,
    /// `now()`; None where the clause outlives the statement, as in a pipeline.
    pub now_us: Option<Micros>,
}

/// Lowers assignments (column and right-hand side) and a condition.
pub fn update(
    scope: Scope<'_>,
    assignments: &[(String, Sql)],
    condition: Option<&Sql>,
) -> Result<OnDuplicate> {
    let mut lowered = Vec::with_capacity(assignments.len());
    for (name, value) in assignments {
        let column = scope.column_named(name)?;
        if scope.table.primary_key.contains(&column.id) {
            return Err(SqlError::unsupported(format!(
                "column \"{name}\" is part of the primary key of \"{}\" and cannot be assigned where a key exists already",
                scope.table.name
            )));
        }
        if scope.table.shard_key.contains(&column.id) {
            return Err(SqlError::unsupported(format!(
                "column \"{name}\" is part of the shard key of \"{}\" and cannot be assigned where a key exists already",
                scope.table.name
            )));
        }
        if lowered.iter().any(|(seen, _)| *seen == column.id) {
            return Err(SqlError::syntax(format!("multiple assignments to same column \"{name}\"")));
        }
        let value = shortened(scope.lower(value, DEPTH_MAX)?, column.column_type);
        let value = bring(value, column.column_type).map_err(|found| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{name}\" is of type {} but expression is of type {found}",
                    type_name(column.column_type)
                ),
            )
        })?;
        lowered.push((column.id, value?));
    }
    let condition = condition.map(|c| scope.lower(c, DEPTH_MAX).and_then(boolean)).transpose()?;
    let lowered = OnDuplicate::Update(Update { assignments: lowered, condition });
    lowered.check(scope.table)?;
    Ok(lowered)
}

/// A lowered expression, with its type if it has one.
pub(super) enum Lowered {
    Typed(Expr, ColumnType),
    /// A string literal: takes the type of the other operand.
    Text(String),
    /// A number as written: takes the numeric type of the other operand, if it fits.
    Number(String),
    Null,
}

use Lowered::{Null, Number, Text, Typed};

impl Scope<'_> {
    fn column_named(&self, name: &str) -> Result<&ColumnDef> {
        let found = self.table.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.table.name);
            SqlError::new(SqlState::UNDEFINED_COLUMN, message)
        })
    }

    fn column(&self, ident: &Ident, make: fn(ColumnId) -> Expr) -> Result<Lowered> {
        let column = self.column_named(&names::fold(ident))?;
        Ok(Typed(make(column.id), column.column_type))
    }

    fn lower(&self, sql: &Sql, depth: usize) -> Result<Lowered> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(SqlError::new(
                SqlState::STATEMENT_TOO_COMPLEX,
                "the expression is nested too deeply",
            ));
        };
        match sql {
            Sql::Nested(inner) => self.lower(inner, depth),
            Sql::Identifier(ident) => self.identifier(ident),
            Sql::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, column] if names::fold(relation) == "excluded" => {
                    self.column(column, Expr::Incoming)
                }
                [relation, column] if names::fold(relation) == self.alias => {
                    self.column(column, Expr::Stored)
                }
                [relation, _] => Err(SqlError::new(
                    SqlState::UNDEFINED_TABLE,
                    format!("missing FROM-clause entry for table \"{}\"", names::fold(relation)),
                )),
                _ => Err(refused(sql)),
            },
            Sql::Value(value) => literal(&value.value).ok_or_else(|| refused(sql)),
            Sql::TypedString(typed) => match &typed.value.value {
                Value::SingleQuotedString(text) => cast(Text(text.clone()), &typed.data_type, sql),
                _ => Err(refused(sql)),
            },
            Sql::Cast { expr, data_type, .. } => cast(self.lower(expr, depth)?, data_type, sql),
            Sql::UnaryOp { op, expr } => unary(op, self.lower(expr, depth)?, sql),
            Sql::BinaryOp { left, op, right } => {
                binary(self.lower(left, depth)?, op, self.lower(right, depth)?, sql)
            }
            Sql::IsNull(e) | Sql::IsUnknown(e) => Ok(is_null(self.lower(e, depth)?)),
            Sql::IsNotNull(e) | Sql::IsNotUnknown(e) => not(is_null(self.lower(e, depth)?)),
            Sql::IsTrue(e) => is_true(boolean(self.lower(e, depth)?)?),
            Sql::IsNotTrue(e) => not(is_true(boolean(self.lower(e, depth)?)?)?),
            Sql::IsFalse(e) => is_true(Expr::Not(Box::new(boolean(self.lower(e, depth)?)?))),
            Sql::IsNotFalse(e) => not(is_true(Expr::Not(Box::new(boolean(self.lower(e, depth)?)?)))?),
            Sql::Between { expr, negated, low, high } => {
                let at_least =
                    binary(self.lower(expr, depth)?, &BinaryOperator::GtEq, self.lower(low, depth)?, sql)?;
                let at_most =
                    binary(self.lower(expr, depth)?, &BinaryOperator::LtEq, self.lower(high, depth)?, sql)?;
                let between = binary(at_least, &BinaryOperator::And, at_most, sql)?;
                if *negated { not(between) } else { Ok(between) }
            }
            Sql::InList { expr, list, negated } => self.in_list(expr, list, *negated, depth, sql),
            Sql::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), depth, sql)
            }
            Sql::Function(function) => self.function(function, depth, sql),
            Sql::Floor { expr, field: NO_FIELD } => arithmetic::whole("floor", self.lower(expr, depth)?, sql),
            Sql::Ceil { expr, field: NO_FIELD } => arithmetic::whole("ceil", self.lower(expr, depth)?, sql),
            _ => Err(refused(sql)),
        }
    }

    fn identifier(&self, ident: &Ident) -> Result<Lowered> {
        if ident.quote_style.is_none() && ident.value.starts_with('@') {
            return Err(SqlError::unsupported(format!(
                "variable {} cannot be used in ON DUPLICATE KEY UPDATE: SET a column from it, and say VALUES(column)",
                ident.value
            )));
        }
        self.column(ident, Expr::Stored)
    }

    fn in_list(&self, expr: &Sql, list: &[Sql], negated: bool, depth: usize, sql: &Sql) -> Result<Lowered> {
        let mut any = None;
        if list.len() > DEPTH_MAX {
            return Err(SqlError::new(
                SqlState::STATEMENT_TOO_COMPLEX,
                format!("IN has more than {DEPTH_MAX} values"),
            ));
        }
        for item in list {
            let equal = binary(self.lower(expr, depth)?, &BinaryOperator::Eq, self.lower(item, depth)?, sql)?;
            any = Some(match any {
                None => equal,
                Some(before) => binary(before, &BinaryOperator::Or, equal, sql)?,
            });
        }
        let any = any.ok_or_else(|| refused(sql))?;
        if negated { not(any) } else { Ok(any) }
    }

    fn case(
        &self,
        operand: Option<&Sql>,
        conditions: &[CaseWhen],
        otherwise: Option<&Sql>,
        depth: usize,
        sql: &Sql,
    ) -> Result<Lowered> {
        let mut tests = Vec::new();
        let mut values = Vec::new();
        for CaseWhen { condition, result } in conditions {
            let condition = self.lower(condition, depth)?;
            tests.push(match operand {
                None => boolean(condition)?,
                Some(operand) => {
                    let operand = self.lower(operand, depth)?;
                    boolean(binary(operand, &BinaryOperator::Eq, condition, sql)?)?
                }
            });
            values.push(self.lower(result, depth)?);
        }
        values.push(otherwise.map_or(Ok(Null), |e| self.lower(e, depth))?);
        let (mut values, column_type) = unify(values, sql)?;
        let otherwise = values.pop().expect("the ELSE value was pushed");
        let branches = tests.into_iter().zip(values).collect();
        Ok(Typed(Expr::Case(branches, Box::new(otherwise)), column_type))
    }

    fn function(&self, function: &Function, depth: usize, sql: &Sql) -> Result<Lowered> {
        let name = function.name.to_string().to_ascii_lowercase();
        let arguments = arguments(function).ok_or_else(|| refused(sql))?;
        if name == "values" {
            return match arguments.as_slice() {
                [Sql::Identifier(ident)] => self.column(ident, Expr::Incoming),
                _ => Err(SqlError::syntax("VALUES(column) takes one column")),
            };
        }
        let mut lowered = Vec::with_capacity(arguments.len());
        for argument in &arguments {
            lowered.push(self.lower(argument, depth)?);
        }
        match (name.as_str(), lowered.len()) {
            ("coalesce", 1..) | ("ifnull" | "nvl", 2) => {
                let (values, column_type) = unify(lowered, sql)?;
                Ok(Typed(Expr::Coalesce(values), column_type))
            }
            ("greatest", 1..) => {
                let (values, column_type) = unify(lowered, sql)?;
                ordered(column_type, sql)?;
                Ok(Typed(Expr::Greatest(values), column_type))
            }
            ("least", 1..) => {
                let (values, column_type) = unify(lowered, sql)?;
                ordered(column_type, sql)?;
                Ok(Typed(Expr::Least(values), column_type))
            }
            ("nullif", 2) => {
                let [left, right] = <[Lowered; 2]>::try_from(lowered).ok().expect("two went in");
                let (left, right) = as_operands(left, right);
                let (values, column_type) = unify(vec![left, right], sql)?;
                ordered(column_type, sql)?;
                let [left, right] = <[Expr; 2]>::try_from(values).expect("two went in");
                let equal = Expr::Compare(Comparison::Equal, Box::new(copy(&left, sql)?), Box::new(right));
                let null = Expr::Literal(Literal::Null, column_type);
                Ok(Typed(Expr::Case(vec![(equal, null)], Box::new(left)), column_type))
            }
            ("abs", 1) => {
                let (values, column_type) = unify(lowered, sql)?;
                let value = values.into_iter().next().expect("one went in");
                let zero = zero(column_type).ok_or_else(|| refused(sql))?;
                let negative = Expr::Compare(Comparison::Less, Box::new(copy(&value, sql)?), Box::new(zero));
                let negated = Expr::Negate(Box::new(value.clone()));
                Ok(Typed(Expr::Case(vec![(negative, negated)], Box::new(value)), column_type))
            }
            ("if", 3) => {
                let values = lowered.split_off(1);
                let condition = boolean(lowered.pop().expect("three went in"))?;
                let (values, column_type) = unify(values, sql)?;
                let [then, otherwise] = <[Expr; 2]>::try_from(values).expect("two went in");
                Ok(Typed(Expr::Case(vec![(condition, then)], Box::new(otherwise)), column_type))
            }
            ("concat", 1..) => concat(lowered, sql),
            ("now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp", 0) => {
                let now = self.now(sql)?;
                Ok(Typed(
                    Expr::Literal(Literal::Timestamp(now), ColumnType::TimestampTz),
                    ColumnType::TimestampTz,
                ))
            }
            ("localtimestamp", 0) => {
                let now = Literal::Timestamp(self.now(sql)?);
                Ok(Typed(Expr::Literal(now, ColumnType::Timestamp), ColumnType::Timestamp))
            }
            ("current_date", 0) => {
                let today = self.now(sql)?.div_euclid(MICROS_A_DAY) as i32;
                Ok(Typed(Expr::Literal(Literal::Date(today), ColumnType::Date), ColumnType::Date))
            }
            _ => arithmetic::function(&name, lowered, sql).unwrap_or_else(|| Err(refused(sql))),
        }
    }

    fn now(&self, sql: &Sql) -> Result<Micros> {
        self.now_us.ok_or_else(|| {
            SqlError::unsupported(format!(
                "{sql} cannot be used in a pipeline's ON DUPLICATE KEY UPDATE: SET a column to it, and say VALUES(column)"
            ))
        })
    }
}

pub(super) fn refused(sql: &Sql) -> SqlError {
    SqlError::unsupported(format!(
        "{sql} cannot be used where a key exists already: columns, VALUES(column), excluded.column, constants, arithmetic, \
         comparisons, AND, OR, NOT, CASE, COALESCE, GREATEST, LEAST, NULLIF, ABS, ROUND, TRUNC, FLOOR, CEIL, MOD and || can"
    ))
}

fn literal(value: &Value) -> Option<Lowered> {
    Some(match value {
        Value::Number(digits, false) => Number(digits.to_string()),
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Text(text.clone()),
        Value::DollarQuotedString(text) => Text(text.value.clone()),
        Value::Boolean(value) => Typed(bool_literal(*value), ColumnType::Bool),
        Value::Null => Null,
        _ => return None,
    })
}

fn bool_literal(value: bool) -> Expr {
    Expr::Literal(Literal::Bool(value), ColumnType::Bool)
}

fn zero(column_type: ColumnType) -> Option<Expr> {
    is_numeric(column_type).then(|| bring(Number("0".into()), column_type).ok()?.ok()).flatten()
}

fn arguments(function: &Function) -> Option<Vec<&Sql>> {
    if function.over.is_some() || function.filter.is_some() || !function.within_group.is_empty() {
        return None;
    }
    let list = match &function.args {
        FunctionArguments::None => return Some(vec![]),
        FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => {
            list
        }
        _ => return None,
    };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

pub(super) fn is_integer(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64)
}

pub(super) fn is_numeric(column_type: ColumnType) -> bool {
    is_integer(column_type)
        || matches!(column_type, ColumnType::Float32 | ColumnType::Float64 | ColumnType::Decimal { .. })
}

fn is_text(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Text | ColumnType::Varchar { .. })
}

/// The common type of two operands; None if there is none.
fn common(left: ColumnType, right: ColumnType) -> Option<ColumnType> {
    use ColumnType as T;
    if left == right {
        return Some(left);
    }
    if is_text(left) && is_text(right) {
        return Some(T::Text);
    }
    if !is_numeric(left) || !is_numeric(right) {
        return None;
    }
    Some(match (left, right) {
        (T::Float64, _) | (_, T::Float64) => T::Float64,
        (T::Float32, _) | (_, T::Float32) => T::Float32,
        (T::Decimal { scale: a, .. }, T::Decimal { scale: b, .. }) => {
            T::Decimal { precision: 38, scale: a.max(b) }
        }
        (T::Decimal { scale, .. }, _) | (_, T::Decimal { scale, .. }) => T::Decimal { precision: 38, scale },
        (T::Int64, _) | (_, T::Int64) => T::Int64,
        _ => T::Int32,
    })
}

/// The common type of all values.
fn common_of(values: &[Lowered], sql: &Sql) -> Result<ColumnType> {
    let mut known = None;
    for value in values {
        if let Typed(_, column_type) = value {
            known = Some(match known {
                None => *column_type,
                Some(before) => common(before, *column_type).ok_or_else(|| disagree(sql))?,
            });
        }
    }
    for value in values {
        if let Number(digits) = value {
            known = Some(match known {
                Some(before) if is_numeric(before) && fits(digits, before) => before,
                Some(before) => common(before, natural_type(digits)).ok_or_else(|| disagree(sql))?,
                None => natural_type(digits),
            });
        }
    }
    // A literal beside varchar(3) keeps its own length.
    let beside_literal = values.iter().any(|value| matches!(value, Text(_)));
    Ok(match known {
        Some(known) if is_text(known) && beside_literal => ColumnType::Text,
        known => known.unwrap_or(ColumnType::Text),
    })
}

/// True if a literal is exactly a value of the type.
fn fits(digits: &str, column_type: ColumnType) -> bool {
    match column_type {
        ColumnType::Float32 | ColumnType::Float64 => true,
        ColumnType::Decimal { scale, .. } => {
            let fraction = digits.split_once('.').map_or(0, |(_, f)| f.len());
            !digits.contains(['e', 'E'])
                && fraction <= scale as usize
                && literal_from_text(digits, column_type).is_ok()
        }
        other => digits.parse::<i64>().is_ok() && literal_from_text(digits, other).is_ok(),
    }
}

pub(super) fn disagree(sql: &Sql) -> SqlError {
    SqlError::new(
        SqlState::DATATYPE_MISMATCH,
        format!("operands of {sql} are of types that do not go together"),
    )
}

pub(super) fn unify(values: Vec<Lowered>, sql: &Sql) -> Result<(Vec<Expr>, ColumnType)> {
    let mut values = values;
    let mut column_type = common_of(&values, sql)?;
    // A string literal beside numerics has digits of its own.
    if matches!(column_type, ColumnType::Decimal { .. })
        && values.iter().any(|value| matches!(value, Text(_)))
    {
        values = values.into_iter().map(as_number).collect();
        column_type = common_of(&values, sql)?;
    }
    let brought: Result<Vec<Expr>> =
        values.into_iter().map(|v| bring(v, column_type).map_err(|_| disagree(sql))?).collect();
    Ok((brought?, column_type))
}

/// Converts a value to this type. The outer error names its type if there is no conversion; the inner one reports an
/// invalid literal.
pub(super) fn bring(value: Lowered, column_type: ColumnType) -> Result<Result<Expr>, String> {
    Ok(Ok(match value {
        Null => Expr::Literal(Literal::Null, column_type),
        Text(text) => match literal_from_text(&text, column_type) {
            Ok(literal) => Expr::Literal(literal, column_type),
            Err(error) => return Ok(Err(error)),
        },
        Number(digits) if is_numeric(column_type) && fits(&digits, column_type) => {
            match literal_from_text(&digits, column_type) {
                Ok(literal) => Expr::Literal(literal, column_type),
                Err(error) => return Ok(Err(error)),
            }
        }
        Number(digits) if is_numeric(column_type) => {
            let natural = natural_type(&digits);
            match literal_from_text(&digits, natural) {
                Ok(literal) => Expr::Cast(Box::new(Expr::Literal(literal, natural)), column_type),
                Err(error) => return Ok(Err(error)),
            }
        }
        Number(digits) => return Err(type_name(natural_type(&digits))),
        Typed(expr, found) if found == column_type => expr,
        Typed(Expr::Literal(Literal::Null, _), _) => Expr::Literal(Literal::Null, column_type),
        Typed(expr, found)
            if is_numeric(found) && is_numeric(column_type) || is_text(found) && is_text(column_type) =>
        {
            Expr::Cast(Box::new(expr), column_type)
        }
        Typed(Expr::Literal(literal, found), _) if is_time(found) && is_time(column_type) => {
            Expr::Literal(at_time(literal, column_type), column_type)
        }
        Typed(_, found) => return Err(type_name(found)),
    }))
}

fn is_time(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz)
}

/// A literal date or time as another kind of date or time, in UTC.
fn at_time(literal: Literal, column_type: ColumnType) -> Literal {
    match (literal, column_type) {
        (Literal::Timestamp(micros), ColumnType::Date) => {
            Literal::Date(micros.div_euclid(MICROS_A_DAY) as i32)
        }
        (Literal::Date(days), ColumnType::Timestamp | ColumnType::TimestampTz) => {
            Literal::Timestamp(i64::from(days).saturating_mul(MICROS_A_DAY))
        }
        (same, _) => same,
    }
}

fn boolean(value: Lowered) -> Result<Expr> {
    bring(value, ColumnType::Bool).map_err(|found| {
        let message = format!("a condition must be of type boolean, not {found}");
        SqlError::new(SqlState::DATATYPE_MISMATCH, message)
    })?
}

fn not(value: Lowered) -> Result<Lowered> {
    Ok(Typed(Expr::Not(Box::new(boolean(value)?)), ColumnType::Bool))
}

fn is_true(value: Expr) -> Result<Lowered> {
    Ok(Typed(Expr::Coalesce(vec![value, bool_literal(false)]), ColumnType::Bool))
}

fn is_null(value: Lowered) -> Lowered {
    match value {
        Typed(expr, _) => Typed(Expr::IsNull(Box::new(expr)), ColumnType::Bool),
        Null => Typed(bool_literal(true), ColumnType::Bool),
        Text(_) | Number(_) => Typed(bool_literal(false), ColumnType::Bool),
    }
}

fn unary(op: &UnaryOperator, value: Lowered, sql: &Sql) -> Result<Lowered> {
    match (op, value) {
        (UnaryOperator::Not, value) => not(value),
        (UnaryOperator::Plus, value @ (Number(_) | Null)) => Ok(value),
        (UnaryOperator::Minus, Number(digits)) => Ok(match digits.strip_prefix('-') {
            Some(positive) => Number(positive.into()),
            None => Number(format!("-{digits}")),
        }),
        (UnaryOperator::Minus, Null) => Ok(Null),
        (UnaryOperator::Plus, Typed(expr, t)) if is_numeric(t) => Ok(Typed(expr, t)),
        (UnaryOperator::Minus, Typed(expr, t)) if is_numeric(t) => Ok(Typed(Expr::Negate(Box::new(expr)), t)),
        _ => Err(refused(sql)),
    }
}

fn binary(left: Lowered, op: &BinaryOperator, right: Lowered, sql: &Sql) -> Result<Lowered> {
    match op {
        BinaryOperator::Plus => calculate(Arithmetic::Add, left, right, sql),
        BinaryOperator::Minus => calculate(Arithmetic::Subtract, left, right, sql),
        BinaryOperator::Multiply => calculate(Arithmetic::Multiply, left, right, sql),
        BinaryOperator::Divide => calculate(Arithmetic::Divide, left, right, sql),
        BinaryOperator::Modulo => calculate(Arithmetic::Remainder, left, right, sql),
        BinaryOperator::Eq => compare(Comparison::Equal, left, right, sql),
        BinaryOperator::NotEq => compare(Comparison::NotEqual, left, right, sql),
        BinaryOperator::Lt => compare(Comparison::Less, left, right, sql),
        BinaryOperator::LtEq => compare(Comparison::LessOrEqual, left, right, sql),
        BinaryOperator::Gt => compare(Comparison::Greater, left, right, sql),
        BinaryOperator::GtEq => compare(Comparison::GreaterOrEqual, left, right, sql),
        BinaryOperator::And => {
            let both = Expr::And(Box::new(boolean(left)?), Box::new(boolean(right)?));
            Ok(Typed(both, ColumnType::Bool))
        }
        BinaryOperator::Or => {
            let either = Expr::Or(Box::new(boolean(left)?), Box::new(boolean(right)?));
            Ok(Typed(either, ColumnType::Bool))
        }
        BinaryOperator::StringConcat => {
            let join = |v: Lowered| bring(v, ColumnType::Text).map_err(|_| refused(sql))?;
            let joined = Expr::Concat(Box::new(join(left)?), Box::new(join(right)?));
            Ok(Typed(joined, ColumnType::Text))
        }
        _ => Err(refused(sql)),
    }
}

fn compare(op: Comparison, left: Lowered, right: Lowered, sql: &Sql) -> Result<Lowered> {
    let (left, right) = as_operands(left, right);
    let (values, column_type) = unify(vec![left, right], sql)?;
    ordered(column_type, sql)?;
    let [left, right] = <[Expr; 2]>::try_from(values).expect("two went in");
    Ok(Typed(Expr::Compare(op, Box::new(left), Box::new(right)), ColumnType::Bool))
}

/// JSON cannot be ordered by its text.
fn ordered(column_type: ColumnType, sql: &Sql) -> Result<()> {
    if column_type == ColumnType::Json {
        return Err(SqlError::unsupported(format!("{sql}: values of type jsonb cannot be compared here")));
    }
    Ok(())
}

/// `concat`: nulls are skipped.
fn concat(values: Vec<Lowered>, sql: &Sql) -> Result<Lowered> {
    let mut joined: Option<Expr> = None;
    for value in values {
        let text = bring(value, ColumnType::Text).map_err(|_| refused(sql))??;
        let empty = Expr::Literal(Literal::Text(String::new()), ColumnType::Text);
        let text = Expr::Coalesce(vec![text, empty]);
        joined = Some(match joined {
            None => text,
            Some(before) => Expr::Concat(Box::new(before), Box::new(text)),
        });
    }
    Ok(Typed(joined.ok_or_else(|| refused(sql))?, ColumnType::Text))
}

fn cast(value: Lowered, data_type: &DataType, sql: &Sql) -> Result<Lowered> {
    let at = datafusion::sql::sqlparser::tokenizer::Location::empty();
    let column_type = column_type(data_type, at)?;
    if let DataType::Numeric(ExactNumberInfo::None)
    | DataType::Decimal(ExactNumberInfo::None)
    | DataType::Dec(ExactNumberInfo::None) = data_type
    {
        return numeric(value, sql);
    }
    let brought = match (shortened(value, column_type), column_type) {
        (Text(text), bounded) if bounded.max_chars().is_some() => {
            let cut = chars_len(text.as_bytes(), bounded.max_chars().unwrap_or(text.len()));
            bring(Text(text[..cut].into()), bounded)
        }
        // The kernel's cast is an assignment's, which fails where an explicit cast truncates.
        (Typed(..) | Number(_), bounded) if bounded.max_chars().is_some() => return Err(refused(sql)),
        // Numbers are read in the type that they are cast to.
        (Number(digits), other) if !is_numeric(other) => bring(Text(digits), other),
        (value, _) => bring(value, column_type),
    };
    Ok(Typed(brought.map_err(|_| refused(sql))??, column_type))
}

/// A value as a numeric with all of its digits.
fn numeric(value: Lowered, sql: &Sql) -> Result<Lowered> {
    match as_number(value) {
        Typed(expr, found) if is_integer(found) => {
            let whole = ColumnType::Decimal { precision: 38, scale: 0 };
            Ok(Typed(Expr::Cast(Box::new(expr), whole), whole))
        }
        Number(digits) => match natural_type(&digits) {
            natural @ ColumnType::Decimal { .. } => {
                Ok(Typed(Expr::Literal(literal_from_text(&digits, natural)?, natural), natural))
            }
            _ => {
                let whole = ColumnType::Decimal { precision: 38, scale: 0 };
                Ok(Typed(Expr::Literal(literal_from_text(&digits, whole)?, whole), whole))
            }
        },
        same @ (Typed(_, ColumnType::Decimal { .. }) | Null) => Ok(same),
        _ => Err(refused(sql)),
    }
}
