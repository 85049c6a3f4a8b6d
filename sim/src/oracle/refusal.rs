//! Checks whether a refusal was justified: a failed pipeline, a refused statement. The world's history must contain a
//! sufficient cause (invariant 8); a database that refuses without need is as wrong as one that guesses.

use kernel::SqlState;
use kernel::schema::{PipelineDef, PipelineState};

use super::model::{Fate, Model, Pipeline, Transaction};
use super::{Check, Oracle, Outside, ensure, rule_of};
use crate::oracle::Violation;

/// A loss in a pipeline's error text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ToldLoss {
    partition: i32,
    /// The next offset, whose message is missing, or is behind replaced ones.
    wanted: i64,
    /// Offset for continuing without the lost messages: the first existing message, or the end.
    go_on: i64,
}

/// `messages 3..9 of partition 1 are missing …` or `partition 1 ends at 3, before the next message 9: …`
fn told_loss(message: &str) -> Option<ToldLoss> {
    let numbers = |text: &str| -> Vec<i64> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
    };
    let sentence = message.split(['(', ':', ';']).next()?;
    match (sentence.starts_with("messages "), &numbers(sentence)[..]) {
        (true, [wanted, earliest, partition]) => {
            Some(ToldLoss { partition: *partition as i32, wanted: *wanted, go_on: *earliest })
        }
        (false, [partition, latest, wanted]) => {
            Some(ToldLoss { partition: *partition as i32, wanted: *wanted, go_on: *latest })
        }
        _ => None,
    }
}

/// A topic's id as text.
fn topic_name(id: crate::broker::TopicId) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    id.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Checks a failed pipeline; `at` is its state after the record.
pub(super) fn check_stop(def: &PipelineDef, at: &Pipeline, outside: &Outside<'_, '_>) -> Check {
    let PipelineState::Failed(error) = &def.state else { return Ok(()) };
    let (code, message) = (error.sqlstate, &error.message);
    let unjustified = |why: String| {
        Violation::new("honest", format!("pipeline {} failed without need: {why}: {message}", def.name))
    };
    let rule = rule_of(outside, at)?;
    let broker = &outside.brokers[rule.topic];
    if code == SqlState::SOURCE_LOST {
        let loss = told_loss(message).ok_or_else(|| unjustified("it does not name the loss".into()))?;
        let hint = format!("SET OFFSETS '{{\"{}\": {}}}'", loss.partition, loss.go_on);
        if !message.contains(&hint) {
            return Err(unjustified(format!("its hint must be {hint}")));
        }
        let cursor = at.cursors.get(&loss.partition);
        if cursor.is_some_and(|cursor| *cursor != loss.wanted) {
            return Err(unjustified(format!(
                "its cursor of partition {} is {cursor:?}, but it reports a loss at {}",
                loss.partition, loss.wanted
            )));
        }
        let topic = at.topic.unwrap_or(broker.topic_id());
        let lost = broker.has_lost(topic, loss.partition, loss.wanted) || broker.topics_created() > 1;
        return if lost { Ok(()) } else { Err(unjustified("nothing is lost there".into())) };
    }
    if code == SqlState::SOURCE_CHANGED {
        // The broker's own text is not checked.
        let own = message.starts_with("the topic of pipeline ");
        let told = at.topic.is_none_or(|before| !own || message.contains(&topic_name(before)));
        if !told {
            return Err(unjustified(format!("it does not name its topic {:?}", at.topic)));
        }
        let changed = broker.topics_created() > 1 && at.topic != Some(broker.topic_id());
        return if changed { Ok(()) } else { Err(unjustified("the topic is the same".into())) };
    }
    let reached = rule.error_limit.is_some_and(|limit| at.dead_letters > limit);
    if code == SqlState::INVALID_TEXT_REPRESENTATION && reached {
        return Ok(());
    }
    Err(unjustified(format!("no reason for code {code}, with {} dead letters", at.dead_letters)))
}

impl Oracle {
    /// A client transaction was refused because of its rows: one of them must conflict with the state at this record.
    pub fn turned_down(&self, id: u64, sqlstate: SqlState) -> Check {
        let Some(write) = self.writes.get(&id) else {
            return Err(Violation::new("honest", format!("an answer to transaction {id} without a request")));
        };
        let touched: std::collections::BTreeSet<u32> = write.statements.iter().map(|s| s.table).collect();
        let tables = self.tip.tables.iter().filter(|(id, _)| touched.contains(id));
        let mut tip = Model { tables: tables.map(|(id, t)| (*id, t.clone())).collect(), ..Model::default() };
        let mut transaction = Transaction::new(&mut tip);
        let mut codes = Vec::new();
        for statement in &write.statements {
            if !transaction.model().tables.contains_key(&statement.table) {
                return Ok(());
            }
            for row in &statement.removed {
                transaction.remove(statement.table, row);
            }
            for row in &statement.rows {
                if let Fate::Rejected(code) =
                    transaction.upsert(statement.table, &statement.duplicate, row.clone())
                {
                    codes.push(code);
                }
            }
        }
        ensure("honest", codes.contains(&sqlstate.as_str()), || {
            format!("transaction {id} is turned down with {sqlstate}, must be one of {codes:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_found_in_its_message() {
        let missing = "messages 3..9 of partition 1 are missing at the source (retention or truncation); pipeline p_7 stopped";
        assert_eq!(told_loss(missing), Some(ToldLoss { partition: 1, wanted: 3, go_on: 9 }));
        let cut = "partition 2 ends at 3, before the next message 9: the source lost or replaced messages";
        assert_eq!(told_loss(cut), Some(ToldLoss { partition: 2, wanted: 9, go_on: 3 }));
        assert_eq!(told_loss("something else"), None);
    }
}
