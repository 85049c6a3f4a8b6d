//! Replay of production: a server's recorded terms run again on the shipped kernel, with the server's log, and every
//! step is compared. A difference means a kernel that is not deterministic, a changed log, or a changed kernel.
//!
//! - `log`: the log in the data directory: folded up to a record, then read on.
//! - `steps`: a recording as inputs with their expected results.
//! - `host`: coordinator and shards fed from a recording.

mod host;
mod log;
mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernel::{Sequence, Snapshot, Term};
use tidemark_record::mark::{StateHash, state_hash};
use tidemark_record::{Begin, End, Recording, RecordingError};

use host::{Fed, Host};
use log::Folded;
use steps::{Step, Steps};

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The log cannot be read, or is damaged.
    #[error("the log in the data directory: {0}")]
    Log(kernel::Error),
    /// Recording and data directory do not belong together.
    #[error("{0}")]
    Misfit(String),
    /// A difference to the recording.
    #[error("{} step {step}, {input}: {what}{}", file.display(), another_kernel(kernel))]
    Difference {
        /// In which file.
        file: PathBuf,
        /// Number of the input in that file, from 1; 0 is before the first.
        step: u64,
        /// The input.
        input: String,
        /// The expected and the found result.
        what: String,
        /// Version of the kernel that was recorded.
        kernel: String,
    },
}

/// A remark on a recording by another version of the kernel; empty for this version.
pub fn another_kernel(recorded: &str) -> String {
    let this = kernel::VERSION;
    if recorded == this {
        return String::new();
    }
    format!(
        " (kernel {recorded} was recorded and kernel {this} replays it: what differs may be what changed between them; \
         `sim` of version {recorded} tells)"
    )
}

impl From<kernel::Error> for ReplayError {
    fn from(error: kernel::Error) -> ReplayError {
        ReplayError::Log(error)
    }
}

/// How the replay of a term ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Ended {
    /// At the recording's end, which has a reason.
    Recorded(End),
    /// At the recording's last complete frame: the process was killed.
    Killed,
    /// Before the recording's end: rows are missing that reached no record of the log before the process was killed.
    RowsLost(Sequence),
    /// The kernel panicked at the last step, as it did when it was recorded.
    Panicked(String),
}

/// The result for one term, or for a sequence of its files.
#[derive(Clone, Debug)]
pub struct TermReport {
    /// Which.
    pub term: Term,
    /// Version of the kernel that was recorded.
    pub kernel: String,
    /// Numbers of its files: first and last.
    pub files: (u64, u64),
    /// Whether it began at the start of the term.
    pub from_start: bool,
    /// Inputs fed.
    pub inputs: u64,
    /// Effects that were as recorded.
    pub effects: u64,
    /// Replies of shards that were as recorded.
    pub replies: u64,
    /// Hashes of the state that were as recorded.
    pub states: u64,
    /// Records that equal those in the log, byte for byte.
    pub records: u64,
    /// Rows taken from the log because the recording only refers to them.
    pub rows_from_log: u64,
    /// Bytes of an incomplete frame at the end of the last file.
    pub torn_bytes: u64,
    /// The last record that was published.
    pub sequence: Sequence,
    /// Hash of the state at it, the same as that of the log read back up to it.
    pub state: StateHash,
    /// How it ended.
    pub ended: Ended,
}

