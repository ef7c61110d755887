//! Network namespaces: one per node, joined by a bridge in a namespace of its own.
//!
//! The bridge is apart because the machine's own packet filter (a container runtime's, say) would
//! judge what crosses it. Everything made here has a name that begins with `cairn-chaos-` and is
//! removed at the beginning of the next run if a run could not do it itself.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::run::read;

/// What every namespace's name begins with.
pub const PREFIX: &str = "cairn-chaos-";
/// The address of the machine itself, where clients are.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The last number of the first node's address.
pub const FIRST: u8 = 10;

/// What happens to packets of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing from this address comes in.
    From(Ipv4Addr),
    /// Nothing to this address goes out.
    To(Ipv4Addr),
    /// Nothing comes in.
    Deaf,
    /// Nothing goes out.
    Mute,
    /// So many of a hundred packets that come in or go out are lost.
    Lossy(u8),
}

/// The namespaces of a run; removed when dropped.
#[derive(Debug)]
pub struct Network {
    netem: bool,
}

/// The address of a node, by its place in starting order.
pub fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, octet(node))
}

fn octet(node: usize) -> u8 {
    FIRST + u8::try_from(node).unwrap_or(u8::MAX - FIRST)
}

/// The namespace of a node, by its place in starting order.
pub fn namespace(node: usize) -> String {
    format!("{PREFIX}{}", octet(node))
}

fn ip(arguments: &str) -> Result<String> {
    let mut command = Command::new("ip");
    read(command.args(arguments.split_whitespace()))
}

fn inside(node: usize, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace(node), program]);
    command
}

/// Removes what any run left behind.
///
/// # Errors
/// If `ip` is not there, or not allowed to.
pub fn clean() -> Result<()> {
    for line in ip("netns list")?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if name.starts_with(PREFIX) {
            ip(&format!("netns del {name}"))?;
        }
    }
    Ok(())
}

impl Network {
    /// Makes namespaces for `nodes` nodes.
    ///
    /// # Errors
    /// If this is not root, or the kernel refuses.
    pub fn make(nodes: u8) -> Result<Self> {
        let uid = read(Command::new("id").arg("-u"))?;
        ensure!(
            uid.trim() == "0",
            "namespaces and packet filters need root: run this as root (on a machine of your own)"
        );
        clean()?;
        let mut network = Self { netem: false };
        let hub = format!("{PREFIX}hub");
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        // To the machine itself; the pair goes with the namespace.
        ip(&format!("link add cairnchaos0 type veth peer name clients netns {hub}"))?;
        ip(&format!("-n {hub} link set clients master bridge up"))?;
        ip(&format!("addr add {CLIENTS}/24 dev cairnchaos0"))?;
        ip("link set cairnchaos0 up")?;
        for node in 0..usize::from(nodes) {
            let (name, octet) = (namespace(node), octet(node));
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link add net0 type veth peer name node{octet} netns {hub}"))?;
            ip(&format!("-n {hub} link set node{octet} master bridge up"))?;
            ip(&format!("-n {name} addr add {}/24 dev net0", address(node)))?;
            ip(&format!("-n {name} link set net0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        network.netem = network.try_netem();
        Ok(network)
    }

    /// How links are slowed down.
    pub fn slowness(&self) -> &'static str {
        match self.netem {
            true => "tc netem: 150 ms more, give or take 50 ms",
            false => "tc tbf: 400 kbit/s with a queue of up to 400 ms (this kernel has no netem)",
        }
    }

    fn try_netem(&self) -> bool {
        let add = ["qdisc", "add", "dev", "net0", "root", "netem", "delay", "1ms"];
        let added = inside(0, "tc").args(add).stderr(Stdio::null()).status();
        let works = added.is_ok_and(|status| status.success());
        works && self.slow(0, false).is_ok()
    }

    /// Replaces what happens to a node's packets; nothing if there are no rules.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn filter(&self, node: usize, rules: &[Rule]) -> Result<()> {
        let mut text = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
        for rule in rules {
            let line = match rule {
                Rule::From(address) => format!("-A INPUT -s {address} -j DROP"),
                Rule::To(address) => format!("-A OUTPUT -d {address} -j DROP"),
                Rule::Deaf => "-A INPUT ! -i lo -j DROP".into(),
                Rule::Mute => "-A OUTPUT ! -o lo -j DROP".into(),
                Rule::Lossy(percent) => {
                    let chance = f64::from(*percent) / 100.0;
                    let lost = format!("-m statistic --mode random --probability {chance} -j DROP");
                    format!("-A INPUT ! -i lo {lost}\n-A OUTPUT ! -o lo {lost}")
                }
            };
            writeln!(text, "{line}").expect("a String takes all");
        }
        text += "COMMIT\n";
        let mut child = inside(node, "iptables-restore")
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run iptables-restore")?;
        let mut input = child.stdin.take().context("standard input is a pipe")?;
        input.write_all(text.as_bytes()).context("cannot write to iptables-restore")?;
        drop(input);
        let status = child.wait().context("cannot wait for iptables-restore")?;
        if !status.success() {
            bail!("iptables-restore: {status}; it was given:\n{text}");
        }
        Ok(())
    }

    /// Puts a node's cable in or pulls it out.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn plug(&self, node: usize, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        ip(&format!("-n {PREFIX}hub link set node{} {state}", octet(node))).map(drop)
    }

    /// Makes a node's link slow, or as fast as it was.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn slow(&self, node: usize, slow: bool) -> Result<()> {
        let line = match (slow, self.netem) {
            (false, _) => "qdisc del dev net0 root",
            (true, true) => "qdisc replace dev net0 root netem delay 150ms 50ms",
            (true, false) => {
                "qdisc replace dev net0 root tbf rate 400kbit burst 16kbit latency 400ms"
            }
        };
        read(inside(node, "tc").args(line.split_whitespace())).map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = clean() {
            eprintln!("cannot remove namespaces: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_apart_from_the_clients() {
        assert_eq!(address(0), Ipv4Addr::new(10, 77, 0, 10));
        assert_eq!(namespace(8), "cairn-chaos-18");
        assert!((0..200).all(|node| address(node) != CLIENTS));
    }
}
