//! Checks the reduction rules in worlds small enough to be searched with and without each of them.

use super::scope::{Rule, Rules, Scope};
use super::search::{Limits, Report, search};

/// A rule, compared with a search without it.
#[derive(Debug)]
pub struct Check {
    /// Which rule.
    pub rule: Rule,
    /// The world.
    pub scope: Scope,
    /// With all rules.
    pub with: Report,
    /// Without this one.
    pub without: Report,
}

impl Check {
    /// Searches both.
    pub fn of(rule: Rule, scope: &Scope) -> Check {
        let limits = Limits { observe: true, ..Limits::NONE };
        let searched = |rules| search(&Scope { rules, ..scope.clone() }, limits, &|| {}, &mut |_| {});
        Check {
            rule,
            scope: scope.clone(),
            with: searched(Rules::ALL),
            without: searched(Rules::ALL.without(rule)),
        }
    }

    /// Both searches closed with the same verdict, and an observer could see the same things, no more and no less.
    /// Rules that only save work omitted no state.
    pub fn holds(&self) -> bool {
        let Check { with, without, .. } = self;
        let verdict = |report: &Report| (report.closed, report.found.is_some());
        // These two save work, not states.
        if matches!(self.rule, Rule::CrashOnce | Rule::WholeAppends) && with.states != without.states {
            return false;
        }
        verdict(with) == verdict(without)
            && with.endings.keys().eq(without.endings.keys())
            && with.observed == without.observed
    }

    /// Without the rule there are more states or more recoveries.
    pub fn does_something(&self) -> bool {
        let size = |report: &Report| (report.states, report.transitions, report.recoveries);
        let ((states, transitions, recoveries), less) = (size(&self.without), size(&self.with));
        states > less.0 || transitions > less.1 || recoveries > less.2
    }
}

/// Worlds that the rules are checked in, and in which seeded defects are searched: together they contain every kind of
/// move.
pub fn worlds() -> [Scope; 5] {
    [
        Scope { crashes: 2, ..Scope::tiny() },
        Scope { rewinds: 1, redeliveries: 1, ..Scope::tiny() },
        Scope { messages: vec![1, 1], redeliveries: 1, ..Scope::tiny() },
        Scope { messages: vec![2], sync_marker: true, ..Scope::tiny() },
        Scope { messages: vec![3], shards: 4, page_len: 2048, log_file_len: 4096, ..Scope::tiny() },
    ]
}
