//! Each rule as a table, judged in both languages: CEL from the rendered CRD, and Rust.

use cairn_crd::{Backup, Cluster, Group, Keyspace, Problem, Restore, SparePool, crds};
use kube::core::cel::Validator;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use table::{Case, all_cases, change_cases};

#[path = "rules/table.rs"]
mod table;

/// The schema of a kind as the rendered CRD has it.
fn schema(plural: &str) -> Value {
    let all = crds();
    let (_, yaml) = all.iter().find(|(file, _)| *file == format!("{plural}.yaml")).expect(plural);
    let crd: Value = serde_yaml::from_str(yaml).expect("rendered YAML is YAML");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The messages of the rules that the API server would give.
fn cel(schema: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(schema, new, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_iter().map(|e| e.message).collect(),
    }
}

/// Fills in the defaults, as the API server does before it looks at the rules.
fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> (T, Value) {
    let mut object = object.clone();
    object["apiVersion"] = json!("cairn.dev/v1alpha1");
    object["kind"] = json!(std::any::type_name::<T>().rsplit("::").next());
    let value: T = serde_json::from_value(object).expect("the types allow it");
    let filled = serde_json::to_value(&value).expect("plain data");
    (value, filled)
}

macro_rules! judge {
    ($type:ty, $new:expr, $old:expr) => {{
        let (new, new_json) = typed::<$type>($new);
        let old = $old.map(typed::<$type>);
        let problems = match &old {
            Some((old, _)) => new.problems_changing(old),
            None => new.problems(),
        };
        (problems, new_json, old.map(|(_, json)| json))
    }};
}

fn judge(kind: &str, new: &Value, old: Option<&Value>) -> (Vec<Problem>, Vec<String>) {
    let (problems, new, old) = match kind {
        "clusters" => judge!(Cluster, new, old),
        "keyspaces" => judge!(Keyspace, new, old),
        "backups" => judge!(Backup, new, old),
        "restores" => judge!(Restore, new, old),
        "sparepools" => judge!(SparePool, new, old),
        _ => judge!(Group, new, old),
    };
    (problems, cel(&schema(kind), &new, old.as_ref()))
}

fn check(case: &Case, new: &Value, old: Option<&Value>) {
    let what = format!("{} {:?}", case.kind, case.set);
    let (rust, cel) = judge(case.kind, new, old);
    match case.refused {
        None => {
            assert_eq!(rust, [], "{what}");
            assert!(cel.is_empty(), "{what}: {cel:?}");
        }
        Some((path, words)) => {
            let problem = rust.iter().find(|p| p.path == path && p.message.contains(words));
            let problem = problem.unwrap_or_else(|| panic!("{what}: {rust:?}"));
            // The API server is not told the path of rules about names: their message says it.
            let told = match problem.path.starts_with("metadata.") {
                true => format!("{} {}", problem.path, problem.message),
                false => problem.message.clone(),
            };
            assert!(cel.contains(&told), "{what}: {told} not in {cel:?}");
        }
    }
}

#[test]
fn both_languages_say_the_same_of_each_resource() {
    for case in all_cases() {
        check(&case, &case.object(), None);
    }
}

#[test]
fn both_languages_say_the_same_of_each_change() {
    for case in change_cases() {
        check(&case, &case.object(), Some(&case.base()));
    }
}

#[test]
fn every_rule_is_broken_by_a_row() {
    let rows: Vec<_> = all_cases().chain(change_cases()).filter_map(|c| c.refused).collect();
    let check = |path: &str, message: &str| {
        let seen = rows.iter().any(|(p, words)| *p == path && message.contains(words));
        // One row stands for the range and for the spelling of every span and size.
        let like = message.starts_with("must be a whole number") || message.contains(" to ");
        assert!(seen || like, "no row breaks {path}: {message}");
    };
    cairn_crd::rules::cluster().iter().for_each(|r| check(&r.path, &r.message));
    cairn_crd::rules::group().iter().for_each(|r| check(&r.path, &r.message));
    cairn_crd::rules::backup().iter().for_each(|r| check(&r.path, &r.message));
    cairn_crd::rules::restore().iter().for_each(|r| check(&r.path, &r.message));
    let repeated = [
        "spec.storage.size",
        "spec.storage.className",
        "spec.pods.image",
        "spec.pods.imagePullSecrets",
    ];
    let keyspace = cairn_crd::rules::keyspace();
    let pool = cairn_crd::rules::spare_pool();
    let rules = keyspace.iter().map(|r| (&r.path, &r.message));
    for (path, message) in rules.chain(pool.iter().map(|r| (&r.path, &r.message))) {
        if !repeated.contains(&path.as_str()) {
            check(path, message);
        }
    }
}
