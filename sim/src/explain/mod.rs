//! One run as an HTML page: the timeline of every actor, and the state at every moment. [`film`] collects the state
//! during the run; [`page`] makes the HTML. `world::view` defines the parts of the state.

pub mod film;

use std::fmt::Write;

use self::film::Film;
use crate::run::{RunOutcome, run_case};
use crate::shrink::Case;
use crate::trace::{Event, Keep, Mark};

/// Placeholder of the data in the page.
const PLACE: &str = "/*DATA*/";
const PAGE: &str = include_str!("page.html");
/// Most events on a page; a longer run is shown without details.
const EVENTS_MAX: usize = 25_000;

/// A page, and the parts that it omits.
#[derive(Debug)]
pub struct Page {
    /// The page as one file.
    pub html: String,
    /// The run.
    pub outcome: RunOutcome,
    /// Details that are not on it, because the run was too long for all of its events.
    pub details_left_out: usize,
    /// Time on the run's clock after which the state is no longer shown.
    pub state_until_us: Option<i64>,
}

/// Runs a case and makes a page of it.
pub fn page(title: &str, case: &Case) -> Page {
    page_of(title, case, EVENTS_MAX, film::FRAMES_MAX)
}

fn page_of(title: &str, case: &Case, events_max: usize, frames_max: usize) -> Page {
    let (outcome, film) = run_case(case, Keep::All, Some(Film::new(frames_max)), &mut |_| {});
    let film = film.expect("a run gives its film back");
    let details = outcome.events.iter().filter(|event| event.mark == Mark::Detail).count();
    let details_left_out = if outcome.events.len() > events_max { details } else { 0 };
    let state_until_us = film.ends_early_us();
    let mut page = Page { html: String::new(), outcome, details_left_out, state_until_us };
    page.html = PAGE.replacen(PLACE, &data(title, case, &page, &film), 1);
    page
}

fn data(title: &str, case: &Case, page: &Page, film: &Film) -> String {
    let outcome = &page.outcome;
    let mut texts = Texts::default();
    let mut events = String::new();
    let mut actors = Vec::new();
    for (number, event) in outcome.events.iter().enumerate() {
        if event.mark == Mark::Detail && page.details_left_out > 0 {
            continue;
        }
        let actor = position(&mut actors, event);
        let text = texts.number(&event.text);
        let frame = film.frame_of_event(number);
        let _ = write!(events, "[{frame},{actor},{},{},{text}],", event.mark as u8, event.at_us);
    }
    let violation = outcome
        .violation
        .as_ref()
        .map_or("null".to_string(), |v| format!("[{},{}]", quoted(v.invariant), quoted(&v.text)));
    let bug = case.bug.map_or("null".to_string(), |bug| {
        format!("[{},{}]", quoted(bug.about().name), quoted(bug.about().what))
    });
    let actors: Vec<String> = actors.iter().map(|(_, name)| quoted(name)).collect();
    format!(
        "{{\"title\":{},\"violation\":{violation},\"bug\":{bug},\"leftOut\":{},\"stateUntil\":{},\"crashes\":{},\"hash\":\"{:016x}\",\
         \"actors\":[{}],\"texts\":[{}],\"events\":[{}],\"times\":{},\"series\":{}}}",
        quoted(title),
        page.details_left_out,
        page.state_until_us.map_or("null".to_string(), |us| us.to_string()),
        outcome.crashes,
        outcome.hash,
        actors.join(","),
        texts.list.join(","),
        events.trim_end_matches(','),
        film.times_json(),
        film.series_json()
    )
}

fn position(actors: &mut Vec<(crate::trace::Actor, String)>, event: &Event) -> usize {
    let found = actors.iter().position(|(actor, _)| *actor == event.actor);
    found.unwrap_or_else(|| {
        actors.push((event.actor, event.actor.to_string()));
        actors.len() - 1
    })
}

/// Each text once.
#[derive(Default)]
struct Texts {
    numbers: std::collections::BTreeMap<String, usize>,
    list: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.list.len();
        self.numbers.insert(text.into(), number);
        self.list.push(quoted(text));
        number
    }
}

/// A JSON string that cannot end its script element.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultSet;
    use crate::run::Plan;
    use crate::swarm::Profile;

    #[test]
    fn texts_cannot_break_out_of_the_page() {
        assert_eq!(quoted("a\"b\\</script>\n"), "\"a\\\"b\\\\\\u003c/script\\u003e\\n\"");
    }

    #[test]
    fn a_page_holds_the_whole_run_and_looking_changes_nothing() {
        let plan = Plan { profile: Profile::Swarm, faults: FaultSet::ALL, bug: None, print: false };
        let case = Case::of_seed(3, plan);
        let Page { html: page, outcome, details_left_out, state_until_us } = page("seed 3", &case);
        assert_eq!(outcome.hash, case.run(Keep::Nothing).hash);
        assert_eq!((details_left_out, state_until_us), (0, None));
        assert!(!page.contains(PLACE) && page.len() < 3_000_000, "{} bytes", page.len());
        assert_eq!(page.matches("</script>").count(), 1);
        for word in ["topic:0:0", "cursor:", "log_file:1", "shard:0", "power cut", "readers see record"] {
            assert!(page.contains(word), "{word} is not on the page");
        }
        assert!(!page.contains("http"), "the page loads nothing");
    }

    #[test]
    fn a_page_of_a_long_run_says_what_is_left_out() {
        let plan = Plan { profile: Profile::Swarm, faults: FaultSet::ALL, bug: None, print: false };
        let case = Case::of_seed(3, plan);
        let whole = page("seed 3", &case);
        let most = whole.outcome.events.len();
        let enough = page_of("seed 3", &case, most, film::FRAMES_MAX);
        assert_eq!(enough.html, whole.html, "so many events have room");
        let short = page_of("seed 3", &case, most - 1, 100);
        let details = whole.outcome.events.iter().filter(|event| event.mark == Mark::Detail).count();
        assert!(details > 100 && short.details_left_out == details, "{details}");
        assert!(short.html.contains(&format!("\"leftOut\":{details},")));
        // Every event but details is on the page.
        let on_page = |page: &Page, text: &str| page.html.contains(&quoted(text));
        for event in &whole.outcome.events {
            assert!(event.mark == Mark::Detail || on_page(&short, &event.text), "{event}");
        }
        let until = short.state_until_us.expect("a hundred frames are not enough");
        assert!(short.html.contains(&format!("\"stateUntil\":{until},")));
        assert!(until < whole.outcome.events.last().expect("there are events").at_us);
    }
}
