//! G6 and G7: the directory, against etcd. A snapshot while it is written to, and a cold start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::cluster::{Cluster, Role};
use cairn_harness::directory::load::{Load, Seen};

use super::figure::figure;
use super::machine::{self, Held, Watch, Watched};
use super::ours::{Done, Ear};
use super::plot::{Line, picture};
use super::rows::Part;
use super::trace::{MARGIN, Span, Trace};
use super::{LIMIT, Pace, drawn};
use crate::bench::load::Sample;
use crate::bench::report::paragraph;
use crate::bench::server::Peer;
use crate::run::{check, command, read};
use crate::{product, setup};

const KEY_BYTES: usize = 48;
const VALUE_BYTES: usize = 256;
/// Puts in each transaction.
const PUTS: u64 = 32;
/// Those side by side.
const WRITERS: u64 = 32;
/// What the target asks for, in puts per second.
const RATE: f64 = 50_000.0;
/// A side that answers less than this part of a rate in time is measured at half of it.
const BORNE: f64 = 0.95;
/// Nothing less is measured.
const RATE_MIN: f64 = 2_000.0;
/// What a key costs a node of ours, and etcd, at most; for the question whether it fits.
const NODE_KEY_BYTES: u64 = 450;
const ETCD_KEY_BYTES: u64 = 900;

/// The rows of this part.
const KEYS: [&str; 8] =
    ["g6_added", "g6_p999", "g6_stall", "g6_rate", "g6_taken", "g7", "g7_gb", "g7_whole"];

/// What a snapshot under load showed.
struct Shown {
    added_ms: f64,
    p999_ms: f64,
    stall_ms: f64,
    keys_per_second: f64,
    /// Of the machine's processor time, by those who share it with this machine.
    taken_percent: f64,
    line: Line,
    held: Vec<Held>,
}

/// What a cold start took.
#[derive(Debug, Clone, Copy)]
struct Start {
    seconds: f64,
    /// Of the files that were read.
    bytes: u64,
}

/// Pairs of snapshots and of cold starts.
///
/// # Errors
/// If there is too little memory or disk, or a side fails.
pub fn run(pace: Pace, programs: &Path, scratch: &Path) -> Result<Part> {
    let keys = pace.directory_keys;
    let memory = keys * (3 * NODE_KEY_BYTES + ETCD_KEY_BYTES) + (1 << 30);
    machine::need(scratch, memory, keys * 18 * 330 + (4 << 30))?;
    let mut etcd = Etcd::start(scratch)?;
    fill("etcd", &etcd.endpoint(), keys)?;
    let plane = Plane::start(programs, scratch)?;
    fill("Cairn", &plane.endpoint()?, keys)?;
    let peer_rate = bearable("etcd", &etcd.endpoint(), keys)?;
    let rate = bearable("Cairn", &plane.endpoint()?, keys)?;
    let begun = Part::kept("g", pace).filter(|part| part.is_current() && !part.is_whole(pace));
    let mut part = begun.unwrap_or_else(|| Part::new("g", &KEYS));
    for pair in part.pairs()..pace.pairs {
        let (theirs, peer_start) = etcd.turn(pace, peer_rate)?;
        let (ours, our_start) = plane.turn(pace, rate)?;
        part.add("g6_added", theirs.added_ms.max(0.01), ours.added_ms.max(0.01));
        part.add("g6_p999", theirs.p999_ms, ours.p999_ms);
        part.add("g6_stall", theirs.stall_ms, ours.stall_ms);
        part.add("g6_rate", theirs.keys_per_second, ours.keys_per_second);
        part.add("g6_taken", theirs.taken_percent.max(0.01), ours.taken_percent.max(0.01));
        println!(
            "directory pair {}: etcd adds {:.2} ms, Cairn {:.2} ms to p99.9; longest {:.1} and \
             {:.1} ms",
            pair + 1,
            theirs.added_ms,
            ours.added_ms,
            theirs.stall_ms,
            ours.stall_ms
        );
        let rate_of = |start: Start| keys as f64 / start.seconds;
        let by_gb = |start: Start| start.seconds * 1e9 / start.bytes.max(1) as f64;
        part.add("g7", rate_of(peer_start), rate_of(our_start));
        part.add("g7_gb", by_gb(peer_start), by_gb(our_start));
        part.add("g7_whole", peer_start.seconds, plane.whole_start()?);
        println!("cold start pair {}: etcd {peer_start:.1?}, Cairn {our_start:.1?}", pair + 1);
        drawn(pace, "g6", &picture("etcd", "writes during a snapshot", &theirs.line, &ours.line))?;
        let held: Vec<Held> = ours.held.iter().chain(&theirs.held).cloned().collect();
        part.notes = notes(pace, (peer_rate, rate), &held)?;
        part.store(pace)?;
    }
    Ok(part)
}

