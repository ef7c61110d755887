//! Figures that a node shows of itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cairn_harness::cluster::Node;

const PATIENCE: Duration = Duration::from_secs(1);

/// One of a node's figures, of those without labels; none if it does not answer, or has none.
pub fn figure(node: &Node, name: &str) -> Option<f64> {
    let host = node.host.as_deref().unwrap_or("127.0.0.1");
    let mut stream = TcpStream::connect((host, node.ports[4])).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    value(&answer, name)
}

fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_counts() {
        let text = "# HELP a_b it\na_b_total 3.0\na_b 7.5\na_c{x=\"1\"} 2\n";
        assert_eq!((value(text, "a_b"), value(text, "a_c")), (Some(7.5), None));
    }
}
