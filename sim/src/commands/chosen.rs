//! Shared arguments of several subcommands: a scenario file, or the parameters of runs.

use std::path::PathBuf;

use crate::bugs::elsewhere;
use crate::defects::SeededDefect;
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
    /// Seed this defect; `sim bugs --list` names them. One of the kernel runs in a build of its own.
    #[arg(long, value_parser = SeededDefect::named)]
    pub bug: Option<SeededDefect>,
}

impl Chosen {
    /// The plan of the runs.
    pub fn plan(&self) -> Plan {
        Plan { profile: self.profile, faults: self.faults, bug: self.bug, print: false }
    }

    /// Runs the command in the build that has its defect, if this one has not. True if it succeeded there.
    pub fn elsewhere(&self) -> Option<bool> {
        elsewhere(self.bug)
    }
}
