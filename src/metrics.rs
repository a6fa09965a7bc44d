//! What the server counts of itself, as text that Prometheus reads. No meter number, no request id
//! and no secret is ever a label.
//!
//! One registry for the process: what is counted is counted where it happens, in every layer.

use std::{
    fmt,
    sync::{LazyLock, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    class: u32,
    subclass: u32,
    replay: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    listener: &'static str,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    kind: &'static str,
    client: String,
}

/// A histogram from 50 microseconds to 26 seconds.
#[derive(Clone)]
struct Seconds;

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.000_05, 2.0, 20))
    }
}

struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<MethodLabel, Histogram, Seconds>,
    refusals: Family<ReasonLabel, Counter>,
    tokens: Family<TokenLabels, Counter>,
    alarms: Family<AlarmLabels, Counter>,
    connections: Family<ListenerLabel, Gauge>,
    connections_refused: Family<RefusedLabels, Counter>,
    certificate_expiry: Family<ListenerLabel, Gauge>,
    revocation_lists_expiry: Family<ListenerLabel, Gauge>,
    serving: Gauge,
    not_serving: Family<CauseLabel, Gauge>,
    hsm_up: Gauge,
    store_up: Gauge,
    transactions: Counter<u64, AtomicU64>,
    commands: Counter<u64, AtomicU64>,
    waiting: Gauge,
    walk_records: Gauge,
    walk_whole: Gauge,
    walk_damages: Gauge,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let mut metrics = Metrics {
        registry: Registry::with_prefix("vendkey"),
        calls: Family::default(),
        call_seconds: Family::new_with_constructor(Seconds),
        refusals: Family::default(),
        tokens: Family::default(),
        alarms: Family::default(),
        connections: Family::default(),
        connections_refused: Family::default(),
        certificate_expiry: Family::default(),
        revocation_lists_expiry: Family::default(),
        serving: Gauge::default(),
        not_serving: Family::default(),
        hsm_up: Gauge::default(),
        store_up: Gauge::default(),
        transactions: Counter::default(),
        commands: Counter::default(),
        waiting: Gauge::default(),
        walk_records: Gauge::default(),
        walk_whole: Gauge::default(),
        walk_damages: Gauge::default(),
    };
    let registry = &mut metrics.registry;
    registry.register(
        "calls",
        "Calls by method and reason; OK for those that were served",
        metrics.calls.clone(),
    );
    registry.register("call_seconds", "How long calls took", metrics.call_seconds.clone());
    registry.register(
        "refusals",
        "Refused calls and refused items of batches and streams",
        metrics.refusals.clone(),
    );
    registry.register(
        "tokens",
        "Tokens given out, by class and subclass; replays are those given again",
        metrics.tokens.clone(),
    );
    registry.register("alarms", "What somebody should look at, by kind and client", metrics.alarms.clone());
    registry.register("connections", "Open connections", metrics.connections.clone());
    registry.register(
        "connections_refused",
        "Connections that were not let in or were ended for what they did",
        metrics.connections_refused.clone(),
    );
    registry.register(
        "certificate_expiry_seconds",
        "When the listener's certificate ends, in seconds since 1970",
        metrics.certificate_expiry.clone(),
    );
    registry.register(
        "client_crl_expiry_seconds",
        "When the first of the listener's revocation lists ends, in seconds since 1970",
        metrics.revocation_lists_expiry.clone(),
    );
    registry.register("serving", "1 while tokens are issued", metrics.serving.clone());
    registry.register(
        "not_serving",
        "1 for what keeps the server from issuing: self_test, hsm, store, clock, checkpoint, seals, ledger",
        metrics.not_serving.clone(),
    );
    registry.register("hsm_up", "1 while the HSM is well", metrics.hsm_up.clone());
    registry.register("store_up", "1 while the store is well", metrics.store_up.clone());
    registry.register("store_transactions", "Transactions committed", metrics.transactions.clone());
    registry.register("store_commands", "Commands in them", metrics.commands.clone());
    registry.register(
        "store_waiting",
        "Commands that waited when the last transaction ended",
        metrics.waiting.clone(),
    );
    registry.register(
        "ledger_walk_records",
        "The positions in all chains to which this server's walk over the ledger has come, together; 0 between two passes",
        metrics.walk_records.clone(),
    );
    registry.register(
        "ledger_walk_whole_seconds",
        "When the whole ledger was walked last, in seconds since 1970",
        metrics.walk_whole.clone(),
    );
    registry.register(
        "ledger_damages",
        "What the walk over the ledger found and nobody accepted",
        metrics.walk_damages.clone(),
    );
    metrics
});

/// The reason label of a call that was served.
pub const SERVED: &str = "OK";

