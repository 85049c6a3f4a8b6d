//! A recording as steps: each input with its effects and the states published meanwhile.

use std::collections::{BTreeMap, VecDeque};

use kernel::{Micros, Sequence};
use tidemark_record::item::ExtractKey;
use tidemark_record::mark::{EffectMark, StateHash};
use tidemark_record::rows::Rows;
use tidemark_record::{End, Item, RecordedInput, Recording, RecordingError};

/// One step of a recording.
pub(super) enum Step {
    /// The coordinator was held, or released.
    Held(bool),
    /// An input.
    Fed(Expected),
    /// The recording ends.
    End(End),
}

/// An input with its expected results.
pub(super) struct Expected {
    /// None: the first effects of a term.
    pub input: Option<(Micros, RecordedInput)>,
    /// In order.
    pub effects: Vec<EffectMark>,
    /// States published meanwhile.
    pub states: Vec<(Sequence, StateHash)>,
    /// There may have been more effects, which the recording lost.
    pub cut_off: bool,
}

impl Expected {
    fn new(input: Option<(Micros, RecordedInput)>) -> Expected {
        Expected { input, effects: vec![], states: vec![], cut_off: false }
    }

    fn is_nothing(&self) -> bool {
        self.input.is_none() && self.effects.is_empty() && self.states.is_empty()
    }

    /// A short name of the input.
    pub fn name(&self) -> String {
        let Some((at_us, input)) = &self.input else { return "before the first input".into() };
        let what = match input {
            RecordedInput::Extracted(extract) => format!(
                "Extracted: pipeline {}, split {}, {}..{}",
                extract.key.pipeline, extract.key.split, extract.first, extract.next
            ),
            RecordedInput::Request { id, request } => {
                let text: String = format!("{request:?}").chars().take(80).collect();
                format!("request {id}: {text}")
            }
            other => format!("{other:?}"),
        };
        format!("at {at_us} µs: {what}")
    }
}

/// The steps of one file, and rows for earlier inputs.
pub(super) struct Steps {
    steps: VecDeque<Step>,
    rows: BTreeMap<ExtractKey, Vec<Option<Rows>>>,
    torn_bytes: usize,
}

impl Steps {
    /// Reads a file to its end.
    pub fn read(mut recording: Recording) -> Result<Steps, RecordingError> {
        let mut steps = VecDeque::new();
        let mut rows = BTreeMap::new();
        // A file at the start of a term begins with effects without an input.
        let mut open = Expected::new(None);
        let close = |open: &mut Expected, next: Expected, steps: &mut VecDeque<Step>| {
            let expected = std::mem::replace(open, next);
            if !expected.is_nothing() {
                steps.push_back(Step::Fed(expected));
            }
        };
        while let Some(item) = recording.next_item()? {
            match item {
                Item::Input { at_us, input } => {
                    close(&mut open, Expected::new(Some((at_us, input))), &mut steps);
                }
                Item::Effect(mark) => open.effects.push(mark),
                Item::State { sequence, hash } => open.states.push((sequence, hash)),
                Item::Rows { key, shards } => {
                    rows.insert(key, shards);
                }
                Item::Held(held) => {
                    close(&mut open, Expected::new(None), &mut steps);
                    steps.push_back(Step::Held(held));
                }
                Item::End(end) => {
                    open.cut_off = matches!(end, End::Halted(_) | End::Incomplete(_));
                    close(&mut open, Expected::new(None), &mut steps);
                    steps.push_back(Step::End(end));
                }
            }
        }
        open.cut_off = true;
        close(&mut open, Expected::new(None), &mut steps);
        Ok(Steps { steps, rows, torn_bytes: recording.torn_bytes() })
    }

    /// Rows that are in the recording instead of the log.
    pub fn rows_later(&mut self) -> BTreeMap<ExtractKey, Vec<Option<Rows>>> {
        std::mem::take(&mut self.rows)
    }

    /// The next step.
    pub fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Whether the recording ends with this panic. Other threads may have worked on after it.
    pub fn halted_by(&self, panic: &str) -> bool {
        matches!(self.steps.back(), Some(Step::End(End::Halted(error))) if error.message.contains(panic))
    }

    /// Bytes of an incomplete frame at the end of the file.
    pub fn torn_bytes(&self) -> usize {
        self.torn_bytes
    }
}
