//! Assignments that are folds over the rows of a key: `c = c + x`, `c = x`, `c = greatest(c, x)` and the like, where x
//! does not read the stored row. However many rows a key has, they take one pass over the column and give one
//! post-image. The passes process each key's rows in order, so their results are bit for bit those of row-by-row
//! processing. Keys with a row that would be rejected are returned for processing by `rounds`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use arrow_select::interleave::interleave;

use super::contents::{Contents, TooLarge};
use super::incoming::Incoming;
use super::outcome::Groups;
use crate::error::SqlState;
use crate::expr::{
    Arithmetic, Expr, Number, RowErrors, Scope, Update, compare_floats, compute_decimal, evaluate,
};
use crate::ids::ColumnId;

/// A recognised assignment.
#[derive(Debug)]
pub(super) struct Fold<'a> {
    pub column: usize,
    kind: Kind,
    incoming: &'a Expr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// `c = c + x` or `c = c - x`
    Sum(Arithmetic),
    /// `c = x`
    Last,
    /// `c = greatest(c, x)` or `c = least(c, x)`
    Extreme(Ordering),
}

/// The assignments as folds, or None if one of them is not, or if there is a condition.
pub(super) fn recognise<'a>(contents: &Contents, update: &'a Update) -> Option<Vec<Fold<'a>>> {
    if update.condition.is_some() {
        return None;
    }
    let fold = |(id, expr): &'a (ColumnId, Expr)| {
        let column = contents.table.ordinal(*id).expect("an assigned column exists");
        let data_type = contents.schema.field(column).data_type();
        let (kind, incoming) = kind_of(*id, expr)?;
        // Sums are of numbers, or the program would not have passed the check.
        if matches!(kind, Kind::Extreme(_)) && !data_type.is_primitive() {
            return None;
        }
        (!incoming.uses_stored()).then_some(Fold { column, kind, incoming })
    };
    update.assignments.iter().map(fold).collect()
}

fn kind_of(column: ColumnId, expr: &Expr) -> Option<(Kind, &Expr)> {
    let is_stored = |e: &Expr| matches!(e, Expr::Stored(c) if *c == column);
    match expr {
        Expr::Arithmetic(Arithmetic::Add, a, b) if is_stored(a) => Some((Kind::Sum(Arithmetic::Add), b)),
        Expr::Arithmetic(Arithmetic::Add, a, b) if is_stored(b) => Some((Kind::Sum(Arithmetic::Add), a)),
        Expr::Arithmetic(Arithmetic::Subtract, a, b) if is_stored(a) => {
            Some((Kind::Sum(Arithmetic::Subtract), b))
        }
        // Of two equal values the first one is kept (0.0 and -0.0 are equal but not identical).
        Expr::Greatest(operands) | Expr::Least(operands) => match &operands[..] {
            [a, b] if is_stored(a) => {
                let greatest = matches!(expr, Expr::Greatest(_));
                let wanted = if greatest { Ordering::Greater } else { Ordering::Less };
                Some((Kind::Extreme(wanted), b))
            }
            _ => Some((Kind::Last, expr)),
        },
        other => Some((Kind::Last, other)),
    }
}

