//! The limits on form, one function each.

use super::Problem;
use super::arrows::PURE;
use super::source::Source;

/// Longest line of Rust, in characters.
pub const LINE_COLUMNS_MAX: usize = 100;
/// Longest body of a function, braces included.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Longest file.
pub const FILE_LINES_MAX: usize = 600;

/// Words of a workplace rather than of the product, each in two parts so that this file is clean.
const FOREIGN_WORDS: [(&str, &str); 19] = [
    ("/wo", "rk/"),
    ("/tmp/br", "ief"),
    ("/tmp/tar", "get-"),
    ("../sha", "red"),
    ("/sha", "red/"),
    ("issues ", "show"),
    ("crates.io ", "mirror"),
    ("protocol-", "findings"),
    ("proto", "col.md"),
    ("tar", "gets.md"),
    ("des", "ign.md"),
    ("st", "yle.md"),
    ("sub", "agent"),
    ("language ", "model"),
    ("clo", "sing note"),
    ("co-auth", "ored-by"),
    ("other eng", "ineer"),
    ("the le", "ad decided"),
    ("/ro", "ot/"),
];

/// Checks every text file for words that do not belong in it.
pub fn check_words(path: &str, text: &str, problems: &mut Vec<Problem>) {
    for (at, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        for (head, tail) in FOREIGN_WORDS {
            if lower.contains(&format!("{head}{tail}")) {
                let what = format!("speaks of the workplace: {head}{tail}");
                problems.push(Problem::new(path, at + 1, what));
            }
        }
        let numbered = lower.split("issue ").skip(1);
        if numbered.filter_map(|rest| rest.chars().next()).any(|c| c.is_ascii_digit()) {
            problems.push(Problem::new(path, at + 1, "speaks of the workplace: a numbered issue"));
        }
    }
}

/// Checks one Rust file that people write.
pub fn check_rust(path: &str, text: &str, source: &Source, problems: &mut Vec<Problem>) {
    check_shape(path, text, source, problems);
    let mut reasons_left = 0_usize;
    for ((line, code, is_test), original) in source.lines().into_iter().zip(text.lines()) {
        let mut problem = |what: &str| problems.push(Problem::new(path, line, what));
        for word in ["todo!", "dbg!", "unimplemented!"] {
            if code.contains(word) {
                problem(&format!("{word} is not finished work"));
            }
        }
        if original.contains(concat!("FIX", "ME")) {
            problem("a note that asks for a fix is not finished work");
        }
        if !is_test && (code.contains(".unwrap()") || code.contains(".unwrap_err()")) {
            problem("unwrap outside tests: use expect and name the invariant, or return the error");
        }
        if !is_test {
            check_purity(path, &code, &mut problem);
        }
        reasons_left = if original.contains("SAFETY:") { 12 } else { reasons_left };
        if has_word(&code, "unsafe") {
            if !path.starts_with("crates/keyspace/src/table") {
                problem("unsafe is allowed in crates/keyspace/src/table alone");
            } else if reasons_left == 0 && code.contains("unsafe {") {
                problem("an unsafe block needs its reason: // SAFETY: …");
            }
        }
        reasons_left = reasons_left.saturating_sub(1);
    }
}

/// Lengths, the header and the name of the file.
fn check_shape(path: &str, text: &str, source: &Source, problems: &mut Vec<Problem>) {
    if path.ends_with("/mod.rs") {
        problems.push(Problem::new(path, 1, "write foo.rs next to foo/, not foo/mod.rs"));
    }
    if !text.starts_with("//!") {
        problems.push(Problem::new(path, 1, "does not open with //!"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        let what = format!("file has {lines} lines, {FILE_LINES_MAX} at most");
        problems.push(Problem::new(path, FILE_LINES_MAX + 1, what));
    }
    for (at, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let what = format!("line has {columns} columns, {LINE_COLUMNS_MAX} at most");
            problems.push(Problem::new(path, at + 1, what));
        }
    }
    for function in source.functions() {
        let lines = function.last - function.first + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = &function.name;
            let what = format!("fn {name} has {lines} lines, {FUNCTION_LINES_MAX} at most");
            problems.push(Problem::new(path, function.first, what));
        }
    }
}

/// What decides never waits, never reads a clock and never owns a socket.
fn check_purity(path: &str, code: &str, problem: &mut impl FnMut(&str)) {
    let Some((name, rest)) = path.strip_prefix("crates/").and_then(|rest| rest.split_once('/'))
    else {
        return;
    };
    if !PURE.contains(&name) || !rest.starts_with("src/") {
        return;
    }
    for word in ["std::fs", "std::net", "std::thread", "Instant::now", "SystemTime", "std::process"]
    {
        if code.contains(word) {
            problem(&format!("{name} is pure and may not use {word}"));
        }
    }
    if name == "logic" && (has_word(code, "HashMap") || has_word(code, "HashSet")) {
        problem("logic uses ordered maps only");
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        check_words(path, text, &mut problems);
        check_rust(path, text, &Source::new(text, false), &mut problems);
        problems.into_iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect()
    }

    fn first_word(path: &str, text: &str) -> String {
        found(path, text).first().cloned().unwrap_or_default()
    }

    #[test]
    fn clean_code_passes() {
        let text = "//! A file.\n\n/// Says \"todo!\".\nfn a() {}\n#[cfg(test)]\nmod tests {\n    \
                    fn b() { c().unwrap(); }\n}\n";
        assert_eq!(found("crates/logic/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn each_limit_is_held() {
        let head = "//! A file.\n";
        let long_body = format!("{head}fn a() {{\n{}}}\n", "    b();\n".repeat(69));
        let cases = [
            ("a/mod.rs", head.to_owned(), "1: write foo.rs"),
            ("a.rs", "fn a() {}\n".to_owned(), "1: does not open with"),
            ("a.rs", head.to_owned() + &"a\n".repeat(600), "601: file has 601"),
            ("a.rs", head.to_owned() + "// " + &"é".repeat(98), "2: line has 101"),
            ("a.rs", long_body, "2: fn a has 71"),
            ("a.rs", format!("{head}fn a() {{ todo!() }}"), "2: todo!"),
            ("a.rs", format!("{head}// {}", ["FIX", "ME"].concat()), "2: a note"),
            ("a.rs", format!("{head}fn a() {{ b().unwrap() }}"), "2: unwrap outside"),
            ("a.rs", format!("{head}fn a() {{ unsafe {{ b() }} }}"), "2: unsafe is allowed in"),
            ("crates/keyspace/src/table/a.rs", format!("{head}unsafe {{"), "2: an unsafe block"),
            ("crates/resp/src/a.rs", format!("{head}use std::net::Ipv4Addr;"), "2: resp is pure"),
            ("crates/logic/src/a.rs", format!("{head}type A = HashMap<B>;"), "2: logic uses"),
            ("a.rs", format!("{head}// see {}", ["/wo", "rk/a"].concat()), "2: speaks of"),
            ("a.rs", format!("{head}// issue {}", 7), "2: speaks of"),
        ];
        for (path, text, expected) in cases {
            let got = first_word(path, &text);
            assert!(got.starts_with(expected), "{path}: {got:?} is not {expected:?}");
        }
    }

    #[test]
    fn a_reason_allows_unsafe_in_the_table() {
        let text = "//! A file.\n// SAFETY: checked above.\nlet a = unsafe { b() };\n";
        assert_eq!(found("crates/keyspace/src/table.rs", text), [""; 0]);
    }
}
