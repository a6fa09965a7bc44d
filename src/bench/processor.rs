//! What the processor did meanwhile: for the client, for the server, and for others.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Microseconds of processor that one piece of work cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// In this process: the client, or all of a bound that is measured here.
    pub client: f64,
    /// In the server's process, where it is known.
    pub server: f64,
    /// The part of the time in which the machine's processors did anything, for whomever: nothing gets
    /// faster where they always did.
    #[serde(default)]
    pub busy: f64,
}

impl Cost {
    /// Both together.
    pub fn whole(self) -> f64 {
        self.client + self.server
    }
}

/// The processor's times of both processes at one moment.
pub(super) struct Spent {
    client: Duration,
    server: Duration,
    machine: Ticks,
}

impl Spent {
    pub(super) fn now(server: Option<u32>) -> Self {
        let client = clock_gettime(ClockId::ProcessCPUTime);
        let client = Duration::try_from(client).unwrap_or_default();
        let server = server.and_then(of_process).unwrap_or_default();
        Self { client, server, machine: Ticks::now() }
    }

    /// What each of so many pieces of work cost since then.
    pub(super) fn each(&self, server: Option<u32>, work: f64) -> Cost {
        let now = Self::now(server);
        let each =
            |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() * 1e6 / work.max(1.0);
        let busy = 1.0 - now.machine.part(&self.machine, |ticks| ticks.idle);
        Cost { client: each(now.client, self.client), server: each(now.server, self.server), busy }
    }
}

/// A tick of `/proc/PID/stat`: USER_HZ is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// utime and stime of `/proc/PID/stat` (proc_pid_stat(5)).
fn of_process(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = |field: Option<&str>| field.and_then(|field| field.parse::<u32>().ok());
    Some(TICK * (ticks(fields.next())? + ticks(fields.next())?))
}

/// What the machine was doing besides.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Machine {
    /// Its processors.
    pub processors: usize,
    /// The load average of a minute before the run.
    pub load_average: f64,
    /// The part of the processors that the host gave to others while the run went on.
    pub stolen: f64,
}

/// The machine from one moment on.
pub(super) struct Watched {
    load_average: f64,
    ticks: Ticks,
}

impl Watched {
    pub(super) fn begin() -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load_average = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
        Self { load_average, ticks: Ticks::now() }
    }

    pub(super) fn end(self) -> Machine {
        let stolen = Ticks::now().part(&self.ticks, |ticks| ticks.stolen);
        Machine { processors: processors(), load_average: self.load_average, stolen }
    }
}

/// How many processors this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first line of `/proc/stat` (proc_stat(5)).
#[derive(Default)]
struct Ticks {
    all: u64,
    idle: u64,
    stolen: u64,
}

impl Ticks {
    fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        let of = |column: usize| ticks.get(column).copied().unwrap_or_default();
        Self { all: ticks.iter().sum(), idle: of(3) + of(4), stolen: of(7) }
    }

    /// The part of the time since then.
    fn part(&self, then: &Self, of: impl Fn(&Self) -> u64) -> f64 {
        of(self).saturating_sub(of(then)) as f64 / self.all.saturating_sub(then.all).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_counted() {
        let (own, since) = (std::process::id(), Spent::now(None));
        let before = of_process(own).unwrap();
        let mut sum = 0_u64;
        while of_process(own).unwrap() < before + 2 * TICK {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let cost = since.each(None, 1.0);
        // The kernel counts ticks by looking who runs when one ends: how many there are is chance.
        assert!(cost.client > 0.0 && cost.busy > 0.0, "{cost:?}");
    }
}
