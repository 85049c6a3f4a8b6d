//! The results of searches: verdicts, a line per defect on the terminal, the table for the documentation.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::{Control, Effort, Found, Hunt, P95_SEEDS_MAX, Subject};
use crate::defects::{About, Class};
use crate::fault::Fault;

/// Seeds without faults in which a defect that needs none must show, if that many are run.
const CALM_SEEDS_MIN: u64 = 100;

/// The searches for one defect.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which bug.
    pub subject: Subject,
    /// One per starting seed.
    pub hunts: Vec<Hunt>,
    /// See [`Control`].
    pub control: Control,
}

impl Finding {
    fn about(&self) -> Option<About> {
        match self.subject {
            Subject::SeededDefect(bug) => Some(bug.about()),
            Subject::AsBuilt => None,
        }
    }

    /// A percentile of the seeds needed. An unsuccessful search needed more than it ran.
    pub fn percentile(&self, percent: usize) -> u64 {
        let mut seeds: Vec<u64> = self.hunts.iter().map(|hunt| hunt.seeds).collect();
        seeds.sort();
        seeds[(seeds.len() * percent).div_ceil(100).max(1) - 1]
    }

    fn missed(&self) -> usize {
        self.hunts.iter().filter(|hunt| hunt.found.is_none()).count()
    }

    fn cpu_median(&self) -> Duration {
        let mut cpu: Vec<Duration> = self.hunts.iter().map(|hunt| hunt.cpu).collect();
        cpu.sort();
        cpu[(cpu.len() - 1) / 2]
    }

    /// The invariants that caught it, the most frequent first.
    fn caught_by(&self) -> String {
        let mut by: BTreeMap<&str, usize> = BTreeMap::new();
        for found in self.hunts.iter().filter_map(|hunt| hunt.found.as_ref()) {
            *by.entry(found.violation.invariant).or_default() += 1;
        }
        let mut by: Vec<(&str, usize)> = by.into_iter().collect();
        by.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let words: Vec<String> = by.iter().map(|(what, count)| format!("{what} {count}")).collect();
        words.join(", ")
    }

