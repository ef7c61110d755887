//! Which node masters which slot, as `CLUSTER SLOTS` tells it.

use std::collections::BTreeMap;

use super::frame::Frame;

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// One range of slots and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// `host:port` of the master.
    pub master: String,
    /// `host:port` of each replica.
    pub replicas: Vec<String>,
}

/// All ranges, and single slots that a node has redirected since.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    ranges: Vec<Range>,
    moved: BTreeMap<u16, String>,
}

impl Routes {
    /// Reads the answer to `CLUSTER SLOTS`, given by the node at `asked`.
    pub fn parse(frame: &Frame, asked: &str) -> Option<Self> {
        let mut ranges = Vec::new();
        for entry in frame.elements()? {
            let parts = entry.elements()?;
            let slot = |at: usize| u16::try_from(parts.get(at)?.integer()?).ok();
            let nodes = parts.get(2..)?.iter().map(|node| address(node, asked));
            let mut nodes: Vec<String> = nodes.collect::<Option<_>>()?;
            if nodes.is_empty() {
                continue;
            }
            let master = nodes.remove(0);
            let (first, last) = (slot(0)?, slot(1)?);
            if first > last || last >= SLOTS {
                return None;
            }
            ranges.push(Range { first, last, master, replicas: nodes });
        }
        ranges.sort_by_key(|range| range.first);
        Some(Self { ranges, moved: BTreeMap::new() })
    }

    /// The ranges in the order of their slots.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Whether every slot has a master.
    pub fn is_covered(&self) -> bool {
        let slots = self.ranges.iter().map(|range| u32::from(range.last - range.first) + 1);
        slots.sum::<u32>() == u32::from(SLOTS)
    }

    /// Who masters a slot.
    pub fn master(&self, slot: u16) -> Option<&str> {
        let moved = self.moved.get(&slot).map(String::as_str);
        moved.or_else(|| self.range(slot).map(|range| range.master.as_str()))
    }

    /// Who else has a slot's data.
    pub fn replicas(&self, slot: u16) -> &[String] {
        self.range(slot).map_or(&[], |range| &range.replicas)
    }

    /// Which range, counted from 0, a slot is in.
    pub fn range_number(&self, slot: u16) -> Option<usize> {
        self.ranges.iter().position(|range| (range.first..=range.last).contains(&slot))
    }

    /// Notes that a slot is mastered at `address` now.
    pub fn moved(&mut self, slot: u16, address: &str) {
        self.moved.insert(slot, address.to_owned());
    }

    fn range(&self, slot: u16) -> Option<&Range> {
        self.ranges.get(self.range_number(slot)?)
    }
}

fn address(node: &Frame, asked: &str) -> Option<String> {
    let parts = node.elements()?;
    let host = parts.first()?.text().filter(|host| !host.is_empty());
    let asked_host = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
    let host = host.unwrap_or_else(|| asked_host.to_owned());
    Some(format!("{host}:{}", parts.get(1)?.integer()?))
}

/// The slot of a key: of its `{hash tag}` if it has one that is not empty.
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16 with polynomial 0x1021, starting from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"a{123456789}b"), 12_739);
        assert_eq!(slot_of(b"{}x"), crc16(b"{}x") % SLOTS);
    }

    #[test]
    fn cluster_slots_is_read() {
        let node = |host: &str, port| {
            let name = Frame::Bulk(b"id".to_vec());
            Frame::Array(vec![Frame::Bulk(host.into()), Frame::Integer(port), name])
        };
        let answer = Frame::Array(vec![
            Frame::Array(vec![Frame::Integer(8192), Frame::Integer(16_383), node("", 3)]),
            Frame::Array(vec![Frame::Integer(0), Frame::Integer(8191), node("a", 1), node("b", 2)]),
        ]);
        let mut routes = Routes::parse(&answer, "asked:9").unwrap();
        assert!(routes.is_covered());
        assert_eq!(routes.master(8191), Some("a:1"));
        assert_eq!(routes.replicas(0), ["b:2"]);
        assert_eq!(routes.master(8192), Some("asked:3"));
        assert_eq!(routes.range_number(9000), Some(1));
        routes.moved(5, "c:4");
        assert_eq!(routes.master(5), Some("c:4"));
    }
}
