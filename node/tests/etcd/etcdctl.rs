//! The stock `etcdctl` (Debian package `etcd-client`); where it is not installed, the test says so.

use super::etcd::server::Server;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

struct Etcdctl {
    endpoint: String,
}

impl Etcdctl {
    async fn of(server: &Server) -> Option<Self> {
        let found = Command::new("etcdctl").arg("version").output().await;
        if found.is_err() {
            eprintln!("etcdctl is not installed: not tested (apt-get install etcd-client)");
            return None;
        }
        Some(Self { endpoint: server.clients.to_string() })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(&self.endpoint);
        command.args(arguments.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Runs it and gives back whether it succeeded and what it wrote.
    async fn say(&self, arguments: &str, input: &str) -> (bool, String) {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let done = timeout(Duration::from_secs(20), child.wait_with_output()).await;
        let done = done.expect("etcdctl ends").unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(text).unwrap())
    }

    async fn run(&self, arguments: &str) -> String {
        let (succeeded, text) = self.say(arguments, "").await;
        assert!(succeeded, "etcdctl {arguments}: {text}");
        text
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_keeps_keys_and_runs_transactions() {
    let server = Server::start().await;
    let Some(ctl) = Etcdctl::of(&server).await else { return };
    assert_eq!(ctl.run("put fruit/a apple").await, "OK\n");
    ctl.run("put fruit/b banana").await;
    assert_eq!(ctl.run("get fruit/a --print-value-only").await, "apple\n");
    assert_eq!(ctl.run("get fruit/ --prefix --keys-only").await, "fruit/a\n\nfruit/b\n\n");
    let newest = "get fruit/ --prefix --sort-by=MODIFY --order=DESCEND --limit=1";
    assert_eq!(ctl.run(newest).await, "fruit/b\nbanana\n");
    let txn = "value(\"fruit/a\") = \"apple\"\n\nput fruit/a avocado\nget fruit/b\n\nget x\n\n";
    let (_, told) = ctl.say("txn", txn).await;
    assert_eq!(told, "SUCCESS\n\nOK\n\nfruit/b\nbanana\n");
    let (_, told) = ctl.say("txn", txn).await;
    assert_eq!(told, "FAILURE\n\n", "the other branch found no key");
    assert_eq!(ctl.run("get fruit/a --rev=2 --print-value-only").await, "apple\n");
    ctl.run("compact 4").await;
    let (succeeded, told) = ctl.say("get fruit/a --rev=2", "").await;
    assert!(!succeeded && told.contains("required revision has been compacted"), "{told}");
    let (succeeded, told) = ctl.say("put /cairn/x y", "").await;
    assert!(!succeeded && told.contains("permission denied"), "{told}");
    assert_eq!(ctl.run("del fruit/ --prefix").await, "2\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_watches_past_and_present() {
    let server = Server::start().await;
    let Some(ctl) = Etcdctl::of(&server).await else { return };
    ctl.run("put w/a 1").await;
    let mut watch = ctl.command("watch w/ --prefix --rev=2 --prev-kv").spawn().unwrap();
    let mut told = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines(&mut told, 3).await, ["PUT", "w/a", "1"]);
    ctl.run("put w/b 2").await;
    ctl.run("del w/a").await;
    assert_eq!(lines(&mut told, 3).await, ["PUT", "w/b", "2"]);
    assert_eq!(lines(&mut told, 5).await, ["DELETE", "w/a", "1", "w/a", ""]);
    watch.kill().await.unwrap();
}

async fn lines(told: &mut Lines<BufReader<ChildStdout>>, count: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < count {
        let line = timeout(Duration::from_secs(20), told.next_line()).await;
        read.push(line.expect("etcdctl says more").unwrap().expect("etcdctl goes on"));
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_holds_leases_locks_and_elections() {
    let server = Server::start().await;
    let Some(ctl) = Etcdctl::of(&server).await else { return };
    let granted = ctl.run("lease grant 60").await;
    let id = granted.split(' ').nth(1).unwrap().to_owned();
    ctl.run(&format!("put leased v --lease={id}")).await;
    let kept = ctl.run(&format!("lease keep-alive --once {id}")).await;
    assert!(kept.contains("keepalived with TTL(60)"), "{kept}");
    let left = ctl.run(&format!("lease timetolive {id} --keys")).await;
    assert!(left.contains("granted with TTL(60s)") && left.contains("leased"), "{left}");
    assert!(ctl.run("lease list").await.contains(&id));
    ctl.run(&format!("lease revoke {id}")).await;
    assert_eq!(ctl.run("get leased").await, "");
    let (succeeded, told) = ctl.say(&format!("lease revoke {id}"), "").await;
    assert!(!succeeded && told.contains("requested lease not found"), "{told}");
    let locked = ctl.run("lock mutex echo held").await;
    assert!(locked.contains("held"), "{locked}");
    assert_eq!(ctl.run("get mutex --prefix --keys-only").await, "", "the lock is released");
    let mut leader = ctl.command("elect city paris").spawn().unwrap();
    let mut known = String::new();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        known = ctl.run("get city --prefix --print-value-only").await;
        if !known.is_empty() {
            break;
        }
    }
    leader.kill().await.unwrap();
    assert_eq!(known, "paris\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_sees_a_healthy_member() {
    let server = Server::start().await;
    let Some(ctl) = Etcdctl::of(&server).await else { return };
    ctl.run("put a 1").await;
    assert!(ctl.run("member list").await.contains("started, global-0"));
    let healthy = ctl.run("endpoint health").await;
    assert!(healthy.contains("is healthy"), "{healthy}");
    let status = ctl.run("endpoint status -w fields").await;
    assert!(status.contains("\"Leader\" : 1"), "{status}");
    ctl.run("endpoint hashkv").await;
    assert_eq!(ctl.run("alarm list").await, "");
    ctl.run("defrag").await;
    let (succeeded, told) = ctl.say("user add someone:secret", "").await;
    assert!(!succeeded && told.contains("not supported"), "{told}");
    let (succeeded, told) = ctl.say("member remove 1", "").await;
    assert!(!succeeded && told.contains("Cluster resource"), "{told}");
}
