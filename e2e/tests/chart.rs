//! The chart, as helm renders it and as an API server takes it. Run by `cargo xtask test --api`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_e2e::kubectl::{Kubectl, answer, succeed};
use serde_json::Value;

const WHY: &str = "needs an API server: cargo xtask test --api";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn chart() -> String {
    root().join("charts/cairn").to_string_lossy().into_owned()
}

fn server() -> Kubectl {
    Kubectl::new(std::env::var("CAIRN_KUBE_APISERVER").expect(WHY), "default")
}

fn helm(arguments: &[&str]) -> Command {
    let mut helm = Command::new("helm");
    helm.args(arguments);
    helm
}

/// What `helm template` makes, document by document.
fn rendered(values: &[&str]) -> Vec<Value> {
    let chart = chart();
    let arguments = [&["template", "cairn", &chart, "--namespace", "cairn-system"], values];
    let text = succeed(&mut helm(&arguments.concat()), "").expect("the chart renders");
    let documents = serde_yaml::Deserializer::from_str(&text);
    let read = |document| -> Value { serde::Deserialize::deserialize(document).expect("YAML") };
    documents.map(read).filter(|value: &Value| !value.is_null()).collect()
}

fn kinds(values: &[&str]) -> BTreeSet<String> {
    let kind = |object: &Value| object["kind"].as_str().unwrap_or_default().to_owned();
    rendered(values).iter().map(kind).collect()
}

#[test]
#[ignore = "needs helm: cargo xtask test --api"]
fn helm_finds_nothing_to_complain_of() {
    let chart = chart();
    let output = succeed(&mut helm(&["lint", "--strict", &chart]), "").expect("helm lint passes");
    assert!(output.contains("0 chart(s) failed"), "{output}");
}

#[test]
#[ignore = "needs helm: cargo xtask test --api"]
fn each_switch_adds_or_takes_what_it_says() {
    let plain = kinds(&[]);
    for kind in ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "CustomResourceDefinition"] {
        assert!(plain.contains(kind), "{kind} is not in {plain:?}");
    }
    let switches = [
        ("serviceMonitor", "ServiceMonitor"),
        ("podMonitor", "PodMonitor"),
        ("prometheusRule", "PrometheusRule"),
    ];
    for (switch, kind) in switches {
        assert!(!plain.contains(kind), "{kind} is in {plain:?}");
        let switch = format!("{switch}.enabled=true");
        assert!(kinds(&["--set", &switch]).contains(kind), "{switch} adds no {kind}");
    }
    for (switch, kind) in [
        ("crds.install=false", "CustomResourceDefinition"),
        ("networkPolicy.enabled=false", "NetworkPolicy"),
        ("podDisruptionBudget.enabled=false", "PodDisruptionBudget"),
        ("operator.replicas=1", "PodDisruptionBudget"),
        ("serviceAccount.name=mine", "ServiceAccount"),
    ] {
        assert!(!kinds(&["--set", switch]).contains(kind), "{switch} leaves {kind}");
    }
}

#[test]
#[ignore = "needs helm: cargo xtask test --api"]
fn wrong_values_are_refused_by_name() {
    let chart = chart();
    for (switch, words) in [
        ("operator.replica=2", "replica"),
        ("operator.replicas=9", "replicas"),
        ("prometheusRule.checkpointAgeSeconds=1", "checkpointAgeSeconds"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.digest=latest", "digest"),
    ] {
        let answer = answer(&mut helm(&["template", "cairn", &chart, "--set", switch]), "");
        let answer = answer.expect("helm runs");
        assert!(!answer.succeeded && answer.complaint.contains(words), "{switch}: {answer:?}");
    }
}

#[test]
#[ignore = "needs helm: cargo xtask test --api"]
fn no_right_is_a_star() {
    for namespaced in ["true", "false"] {
        let switch = format!("operator.namespaced={namespaced}");
        for object in rendered(&["--set", &switch]) {
            let Some(rules) = object["rules"].as_array() else { continue };
            let text = serde_json::to_string(rules).expect("plain data");
            assert!(!text.contains("\"*\""), "{text}");
            let outside = object["kind"] == "ClusterRole" && namespaced == "true";
            assert!(!outside || !text.contains("secrets"), "{text}");
        }
    }
}

#[test]
#[ignore = "needs an API server: cargo xtask test --api"]
fn releases_live_side_by_side_and_are_upgraded() {
    let server = server();
    let chart = chart();
    let crds = root().join("crds").to_string_lossy().into_owned();
    let none = ["delete", "--ignore-not-found", "--timeout=60s", "-f", &crds];
    server.run(none).expect("our kinds can be taken away");
    for namespace in ["one", "two"] {
        let install = ["install", "cairn", &chart, "--create-namespace", "--set"];
        let mut install: Vec<&str> = install.to_vec();
        install.push("operator.namespaced=true");
        let mut helm = server.within(namespace).program("helm", install);
        succeed(&mut helm, "").expect("the chart is installed");
    }
    let crd = server.get(&["crd/clusters.cairn.dev"]).expect("the kind is there");
    let owner = &crd["metadata"]["annotations"]["meta.helm.sh/release-namespace"];
    assert_eq!(owner, "one");
    let upgrade = ["upgrade", "cairn", &chart, "--set", "operator.replicas=3"];
    let mut helm = server.within("one").program("helm", upgrade);
    succeed(&mut helm, "").expect("the chart is upgraded");
    let operator = server.within("one").get(&["deployment/cairn-operator"]).expect("it is there");
    assert_eq!(operator["spec"]["replicas"], 3);
    for namespace in ["one", "two"] {
        let mut helm = server.within(namespace).program("helm", ["uninstall", "cairn"]);
        succeed(&mut helm, "").expect("the chart is uninstalled");
    }
    server.get(&["crd/clusters.cairn.dev"]).expect("the kinds stay, and with them all clusters");
}

#[test]
#[ignore = "needs an API server: cargo xtask test --api"]
fn the_api_server_takes_every_manifest() {
    let server = server().within("cairn-system");
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: cairn-system}}";
    server.apply(namespace).expect("a namespace is made");
    let file = root().join("manifests/install.yaml").to_string_lossy().into_owned();
    let arguments = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f"];
    let output = server.run(arguments.iter().copied().chain([file.as_str()])).expect("it is taken");
    assert!(output.lines().count() >= 10, "{output}");
}