impl Fold<'_> {
    /// The assigned column after all rows of each group, by group. Sets `unfit` for groups in which a row would be
    /// rejected. None if the expression is not of the column's type.
    pub fn run(
        &self,
        contents: &Contents,
        incoming: &Incoming,
        groups: &Groups,
        unfit: &mut [bool],
    ) -> Result<Option<ArrayRef>, TooLarge> {
        let own = &incoming.columns[self.column];
        let mut errors = RowErrors::default();
        let scope =
            Scope { table: &contents.table, stored: &[], incoming: &incoming.columns, rows: incoming.len };
        let value = evaluate(self.incoming, scope, &mut errors);
        if value.data_type() != own.data_type() {
            return Ok(None);
        }
        for (row, _) in errors.iter().filter(|(row, _)| !groups.inserts(*row)) {
            unfit[groups.of_row[row] as usize] = true;
        }
        let nullable = contents.table.columns[self.column].nullable;
        if let (false, Kind::Sum(_) | Kind::Last, Some(nulls)) = (nullable, self.kind, value.nulls()) {
            for row in (0..incoming.len).filter(|row| nulls.is_null(*row) && !groups.inserts(*row)) {
                unfit[groups.of_row[row] as usize] = true;
            }
        }
        if self.kind == Kind::Last {
            return Ok(Some(last(&value, own, groups)));
        }
        let first = contents.gather(self.column, &groups.locations, (own, &groups.first_row))?;
        Ok(Some(self.accumulate(&first, &value, groups, unfit)))
    }

    fn accumulate(
        &self,
        first: &ArrayRef,
        value: &ArrayRef,
        groups: &Groups,
        unfit: &mut [bool],
    ) -> ArrayRef {
        macro_rules! number {
            ($type:ty, $compare:expr) => {{
                let (first, value) = (first.as_primitive::<$type>(), value.as_primitive::<$type>());
                match self.kind {
                    Kind::Sum(operator) => {
                        sum(first, value, groups, unfit, |a, b| Number::compute(operator, a, b))
                    }
                    Kind::Extreme(wanted) => extreme(first, value, groups, |a, b| $compare(a, b) == wanted),
                    Kind::Last => unreachable!("the last value is not accumulated"),
                }
            }};
        }
        macro_rules! instant {
            ($type:ty) => {{
                let Kind::Extreme(wanted) = self.kind else { unreachable!("instants are not added") };
                let (first, value) = (first.as_primitive::<$type>(), value.as_primitive::<$type>());
                extreme(first, value, groups, |a, b| Ord::cmp(a, b) == wanted)
            }};
        }
        match first.data_type() {
            DataType::Int16 => number!(Int16Type, Ord::cmp),
            DataType::Int32 => number!(Int32Type, Ord::cmp),
            DataType::Int64 => number!(Int64Type, Ord::cmp),
            DataType::Float32 => {
                number!(Float32Type, |a: &f32, b: &f32| compare_floats((*a).into(), (*b).into()))
            }
            DataType::Float64 => number!(Float64Type, |a: &f64, b: &f64| compare_floats(*a, *b)),
            DataType::Decimal128(precision, scale) => {
                let (first, value) =
                    (first.as_primitive::<Decimal128Type>(), value.as_primitive::<Decimal128Type>());
                match self.kind {
                    Kind::Sum(operator) => sum(first, value, groups, unfit, |a, b| {
                        compute_decimal(operator, a, b, *precision, *scale)
                    }),
                    Kind::Extreme(wanted) => extreme(first, value, groups, |a, b| a.cmp(b) == wanted),
                    Kind::Last => unreachable!("the last value is not accumulated"),
                }
            }
            DataType::Date32 => instant!(Date32Type),
            DataType::Timestamp(..) => instant!(TimestampMicrosecondType),
            other => unreachable!("{other} was not recognised"),
        }
    }
}

/// The value of each group's last row; from its own column if the only row is an insert.
fn last(value: &ArrayRef, own: &ArrayRef, groups: &Groups) -> ArrayRef {
    let pick = |group: usize| {
        let row = groups.last_row[group] as usize;
        (usize::from(groups.inserts(row)), row)
    };
    let picks: Vec<(usize, usize)> = (0..groups.len()).map(pick).collect();
    interleave(&[value.as_ref(), own.as_ref()], &picks).expect("rows of the batch, of one type")
}

/// Sums; a null makes the sum null. `first` is the stored value, or that of the inserting row.
fn sum<T: ArrowPrimitiveType>(
    first: &PrimitiveArray<T>,
    value: &PrimitiveArray<T>,
    groups: &Groups,
    unfit: &mut [bool],
    step: impl Fn(T::Native, T::Native) -> Result<T::Native, SqlState>,
) -> ArrayRef {
    let mut sums = first.values().to_vec();
    let has_nulls = first.nulls().or(value.nulls()).is_some();
    let mut known: Option<Vec<bool>> =
        has_nulls.then(|| (0..first.len()).map(|group| first.is_valid(group)).collect());
    for (row, (group, value_here)) in groups.of_row.iter().zip(value.values()).enumerate() {
        let group = *group as usize;
        if groups.inserts(row) {
            continue;
        }
        if let Some(known) = &mut known {
            known[group] &= value.is_valid(row);
            if !known[group] {
                continue;
            }
        }
        match step(sums[group], *value_here) {
            Ok(sum) => sums[group] = sum,
            Err(_) => unfit[group] = true,
        }
    }
    finish::<T>(sums, known, first.data_type())
}

/// Keeps the greatest or least; nulls are ignored.
fn extreme<T: ArrowPrimitiveType>(
    first: &PrimitiveArray<T>,
    value: &PrimitiveArray<T>,
    groups: &Groups,
    beats: impl Fn(&T::Native, &T::Native) -> bool,
) -> ArrayRef {
    let mut best = first.values().to_vec();
    let mut known: Vec<bool> = (0..first.len()).map(|group| first.is_valid(group)).collect();
    for (row, value_here) in value.values().iter().enumerate() {
        let group = groups.of_row[row] as usize;
        if value.is_valid(row) && !groups.inserts(row) && (!known[group] || beats(value_here, &best[group])) {
            best[group] = *value_here;
            known[group] = true;
        }
    }
    finish::<T>(best, Some(known), first.data_type())
}

fn finish<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    known: Option<Vec<bool>>,
    data_type: &DataType,
) -> ArrayRef {
    let nulls = known.filter(|known| known.contains(&false)).map(NullBuffer::from);
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type.clone()))
}
