//! Everything needed to repeat one run: the allowed faults, the limits of the world, and the seed or the decisions.
//! Also its file format, a readable TOML.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::limits::{Limits, Without};
use crate::defects::SeededDefect;
use crate::fault::FaultSet;
use crate::run::{Plan, RunOutcome, run_case};
use crate::swarm::Profile;
use crate::trace::{Keep, hash_bytes};

/// Where a run's decisions come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chance {
    /// A seed.
    Seed(u64),
    /// Two lists: the parameters of the world, and the decisions of the run. Zeros follow their ends. Two lists, so
    /// that the second keeps its meaning if more parameters are drawn.
    #[allow(missing_docs)]
    Recorded { shape: Vec<u64>, course: Vec<u64> },
}

/// A repeatable run. See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Profile.
    pub profile: Profile,
    /// Which of its faults may happen.
    pub faults: FaultSet,
    /// A defect to be seeded.
    pub bug: Option<SeededDefect>,
    /// Limits.
    pub limits: Limits,
    /// The source of decisions.
    pub chance: Chance,
}

impl Case {
    /// A seed under a plan.
    pub fn of_seed(seed: u64, plan: Plan) -> Case {
        Case {
            profile: plan.profile,
            faults: plan.faults,
            bug: plan.bug,
            limits: Limits::default(),
            chance: Chance::Seed(seed),
        }
    }

    /// The same case on the shipped kernel, without the seeded defect.
    pub fn shipped(&self) -> Case {
        Case { bug: None, ..self.clone() }
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan { profile: self.profile, faults: self.faults, bug: self.bug, print: false }
    }

    /// Runs it.
    pub fn run(&self, keep: Keep) -> RunOutcome {
        run_case(self, keep, None, &mut |_| {}).0
    }

    /// A hash of the questions that the recorded decisions answer. A different hash means that the world has changed
    /// under a recorded case, so its answers belong to other questions.
    pub fn questions(&self) -> u64 {
        let Chance::Recorded { course, .. } = &self.chance else { return 0 };
        let (mut left, mut hash) = (course.len() as u64, 0);
        run_case(self, Keep::Nothing, None, &mut |question| {
            if left > 0 {
                left -= 1;
                hash = hash_bytes(hash, &question.to_le_bytes());
            }
        });
        hash_bytes(hash, &left.to_le_bytes())
    }
}

// ---- Files ----

/// A scenario file: a case with its description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// Short title.
    pub title: String,
    /// The defect and its origin.
    pub story: String,
    /// The recorded events: see [`crate::story`].
    pub events: String,
    /// The invariant that is violated with the defect seeded, or was when it was found.
    pub invariant: String,
    /// The case. Its bug is the one that it was recorded with.
    pub case: Case,
    /// [`Case::questions`] of the case without the bug when it was recorded.
    pub questions: u64,
}