    /// The failed requirements; empty if there are none.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.missed() > 0 {
            complaints.push(format!("not found by {} of {} searches", self.missed(), self.hunts.len()));
        }
        let anyway: Vec<u64> = self.hunts.iter().flat_map(|hunt| hunt.fails_anyway.clone()).collect();
        if !anyway.is_empty() {
            complaints.push(format!("these seeds fail without the bug, too: {anyway:?}"));
        }
        let p95 = self.percentile(95);
        if p95 >= P95_SEEDS_MAX {
            complaints.push(format!("p95 is {p95} seeds, required is below {P95_SEEDS_MAX}"));
        }
        let Some(About { class, .. }) = self.about() else { return complaints };
        match (class, &self.control.calm.found) {
            (Class::Logic, None) if self.control.calm.seeds >= CALM_SEEDS_MIN => complaints.push(format!(
                "is declared to need no fault, and {} seeds without faults do not show it",
                self.control.calm.seeds
            )),
            (Class::NeedsFault | Class::NeedsTwoFaults, Some(found)) => complaints.push(format!(
                "is declared to need a fault, and seed {} shows it without: {}: {}",
                found.seed, found.violation.invariant, found.violation.text
            )),
            _ => {}
        }
        if let (Class::NeedsTwoFaults, Some(alone)) = (class, &self.control.alone)
            && !alone.is_empty()
        {
            complaints.push(format!(
                "is declared to need two faults, and each of these alone is enough: {}",
                names(alone)
            ));
        }
        match (class, &self.control) {
            (Class::NeedsFault, Control { alone: Some(alone), .. }) if alone.is_empty() => {
                complaints.push("is declared to need one fault, and no kind alone showed it".into());
            }
            (Class::NeedsTwoFaults, Control { alone: Some(_), together: None, .. }) => {
                complaints
                    .push("the two faults that are declared to be enough did not show it repeatedly".into());
            }
            _ => {}
        }
        complaints
    }

    /// One line for the terminal, with the failed requirements below.
    pub fn line(&self) -> String {
        let name = self.about().map_or("this build", |about| about.name);
        let found = self.hunts.len() - self.missed();
        let mut line = format!(
            "{name:<36} {found:>2}/{:<2} seeds: median {:>4}, p95 {:>4}, max {:>4}; {:>6.2} s CPU; {}",
            self.hunts.len(),
            self.percentile(50),
            self.percentile(95),
            self.percentile(100),
            self.cpu_median().as_secs_f64(),
            self.caught_by()
        );
        if let Some(together) = &self.control.together {
            write!(line, "; shown to need {}", names(together)).expect("writes to memory");
        }
        for complaint in self.complaints() {
            write!(line, "\n    !! {complaint}").expect("writes to memory");
        }
        line
    }

    /// The failure that took the fewest seeds.
    pub fn example(&self) -> Option<&Found> {
        let seen = self.hunts.iter().filter(|hunt| hunt.found.is_some());
        seen.min_by_key(|hunt| hunt.seeds)?.found.as_ref()
    }

    /// The result in plain words, for the author of a change.
    pub fn verdict(&self) -> String {
        let (searches, found) = (self.hunts.len(), self.hunts.len() - self.missed());
        let seeds: u64 = self.hunts.iter().map(|hunt| hunt.seeds).sum();
        match found {
            0 => format!("not found in {seeds} seeds, by {searches} searches"),
            _ if found < searches => format!(
                "found by {found} of {searches} searches; the others were given up, after {} seeds each",
                self.percentile(100)
            ),
            _ => format!(
                "found by {found} of {searches} searches, within {} seeds (median {})",
                self.percentile(100),
                self.percentile(50)
            ),
        }
    }
}

fn names(faults: &[Fault]) -> String {
    if faults.is_empty() {
        return "no fault".into();
    }
    faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(" + ")
}

/// The last line: true if every defect was found as required.
pub fn summary(findings: &[Finding]) -> (bool, String) {
    let bad = findings.iter().filter(|finding| !finding.complaints().is_empty()).count();
    let hunts = findings.iter().flat_map(|finding| &finding.hunts);
    let (seeds, cpu) =
        hunts.fold((0, Duration::ZERO), |(seeds, cpu), hunt| (seeds + hunt.seeds, cpu + hunt.cpu));
    let worst = findings.iter().map(|finding| finding.percentile(95)).max().unwrap_or(0);
    let text = format!(
        "{}: {} of {} defects found as required, in {seeds} seeds and {:.0} s of CPU; the hardest has a p95 of {worst} seeds",
        if bad == 0 { "PASSED" } else { "FAILED" },
        findings.len() - bad,
        findings.len(),
        cpu.as_secs_f64()
    );
    (bad == 0, text)
}

