//! Kubernetes Events: one per transition, not repeated, and never many.

use crate::leader::{Leadership, WRITE_MAX};
use crate::metrics::{Metrics, Verb};
use cairn_crd::shared::Condition;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The same is not said again of the same object within this.
const REPEAT: Duration = Duration::from_secs(600);
/// Events of one object at once; one more each [`REFILL`].
const BURST: u32 = 20;
const REFILL: Duration = Duration::from_secs(6);
/// Objects and texts that are remembered.
const MEMORY_MAX: usize = 10_000;

/// One thing worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether it is bad.
    pub warning: bool,
    /// One word, as in conditions.
    pub reason: String,
    /// The particulars.
    pub note: String,
}

/// What the change of an object's conditions is worth telling. Pure.
#[must_use]
pub fn transitions(old: &[Condition], new: &[Condition]) -> Vec<News> {
    let changed = new.iter().filter_map(|new| {
        let old = old.iter().find(|old| old.type_ == new.type_);
        let same = old.is_some_and(|old| old.status == new.status && old.reason == new.reason);
        let good = is_good(new);
        // At the start all is on its way, as everybody expects.
        let beginning = old.is_none() && !matches!(new.type_.as_str(), "Ready" | "NeedsPerson");
        let quiet = same || beginning || (old.is_none() && good);
        (!quiet).then(|| News {
            // What is under way is no bad news; what a Restore fails by is another condition.
            warning: !good && !matches!(new.type_.as_str(), "Progressing" | "Complete"),
            reason: new.reason.clone(),
            note: format!("{} is {}: {}", new.type_, new.status, new.message),
        })
    });
    changed.collect()
}

fn is_good(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Ready" | "Complete" => condition.status == "True",
        _ => condition.status == "False",
    }
}

/// A change of master, if it is one; a new epoch of the same master is none.
#[must_use]
pub fn mastership(old: Option<(String, i64)>, new: Option<(String, i64)>) -> Option<News> {
    let (master, epoch) = new?;
    let before = old.map(|(master, _)| master);
    (before.as_ref() != Some(&master)).then(|| News {
        warning: false,
        reason: "MasterChanged".to_owned(),
        note: format!("{} -> {master}, epoch {epoch}", before.as_deref().unwrap_or("nobody")),
    })
}

/// Decides what is said: never the same twice within ten minutes, and not much of one object.
#[derive(Debug, Default)]
pub struct Limiter {
    said: BTreeMap<(String, String, String), Instant>,
    budgets: BTreeMap<String, (u32, Instant)>,
}

impl Limiter {
    /// Whether to say `news` of the object with that uid now.
    pub fn admits(&mut self, uid: &str, news: &News, now: Instant) -> bool {
        self.said.retain(|_, at| now.duration_since(*at) < REPEAT);
        let key = (uid.to_owned(), news.reason.clone(), news.note.clone());
        if self.said.contains_key(&key) || self.said.len() >= MEMORY_MAX {
            return false;
        }
        self.budgets.retain(|_, (_, at)| now.duration_since(*at) < REFILL * BURST);
        let (left, at) = self.budgets.entry(uid.to_owned()).or_insert((BURST, now));
        let more = now.duration_since(*at).as_secs() / REFILL.as_secs();
        if more > 0 {
            *left = (*left + u32::try_from(more).unwrap_or(BURST)).min(BURST);
            *at = now;
        }
        if *left == 0 {
            return false;
        }
        *left -= 1;
        self.said.insert(key, now);
        true
    }
}

/// Posts events.
#[derive(Clone)]
pub struct Teller {
    recorder: Recorder,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    limiter: Arc<Mutex<Limiter>>,
}

impl Teller {
    /// Posts as this replica, `me`.
    #[must_use]
    pub fn new(client: Client, me: &str, leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        let reporter = Reporter {
            controller: crate::names::MANAGER.to_owned(),
            instance: Some(me.to_owned()),
        };
        let recorder = Recorder::new(client, reporter);
        Self { recorder, leadership, metrics, limiter: Arc::default() }
    }

    /// Says `news` of the object `about`; what cannot be posted is only logged.
    pub async fn tell(&self, about: &ObjectReference, news: &News) {
        let uid = about.uid.clone().unwrap_or_default();
        let admitted = {
            let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
            limiter.admits(&uid, news, Instant::now())
        };
        if !admitted || !self.leadership.may_write() {
            return;
        }
        let name = about.name.clone().unwrap_or_default();
        tracing::info!(object = %name, reason = %news.reason, note = %news.note, "transition");
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason.clone(),
            note: Some(news.note.chars().take(1024).collect()),
            action: "Observed".to_owned(),
            secondary: None,
        };
        self.metrics.wrote(Verb::Event);
        match timeout(WRITE_MAX, self.recorder.publish(&event, about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an event could not be posted"),
            Err(_) => tracing::warn!("an event was not posted in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(note: &str) -> News {
        News { warning: false, reason: "R".to_owned(), note: note.to_owned() }
    }

    #[test]
    fn the_same_is_said_once_in_ten_minutes() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert!(limiter.admits("u", &news("a"), start));
        assert!(!limiter.admits("u", &news("a"), start + Duration::from_secs(599)));
        assert!(limiter.admits("v", &news("a"), start));
        assert!(limiter.admits("u", &news("a"), start + Duration::from_secs(601)));
    }

    #[test]
    fn a_storm_about_one_object_is_cut_and_others_are_heard() {
        let mut limiter = Limiter::default();
        let now = Instant::now();
        let said = (0..100).filter(|n| limiter.admits("u", &news(&n.to_string()), now)).count();
        assert_eq!(said, 20);
        assert!(limiter.admits("v", &news("x"), now));
        assert!(limiter.admits("u", &news("later"), now + Duration::from_secs(7)));
    }

    #[test]
    fn only_what_changed_is_news() {
        let condition = |type_: &str, status: &str, reason: &str| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "m".to_owned(),
            observed_generation: None,
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            ),
        };
        let old = [condition("Ready", "True", "AllServing")];
        assert_eq!(transitions(&old, &old), []);
        assert_eq!(transitions(&[], &old), []);
        let new = [condition("Ready", "False", "WaitingForMaster")];
        let told = transitions(&old, &new);
        assert!(told[0].warning && told[0].reason == "WaitingForMaster");
    }

    #[test]
    fn another_master_is_news_and_another_epoch_is_not() {
        let held = |master: &str, epoch| Some((master.to_owned(), epoch));
        assert!(mastership(held("a", 3), held("b", 4)).is_some());
        assert!(mastership(held("a", 3), held("a", 4)).is_none());
        assert!(mastership(None, held("a", 1)).is_some());
    }
}
