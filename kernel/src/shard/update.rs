//! ON DUPLICATE KEY UPDATE: by folds if all assignments are folds, and by rounds for the rest.

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::contents::{Contents, TooLarge};
use super::fold::{self, Fold};
use super::incoming::Incoming;
use super::outcome::{Groups, Outcome};
use super::rounds;
use crate::coverage::{CoverageMark, reached};
use crate::expr::{Expr, Update};

/// Computes the outcome of rows of which some have existing keys.
pub(super) fn update(
    contents: &Contents,
    incoming: &Incoming,
    groups: &Groups,
    update: &Update,
) -> Result<Outcome, TooLarge> {
    let key = &contents.table.primary_key;
    assert!(update.assignments.iter().all(|(c, _)| !key.contains(c)), "key columns are never assigned");
    let programs = update.assignments.iter().map(|(_, expr)| expr).chain(&update.condition);
    let constant_bytes: usize = programs.map(Expr::constant_bytes).sum();
    if incoming.len > 1 && !contents.limits.fits_step(constant_bytes.saturating_mul(incoming.len)) {
        return Err(TooLarge);
    }
    let mut unfit = vec![false; groups.len()];
    let folded = match fold::recognise(contents, update) {
        Some(folds) => fold_groups(contents, incoming, groups, &folds, &mut unfit)?,
        None => None,
    };
    let Some(folded) = folded else {
        let all: Vec<u32> = (0..groups.len() as u32).collect();
        return rounds::run(contents, incoming, groups, update, &all);
    };
    reached(CoverageMark::Folded);
    if !unfit.contains(&true) {
        return Ok(folded);
    }
    reached(CoverageMark::FoldUnfit);
    let (in_rounds, in_folds): (Vec<u32>, Vec<u32>) =
        (0..groups.len() as u32).partition(|group| unfit[*group as usize]);
    let rest = rounds::run(contents, incoming, groups, update, &in_rounds)?;
    Ok(join(some_groups(folded, groups, &in_folds), rest))
}

/// The outcome of all groups by folds. The results of groups that become `unfit` must not be used.
fn fold_groups(
    contents: &Contents,
    incoming: &Incoming,
    groups: &Groups,
    folds: &[Fold<'_>],
    unfit: &mut [bool],
) -> Result<Option<Outcome>, TooLarge> {
    let mut columns: Vec<Option<ArrayRef>> = vec![None; incoming.columns.len()];
    for fold in folds {
        let folded = fold.run(contents, incoming, groups, unfit)?;
        if folded.is_none() {
            return Ok(None);
        }
        columns[fold.column] = folded;
    }
    let rows_of = |rows: &[u32], column: &ArrayRef| -> ArrayRef {
        take(column, &UInt32Array::from(rows.to_vec()), None).expect("rows of the batch")
    };
    let hidden = contents.table.columns.len();
    let column = |(at, folded): (usize, Option<ArrayRef>)| {
        let own = &incoming.columns[at];
        Ok(match folded {
            Some(folded) => folded,
            None if at >= hidden => rows_of(&groups.last_row, own),
            // Equal keys are identical except for floats (0.0 and -0.0), where the stored one is kept.
            None if contents.key.contains(&(at as u16)) && !is_float(own.data_type()) => {
                rows_of(&groups.first_row, own)
            }
            None => contents.gather(at, &groups.locations, (own, &groups.first_row))?,
        })
    };
    let columns = columns.into_iter().enumerate().map(column).collect::<Result<_, TooLarge>>()?;
    let (hashes, before) = (groups.hashes.clone(), groups.locations.clone());
    let mut outcome = Outcome { columns, hashes, before, ..Outcome::default() };
    outcome.counts.inserted = groups.inserted();
    outcome.counts.updated = incoming.len as u64 - outcome.counts.inserted;
    Ok(Some(outcome))
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// The part of a folded outcome that concerns some of the groups.
fn some_groups(outcome: Outcome, groups: &Groups, chosen: &[u32]) -> Outcome {
    let indices = UInt32Array::from(chosen.to_vec());
    let column = |c: &ArrayRef| take(c, &indices, None).expect("groups of the batch");
    let locations = || chosen.iter().map(|group| groups.locations[*group as usize]);
    let mut part = Outcome {
        columns: outcome.columns.iter().map(column).collect(),
        hashes: chosen.iter().map(|group| groups.hashes[*group as usize]).collect(),
        before: locations().collect(),
        ..Outcome::default()
    };
    let mut is_chosen = vec![false; groups.len()];
    chosen.iter().for_each(|group| is_chosen[*group as usize] = true);
    let rows = groups.of_row.iter().filter(|group| is_chosen[**group as usize]).count() as u64;
    part.counts.inserted = locations().filter(|location| location.is_none()).count() as u64;
    part.counts.updated = rows - part.counts.inserted;
    part
}

/// Two outcomes of different keys.
fn join(mut a: Outcome, b: Outcome) -> Outcome {
    let both = |(a, b): (&ArrayRef, &ArrayRef)| {
        concat(&[a.as_ref(), b.as_ref()] as &[&dyn Array]).expect("columns of one type")
    };
    a.columns = a.columns.iter().zip(&b.columns).map(both).collect();
    a.hashes.extend(b.hashes);
    a.before.extend(b.before);
    a.ignored.extend(b.ignored);
    a.refused.extend(b.refused);
    a.counts.add(b.counts);
    a
}