/// See [`Scenario::catches`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Catches {
    /// By the recorded run.
    AsRecorded,
    /// By this seed of its small world.
    Seed(u64),
    /// Not any more.
    No,
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Scenario, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Scenario::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The scenarios of a folder, by name. An error if there is none.
    pub fn read_folder(folder: &Path) -> Result<Vec<(PathBuf, Scenario)>, String> {
        let listed = std::fs::read_dir(folder).and_then(|files| files.map(|file| Ok(file?.path())).collect());
        let mut paths: Vec<PathBuf> =
            listed.map_err(|e: std::io::Error| format!("{}: {e}", folder.display()))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        if paths.is_empty() {
            return Err(format!("{} holds no scenarios (no file ends in .toml)", folder.display()));
        }
        paths.into_iter().map(|path| Scenario::read(&path).map(|scenario| (path, scenario))).collect()
    }

    /// Whether it is still valid: its defect violates its invariant, the kernel without the defect passes, and the
    /// decisions still answer the questions that they were recorded for.
    pub fn holds(&self) -> bool {
        let caught = self.case.run(Keep::Nothing).violation.is_some_and(|v| v.invariant == self.invariant);
        let shipped = self.case.shipped();
        caught && shipped.run(Keep::Nothing).violation.is_none() && shipped.questions() == self.questions
    }

    /// The same small world under another seed.
    pub fn seed(&self, seed: u64) -> Case {
        Case { chance: Chance::Seed(seed), ..self.case.clone() }
    }

    /// How its defect is still caught. Recorded answers lose their meaning when the world asks other questions; the
    /// small world remains, and one of its first seeds fails in the same way, and passes without the defect.
    pub fn catches(&self, seeds: u64) -> Catches {
        let is_caught = |case: &Case| {
            let violation = case.run(Keep::Nothing).violation;
            violation.is_some_and(|violation| violation.invariant == self.invariant)
        };
        if is_caught(&self.case) {
            return Catches::AsRecorded;
        }
        let passes = |case: Case| case.shipped().run(Keep::Nothing).violation.is_none();
        let found = (0..seeds).find(|seed| is_caught(&self.seed(*seed)) && passes(self.seed(*seed)));
        found.map_or(Catches::No, Catches::Seed)
    }

    /// Parses a file.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let known = [
            "title",
            "story",
            "events",
            "invariant",
            "bug",
            "profile",
            "faults",
            "limits",
            "seed",
            "shape",
            "decisions",
            "questions",
        ];
        if let Some(strange) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("{strange:?} is unknown; known are {}", known.join(", ")));
        }
        let text = |key: &str| {
            let value = table.get(key).map(|v| v.as_str().ok_or_else(|| format!("{key} must be a text")));
            value.transpose()
        };
        let bug = text("bug")?.map(SeededDefect::named).transpose()?;
        let profile = text("profile")?.unwrap_or("swarm");
        let chance = match (table.get("seed"), text("decisions")?) {
            (Some(seed), None) => {
                let seed = seed.as_integer().filter(|seed| *seed >= 0);
                Chance::Seed(seed.ok_or("seed must be a number that is not negative")? as u64)
            }
            (None, Some(course)) => Chance::Recorded {
                shape: unpack(text("shape")?.unwrap_or_default())?,
                course: unpack(course)?,
            },
            _ => return Err("there must be either a seed or decisions".into()),
        };
        let questions = text("questions")?.unwrap_or("0");
        Ok(Scenario {
            title: text("title")?.ok_or("a title is missing")?.into(),
            story: text("story")?.unwrap_or_default().into(),
            events: text("events")?.unwrap_or_default().into(),
            invariant: text("invariant")?.unwrap_or_default().into(),
            case: Case {
                profile: Profile::from_str(profile, false)?,
                faults: FaultSet::parse(text("faults")?.unwrap_or("all"))?,
                bug,
                limits: parse_limits(table.get("limits"))?,
                chance,
            },
            questions: u64::from_str_radix(questions, 16).map_err(|_| "questions must be hexadecimal")?,
        })
    }

    /// As a file.
    pub fn to_text(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.into()).to_string();
        let mut out = format!("title = {}\n", quoted(&self.title));
        let _ = writeln!(out, "story = {}", lines(&self.story));
        let _ = writeln!(out, "events = {}", lines(&self.events));
        let _ = writeln!(out, "invariant = {}", quoted(&self.invariant));
        if let Some(bug) = self.case.bug {
            let _ = writeln!(out, "bug = {}", quoted(bug.about().name));
        }
        let profile = self.case.profile.to_possible_value().map(|v| v.get_name().to_string());
        let _ = writeln!(out, "\nprofile = {}", quoted(&profile.unwrap_or_default()));
        let _ = writeln!(out, "faults = {}", quoted(&self.case.faults.to_string()));
        match &self.case.chance {
            Chance::Seed(seed) => {
                let _ = writeln!(out, "seed = {seed}");
            }
            Chance::Recorded { shape, course } => {
                let _ = writeln!(out, "shape = \"\"\"\n{}\"\"\"", pack(shape));
                let _ = writeln!(out, "decisions = \"\"\"\n{}\"\"\"", pack(course));
                let _ = writeln!(out, "questions = \"{:016x}\"", self.questions);
            }
        }
        out + &write_limits(&self.case.limits)
    }
}

/// A multi-line text in readable TOML.
fn lines(text: &str) -> String {
    format!("\"\"\"\n{}\"\"\"", text.replace('\\', "\\\\").replace("\"\"\"", "\" \" \""))
}

