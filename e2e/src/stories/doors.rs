//! Who comes in from where: clients from outside the cluster, and strangers at the peers' port.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{NOISE_MS_MAX, Stage, Story};
use crate::act::{Act, Bounds, Told};
use crate::kubectl::{Kubectl, succeed};
use crate::scene::Specs;

/// Stock clients outside.
pub const OUTSIDE: Story = Story {
    name: "client-outside",
    about: "stock redis-cli and etcdctl outside the cluster, through kubectl port-forward",
    tell: outside,
};

/// A pod that is no peer.
pub const STRANGER: Story = Story {
    name: "stranger-at-the-peer-port",
    about: "a pod without the cluster's identity reaches the peers' port and is refused",
    tell: stranger,
};

/// `kubectl port-forward`, ended when dropped.
struct Forward {
    child: Child,
    port: u16,
    /// Held open: kubectl goes on to write, and ends when nobody could read it.
    output: Option<BufReader<ChildStdout>>,
}

impl Forward {
    fn open(kubectl: &Kubectl, to: &str, port: u16) -> Result<Self> {
        let mut command = kubectl.command(["port-forward", to, &format!(":{port}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.context("cannot run kubectl")?;
        let mut forward = Self { child, port: 0, output: None };
        let output = forward.child.stdout.take().context("standard output is a pipe")?;
        let (mut output, mut line) = (BufReader::new(output), String::new());
        output.read_line(&mut line)?;
        forward.output = Some(output);
        // `Forwarding from 127.0.0.1:40123 -> 6379`
        let local = line.split_whitespace().nth(2).and_then(|at| at.rsplit_once(':'));
        let local = local.with_context(|| format!("kubectl port-forward {to} said {line:?}"))?;
        forward.port = local.1.parse()?;
        Ok(forward)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.output.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn outside(stage: &Stage) -> Result<Told> {
    let bounds = Bounds::keyspace(NOISE_MS_MAX);
    let mut act = Act::begin(stage, "outside", &Specs::default(), bounds)?;
    let asked = act.during(|scene| {
        let kubectl = scene.kubectl();
        let master = Forward::open(kubectl, &format!("pod/{}", scene.roles()?.master), 6379)?;
        let port = master.port.to_string();
        let redis = |line: &[&str]| -> Result<String> {
            let mut program = Command::new("redis-cli");
            let text = succeed(program.args(["-p", &port]).args(line), "")?;
            Ok(text.trim().to_owned())
        };
        for at in 0..50 {
            let (key, value) = (format!("outside:{at}"), at.to_string());
            ensure!(redis(&["SET", &key, &value])? == "OK", "SET {key} was refused");
            ensure!(redis(&["GET", &key])? == value, "{key} was forgotten");
        }
        let service = format!("service/{}-etcd", scene.cluster());
        let plane = Forward::open(kubectl, &service, 2379)?;
        let endpoint = format!("http://127.0.0.1:{}", plane.port);
        let etcd = |line: &[&str]| -> Result<String> {
            let mut program = Command::new("etcdctl");
            let text = succeed(program.args(["--endpoints", &endpoint]).args(line), "")?;
            Ok(text.trim().to_owned())
        };
        ensure!(etcd(&["put", "/outside", "here"])? == "OK", "put was refused");
        let got = etcd(&["get", "--print-value-only", "/outside"])?;
        ensure!(got == "here", "/outside holds {got:?}");
        Ok(102)
    })?;
    act.told.fact("commands", asked);
    act.end()
}

fn stranger(stage: &Stage) -> Result<Told> {
    let bounds = Bounds::keyspace(NOISE_MS_MAX);
    let mut act = Act::begin(stage, "stranger", &Specs::default(), bounds)?;
    let tried = act.during(|scene| {
        let (cluster, before) = (scene.cluster(), scene.roles()?);
        let set = format!("{cluster}-global");
        let (global, _) = scene.global_master()?;
        let host = format!("{global}.{set}");
        // The port is there and answers: it is the caller that is refused, not the way to it.
        let plain = ["timeout", "5", "redis-cli", "-h", &host, "-p", "7400", "PING"];
        let said = format!("{:?}", scene.tool(&plain));
        let reached = !said.contains("Could not connect") && !said.contains("PONG");
        ensure!(reached, "at the peers' port of {host}: {said}");
        let key = format!("/cairn/groups/{}", scene.group());
        let mut tried = 0;
        for (scheme, more) in [("http", &[][..]), ("https", &["--insecure-skip-tls-verify"][..])] {
            let endpoint = format!("{scheme}://{host}:7400");
            let head = ["etcdctl", "--command-timeout=5s", "--endpoints", &endpoint];
            for line in [&["get", &key][..], &["put", &key, "{}"], &["del", &key]] {
                let answer = scene.tool(&[&head[..], more, line].concat());
                ensure!(answer.is_err(), "{line:?} at {endpoint} was answered: {answer:?}");
                tried += 1;
            }
        }
        ensure!(scene.roles()? == before, "a stranger has changed who masters what");
        Ok(tried)
    })?;
    act.told.fact("refused", tried);
    act.end()
}
