//! The progress of a run of many seeds: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::run::Summary;

/// Pause between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// See the module.
pub struct Progress {
    began: Instant,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
    total: Option<u64>,
    time: Option<Duration>,
}

impl Progress {
    /// At the beginning.
    pub fn new(seeds: &Range<u64>, time: Option<Duration>) -> Progress {
        let began = Instant::now();
        let total = (seeds.end < u64::MAX).then(|| seeds.end.saturating_sub(seeds.start));
        // The progress of a run with a time limit is its time.
        let length = time.map(|time| time.as_millis() as u64).or(total).unwrap_or(0);
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30.cyan/dim} {percent:>3} %  {msg}");
            ProgressBar::new(length).with_style(style.expect("the template is well formed"))
        });
        Progress { began, bar, last_line: Mutex::new(began), total, time }
    }

    /// After a seed.
    pub fn show(&self, summary: &Summary) {
        if let Some(bar) = &self.bar {
            let done = self.time.map_or(summary.seeds, |_| self.began.elapsed().as_millis() as u64);
            bar.set_position(done);
            if summary.seeds.is_multiple_of(16) || Some(summary.seeds) == self.total {
                bar.set_message(self.line(summary));
            }
            return;
        }
        let mut last = self.last_line.lock().expect("no thread panics while holding it");
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            eprintln!("{}", self.line(summary));
        }
    }

    /// Removes the bar.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// The results so far.
    pub fn line(&self, summary: &Summary) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let of = self.total.map_or(String::new(), |total| format!(" of {}", grouped(total)));
        let simulated = summary.simulated_us as f64 / 1e6;
        format!(
            "{}{of} seeds in {seconds:.1} s ({:.0}/s, each twice), {} events ({}/s), {} crashes survived, {simulated:.0} s simulated ({:.0}x real time), {} failed",
            grouped(summary.seeds),
            summary.seeds as f64 / seconds,
            grouped(summary.events),
            grouped((summary.events as f64 / seconds) as u64),
            grouped(summary.crashes),
            simulated / seconds,
            summary.failed
        )
    }
}

/// A number with thousands separators.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(super::grouped(number), text);
        }
    }
}
