//! The disposition of a message with all of its rows: decoding rejects it whole, WHERE filters rows, and the table
//! takes the rest one by one. `super` determines the messages of a range.

use bytes::Bytes;
use kernel::record::Tally;
use kernel::schema::ERRORS_TABLE;

use super::model::{Change, Fate, Transaction, row_of};
use super::value::{self, Row, Value};
use super::{OracleCounts, Outside, describe};
use crate::scenario::PipelineRule;

/// A range of messages with its pipeline and table.
pub(super) struct Range<'r, 'w, 'a> {
    pub pipeline: u32,
    pub rule: &'r PipelineRule,
    pub table: u32,
    pub generation: u32,
    pub partition: i32,
    /// Time of the record.
    pub at_us: i64,
    pub outside: &'r Outside<'w, 'a>,
}

/// Stage, SQLSTATE and text.
type Refused = (&'static str, &'static str, &'static str);

/// Why a message or a row of it is rejected, as in the errors table.
struct Refusal {
    kind: &'static str,
    code: &'static str,
    why: String,
    /// The message, or the row.
    what: Value,
}

impl Range<'_, '_, '_> {
    /// Folds a message into its table. It counts once, with the worst disposition of its rows; applied rows stay.
    pub fn fold(
        &self,
        transaction: &mut Transaction<'_>,
        offset: i64,
        payload: Option<&Bytes>,
        tally: &mut Tally,
        counts: &mut OracleCounts,
    ) {
        let origin = [i64::from(self.generation), i64::from(self.partition), offset];
        let rows = match self.decoded(payload, origin) {
            Ok(rows) => rows,
            Err((kind, code, why)) => {
                tally.dead_letters += 1;
                counts.messages_failed_in_set += u64::from(kind == "expression");
                let what = payload.map_or(Value::Null, |payload| Value::bytes(payload));
                return self.tell(transaction, origin, Refusal { kind, code, why: why.into(), what });
            }
        };
        counts.rows += rows.len() as u64;
        counts.messages_of_several_rows += u64::from(rows.len() > 1);
        if rows.is_empty() {
            tally.filtered += 1;
            return;
        }
        let (mut taken, mut ignored, mut refused) = (0, 0, vec![]);
        for row in rows {
            match transaction.upsert(self.table, &self.rule.duplicate, row.clone()) {
                Fate::Inserted | Fate::Updated => taken += 1,
                Fate::Ignored => ignored += 1,
                Fate::Rejected(code) => {
                    let (table, shape) = (&self.rule.table, self.rule.shape);
                    let why = describe::refusal(code, table, shape, &row);
                    let what = describe::row_text(shape, &row, self.outside.row_text_bytes_max);
                    refused.push(Refusal { kind: "constraint", code, why, what: Value::Text(what) });
                }
            }
        }
        // The message itself is recorded once.
        if let ([refusal], Some(payload)) = (&mut refused[..], payload) {
            refusal.what = Value::bytes(payload);
        }
        let refused_rows = refused.len();
        refused.into_iter().for_each(|refusal| self.tell(transaction, origin, refusal));
        counts.messages_applied_in_part += u64::from(taken > 0 && ignored + refused_rows > 0);
        let disposition = match (refused_rows, ignored) {
            (0, 0) => &mut tally.applied,
            (0, _) => &mut tally.ignored,
            _ => &mut tally.dead_letters,
        };
        *disposition += 1;
    }

    /// The rows that SET and WHERE leave; or why the message is refused: stage, SQLSTATE and text. All rows are decoded
    /// before SET runs on any of them, and SET runs on all of them before NOT NULL is checked.
    fn decoded(&self, payload: Option<&Bytes>, origin: [i64; 3]) -> Result<Vec<Row>, Refused> {
        const NULL: &str = "23502";
        let PipelineRule { shape, filter_multiples_of: multiples, setting, .. } = *self.rule;
        let mut decoded = Vec::new();
        for line in self.outside.messages.meaning(payload) {
            let refused = |code: &'static str| (if code == NULL { "constraint" } else { "decode" }, code, "");
            let fields = line.as_ref().map_err(|code| refused(code))?;
            let row = row_of(shape, fields, origin).ok_or_else(|| refused(NULL))?;
            decoded.push((fields.amount, row));
        }
        if let Some(setting) = setting {
            let column = shape.fields().iter().position(|field| *field == "amount").expect("it has one");
            for (amount, row) in &mut decoded {
                let set = setting.value(*amount).map_err(|(code, text)| ("expression", code, text))?;
                row[column] = set.map_or(Value::Null, Value::Int);
            }
            decoded.retain(|(amount, _)| multiples == 0 || amount % multiples != 0);
            if decoded.iter().any(|(_, row)| row[column] == Value::Null) {
                return Err(("constraint", NULL, ""));
            }
        }
        let kept = decoded.into_iter().filter(|(amount, _)| multiples == 0 || amount % multiples != 0);
        Ok(kept.map(|(_, row)| row).collect())
    }

    /// Adds it to the errors table.
    fn tell(&self, transaction: &mut Transaction<'_>, origin: [i64; 3], refusal: Refusal) {
        let Refusal { kind, code, why, what } = refusal;
        let [name, kind, code, why] =
            [&self.rule.name, kind, code, &why].map(|text| Value::Text(text.into()));
        let from = origin.map(Value::Int);
        let told = [Value::Int(self.pipeline.into()), name, Value::Int(self.at_us), kind, code, why];
        let error = told.into_iter().chain(from.clone()).chain([what]).chain(from).collect();
        transaction.apply(Change::Added(ERRORS_TABLE.0, value::as_foretold(error)));
    }
}
