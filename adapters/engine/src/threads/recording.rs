//! The coordinator thread's end of the flight recorder: it notes every input and effect, and quiesces coordinator and
//! shards when the recorder wants to begin another file. `tidemark-record` writes the files.

use std::sync::Arc;

use kernel::{Coordinator, Effect, Error, Input, Micros, Result, Snapshot};
use tidemark_record::{End, Recorder, RecorderSettings, TermStart};

use crate::ports::config::OnHalt;

/// How long the coordinator is held at most: batches and statements wait meanwhile. It usually takes one sync.
const HOLD_US_MAX: Micros = 100_000;

/// Pause after an attempt to quiesce that did not succeed.
const HOLD_PAUSE_US: Micros = 2_000_000;

/// A recording, or none.
#[derive(Default)]
pub(crate) struct Recording {
    recorder: Option<Recorder>,
    /// Commands that shards have not answered.
    unanswered: u64,
    held_since_us: Option<Micros>,
    next_hold_us: Micros,
}

impl Recording {
    /// Begins to record, if that is asked for.
    pub(crate) fn start(settings: Option<RecorderSettings>, term: TermStart) -> Result<Recording> {
        let Some(settings) = settings else { return Ok(Recording::default()) };
        tracing::info!(
            directory = %settings.directory.display(),
            bytes_max = settings.bytes_max,
            term = term.term.0,
            "recording, for a replay of this term; the oldest files are removed first"
        );
        Ok(Recording { recorder: Some(Recorder::start(settings, term)?), ..Recording::default() })
    }

    /// Wraps the halt handler: first the recording is written out, with the rows that only memory holds.
    pub(crate) fn before(&self, on_halt: OnHalt) -> OnHalt {
        let Some(recorder) = self.recorder.clone() else { return on_halt };
        Arc::new(move |error: &Error| {
            recorder.finish(End::Halted(error.clone()), None);
            on_halt(error);
        })
    }

    /// Before the coordinator is fed.
    pub(crate) fn input(&mut self, now_us: Micros, input: &Input, coordinator: &Coordinator) {
        let Some(recorder) = &self.recorder else { return };
        if let Input::Shard { .. } = input {
            self.unanswered -= 1;
        }
        recorder.input(now_us, input, coordinator.tip());
    }

    /// Before an effect is carried out.
    pub(crate) fn effect(&mut self, effect: &Effect) {
        let Some(recorder) = &self.recorder else { return };
        if let Effect::Shard { .. } = effect {
            self.unanswered += 1;
        }
        recorder.effect(effect);
    }

    /// After an input and its effects: holds the coordinator if the recorder wants another file, and releases it once
    /// it is quiesced or the time is over. True if it was released and must be fed a tick.
    pub(crate) fn quiesce_if_wanted(&mut self, now_us: Micros, coordinator: &mut Coordinator) -> bool {
        let Some(recorder) = &self.recorder else { return false };
        let Some(since_us) = self.held_since_us else {
            if recorder.wants_quiesce() && now_us >= self.next_hold_us {
                self.held_since_us = Some(now_us);
                coordinator.hold(true);
                recorder.held(true);
            }
            return false;
        };
        let at_rest = self.unanswered == 0 && coordinator.is_quiesced();
        if !at_rest && now_us - since_us < HOLD_US_MAX {
            return false;
        }
        self.held_since_us = None;
        coordinator.hold(false);
        if at_rest {
            recorder.rest(coordinator.quiesced_state(), coordinator.tip());
        } else {
            self.next_hold_us = now_us + HOLD_PAUSE_US;
            recorder.held(false);
        }
        true
    }

    /// A clean stop.
    pub(crate) fn finish(&self, published: &Snapshot) {
        if let Some(recorder) = &self.recorder {
            recorder.finish(End::Stopped, Some(published.clone()));
        }
    }
}
