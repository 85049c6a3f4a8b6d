//! Checks of a coordinator that is idle for now: all due actions must have been taken. `super` holds the model.

use kernel::Micros;

use super::{Check, Phase, SourceModels, ensure};

impl SourceModels {
    /// The coordinator is idle for now. `held`: it starts no record; `sync_marker_due_us`: when one is due, if nothing
    /// else happens.
    pub fn settled(&self, held: bool, sync_marker_due_us: Option<Micros>) -> Check {
        if self.halted {
            return Ok(());
        }
        ensure("honest", self.disk_told.is_none(), || {
            "a change of the disk's state was not reported".into()
        })?;
        self.check_line()?;
        let now_us = self.now_us;
        for (id, source) in &self.sources {
            let late = match source.phase {
                Phase::Waiting { retry_at_us } => retry_at_us <= now_us,
                _ => source.metadata_due_us(&self.config).is_some_and(|due_us| due_us <= now_us),
            };
            let known = source.known.as_ref().filter(|_| source.phase == Phase::Fetching);
            let unread = known
                .and_then(|metadata| metadata.partitions.keys().find(|p| !source.expected.contains_key(p)));
            ensure("live", unread.is_none(), || {
                format!("pipeline {id} does not fetch partition {unread:?}")
            })?;
            ensure("live", !late, || format!("pipeline {id} misses its time, at {now_us} us: {source:?}"))?;
        }
        if self.staging.is_some() {
            return Ok(());
        }
        let in_flight = self.appended - self.published;
        if !held && in_flight < self.config.unsynced_records_max as u64 && !self.is_barred() {
            self.check_idle(in_flight)?;
        }
        self.check_wake_up(held, in_flight, sync_marker_due_us)
    }

    /// Checks whether the coordinator reports correctly that it is quiesced.
    pub fn check_quiesced(&self, told: bool) -> Check {
        let rests = self.staging.is_none()
            && self.appended == self.published
            && self.setting_up.is_empty()
            && !self.halted;
        ensure("honest", told == rests, || {
            format!(
                "the kernel reports quiesced: {told}; record {} of {} is published, {:?} is staged, {:?} are set up",
                self.published, self.appended, self.staging, self.setting_up
            )
        })
    }

    /// At most the allowed number of requests waits; the holder of a table lock is never refused.
    fn check_line(&self) -> Check {
        let begun = self.setting_up.len() + self.for_requests.len() + usize::from(self.staging.is_some());
        let in_line = (self.unanswered.len() + self.table_locks_asked.len()).saturating_sub(begun);
        ensure("bounded", in_line <= self.config.requests_waiting_max + self.holders.len(), || {
            format!("{in_line} requests wait, {} are allowed", self.config.requests_waiting_max)
        })
    }

    /// No request or batch waits that could have started.
    fn check_idle(&self, in_flight: u64) -> Check {
        ensure("live", self.unanswered.len() <= self.for_requests.len(), || {
            format!("one of the requests {:?} waits without a reason", self.unanswered)
        })?;
        if self.read_only {
            return Ok(());
        }
        let ready = self.ready();
        let full = |id: &&u32| self.sources[*id].verified_bytes() >= self.rules[*id].batch_bytes_max;
        let waits = if in_flight == 0 { ready.first() } else { ready.iter().find(full) };
        ensure("live", waits.is_none(), || {
            format!("the batch of pipeline {waits:?} waits without a reason")
        })?;
        let untold = self.sources.iter().find(|(_, source)| source.report.is_some());
        ensure("honest", untold.is_none(), || format!("the error of {untold:?} was not reported"))
    }

    /// The wake-up is at the time of the next due action, and not earlier.
    fn check_wake_up(&self, held: bool, in_flight: u64, sync_marker_due_us: Option<Micros>) -> Check {
        let sync_marker = sync_marker_due_us.filter(|_| !held && !self.read_only && in_flight == 0);
        ensure("live", sync_marker.is_none_or(|due_us| due_us > self.now_us), || {
            format!("a sync marker is due at {sync_marker:?}, at {} us", self.now_us)
        })?;
        let of_runs = self.sources.iter().flat_map(|(id, source)| {
            let retry = match source.phase {
                Phase::Waiting { retry_at_us } => Some(retry_at_us),
                _ => None,
            };
            let batch = self.rules.get(id).and_then(|rule| source.batch_due_us(rule, &self.config));
            let batch = batch.filter(|due_us| *due_us > self.now_us && source.phase == Phase::Fetching);
            [retry, batch, source.metadata_due_us(&self.config)].into_iter().flatten()
        });
        let Some(due_us) = of_runs.chain(sync_marker).min() else { return Ok(()) };
        ensure("live", self.wake_at_us == Some(due_us), || {
            format!("something is due at {due_us} us, and a wake-up is asked for at {:?}", self.wake_at_us)
        })
    }
}
