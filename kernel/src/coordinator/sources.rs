//! The source of each running pipeline: open, fetch, verify, retry, fail. All of it is volatile; state that must
//! survive a crash is in the catalog. `batch` selects the verified extracts of a batch, `pacing` the times.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::pacing::{Backlog, BatchRule};
use super::{Coordinator, OwnRecord};
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, SqlState};
use crate::event::Event;
use crate::extract::Extract;
use crate::ids::*;
use crate::message::{Effect, SourceFailure, SourceMetadata, SplitStart};
use crate::schema::{CursorSet, Cursors, PipelineDef, Split, StartAt};

/// If metadata names an end before a split's cursor this many times in a row, the messages count as lost. A new leader
/// may know a lower end than the kernel (fault A10).
const METADATA_BEYOND_END_MAX: u32 = 5;

/// One pipeline's source, from START to STOP or failure.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct ActiveSource {
    /// Fences older requests. After a retry it is newer than the epoch in the catalog.
    #[n(0)]
    pub epoch: Epoch,
    #[n(1)]
    phase: Phase,
    #[n(2)]
    retry: Retry,
    /// Token of the last metadata request.
    #[n(3)]
    last_token: u64,
    /// When the last batch was closed.
    #[n(4)]
    pub last_batch_us: Micros,
}

/// The phase of a source.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
enum Phase {
    /// `SourceOpen` is not answered yet.
    #[n(0)]
    Opening,
    /// The splits are fetched.
    #[n(1)]
    Fetching(#[n(0)] Fetching),
    /// The source failed. The retry begins at this time.
    #[n(2)]
    Waiting {
        #[n(0)]
        retry_at_us: Micros,
    },
    /// The source failed permanently. The record that stops the pipeline is not staged yet.
    #[n(3)]
    Failed(#[n(0)] Error),
}

/// State that is kept across retries until a fetch succeeds.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
struct Retry {
    /// Failures in a row.
    #[n(0)]
    tries: u32,
    /// Splits whose end was before their cursor, and in how many answers in a row.
    #[n(1)]
    beyond_end: BTreeMap<SplitName, u32>,
    /// An error that is to be written to the errors table.
    #[n(2)]
    report: Option<Error>,
    /// The last error that was written there. It is written once until a fetch succeeds.
    #[n(3)]
    last_reported: Option<String>,
}

/// The state of an open source: its splits, and extracts that are not committed yet.
#[derive(Clone, Debug, Default, Encode, Decode)]
#[cbor(map)]
struct Fetching {
    #[n(0)]
    splits: BTreeMap<SplitId, FetchedSplit>,
    /// Extracts that arrived after the last metadata request began.
    #[cbor(skip)]
    fetched: Vec<Extract>,
    /// Extracts that arrived before the current metadata request began.
    #[cbor(skip)]
    verifying: Vec<Extract>,
    /// Extracts between two equal answers. They may be committed.
    #[cbor(skip)]
    verified: VecDeque<Extract>,
    /// Token of the current metadata request.
    #[n(1)]
    requested: Option<u64>,
    #[n(2)]
    last_metadata_us: Micros,
    /// The last answer named messages that are not fetched yet.
    #[n(3)]
    behind: bool,
    /// First cursors of splits, logged before any batch.
    #[n(4)]
    discovered: Vec<CursorSet>,
}

/// A split that is being fetched.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct FetchedSplit {
    #[n(0)]
    name: SplitName,
    /// Its identity when the source was opened: the metadata before the fetch.
    #[n(1)]
    identity: Identity,
    /// Start of the next extract.
    #[n(2)]
    expected: Position,
    /// Its end, once metadata has said that no message will follow.
    #[n(3)]
    finished_at: Option<Position>,
}

/// A source's extracts by state: verified, verifying, fetched.
pub(super) type ExtractsByStage = [Vec<Extract>; 3];

impl ActiveSource {
    fn new(epoch: Epoch) -> ActiveSource {
        ActiveSource {
            epoch,
            phase: Phase::Opening,
            retry: Retry::default(),
            last_token: 0,
            last_batch_us: Micros::MIN,
        }
    }

