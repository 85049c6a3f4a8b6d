//! `sim explain`: one run as an HTML page, made by `crate::explain`.

use std::path::PathBuf;

use super::chosen::Chosen;
use super::failure;
use crate::explain::page;
use crate::run::catch_panics;
use crate::shrink::Case;
use crate::shrink::case::Scenario;

/// Arguments of `sim explain`.
#[derive(clap::Args)]
pub struct Args {
    /// A seed.
    #[arg(required_unless_present = "scenario", conflicts_with = "scenario")]
    seed: Option<u64>,
    #[command(flatten)]
    chosen: Chosen,
    /// The page to write.
    #[arg(long)]
    html: PathBuf,
}

/// Makes a page. True if it was written, also for a run that fails.
pub fn run(args: Args) -> bool {
    if let Some(passed) = args.chosen.elsewhere() {
        return passed;
    }
    catch_panics();
    match make(&args) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

fn make(args: &Args) -> Result<(), String> {
    let (title, case) = match (&args.chosen.scenario, args.seed) {
        (Some(path), _) => {
            let scenario = Scenario::read(path)?;
            (scenario.title, Case { bug: args.chosen.bug, ..scenario.case })
        }
        (None, seed) => {
            let seed = seed.expect("clap asks for one of them");
            (format!("seed {seed}"), Case::of_seed(seed, args.chosen.plan()))
        }
    };
    let page = page(&title, &case);
    failure::write_text(&args.html, &page.html)?;
    println!(
        "{}: {} events, {} KiB. Open it in a browser; it loads nothing else.",
        args.html.display(),
        page.outcome.events.len(),
        page.html.len() >> 10
    );
    if page.details_left_out > 0 {
        println!("The run is long and is shown without its {} details.", page.details_left_out);
    }
    if let Some(us) = page.state_until_us {
        println!("The state is shown up to {:.6} s, and no further.", us as f64 / 1e6);
    }
    Ok(())
}
