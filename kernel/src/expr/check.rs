//! Checks that a program fits its table. The lowering and the coordinator check before a program is evaluated, so that
//! a misfit fails at CREATE and not row by row.

use super::flat::DEPTH_MAX;
use super::{Expr, Literal, OnDuplicate, Update};
use crate::error::{Error, Result, SqlState};
use crate::schema::{ColumnType, TableDef};

impl OnDuplicate {
    /// Fails with the first misfit.
    pub fn check(&self, table: &TableDef) -> Result<()> {
        match self {
            OnDuplicate::Reject | OnDuplicate::Ignore => Ok(()),
            OnDuplicate::Replace if table.primary_key.is_empty() => no_key(table),
            OnDuplicate::Replace => Ok(()),
            OnDuplicate::Update(update) => update.check(table),
        }
    }
}

impl Update {
    fn check(&self, table: &TableDef) -> Result<()> {
        if table.primary_key.is_empty() {
            return no_key(table);
        }
        let programs = self.assignments.iter().map(|(_, expr)| expr).chain(&self.condition);
        if programs.map(Expr::depth).any(|depth| depth > DEPTH_MAX) {
            return misfit(table, format!("an expression is nested more than {DEPTH_MAX} levels deep"));
        }
        for (at, (column, expr)) in self.assignments.iter().enumerate() {
            let Some(definition) = table.ordinal(*column).map(|at| &table.columns[at]) else {
                return misfit(table, format!("there is no column {column}"));
            };
            let name = &definition.name;
            if table.primary_key.contains(column) {
                return misfit(
                    table,
                    format!("column \"{name}\" is part of the primary key and cannot be assigned"),
                );
            }
            if self.assignments[..at].iter().any(|(other, _)| other == column) {
                return misfit(table, format!("column \"{name}\" is assigned twice"));
            }
            let found = expr.column_type(table)?;
            let bounded = definition.column_type.max_chars().is_some();
            let fits = match bounded {
                // The assignment checks the length of the value.
                true => found == definition.column_type,
                false => found.arrow() == definition.column_type.arrow(),
            };
            if !fits {
                let wanted = definition.column_type;
                return misfit(
                    table,
                    format!("column \"{name}\" is {wanted:?}, its assignment is {found:?}"),
                );
            }
        }
        match &self.condition {
            Some(condition) => expect(table, condition, ColumnType::Bool),
            None => Ok(()),
        }
    }
}

impl Expr {
    /// Type of its value, or an error that names the misfit.
    pub fn column_type(&self, table: &TableDef) -> Result<ColumnType> {
        match self {
            Expr::Stored(column) | Expr::Incoming(column) => match table.ordinal(*column) {
                Some(at) => Ok(table.columns[at].column_type),
                None => misfit(table, format!("there is no column {column}")),
            },
            Expr::Literal(literal, column_type) if literal.is_of(*column_type) => Ok(*column_type),
            Expr::Literal(literal, t) => {
                misfit(table, format!("the constant {literal:?} is not of type {t:?}"))
            }
            Expr::Arithmetic(_, a, b) => {
                let column_type = alike(table, [a.as_ref(), b.as_ref()])?;
                number(table, column_type)
            }
            Expr::Quotient(how, a, b) => {
                decimal(table, a.column_type(table)?)?;
                decimal(table, b.column_type(table)?)?;
                decimal(table, how.to)
            }
            Expr::Negate(a) => number(table, a.column_type(table)?),
            Expr::Compare(_, a, b) => alike(table, [a.as_ref(), b.as_ref()]).map(|_| ColumnType::Bool),
            Expr::And(a, b) | Expr::Or(a, b) => {
                expect(table, a, ColumnType::Bool)?;
                expect(table, b, ColumnType::Bool).map(|()| ColumnType::Bool)
            }
            Expr::Not(a) => expect(table, a, ColumnType::Bool).map(|()| ColumnType::Bool),
            Expr::IsNull(a) => a.column_type(table).map(|_| ColumnType::Bool),
            Expr::Coalesce(operands) | Expr::Greatest(operands) | Expr::Least(operands) => {
                alike(table, operands)
            }
            Expr::Case(branches, otherwise) => {
                for (condition, _) in branches {
                    expect(table, condition, ColumnType::Bool)?;
                }
                alike(table, branches.iter().map(|(_, value)| value).chain([otherwise.as_ref()]))
            }
            Expr::Concat(a, b) => {
                expect(table, a, ColumnType::Text)?;
                expect(table, b, ColumnType::Text).map(|()| ColumnType::Text)
            }
            Expr::Cast(a, to) => {
                let from = a.column_type(table)?;
                if from.arrow() != to.arrow() {
                    number(table, from)?;
                    number(table, *to)?;
                }
                Ok(*to)
            }
        }
    }
}

impl Literal {
    fn is_of(&self, column_type: ColumnType) -> bool {
        use ColumnType::*;
        match (self, column_type) {
            (Literal::Null, _)
            | (Literal::Bool(_), Bool)
            | (Literal::Int(_), Int64)
            | (Literal::Float(_), Float32 | Float64)
            | (Literal::Text(_), Text | Json | Uuid | Varchar { max_chars: None })
            | (Literal::Bytes(_), Bytea)
            | (Literal::Date(_), Date)
            | (Literal::Timestamp(_), Timestamp | TimestampTz) => true,
            (Literal::Text(v), Varchar { max_chars: Some(max) }) => v.chars().count() <= max as usize,
            (Literal::Int(v), Int16) => i16::try_from(*v).is_ok(),
            (Literal::Int(v), Int32) => i32::try_from(*v).is_ok(),
            (Literal::Decimal(v, own), Decimal { precision, scale }) => {
                *own == scale && super::eval::in_precision(*v, precision).is_ok()
            }
            _ => false,
        }
    }
}

