//! The size of the small world, and the rules that reduce the search.

/// The content of the world, and the budget of each fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Shards.
    pub shards: u16,
    /// Messages of each source partition.
    pub messages: Vec<i64>,
    /// Process kills and power cuts, those during recovery included.
    pub crashes: u8,
    /// Fetches that begin below the requested position, answers that arrive twice, answers of an abandoned fetch.
    pub redeliveries: u8,
    /// How often an operator stops the pipeline, sets the first partition back to 0 and starts it again.
    pub rewinds: u8,
    /// Whether an idle log gets a sync marker.
    pub sync_marker: bool,
    /// Messages that may be fetched and not yet published; one may overdraw it.
    pub credit: u64,
    /// Messages from which on a batch is closed although the log is busy.
    pub batch: u64,
    /// Bytes that survive a power cut together. No record is longer, so none touches more than two.
    pub page_len: u64,
    /// Bytes of a log file.
    pub log_file_len: u64,
    /// Reductions.
    pub rules: Rules,
}

/// Reduction rules: states that are merged, or moves that are omitted. Each rule states why this is sound; `sim explore
/// --check-reductions` compares each with searches without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// See [`Rule::StateFingerprint`].
    pub fingerprint: bool,
    /// See [`Rule::Together`].
    pub together: bool,
    /// See [`Rule::WholeAppends`].
    pub whole_appends: bool,
    /// See [`Rule::CrashOnce`].
    pub crash_once: bool,
}

/// The rules, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// States with the same fingerprint are merged.
    StateFingerprint,
    /// Answers of shards that leave the coordinator waiting for others are delivered at once.
    Together,
    /// A page has no version between two writes of one append.
    WholeAppends,
    /// States that differ only in volatile parts are crashed once.
    CrashOnce,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 4] = [Rule::StateFingerprint, Rule::Together, Rule::WholeAppends, Rule::CrashOnce];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rule::StateFingerprint => "fingerprint",
            Rule::Together => "together",
            Rule::WholeAppends => "whole-appends",
            Rule::CrashOnce => "crash-once",
        }
    }

    /// What the rule omits, and why this is sound.
    pub fn why(self) -> &'static str {
        match self {
            Rule::StateFingerprint => {
                "two states are equal if they differ only in absolute sequences and epochs, terms, tokens, times, and in the \
                 history of the durable log; without it states are distinguished by their complete contents"
            }
            Rule::Together => {
                "an answer of a shard after which the coordinator still waits for another shard is delivered at once: it only \
                 crosses that shard off a list, which commutes with everything else"
            }
            Rule::WholeAppends => {
                "at a power cut a page holds a version from before or after an append, never from between its writes: an \
                 intermediate version has no valid checksum, and recovery clears it like any other torn tail"
            }
            Rule::CrashOnce => {
                "of states with the same log, rows, history of records and budgets only the first is crashed: a crash \
                 leaves nothing else, so the others would continue in the same way"
            }
        }
    }
}

impl Rules {
    /// All rules.
    pub const ALL: Rules = Rules { fingerprint: true, together: true, whole_appends: true, crash_once: true };

    /// All rules but one.
    pub fn without(mut self, rule: Rule) -> Rules {
        *self.of(rule) = false;
        self
    }

    /// Whether a rule is among these.
    pub fn has(mut self, rule: Rule) -> bool {
        *self.of(rule)
    }

    fn of(&mut self, rule: Rule) -> &mut bool {
        match rule {
            Rule::StateFingerprint => &mut self.fingerprint,
            Rule::Together => &mut self.together,
            Rule::WholeAppends => &mut self.whole_appends,
            Rule::CrashOnce => &mut self.crash_once,
        }
    }
}

impl Scope {
    /// The least world in which everything can happen once.
    pub fn tiny() -> Scope {
        Scope {
            shards: 2,
            messages: vec![1],
            crashes: 1,
            redeliveries: 0,
            rewinds: 0,
            sync_marker: false,
            credit: 2,
            batch: 1,
            page_len: 1024,
            log_file_len: 16 << 10,
            rules: Rules::ALL,
        }
    }

    /// Two partitions, one of everything.
    pub fn small() -> Scope {
        Scope { messages: vec![1, 1], redeliveries: 1, ..Scope::tiny() }
    }

    /// Three batches, one of everything.
    pub fn medium() -> Scope {
        Scope { messages: vec![2, 1], rewinds: 1, ..Scope::small() }
    }

    /// Three batches, two crashes, two redeliveries, one SET OFFSETS.
    pub fn full() -> Scope {
        Scope { crashes: 2, redeliveries: 2, ..Scope::medium() }
    }

    /// A world by its name.
    pub fn named(name: &str) -> Option<Scope> {
        match name {
            "tiny" => Some(Scope::tiny()),
            "small" => Some(Scope::small()),
            "medium" => Some(Scope::medium()),
            "full" => Some(Scope::full()),
            _ => None,
        }
    }

    /// Description.
    pub fn describe(&self) -> String {
        let Scope { shards, messages, crashes, redeliveries, rewinds, .. } = self;
        let sync_marker = if self.sync_marker { "with" } else { "without" };
        format!(
            "{shards} shards, {} source partitions of {messages:?} messages, at most {crashes} crashes (each a kill or a power cut \
             of any pages), {redeliveries} redeliveries, {rewinds} SET OFFSETS; {sync_marker} sync markers; credit for {} messages, \
             a batch is full at {}; pages of {} bytes, log files of {}",
            messages.len(),
            self.credit,
            self.batch,
            self.page_len,
            self.log_file_len
        )
    }
}