fn notes(pace: Pace, (peer_rate, rate): (f64, f64), held: &[Held]) -> Result<String> {
    let etcd = setup::etcd_folder()?.join("etcd");
    let version = read(&mut command(&etcd.to_string_lossy(), ["--version"]))?;
    let rates = match peer_rate == rate {
        true => format!("{rate:.0} puts a second"),
        false => format!("{rate:.0} puts a second to Cairn and {peer_rate:.0} to etcd"),
    };
    let less = match peer_rate.min(rate) < RATE {
        true => ", which is what each bears here, halved from 50,000 on,",
        false => "",
    };
    let text = format!(
        "G6: {} keys of {KEY_BYTES} B with values of {VALUE_BYTES} B that no compression makes \
         shorter; {rates}{less} in transactions of {PUTS}, by {WRITERS} clients; \
         a write's time is from when it was due. History is compacted every 5 s. etcd: one member \
         with `--unsafe-no-fsync`, its snapshot is `etcdctl snapshot save`. Cairn: global master, \
         global replica and a checkpoint node; the snapshot is from the checkpoint node's first \
         key until master and replica have fetched it (`log.fetchBytesPerSecond` 64Mi). The p99.9 \
         added is that of this time less that of a quiet one under the same writes. G7: {:?} of \
         such writes after a snapshot (ours: another one, written in quiet), then a process is \
         killed and started alone; etcd is there \
         when it answers a read, ours (the global replica) when it has applied all it had. By \
         files: bytes of the snapshot and the log after it; etcd's db file. The last row is all \
         three of our processes at once, until a write is answered; etcd's is the same start as \
         above. {}. [Writes over time in the last pair](checkpoint-g6.svg). Memory in it:",
        pace.directory_keys,
        pace.tail,
        version.lines().next().unwrap_or_default()
    );
    Ok(format!("{}\n\n{}", paragraph(&text), machine::table(held)))
}

fn load(endpoint: &str, keys: u64, rate: f64, fill: bool) -> Load {
    Load {
        endpoints: vec![endpoint.to_owned()],
        writers: WRITERS,
        puts: PUTS,
        per_second: rate / PUTS as f64,
        keys,
        key_bytes: KEY_BYTES,
        value_bytes: VALUE_BYTES,
        fill,
        prefix: "/bench/".into(),
        compact_every: (!fill).then_some(Duration::from_secs(5)),
    }
}

fn fill(name: &str, endpoint: &str, keys: u64) -> Result<()> {
    let loading = load(endpoint, keys, 0.0, true).start();
    let mut said = Instant::now();
    while !loading.is_over() {
        wait(Duration::from_millis(50));
        if said.elapsed() > Duration::from_secs(15) {
            said = Instant::now();
            println!("{name} has {} of {keys} keys", loading.filled());
        }
    }
    let seen = loading.finish();
    let (errors, seconds) = (seen.errors, seen.began.elapsed().as_secs_f64());
    let last = seen.last_error.unwrap_or_default();
    ensure!(errors == 0, "{name} refused {errors} transactions while it was filled: {last}");
    println!("{name} has {keys} keys after {seconds:.0} s");
    Ok(())
}