/// A call ended: of this method, for this reason ([`SERVED`] if it was), after so long.
pub fn call(method: &str, reason: &str, took: Duration) {
    let labels = CallLabels { method: method.to_owned(), reason: reason.to_owned() };
    METRICS.calls.get_or_create(&labels).inc();
    METRICS.call_seconds.get_or_create(&MethodLabel { method: labels.method }).observe(took.as_secs_f64());
}

/// A call, or an item of a batch or stream, was refused.
pub fn refusal(reason: &str) {
    METRICS.refusals.get_or_create(&ReasonLabel { reason: reason.to_owned() }).inc();
}

/// A token of this class and subclass was given out; `replay` if it had been issued before.
pub fn token(class: u32, subclass: u32, replay: bool) {
    let replay = if replay { "yes" } else { "no" };
    METRICS.tokens.get_or_create(&TokenLabels { class, subclass, replay }).inc();
}

/// Something that somebody should look at. `client` is a client's id, or empty.
pub fn alarm(kind: &'static str, client: impl fmt::Display) {
    METRICS.alarms.get_or_create(&AlarmLabels { kind, client: client.to_string() }).inc();
}

/// An open connection; counted until it is dropped.
pub struct Connection(Gauge);

impl Connection {
    /// One more at this listener.
    pub fn opened(listener: &'static str) -> Self {
        let gauge = METRICS.connections.get_or_create(&ListenerLabel { listener }).clone();
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A connection was not let in, or was ended for what it did.
pub fn connection_refused(listener: &'static str, why: &'static str) {
    METRICS.connections_refused.get_or_create(&RefusedLabels { listener, why }).inc();
}

/// When the certificate of a listener ends, in seconds since 1970.
pub fn certificate_expiry(listener: &'static str, seconds: i64) {
    METRICS.certificate_expiry.get_or_create(&ListenerLabel { listener }).set(seconds);
}

/// When the first of the revocation lists of a listener ends, in seconds since 1970.
pub fn revocation_lists_expiry(listener: &'static str, seconds: i64) {
    METRICS.revocation_lists_expiry.get_or_create(&ListenerLabel { listener }).set(seconds);
}

/// Whether HSM and store are well.
pub fn health(hsm: bool, store: bool) {
    METRICS.hsm_up.set(hsm.into());
    METRICS.store_up.set(store.into());
}

/// What keeps the server from issuing, if anything does.
pub fn not_serving(cause: Option<&'static str>) {
    METRICS.serving.set(cause.is_none().into());
    METRICS.not_serving.clear();
    if let Some(cause) = cause {
        METRICS.not_serving.get_or_create(&CauseLabel { cause }).set(1);
    }
}

/// The store committed `commands` commands in one transaction; `waiting` wait for the next.
pub fn committed(commands: usize, waiting: usize) {
    METRICS.transactions.inc();
    METRICS.commands.inc_by(commands as u64);
    METRICS.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
}

/// The walk over the ledger has come so far; it came to the end last at this time, in milliseconds.
pub fn walked(records: u64, whole_ms: Option<i64>) {
    METRICS.walk_records.set(i64::try_from(records).unwrap_or(i64::MAX));
    METRICS.walk_whole.set(whole_ms.unwrap_or_default() / 1000);
}

/// What the walk found and nobody accepted.
pub fn damages(count: usize) {
    METRICS.walk_damages.set(i64::try_from(count).unwrap_or(i64::MAX));
}

/// All of it, in the text format of OpenMetrics.
///
/// # Errors
/// When a metric cannot be written, which a `String` never causes.
pub fn text() -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, &METRICS.registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        call("/a.B/C", "TEST_REASON", Duration::from_millis(3));
        refusal("TEST_REASON");
        token(2, 7, true);
        alarm("test", "clients/1");
        certificate_expiry("test", 7);
        let connection = Connection::opened("test");
        let open = text().unwrap();
        drop(connection);
        let closed = text().unwrap();
        for line in [
            "vendkey_calls_total{method=\"/a.B/C\",reason=\"TEST_REASON\"} 1",
            "vendkey_call_seconds_count{method=\"/a.B/C\"} 1",
            "vendkey_refusals_total{reason=\"TEST_REASON\"} 1",
            "vendkey_tokens_total{class=\"2\",subclass=\"7\",replay=\"yes\"} 1",
            "vendkey_alarms_total{kind=\"test\",client=\"clients/1\"} 1",
            "vendkey_certificate_expiry_seconds{listener=\"test\"} 7",
            "vendkey_connections{listener=\"test\"} 1",
        ] {
            assert!(open.contains(line), "{line} is not in\n{open}");
        }
        assert!(closed.contains("vendkey_connections{listener=\"test\"} 0"));
    }
}
