//! ON DUPLICATE KEY UPDATE in its general form: the k-th row of every key in round k, each round over columns. A round
//! reads the result of the one before, so the result equals that of row-by-row processing for all expressions.

use std::num::NonZeroUsize;

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::BooleanBuffer;
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::chunk::logical_bytes;
use super::contents::{Contents, TooLarge};
use super::incoming::{Incoming, null_refused};
use super::outcome::{Groups, Outcome};
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, SqlState};
use crate::expr::{RowErrors, Scope, Update, choose, evaluate};

/// Computes the updates of some groups; `chosen` are their numbers.
pub(super) fn run(
    contents: &Contents,
    incoming: &Incoming,
    groups: &Groups,
    update: &Update,
    chosen: &[u32],
) -> Result<Outcome, TooLarge> {
    let mut queue = Queue::new(groups, chosen);
    let locations: Vec<_> = queue.groups.iter().map(|g| groups.locations[*g as usize]).collect();
    let first_rows: Vec<_> = queue.groups.iter().map(|g| groups.first_row[*g as usize]).collect();
    let mut state = State {
        images: (0..incoming.columns.len())
            .map(|c| contents.gather(c, &locations, (&incoming.columns[c], &first_rows)))
            .collect::<Result<_, _>>()?,
        finished: Vec::new(),
        changed: locations.iter().map(|location| location.is_none()).collect(),
    };
    let mut outcome = Outcome::default();
    outcome.counts.inserted = state.changed.iter().filter(|new| **new).count() as u64;
    while let Some(rows) = queue.next_round() {
        state.keep(rows.len());
        round(contents, incoming, update, &rows, &mut state, &mut outcome);
    }
    state.keep(0);
    let kept: Vec<u32> = (0..queue.groups.len() as u32).filter(|at| state.changed[*at as usize]).collect();
    if chosen.len() > 1 && !contents.limits.fits_step(state.finished_bytes()) {
        return Err(TooLarge);
    }
    outcome.columns = state.finish(&kept, contents.limits.step_bytes_max);
    for at in kept {
        let group = queue.groups[at as usize] as usize;
        outcome.hashes.push(groups.hashes[group]);
        outcome.before.push(groups.locations[group]);
    }
    Ok(outcome)
}

/// The remaining rows of each group, groups with most rows first.
struct Queue {
    groups: Vec<u32>,
    /// Rows of all groups, one group's after another's.
    rows: Vec<u32>,
    /// Where each group's are.
    spans: Vec<(usize, usize)>,
    taken: usize,
}

impl Queue {
    fn new(groups: &Groups, chosen: &[u32]) -> Queue {
        const NOT_CHOSEN: u32 = u32::MAX;
        // Inserting rows are already in the images: only updates are queued.
        let mut counts = vec![0usize; groups.len()];
        let updates = |row: &usize| !groups.inserts(*row);
        (0..groups.of_row.len()).filter(updates).for_each(|row| counts[groups.of_row[row] as usize] += 1);
        let mut order = chosen.to_vec();
        order.sort_by_key(|group| std::cmp::Reverse(counts[*group as usize]));
        let mut position = vec![NOT_CHOSEN; groups.len()];
        let mut spans = Vec::with_capacity(order.len());
        let mut total = 0;
        for (at, group) in order.iter().enumerate() {
            position[*group as usize] = at as u32;
            spans.push((total, total));
            total += counts[*group as usize];
        }
        let mut rows = vec![0; total];
        for row in (0..groups.of_row.len()).filter(updates) {
            let at = position[groups.of_row[row] as usize];
            if at != NOT_CHOSEN {
                let end = &mut spans[at as usize].1;
                rows[*end] = row as u32;
                *end += 1;
            }
        }
        Queue { groups: order, rows, spans, taken: 0 }
    }

    /// The next row of each group that has one left; these groups come first.
    fn next_round(&mut self) -> Option<Vec<u32>> {
        let taken = self.taken;
        let open = self.spans.partition_point(|(start, end)| end - start > taken);
        self.taken += 1;
        if open > 0 && taken > 0 {
            reached(CoverageMark::ManyRounds);
        }
        (open > 0).then(|| self.spans[..open].iter().map(|(start, _)| self.rows[start + taken]).collect())
    }
}

/// Working versions of the groups' rows, in the order of the queue.
struct State {
    /// Of the groups that have rows left.
    images: Vec<ArrayRef>,
    /// Of the others, those of the latest groups first.
    finished: Vec<Vec<ArrayRef>>,
    /// Groups whose row differs from the stored one.
    changed: Vec<bool>,
}

impl State {
    /// Moves all but the first `count` groups to `finished`.
    fn keep(&mut self, count: usize) {
        let open = self.images.first().map_or(0, |c| c.len());
        assert!(count <= open, "groups only finish");
        if let Some(done) = NonZeroUsize::new(open - count) {
            self.finished.push(self.images.iter().map(|c| c.slice(count, done.get())).collect());
            self.images.iter_mut().for_each(|c| *c = c.slice(0, count));
        }
    }