    /// Between `SourceOpen` and `SourceClose`.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Fetching(_))
    }

    fn fetching(&self) -> Option<&Fetching> {
        match &self.phase {
            Phase::Fetching(fetching) => Some(fetching),
            _ => None,
        }
    }

    fn fetching_mut(&mut self) -> Option<&mut Fetching> {
        match &mut self.phase {
            Phase::Fetching(fetching) => Some(fetching),
            _ => None,
        }
    }

    /// Source bytes of the verified extracts.
    pub fn verified_bytes(&self) -> u64 {
        self.fetching().map_or(0, |fetching| bytes(&fetching.verified))
    }

    /// Identity of a split whose extracts are verified.
    pub fn identity(&self, split: SplitId) -> Identity {
        self.fetching().expect("a source with extracts is being fetched").splits[&split].identity.clone()
    }

    /// Whether a batch that ends here is the last one of a split: the split is finished, and no other extract of it waits.
    pub fn finishes(&self, split: SplitId, next: &Position) -> bool {
        let fetching = self.fetching().expect("a source with extracts is being fetched");
        let mut waiting = fetching.fetched.iter().chain(&fetching.verifying).chain(&fetching.verified);
        let end = fetching.splits[&split].finished_at;
        end.is_some_and(|end| !next.is_before(&end)) && waiting.all(|extract| extract.split != split)
    }

    /// Takes verified extracts, as many as fit into `bytes_max` and at least one.
    pub fn take_verified(&mut self, bytes_max: u64) -> Vec<Extract> {
        let verified = &mut self.fetching_mut().expect("a source with a batch is being fetched").verified;
        let (mut bytes, mut taken) = (0, vec![]);
        while let Some(extract) = verified.front()
            && (taken.is_empty() || bytes + extract.source_bytes <= bytes_max)
        {
            bytes += extract.source_bytes;
            taken.extend(verified.pop_front());
        }
        assert!(taken.len() == 1 || bytes <= bytes_max, "a batch is within its limit or is one extract");
        if !verified.is_empty() {
            reached(CoverageMark::BatchLeftExtracts);
        }
        taken
    }

    /// Takes the record that must precede any batch: a failure, an error to report, or first cursors.
    pub fn take_own_record(&mut self) -> Option<OwnRecord> {
        if let Phase::Failed(error) = &self.phase {
            return Some(OwnRecord::Failure(error.clone()));
        }
        if let Some(error) = self.retry.report.take() {
            return Some(OwnRecord::Report(error));
        }
        let discovered = std::mem::take(&mut self.fetching_mut()?.discovered);
        (!discovered.is_empty()).then_some(OwnRecord::Splits(discovered))
    }

    /// Takes the extracts out, for a quiesced state.
    pub fn take_extracts(&mut self) -> ExtractsByStage {
        self.fetching_mut().map_or_else(Default::default, |fetching| {
            let verified = std::mem::take(&mut fetching.verified);
            [verified.into(), std::mem::take(&mut fetching.verifying), std::mem::take(&mut fetching.fetched)]
        })
    }

    /// Puts back the extracts of [`take_extracts`](Self::take_extracts). False if the source is not being fetched.
    pub fn put_extracts(&mut self, [verified, verifying, fetched]: ExtractsByStage) -> bool {
        let is_empty = verified.is_empty() && verifying.is_empty() && fetched.is_empty();
        let Some(fetching) = self.fetching_mut() else { return is_empty };
        (fetching.verified, fetching.verifying, fetching.fetched) = (verified.into(), verifying, fetched);
        true
    }

    /// Begins a phase. Extracts of the old phase that are not staged are dropped.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// The source answered. Fetching begins.
    fn begin_fetching(&mut self, now_us: Micros) {
        self.phase = Phase::Fetching(Fetching { last_metadata_us: now_us, ..Fetching::default() });
        self.retry.tries = 0;
        self.retry.beyond_end.clear();
    }

