//! Every metric of the operator: names, labels, and the page that shows them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Why a reconcile came to nothing; the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The Kubernetes API refused or did not answer.
    KubernetesApi,
    /// The cluster's own nodes did not answer.
    Plane,
    /// Not leading any more.
    NotLeading,
}

/// What was written; the label `verb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// An object was applied.
    Apply,
    /// A status was patched.
    Status,
    /// An object was deleted.
    Delete,
    /// An event was posted.
    Event,
}

/// Counters of one operator.
#[derive(Debug, Default)]
pub struct Metrics {
    reconciles: AtomicU64,
    reconcile_micros: AtomicU64,
    failures: [AtomicU64; 3],
    writes: [AtomicU64; 4],
    hints: AtomicU64,
    switchovers: AtomicU64,
    leading: AtomicI64,
    clusters: AtomicI64,
    backups_failing: AtomicI64,
}

/// Each metric: name, type, meaning.
pub const ALL: [(&str, &str, &str); 9] = [
    ("cairn_operator_reconciles_total", "counter", "Reconciles of clusters that were begun."),
    ("cairn_operator_reconcile_seconds_total", "counter", "Time spent in reconciles."),
    ("cairn_operator_reconcile_failures_total", "counter", "Reconciles that failed, by reason."),
    ("cairn_operator_writes_total", "counter", "Writes to the Kubernetes API, by verb."),
    ("cairn_operator_hints_total", "counter", "Hints sent to judges."),
    ("cairn_operator_switchovers_total", "counter", "Planned switchovers that were wished for."),
    ("cairn_operator_leading", "gauge", "1 on the replica that writes, else 0."),
    ("cairn_operator_clusters", "gauge", "Clusters that are looked after."),
    (
        "cairn_operator_backups_failing",
        "gauge",
        "Backups that are not ready, those apart that are suspended.",
    ),
];

const FAILURES: [(Failure, &str); 3] = [
    (Failure::KubernetesApi, "kubernetes_api"),
    (Failure::Plane, "plane"),
    (Failure::NotLeading, "not_leading"),
];
const VERBS: [(Verb, &str); 4] = [
    (Verb::Apply, "apply"),
    (Verb::Status, "status"),
    (Verb::Delete, "delete"),
    (Verb::Event, "event"),
];

impl Metrics {
    /// A reconcile took `micros` microseconds.
    pub fn reconciled(&self, micros: u64) {
        self.reconciles.fetch_add(1, Ordering::Relaxed);
        self.reconcile_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// A reconcile failed.
    pub fn failed(&self, why: Failure) {
        self.failures[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Something was written to the Kubernetes API.
    pub fn wrote(&self, verb: Verb) {
        self.writes[verb as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often something was written, events apart.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let verbs = [Verb::Apply, Verb::Status, Verb::Delete];
        verbs.iter().map(|verb| self.writes[*verb as usize].load(Ordering::Relaxed)).sum()
    }

    /// A hint was sent.
    pub fn hinted(&self) {
        self.hints.fetch_add(1, Ordering::Relaxed);
    }

    /// A switchover was wished for.
    pub fn wished(&self) {
        self.switchovers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this replica leads.
    pub fn lead(&self, leading: bool) {
        self.leading.store(i64::from(leading), Ordering::Relaxed);
    }

    /// How many clusters there are.
    pub fn clusters(&self, count: usize) {
        self.clusters.store(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// How many Backups are not ready although they should be.
    pub fn backups_failing(&self, count: usize) {
        self.backups_failing.store(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The page, in Prometheus' text format.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        for (name, kind, help) in ALL {
            writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
            for (labels, value) in self.samples(name) {
                writeln!(page, "{name}{labels} {value}").ok();
            }
        }
        page
    }

    fn samples(&self, name: &str) -> Vec<(String, String)> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_string();
        let one = |value: String| vec![(String::new(), value)];
        match name {
            "cairn_operator_reconciles_total" => one(count(&self.reconciles)),
            "cairn_operator_reconcile_seconds_total" => {
                let micros = self.reconcile_micros.load(Ordering::Relaxed);
                one(format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000))
            }
            "cairn_operator_reconcile_failures_total" => FAILURES
                .iter()
                .map(|(why, label)| {
                    (format!("{{reason=\"{label}\"}}"), count(&self.failures[*why as usize]))
                })
                .collect(),
            "cairn_operator_writes_total" => VERBS
                .iter()
                .map(|(verb, label)| {
                    (format!("{{verb=\"{label}\"}}"), count(&self.writes[*verb as usize]))
                })
                .collect(),
            "cairn_operator_hints_total" => one(count(&self.hints)),
            "cairn_operator_switchovers_total" => one(count(&self.switchovers)),
            "cairn_operator_leading" => one(self.leading.load(Ordering::Relaxed).to_string()),
            "cairn_operator_backups_failing" => {
                one(self.backups_failing.load(Ordering::Relaxed).to_string())
            }
            _ => one(self.clusters.load(Ordering::Relaxed).to_string()),
        }
    }
}

/// The page that lists them all, docs/metrics-operator.md.
#[must_use]
pub fn documentation() -> String {
    let mut text = String::from(
        "# Metrics of the operator\n\n\
         Both replicas serve `/metrics`, `/livez` and `/readyz` on `--metrics`, port 9400 by \
         default; `serviceMonitor.enabled` of the chart has them scraped. This page is made from \
         `operator/src/metrics.rs` by `cargo xtask codegen`.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    let metrics = Metrics::default();
    for (name, kind, help) in ALL {
        let samples = metrics.samples(name);
        let label = |text: &str| text.trim_matches(['{', '}']).replace('"', "`");
        let labels: Vec<String> =
            samples.iter().map(|(text, _)| label(text)).filter(|text| !text.is_empty()).collect();
        let labels = labels.join(", ");
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics-operator.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, documentation()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == documentation(), "{path} is stale: run `cargo xtask codegen`");
    }

    #[test]
    fn every_metric_is_on_the_page_with_its_value() {
        let metrics = Metrics::default();
        metrics.wrote(Verb::Status);
        metrics.failed(Failure::Plane);
        metrics.reconciled(1_500_000);
        metrics.lead(true);
        metrics.backups_failing(2);
        let page = metrics.page();
        for (name, kind, _) in ALL {
            assert!(page.contains(&format!("# TYPE {name} {kind}")), "{name}");
        }
        for line in [
            "cairn_operator_writes_total{verb=\"status\"} 1",
            "cairn_operator_writes_total{verb=\"apply\"} 0",
            "cairn_operator_reconcile_failures_total{reason=\"plane\"} 1",
            "cairn_operator_reconcile_seconds_total 1.500000",
            "cairn_operator_leading 1",
            "cairn_operator_backups_failing 2",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert_eq!(metrics.writes(), 1);
    }
}
