//! The fewest commands that still show a difference.

use anyhow::Result;
use cairn_resp::Version;

use super::{Difference, Line, Pair};

/// Takes commands away as long as the last one still differs in the same way: what is left, and how
/// it differs.
///
/// # Errors
/// As [`Pair::differences`].
pub fn shrink(
    pair: &mut Pair,
    lines: &[Line],
    version: Version,
    found: &Difference,
) -> Result<(Vec<Line>, Difference)> {
    let mut lines = lines[..=found.at].to_vec();
    let mut last = found.clone();
    let mut size = lines.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size < lines.len() {
            let mut fewer = lines.clone();
            fewer.drain(at..at + size);
            match shows(pair, &fewer, version, found)? {
                Some(difference) => (lines, last) = (fewer, difference),
                None => at += size,
            }
        }
        size /= 2;
    }
    Ok((lines, last))
}

/// The difference at the last command, if it is of the same kind.
fn shows(
    pair: &mut Pair,
    lines: &[Line],
    version: Version,
    found: &Difference,
) -> Result<Option<Difference>> {
    let (differences, _) = pair.differences(lines, version)?;
    let same = |one: &Difference| one.at + 1 == lines.len() && one.signature == found.signature;
    Ok(differences.into_iter().find(same))
}