    /// See [`crate::fingerprint`].
    #[cfg(feature = "explore")]
    pub(super) fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let ActiveSource { epoch: _, phase, retry, last_token: _, last_batch_us: _ } = self;
        let Retry { tries, beyond_end, report, last_reported } = retry;
        match phase {
            Phase::Opening => to.word(0u64),
            Phase::Fetching(fetching) => fetching.fingerprint(to),
            Phase::Waiting { .. } => to.word(2u64),
            Phase::Failed(_) => to.word(3u64),
        }
        to.word(*tries);
        to.count(beyond_end.len());
        for (name, answers) in beyond_end {
            to.bytes(name.as_str().as_bytes());
            to.word(*answers);
        }
        to.word(report.is_some());
        to.word(last_reported.is_some());
    }
}

impl Fetching {
    /// Stores the source's metadata.
    fn observe(&mut self, metadata: &SourceMetadata, now_us: Micros) {
        self.last_metadata_us = now_us;
        for split in self.splits.values_mut() {
            let found = metadata.splits.get(&split.name).filter(|found| found.finished);
            split.finished_at = split.finished_at.or(found.map(|found| found.end));
        }
        self.behind = self.splits.values().any(|split| {
            let end = metadata.splits.get(&split.name).map(|found| found.end);
            end.is_some_and(|end| split.expected.is_before(&end))
        });
    }

    /// Adds an extract. False if it does not continue the one before.
    fn admit(&mut self, extract: Extract) -> bool {
        let split = self.splits.get_mut(&extract.split);
        let Some(split) = split.filter(|split| split.expected.is_continued_by(&extract.first)) else {
            return false;
        };
        // A source that goes on after the end of a finished split contradicts itself.
        if split.finished_at.is_some_and(|end| !split.expected.is_before(&end)) {
            return false;
        }
        if extract.next.kind() != split.expected.kind() || extract.next.is_before(&split.expected) {
            return false;
        }
        split.expected = extract.next;
        self.fetched.push(extract);
        true
    }

    /// Begins to verify the fetched extracts with a metadata request.
    fn begin_verifying(&mut self, token: u64) {
        assert!(self.requested.is_none() && self.verifying.is_empty(), "one verification at a time");
        self.verifying.append(&mut self.fetched);
        self.requested = Some(token);
    }

    /// The answer named the same identities as the one before the fetch. Extracts of a split that is absent from the
    /// answer wait for the next answer (fault A12).
    fn end_verifying(&mut self, metadata: &SourceMetadata) {
        if !self.fetched.is_empty() {
            reached(CoverageMark::FetchedDuringMetadata);
        }
        let is_named = |extract: &Extract| metadata.splits.contains_key(&self.splits[&extract.split].name);
        let (verified, unnamed): (Vec<_>, Vec<_>) = self.verifying.drain(..).partition(is_named);
        self.verified.extend(verified);
        self.fetched.splice(0..0, unnamed);
    }

    /// A split whose identity in this answer differs, with the old identity.
    fn changed(&self, metadata: &SourceMetadata) -> Option<Changed> {
        self.splits.values().find_map(|split| {
            let found = metadata.splits.get(&split.name)?;
            let was = split.identity.clone();
            (found.identity != was).then(|| Changed { was, now: found.identity.clone() })
        })
    }

    fn has_extracts(&self) -> bool {
        !self.verified.is_empty() || !self.verifying.is_empty() || !self.fetched.is_empty()
    }

    /// See [`crate::fingerprint`].
    #[cfg(feature = "explore")]
    fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Fetching {
            splits,
            fetched,
            verifying,
            verified,
            requested,
            last_metadata_us: _,
            behind,
            discovered,
        } = self;
        to.word(1u64);
        to.count(splits.len());
        for (number, FetchedSplit { name: _, identity, expected, finished_at }) in splits {
            to.word(number.0);
            to.bytes(identity.as_bytes());
            to.signed(expected.ordinal());
            to.word(finished_at.is_some());
        }
        for extracts in [fetched.len(), verifying.len(), verified.len()] {
            to.count(extracts);
        }
        fetched.iter().chain(verifying).chain(verified).for_each(|extract| extract.fingerprint(to));
        to.word(requested.is_some());
        to.word(*behind);
        to.count(discovered.len());
        discovered.iter().for_each(|set| to.cursor_set(set));
    }
}

