//! `cargo xtask interop`: stock clients of Redis and etcd, unmodified, also while masters die.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::client::Client;
use cairn_harness::client::Patience;
use cairn_harness::clock::wait_until;
use cairn_harness::cluster::Cluster;

use crate::run::{command, read};
use crate::verdict::Verdict;
use crate::{product, setup};

/// How long a single request of a client may be repeated.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// Writes that a watch must report, in order.
const WATCHED: usize = 20;

type Story = fn(&Cluster) -> Result<()>;

const STORIES: [(&str, Story); 7] = [
    ("redis-cli --cluster check finds nothing wrong", redis_cli_check),
    ("redis-cli -c reads what it wrote", redis_cli_writes),
    ("valkey-benchmark --cluster runs", valkey_benchmark),
    ("redis-py RedisCluster, RESP2 and RESP3", redis_py),
    ("etcdctl put, get, txn, del", etcdctl_basics),
    ("etcdctl lease: a key goes with it", etcdctl_lease),
    ("etcdctl watch and a lease outlive the global master", etcdctl_takeover),
];

/// Tells all stories on one cluster; whether each went well.
///
/// # Errors
/// If the cluster cannot be built or started.
pub fn run() -> Result<bool> {
    setup::run(&setup::Args::for_test())?;
    let programs = product::build()?;
    let cluster = product::cluster(&programs, "interop", "samples/local.yaml")?;
    let mut failed = 0;
    for (name, story) in STORIES {
        match story(&cluster) {
            Ok(()) => println!("ok: {name}"),
            Err(error) => {
                println!("FAILED: {name}: {error:#}");
                failed += 1;
            }
        }
    }
    Verdict::new("interop").count("passed", STORIES.len() - failed).count("failed", failed).judge()
}

/// A port where Redis clients are served.
fn redis_port(cluster: &Cluster) -> Result<String> {
    let mut client = Client::new(&cluster.seeds(), Patience::default());
    ensure!(client.wait_covered(REQUEST_LIMIT), "not every slot has a master");
    let master = client.routes().master(0).context("slot 0 has no master")?;
    Ok(master.rsplit(':').next().unwrap_or_default().to_owned())
}

fn redis_cli_check(cluster: &Cluster) -> Result<()> {
    let endpoint = format!("127.0.0.1:{}", redis_port(cluster)?);
    let text = read(&mut command("redis-cli", ["--cluster", "check", &endpoint]))?;
    ensure!(text.contains("All nodes agree about slots configuration"), "{text}");
    ensure!(text.contains("All 16384 slots covered"), "{text}");
    ensure!(!text.contains("[ERR]") && !text.contains("[WARNING]"), "{text}");
    Ok(())
}

fn redis_cli_writes(cluster: &Cluster) -> Result<()> {
    let port = redis_port(cluster)?;
    for number in 0..20 {
        let (key, value) = (format!("cli:{number}"), format!("value {number}"));
        let set = read(&mut command("redis-cli", ["-c", "-p", &port, "SET", &key, &value]))?;
        ensure!(set.trim() == "OK", "SET answered {set}");
        let got = read(&mut command("redis-cli", ["-c", "-p", &port, "GET", &key]))?;
        ensure!(got.trim() == value, "GET answered {got}");
    }
    Ok(())
}

fn valkey_benchmark(cluster: &Cluster) -> Result<()> {
    let port = redis_port(cluster)?;
    let tests = "set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,zadd,mset";
    let arguments = ["--cluster", "-p", &port, "-n", "2000", "-c", "20", "--csv", "-t", tests];
    let text = read(&mut command("valkey-benchmark", arguments))?;
    let rows = text.lines().filter(|line| line.starts_with('"')).count();
    ensure!(!text.contains("rror"), "{text}");
    ensure!(rows > tests.split(',').count(), "only {rows} rows:\n{text}");
    Ok(())
}

fn redis_py(cluster: &Cluster) -> Result<()> {
    let python = setup::python_program()?;
    let mut script = command(&python.to_string_lossy(), ["xtask/python/redis_smoke.py"]);
    ensure!(read(script.args(cluster.seeds()))?.contains("redis-py: ok"), "it did not end well");
    Ok(())
}

/// etcdctl that knows every global node.
fn etcdctl(cluster: &Cluster, arguments: &[&str]) -> Command {
    let endpoints = cluster.etcd_endpoints().join(",");
    let mut etcdctl = command("etcdctl", ["--endpoints", &endpoints, "--command-timeout", "3s"]);
    etcdctl.env("ETCDCTL_API", "3").args(arguments);
    etcdctl
}

fn etcd(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    Ok(read(&mut etcdctl(cluster, arguments))?.trim().to_owned())
}