/// The common type of operands; at least one is required. For texts with different bounds it is the unbounded text.
fn alike<'a>(table: &TableDef, operands: impl IntoIterator<Item = &'a Expr>) -> Result<ColumnType> {
    let mut found: Option<ColumnType> = None;
    for operand in operands {
        let next = operand.column_type(table)?;
        match found {
            Some(before) if before.arrow() != next.arrow() => {
                return misfit(table, format!("operands are of different types, {before:?} and {next:?}"));
            }
            Some(before) if before != next && next.max_chars().is_some() => {
                found = Some(if before.max_chars().is_some() { ColumnType::Text } else { before });
            }
            _ => found = Some(next),
        }
    }
    found.map_or_else(|| misfit(table, "an operator has no operands".into()), Ok)
}

fn expect(table: &TableDef, expr: &Expr, wanted: ColumnType) -> Result<()> {
    let found = expr.column_type(table)?;
    if found.arrow() == wanted.arrow() {
        return Ok(());
    }
    misfit(table, format!("an operand is {found:?} where {wanted:?} is needed"))
}

fn number(table: &TableDef, column_type: ColumnType) -> Result<ColumnType> {
    use ColumnType::*;
    match column_type {
        Int16 | Int32 | Int64 | Float32 | Float64 | Decimal { .. } => Ok(column_type),
        other => misfit(table, format!("an operand is {other:?} where a number is needed")),
    }
}

fn decimal(table: &TableDef, column_type: ColumnType) -> Result<ColumnType> {
    match column_type {
        ColumnType::Decimal { .. } => Ok(column_type),
        other => misfit(table, format!("an operand is {other:?} where a decimal is needed")),
    }
}

fn no_key<T>(table: &TableDef) -> Result<T> {
    let what = format!(
        "table \"{}\" has no primary key, so no row is ever a duplicate; declare a primary key",
        table.name
    );
    Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, what))
}

fn misfit<T>(table: &TableDef, what: String) -> Result<T> {
    let message = format!("ON DUPLICATE KEY of table \"{}\": {what}", table.name);
    Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Arithmetic;
    use crate::ids::ColumnId;
    use crate::schema::errors_table;

    fn keyed() -> TableDef {
        TableDef { primary_key: vec![ColumnId(0)], ..errors_table() }
    }

    fn assign(column: u32, expr: Expr) -> OnDuplicate {
        OnDuplicate::Update(Update { assignments: vec![(ColumnId(column), expr)], condition: None })
    }

    #[test]
    fn what_fits_passes_and_what_does_not_is_named() {
        let sum = |a, b| Expr::Arithmetic(Arithmetic::Add, Box::new(a), Box::new(b));
        let good = assign(8, sum(Expr::Stored(ColumnId(8)), Expr::Incoming(ColumnId(8))));
        assert_eq!(good.check(&keyed()), Ok(()));
        let bad = [
            (assign(0, Expr::Incoming(ColumnId(0))), "primary key"),
            (assign(99, Expr::Incoming(ColumnId(0))), "no column 99"),
            (assign(7, Expr::Incoming(ColumnId(8))), "is Int32, its assignment is Int64"),
            (assign(8, sum(Expr::Stored(ColumnId(8)), Expr::Incoming(ColumnId(7)))), "different types"),
            (assign(3, sum(Expr::Stored(ColumnId(3)), Expr::Incoming(ColumnId(3)))), "a number is needed"),
            (assign(8, Expr::Coalesce(vec![])), "no operands"),
            (assign(7, Expr::Literal(Literal::Int(1 << 40), ColumnType::Int32)), "constant"),
        ];
        for (program, what) in bad {
            let error = program.check(&keyed()).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER_VALUE);
            assert!(error.message.contains(what), "{}", error.message);
        }
        let short = ColumnType::Varchar { max_chars: Some(3) };
        let mut bounded = keyed();
        bounded.columns[3].column_type = short;
        let cast = |to| Expr::Cast(Box::new(Expr::Incoming(ColumnId(5))), to);
        assert_eq!(assign(3, cast(short)).check(&bounded), Ok(()));
        let mixed = |a, b| Expr::Coalesce(vec![a, b]);
        assert_eq!(assign(3, mixed(Expr::Stored(ColumnId(3)), cast(short))).check(&bounded), Ok(()));
        let longer = ColumnType::Varchar { max_chars: Some(4) };
        for too_long in [
            cast(ColumnType::Text),
            cast(longer),
            mixed(cast(longer), Expr::Stored(ColumnId(3))),
            mixed(Expr::Stored(ColumnId(3)), cast(ColumnType::Text)),
            Expr::Literal(Literal::Text("four".into()), short),
        ] {
            let error = assign(3, too_long.clone()).check(&bounded).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER_VALUE, "{too_long:?}");
        }
        let error = good.check(&errors_table()).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        let condition = Some(Expr::Incoming(ColumnId(8)));
        let update = OnDuplicate::Update(Update { assignments: vec![], condition });
        assert!(update.check(&keyed()).is_err());
    }
}