fn bytes<'e>(extracts: impl IntoIterator<Item = &'e Extract>) -> u64 {
    extracts.into_iter().map(|extract| extract.source_bytes).sum()
}

impl Coordinator {
    /// Begins to load a pipeline: START, and recovery of a running pipeline.
    pub(super) fn open_source(&mut self, definition: Arc<PipelineDef>, epoch: Epoch) {
        let source = ActiveSource::new(epoch);
        assert!(self.pipelines.insert(definition.id, source).is_none(), "a pipeline has one source");
        self.request_open(definition, epoch);
    }

    /// The effect contains the definitions, because a waiting statement may drop the pipeline before the effect is
    /// carried out.
    fn request_open(&mut self, definition: Arc<PipelineDef>, epoch: Epoch) {
        let table = self.tip.tables[&definition.table].clone();
        self.effects.push_back(Effect::SourceOpen { pipeline: definition.id, epoch, definition, table });
    }

    /// Ends the load: STOP, DROP, failure. Extracts that are not staged are dropped.
    pub(super) fn close_source(&mut self, id: PipelineId) {
        self.close_epoch(id);
        let Some(source) = self.pipelines.remove(&id) else { return };
        if matches!(source.phase, Phase::Failed(_)) {
            reached(CoverageMark::FailureForgotten);
        }
        if source.fetching().is_some_and(Fetching::has_extracts) {
            reached(CoverageMark::StoppedWithFetched);
        }
    }

    /// Closes the epoch of an open source. The epoch of a waiting or failed source is closed already.
    fn close_epoch(&mut self, id: PipelineId) {
        let open = self.pipelines.get(&id).filter(|source| source.is_open());
        if let Some(ActiveSource { epoch, .. }) = open {
            self.effects.push_back(Effect::SourceClose { pipeline: id, epoch: *epoch });
        }
    }

    /// The source of an input; None if the input is of an older epoch (invariant 6) or the source has failed.
    fn source(&mut self, id: PipelineId, epoch: Epoch) -> Option<&mut ActiveSource> {
        let source = self.pipelines.get_mut(&id)?;
        if source.epoch != epoch {
            reached(CoverageMark::OlderEpochDropped);
            return None;
        }
        Some(source).filter(|source| !matches!(source.phase, Phase::Failed(_)))
    }

    /// An existing source, in any phase.
    fn active_source(&mut self, id: PipelineId) -> &mut ActiveSource {
        self.pipelines.get_mut(&id).expect("the pipeline has a source")
    }

    pub(super) fn source_opened(&mut self, id: PipelineId, epoch: Epoch, metadata: SourceMetadata) {
        let opening = self.source(id, epoch).is_some_and(|source| matches!(source.phase, Phase::Opening));
        if !opening {
            return;
        }
        let pipeline = self.tip.pipelines[&id].clone();
        let cursors = self.cursors(id);
        if let Some(changed) = changed_identity(&pipeline, &cursors, &metadata) {
            reached(CoverageMark::TopicChangedAtOpen);
            return self.fail(id, source_changed(&pipeline, &changed));
        }
        let is_absent = |split: &Split| !metadata.splits.contains_key(&split.name);
        if cursors.splits().any(|(_, split)| split.position.is_some() && is_absent(split)) {
            reached(CoverageMark::PartitionAbsent);
        }
        let mut beyond_end = BTreeMap::new();
        for (name, found) in &metadata.splits {
            let unfinished = cursors.named(name).filter(|(_, split)| !split.finished);
            let Some(cursor) = unfinished.and_then(|(_, split)| split.position) else { continue };
            let loss = Loss { split: name.clone(), wanted: cursor, earliest: found.earliest, end: found.end };
            if cursor.is_before(&found.earliest) {
                reached(CoverageMark::LostAtOpen);
                return self.fail(id, lost(&pipeline, &loss));
            }
            if found.end.is_before(&cursor) {
                beyond_end.insert(name.clone(), loss);
            }
        }
        if !beyond_end.is_empty() {
            return self.tolerate_or_fail(id, beyond_end);
        }
        let (now_us, bytes) = (self.now_us, self.config.pipeline_credit_bytes);
        self.active_source(id).begin_fetching(now_us);
        self.fetch_splits(id, &metadata);
        self.effects.push_back(Effect::Credit { pipeline: id, epoch, bytes });
    }

