//! Probes and figures over a real socket; the page is as the names are.

use super::*;
use crate::snapshots::Newest;
use cairn_logic::ids::{EntryId, Epoch};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, names::page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == names::page(), "docs/metrics.md is stale: run `cargo xtask codegen`");
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for metric in names::METRICS {
        assert!(metric.name.starts_with("cairn_node_"), "{}", metric.name);
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"));
        assert!(metric.help.ends_with('.'), "{}", metric.name);
        let same = names::METRICS.iter().filter(|other| other.name == metric.name).count();
        assert_eq!(same, 1, "{}", metric.name);
    }
}

fn log(kind: pb::PositionKind, silence_ms: u64) -> pb::LogStatus {
    let position = pb::Position { kind: kind.into(), epoch: 3 };
    pb::LogStatus {
        group: "k-0".to_owned(),
        position: Some(position),
        master_silence_ms: silence_ms,
        ..pb::LogStatus::default()
    }
}

#[test]
fn who_serves_or_follows_closely_is_ready() {
    use pb::PositionKind::{Elect, Follower, Learner, Master};
    let record: Record = serde_json::from_str(
        r#"{"version":1,"epoch":3,"master":null,"members":[],"rule":"one","wanted":3,
            "durability":{"flushed":false,"zones":1},"attempt":3,"open":false}"#,
    )
    .unwrap();
    let (near, far) = ((3, Duration::from_millis(20)), (900, Duration::from_secs(4)));
    let bounds = (Duration::from_secs(15), Duration::from_secs(1));
    let why = |kind, silence_ms, known: bool, loading, lag| {
        unready(&log(kind, silence_ms), Some(&record).filter(|_| known), loading, lag, bounds)
    };
    assert_eq!(why(Master, 0, true, false, near), None);
    assert_eq!(why(Follower, 90, true, false, near), None);
    for (unready, word) in [
        (why(Master, 0, true, true, near), "loaded"),
        (why(Follower, 90, false, false, near), "record"),
        (why(Follower, 16_000, true, false, near), "not heard"),
        (why(Follower, 90, true, false, far), "900 entries"),
        (why(Learner, 90, true, false, near), "learns"),
        (why(Elect, 90, true, false, near), "about to"),
    ] {
        assert!(unready.as_ref().is_some_and(|why| why.contains(word)), "{word}: {unready:?}");
    }
}

/// Asks a node whose control loop answers with `facts`, or never.
async fn get(request: &str, facts: Option<Facts>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (inbox, mut queue) = mpsc::channel(4);
    spawn(listener, inbox);
    tokio::spawn(async move {
        let mut facts = facts;
        while let Some(inbound) = queue.recv().await {
            if let (Inbound::Facts(reply), Some(facts)) = (inbound, facts.take()) {
                reply.send(Ok(facts)).ok();
            }
        }
    });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Who is refused while still speaking may see a reset.
    stream.read_to_string(&mut answer).await.ok();
    answer
}

fn facts() -> Facts {
    let moves = pb::MoveStatus { since_ms: 1500, ..pb::MoveStatus::default() };
    let status = pb::StatusReply {
        role: "data".to_owned(),
        version: "1.2.3".to_owned(),
        rss_bytes: 4096,
        logs: vec![pb::LogStatus { moves: vec![moves], ..log(pb::PositionKind::Follower, 250) }],
        ..pb::StatusReply::default()
    };
    let room = Some(Room { free_bytes: 7, ..Room::default() });
    let newest = Newest {
        from: EntryId::new(Epoch(1), Offset(4)),
        made_ms: crate::clock::unix_ms() - 60_000,
        bytes: 77,
        hash: 0,
    };
    let snapshots = Some(Figures { newest: Some(newest), set_aside: 2, ..Figures::default() });
    let lag = Some((5, Duration::from_millis(500)));
    let name = "warm".to_owned();
    let zones = [("a".to_owned(), 1), ("b".to_owned(), 0)].into();
    let (idle_min, idle, claimed, zone_min) = (2, 1, 3, 1);
    let pools = vec![Pool { name, idle_min, idle, claimed, zone_min, zones, ..Pool::default() }];
    Facts { status, room, snapshots, before: Some(Offset(3)), lag, pools, ..Facts::default() }
}

#[tokio::test]
async fn probes_and_figures_are_answered() {
    let ready = get("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n", Some(facts())).await;
    assert!(ready.starts_with("HTTP/1.1 200 OK\r\n") && ready.ends_with("ok\n"), "{ready}");
    let unready = Facts { unready: Some("it learns".to_owned()), ..facts() };
    let answer = get("GET /readyz HTTP/1.1\r\n\r\n", Some(unready)).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("it learns\n"), "{answer}");
    let figures = get("GET /metrics HTTP/1.1\r\n\r\n", Some(facts())).await;
    for line in [
        "cairn_node_info{role=\"data\",version=\"1.2.3\"} 1.0\n",
        "cairn_node_position{position=\"follower\"} 1.0\n",
        "cairn_node_position{position=\"master\"} 0.0\n",
        "cairn_node_condition{reason=\"DiskLow\"} 0.0\n",
        "cairn_node_master_silence_seconds 0.25",
        "cairn_node_lag_entries 5",
        "cairn_node_lag_seconds 0.5",
        "cairn_node_move_seconds 1.5",
        "cairn_node_disk_free_bytes 7",
        "cairn_node_log_before_offset 3",
        "cairn_node_snapshot_age_seconds 6",
        "cairn_node_snapshot_bytes 77",
        "cairn_node_snapshots_set_aside_total 2",
        "cairn_node_condition{reason=\"LogNearBound\"} 0.0\n",
        "cairn_node_condition{reason=\"CopiesDiffer\"} 0.0\n",
        "cairn_node_spares{state=\"claimed\"} 3.0\n",
        "cairn_node_zone_spares_missing{zone=\"a\"} 0.0\n",
        "cairn_node_zone_spares_missing{zone=\"b\"} 1.0\n",
        "cairn_node_pools_exhausted 1",
        "# EOF",
    ] {
        assert!(figures.contains(line), "{line} is missing in {figures}");
    }
    let head = get("HEAD /livez HTTP/1.1\r\n\r\n", Some(facts())).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = get("POST /livez HTTP/1.1\r\n\r\n", Some(facts())).await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    let other = get("GET / HTTP/1.1\r\n\r\n", Some(facts())).await;
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    let long = get(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)), Some(facts())).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431 "), "{long}");
}

#[tokio::test]
async fn a_control_loop_that_does_not_answer_is_not_alive() {
    let answer = get("GET /livez HTTP/1.1\r\n\r\n", None).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("does not turn"), "{answer}");
}
