//! What `cairn up` and its fellows say when they cannot do what is asked.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const RESOURCES: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\n\
    metadata: {name: demo}\nspec: {}\n---\napiVersion: cairn.dev/v1alpha1\n\
    kind: Keyspace\nmetadata: {name: t}\nspec: {cluster: demo}\n";

fn cairn(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cairn"))
        .args(arguments)
        .arg("--dir")
        .arg(dir.join("c"))
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("cairn can be run")
}

fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = cairn(dir, arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder for the test");
    fs::write(dir.path().join("a.yaml"), RESOURCES).expect("writable");
    dir
}

#[test]
fn without_a_cluster_every_command_says_how_to_get_one() {
    let dir = folder();
    for command in [&["status"][..], &["down"], &["stop", "x"], &["why", "t-0"], &["tails"]] {
        let error = refused(dir.path(), command);
        assert!(error.contains("there is no cluster in"), "{command:?}: {error}");
        assert!(error.contains("cairn up FILE"), "{command:?}: {error}");
    }
    assert!(refused(dir.path(), &["up"]).contains("samples/local.yaml"));
}

#[test]
fn a_bad_file_starts_nothing_and_leaves_nothing() {
    let dir = folder();
    fs::write(dir.path().join("b.yaml"), RESOURCES.replace("cluster: demo", "clustr: demo"))
        .unwrap();
    let error = refused(dir.path(), &["up", "b.yaml"]);
    assert!(error.contains("b.yaml, document 2: spec"), "{error}");
    assert!(error.contains("`clustr`") && error.contains("`cluster`"), "{error}");
    assert!(refused(dir.path(), &["up", "none.yaml"]).contains("none.yaml"));
    assert!(!dir.path().join("c").exists());
}

#[test]
fn a_missing_node_program_is_named_with_what_to_do() {
    let dir = folder();
    let error = refused(dir.path(), &["up", "a.yaml", "--node-binary", "/no/such/program"]);
    assert!(error.contains("/no/such/program"), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let arguments = ["up", "a.yaml", "--node-binary", "/bin/sh", "--port-base", &port];
    let error = refused(dir.path(), &arguments);
    assert!(error.contains(&port) && error.contains("--port-base"), "{error}");
}

/// The program is no node, so the cluster never gets ready; everything before that is looked at.
#[test]
fn a_program_that_is_no_node_is_reported_with_its_log() {
    let dir = folder();
    let arguments = ["up", "a.yaml", "--node-binary", "/bin/sh", "--timeout-sec", "20"];
    let error = refused(dir.path(), &arguments);
    assert!(error.contains("ends again and again"), "{error}");
    assert!(error.contains("left running"), "{error}");
    let state = fs::read_to_string(dir.path().join("c/cluster.json")).unwrap();
    assert!(state.contains("\"founded\": false"), "{state}");
    let settings = fs::read_to_string(dir.path().join("c/settings/t-0-0.json")).unwrap();
    assert!(settings.contains("\"preferredGroup\": \"t-0\""), "{settings}");
    assert!(refused(dir.path(), &["up", "a.yaml"]).contains("already up"));
    assert!(cairn(dir.path(), &["down"]).status.success());
    fs::write(dir.path().join("d.yaml"), RESOURCES.replace("demo", "other")).unwrap();
    let other = ["up", "d.yaml", "--node-binary", "/bin/sh"];
    assert!(refused(dir.path(), &other).contains("belongs to the cluster \"demo\""));
    fs::write(dir.path().join("e.yaml"), RESOURCES.replace("name: t}", "name: u}")).unwrap();
    let fewer = ["up", "e.yaml", "--node-binary", "/bin/sh"];
    assert!(refused(dir.path(), &fewer).contains("no longer ask for t-0-0"));
    let state = state.replace("\"format\": 1", "\"format\": 7");
    fs::write(dir.path().join("c/cluster.json"), state).unwrap();
    assert!(refused(dir.path(), &["up"]).contains("format 7"));
}

#[test]
fn every_sample_is_a_valid_set_of_resources() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let mut count = 0;
    for entry in fs::read_dir(samples).unwrap() {
        let dir = tempfile::tempdir().unwrap();
        let sample = entry.unwrap().path();
        let sample = sample.to_str().unwrap();
        // The resources are read before the program is looked for.
        let error = refused(dir.path(), &["up", sample, "--node-binary", "/no/such/program"]);
        // Archives are kept by the command line here, and by resources on Kubernetes.
        let text = fs::read_to_string(sample).unwrap();
        let archives = text.contains("kind: Backup") || text.contains("kind: Restore");
        let expected = if archives { ": kind: " } else { "/no/such/program" };
        assert!(error.contains(expected), "{sample}: {error}");
        count += 1;
    }
    assert!(count >= 3);
}
