//! `sim replay`: runs a server's recording again, and compares every step. `crate::replay` is the replay.

use std::path::PathBuf;
use std::time::Instant;

use kernel::Term;
use tidemark_record::End;

use crate::replay::{Ended, TermReport, another_kernel, replay};

/// Arguments of `sim replay`.
#[derive(clap::Args)]
pub struct Args {
    /// A file of a recording, or the directory that `tidemark serve --record` wrote to.
    recording: PathBuf,
    /// The data directory of the server, or a copy: its log has the rows that the recording refers to. Only read; no
    /// server may run on it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only this term, as numbered in the file names and in the server's log.
    #[arg(long, value_name = "N")]
    term: Option<u64>,
}

/// Replays. True if everything was as recorded.
pub fn run(args: Args) -> bool {
    let began = Instant::now();
    let only = args.term.map(Term);
    match replay(&args.recording, &args.data, only, &mut |report| println!("{}", line(report))) {
        Ok(reports) => {
            let inputs: u64 = reports.iter().map(|report| report.inputs).sum();
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "REPLAYED: {} terms, {inputs} inputs, all as recorded, in {seconds:.1} s",
                reports.len()
            );
            true
        }
        Err(error) => {
            println!("NOT REPLAYED: {error}");
            false
        }
    }
}

fn line(report: &TermReport) -> String {
    let TermReport { term, inputs, effects, replies, states, records, rows_from_log, .. } = report;
    let begun = if report.from_start { "" } else { " (from its middle)" };
    let ended = match &report.ended {
        Ended::Recorded(End::Stopped) => "stopped cleanly".to_string(),
        Ended::Recorded(End::Halted(error)) => format!("halted: {error}"),
        Ended::Recorded(End::Incomplete(why)) => format!("recording incomplete: {why}"),
        Ended::Recorded(End::NextFile) => "continues in a file that is missing".to_string(),
        Ended::Killed => format!("killed ({} bytes of a torn frame)", report.torn_bytes),
        Ended::RowsLost(sequence) => {
            format!("killed before record {sequence}, whose rows were lost with the process")
        }
        Ended::Panicked(text) => format!("panicked, as recorded: {text}"),
    };
    format!(
        "term {term}{begun}: {inputs} inputs, {effects} effects, {replies} replies of shards, {records} records and \
         {states} states as recorded, {rows_from_log} rows from the log; {ended}; record {}, state {}{}",
        report.sequence,
        report.state,
        another_kernel(&report.kernel)
    )
}
