//! CPU time of a process, user and system, read from outside.
//!
//! `/proc/<pid>/task/*/schedstat` counts nanoseconds a thread has run, but forgets threads that ended;
//! `/proc/<pid>/stat` remembers them, in ticks of 10 ms. The first is what is reported, the second proves it whole.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};

/// The kernel's ticks a second in `/proc`, the same on every Linux.
const TICKS: u64 = 100;

/// What a process had used at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    threads: Duration,
    process: Duration,
}

/// Reads it.
///
/// # Errors
/// Where the process is gone or the kernel keeps no such count.
pub(crate) fn used(pid: u32) -> Result<Used> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))? {
        // A thread may end between the listing and the look.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let ran = text.split_whitespace().next().context("schedstat is empty")?;
        nanoseconds += ran.parse::<u64>().context("schedstat")?;
    }
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    // The program's name may hold anything; utime and stime are the 14th and 15th field (proc(5)).
    let (_, after) = text.rsplit_once(')').context("stat")?;
    let fields = after.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = fields.sum::<Result<u64, _>>().context("stat")?;
    Ok(Used { threads: Duration::from_nanos(nanoseconds), process: Duration::from_millis(ticks * 1000 / TICKS) })
}

/// What was used in between.
///
/// # Errors
/// Where threads that ended took a part with them that matters.
pub(crate) fn between(from: Used, to: Used) -> Result<Duration> {
    let threads = to.threads.saturating_sub(from.threads);
    let process = to.process.saturating_sub(from.process);
    if threads + Duration::from_millis(60) + threads / 50 < process {
        bail!("the threads account for {threads:?} of the {process:?} that the process used: some have ended");
    }
    Ok(threads)
}
