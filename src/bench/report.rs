//! The figures of a run: each measured several times by turns, and shown by its median.

use serde::{Deserialize, Serialize};

use super::processor::{Cost, Machine, processors};

/// All figures of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// In the order in which they were measured.
    pub figures: Vec<Figure>,
    /// What a PostgreSQL database was sent.
    #[serde(default)]
    pub statements: Vec<Statements>,
    /// What the machine was doing besides.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// The server's memory before any load.
    pub server_memory_idle_mib: Option<f64>,
    /// The server's memory at the end.
    pub server_memory_mib: Option<f64>,
    /// The most that it ever had.
    pub server_memory_peak_mib: Option<f64>,
}

/// What batches of the ledger cost in statements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Statements {
    /// While this was measured.
    pub work: String,
    /// Statements of a batch, BEGIN and COMMIT among them, and whatever else servers sent meanwhile.
    pub a_batch: f64,
    /// Rows of a batch.
    pub rows: f64,
    /// Bytes of the write-ahead log for a row.
    pub wal_bytes: f64,
}

/// One rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// Of what.
    pub work: String,
    /// In a second: the median of the rounds.
    pub rate: f64,
    /// The lowest of the rounds.
    #[serde(default)]
    pub lowest: f64,
    /// The highest of the rounds.
    #[serde(default)]
    pub highest: f64,
    /// The bound beside which it stands.
    pub bound: Option<String>,
    /// The part of that bound.
    pub share: Option<f64>,
    /// Where calls were timed; of the round of the median.
    pub latency: Option<Latency>,
    /// What each cost the processor; of the round of the median.
    #[serde(default)]
    pub cost: Option<Cost>,
}

/// How long calls took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them at most, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
}

impl Latency {
    /// Of times in microseconds.
    pub(super) fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |thousandths: usize| {
            let index = (micros.len() * thousandths / 1_000).min(micros.len().saturating_sub(1));
            micros.get(index).map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
        };
        Self { p50_ms: at(500), p99_ms: at(990), p999_ms: at(999) }
    }
}

/// What one round found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) rate: f64,
    pub(super) latency: Option<Latency>,
    pub(super) cost: Option<Cost>,
}

impl From<f64> for Sample {
    fn from(rate: f64) -> Self {
        Self { rate, latency: None, cost: None }
    }
}

/// Figures as they come in.
#[derive(Default)]
pub(super) struct Figures(Vec<Samples>);

struct Samples {
    work: String,
    bound: Option<String>,
    of_rounds: Vec<Sample>,
}

impl Figures {
    /// One more sample of a work, which stands beside `bound`.
    pub(super) fn add(&mut self, work: &str, bound: Option<&str>, sample: impl Into<Sample>) {
        let sample = sample.into();
        match self.0.iter_mut().find(|samples| samples.work == work) {
            Some(samples) => samples.of_rounds.push(sample),
            None => self.0.push(Samples {
                work: work.to_owned(),
                bound: bound.map(str::to_owned),
                of_rounds: vec![sample],
            }),
        }
    }

    /// The rate that the parts of a work would come to if there were nothing else to do: each costs
    /// the processor what it costs alone. Stands behind the last of the parts.
    pub(super) fn add_sum_of_parts(&mut self, work: &str, parts: &[&str]) {
        let cost = |part: &&str| self.median(part)?.cost.map(Cost::whole);
        let Some(micros) = parts.iter().map(cost).sum::<Option<f64>>() else { return };
        let last =
            parts.iter().flat_map(|part| self.0.iter().position(|samples| samples.work == *part)).max();
        let rate = processors() as f64 * 1e6 / micros;
        let samples = Samples { work: work.to_owned(), bound: None, of_rounds: vec![rate.into()] };
        self.0.insert(last.map_or(self.0.len(), |last| last + 1), samples);
    }

    fn median(&self, work: &str) -> Option<Sample> {
        self.0.iter().find(|samples| samples.work == work).map(Samples::median)
    }

    /// The medians, each beside its bound, or beside what an earlier run found of the same work.
    pub(super) fn finish(self, earlier: Option<&Report>) -> Vec<Figure> {
        let figure = |samples: &Samples| {
            let before = earlier.and_then(|earlier| {
                earlier.figures.iter().find(|figure| figure.work == samples.work).map(|figure| figure.rate)
            });
            let (beside, bound) = match before {
                Some(rate) => (Some(rate), Some("the same of the run before")),
                None => {
                    let bound = samples.bound.as_deref();
                    (bound.and_then(|bound| self.median(bound)).map(|bound| bound.rate), bound)
                }
            };
            let Sample { rate, latency, cost } = samples.median();
            let rates = || samples.of_rounds.iter().map(|sample| sample.rate);
            let share = beside.filter(|beside| *beside > 0.0).map(|beside| rate / beside);
            Figure {
                work: samples.work.clone(),
                rate,
                lowest: rates().fold(rate, f64::min),
                highest: rates().fold(rate, f64::max),
                bound: share.and(bound).map(str::to_owned),
                share,
                latency,
                cost,
            }
        };
        self.0.iter().map(figure).collect()
    }
}

impl Samples {
    /// The sample in the middle; of an even number the lower one.
    fn median(&self) -> Sample {
        let mut samples = self.of_rounds.clone();
        samples.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        samples.get(samples.len().saturating_sub(1) / 2).copied().unwrap_or(Sample::from(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let found = Latency::of((1..=1_000).map(|n| n * 1_000).collect());
        assert_eq!((found.p50_ms, found.p99_ms, found.p999_ms), (501.0, 991.0, 1_000.0));
        assert_eq!(Latency::of(Vec::new()).p99_ms, 0.0);
    }

    #[test]
    fn medians_stand_beside_their_bounds() {
        let mut figures = Figures::default();
        for (bound, work) in [(100.0, 70.0), (300.0, 50.0), (200.0, 60.0)] {
            figures.add("a bound", None, bound);
            figures.add("work", Some("a bound"), work);
        }
        let [bound, work] = &figures.finish(None)[..] else { panic!("two figures") };
        assert_eq!((bound.rate, bound.lowest, bound.highest, bound.share), (200.0, 100.0, 300.0, None));
        assert_eq!((work.rate, work.lowest, work.highest, work.share), (60.0, 50.0, 70.0, Some(0.3)));
    }

    #[test]
    fn the_parts_of_a_work_are_its_bound() {
        let mut figures = Figures::default();
        let cost = |client, server| Some(Cost { client, server, busy: 1.0 });
        figures.add("a call", None, Sample { rate: 1.0, latency: None, cost: cost(10.0, 20.0) });
        figures.add("a row", None, Sample { rate: 1.0, latency: None, cost: cost(10.0, 0.0) });
        figures.add_sum_of_parts("both", &["a call", "a row"]);
        figures.add("work", Some("both"), 12_500.0 * processors() as f64);
        let figures = figures.finish(None);
        assert_eq!(figures[2].rate, 25_000.0 * processors() as f64);
        assert_eq!(figures[3].share, Some(0.5));
        let mut without = Figures::default();
        without.add("a call", None, 1.0);
        without.add_sum_of_parts("both", &["a call", "a row"]);
        assert_eq!(without.finish(None).len(), 1, "a part whose cost is unknown has no sum");
    }
}
