//! The scores of the verdicts.

use std::collections::BTreeMap;

use crate::catalog::{Mutant, Part};
use crate::judge::{Judged, Verdict};
use crate::tree::Dropped;

/// Caught mutants among viable ones.
#[derive(Clone, Copy, Default)]
struct Score {
    caught: u64,
    viable: u64,
}

impl Score {
    fn add(&mut self, verdict: Verdict) {
        self.viable += 1;
        self.caught += u64::from(verdict != Verdict::Survived);
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = wilson(self.caught, self.viable);
        let share = 100.0 * self.caught as f64 / self.viable.max(1) as f64;
        write!(
            f,
            "{:>5} of {:>5} caught, {share:>5.1} % ({:.1} to {:.1})",
            self.caught,
            self.viable,
            100.0 * low,
            100.0 * high
        )
    }
}

/// Wilson's interval of a share, at 95 %: the range of true shares that is consistent with the sample.
fn wilson(hits: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (of as f64, 1.959_964);
    let share = hits as f64 / n;
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

/// Prints the scores of the mutants that were chosen, and the survivors.
pub fn report(mutants: &[Mutant], chosen: &[usize], dropped: &Dropped, verdicts: &BTreeMap<String, Judged>) {
    let mut parts: BTreeMap<Part, Score> = BTreeMap::new();
    let (mut core, mut all, mut missing, mut seconds) = (Score::default(), Score::default(), 0, 0.0);
    let mut survivors = Vec::new();
    for number in chosen {
        let mutant = &mutants[*number];
        if dropped.unviable.contains(number) || dropped.alone.contains(number) {
            continue;
        }
        let Some(judged) = verdicts.get(&mutant.name) else {
            missing += 1;
            continue;
        };
        seconds += judged.seconds;
        let part = mutant.part();
        parts.entry(part).or_default().add(judged.verdict);
        all.add(judged.verdict);
        if part.is_core() {
            core.add(judged.verdict);
        }
        if judged.verdict == Verdict::Survived {
            survivors.push(&mutant.name);
        }
    }
    let among = |set: &std::collections::BTreeSet<usize>| chosen.iter().filter(|n| set.contains(n)).count();
    println!("\n--- survivors");
    survivors.iter().for_each(|name| println!("{name}"));
    println!("\n--- of {} mutants chosen: {} do not compile", chosen.len(), among(&dropped.unviable));
    println!(
        "    {} are not in this build (constants, opaque types), {missing} not judged yet",
        among(&dropped.alone)
    );
    for part in Part::ALL {
        println!("{:<32}{}", part.name(), parts.get(&part).copied().unwrap_or_default());
    }
    println!("{:<32}{core}", "the first four");
    println!("{:<32}{all}", "over all");
    println!("judged in {seconds:.0} s");
}

#[cfg(test)]
mod tests {
    use super::wilson;

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = wilson(8, 10);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        // The last bit is rounding.
        assert!((wilson(10, 10).1 - 1.0).abs() < 1e-9);
    }
}
