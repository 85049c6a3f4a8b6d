//! The state at every moment of a run: for each part, the frames at which it changed and its new value.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::quoted;

/// Most frames; the state of a longer run is shown up to there.
pub(super) const FRAMES_MAX: usize = 60_000;

/// Changes of one part of the state.
type Series = Vec<(usize, String)>;

/// See the module.
#[derive(Debug)]
pub struct Film {
    /// By the name of the part.
    parts: BTreeMap<String, Series>,
    /// Time of each frame, and the number of events by then.
    frames: Vec<(i64, usize)>,
    frames_max: usize,
    changed: bool,
    /// The disk's last shown moment: pictures of it are expensive.
    pub disk_seen: crate::disk::Moment,
}

impl Film {
    /// An empty film with at most this many frames.
    pub fn new(frames_max: usize) -> Film {
        Film {
            parts: BTreeMap::new(),
            frames: Vec::new(),
            frames_max,
            changed: false,
            disk_seen: crate::disk::Moment::default(),
        }
    }

    /// Sets a part of the state in the current frame.
    pub fn show(&mut self, part: &str, value: String) {
        let frame = self.frames.len();
        let series = match self.parts.get_mut(part) {
            Some(series) => series,
            None => self.parts.entry(part.into()).or_default(),
        };
        if series.last().is_none_or(|(_, last)| *last != value) {
            series.push((frame, value));
            self.changed = true;
        }
    }

    /// Removes parts with this prefix that were not shown again.
    pub fn keep_only(&mut self, prefix: &str, shown: &[String]) {
        let frame = self.frames.len();
        for (name, series) in self.parts.range_mut(prefix.to_string()..) {
            if !name.starts_with(prefix) {
                break;
            }
            let gone = series.last().is_some_and(|(_, value)| !value.is_empty()) && !shown.contains(name);
            if gone {
                series.push((frame, String::new()));
                self.changed = true;
            }
        }
    }

    /// Ends the frame, unless it equals the previous one.
    pub fn end_frame(&mut self, now_us: i64, events: usize) {
        let seen = self.frames.last().map_or(0, |(_, events)| *events);
        if std::mem::take(&mut self.changed) || events > seen {
            self.frames.push((now_us, events));
        }
    }

    /// Whether it is full.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= self.frames_max
    }

    /// Time of the last frame, if the film is full.
    pub fn ends_early_us(&self) -> Option<i64> {
        self.frames.last().filter(|_| self.is_full()).map(|(at_us, _)| *at_us)
    }

    /// The frame in which an event is first seen.
    pub fn frame_of_event(&self, number: usize) -> usize {
        let frame = self.frames.partition_point(|(_, events)| *events <= number);
        frame.min(self.frames.len().saturating_sub(1))
    }

    /// Times of the frames, each as the difference to the previous one.
    pub fn times_json(&self) -> String {
        let mut out = String::from("[");
        let mut before = 0;
        for (i, (at_us, _)) in self.frames.iter().enumerate() {
            let _ = write!(out, "{}{}", if i > 0 { "," } else { "" }, at_us - before);
            before = *at_us;
        }
        out + "]"
    }

    /// All parts; frames as differences, too.
    pub fn series_json(&self) -> String {
        let mut out = String::from("{");
        for (i, (name, series)) in self.parts.iter().enumerate() {
            let _ = write!(out, "{}{}:[", if i > 0 { "," } else { "" }, quoted(name));
            let mut before = 0;
            for (j, (frame, value)) in series.iter().enumerate() {
                let _ = write!(out, "{}{},{}", if j > 0 { "," } else { "" }, frame - before, quoted(value));
                before = *frame;
            }
            out.push(']');
        }
        out + "}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_kept() {
        let mut film = Film::new(FRAMES_MAX);
        film.show("a:1", "x".into());
        film.show("a:2", "y".into());
        film.end_frame(10, 1);
        film.show("a:1", "x".into());
        film.keep_only("a:", &["a:1".to_string()]);
        film.end_frame(15, 1);
        film.show("a:1", "x".into());
        film.keep_only("a:", &["a:1".to_string()]);
        film.end_frame(20, 1);
        film.end_frame(30, 2);
        assert_eq!(film.times_json(), "[10,5,15]");
        assert_eq!(film.series_json(), "{\"a:1\":[0,\"x\"],\"a:2\":[0,\"y\",1,\"\"]}");
        assert_eq!((film.frame_of_event(0), film.frame_of_event(1), film.frame_of_event(9)), (0, 2, 2));
    }
}
