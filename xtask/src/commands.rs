//! `cargo xtask commands`: writes docs/commands.md, which says of every command of Redis 7.0
//! whether it is there, from the table of commands and `xtask/commands/`. `cargo xtask tidy` fails
//! if the page is not what this would write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use cairn_keyspace::command::{COMMANDS, Command, Session, lookup};

/// The page.
pub const PAGE: &str = "docs/commands.md";
/// Redis's commands, and what is said of some.
pub const SOURCES: [&str; 2] = ["xtask/commands/redis-7.0.txt", "xtask/commands/notes.txt"];

/// How a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Exact,
    Differs,
    Refused,
    Missing,
}

impl Standing {
    fn name(self) -> &'static str {
        match self {
            Standing::Exact => "exact",
            Standing::Differs => "differs",
            Standing::Refused => "refused",
            Standing::Missing => "not there yet",
        }
    }
}

/// What the notes say of a command.
type Notes<'a> = BTreeMap<&'a str, (Standing, &'a str)>;

/// The parts of each line that is no comment.
fn lines(text: &str, parts: usize) -> impl Iterator<Item = Result<Vec<&str>>> {
    let numbered = text.lines().enumerate();
    let said = numbered.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    said.map(move |(at, line)| {
        let found: Vec<&str> = line.split(" |").map(str::trim).collect();
        ensure!(found.len() == parts, "line {}: not {parts} parts", at + 1);
        Ok(found)
    })
}

fn notes(text: &str) -> Result<Notes<'_>> {
    let mut notes = Notes::new();
    for parts in lines(text, 3) {
        let parts = parts?;
        let (name, how) = (parts[0], parts[2]);
        let standing = match parts[1] {
            "exact" => Standing::Exact,
            "differs" => Standing::Differs,
            "refused" => Standing::Refused,
            other => bail!("{name}: neither exact, differs nor refused: {other}"),
        };
        ensure!(
            how.is_empty() == (standing == Standing::Exact),
            "{name}: say how, or that it is exact"
        );
        ensure!(notes.insert(name, (standing, how)).is_none(), "{name} is named twice");
    }
    Ok(notes)
}

/// How a command stands, and what there is to say of it.
fn standing<'a>(name: &str, notes: &Notes<'a>) -> Result<(Standing, &'a str)> {
    let container = name.split('|').next().unwrap_or(name);
    let found = lookup(container.as_bytes());
    let is_refused = found.and_then(Command::session) == Some(Session::Nowhere);
    let is_there = found.is_some() && !is_refused;
    let note = notes.get(name).copied();
    Ok(match note {
        Some((Standing::Refused, how)) => (Standing::Refused, how),
        Some(note) => {
            ensure!(is_there, "{name} is said to be there, and is not in the table of commands");
            note
        }
        None if is_refused => bail!("{name} is refused: say why"),
        None if is_there && container == name => (Standing::Exact, ""),
        None => (Standing::Missing, ""),
    })
}

/// The page that these sources make.
///
/// # Errors
/// If a line is malformed, or the notes do not fit to the table of commands.
pub fn page(names: &str, notes_text: &str) -> Result<String> {
    let notes = notes(notes_text).context(SOURCES[1])?;
    let mut groups: BTreeMap<&str, String> = BTreeMap::new();
    let (mut known, mut counts) = (BTreeSet::new(), BTreeMap::new());
    for parts in lines(names, 2) {
        let parts = parts.context(SOURCES[0])?;
        let (name, group) = (parts[0], parts[1]);
        known.insert(name);
        let (standing, how) = standing(name, &notes)?;
        *counts.entry(standing).or_insert(0_usize) += 1;
        let shown = name.replace('|', " ").to_ascii_uppercase();
        writeln!(groups.entry(group).or_default(), "| {shown} | {} | {how} |", standing.name())?;
    }
    if let Some(name) = notes.keys().find(|name| !known.contains(*name)) {
        bail!("{}: Redis 7.0 has no {name}", SOURCES[1]);
    }
    let count = |standing| counts.get(&standing).copied().unwrap_or(0);
    let mut page = format!(
        "<!-- Written by `cargo xtask commands`; change xtask/commands/notes.txt instead. -->\n\n\
         # Commands\n\n\
         Every command and subcommand of Redis 7.0.15: {} are exact, {} differ as it is said, {} \
         are refused\nfor a reason, and {} are not there yet. \"Exact\" means the same replies, \
         errors and RESP2 and RESP3 forms;\n`cargo xtask compat` compares them with redis-server, \
         and `xtask/compat/differences.txt` has each reply\nthat differs. An unknown command says \
         so. What a client must know beside that: [redis.md](redis.md).\n",
        count(Standing::Exact),
        count(Standing::Differs),
        count(Standing::Refused),
        count(Standing::Missing),
    );
    for (group, rows) in groups {
        write!(page, "\n## {group}\n\n| command | | how, or why |\n|---|---|---|\n{rows}")?;
    }
    let more: Vec<_> = COMMANDS.iter().filter(|it| !known.contains(it.name)).collect();
    if !more.is_empty() {
        let names: Vec<_> = more.iter().map(|it| it.name.to_ascii_uppercase()).collect();
        write!(page, "\nBeside these: {}.\n", names.join(", "))?;
    }
    Ok(page)
}

/// Writes the page.
///
/// # Errors
/// As [`page`], or if a file cannot be read or written.
pub fn run() -> Result<bool> {
    let read = |path: &str| {
        std::fs::read_to_string(crate::root().join(path))
            .with_context(|| format!("cannot read {path}"))
    };
    let text = page(&read(SOURCES[0])?, &read(SOURCES[1])?)?;
    std::fs::write(crate::root().join(PAGE), text).context("cannot write the page")?;
    println!("wrote {PAGE}");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stands_as_the_table_and_the_notes_say() {
        let names = "get | string\neval | scripting\nclient | connection\nclient|id | connection\n";
        let page = page(names, "client|id | exact |\neval | refused | because\n").unwrap();
        assert!(page.contains("| GET | exact |  |"));
        assert!(page.contains("| EVAL | refused | because |"));
        assert!(page.contains("| CLIENT ID | exact |  |"));
    }

    #[test]
    fn notes_that_cannot_be_are_refused() {
        let names = "get | string\nnone | string\n";
        assert!(page(names, "").unwrap().contains("| NONE | not there yet |"));
        for notes in
            ["none | exact |\n", "other | refused | why\n", "get | differs |\n", "get | x | y\n"]
        {
            assert!(page(names, notes).is_err(), "{notes}");
        }
    }
}
