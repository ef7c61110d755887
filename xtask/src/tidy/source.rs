//! Rust text with comments and literals blanked out, so that rules see code alone.
//!
//! The blanked text has the same lines and the same number of characters as the original. It is
//! no parser: it knows just enough of the grammar to tell code from comments and literals, to find
//! the bodies of functions, and to tell which lines belong to tests.

/// One Rust file, its blanked text, and which of its lines are test code.
pub struct Source {
    code: Vec<char>,
    line_of: Vec<usize>,
    test_line: Vec<bool>,
}

/// A function's name and the lines (from 1) of the braces of its body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// The identifier after `fn`.
    pub name: String,
    /// The line of the opening brace.
    pub first: usize,
    /// The line of the closing brace.
    pub last: usize,
}

impl Source {
    /// Blanks `text`; with `all_test` every line counts as test code.
    pub fn new(text: &str, all_test: bool) -> Self {
        let code = blank(&text.chars().collect::<Vec<_>>());
        let mut line = 1;
        let mut line_of = Vec::with_capacity(code.len());
        for c in &code {
            line_of.push(line);
            line += usize::from(*c == '\n');
        }
        let mut source = Self { code, line_of, test_line: vec![all_test; line + 2] };
        if !all_test {
            source.mark_test_items();
        }
        source
    }

    /// The blanked lines with their numbers, and whether each is test code.
    pub fn lines(&self) -> Vec<(usize, String, bool)> {
        let text: String = self.code.iter().collect();
        let numbered = text.lines().enumerate();
        numbered.map(|(at, line)| (at + 1, line.to_owned(), self.test_line[at + 1])).collect()
    }

    /// Every function that has a body.
    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in self.words("fn") {
            let Some(name) = self.word_after(at + 2) else { continue };
            let Some((open, close)) = self.body_after(at) else { continue };
            let (first, last) = (self.line_of[open], self.line_of[close]);
            found.push(Function { name, first, last });
        }
        found
    }

    /// Names of modules declared `#[cfg(test)] mod name;`, whose files are test code.
    pub fn test_modules(&self) -> Vec<String> {
        let mut names = Vec::new();
        for at in self.test_attributes() {
            let rest: String = self.code[at..].iter().take(400).collect();
            let head = rest.split(['{', ';']).next().unwrap_or_default();
            let ends_here = rest.chars().nth(head.chars().count()) == Some(';');
            let mut words = head.split_whitespace().skip_while(|word| *word != "mod");
            if let (true, Some(_), Some(name)) = (ends_here, words.next(), words.next()) {
                names.push(name.to_owned());
            }
        }
        names
    }

    fn mark_test_items(&mut self) {
        for at in self.test_attributes() {
            let end = match self.body_after(at) {
                Some((_, close)) => close,
                None => at,
            };
            for line in self.line_of[at]..=self.line_of[end] {
                self.test_line[line] = true;
            }
        }
    }

    /// Places just after each `#[cfg(test)]`, `#[cfg(any(test, …))]` and `#[test]`.
    fn test_attributes(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for at in self.words("test") {
            let line_start = self.code[..at].iter().rposition(|c| *c == '\n').map_or(0, |p| p + 1);
            let before: String = self.code[line_start..at].iter().collect();
            let before = before.trim_start();
            let in_cfg = before.starts_with("#[cfg(") && before.ends_with('(');
            let is_attribute = before == "#["
                || (before.starts_with("#[") && before.ends_with("::"))
                || (in_cfg && !before.contains("not("));
            if !is_attribute {
                continue;
            }
            if let Some(end) = self.code[at..].iter().position(|c| *c == ']') {
                found.push(at + end + 1);
            }
        }
        found
    }

    /// Where `word` stands as a whole word.
    fn words(&self, word: &str) -> Vec<usize> {
        let word: Vec<char> = word.chars().collect();
        let mut found = Vec::new();
        for at in 0..self.code.len().saturating_sub(word.len()) {
            let starts = at == 0 || !is_word(self.code[at - 1]);
            let ends = !is_word(self.code[at + word.len()]);
            if starts && ends && self.code[at..].starts_with(&word) {
                found.push(at);
            }
        }
        found
    }

    fn word_after(&self, at: usize) -> Option<String> {
        let rest = self.code[at..].iter().skip_while(|c| c.is_whitespace());
        let word: String = rest.take_while(|c| is_word(**c)).collect();
        (!word.is_empty()).then_some(word)
    }

    /// The braces of the first body after `at`; none if a `;` ends the item first.
    fn body_after(&self, at: usize) -> Option<(usize, usize)> {
        let mut nested = 0_usize;
        let mut open = None;
        for (place, c) in self.code.iter().enumerate().skip(at) {
            match c {
                '(' | '[' => nested += 1,
                ')' | ']' => nested = nested.saturating_sub(1),
                ';' if nested == 0 => return None,
                '{' => {
                    open = Some(place);
                    break;
                }
                _ => {}
            }
        }
        let open = open?;
        let mut depth = 0_usize;
        for (place, c) in self.code.iter().enumerate().skip(open) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some((open, place));
            }
        }
        None
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Replaces comments and the insides of literals by blanks, keeping line ends.
fn blank(text: &[char]) -> Vec<char> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let length = match literal_length(text, at) {
            Some(length) => length,
            None => {
                out.push(text[at]);
                at += 1;
                continue;
            }
        };
        let end = (at + length).min(text.len());
        out.extend(text[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// How many characters the comment or literal that starts at `at` has, if one does.
fn literal_length(text: &[char], at: usize) -> Option<usize> {
    let rest = &text[at..];
    match rest {
        ['/', '/', ..] => Some(rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['"', ..] => Some(quoted(rest)),
        ['r', '"' | '#', ..] if at == 0 || !is_word(text[at - 1]) || is_prefix(text, at) => {
            raw_string(rest)
        }
        ['\'', '\\', ..] => {
            let end = rest.iter().skip(3).position(|c| *c == '\'');
            Some(end.map_or(rest.len(), |end| end + 4))
        }
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

/// Whether the `r` at `at` belongs to `br"…"` or `cr"…"`.
fn is_prefix(text: &[char], at: usize) -> bool {
    matches!(text[at - 1], 'b' | 'c') && (at == 1 || !is_word(text[at - 2]))
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &rest[hashes + 2..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| hashes + 2 + end + close.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(text: &str) -> String {
        blank(&text.chars().collect::<Vec<_>>()).into_iter().collect()
    }

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        assert_eq!(blanked("a // b\nc"), "a     \nc");
        assert_eq!(blanked("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(blanked(r#"f("}\"{", '}', '\'', b'x')"#), "f(      ,    ,     , b   )");
        assert_eq!(blanked("r#\"{\"# r#type 'a"), "       r#type 'a");
        assert_eq!(blanked("br\"{\" bar"), "b     bar");
    }

    #[test]
    fn functions_are_measured_by_their_bodies() {
        let text = "trait T { fn a(&self) -> [u8; 2]; }\nfn b()\nwhere X: Y,\n{\n  '{';\n}\n";
        let functions = Source::new(text, false).functions();
        assert_eq!(functions, [Function { name: "b".into(), first: 4, last: 6 }]);
    }

    #[test]
    fn test_items_are_told_from_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let lines = Source::new(text, false).lines();
        let test: Vec<_> = lines.iter().filter(|line| line.2).map(|line| line.0).collect();
        assert_eq!(test, [2, 3, 4, 5]);
        let outside = Source::new("#[cfg(test)]\nmod more;\n", false);
        assert_eq!(outside.test_modules(), ["more"]);
    }
}
