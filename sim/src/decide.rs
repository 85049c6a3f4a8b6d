//! The only source of randomness. Every random choice of a run (faults, interleavings, payloads, parameters) is a call
//! of [`Decisions`], which records every answer. The answers come from one of several sources: a seed, a recorded list
//! (replay and shrinking), an odometer (exhaustive search) or a fuzzer's bytes.
//!
//! Zero is always the quiet answer: "no fault", "the first", "the least". An exhausted source answers zero, so that a
//! shortened list of decisions is a simpler run.

use std::cell::RefCell;
use std::rc::Rc;

use crate::fault::{Fault, FaultCounts, FaultRates};

/// A probability in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Rate(pub u32);

impl Rate {
    /// Never.
    pub const NEVER: Rate = Rate(0);

    /// `n` in a thousand.
    pub const fn per_mille(n: u32) -> Rate {
        Rate(n * 1000)
    }
}

/// A source of decisions.
pub trait Decide {
    /// A number in `0..bound`; `bound` is at least 2.
    fn below(&mut self, bound: u64) -> u64;

    /// True with this probability, which is neither 0 nor 1. An exhaustive search always tries both answers.
    fn chance(&mut self, rate: Rate) -> bool;
}

/// xoshiro256**, seeded through splitmix64: small, fast, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Seeded {
    state: [u64; 4],
}

impl Seeded {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Seeded {
        let mut s = seed;
        Seeded { state: std::array::from_fn(|_| splitmix64(&mut s)) }
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Decide for Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        // Multiply-shift; its bias of 2^-64 * bound is negligible.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn chance(&mut self, rate: Rate) -> bool {
        self.below(1_000_000) < u64::from(rate.0)
    }
}

/// Returns a recorded list again, then zeros. An answer outside the bound (the program changed, or the list was shrunk)
/// is reduced to one inside it.
#[derive(Clone, Debug)]
pub struct Recorded {
    answers: Vec<u64>,
    position: usize,
}

impl Recorded {
    /// From the answers of an earlier run.
    pub fn new(answers: Vec<u64>) -> Recorded {
        Recorded { answers, position: 0 }
    }

    fn next(&mut self) -> u64 {
        let answer = self.answers.get(self.position).copied().unwrap_or(0);
        self.position += 1;
        answer
    }
}

impl Decide for Recorded {
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, _rate: Rate) -> bool {
        self.next() % 2 == 1
    }
}

/// Reads decisions from a fuzzer's bytes: as few bytes as the bound needs, least significant first; then zeros.
#[derive(Clone, Debug)]
pub struct FuzzBytes<'a> {
    bytes: &'a [u8],
}

impl<'a> FuzzBytes<'a> {
    /// From the fuzzer's input.
    pub fn new(bytes: &'a [u8]) -> FuzzBytes<'a> {
        FuzzBytes { bytes }
    }

    /// Bytes per decision.
    fn width(bound: u64) -> usize {
        (64 - (bound - 1).leading_zeros()).div_ceil(8) as usize
    }
}

impl Decide for FuzzBytes<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let width = FuzzBytes::width(bound);
        let mut value = 0u64;
        for i in 0..width.min(self.bytes.len()) {
            value |= u64::from(self.bytes[i]) << (8 * i);
        }
        self.bytes = &self.bytes[width.min(self.bytes.len())..];
        value % bound
    }

    fn chance(&mut self, rate: Rate) -> bool {
        // 16 bits decide, so that rare events stay rare in random input; all ones is always true.
        let drawn = self.below(1 << 16);
        let quiet = (1u64 << 16) - ((u64::from(rate.0) << 16) / 1_000_000).max(1);
        drawn >= quiet
    }
}

/// Wraps another source, and records its answers as the bytes from which [`FuzzBytes`] would read them.
pub struct Encoded<D> {
    source: D,
    bytes: Rc<RefCell<Vec<u8>>>,
}

impl<D: Decide> Encoded<D> {
    /// Appends to `bytes`.
    pub fn new(source: D, bytes: Rc<RefCell<Vec<u8>>>) -> Encoded<D> {
        Encoded { source, bytes }
    }
}

impl<D: Decide> Decide for Encoded<D> {
    fn below(&mut self, bound: u64) -> u64 {
        let answer = self.source.below(bound);
        self.bytes.borrow_mut().extend_from_slice(&answer.to_le_bytes()[..FuzzBytes::width(bound)]);
        answer
    }

    fn chance(&mut self, rate: Rate) -> bool {
        let answer = self.source.chance(rate);
        self.bytes.borrow_mut().extend_from_slice(if answer { &[0xff; 2] } else { &[0; 2] });
        answer
    }
}