    /// Handles ends before the cursors of some splits. They count as a loss after several such answers in a row.
    fn tolerate_or_fail(&mut self, id: PipelineId, found: BTreeMap<SplitName, Loss>) {
        let beyond_end = &mut self.active_source(id).retry.beyond_end;
        beyond_end.retain(|name, _| found.contains_key(name));
        found.keys().for_each(|name| *beyond_end.entry(name.clone()).or_default() += 1);
        let loss = beyond_end.iter().find(|(_, answers)| **answers > METADATA_BEYOND_END_MAX);
        let loss = loss.map(|(name, _)| name.clone());
        reached(match loss {
            Some(_) => CoverageMark::BeyondEndIsLoss,
            None => CoverageMark::BeyondEndTolerated,
        });
        let pipeline = self.tip.pipelines[&id].clone();
        match loss {
            Some(name) => self.fail(id, lost(&pipeline, &found[&name])),
            None => {
                let first = found.values().next().expect("a split ends early");
                self.retry_later(id, ends_early(pipeline.source_kind, first))
            }
        }
    }

    /// Where a pipeline continues: its cursors at the tip, moved on by the batch that is being staged.
    fn cursors(&self, id: PipelineId) -> Cursors {
        let mut cursors = self.tip.cursors[&id].clone();
        let staged = self.staging.iter().flat_map(|staging| staging.advances());
        for advance in staged.filter(|advance| advance.pipeline == id) {
            reached(CoverageMark::OpenedWhileStaging);
            cursors.advance(advance.split, advance.next, advance.finished);
        }
        cursors
    }

    /// Stores metadata, and begins to fetch the new splits. A split that was never seen before gets a cursor, which is
    /// logged before the first batch (fault A11).
    fn fetch_splits(&mut self, id: PipelineId, metadata: &SourceMetadata) {
        let now_us = self.now_us;
        let known = self.tip.cursors[&id].clone();
        let fetching = self.active_source(id).fetching_mut().expect("the source is being fetched");
        // Every batch asks for metadata, and hardly any answer names a new split.
        let is_fetched =
            |name| known.named(name).is_some_and(|(split, _)| fetching.splits.contains_key(&split));
        if metadata.splits.keys().all(is_fetched) {
            return fetching.observe(metadata, now_us);
        }
        let pipeline = self.tip.pipelines[&id].clone();
        let cursors = self.cursors(id);
        let numbers = cursors.numbers_for(pipeline.source_kind, metadata.splits.keys());
        let source = self.active_source(id);
        let epoch = source.epoch;
        let fetching = source.fetching_mut().expect("the source is being fetched");
        let is_first = !cursors.has_identity() && fetching.splits.is_empty();
        let at_end = is_first && pipeline.start_at == StartAt::Latest;
        let mut starts = vec![];
        for (name, found) in &metadata.splits {
            let split = numbers[name];
            let known = cursors.get(split);
            if fetching.splits.contains_key(&split) || known.is_some_and(|known| known.finished) {
                continue;
            }
            let cursor = known.and_then(|known| known.position);
            let position = cursor.unwrap_or(if at_end { found.end } else { found.earliest }.unmarked());
            if cursor.is_none() && at_end {
                reached(CoverageMark::StartedAtLatest);
            }
            if cursor.is_none() || known.is_none_or(|known| known.identity.is_none()) {
                let identity = Some(found.identity.clone());
                fetching.discovered.push(CursorSet { split, name: name.clone(), identity, position });
            }
            let (name, identity) = (name.clone(), found.identity.clone());
            let fetched =
                FetchedSplit { name: name.clone(), identity, expected: position, finished_at: None };
            fetching.splits.insert(split, fetched);
            starts.push(SplitStart { split, name, position });
        }
        fetching.observe(metadata, now_us);
        if !starts.is_empty() {
            self.effects.push_back(Effect::Fetch { pipeline: id, epoch, starts });
        }
    }

