//! Differences that were looked at, each with its reason: `xtask/compat/differences.txt`.

use anyhow::{Context, Result, ensure};
use cairn_resp::Reply;
use cairn_resp::number::parse_f64;

use super::{Line, show};

/// A line of the file: patterns of a command and of both replies, in which `*` is any text.
struct Rule {
    command: String,
    ours: String,
    theirs: String,
}

/// The file.
pub struct Known(Vec<Rule>);

impl Known {
    /// Reads it.
    ///
    /// # Errors
    /// If a line has not four parts.
    pub fn load() -> Result<Self> {
        let path = crate::root().join("xtask/compat/differences.txt");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let whole = parts.len() == 4 && parts.iter().all(|part| !part.is_empty());
            ensure!(whole, "differences.txt:{}: not command | ours | redis | reason", at + 1);
            let [command, ours, theirs] = [parts[0], parts[1], parts[2]].map(str::to_owned);
            rules.push(Rule { command, ours, theirs });
        }
        Ok(Self(rules))
    }

    /// Whether a line speaks of this difference.
    pub fn has(&self, line: &Line, ours: &Reply, theirs: &Reply) -> bool {
        let mut command = show::line(line);
        if let Some(name) = line.first() {
            let len = name.len().min(command.len());
            command[..len].make_ascii_uppercase();
        }
        if is_rounding(line, ours, theirs) {
            return true;
        }
        let (ours, theirs) = (show::whole(ours), show::whole(theirs));
        self.0.iter().any(|rule| {
            fits(&rule.command, &command) && fits(&rule.ours, &ours) && fits(&rule.theirs, &theirs)
        })
    }
}

/// Whether both are a sum of so many digits that only the last ones differ: ours are exact where 17
/// places behind the point are enough, and doubles elsewhere; the peer's have 64 bits.
fn is_rounding(line: &Line, ours: &Reply, theirs: &Reply) -> bool {
    /// A double holds as many in any case.
    const DIGITS_MIN: usize = 16;
    let name = line.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    let sums = matches!(name.as_slice(), b"incrbyfloat" | b"hincrbyfloat");
    let number = |reply: &Reply| match reply {
        Reply::Bulk(text)
            if text.iter().filter(|byte| byte.is_ascii_digit()).count() >= DIGITS_MIN =>
        {
            parse_f64(text)
        }
        _ => None,
    };
    match (number(ours), number(theirs)) {
        (Some(a), Some(b)) if sums => (a - b).abs() <= a.abs() * 1e-15,
        _ => false,
    }
}

/// Whether a text fits to a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_speaks_of_what_it_names() {
        let known = Known::parse("# x\n\nLPOS * 0 | -ERR* | :1 | because\n").unwrap();
        let line = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let (error, one) = (Reply::Error("ERR no".to_owned()), Reply::Integer(1));
        assert!(known.has(&line("lpos k a RANK 0"), &error, &one));
        assert!(!known.has(&line("lpos k a RANK 1"), &error, &one));
        assert!(!known.has(&line("lpos k a RANK 0"), &one, &error));
        assert!(Known::parse("LPOS | a | b\n").is_err());
    }

    #[test]
    fn only_the_last_digits_of_a_long_sum_may_differ() {
        let line: Line = vec![b"INCRBYFLOAT".to_vec(), b"k".to_vec(), b"1.5".to_vec()];
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        let rounds = |a, b| is_rounding(&line, &bulk(a), &bulk(b));
        assert!(rounds("4611686018427387903.75", "4611686018427387904"));
        assert!(!rounds("4611686018427387903.75", "4611686018427300000"));
        assert!(!rounds("0.3", "0.30000000000000001"));
        assert!(!is_rounding(&vec![b"GET".to_vec()], &bulk("1e30"), &bulk("1e30")));
    }

    #[test]
    fn the_file_can_be_read() {
        Known::load().unwrap();
    }

    #[test]
    fn a_star_is_any_text() {
        assert!(fits("a*c*e", "abcde") && fits("*", "") && fits("a*", "a"));
        assert!(!fits("a*c", "ab") && !fits("a", "ab") && !fits("*b*", "ac"));
    }
}