/// Walks every path of a bounded tree of decisions, depth first: an odometer whose digits are the decisions of one run.
/// After a run, [`Odometer::advance`] increments the last digit that can be incremented. Decisions beyond the depth are
/// zero.
#[derive(Clone, Debug, Default)]
pub struct Odometer {
    digits: Vec<(u64, u64)>,
    position: usize,
    depth: usize,
}

impl Odometer {
    /// All paths that differ in their first `depth` decisions.
    pub fn new(depth: usize) -> Odometer {
        Odometer { digits: Vec::new(), position: 0, depth }
    }

    /// Moves to the next path; false after the last one.
    pub fn advance(&mut self) -> bool {
        self.digits.truncate(self.position);
        self.position = 0;
        while let Some((digit, bound)) = self.digits.pop() {
            if digit + 1 < bound {
                self.digits.push((digit + 1, bound));
                return true;
            }
        }
        false
    }
}

impl Decide for Odometer {
    fn below(&mut self, bound: u64) -> u64 {
        if self.position >= self.depth {
            return 0;
        }
        if self.position == self.digits.len() {
            self.digits.push((0, bound));
        }
        let (digit, _) = self.digits[self.position];
        self.position += 1;
        digit
    }

    fn chance(&mut self, _rate: Rate) -> bool {
        self.below(2) == 1
    }
}

/// An odometer that is shared by several runs.
impl<D: Decide> Decide for Rc<RefCell<D>> {
    fn below(&mut self, bound: u64) -> u64 {
        self.borrow_mut().below(bound)
    }

    fn chance(&mut self, rate: Rate) -> bool {
        self.borrow_mut().chance(rate)
    }
}

/// The decisions of a run, with the record of the answers. Shared by all parts of one world (which is one thread).
#[derive(Clone)]
pub struct Decisions<'a> {
    inner: Rc<RefCell<Inner<'a>>>,
}

struct Inner<'a> {
    source: Box<dyn Decide + 'a>,
    taken: Vec<u64>,
    /// The kind of fault of each decision, if any.
    about: Vec<Option<Fault>>,
    faults: FaultRates,
    struck: FaultCounts,
    faults_over: bool,
}

impl<'a> Decisions<'a> {
    /// Decisions of a run, from a source.
    pub fn new(source: impl Decide + 'a) -> Decisions<'a> {
        Decisions {
            inner: Rc::new(RefCell::new(Inner {
                source: Box::new(source),
                taken: Vec::new(),
                about: Vec::new(),
                faults: FaultRates::default(),
                struck: FaultCounts::default(),
                faults_over: false,
            })),
        }
    }

    /// Decisions of a test beside the run, with fault counts of their own.
    pub fn apart(&self) -> Decisions<'a> {
        Decisions::new(Forwarded(self.clone()))
    }

    /// A number in `0..bound`. If only one answer is possible, no decision is recorded.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "a decision has at least one possible answer");
        if bound == 1 {
            return 0;
        }
        let mut inner = self.inner.borrow_mut();
        let answer = inner.source.below(bound);
        assert!(answer < bound);
        inner.taken.push(answer);
        inner.about.push(None);
        answer
    }

    /// An index into something of this length, which is not empty.
    pub fn index(&self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in `low..=high`.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// One of these values.
    pub fn pick<T: Clone>(&self, among: &[T]) -> T {
        among[self.index(among.len())].clone()
    }

    /// True with this probability.
    pub fn chance(&self, rate: Rate) -> bool {
        self.chance_of(rate, None)
    }

    fn chance_of(&self, rate: Rate, fault: Option<Fault>) -> bool {
        if rate.0 == 0 {
            return false;
        }
        if rate.0 >= 1_000_000 {
            return true;
        }
        let mut inner = self.inner.borrow_mut();
        let answer = inner.source.chance(rate);
        inner.taken.push(u64::from(answer));
        inner.about.push(fault);
        answer
    }

    /// Whether an optional activity of this rate happens: never after the end of the faults.
    pub fn activity(&self, rate: Rate) -> bool {
        !self.inner.borrow().faults_over && self.chance(rate)
    }

    /// Whether a fault fires at a point where it could: never after the end of the faults. All faults are decided here.
    pub fn fault(&self, fault: Fault) -> bool {
        let rate = self.inner.borrow().faults.of(fault);
        if rate == Rate::NEVER || self.faults_over() {
            return false;
        }
        let fires = self.chance_of(rate, Some(fault));
        let mut inner = self.inner.borrow_mut();
        let struck = inner.struck.of_mut(fault);
        struck.asked += 1;
        struck.fired += u64::from(fires);
        fires
    }

    /// Records that a fired fault changed an input of the kernel.
    pub fn changed(&self, fault: Fault) {
        self.inner.borrow_mut().struck.of_mut(fault).changed += 1;
    }

    /// Whether a fault fires, for kinds that always change an input.
    pub fn strikes(&self, fault: Fault) -> bool {
        let fires = self.fault(fault);
        if fires {
            self.changed(fault);
        }
        fires
    }

    /// Sets the rates of faults. Initially there are none.
    pub fn set_faults(&self, faults: FaultRates) {
        self.inner.borrow_mut().faults = faults;
    }

    /// Counts of the faults so far.
    pub fn struck(&self) -> FaultCounts {
        self.inner.borrow().struck
    }

    /// Ends all faults. After that the run must reach the end of all work (invariant 10).
    pub fn end_faults(&self) {
        self.inner.borrow_mut().faults_over = true;
    }

    /// True once the faults are over.
    pub fn faults_over(&self) -> bool {
        self.inner.borrow().faults_over
    }

    /// Number of decisions so far.
    pub fn count(&self) -> usize {
        self.inner.borrow().taken.len()
    }

    /// Every answer so far, for [`Recorded`].
    pub fn taken(&self) -> Vec<u64> {
        self.inner.borrow().taken.clone()
    }

    /// The kind of fault of every answer so far; None for other decisions. Without the answers for a kind that never
    /// fired, the remaining list means the same in a world without that kind.
    pub fn about(&self) -> Vec<Option<Fault>> {
        self.inner.borrow().about.clone()
    }
}