    pub(super) fn extracted(&mut self, extract: Extract) {
        let id = extract.pipeline;
        assert_eq!(extract.rows.len(), self.shard_count as usize, "rows per shard");
        if self.source(id, extract.epoch).and_then(ActiveSource::fetching_mut).is_none() {
            return reached(CoverageMark::StaleExtractDropped);
        }
        let table_version = self.tip.tables[&self.tip.pipelines[&id].table].schema_version;
        let schema_version = extract.schema_version;
        if schema_version != table_version {
            reached(CoverageMark::ExtractOfOtherSchemaDropped);
            let event = Event::ExtractOutdated { pipeline: id, schema_version, table_version };
            self.effects.push_back(Effect::Event(event));
            return self.reopen(id);
        }
        // The range repeats, overlaps or skips: the reader has a wrong position. The cursor is the true position
        // (faults A3, A4). The source is reopened there.
        let (split, first, next) = (extract.split, extract.first, extract.next);
        let fetching = self.active_source(id).fetching_mut().expect("the source is being fetched");
        if !fetching.admit(extract) {
            reached(CoverageMark::RangeDoesNotFollow);
            self.effects.push_back(Effect::Event(Event::RangeMisplaced { pipeline: id, split, first, next }));
            self.reopen(id);
        }
    }

    /// Requests metadata. The answer verifies all extracts that arrived before the request (fault A6).
    fn request_metadata(&mut self, id: PipelineId) {
        let source = self.active_source(id);
        source.last_token += 1;
        let (epoch, token) = (source.epoch, source.last_token);
        source.fetching_mut().expect("the source is being fetched").begin_verifying(token);
        self.effects.push_back(Effect::SourceVerify { pipeline: id, epoch, token });
    }

    pub(super) fn source_verified(
        &mut self,
        id: PipelineId,
        epoch: Epoch,
        token: u64,
        metadata: SourceMetadata,
    ) {
        let fetching = self.source(id, epoch).and_then(ActiveSource::fetching_mut);
        let Some(fetching) = fetching.filter(|fetching| fetching.requested == Some(token)) else { return };
        fetching.requested = None;
        let changed = fetching.changed(&metadata);
        let pipeline = self.tip.pipelines[&id].clone();
        let changed = changed.or_else(|| changed_identity(&pipeline, &self.tip.cursors[&id], &metadata));
        if let Some(changed) = changed {
            reached(CoverageMark::TopicChangedWhileRead);
            return self.fail(id, source_changed(&pipeline, &changed));
        }
        let source = self.active_source(id);
        source.retry.last_reported = None;
        source.fetching_mut().expect("the source is being fetched").end_verifying(&metadata);
        self.fetch_splits(id, &metadata);
    }

    pub(super) fn source_failed(&mut self, id: PipelineId, epoch: Epoch, failure: SourceFailure) {
        if self.source(id, epoch).is_none() {
            return;
        }
        match failure {
            SourceFailure::Transient(error) => self.retry_later(id, error),
            SourceFailure::Permanent(error) => self.fail(id, error),
            SourceFailure::Lost { split, wanted, earliest, end } => {
                reached(CoverageMark::LostWhileRead);
                // The reader was ahead of the cursor. Its missing messages may not be the ones that the pipeline needs
                // next, and a hint to continue there would skip the messages between. After a fetch from the cursor the
                // same failure names the right range.
                let cursor = self.cursors(id).named(&split).and_then(|(_, split)| split.position);
                if cursor.is_some_and(|cursor| cursor.is_before(&wanted)) {
                    self.effects.push_back(Effect::Event(Event::ReaderLost { pipeline: id, split, wanted }));
                    return self.reopen(id);
                }
                let error = lost(&self.tip.pipelines[&id], &Loss { split, wanted, earliest, end });
                self.fail(id, error)
            }
        }
    }

