//! CPU and memory of a process, from the operating system.

use std::fs;

use anyhow::{Context, Result};

/// CPU that a process and those of its children that it has waited for have used, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    // Its own, and that of its children: utime, stime, cutime, cstime.
    stat_seconds(&stat, 4)
}

/// CPU that the threads of this name of a process have used, in seconds. The system keeps 15 characters of a name.
pub fn thread_cpu_seconds(pid: u32, name: &str) -> Result<f64> {
    let mut seconds = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(task?.path().join("stat"))?;
        if stat.contains(&format!("({name}) ")) {
            seconds += stat_seconds(&stat, 2)?;
        }
    }
    Ok(seconds)
}

/// The first of the four fields of CPU time in a line of /proc/…/stat, in seconds.
fn stat_seconds(stat: &str, fields_wanted: usize) -> Result<f64> {
    // The name in parentheses may hold blanks; what follows is fields 3…: utime and the others begin at 14.
    let (_, fields) = stat.rsplit_once(") ").context("a line of /proc/…/stat")?;
    let fields = fields.split(' ').skip(11).take(fields_wanted);
    let ticks = fields.map(|f| f.parse::<f64>()).sum::<Result<f64, _>>()?;
    Ok(ticks / ticks_per_second())
}

/// As [`cpu_seconds`], for a process and all its living descendants.
pub fn tree_cpu_seconds(pid: u32) -> Result<f64> {
    let mut seconds = cpu_seconds(pid)?;
    let path = format!("/proc/{pid}/task/{pid}/children");
    for child in fs::read_to_string(path).unwrap_or_default().split_whitespace() {
        seconds += tree_cpu_seconds(child.parse()?).unwrap_or(0.0);
    }
    Ok(seconds)
}

/// Anonymous resident memory of a process, in bytes: what is its own, without the mapped log.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|l| l.strip_prefix("RssAnon:")).context("RssAnon in /proc/…/status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf reads a constant of the system.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks as f64
}
