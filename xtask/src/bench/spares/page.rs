//! The page of all parts, and how figures look on it.

use anyhow::{Context, Result};

use super::part::Part;
use crate::bench::report::{figure, grid, machine, paragraph};
use crate::run::{command, read};

/// What is for the page of one part.
#[derive(Debug)]
pub struct Section {
    /// The part.
    pub key: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// The table, its head first.
    pub grid: Vec<Vec<String>>,
    /// How it was measured.
    pub notes: String,
}

impl Section {
    /// Its text, with the pictures that there are.
    fn text(&self, part: &Part, pictures: &[String]) -> String {
        let mut text =
            format!("## {}\n\n{}\n{}\n", self.title, grid(&self.grid), paragraph(&self.notes));
        for name in pictures {
            text += &format!("\n![{}](spares-{name}.svg)\n", self.title);
        }
        text + &format!("\nMeasured of {} until {} UTC.\n", part.commit, part.date)
    }

    /// Prints it.
    pub fn show(&self) {
        println!("\n{}\n\n{}\n{}\n", self.title, grid(&self.grid), paragraph(&self.notes));
    }
}

/// Writes docs/bench/spares.md.
///
/// # Errors
/// If it cannot be written.
pub fn write(sections: &[(Section, Part)], missing: &[&str]) -> Result<()> {
    let date = read(&mut command("date", ["-u", "+%F"]))?;
    let version = read(&mut command("valkey-server", ["--version"]))?;
    let head = format!(
        "What clients see while a member is replaced by a spare, a group is added, and slots \
         change hands, with real processes of one machine. Made by `cargo xtask bench spares` on \
         {}; each part is kept in `docs/bench/spares/` and may be measured again alone (`--only`). \
         Clients are those of the fault tests, and so is the judge of what is lost. The peer is \
         {}.",
        date.trim(),
        version.trim()
    );
    let mut page = format!("# Bench: spares\n\n{}\n", paragraph(&head));
    if !missing.is_empty() {
        page += &format!("\nNot measured yet: {}.\n", missing.join(", "));
    }
    for (section, part) in sections {
        let pictures = pictures(section.key)?;
        page += &format!("\n{}", section.text(part, &pictures));
    }
    page += &format!("\n{}\n", machine());
    let path = crate::root().join("docs/bench/spares.md");
    std::fs::write(&path, page).with_context(|| format!("cannot write {path:?}"))
}

/// The pictures of a part that are beside the page, by name.
fn pictures(key: &str) -> Result<Vec<String>> {
    let folder = crate::root().join("docs/bench");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {folder:?}"))?;
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let name = name.strip_prefix("spares-")?.strip_suffix(".svg")?.to_owned();
        let of_it = name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('-'));
        of_it.then_some(name)
    };
    let mut names: Vec<String> = entries.filter_map(Result::ok).filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// A figure in a table; a stroke if there is none.
pub fn cell(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { figure(value) }
}

/// A figure as verdicts show it.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_its_table_its_notes_and_its_pictures() {
        let grid = vec![vec!["a".to_owned()], vec![cell(f64::NAN)], vec![cell(1.234)]];
        let section = Section { key: "k5", title: "K5: more", grid, notes: "how".into() };
        let text = section.text(&Part::new("k5", 1, true), &["k5".to_owned()]);
        for expected in ["## K5: more\n", "| -    |", "| 1.23 |", "\nhow\n", "(spares-k5.svg)"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