    /// Stops the pipeline. The record of its failure is staged later (`batch::start_own_record`).
    fn fail(&mut self, id: PipelineId, error: Error) {
        self.close_epoch(id);
        self.active_source(id).enter(Phase::Failed(error));
    }

    /// Closes the source and opens it again after a pause. The error is written to the errors table once, until a fetch
    /// succeeds.
    fn retry_later(&mut self, id: PipelineId, error: Error) {
        let (now_us, epoch) = (self.now_us, self.new_epoch());
        self.close_epoch(id);
        let tries = self.pipelines[&id].retry.tries;
        let pause_us = self.config.pacing.retry_pause_us(tries);
        if pause_us == self.config.pacing.retry_us_max {
            reached(CoverageMark::RetryPauseLongest);
        }
        let source = self.active_source(id);
        source.epoch = epoch;
        source.enter(Phase::Waiting { retry_at_us: now_us + pause_us });
        source.retry.tries = tries.saturating_add(1);
        if source.retry.last_reported.as_ref() != Some(&error.message) {
            source.retry.last_reported = Some(error.message.clone());
            source.retry.report = Some(error.clone());
        }
        self.effects.push_back(Effect::Event(Event::SourceRetried { pipeline: id, pause_us, error }));
    }

    /// Opens the source again at once, from the cursor, under a new epoch.
    fn reopen(&mut self, id: PipelineId) {
        let epoch = self.new_epoch();
        self.close_epoch(id);
        let source = self.active_source(id);
        source.epoch = epoch;
        source.enter(Phase::Opening);
        self.request_open(self.tip.pipelines[&id].clone(), epoch);
    }

    pub(super) fn give_back_credit(&mut self, id: PipelineId, epoch: Epoch, bytes: u64) {
        if bytes > 0 && self.source(id, epoch).is_some() {
            self.effects.push_back(Effect::Credit { pipeline: id, epoch, bytes });
        }
    }

    /// Starts due retries and metadata requests, for fetched extracts or after an idle time.
    pub(super) fn run_timers(&mut self) {
        let ids: Vec<PipelineId> = self.pipelines.keys().copied().collect();
        for id in ids {
            let source = &self.pipelines[&id];
            match &source.phase {
                Phase::Waiting { retry_at_us } if *retry_at_us <= self.now_us => {
                    reached(CoverageMark::Retried);
                    self.reopen(id)
                }
                Phase::Fetching(fetching)
                    if self.metadata_due(fetching).is_some_and(|due_us| due_us <= self.now_us) =>
                {
                    if fetching.fetched.is_empty() {
                        reached(CoverageMark::IdleMetadata);
                    }
                    self.request_metadata(id)
                }
                _ => {}
            }
        }
    }

    fn backlog<'e>(&self, fetching: &Fetching, extracts: impl IntoIterator<Item = &'e Extract>) -> Backlog {
        let bytes_max = self.config.pipeline_credit_bytes / 4;
        Backlog { bytes: bytes(extracts), bytes_max, behind: fetching.behind }
    }

    /// When to request metadata; None while a request is not answered.
    fn metadata_due(&self, fetching: &Fetching) -> Option<Micros> {
        let fetched = (!fetching.fetched.is_empty()).then(|| self.backlog(fetching, &fetching.fetched));
        let due_us = || self.config.pacing.metadata_due_us(fetching.last_metadata_us, fetched);
        fetching.requested.is_none().then(due_us)
    }

    pub(super) fn next_pipeline_timer(&self) -> Option<Micros> {
        let timers = self.pipelines.iter().filter_map(|(id, source)| match &source.phase {
            Phase::Waiting { retry_at_us } => Some(*retry_at_us),
            Phase::Fetching(fetching) => {
                let batch = self.batch_due(*id, source).filter(|due_us| *due_us > self.now_us);
                batch.into_iter().chain(self.metadata_due(fetching)).min()
            }
            Phase::Opening | Phase::Failed(_) => None,
        });
        timers.min()
    }

    /// When a pipeline may close its next batch; None if it has nothing to commit.
    pub(super) fn batch_due(&self, id: PipelineId, source: &ActiveSource) -> Option<Micros> {
        let fetching = source.fetching().filter(|fetching| !fetching.verified.is_empty())?;
        let pipeline: &Arc<PipelineDef> = &self.tip.pipelines[&id];
        let rule = BatchRule { interval_us: pipeline.batch_interval_us, bytes_max: pipeline.batch_bytes_max };
        let verified = self.backlog(fetching, &fetching.verified);
        if verified.bytes < rule.bytes_max && self.config.pacing.lingers(verified) {
            reached(CoverageMark::BatchLingering);
        }
        Some(self.config.pacing.batch_due_us(source.last_batch_us, verified, rule))
    }

    /// Whether a timer of a source is due, for the fingerprint of the state.
    #[cfg(feature = "explore")]
    pub(super) fn timers_due(&self, id: PipelineId, source: &ActiveSource) -> [bool; 2] {
        let metadata_us = source.fetching().and_then(|fetching| self.metadata_due(fetching));
        [self.batch_due(id, source), metadata_us].map(|due| due.is_some_and(|due_us| due_us <= self.now_us))
    }
}

