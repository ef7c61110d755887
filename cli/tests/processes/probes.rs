//! Probes and figures of every role, over plain HTTP as a kubelet and Prometheus ask.

use crate::support::World;
use cairn_harness::cluster::Node;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The status code and the body; none if nothing is answered within a second.
fn get(node: &Node, path: &str) -> Option<(u16, String)> {
    let address = format!("127.0.0.1:{}", node.ports[4]);
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: node\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let code = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1.to_owned();
    Some((code, body))
}

/// One of a node's figures, of those without labels.
pub fn figure(node: &Node, name: &str) -> Option<f64> {
    let (_, text) = get(node, "/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn is_ready(node: &Node) -> bool {
    get(node, "/readyz").is_some_and(|(code, _)| code == 200)
}

#[test]
fn every_role_answers_probes_with_its_own_truth() {
    let world = World::up();
    for node in world.cluster.nodes() {
        world.eventually("it is ready", |_| is_ready(node));
        for path in ["/startupz", "/livez"] {
            assert_eq!(get(node, path), Some((200, "ok\n".to_owned())), "{} {path}", node.id);
        }
        let (code, figures) = get(node, "/metrics").expect("an answer");
        assert_eq!(code, 200);
        for line in ["cairn_node_ready 1.0", "cairn_node_info{role=\"", "# EOF\n"] {
            assert!(figures.contains(line), "{}: no {line} in {figures}", node.id);
        }
    }
    let master = world.master();
    let (_, figures) = get(&master, "/metrics").expect("an answer");
    assert!(figures.contains("cairn_node_members 3.0"), "{figures}");
    assert!(figures.contains("cairn_node_position{position=\"master\"} 1.0"), "{figures}");

    // A member without a master for long is not ready, and says why; it lives on.
    let others = world.cluster.nodes().iter().filter(|node| node.id.starts_with("t-0-"));
    let others: Vec<&Node> = others.filter(|node| node.id != master.id).collect();
    world.cluster.freeze(&master.id).expect("it runs");
    assert_eq!(get(&master, "/livez"), None, "a frozen process answers no probe");
    world.cluster.thaw(&master.id).expect("it is there");
    world.whole();
    world.cluster.kill(&others[0].id, true).expect("it runs");
    assert_eq!(get(others[0], "/readyz"), None);
    world.cluster.start(&others[0].id).expect("it is started");
    let mut reasons = std::collections::BTreeSet::new();
    world.eventually("it is ready again", |_| match get(others[0], "/readyz") {
        Some((200, _)) => true,
        Some((_, why)) => {
            reasons.insert(why);
            false
        }
        None => false,
    });
    eprintln!("not ready on the way, because: {reasons:?}");
    world.whole();
}
