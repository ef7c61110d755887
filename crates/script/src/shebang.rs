//! The first line of a script, where it says what it is: `#!lua flags=no-writes,allow-stale`.

/// What a script says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// It changes nothing, and may not.
    pub no_writes: bool,
    /// It refuses to run in a cluster.
    pub no_cluster: bool,
    /// Whether there is room must be asked before it runs, and not again; none if that is asked for
    /// each of its commands, since it has no such line.
    pub allow_oom: Option<bool>,
}

impl Declared {
    /// What this script says of itself; none if its first line is wrong.
    #[must_use]
    pub fn of(script: &[u8]) -> Option<Self> {
        read(script).ok().map(|(declared, _)| declared)
    }
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
    declared.allow_oom = Some(false);
    for word in words {
        let flags = word.strip_prefix("flags=");
        let flags = flags.ok_or_else(|| format!("ERR Unknown lua shebang option: {word}"))?;
        for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
            match flag {
                "no-writes" => declared.no_writes = true,
                "no-cluster" => declared.no_cluster = true,
                "allow-oom" => declared.allow_oom = Some(true),
                // A script is always checked command by command, in its one slot.
                "allow-stale" | "allow-cross-slot-keys" => {}
                _ => return Err(format!("ERR Unexpected flag in script shebang: {flag}")),
            }
        }
    }
    Ok((declared, body))
}

/// What the first line of a library says: `#!lua name=mylib`.
pub(crate) struct Titled<'a> {
    /// The library's name.
    pub name: String,
    /// The library without that line, its line end kept.
    pub body: &'a [u8],
}

/// Whether libraries and functions may have this name.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

pub(crate) const BAD_NAME: &str = "Library names can only contain letters, numbers, or \
    underscores(_) and must be at least one character long";

/// Reads the first line of a library.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn title(library: &[u8]) -> Result<Titled<'_>, String> {
    if !library.starts_with(b"#!") {
        return Err("Missing library metadata".into());
    }
    let end = library.iter().position(|byte| *byte == b'\n').ok_or("Invalid library metadata")?;
    let (line, body) = library.split_at(end);
    let line = String::from_utf8_lossy(&line[2..]);
    let (engine, words) = match line.find(|c: char| c.is_ascii_whitespace()) {
        Some(end) => line.split_at(end),
        None => (&*line, ""),
    };
    let mut name = None;
    for word in words.split_ascii_whitespace() {
        // A name has nothing in it for which it would have to be quoted, and may be.
        let word = word.replace('"', "");
        let (key, value) = word.split_at_checked(5).unwrap_or((&word, ""));
        if !key.eq_ignore_ascii_case("name=") {
            return Err(format!("Invalid metadata value given: {word}"));
        }
        if name.replace(value.to_owned()).is_some() {
            let text = "Invalid metadata value, name argument was given multiple times";
            return Err(text.into());
        }
    }
    let name = name.ok_or("Library name was not given")?;
    if !is_name(name.as_bytes()) {
        return Err(BAD_NAME.into());
    }
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("Engine '{engine}' not found"));
    }
    Ok(Titled { name, body })
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

    #[test]
    fn a_library_says_its_name() {
        let titled = title(b"#!LUA name=lib_1\nreturn").unwrap();
        assert_eq!((titled.name.as_str(), titled.body), ("lib_1", &b"\nreturn"[..]));
        for (wrong, text) in [
            ("return", "Missing library metadata"),
            ("#!lua name=a", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!lua name=\n", BAD_NAME),
            ("#!lua name=a-b\n", BAD_NAME),
            ("#!lua name=a x=b\n", "Invalid metadata value given: x=b"),
            (
                "#!lua name=a NAME=b\n",
                "Invalid metadata value, name argument was given multiple times",
            ),
            ("#!js name=a\n", "Engine 'js' not found"),
        ] {
            let said = title(wrong.as_bytes()).err();
            assert_eq!(said.as_deref(), Some(text), "{wrong}");
        }
    }
}