/// The table for the documentation.
pub fn markdown(findings: &[Finding], effort: Effort) -> String {
    let mut text = format!(
        "| Defect | Origin | Seeds: median | p95 | max | CPU s | Caught by (of {}) | Shown to need |\n\
         |---|---|---:|---:|---:|---:|---|---|\n",
        effort.starts
    );
    for finding in findings {
        let Some(about) = finding.about() else { continue };
        let takes = match (about.class, &finding.control.together) {
            (Class::Logic, _) => "no fault".into(),
            (Class::NeedsFault | Class::NeedsTwoFaults, None) => "not shown".into(),
            (_, Some(together)) => names(together),
        };
        writeln!(
            text,
            "| **{}** {} | {} | {} | {} | {} | {:.2} | {} | {takes} |",
            about.name,
            about.what,
            about.origin,
            finding.percentile(50),
            finding.percentile(95),
            finding.percentile(100),
            finding.cpu_median().as_secs_f64(),
            finding.caught_by()
        )
        .expect("writes to memory");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bugs::Found;
    use crate::defects::{SeededDefect, WorldDefect};
    use crate::fault::FaultSet;
    use crate::oracle::Violation;
    use crate::swarm::Profile;

    fn hunt_of(seeds: u64, seen: bool) -> Hunt {
        let violation = Violation::new("durable", "x");
        let found = Found { seed: seeds, profile: Profile::Swarm, violation, struck: FaultSet::NONE };
        let found = seen.then_some(found);
        Hunt { seeds, cpu: Duration::from_millis(seeds), found, fails_anyway: vec![] }
    }

    fn finding(bug: SeededDefect, hunts: Vec<Hunt>, calm: Hunt, alone: Vec<Fault>) -> Finding {
        let together = Some(vec![Fault::Kill, Fault::PowerCut]);
        let control = Control { calm, alone: Some(alone), together };
        Finding { subject: Subject::SeededDefect(bug), hunts, control }
    }

    #[test]
    fn a_verdict_is_in_plain_words() {
        let verdict = |hunts: Vec<Hunt>| {
            let bug = SeededDefect::World(WorldDefect::EarlyAnswer);
            finding(bug, hunts, hunt_of(1, false), vec![]).verdict()
        };
        let missed = || hunt_of(2000, false);
        assert_eq!(
            verdict(vec![hunt_of(3, true), hunt_of(9, true), hunt_of(5, true)]),
            "found by 3 of 3 searches, within 9 seeds (median 5)"
        );
        assert_eq!(
            verdict(vec![hunt_of(3, true), missed(), missed()]),
            "found by 1 of 3 searches; the others were given up, after 2000 seeds each"
        );
        assert_eq!(verdict(vec![missed(), missed(), missed()]), "not found in 6000 seeds, by 3 searches");
    }

    #[test]
    fn percentiles_are_of_the_searches() {
        let hunts = (1..=20).map(|seeds| hunt_of(seeds, true)).collect();
        let finding = finding(SeededDefect::World(WorldDefect::EarlyAnswer), hunts, hunt_of(1, true), vec![]);
        assert_eq!([50, 95, 100].map(|percent| finding.percentile(percent)), [10, 19, 20]);
        assert_eq!(finding.complaints(), Vec::<String>::new());
    }

    #[test]
    fn whatever_is_not_as_it_has_to_be_is_a_complaint() {
        let good = || vec![hunt_of(5, true); 20];
        let complaints = |finding: Finding| finding.complaints().len();
        let (logic, two) = (
            SeededDefect::World(WorldDefect::EarlyAnswer),
            SeededDefect::named("recovered-unsynced").unwrap(),
        );
        let calm = || hunt_of(300, false);
        assert_eq!(complaints(finding(two, good(), calm(), vec![])), 0);
        assert_eq!(complaints(finding(logic, good(), calm(), vec![])), 1, "not seen without faults");
        assert_eq!(complaints(finding(two, good(), hunt_of(3, true), vec![])), 1, "seen without faults");
        assert_eq!(complaints(finding(two, good(), calm(), vec![Fault::Kill])), 1, "one alone is enough");
        let mut late = good();
        late[..2].fill(hunt_of(1500, true));
        assert_eq!(complaints(finding(two, late, calm(), vec![])), 1, "p95");
        let mut missed = good();
        missed[0] = hunt_of(2000, false);
        assert_eq!(complaints(finding(two, missed, calm(), vec![])), 1, "not found");
        let one = SeededDefect::World(WorldDefect::CountedOffsets);
        assert_eq!(complaints(finding(one, good(), calm(), vec![Fault::Redelivery])), 0);
        assert_eq!(complaints(finding(one, good(), calm(), vec![])), 1, "no kind alone");
        let with = |together| {
            let finding = finding(two, good(), calm(), vec![]);
            complaints(Finding { control: Control { together, ..finding.control.clone() }, ..finding })
        };
        assert_eq!(with(None), 1, "no set was confirmed");
    }
}
