//! Quiescing during a term, as the flight recorder does it: the kernel is held until its state is the log and a
//! `QuiescedState`. The test: a coordinator and shards made from these replace the originals, and the run continues
//! with them.

use kernel::log::LogReader;
use kernel::{Input, Sequence};

use super::{Replay, World};
use crate::oracle::Violation;
use crate::trace::{Actor, Mark};

/// Most steps for which the kernel is held.
const HELD_STEPS_MAX: u64 = 400;

/// The kernel is held: it begins no record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// The last record that it may still append.
    pub last: Sequence,
    until_step: u64,
}

impl World<'_> {
    /// Holds the kernel sometimes, and releases it once it was replaced or takes too long to quiesce.
    pub(super) fn rest(&mut self) -> Result<(), Violation> {
        let (rate, steps) = (self.p.activity.rest, self.counts.steps);
        let Some(process) = self.process.as_mut().filter(|process| !process.halted) else { return Ok(()) };
        let Some(held) = process.held else {
            if self.d.activity(rate) {
                let (staged, _) = process.coordinator().staged_and_durable();
                process.coordinator_mut().hold(true);
                process.held = Some(Held { last: staged.next(), until_step: steps + HELD_STEPS_MAX });
                self.note(Actor::World, Mark::Step, &[], format_args!("the kernel is held, to quiesce it"));
            }
            return Ok(());
        };
        let quiet = process.log.commands.is_empty()
            && process.log.replies.is_empty()
            && process.shard_commands.iter().all(|commands| commands.is_empty())
            && process.shard_replies.iter().all(|replies| replies.is_empty());
        let rests = quiet && process.coordinator().is_quiesced();
        if rests {
            self.describe()?;
        } else if held.until_step > steps && !self.d.faults_over() {
            return Ok(());
        }
        let Some(process) = self.process.as_mut() else { return Ok(()) };
        process.held = None;
        process.coordinator_mut().hold(false);
        self.note(Actor::World, Mark::Step, &[u64::from(rests)], format_args!("the kernel is released"));
        self.feed(Input::Tick)
    }

    /// The coordinator is quiesced: one made from the log and its quiesced state must be equal, and replaces it.
    fn describe(&mut self) -> Result<(), Violation> {
        let wrong = |text: String| Violation::new("recovered", format!("a quiesced kernel: {text}"));
        let visible = self.oracle.visible();
        let process = self.process.as_mut().expect("it rests");
        let told = process.coordinator().staged_and_durable();
        if told != (visible, visible) {
            return Err(wrong(format!("{told:?} is staged and durable, {visible} is visible")));
        }
        let quiesced_state = process.coordinator().quiesced_state();
        let mut replay = Replay::new(&self.p);
        // This reading gets no disk errors: those are for the kernel's own reads.
        self.disk.spare(true);
        let read = LogReader::begin(self.disk.clone()).and_then(|mut reader| {
            if reader.database() != super::DATABASE {
                return Err(kernel::Error::new(
                    kernel::SqlState::INTERNAL_ERROR,
                    "the log names another database",
                ));
            }
            while let Some(record) = reader.next_record()? {
                replay.take(record)?;
            }
            Ok(())
        });
        self.disk.spare(false);
        read.map_err(|error| wrong(format!("the log cannot be read: {error}")))?;
        let Replay { recovery, mut shards, seen, .. } = replay;
        if self.oracle.known_prefix(&seen) != visible || recovery.last() != visible {
            return Err(wrong(format!("the log ends with record {}, {visible} is visible", recovery.last())));
        }
        let process = self.process.as_mut().expect("it rests");
        if *recovery.catalog() != **process.coordinator().tip() {
            return Err(wrong("the log leads to another catalog".into()));
        }
        let views = shards.iter_mut().map(kernel::Shard::recovered).collect();
        let mut coordinator = recovery
            .resume(self.p.config.clone(), quiesced_state, views)
            .map_err(|error| wrong(format!("its quiesced state does not fit the log: {error}")))?;
        coordinator.hold(true);
        if coordinator.fingerprint().finish() != process.coordinator().fingerprint().finish() {
            return Err(wrong("made from the log and its quiesced state it differs".into()));
        }
        self.oracle.acquired(coordinator.published())?;
        (process.coordinator, process.shards) = (Some(coordinator), shards);
        self.counts.rests += 1;
        Ok(())
    }
}
