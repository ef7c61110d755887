//! What a real API server says of our resources. Run by `cargo xtask test --api`.
//!
//! The rows are those that the rules are held to without a cluster: here the API server's own CEL
//! judges them, on objects that it has filled in itself.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cairn_e2e::kubectl::{Answer, Kubectl};
use serde_json::{Value, json};
use table::{Case, all_cases, change_cases, valid};

#[path = "../../crates/crd/tests/rules/table.rs"]
mod table;

const WHY: &str = "needs an API server: cargo xtask test --api";
/// The plurals of our kinds.
const KINDS: [&str; 6] = ["backups", "clusters", "groups", "keyspaces", "restores", "sparepools"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The API server, with our kinds established.
fn server() -> Kubectl {
    static READY: OnceLock<Kubectl> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        let kubeconfig = std::env::var("CAIRN_KUBE_APISERVER").expect(WHY);
        let kubectl = Kubectl::new(kubeconfig, "default");
        let crds = root().join("crds");
        let applied = kubectl.run(["apply", "--server-side", "-f", &crds.to_string_lossy()]);
        applied.expect("the API server takes our kinds");
        for name in KINDS {
            let kind = format!("crd/{name}.cairn.dev");
            let wait = ["wait", "--for=condition=Established", &kind, "--timeout=60s"];
            kubectl.run(wait).expect("the API server serves our kinds");
        }
        kubectl
    });
    ready.clone()
}

/// A namespace of a test's own.
fn namespace(name: &str) -> Kubectl {
    let server = server();
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    server.apply(&object.to_string()).expect("a namespace is made");
    server.within(name)
}

/// The object as a person would write it.
fn full(kind: &str, mut object: Value) -> Value {
    let kind = match kind {
        "clusters" => "Cluster",
        "keyspaces" => "Keyspace",
        "backups" => "Backup",
        "restores" => "Restore",
        "sparepools" => "SparePool",
        _ => "Group",
    };
    object["apiVersion"] = json!("cairn.dev/v1alpha1");
    object["kind"] = json!(kind);
    object
}

fn judge(case: &Case, answer: &Answer) -> Option<String> {
    let what = format!("{} {:?}", case.kind, case.set);
    match case.refused {
        None if answer.succeeded => None,
        None => Some(format!("{what} is refused: {}", answer.complaint)),
        Some(_) if answer.succeeded => Some(format!("{what} is accepted")),
        Some((path, words)) => {
            // Of a rule about the name the API server says no field: `metadata` is its own.
            let field = path == "metadata.name" || answer.complaint.contains(path);
            let told = field && answer.complaint.contains(words);
            (!told).then(|| format!("{what}: no {path} and {words:?} in {}", answer.complaint))
        }
    }
}

fn refusals(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[ignore = "needs an API server: cargo xtask test --api"]
fn the_api_server_says_of_each_resource_what_the_table_says() {
    let server = namespace("rows");
    let ask = |case: Case| {
        let object = full(case.kind, case.object()).to_string();
        let answer = server.ask(["create", "--dry-run=server", "-f", "-"], &object);
        judge(&case, &answer.expect("kubectl runs"))
    };
    refusals(&all_cases().filter_map(ask).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs an API server: cargo xtask test --api"]
fn the_api_server_says_of_each_change_what_the_table_says() {
    let server = namespace("changes");
    for kind in KINDS {
        server.apply(&full(kind, valid(kind)).to_string()).expect("a valid object is taken");
    }
    let ask = |case: Case| {
        if !case.old.is_empty() {
            server.apply(&full(case.kind, case.base()).to_string()).expect("a valid object");
        }
        let object = full(case.kind, case.object()).to_string();
        let arguments = ["apply", "--server-side", "--force-conflicts", "--dry-run=server"];
        let answer = server.ask(arguments.into_iter().chain(["-f", "-"]), &object);
        judge(&case, &answer.expect("kubectl runs"))
    };
    refusals(&change_cases().into_iter().filter_map(ask).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs an API server: cargo xtask test --api"]
fn the_api_server_takes_every_sample() {
    let server = namespace("samples");
    let mut faults = Vec::new();
    let mut seen = 0;
    for folder in ["samples", "xtask/clusters", "manifests/samples"] {
        let Ok(files) = std::fs::read_dir(root().join(folder)) else { continue };
        for file in files {
            let file = file.expect("a folder can be read").path();
            let arguments = ["apply", "--dry-run=server", "-f", &file.to_string_lossy()];
            let answer = server.ask(arguments, "").expect("kubectl runs");
            seen += 1;
            if !answer.succeeded {
                faults.push(format!("{}: {}", file.display(), answer.complaint));
            }
        }
    }
    assert!(seen >= 3, "only {seen} samples");
    refusals(&faults);
}

#[test]
#[ignore = "needs an API server: cargo xtask test --api"]
fn people_see_columns_short_names_and_a_scale() {
    let server = namespace("people");
    for kind in KINDS {
        server.apply(&full(kind, valid(kind)).to_string()).expect("a valid object is taken");
    }
    let all = server.run(["get", "cairn"]).expect("the category is known");
    for name in [
        "cluster.cairn.dev/demo",
        "keyspace.cairn.dev/tweets",
        "group.cairn.dev/tweets-0",
        "backup.cairn.dev/nightly",
        "restore.cairn.dev/back",
    ] {
        assert!(all.contains(name), "{all}");
    }
    let columns = server.run(["get", "ks", "tweets"]).expect("the short name is known");
    let head = columns.lines().next().unwrap_or_default();
    let head: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(head, ["NAME", "CLUSTER", "GROUPS", "READY", "ACK", "SLOTS", "AGE"]);
    server.run(["scale", "ks/tweets", "--replicas=4"]).expect("a keyspace can be scaled");
    let scaled = server.get(&["ks/tweets"]).expect("it is there");
    assert_eq!(scaled["spec"]["groups"], 4);
    let refused = server.ask(["scale", "ks/tweets", "--replicas=2000"], "").expect("kubectl runs");
    assert!(!refused.succeeded && refused.complaint.contains("1 to 1024"), "{refused:?}");
}
