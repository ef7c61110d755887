//! Free loopback ports, chosen once and remembered.

use anyhow::{Result, bail};
use cairn_logic::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range that systems take outgoing ports from, so that nobody takes a node's port
/// while it is down for a moment.
const FIRST: u16 = 15_000;
const END: u16 = 32_000;

/// Ports that were taken in this run, and where to look next.
pub struct Ports {
    next: u16,
    end: u16,
    fixed: bool,
    taken: BTreeSet<u16>,
}

impl Ports {
    /// From `base` on without a gap, or wherever there are free ones; never one of `taken`.
    pub fn new(base: Option<u16>, uid: &str, taken: impl Iterator<Item = u16>) -> Self {
        // Different clusters begin to look at different places, so that they seldom meet.
        let start = u16::from_str_radix(uid.get(..4).unwrap_or("0"), 16).unwrap_or(0);
        let spread = FIRST + start % (END - FIRST);
        Self {
            next: base.unwrap_or(spread),
            end: if base.is_some() { u16::MAX } else { END },
            fixed: base.is_some(),
            taken: taken.collect(),
        }
    }

    /// Five ports for a node.
    pub fn five(&mut self) -> Result<[u16; 5]> {
        let mut ports = [0; 5];
        for port in &mut ports {
            *port = self.one()?;
        }
        Ok(ports)
    }

    fn one(&mut self) -> Result<u16> {
        for _ in 0..=u16::MAX {
            let port = self.next;
            if port >= self.end {
                if self.fixed {
                    bail!("there are not enough ports above --port-base: use a lower one");
                }
                self.next = FIRST;
                continue;
            }
            self.next += 1;
            if self.taken.contains(&port) {
                continue;
            }
            if is_free(port) {
                self.taken.insert(port);
                return Ok(port);
            }
            if self.fixed {
                bail!("port {port} is in use: choose another --port-base, or leave it out");
            }
        }
        bail!("there is no free port between {FIRST} and {END}")
    }
}

/// Which of a stopped cluster's ports somebody else has; an error names them all.
pub fn check_free(ports: &BTreeMap<u16, &NodeId>) -> Result<()> {
    let used: Vec<String> = ports
        .iter()
        .filter(|(port, _)| !is_free(**port))
        .map(|(port, node)| format!("{port} (of {node})"))
        .collect();
    if !used.is_empty() {
        bail!(
            "ports of this cluster are in use by another program: {}; stop it (see `ss -ltnp`)",
            used.join(", ")
        );
    }
    Ok(())
}

/// Whether a server could listen there now.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_all_different_and_none_is_in_use() {
        let first = Ports::new(None, "8000", std::iter::empty()).five().unwrap()[0];
        // A child of another test may hold what was tried for as long as it takes it to begin.
        let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok();
        let _held = std::iter::repeat(()).find_map(bind).unwrap();
        let mut ports = Ports::new(None, "8000", std::iter::empty());
        let mut seen = BTreeSet::from([first]);
        for _ in 0..10 {
            for port in ports.five().unwrap() {
                assert!(seen.insert(port), "{port} twice");
            }
        }
    }

    #[test]
    fn a_remembered_port_is_not_given_twice() {
        let mut ports = Ports::new(None, "0000", std::iter::empty());
        let first = ports.five().unwrap();
        let mut again = Ports::new(None, "0000", first.into_iter());
        assert!(again.five().unwrap().iter().all(|p| !first.contains(p)));
    }

    #[test]
    fn a_port_in_use_is_named_with_its_node() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let node = NodeId::new("tweets-0-0");
        let error = check_free(&BTreeMap::from([(port, &node)])).unwrap_err().to_string();
        assert!(error.contains(&format!("{port} (of tweets-0-0)")), "{error}");
        let mut fixed = Ports::new(Some(port), "", std::iter::empty());
        assert!(fixed.five().unwrap_err().to_string().contains("--port-base"));
    }
}
