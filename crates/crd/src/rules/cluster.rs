//! Rules of a Cluster.

use super::{NAME_MESSAGE, Rule, checkpoint, is_name, log, name_cel, pods, storage, tls};
use crate::cluster::Cluster;
use crate::timing::{
    HEARTBEAT, NODE_LEASE, READ_LEASE, SILENCE_MAX, SPANS, STUCK_MAX, Span, TimingPreset,
};

/// All of them, in the order of the fields.
#[must_use]
pub fn cluster() -> Vec<Rule<Cluster>> {
    let mut rules = vec![
        Rule::name(name_cel("self.metadata.name"), NAME_MESSAGE, |c: &Cluster| {
            is_name(c.metadata.name.as_deref().unwrap_or_default())
        }),
        Rule::range("globalReplicas", 1, 4, |c: &Cluster| c.spec.global_replicas),
        Rule::spec(
            "acceptor",
            "self.acceptor || self.globalReplicas >= 2 || self.checkpoint.replicas >= 1",
            "must be true with globalReplicas: 1 and no checkpoint node, for the arbiter needs \
             three acceptors: write acceptor: true, or checkpoint.replicas: 1 in a new cluster",
            |c: &Cluster| {
                let spec = &c.spec;
                spec.acceptor || spec.global_replicas >= 2 || spec.checkpoint.replicas >= 1
            },
        ),
        Rule::fixed("acceptor", |c: &Cluster| c.spec.acceptor),
    ];
    rules.extend(checkpoint::of_cluster());
    for span in SPANS {
        rules.extend(alone(span));
    }
    rules.extend(relations());
    rules.extend(storage(|c: &Cluster| &c.spec.storage));
    rules.extend(log::rules(|c: &Cluster| &c.spec.log));
    rules.extend(tls::of_cluster());
    rules.extend(pods("pods", |c: &Cluster| &c.spec.pods));
    rules
}

/// A span is written as one and lies in its range.
fn alone(span: Span) -> [Rule<Cluster>; 2] {
    let field = format!("timing.{}", span.key);
    let range = (span.min_ms, span.max_ms);
    super::span(&field, "100ms or 1m30s", range, move |c: &Cluster| (span.written)(&c.spec.timing))
}

/// `span` must be at least `times` the span `of`, both as in force.
struct AtLeast {
    span: Span,
    times: u64,
    of: Span,
    message: &'static str,
}

fn relations() -> Vec<Rule<Cluster>> {
    let relations = [
        AtLeast {
            span: READ_LEASE,
            times: 3,
            of: HEARTBEAT,
            message: "must be at least three heartbeats: write more, or a shorter timing.heartbeat",
        },
        AtLeast {
            span: SILENCE_MAX,
            times: 1,
            of: READ_LEASE,
            message: "must be at least timing.readLease: write more, or a shorter readLease",
        },
        AtLeast {
            span: STUCK_MAX,
            times: 2,
            of: SILENCE_MAX,
            message: "must be at least twice timing.silenceMax: write more, or a shorter \
                      silenceMax",
        },
        AtLeast {
            span: NODE_LEASE,
            times: 2,
            of: SILENCE_MAX,
            message: "must be at least twice timing.silenceMax: write more, or a shorter \
                      silenceMax",
        },
    ];
    relations.into_iter().map(relation).collect()
}

fn relation(AtLeast { span, times, of, message }: AtLeast) -> Rule<Cluster> {
    let sum = vec![in_force_cel(of); usize::try_from(times).expect("times is small")].join(" + ");
    Rule::spec(
        &format!("timing.{}", span.key),
        format!("{} >= {sum}", in_force_cel(span)),
        message,
        move |c: &Cluster| {
            let timing = &c.spec.timing;
            match (span.in_force_ms(timing), of.in_force_ms(timing)) {
                (Some(long), Some(short)) => long >= short * times,
                // The rule about how spans are written speaks of it.
                _ => true,
            }
        },
    )
}

/// What is written, else the preset's value.
fn in_force_cel(span: Span) -> String {
    let field = format!("self.timing.{}", span.key);
    let noisy = span.preset_ms(TimingPreset::Noisy);
    let plain = span.preset_ms(TimingPreset::Default);
    format!(
        "(has({field}) ? duration({field}) : \
         duration(self.timing.preset == 'noisy' ? '{noisy}ms' : '{plain}ms'))"
    )
}
