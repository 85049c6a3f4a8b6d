//! The events of a run: time, actor and text. Every event is hashed by its numbers, so that two runs can be compared;
//! its text is made only when it is kept. `story` and `explain` present the events.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

/// The subject of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Actor {
    /// The surroundings: power, kills, the end of the faults.
    World,
    /// The machine's clock and its timers.
    Clock,
    /// A topic of the broker, by its number.
    Broker(u16),
    /// The source of a pipeline, by the number of the pipeline in the scenario.
    Source(u16),
    /// The reader of one partition for one pipeline.
    Reader(u16, i32),
    /// Control plane.
    Coordinator,
    /// Data plane.
    Shard(u16),
    /// The log's writer.
    Log,
    /// The disk under it.
    Disk,
    /// All clients.
    Client,
}

impl Actor {
    fn number(self) -> u64 {
        match self {
            Actor::World => 0,
            Actor::Clock => 1,
            Actor::Coordinator => 2,
            Actor::Log => 3,
            Actor::Disk => 4,
            Actor::Client => 5,
            Actor::Broker(topic) => 6 | u64::from(topic) << 8,
            Actor::Source(pipeline) => 7 | u64::from(pipeline) << 8,
            Actor::Reader(pipeline, partition) => {
                8 | u64::from(pipeline) << 8 | u64::from(partition as u32) << 32
            }
            Actor::Shard(shard) => 9 | u64::from(shard) << 8,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Actor::World => "world".to_string(),
            Actor::Clock => "clock".into(),
            Actor::Broker(topic) => format!("topic_{topic}"),
            Actor::Source(pipeline) => format!("pipeline_{pipeline}"),
            Actor::Reader(pipeline, partition) => format!("pipeline_{pipeline}[{partition}]"),
            Actor::Coordinator => "coordinator".into(),
            Actor::Shard(shard) => format!("shard {shard}"),
            Actor::Log => "log".into(),
            Actor::Disk => "disk".into(),
            Actor::Client => "client".into(),
        };
        f.pad(&name)
    }
}

/// The kind of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mark {
    /// A routine step, which stories omit.
    Detail,
    /// A step that a story contains.
    Step,
    /// A fault happened.
    Fault,
    /// The process ended.
    Crash,
    /// The process is up.
    Up,
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Simulated time.
    pub at_us: i64,
    /// Who.
    pub actor: Actor,
    /// What sort.
    pub mark: Mark,
    /// What, in plain words.
    pub text: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at_us / 1_000_000, self.at_us % 1_000_000);
        write!(f, "{seconds:>3}.{micros:06} s  {:<14} {}", self.actor, self.text)
    }
}

/// Which events are kept with their texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// None: only the hash is needed.
    #[default]
    Nothing,
    /// All.
    All,
    /// All, and each is printed when it happens.
    Print,
}

/// Most kept events, so that a run that does not end is still reported.
const KEPT_MAX: usize = 200_000;

#[derive(Debug, Default)]
struct Inner {
    now_us: Cell<i64>,
    hash: Cell<u64>,
    /// By mark.
    counts: [Cell<u64>; 5],
    keep: Keep,
    events: RefCell<VecDeque<Event>>,
}

/// A handle to the events of a run: every part of the world has one.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    inner: Rc<Inner>,
}

impl Trace {
    /// An empty trace.
    pub fn new(keep: Keep) -> Trace {
        Trace { inner: Rc::new(Inner { keep, ..Inner::default() }) }
    }

    /// From now on events happen at this time.
    pub fn set_now(&self, now_us: i64) {
        self.inner.now_us.set(now_us);
    }

    /// Adds an event. `facts` are its numbers, for the hash: everything in which two runs may differ belongs there. The
    /// text is made only if it is kept.
    pub fn note(&self, actor: Actor, mark: Mark, facts: &[u64], text: fmt::Arguments<'_>) {
        let inner = &*self.inner;
        let at_us = inner.now_us.get();
        let mut hash = mix(inner.hash.get(), at_us as u64);
        hash = mix(hash, actor.number() << 3 | mark as u64);
        for fact in facts {
            hash = mix(hash, *fact);
        }
        inner.hash.set(hash);
        let count = &inner.counts[mark as usize];
        count.set(count.get() + 1);
        if inner.keep != Keep::Nothing {
            self.keep(Event { at_us, actor, mark, text: text.to_string() });
        }
    }

    fn keep(&self, event: Event) {
        if self.inner.keep == Keep::Print {
            println!("{event}");
        }
        let mut events = self.inner.events.borrow_mut();
        if events.len() == KEPT_MAX {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// Hash of all events.
    pub fn hash(&self) -> u64 {
        self.inner.hash.get()
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.inner.counts.iter().map(Cell::get).sum()
    }

    /// How many there were of a sort.
    pub fn count_of(&self, mark: Mark) -> u64 {
        self.inner.counts[mark as usize].get()
    }

    /// Time of the last one.
    pub fn now_us(&self) -> i64 {
        self.inner.now_us.get()
    }

    /// How many are kept.
    pub fn kept(&self) -> usize {
        self.inner.events.borrow().len()
    }

    /// Takes the kept events.
    pub fn take_events(&self) -> Vec<Event> {
        self.inner.events.take().into()
    }
}

/// One more number in a hash: multiply, fold, and the same everywhere.
fn mix(hash: u64, number: u64) -> u64 {
    let product = u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(number ^ 0xd6e8_feb8_6659_fd93);
    (product as u64) ^ ((product >> 64) as u64) ^ hash.rotate_left(23)
}

/// A hash that is the same everywhere: XXH3-64.
pub fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

/// A text as a fact. For rare events.
pub fn text_fact(text: &str) -> u64 {
    hash_bytes(0, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(events: &[(i64, Actor, &[u64])], keep: Keep) -> u64 {
        let trace = Trace::new(keep);
        for (at_us, actor, facts) in events {
            trace.set_now(*at_us);
            trace.note(*actor, Mark::Step, facts, format_args!("{facts:?}"));
        }
        trace.hash()
    }

    #[test]
    fn the_hash_tells_apart_what_happened_and_not_who_listens() {
        let run: &[(i64, Actor, &[u64])] = &[(1, Actor::Log, &[1, 2]), (2, Actor::Shard(1), &[0])];
        assert_eq!(hash_of(run, Keep::Nothing), hash_of(run, Keep::All));
        let others: [&[(i64, Actor, &[u64])]; 6] = [
            &[(1, Actor::Log, &[1, 2]), (2, Actor::Shard(2), &[0])],
            &[(1, Actor::Log, &[2, 1]), (2, Actor::Shard(1), &[0])],
            &[(1, Actor::Log, &[1, 2]), (2, Actor::Shard(1), &[1])],
            &[(1, Actor::Log, &[1, 2]), (3, Actor::Shard(1), &[0])],
            &[(2, Actor::Shard(1), &[0]), (1, Actor::Log, &[1, 2])],
            &[(1, Actor::Log, &[1, 2])],
        ];
        for other in others {
            assert_ne!(hash_of(other, Keep::Nothing), hash_of(run, Keep::Nothing), "{other:?}");
        }
    }
}