/// The rate asked for, or the first half of a half that this side bears.
fn bearable(name: &str, endpoint: &str, keys: u64) -> Result<f64> {
    let mut rate = RATE;
    while rate > RATE_MIN {
        let time = Duration::from_secs(5);
        let ((), seen) = under(&load(endpoint, keys, rate, false), || {
            wait(time);
            Ok(())
        })?;
        let answered = seen.samples.len() as f64 * PUTS as f64;
        let seconds = seen.began.elapsed().as_secs_f64();
        if seen.errors == 0 && answered >= rate * seconds * BORNE {
            break;
        }
        println!("{name} answers {:.0} of {rate:.0} puts a second", answered / seconds);
        rate /= 2.0;
    }
    Ok(rate)
}

/// Does `work` under a load.
fn under<T>(load: &Load, work: impl FnOnce() -> Result<T>) -> Result<(T, Seen)> {
    let loading = load.clone().start();
    wait(MARGIN);
    let done = work();
    wait(MARGIN);
    let seen = loading.finish();
    Ok((done?, seen))
}

/// A trace of transactions none of which was refused.
fn trace(seen: Seen) -> Result<Trace> {
    let last = seen.last_error.unwrap_or_default();
    ensure!(seen.errors == 0, "{} transactions were refused: {last}", seen.errors);
    let one = |sample: &cairn_harness::directory::load::Sample| Sample {
        at_us: sample.at_us,
        took_us: sample.took_us,
    };
    let mut samples: Vec<Sample> = seen.samples.iter().map(one).collect();
    samples.sort_by_key(|sample| sample.at_us);
    Ok(Trace::new(seen.began, samples))
}

fn shown(trace: &Trace, quiet: Span, span: Span, rate: f64, watched: Watched) -> Result<Shown> {
    let p999_ms = trace.p999_ms(span)?;
    Ok(Shown {
        added_ms: p999_ms - trace.p999_ms(quiet)?,
        p999_ms,
        stall_ms: trace.stall_ms(span)?,
        keys_per_second: rate,
        taken_percent: watched.taken_percent,
        line: Line::of(trace, span),
        held: watched.held,
    })
}

/// The peer: one member.
struct Etcd {
    peer: Option<Peer>,
    tools: PathBuf,
    folder: PathBuf,
}

impl Etcd {
    fn start(scratch: &Path) -> Result<Self> {
        let tools = setup::etcd_folder()?;
        let peer = Peer::etcd(&tools.join("etcd"), scratch, false)?;
        let folder = scratch.join(format!("etcd-{}", peer.server.address.port()));
        Ok(Self { peer: Some(peer), tools, folder })
    }

    fn peer(&self) -> Result<&Peer> {
        self.peer.as_ref().context("etcd does not run")
    }

    fn endpoint(&self) -> String {
        self.peer.as_ref().map(|peer| peer.server.address.to_string()).unwrap_or_default()
    }

    fn ctl(&self, arguments: &[&str]) -> Command {
        let mut etcdctl = Command::new(self.tools.join("etcdctl"));
        etcdctl.args(["--endpoints", &self.endpoint(), "--command-timeout", "600s"]);
        etcdctl.args(arguments);
        etcdctl
    }

    /// A snapshot under load, some more load, and a cold start.
    fn turn(&mut self, pace: Pace, rate: f64) -> Result<(Shown, Start)> {
        let file = self.folder.join("saved.db");
        let path = file.to_string_lossy().into_owned();
        let process = [("etcd".to_owned(), self.peer()?.server.pid)];
        let work = || {
            let began = Instant::now();
            wait(pace.quiet);
            let quiet = Span::since(began);
            let watch = Watch::start(&process)?;
            let began = Instant::now();
            read(&mut self.ctl(&["snapshot", "save", &path]))?;
            let (span, held) = (Span::since(began), watch.finish()?);
            wait(pace.tail);
            Ok((quiet, span, held))
        };
        let ((quiet, span, held), seen) =
            under(&load(&self.endpoint(), pace.directory_keys, rate, false), work)?;
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {file:?}"))?;
        let keys_per_second = pace.directory_keys as f64 / span.seconds();
        let shown = shown(&trace(seen)?, quiet, span, keys_per_second, held)?;
        Ok((shown, self.cold_start()?))
    }

