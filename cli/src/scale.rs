//! `cairn scale` and `cairn rebalance`: how many groups a keyspace has, and what the planner does
//! with its slots.
//!
//! Scaling changes the resources that `cairn up` has kept, so that the next `up` asks for the same,
//! and then what the directory asks for; the planner does the rest.

use crate::args::RebalanceArgs;
use crate::folder::Folder;
use crate::manifest;
use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::supervise::control::{self, Request};
use crate::up::prepare::remember;
use crate::up::write_keyspace;
use crate::view::Topology;
use anyhow::{Context, Result, bail, ensure};
use cairn_logic::autoscale::Policy;
use cairn_logic::ids::GroupId;
use cairn_settings::directory_keys::{KeyspaceConfig, group_of, keyspace_of, number_of};
use cairn_topology::keyspace_config;
use cairn_wire::peer::pb::rebalance::Action;
use cairn_wire::peer::pb::{Rebalance, wish_request::Body};
use serde::Deserialize;
use serde_yaml::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Until it is said what is waited for, and between two such lines.
const SAY_EVERY: Duration = Duration::from_secs(3);

/// What is to change.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many groups share the slots.
    pub groups: Option<u16>,
    /// Replicas per group.
    pub replicas: Option<u8>,
}

/// Changes how many groups a keyspace has, and waits until they have their slots.
pub async fn scale(place: &Place, keyspace: &str, wanted: Wanted, timeout_sec: u64) -> Result<()> {
    let Place::Here(folder) = place else {
        bail!(
            "on Kubernetes the Keyspace says it: `kubectl scale keyspace/{keyspace} --replicas=N` \
             for groups, `kubectl edit keyspace/{keyspace}` for replicas"
        );
    };
    let (_, plane) = place.open().await?;
    let began = Instant::now();
    let known = Topology::read(&plane).await?.keyspaces.remove(keyspace);
    if let (Some(policy), Some(_)) = (known.and_then(|known| known.autoscale), wanted.groups) {
        let Policy { min, max, .. } = policy;
        bail!(
            "{keyspace} is scaled by its load, between {min} and {max} groups: change \
             spec.autoscale, or take it out, and say `cairn up`"
        );
    }
    let held = folder.hold_resources()?;
    let config = asks(folder, keyspace, wanted)?;
    let config = write_keyspace(&plane, keyspace, &config).await.with_context(|| {
        format!("the resources in {:?} are changed; say the same again", folder.resources())
    })?;
    drop(held);
    let count = in_words(config.groups);
    print::line(format_args!("{keyspace} is to have {count}"));
    if timeout_sec == 0 {
        return Ok(());
    }
    let until = began + Duration::from_secs(timeout_sec);
    let (mut said, mut at) = (String::new(), began);
    loop {
        match waits_for(&plane, keyspace, &config).await {
            None => break,
            Some(what) if Instant::now() >= until => {
                bail!(
                    "{what}; it goes on: see `cairn slots` and `cairn rebalance {keyspace} --plan`"
                )
            }
            Some(what) => {
                if what != said && at.elapsed() >= SAY_EVERY {
                    print::line(format_args!("waits: {what}"));
                    (said, at) = (what, Instant::now());
                }
                sleep(LOOK_EVERY).await;
            }
        }
    }
    let_go(folder, keyspace, config.groups).await?;
    let ms = began.elapsed().as_millis();
    print::line(format_args!("{keyspace} has {count}, {ms} ms"));
    Ok(())
}

fn in_words(groups: u16) -> String {
    format!("{groups} group{}", if groups == 1 { "" } else { "s" })
}

/// Changes the resources that are kept, once it is known that they fit; the caller holds them.
fn asks(folder: &Folder, keyspace: &str, wanted: Wanted) -> Result<KeyspaceConfig> {
    let path = folder.resources();
    let texts = manifest::read(std::slice::from_ref(&path))?;
    let text = texts.first().map_or("", |(_, text)| text);
    let new = edited(text, keyspace, wanted)?;
    let resources = manifest::parse(&[(path.clone(), new.clone())])?;
    let mut keyspaces = resources.keyspaces.iter();
    let resource = keyspaces.find(|it| it.metadata.name.as_deref() == Some(keyspace));
    let resource = resource.with_context(|| format!("there is no keyspace {keyspace:?}"))?;
    remember(folder, &[(path, new)])?;
    Ok(keyspace_config(resource, &resources))
}

/// The same resources but that the keyspace asks for what is wanted.
fn edited(text: &str, keyspace: &str, wanted: Wanted) -> Result<String> {
    let (mut documents, mut found) = (Vec::new(), false);
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut value = Value::deserialize(document).context("the resources are no YAML")?;
        let is_it = value.get("kind").and_then(Value::as_str) == Some("Keyspace")
            && value.get("metadata").and_then(|it| it.get("name")).and_then(Value::as_str)
                == Some(keyspace);
        if let Some(spec) = value.get_mut("spec").and_then(Value::as_mapping_mut).filter(|_| is_it)
        {
            found = true;
            let numbers = [("groups", wanted.groups), ("replicas", wanted.replicas.map(u16::from))];
            for (key, number) in numbers {
                if let Some(number) = number {
                    spec.insert(Value::from(key), Value::from(number));
                }
            }
        }
        documents.push(serde_yaml::to_string(&value).context("cannot write the resources")?);
    }
    ensure!(found, "there is no keyspace {keyspace:?} in this cluster");
    Ok(documents.join("---\n"))
}

