//! What of the suite is left out, and why: `xtask/compat/tcl.txt`.

use anyhow::{Context, Result, bail};

/// The file, line by line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Skips {
    /// Tags whose tests are not run.
    tags: Vec<String>,
    /// Files whose tests of such a tag are run.
    allowed: Vec<(String, String)>,
    files: Vec<String>,
    tests: Vec<(String, String)>,
}

impl Skips {
    /// Reads it.
    ///
    /// # Errors
    /// If a line is not one of the four kinds, or gives no reason.
    pub fn load() -> Result<Self> {
        let path = crate::root().join("xtask/compat/tcl.txt");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut skips = Self::default();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
            match parts.as_slice() {
                _ if parts.iter().any(|part| part.is_empty()) => bail!("tcl.txt:{}: empty", at + 1),
                ["tag", tag, _] => skips.tags.push((*tag).to_owned()),
                ["allow", file, tag, _] => {
                    skips.allowed.push(((*file).into(), (*tag).into()));
                }
                ["file", file, _] => skips.files.push((*file).to_owned()),
                ["test", file, test, _] => skips.tests.push(((*file).into(), (*test).into())),
                _ => bail!(
                    "tcl.txt:{}: not tag | T | why, allow | F | TAG | why, file | F | why, \
                     test | F | T | why",
                    at + 1
                ),
            }
        }
        Ok(skips)
    }

    /// Whether a file is not run at all; a name that ends with `*` is a beginning.
    pub fn has_file(&self, name: &str) -> bool {
        self.files.iter().any(|file| match file.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => file == name,
        })
    }

    /// The tags whose tests are not run in a file.
    pub fn tags_of(&self, name: &str) -> Vec<String> {
        let is = |tag: &String| self.allowed.iter().any(|(file, it)| file == name && it == tag);
        self.tags.iter().filter(|tag| !is(tag)).cloned().collect()
    }

    /// The tests of a file that are not run, in the suite's own notation.
    pub fn tests_of(&self, name: &str) -> Vec<String> {
        let of = self.tests.iter().filter(|(file, _)| file == name);
        of.map(|(_, test)| test.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_gives_a_reason() {
        assert!(Skips::parse("test | unit/dump | MIGRATE").is_err());
        assert!(Skips::parse("file | unit/dump | ").is_err());
        assert!(Skips::parse("unit/dump").is_err());
        let text = "# x\n\ntag | needs:repl | no SYNC\ntest | unit/dump | /MIG.*a | moves\n\
                    file | unit/moduleapi/* | no modules\n";
        let skips = Skips::parse(text).unwrap();
        assert_eq!(skips.tags_of("unit/dump"), ["needs:repl"]);
        let text = format!("{text}allow | unit/protocol | needs:repl | one that is served\n");
        let skips = Skips::parse(&text).unwrap();
        assert!(
            skips.tags_of("unit/protocol").is_empty() && !skips.tags_of("unit/dump").is_empty()
        );
        assert_eq!(skips.tests_of("unit/dump"), ["/MIG.*a"]);
        assert!(skips.tests_of("unit/sort").is_empty());
        assert!(skips.has_file("unit/moduleapi/hash") && !skips.has_file("unit/module"));
    }

    #[test]
    fn the_file_can_be_read() {
        assert!(!Skips::load().unwrap().tags_of("unit/dump").is_empty());
    }
}