/// Replays a file, or all files of a directory, over the log in `data`. Terms come in order; `only` picks one.
pub fn replay(
    path: &Path,
    data: &Path,
    only: Option<Term>,
    on_life: &mut dyn FnMut(&TermReport),
) -> Result<Vec<TermReport>, ReplayError> {
    let files = if path.is_dir() { tidemark_record::file::list(path)? } else { vec![path.to_path_buf()] };
    let mut terms: BTreeMap<(Term, u64), PathBuf> = BTreeMap::new();
    for file in files {
        let recording = match Recording::open(&file) {
            Ok(recording) => recording,
            // A kill may leave a file without a complete header: it is skipped.
            Err(RecordingError::Damaged { offset: 0, .. } | RecordingError::NotARecording(_))
                if path.is_dir() =>
            {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if only.is_none_or(|only| only == recording.header.term) {
            terms.insert((recording.header.term, recording.header.number), file);
        }
    }
    if terms.is_empty() {
        return Err(RecordingError::Nothing(path.into()).into());
    }
    let mut reports = vec![];
    let mut files = terms.into_iter().peekable();
    while let Some(((term, number), file)) = files.next() {
        let mut run = vec![file];
        let mut last = number;
        while let Some((_, file)) = files.next_if(|((i, n), _)| *i == term && *n == last + 1) {
            run.push(file);
            last += 1;
        }
        for report in replay_run(&run, data)? {
            on_life(&report);
            reports.push(report);
        }
    }
    Ok(reports)
}

/// Consecutive files of one term. After a file that ended because the recorder fell behind, a new recording begins.
fn replay_run(files: &[PathBuf], data: &Path) -> Result<Vec<TermReport>, ReplayError> {
    let mut reports = vec![];
    let mut going_on: Option<Run> = None;
    for file in files {
        let recording = Recording::open(file)?;
        let run = match going_on.take() {
            Some(mut run) => {
                run.go_on(&recording)?;
                run
            }
            None => Run::begin(&recording, data)?,
        };
        match run.replay(recording)? {
            After::GoesOn(run) => going_on = Some(*run),
            After::Over(report) => reports.push(*report),
        }
    }
    // The next file is missing: the process died, or the file was removed.
    if let Some(run) = going_on {
        reports.push(run.report(Ended::Recorded(End::NextFile))?);
    }
    Ok(reports)
}

/// A running replay.
struct Run {
    host: Host,
    data: PathBuf,
    database: [u8; 16],
    term: Term,
    kernel: String,
    files: (u64, u64),
    from_start: bool,
    inputs: u64,
    effects: u64,
    states: u64,
    torn_bytes: u64,
}

enum After {
    GoesOn(Box<Run>),
    Over(Box<TermReport>),
}

impl Run {
    fn begin(recording: &Recording, data: &Path) -> Result<Run, ReplayError> {
        let header = &recording.header;
        let folded = Folded::read(data, header.begin.sequence())?;
        if folded.database() != header.database {
            let (file, data) = (recording.path().display(), data.display());
            return Err(ReplayError::Misfit(format!("{file} is of another database than {data}")));
        }
        Ok(Run {
            from_start: matches!(header.begin, Begin::Term { .. }),
            host: Host::begin(recording, folded)?,
            data: data.into(),
            database: header.database,
            term: header.term,
            kernel: header.kernel.clone(),
            files: (header.number, header.number),
            inputs: 0,
            effects: 0,
            states: 0,
            torn_bytes: 0,
        })
    }

    /// The term continues in this file, which begins with the coordinator's quiesced state.
    fn go_on(&mut self, recording: &Recording) -> Result<(), ReplayError> {
        let header = &recording.header;
        assert_eq!(header.term, self.term, "files of one term");
        if header.database != self.database {
            let file = recording.path().display();
            return Err(ReplayError::Misfit(format!("{file} is of another database than the previous file")));
        }
        self.files.1 = header.number;
        self.host.go_on(recording)
    }

    fn replay(mut self, recording: Recording) -> Result<After, ReplayError> {
        let path = recording.path().to_path_buf();
        let mut steps = Steps::read(recording)?;
        self.host.rows_later = steps.rows_later();
        self.torn_bytes = steps.torn_bytes() as u64;
        let mut number = 0;
        while let Some(step) = steps.next_step() {
            let expected = match step {
                Step::Held(held) => {
                    self.host.hold(held);
                    continue;
                }
                Step::End(End::NextFile) => return Ok(After::GoesOn(Box::new(self))),
                Step::End(end) => return self.over(Ended::Recorded(end)),
                Step::Fed(expected) => expected,
            };
            number += u64::from(expected.input.is_some());
            let input = expected.name();
            let what = match self.host.feed(expected) {
                Ok(Fed::AsRecorded { inputs, effects, states }) => {
                    self.inputs += inputs;
                    self.effects += effects;
                    self.states += states;
                    continue;
                }
                Ok(Fed::RowsLost(sequence)) => return self.over(Ended::RowsLost(sequence)),
                Ok(Fed::Panicked(text)) if steps.halted_by(&text) => {
                    return self.over(Ended::Panicked(text));
                }
                Ok(Fed::Panicked(text)) => format!("the kernel panicked: {text}"),
                Err(host::Refused::Differs(what)) => what,
                Err(host::Refused::Unreadable(error)) => return Err(error.into()),
            };
            return Err(ReplayError::Difference {
                file: path,
                step: number,
                input,
                what,
                kernel: self.kernel,
            });
        }
        self.over(Ended::Killed)
    }

    fn over(self, ended: Ended) -> Result<After, ReplayError> {
        self.report(ended).map(|report| After::Over(Box::new(report)))
    }

    /// The state must be that of the log, read back up to the last record that was published.
    fn report(self, ended: Ended) -> Result<TermReport, ReplayError> {
        let published: &Snapshot = self.host.published();
        let state = state_hash(published);
        let folded = Folded::read(&self.data, published.sequence)?.snapshot();
        let in_log = state_hash(&folded);
        if in_log != state {
            let at = published.sequence;
            return Err(ReplayError::Misfit(format!(
                "term {}: the replay ends at record {at} in state {state}, the log read back up to it in {in_log}",
                self.term
            )));
        }
        Ok(TermReport {
            term: self.term,
            kernel: self.kernel,
            files: self.files,
            from_start: self.from_start,
            inputs: self.inputs,
            effects: self.effects,
            replies: self.host.replies_checked,
            states: self.states,
            records: self.host.records_checked(),
            rows_from_log: self.host.rows_from_log(),
            torn_bytes: self.torn_bytes,
            sequence: published.sequence,
            state,
            ended,
        })
    }
}