/// Forwards to other decisions.
struct Forwarded<'a>(Decisions<'a>);

impl Decide for Forwarded<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn chance(&mut self, rate: Rate) -> bool {
        self.0.chance(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(d: &Decisions<'_>) -> Vec<u64> {
        (0..50)
            .map(|i| if i % 3 == 0 { u64::from(d.chance(Rate::per_mille(300))) } else { d.below(1 + i) })
            .collect()
    }

    #[test]
    fn a_seed_and_its_record_give_the_same_answers() {
        let first = Decisions::new(Seeded::new(42));
        let answers = ask(&first);
        assert_eq!(ask(&Decisions::new(Seeded::new(42))), answers);
        assert_eq!(ask(&Decisions::new(Recorded::new(first.taken()))), answers);
        assert_ne!(ask(&Decisions::new(Seeded::new(43))), answers);
    }

    #[test]
    fn encoded_answers_are_decoded_again() {
        let bytes = Rc::new(RefCell::new(Vec::new()));
        let answers = ask(&Decisions::new(Encoded::new(Seeded::new(42), bytes.clone())));
        assert_eq!(ask(&Decisions::new(FuzzBytes::new(&bytes.borrow()))), answers);
    }

    #[test]
    fn an_exhausted_source_is_quiet() {
        assert!(ask(&Decisions::new(Recorded::new(vec![]))).iter().all(|a| *a == 0));
        assert!(ask(&Decisions::new(FuzzBytes::new(&[]))).iter().all(|a| *a == 0));
    }

    #[test]
    fn an_odometer_walks_every_path_once() {
        let odometer = Rc::new(RefCell::new(Odometer::new(3)));
        let mut paths = Vec::new();
        loop {
            let d = Decisions::new(odometer.clone());
            // The second bound depends on the first answer, and the fourth decision is beyond the depth.
            let first = d.below(2);
            let second = d.below(2 + first);
            let third = d.chance(Rate::per_mille(1));
            paths.push((first, second, third, d.below(9)));
            if !odometer.borrow_mut().advance() {
                break;
            }
        }
        assert_eq!(paths.len(), 2 * 2 + 3 * 2);
        let mut distinct = paths.clone();
        distinct.dedup();
        assert_eq!(distinct, paths);
        assert!(paths.iter().all(|p| p.3 == 0));
    }

    #[test]
    fn faults_end() {
        let d = Decisions::new(Seeded::new(1));
        d.set_faults(FaultRates::default().with(Fault::Kill, Rate::per_mille(999)));
        assert!((0..1000).filter(|_| d.fault(Fault::Kill)).count() > 900);
        let before = d.struck().of(Fault::Kill);
        assert!(before.asked == 1000 && before.fired > 900 && before.changed == 0);
        d.end_faults();
        assert!((0..1000).all(|_| !d.fault(Fault::Kill) && !d.activity(Rate::per_mille(999))));
        assert_eq!(d.struck().of(Fault::Kill), before);
    }
}