fn etcdctl_basics(cluster: &Cluster) -> Result<()> {
    for (key, value) in [("i/a", "1"), ("i/b", "2"), ("i/c", "3")] {
        ensure!(etcd(cluster, &["put", key, value])? == "OK", "put was not answered by OK");
    }
    ensure!(etcd(cluster, &["get", "i/b", "--print-value-only"])? == "2", "get");
    let listed = etcd(cluster, &["get", "i/", "--prefix", "--keys-only"])?;
    ensure!(listed.split_whitespace().eq(["i/a", "i/b", "i/c"]), "listed {listed}");
    let old = etcd(cluster, &["get", "i/a", "-w", "json"])?;
    let old: serde_json::Value = serde_json::from_str(&old)?;
    let revision = old["header"]["revision"].as_u64().context("no revision")?.to_string();
    etcd(cluster, &["put", "i/a", "changed"])?;
    let then = etcd(cluster, &["get", "i/a", "--rev", &revision, "--print-value-only"])?;
    ensure!(then == "1", "at revision {revision} it was {then}");
    let txn = "value(\"i/a\") = \"changed\"\n\nput i/a swapped\n\nput i/a wrong\n\n";
    let answer = with_input(etcdctl(cluster, &["txn"]), txn)?;
    ensure!(answer.contains("SUCCESS"), "txn answered {answer}");
    ensure!(etcd(cluster, &["get", "i/a", "--print-value-only"])? == "swapped", "after the txn");
    ensure!(etcd(cluster, &["del", "i/", "--prefix"])? == "3", "del");
    let refused = etcdctl(cluster, &["put", "/cairn/x", "y"]).output()?;
    ensure!(!refused.status.success(), "a client wrote below /cairn/");
    Ok(())
}

fn grant(cluster: &Cluster, seconds: &str) -> Result<String> {
    let granted = etcd(cluster, &["lease", "grant", seconds])?;
    let lease = granted.split_whitespace().nth(1).context("no lease in the answer")?;
    Ok(lease.to_owned())
}

fn etcdctl_lease(cluster: &Cluster) -> Result<()> {
    let lease = grant(cluster, "2")?;
    etcd(cluster, &["put", "lease/a", "x", "--lease", &lease])?;
    ensure!(etcd(cluster, &["get", "lease/a", "--print-value-only"])? == "x", "get");
    let left = etcd(cluster, &["lease", "timetolive", &lease, "--keys"])?;
    ensure!(left.contains("lease/a"), "timetolive said {left}");
    let gone = wait_until(Duration::from_secs(10), Duration::from_millis(200), || {
        etcd(cluster, &["get", "lease/a"]).is_ok_and(|text| text.is_empty())
    });
    ensure!(gone, "the key outlived its lease");
    let kept = grant(cluster, "600")?;
    etcd(cluster, &["put", "lease/b", "x", "--lease", &kept])?;
    etcd(cluster, &["lease", "revoke", &kept])?;
    ensure!(etcd(cluster, &["get", "lease/b"])?.is_empty(), "the key outlived the revocation");
    Ok(())
}

fn etcdctl_takeover(cluster: &Cluster) -> Result<()> {
    let lease = grant(cluster, "8")?;
    etcd(cluster, &["put", "takeover/leased", "x", "--lease", &lease])?;
    let alive = Background::start(etcdctl(cluster, &["lease", "keep-alive", &lease]), None)?;
    let seen = cluster.folder().join("watch.txt");
    let watch = etcdctl(cluster, &["watch", "--prefix", "takeover/w"]);
    let watching = Background::start(watch, Some(&seen))?;
    // A watch that begins too late would miss the first writes by right.
    let began = || {
        let _ = etcd(cluster, &["put", "takeover/wake", "x"]);
        std::fs::read_to_string(&seen).is_ok_and(|text| text.contains("takeover/wake"))
    };
    ensure!(wait_until(REQUEST_LIMIT, Duration::from_millis(200), began), "no event comes");
    let master = cluster.status()?.global_master.context("no global master")?;
    for number in 0..WATCHED {
        if number == WATCHED / 2 {
            cluster.kill(&master, false)?;
        }
        let key = format!("takeover/w{number:03}");
        let put = || etcd(cluster, &["put", &key, "x"]).is_ok();
        ensure!(wait_until(REQUEST_LIMIT, Duration::from_millis(50), put), "{key} was not taken");
    }
    let wanted: Vec<String> = (0..WATCHED).map(|n| format!("takeover/w{n:03}")).collect();
    let complete = || order_of_first(&seen) == wanted;
    if !wait_until(REQUEST_LIMIT, Duration::from_millis(200), complete) {
        bail!("the watch told {:?}", order_of_first(&seen));
    }
    // Longer than the lease's own time since the takeover: only the keep-alive holds the key.
    std::thread::park_timeout(Duration::from_secs(10));
    let held = etcd(cluster, &["get", "takeover/leased", "--print-value-only"])?;
    ensure!(held == "x", "the lease was lost with its master");
    drop((alive, watching));
    Ok(())
}

/// The numbered keys in a watch's output, each where it first stands.
fn order_of_first(output: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(output).unwrap_or_default();
    let mut order: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("takeover/w") && !line.ends_with('e')) {
        if !order.iter().any(|seen| seen == line) {
            order.push(line.to_owned());
        }
    }
    order
}

fn with_input(mut command: Command, input: &str) -> Result<String> {
    let file = std::env::temp_dir().join(format!("cairn-input-{}", std::process::id()));
    std::fs::write(&file, input)?;
    let answer = read(command.stdin(File::open(&file)?));
    std::fs::remove_file(&file)?;
    answer
}

/// A client that goes on by itself until this is dropped.
struct Background(Child);

impl Background {
    fn start(mut command: Command, output: Option<&Path>) -> Result<Self> {
        command.stdin(Stdio::null()).stderr(Stdio::null());
        match output {
            Some(path) => command.stdout(File::create(path)?),
            None => command.stdout(Stdio::null()),
        };
        Ok(Self(command.spawn().context("cannot run etcdctl")?))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It has nothing that needs an orderly end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
