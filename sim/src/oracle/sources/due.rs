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
                _ => source.metadata_latest_us(&self.config.pacing).is_some_and(|due_us| due_us <= now_us),
            };
            let known = source.known.as_ref().filter(|_| source.phase == Phase::Fetching);
            let unread = known.and_then(|metadata| {
                let mut partitions = metadata.partitions().into_keys();
                partitions.find(|p| !source.expected.contains_key(p) && !self.finished.contains(&(*id, *p)))
            });
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
        let pacing = &self.config.pacing;
        let waits = self.due(|source, rule| source.batch_latest_us(rule, pacing)).next();
        ensure("live", in_flight > 0 || waits.is_none(), || {
            format!("the batch of pipeline {waits:?} waits for nothing")
        })?;
        let untold = self.sources.iter().find(|(_, source)| source.report.is_some());
        ensure("honest", untold.is_none(), || format!("the error of {untold:?} was not reported"))
    }

    /// It will be woken before something has waited too long.
    fn check_wake_up(&self, held: bool, in_flight: u64, sync_marker_due_us: Option<Micros>) -> Check {
        let sync_marker = sync_marker_due_us.filter(|_| !held && !self.read_only && in_flight == 0);
        ensure("live", sync_marker.is_none_or(|due_us| due_us > self.now_us), || {
            format!("a sync marker is due at {sync_marker:?}, at {} us", self.now_us)
        })?;
        // While the log is busy or a lock is held, a publication or the release comes first.
        let may_begin = in_flight == 0 && !held && !self.read_only && !self.is_barred();
        let of_sources = self.sources.iter().flat_map(|(id, source)| {
            let retry = match source.phase {
                Phase::Waiting { retry_at_us } => Some(retry_at_us),
                _ => None,
            };
            let pacing = &self.config.pacing;
            let batch = self.rules.get(id).and_then(|rule| source.batch_latest_us(rule, pacing));
            let may_begin = may_begin && source.phase == Phase::Fetching;
            let batch = batch.filter(|due_us| may_begin && *due_us > self.now_us);
            [retry, batch, source.metadata_latest_us(pacing)].into_iter().flatten()
        });
        let Some(due_us) = of_sources.chain(sync_marker).min() else { return Ok(()) };
        let in_time = self.wake_at_us.is_some_and(|at_us| self.now_us < at_us && at_us <= due_us);
        ensure("live", in_time, || {
            format!(
                "something is due at {due_us} us, and at {} us a wake-up is asked for at {:?}",
                self.now_us, self.wake_at_us
            )
        })
    }
}
