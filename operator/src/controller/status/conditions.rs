//! A resource's conditions.

use cairn_crd::shared::Condition;
use cairn_crd::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// What is said of every Cluster and every Keyspace.
pub const COMMON: [ConditionType; 5] = [
    ConditionType::Ready,
    ConditionType::Progressing,
    ConditionType::Degraded,
    ConditionType::WritesRefused,
    ConditionType::NeedsPerson,
];

/// What one condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is so; `None` if nobody can tell.
    pub is: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// The particulars, for people.
    pub message: String,
}

impl Verdict {
    /// It is so.
    #[must_use]
    pub fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self { is: Some(true), reason, message: message.into() }
    }

    /// It is not so.
    #[must_use]
    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self { is: Some(false), reason, message: message.into() }
    }

    /// Nobody can tell.
    #[must_use]
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self { is: None, reason, message: message.into() }
    }

    fn word(&self) -> &'static str {
        match self.is {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// Conditions under construction.
pub struct Conditions<'a> {
    old: &'a [Condition],
    generation: Option<i64>,
    now_sec: i64,
    new: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Those of a resource of `generation` that had `old` ones.
    #[must_use]
    pub fn new(old: &'a [Condition], generation: Option<i64>, now_sec: i64) -> Self {
        Self { old, generation, now_sec, new: Vec::new() }
    }

    /// Adds one.
    pub fn set(&mut self, about: ConditionType, verdict: &Verdict) {
        let old = self.old.iter().find(|old| old.type_ == about.as_str());
        let since = old.filter(|old| old.status == verdict.word());
        let now = || Time(Timestamp::from_second(self.now_sec).unwrap_or(Timestamp::UNIX_EPOCH));
        self.new.push(Condition {
            type_: about.as_str().to_owned(),
            status: verdict.word().to_owned(),
            reason: verdict.reason.as_str().to_owned(),
            message: verdict.message.chars().take(1024).collect(),
            observed_generation: self.generation,
            last_transition_time: since.map_or_else(now, |old| old.last_transition_time.clone()),
        });
    }

    /// Those of a resource of which nothing is done: that it is not ready, and for `why` nobody
    /// can tell what its nodes do.
    #[must_use]
    pub fn refused(mut self, about: &[ConditionType], reason: Reason, why: &str) -> Vec<Condition> {
        use ConditionType as About;
        for &about in about {
            let verdict = match about {
                About::Ready | About::Progressing => Verdict::no(reason, why),
                About::Degraded
                | About::WritesRefused
                | About::PoolExhausted
                | About::AutoscaleLimited => Verdict::unknown(reason, why),
                _ => Verdict::yes(reason, why),
            };
            self.set(about, &verdict);
        }
        self.done()
    }

    /// All of them.
    #[must_use]
    pub fn done(self) -> Vec<Condition> {
        self.new
    }
}