type Field = (&'static str, fn(&mut Limits) -> &mut Option<u64>);

const FIELDS: [Field; 7] = [
    ("shards", |l| &mut l.shards),
    ("topics", |l| &mut l.topics),
    ("partitions", |l| &mut l.partitions),
    ("pipelines", |l| &mut l.pipelines),
    ("messages", |l| &mut l.messages),
    ("steps", |l| &mut l.steps),
    ("catch-up-steps", |l| &mut l.catch_up_steps),
];

fn parse_limits(value: Option<&toml::Value>) -> Result<Limits, String> {
    let mut limits = Limits::default();
    let Some(value) = value else { return Ok(limits) };
    for (key, value) in value.as_table().ok_or("limits must be a table")? {
        if key == "without" {
            let names = value.as_array().ok_or("without must be a list")?;
            limits.without = Without::named(names.iter().filter_map(|name| name.as_str()))?;
            continue;
        }
        let field = FIELDS.iter().find(|(name, _)| name == key);
        let (_, field) = field.ok_or_else(|| format!("{key:?} is not a limit"))?;
        let number = value.as_integer().filter(|n| *n >= 0);
        *field(&mut limits) = Some(number.ok_or_else(|| format!("{key} must be a number"))? as u64);
    }
    Ok(limits)
}

fn write_limits(limits: &Limits) -> String {
    let mut limits = limits.clone();
    let mut out = String::from("\n[limits]\n");
    for (name, field) in FIELDS {
        if let Some(number) = *field(&mut limits) {
            let _ = writeln!(out, "{name} = {number}");
        }
    }
    let names: Vec<String> = limits.without.names().map(|name| format!("{name:?}")).collect();
    if !names.is_empty() {
        let _ = writeln!(out, "without = [{}]", names.join(", "));
    }
    out
}

/// Numbers in sequence, repeated ones as `number*times`, about sixteen per line.
pub fn pack(list: &[u64]) -> String {
    let mut words = Vec::new();
    for run in list.chunk_by(|a, b| a == b) {
        words.push(if run.len() > 1 { format!("{}*{}", run[0], run.len()) } else { run[0].to_string() });
    }
    words.chunks(16).map(|line| line.join(" ") + "\n").collect()
}

/// Longest list that is unpacked: more than the decisions of any run.
const DECISIONS_MAX: usize = 10_000_000;

/// The numbers again.
pub fn unpack(text: &str) -> Result<Vec<u64>, String> {
    let mut list = Vec::new();
    for word in text.split_whitespace() {
        let wrong = |_| format!("{word:?} is not a decision; write a number, or number*times");
        let (number, times) = word.split_once('*').unwrap_or((word, "1"));
        let (number, times): (u64, usize) = (number.parse().map_err(wrong)?, times.parse().map_err(wrong)?);
        if times > DECISIONS_MAX - list.len() {
            return Err(format!("more than {DECISIONS_MAX} decisions"));
        }
        list.resize(list.len() + times, number);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_lists_come_back(list in prop::collection::vec(0u64..4, 0..200)) {
            prop_assert_eq!(unpack(&pack(&list)).unwrap(), list);
        }

        #[test]
        fn any_text_is_understood_or_refused(text in "[0-9* \\na]{0,40}") {
            let _ = unpack(&text);
        }
    }

    #[test]
    fn a_file_comes_back() {
        let scenario = Scenario {
            title: "A \"title\"".into(),
            story: "First line.\nSecond line with \\ and \"quotes\".\n".into(),
            events: "  1.0 s  a \\ b\n".into(),
            invariant: "durable".into(),
            case: Case {
                profile: Profile::Disk,
                faults: FaultSet::parse("kill,power-cut").unwrap(),
                bug: Some(SeededDefect::named("lying-disk").unwrap()),
                limits: Limits {
                    shards: Some(1),
                    steps: Some(40),
                    without: Without::named(["write"]).unwrap(),
                    ..Limits::default()
                },
                chance: Chance::Recorded { shape: vec![2], course: vec![0, 0, 7, 1, 1, 1] },
            },
            questions: 0xabc,
        };
        assert_eq!(Scenario::parse(&scenario.to_text()), Ok(scenario.clone()), "{}", scenario.to_text());
        let seed =
            Scenario { case: Case { chance: Chance::Seed(9), ..scenario.case }, questions: 0, ..scenario };
        assert_eq!(Scenario::parse(&seed.to_text()), Ok(seed));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        let whole = "title = \"t\"\nseed = 1\n";
        assert!(Scenario::parse(whole).is_ok());
        for (text, word) in [
            ("seed = 1", "title"),
            ("title = \"t\"", "decisions"),
            ("title = \"t\"\nseed = 1\nsede = 2", "sede"),
            ("title = \"t\"\ndecisions = \"1 x\"", "x"),
            ("title = \"t\"\ndecisions = \"1*99999999999\"", "more than"),
            ("title = \"t\"\nseed = 1\nbug = \"none-such\"", "none-such"),
            ("title = \"t\"\nseed = 1\n[limits]\nshrads = 1", "shrads"),
        ] {
            let error = Scenario::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
