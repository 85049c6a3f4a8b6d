//! Shared arguments of several subcommands: a scenario file, or the parameters of runs.

use std::path::PathBuf;

use crate::defects::{self, SeededDefect};
use crate::fault::FaultSet;
use crate::run::Plan;
use crate::swarm::Profile;

/// See the module.
#[derive(clap::Args, Clone, Debug)]
pub struct Chosen {
    /// A scenario file: one small run that once failed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "faults"])]
    pub scenario: Option<PathBuf>,
    /// The profile of runs.
    #[arg(long, value_enum, default_value = "swarm")]
    pub profile: Profile,
    /// Only these faults, as `kill,torn-sectors`, `broker,-retention` or `all,-poison`.
    #[arg(long, default_value = "all", value_parser = FaultSet::parse, allow_hyphen_values = true)]
    pub faults: FaultSet,
    /// Seed this defect; `sim bugs --list` names them. Needs a build with `--features defects`.
    #[arg(long, value_parser = SeededDefect::named)]
    pub bug: Option<SeededDefect>,
}

impl Chosen {
    /// The plan of the runs.
    pub fn plan(&self) -> Plan {
        Plan { profile: self.profile, faults: self.faults, bug: self.bug, print: false }
    }

    /// Refuses to seed a defect that is not built in.
    pub fn check(&self, command: &str) -> Result<(), String> {
        check_build(self.bug, command)
    }
}

/// See [`Chosen::check`].
pub fn check_build(bug: Option<SeededDefect>, command: &str) -> Result<(), String> {
    if bug.is_none() || defects::BUILT_IN {
        return Ok(());
    }
    Err(format!(
        "this build has no seeded defects; run it with: cargo run --release -p sim --features defects -- {command} …"
    ))
}