    fn cold_start(&mut self) -> Result<Start> {
        let address = self.peer()?.server.address;
        self.peer = None;
        let database = self.folder.join("data/member/snap/db");
        let bytes = std::fs::metadata(&database).with_context(|| format!("no {database:?}"))?.len();
        let began = Instant::now();
        self.peer = Some(Peer::etcd_at(&self.tools.join("etcd"), &self.folder, address, false)?);
        let answers = || check(&mut self.ctl(&["get", "/bench/none", "--keys-only"])).is_ok();
        let there = wait_until(LIMIT, Duration::from_millis(20), answers);
        ensure!(there, "etcd does not answer after its start");
        Ok(Start { seconds: began.elapsed().as_secs_f64(), bytes })
    }
}

/// Ours: a global master, a global replica, a checkpoint node.
struct Plane {
    cluster: Cluster,
}

impl Plane {
    fn start(programs: &Path, scratch: &Path) -> Result<Self> {
        let text = "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\n\
             metadata: {name: plane}\nspec:\n  \
             globalReplicas: 1\n  acceptor: false\n  checkpoint: {replicas: 1, interval: 1h}\n  \
             log: {bytesKept: 64Mi, bytesMax: 32Gi}\n---\n\
             apiVersion: cairn.dev/v1alpha1\nkind: Keyspace\n\
             metadata: {name: small}\nspec: {cluster: plane, groups: 1, replicas: 1, \
             backups: 0}\n";
        let path = scratch.join("plane.yaml");
        std::fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))?;
        let cluster = product::cluster(programs, "bench-plane", &path.to_string_lossy())?;
        Ok(Self { cluster })
    }

    fn master(&self) -> Result<String> {
        self.cluster.status()?.global_master.context("there is no global master")
    }

    fn node(&self, role: Role, but: &str) -> Result<cairn_harness::cluster::Node> {
        let mut nodes = self.cluster.nodes().iter();
        let found = nodes.find(|node| node.role == role && node.id != but);
        found.cloned().with_context(|| format!("no other node is {role:?}"))
    }

    fn replica(&self) -> Result<cairn_harness::cluster::Node> {
        self.node(Role::Global, &self.master()?)
    }

    fn endpoint(&self) -> Result<String> {
        let master = self.master()?;
        let node = self.cluster.nodes().iter().find(|node| node.id == master);
        Ok(node.context("the master is no node")?.etcd())
    }

    fn processes(&self) -> Result<Vec<(String, u32)>> {
        let master = self.master()?;
        let (replica, checkpoint) = (self.replica()?.id, self.node(Role::Checkpoint, "")?.id);
        let of = |role: &str, node: &str| {
            let pid = self.cluster.pid(node)?.with_context(|| format!("{node} does not run"))?;
            anyhow::Ok((format!("Cairn, {role}"), u32::try_from(pid)?))
        };
        Ok(vec![
            of("global master", &master)?,
            of("global replica", &replica)?,
            of("checkpoint node", &checkpoint)?,
        ])
    }

    /// Has the checkpoint node write a snapshot, and waits until master and replica have
    /// fetched it.
    fn snapshot(&self) -> Result<(Done, Instant)> {
        let mut ears = self.ears()?;
        let done = std::thread::scope(|scope| {
            // It is told after a minute at the latest, so what counts is what the node says.
            scope.spawn(|| self.cluster.cairn(["checkpoint", "now"]));
            ears.checkpoint.hear("wrote a snapshot", LIMIT)
        })?;
        for ear in [&mut ears.master, &mut ears.replica] {
            ear.wait_for("fetched a snapshot", LIMIT)?;
        }
        Ok((done, Instant::now()))
    }

    fn ears(&self) -> Result<Ears> {
        let master = self.master()?;
        Ok(Ears {
            checkpoint: Ear::of(&self.cluster, &self.node(Role::Checkpoint, "")?.id)?,
            master: Ear::of(&self.cluster, &master)?,
            replica: Ear::of(&self.cluster, &self.replica()?.id)?,
        })
    }

    /// A snapshot under load, some more load, and a cold start.
    fn turn(&self, pace: Pace, rate: f64) -> Result<(Shown, Start)> {
        let work = || {
            let began = Instant::now();
            wait(pace.quiet);
            let quiet = Span::since(began);
            let watch = Watch::start(&self.processes()?)?;
            let (done, to) = self.snapshot()?;
            let held = watch.finish()?;
            Ok((done, quiet, Span { from: done.span.from, to }, held))
        };
        let load = load(&self.endpoint()?, pace.directory_keys, rate, false);
        let ((done, quiet, span, held), seen) = under(&load, work)?;
        let shown = shown(&trace(seen)?, quiet, span, done.keys_per_second, held)?;
        // One that is written while nobody else writes: what follows is all that is replayed.
        let (done, _) = self.snapshot()?;
        let ((), seen) = under(&load, || {
            wait(pace.tail);
            Ok(())
        })?;
        let tail = seen.samples.len() as u64 * PUTS * (KEY_BYTES + VALUE_BYTES) as u64;
        trace(seen)?;
        let seconds = self.cold_start()?;
        Ok((shown, Start { seconds, bytes: done.bytes + tail }))
    }

    /// The global replica is killed and starts from its snapshot and the log after it; seconds.
    fn cold_start(&self) -> Result<f64> {
        let replica = self.replica()?;
        let last = figure(&replica, "cairn_node_applied_offset").context("it shows no figures")?;
        self.cluster.kill(&replica.id, true)?;
        let mut ear = Ear::of(&self.cluster, &replica.id)?;
        let began = Instant::now();
        self.cluster.start(&replica.id)?;
        ear.wait_for("loaded a snapshot", LIMIT)?;
        let applied =
            || figure(&replica, "cairn_node_applied_offset").is_some_and(|applied| applied >= last);
        let there = wait_until(LIMIT, Duration::from_millis(20), applied);
        ensure!(there, "the replica does not hold what it had");
        let seconds = began.elapsed().as_secs_f64();
        let missing = self.cluster.wait_whole(LIMIT);
        ensure!(missing.is_empty(), "not whole: {}", missing.join("; "));
        Ok(seconds)
    }

    /// All processes of the plane are killed and started; seconds until a write is answered.
    fn whole_start(&self) -> Result<f64> {
        let nodes = self.cluster.nodes().iter().filter(|node| node.role != Role::Data);
        let all: Vec<_> = nodes.map(|node| node.id.clone()).collect();
        all.iter().try_for_each(|id| self.cluster.kill(id, true))?;
        let began = Instant::now();
        all.iter().try_for_each(|id| self.cluster.start(id))?;
        let endpoints = self.cluster.etcd_endpoints().join(",");
        let mut put = command(&setup::etcd_folder()?.join("etcdctl").to_string_lossy(), ["put"]);
        put.args(["/bench/after", "x", "--endpoints", &endpoints, "--command-timeout", "2s"]);
        let answers = || put.output().is_ok_and(|output| output.status.success());
        let there = wait_until(LIMIT, Duration::from_millis(20), answers);
        ensure!(there, "no write is answered after the start of all");
        let seconds = began.elapsed().as_secs_f64();
        let missing = self.cluster.wait_whole(LIMIT);
        ensure!(missing.is_empty(), "not whole: {}", missing.join("; "));
        Ok(seconds)
    }
}

/// What nodes of the plane write into their logs.
struct Ears {
    checkpoint: Ear,
    master: Ear,
    replica: Ear,
}