    fn finished_bytes(&self) -> usize {
        self.finished.iter().flatten().map(logical_bytes).sum()
    }

    /// The final versions of the kept groups; together at most `bytes_max` bytes, or one version.
    fn finish(&self, kept: &[u32], bytes_max: usize) -> Vec<ArrayRef> {
        let kept = UInt32Array::from(kept.to_vec());
        (0..self.images.len())
            .map(|column| {
                let parts: Vec<&dyn Array> =
                    self.finished.iter().rev().map(|part| part[column].as_ref()).collect();
                let whole = concat(&parts).expect("columns of one type");
                assert!(whole.len() <= 1 || logical_bytes(&whole) <= bytes_max, "updated rows fit a step");
                take(&whole, &kept, None).expect("rows of the column")
            })
            .collect()
    }
}

/// Applies one row of each open group. A rejected or ignored row leaves the group's row unchanged.
fn round(
    contents: &Contents,
    incoming: &Incoming,
    update: &Update,
    rows: &[u32],
    state: &mut State,
    outcome: &mut Outcome,
) {
    let count = rows.len();
    let here = incoming.take(rows);
    let scope = Scope { table: &contents.table, stored: &state.images, incoming: &here.columns, rows: count };
    let mut errors = RowErrors::default();
    let mut wanted = BooleanBuffer::new_set(count);
    if let Some(condition) = &update.condition {
        let holds = evaluate(condition, scope, &mut errors);
        wanted = true_rows(&holds, &mut errors);
    }
    let mut failures: Vec<Option<Error>> = errors.iter().fold(vec![None; count], |mut all, (row, kind)| {
        all[row] = Some(refused(contents, kind));
        all
    });
    let mut values = Vec::with_capacity(update.assignments.len());
    for (id, expr) in &update.assignments {
        let column = contents.table.ordinal(*id).expect("an assigned column exists");
        let mut errors = RowErrors::default();
        let value = evaluate(expr, scope, &mut errors);
        for (row, kind) in errors.iter().filter(|(row, _)| wanted.value(*row)) {
            failures[row].get_or_insert_with(|| refused(contents, kind));
        }
        values.push((column, value));
    }
    for (column, value) in &values {
        check_assigned(contents, *column, value, &wanted, &mut failures);
    }
    let applied: BooleanBuffer = (0..count).map(|row| wanted.value(row) && failures[row].is_none()).collect();
    for (row, failure) in failures.into_iter().enumerate() {
        match failure {
            Some(error) => outcome.refused.push((rows[row] as usize, error)),
            None if applied.value(row) => {
                outcome.counts.updated += 1;
                state.changed[row] = true;
            }
            None => {
                outcome.counts.ignored += 1;
                outcome.ignored.push(rows[row]);
            }
        }
    }
    let hidden = contents.table.columns.len()..here.columns.len();
    values.extend(hidden.map(|column| (column, here.columns[column].clone())));
    for (column, value) in values {
        if let Some(image) = choose(&applied, &value, &state.images[column]) {
            state.images[column] = image;
        }
    }
}

/// Rows in which a condition is true. A condition that is not boolean rejects all.
fn true_rows(condition: &ArrayRef, errors: &mut RowErrors) -> BooleanBuffer {
    use arrow_array::cast::AsArray;
    let Some(condition) = condition.as_boolean_opt() else {
        (0..condition.len()).for_each(|row| errors.mark(row, SqlState::INTERNAL_ERROR));
        return BooleanBuffer::new_unset(condition.len());
    };
    (0..condition.len()).map(|row| condition.is_valid(row) && condition.value(row)).collect()
}

/// Rejects values that their column cannot hold.
fn check_assigned(
    contents: &Contents,
    column: usize,
    value: &ArrayRef,
    wanted: &BooleanBuffer,
    failures: &mut [Option<Error>],
) {
    let fits = value.data_type() == contents.schema.field(column).data_type();
    let nullable = contents.table.columns[column].nullable;
    for (row, failure) in failures.iter_mut().enumerate().filter(|(row, _)| wanted.value(*row)) {
        if !fits {
            failure.get_or_insert_with(|| refused(contents, SqlState::INTERNAL_ERROR));
        } else if !nullable && value.is_null(row) {
            failure.get_or_insert_with(|| null_refused(&contents.table, column));
        }
    }
}

fn refused(contents: &Contents, sqlstate: SqlState) -> Error {
    let name = &contents.table.name;
    let what = match sqlstate {
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE => "a value is out of the range of its type",
        SqlState::STRING_DATA_RIGHT_TRUNCATION => "a value is too long for the type of its column",
        SqlState::DIVISION_BY_ZERO => "division by zero",
        SqlState::OUT_OF_MEMORY => "a text becomes too long",
        _ => "an assignment does not fit its column",
    };
    Error::new(sqlstate, format!("ON DUPLICATE KEY UPDATE of table \"{name}\": {what}"))
}