/// What is missing until exactly the groups asked for have all slots; `None`: nothing.
async fn waits_for(plane: &Plane, keyspace: &str, config: &KeyspaceConfig) -> Option<String> {
    let topology = match Topology::read(plane).await {
        Ok(topology) => topology,
        Err(error) => return Some(format!("the directory does not answer: {error:#}")),
    };
    let mut known: Vec<&GroupId> = topology.groups.keys().collect();
    known.retain(|group| keyspace_of(group) == Some(keyspace));
    let wanted = (0..config.groups).map(|n| group_of(keyspace, n));
    for group in wanted {
        if topology.groups.get(&group).is_none_or(|record| record.master.is_none()) {
            return Some(format!("{group} has no master yet: is there a node for it?"));
        }
    }
    if let Some(group) = known.get(usize::from(config.groups)) {
        return Some(format!("{group} is not retired yet"));
    }
    let wish = Rebalance { keyspace: keyspace.to_owned(), action: Action::Plan.into() };
    match plane.wish_told(Body::Rebalance(wish)).await {
        Ok(told) if told.slots_rest => None,
        // What comes next; masters are spread later.
        Ok(told) => Some(told.lines.first().cloned().unwrap_or_default()),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// Stops this machine's own nodes of groups that are retired; their folders stay.
async fn let_go(folder: &Folder, keyspace: &str, groups: u16) -> Result<()> {
    let mut state = folder.state()?;
    let is_surplus = |id: &str| {
        let group = id.rsplit_once('-').map(|(group, _)| group);
        group.and_then(|group| number_of(keyspace, group)).is_some_and(|number| number >= groups)
    };
    let gone: Vec<String> = state.nodes.iter().map(|node| node.id.as_str().to_owned()).collect();
    for node in gone.into_iter().filter(|id| is_surplus(id)) {
        let done = control::order(folder, &Request::Stop { node: node.clone() }).await?;
        print::line(format_args!("{node}: {done}"));
    }
    let before = state.nodes.len();
    state.nodes.retain(|node| !is_surplus(node.id.as_str()));
    if state.nodes.len() < before { folder.save_state(&state) } else { Ok(()) }
}

/// Tells the planner of a keyspace what to do, or asks it.
pub async fn rebalance(place: &Place, keyspace: &str, what: RebalanceArgs) -> Result<()> {
    let (_, plane) = place.open().await?;
    let action = match what {
        RebalanceArgs { pause: true, .. } => Action::Pause,
        RebalanceArgs { resume: true, .. } => Action::Resume,
        RebalanceArgs { .. } => Action::Plan,
    };
    let wish = Rebalance { keyspace: keyspace.to_owned(), action: action.into() };
    for line in plane.wish(Body::Rebalance(wish)).await? {
        print::line(format_args!("{line}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\nmetadata: {name: demo}\n\
        spec: {}\n---\napiVersion: cairn.dev/v1alpha1\nkind: Keyspace\nmetadata: {name: t}\n\
        spec: {cluster: demo, groups: 1, backups: 1}\n";

    #[test]
    fn the_keyspace_asks_for_what_is_wanted_and_all_else_stays() {
        let wanted = Wanted { groups: Some(3), replicas: None };
        let text = edited(TEXT, "t", wanted).unwrap();
        let path = std::path::PathBuf::from("a.yaml");
        let resources = manifest::parse(&[(path.clone(), text.clone())]).unwrap();
        let spec = &resources.keyspaces[0].spec;
        assert_eq!((spec.groups, spec.replicas, spec.backups), (3, 1, 1));
        let again = edited(&text, "t", Wanted { groups: Some(1), replicas: Some(0) }).unwrap();
        let resources = manifest::parse(&[(path, again)]).unwrap();
        let spec = &resources.keyspaces[0].spec;
        assert_eq!((spec.groups, spec.replicas, spec.backups), (1, 0, 1));
    }

    #[test]
    fn what_is_asked_for_at_the_same_time_is_all_kept() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path()).unwrap();
        let keyspace =
            |n: u8| TEXT.split("---\n").nth(1).unwrap().replace("name: t", &format!("name: t{n}"));
        let head = TEXT.split("---\n").next().unwrap().to_owned();
        let all = (0..4).map(keyspace).fold(head, |all, one| format!("{all}---\n{one}"));
        remember(&folder, &[(folder.resources(), all)]).unwrap();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let folder = &folder;
                scope.spawn(move || {
                    for replicas in 0..=20 {
                        let wanted = Wanted { groups: None, replicas: Some(replicas % 2) };
                        let _held = folder.hold_resources().unwrap();
                        asks(folder, &format!("t{n}"), wanted).unwrap();
                    }
                });
            }
        });
        let texts = manifest::read(&[folder.resources()]).unwrap();
        let keyspaces = manifest::parse(&texts).unwrap().keyspaces;
        let replicas: Vec<i32> = keyspaces.iter().map(|it| it.spec.replicas).collect();
        assert_eq!(replicas, [0; 4], "20 % 2");
    }

    #[test]
    fn a_keyspace_that_is_not_there_is_refused() {
        let error = edited(TEXT, "u", Wanted { groups: Some(3), replicas: None }).unwrap_err();
        assert!(error.to_string().contains("no keyspace \"u\""), "{error}");
    }
}
