//! The output of the quickstart: steps, one live line, events. Plain lines if there is no terminal.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::meter::{Meter, grouped};

/// Interval of plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct Screen {
    terminal: bool,
}

impl Screen {
    pub(super) fn new() -> Screen {
        // indicatif draws on stderr.
        Screen { terminal: std::io::stderr().is_terminal() && std::io::stdout().is_terminal() }
    }

    pub(super) fn line(&self, text: &str) {
        say(text);
    }

    /// Runs a step of the set-up, and shows its progress and duration.
    pub(super) async fn step<T>(
        &self,
        what: &str,
        doing: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let begun = Instant::now();
        let spinner = if self.terminal {
            let spinner = ProgressBar::new_spinner().with_message(what.to_string());
            spinner.enable_steady_tick(Duration::from_millis(80));
            spinner
        } else {
            self.line(&format!("Setting up {what} ..."));
            ProgressBar::hidden()
        };
        let done = doing.await;
        spinner.finish_and_clear();
        let mark = if done.is_ok() { "ready: " } else { "failed:" };
        self.line(&format!("  {mark} {what} ({:.1} s)", begun.elapsed().as_secs_f64()));
        done
    }

    /// The live line while the stream runs.
    pub(super) fn live(&self, kills_planned: u64) -> Live {
        let bar = if self.terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("[{elapsed}] {msg}").expect("a template of ours"));
        Live { bar, terminal: self.terminal, kills_planned, shown: Cell::new(None) }
    }
}

pub(super) struct Live {
    bar: ProgressBar,
    terminal: bool,
    kills_planned: u64,
    shown: Cell<Option<Instant>>,
}

impl Live {
    /// Shows the numbers as they are now.
    pub(super) fn show(&self, meter: &Meter, produced: u64, kills: u64) {
        let counted = meter.counted().payments;
        let freshness = match meter.freshness() {
            Some(age) => format!("{} ms", age.as_millis()),
            None => "-".into(),
        };
        let text = format!(
            "produced {}  counted {}  {} rows/s  lag {}  freshness {freshness}  kills {kills}/{}",
            grouped(produced),
            grouped(counted),
            grouped(meter.rows_per_second() as u64),
            grouped(produced.saturating_sub(counted)),
            self.kills_planned,
        );
        if self.terminal {
            self.bar.set_message(text);
        } else if self.shown.get().is_none_or(|shown| shown.elapsed() >= PLAIN_INTERVAL) {
            self.shown.set(Some(Instant::now()));
            say(&text);
        }
    }

    /// Prints a permanent line for an event.
    pub(super) fn event(&self, text: &str) {
        if self.terminal { self.bar.println(text) } else { say(text) }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A line on stdout. The reader may have ended, as `head` does; the quickstart must still clean up.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
