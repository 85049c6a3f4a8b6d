//! The story of a run: one line per event with its time, the oracle's expected and found value, and the command that
//! repeats the run. The text of an event is written where it happens.

use std::fmt::Write;

use crate::run::RunOutcome;
use crate::trace::{Event, Mark};

/// Lines of a story at most; the middle of a longer one is omitted.
const LINES_MAX: usize = 120;

/// Returns the story of a run.
pub fn tell(outcome: &RunOutcome) -> String {
    let mut out = String::new();
    let lines = lines(&outcome.events);
    if lines.len() <= LINES_MAX {
        out.extend(lines.iter().map(|line| format!("{line}\n")));
    } else {
        let (head, tail) = (LINES_MAX / 4, LINES_MAX - LINES_MAX / 4);
        out.extend(lines[..head].iter().map(|line| format!("{line}\n")));
        let _ = writeln!(out, "             … {} events omitted …", lines.len() - head - tail);
        out.extend(lines[lines.len() - tail..].iter().map(|line| format!("{line}\n")));
    }
    if let Some(violation) = &outcome.violation {
        let _ = writeln!(out, "\nVIOLATED {}: {}", violation.invariant.to_uppercase(), violation.text);
    }
    out
}

/// The events of a story; consecutive equal events are one line, with their number.
fn lines(events: &[Event]) -> Vec<String> {
    let told: Vec<&Event> = events.iter().filter(|event| event.mark != Mark::Detail).collect();
    let alike = |a: &&Event, b: &&Event| a.actor == b.actor && a.text == b.text;
    let line = |run: &[&Event]| match run.len() {
        1 => run[0].to_string(),
        times => format!("{} ({times} times)", run[0]),
    };
    told.chunk_by(alike).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Actor;

    fn event(at_us: i64, mark: Mark, text: &str) -> Event {
        Event { at_us, actor: Actor::Disk, mark, text: text.into() }
    }

    #[test]
    fn details_are_left_out_and_repetitions_counted() {
        let events = [
            event(1_000_001, Mark::Step, "one"),
            event(1_000_002, Mark::Detail, "hidden"),
            event(1_000_003, Mark::Fault, "two"),
            event(1_000_004, Mark::Fault, "two"),
        ];
        let lines = lines(&events);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("1.000001 s") && lines[0].ends_with("one"));
        assert!(lines[1].contains("1.000003 s") && lines[1].ends_with("two (2 times)"));
    }
}
