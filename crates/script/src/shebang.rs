//! The first line of a script, where it says what it is: `#!lua flags=no-writes,allow-stale`.

/// What a script says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// It changes nothing, and may not.
    pub no_writes: bool,
    /// It refuses to run in a cluster.
    pub no_cluster: bool,
}

/// Reads the first line, if it is one of these; the script without it, its line end kept so that
/// lines are counted as before.
///
/// # Errors
/// The text of the error reply.
pub(crate) fn read(script: &[u8]) -> Result<(Declared, &[u8]), String> {
    let mut declared = Declared::default();
    if !script.starts_with(b"#!") {
        return Ok((declared, script));
    }
    let end = script.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| "ERR Invalid script shebang".to_owned())?;
    let (line, body) = script.split_at(end);
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let engine = words.next().unwrap_or_default();
    if !engine.eq_ignore_ascii_case("#!lua") {
        return Err(format!("ERR Unexpected engine in script shebang: {}", engine));
    }
    for word in words {
        let flags = word.strip_prefix("flags=");
        let flags = flags.ok_or_else(|| format!("ERR Unknown lua shebang option: {word}"))?;
        for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
            match flag {
                "no-writes" => declared.no_writes = true,
                "no-cluster" => declared.no_cluster = true,
                // A script is always checked command by command, in its one slot.
                "allow-oom" | "allow-stale" | "allow-cross-slot-keys" => {}
                _ => return Err(format!("ERR Unexpected flag in script shebang: {flag}")),
            }
        }
    }
    Ok((declared, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_read_and_nonsense_is_refused() {
        let plain = read(b"return 1").unwrap();
        assert_eq!(plain, (Declared::default(), &b"return 1"[..]));
        let (declared, body) = read(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert!(declared.no_writes && !declared.no_cluster);
        assert_eq!(body, b"\nreturn 1");
        for wrong in ["#!lua", "#!python\n", "#!lua name=x\n", "#!lua flags=fly\n"] {
            assert!(read(wrong.as_bytes()).unwrap_err().starts_with("ERR "), "{wrong}");
        }
    }
}
