//! Every row of docs/failure-modes.md names tests that exist.

use std::collections::BTreeSet;

use super::Problem;

const PAGE: &str = "docs/failure-modes.md";
const ROWS_MIN: usize = 40;
const SWITCHES_MIN: usize = 15;

/// What the names of the page may be.
struct Known<'a> {
    texts: &'a [(String, String)],
    commands: BTreeSet<&'a str>,
}

/// Checks the page among `texts`, path and text of each file.
pub fn check(texts: &[(String, String)], problems: &mut Vec<Problem>) {
    let Some((_, page)) = texts.iter().find(|(path, _)| path == PAGE) else {
        problems.push(Problem::new(PAGE, 1, "the page is missing"));
        return;
    };
    let paths = texts.iter().filter_map(|(path, _)| path.strip_prefix("xtask/src/"));
    let commands = paths.filter_map(|path| path.strip_suffix(".rs")).collect();
    let known = Known { texts, commands };
    let (mut rows, mut switches) = (0, BTreeSet::new());
    for (at, line) in page.lines().enumerate() {
        let cells: Vec<&str> = line.split(" |").collect();
        let is_row = line.starts_with("| ") && !line.starts_with("| fault |");
        if !is_row {
            continue;
        }
        rows += 1;
        let (proof, without) = match cells[..] {
            [_, _, _, _, proof, without, ..] => (names(proof), names(without)),
            _ => (Vec::new(), Vec::new()),
        };
        if proof.is_empty() {
            problems.push(Problem::new(PAGE, at + 1, "a row without a test"));
        }
        for name in proof.iter().filter(|name| !known.is_test(name)) {
            problems.push(Problem::new(PAGE, at + 1, format!("no test {name:?}")));
        }
        for name in without.iter().filter(|name| !known.is_switch(name)) {
            problems.push(Problem::new(PAGE, at + 1, format!("no rule {name:?}")));
        }
        switches.extend(without);
    }
    if rows < ROWS_MIN || switches.len() < SWITCHES_MIN {
        let what = format!("{rows} rows and {} rules: too few", switches.len());
        problems.push(Problem::new(PAGE, 1, what));
    }
}

/// What stands between back quotes.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

impl Known<'_> {
    fn is_test(&self, name: &str) -> bool {
        if let Some(kind) = name.strip_prefix("sim ") {
            return self.has("crates/sim/src/scenario.rs", &format!("    {kind},"));
        }
        if name.contains('-') {
            return self.has("e2e/src/stories/", &format!("name: \"{name}\""));
        }
        self.commands.contains(name) || self.has("", &format!("fn {name}("))
    }

    fn is_switch(&self, name: &str) -> bool {
        self.has("crates/logic/src/mutant.rs", &format!("    {name},"))
            || self.has("xtask/src/faults.rs", &format!("\"{name}\""))
    }

    fn has(&self, below: &str, text: &str) -> bool {
        let files = self.texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        files.filter(|(path, _)| path.starts_with(below)).any(|(_, file)| file.contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_test_is_found() {
        let rows = "| a | b | c | d | `honest`, `sim Cut`, `missing` | `NoSwitch` |\n".repeat(40);
        let texts = [
            (PAGE, rows.as_str()),
            ("crates/a/src/lib.rs", "fn honest() {}"),
            ("crates/sim/src/scenario.rs", "    Cut,\n"),
        ];
        let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let mut problems = Vec::new();
        check(&texts, &mut problems);
        let said: BTreeSet<String> = problems.into_iter().map(|problem| problem.what).collect();
        let wanted =
            ["no test \"missing\"", "no rule \"NoSwitch\"", "40 rows and 1 rules: too few"];
        assert_eq!(said, wanted.map(str::to_owned).into());
    }
}