/// A split whose name has another identity now.
struct Changed {
    was: Identity,
    now: Identity,
}

/// Missing messages of a split.
struct Loss {
    split: SplitName,
    wanted: Position,
    earliest: Position,
    end: Position,
}

/// The first split of an answer whose identity differs from its cursor's, or from that of a split that is part of the
/// same thing (fault A6).
fn changed_identity(pipeline: &PipelineDef, cursors: &Cursors, metadata: &SourceMetadata) -> Option<Changed> {
    let known = || cursors.splits().filter_map(|(_, split)| Some((&split.name, split.identity.as_ref()?)));
    metadata.splits.iter().find_map(|(name, found)| {
        let own = cursors.named(name).and_then(|(_, split)| split.identity.as_ref());
        let shared = || known().find(|(other, _)| pipeline.source_kind.shares_identity(name, other));
        let was = own.or_else(|| shared().map(|(_, identity)| identity))?;
        (*was != found.identity).then(|| Changed { was: was.clone(), now: found.identity.clone() })
    })
}

fn source_changed(pipeline: &PipelineDef, changed: &Changed) -> Error {
    let (name, noun) = (&pipeline.name, pipeline.source_kind.identity_noun());
    let Changed { was, now } = changed;
    Error::new(
        SqlState::SOURCE_CHANGED,
        format!(
            "the {noun} of pipeline {name} was deleted and created again ({noun} id {was} is now {now}), so its offsets refer \
             to other messages. No message of the new {noun} was loaded; the rows of the old one stay. To load also the new \
             one from its start: ALTER PIPELINE {name} SET OFFSETS EARLIEST, then START PIPELINE"
        ),
    )
}

/// The error while a split's end is before its cursor and this does not count as a loss yet.
fn ends_early(kind: SourceKind, loss: &Loss) -> Error {
    let Loss { split, wanted, end, .. } = loss;
    let text = format!(
        "{} {split} ends at {end}, before the next message {wanted}, in the latest metadata. A new leader may not have all \
         messages yet, so the broker is asked again before this counts as a loss",
        kind.split_noun()
    );
    Error::new(SqlState::SOURCE_LOST, text)
}

fn lost(pipeline: &PipelineDef, loss: &Loss) -> Error {
    let Loss { split, wanted, earliest, end } = loss;
    let (name, noun) = (&pipeline.name, pipeline.source_kind.split_noun());
    let (what, go_on) = if wanted.is_before(earliest) {
        let what = format!(
            "messages {wanted}..{earliest} of {noun} {split} are missing at the source (retention or truncation)"
        );
        (what, earliest)
    } else {
        let what = format!(
            "{noun} {split} ends at {end}, before the next message {wanted}: the source lost or replaced messages"
        );
        (what, end)
    };
    Error::new(
        SqlState::SOURCE_LOST,
        format!(
            "{what}; pipeline {name} stopped. To continue without them: ALTER PIPELINE {name} SET OFFSETS \
             '{{\"{split}\": {go_on}}}', then START PIPELINE"
        ),
    )
}
