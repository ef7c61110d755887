//! A user: its passwords, and one or more selectors, of which one has to allow a request.

use crate::rule::{Invalid, Problem, is_one_word, rules_of};
use crate::selector::Selector;
use sha2::{Digest, Sha256};

/// A user of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: Vec<u8>,
    on: bool,
    nopass: bool,
    /// What was said of payloads; RESTORE looks at every one, whatever this is.
    sanitize: Option<bool>,
    /// SHA-256 in hexadecimal, in the order they were given.
    passwords: Vec<String>,
    root: Selector,
    selectors: Vec<Selector>,
}

/// SHA-256 of a password in 64 hexadecimal digits.
pub(crate) fn digest_of(password: &[u8]) -> String {
    Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text is such a digest.
pub(crate) fn is_digest(text: &[u8]) -> bool {
    text.len() == 64 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Compares without telling by its time how much of a guess was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0 && a.len() == b.len()
}

impl User {
    /// One that may do nothing and cannot come in: what rules begin with.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            on: false,
            nopass: false,
            sanitize: None,
            passwords: Vec::new(),
            root: Selector::default(),
            selectors: Vec::new(),
        }
    }

    /// One that may do everything, and comes in with one of these passwords; by itself, with any or
    /// without, if there are none.
    pub(crate) fn of_all(name: &[u8]) -> Self {
        Self { on: true, nopass: true, root: Selector::all(), ..Self::new(name) }
    }

    /// The same with these passwords, which are digests.
    pub(crate) fn with_passwords(mut self, passwords: impl Iterator<Item = String>) -> Self {
        self.nopass = false;
        self.passwords = passwords.collect();
        self
    }

    /// The same, but it cannot come in.
    pub(crate) fn turned_off(mut self) -> Self {
        self.on = false;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its name for people.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Whether it comes in without a password.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.on && self.nopass
    }

    /// Whether any password is good for it.
    #[must_use]
    pub const fn has_no_password(&self) -> bool {
        self.nopass
    }

    /// Whether it may do everything: nothing of it has to be checked.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.root.is_all()
    }

    /// Its selectors, the one without parentheses first.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Its passwords, as digests.
    #[must_use]
    pub fn passwords(&self) -> &[String] {
        &self.passwords
    }

    /// Whether it may come in with this password.
    #[must_use]
    pub fn comes_in_with(&self, password: &[u8]) -> bool {
        if !self.on || self.nopass {
            return self.on;
        }
        let digest = digest_of(password);
        // All are compared, so that the time tells nothing.
        let fits = |good: &&String| same(good.as_bytes(), digest.as_bytes());
        self.passwords.iter().filter(fits).count() > 0
    }

    /// Whether a rule is about passwords.
    pub(crate) fn is_about_passwords(rule: &[u8]) -> bool {
        let word = rule.to_ascii_lowercase();
        matches!(word.as_slice(), b"nopass" | b"resetpass" | b"reset")
            || matches!(rule.first(), Some(b'>' | b'#' | b'<' | b'!'))
    }

    /// Takes rules in their order; if one is wrong, none.
    ///
    /// # Errors
    /// Which one, and why.
    pub fn apply_all(&mut self, rules: &[Vec<u8>]) -> Result<(), Invalid> {
        let mut changed = self.clone();
        for rule in rules {
            let invalid = |problem| Invalid::Rule { rule: rule.clone(), problem };
            changed.apply(rule).map_err(invalid)?;
        }
        *self = changed;
        Ok(())
    }

    fn apply(&mut self, rule: &[u8]) -> Result<(), Problem> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.on = true,
            b"off" => self.on = false,
            b"nopass" => {
                self.nopass = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.nopass = false;
                self.passwords.clear();
            }
            b"sanitize-payload" => self.sanitize = Some(true),
            b"skip-sanitize-payload" => self.sanitize = Some(false),
            b"clearselectors" => self.selectors.clear(),
            b"reset" => *self = Self { sanitize: Some(true), ..Self::new(&self.name) },
            b"" => {}
            _ => return self.apply_other(rule),
        }
        Ok(())
    }

    fn apply_other(&mut self, rule: &[u8]) -> Result<(), Problem> {
        match rule {
            [b'>', password @ ..] => self.add_password(digest_of(password)),
            [b'#', digest @ ..] if is_digest(digest) => {
                self.add_password(String::from_utf8_lossy(digest).into_owned());
            }
            [b'<', password @ ..] => return self.remove_password(&digest_of(password)),
            [b'!', digest @ ..] if is_digest(digest) => {
                return self.remove_password(&String::from_utf8_lossy(digest));
            }
            [b'#' | b'!', ..] => return Err(Problem::Digest),
            [b'(', inner @ .., b')'] => {
                let mut selector = Selector::default();
                for word in inner.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
                    if word.ends_with(b")") {
                        // It would end the selector when it is read again.
                        return Err(Problem::Syntax);
                    }
                    selector.apply(word)?;
                }
                self.selectors.push(selector);
            }
            _ => return self.root.apply(rule),
        }
        Ok(())
    }

    fn add_password(&mut self, digest: String) {
        self.nopass = false;
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
    }

    fn remove_password(&mut self, digest: &str) -> Result<(), Problem> {
        let place = self.passwords.iter().position(|known| known == digest);
        self.passwords.remove(place.ok_or(Problem::NoPassword)?);
        Ok(())
    }

    /// Words about itself, as ACL GETUSER tells them.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.on { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        match self.sanitize {
            Some(true) => flags.push("sanitize-payload"),
            Some(false) => flags.push("skip-sanitize-payload"),
            None => {}
        }
        flags
    }

    /// The rules that make it from [`User::new`], as ACL LIST tells them: in one line, parted by
    /// spaces.
    #[must_use]
    pub fn describe(&self) -> Vec<u8> {
        let mut out = self.flags().join(" ").into_bytes();
        out.push(b' ');
        for password in &self.passwords {
            out.push(b'#');
            out.extend_from_slice(password.as_bytes());
            out.push(b' ');
        }
        self.root.describe(&mut out);
        for selector in &self.selectors {
            out.extend_from_slice(b" (");
            selector.describe(&mut out);
            out.push(b')');
        }
        out
    }

    /// The user that [`User::describe`] told. Rules that this node does not know are left out: what
    /// they are about is not there for its clients.
    #[must_use]
    pub fn read(name: &[u8], line: &[u8]) -> Self {
        let mut user = Self::new(name);
        let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        // A line that was cut makes a user who may do nothing.
        for rule in rules_of(words).unwrap_or_default() {
            user.read_rule(&rule);
        }
        user
    }

    fn read_rule(&mut self, rule: &[u8]) {
        let [b'(', inner @ .., b')'] = rule else {
            self.apply(rule).ok();
            return;
        };
        let mut selector = Selector::default();
        for word in inner.split(|byte| *byte == b' ') {
            selector.apply(word).ok();
        }
        self.selectors.push(selector);
    }

    /// Whether a user may be called so.
    #[must_use]
    pub fn is_name(name: &[u8]) -> bool {
        is_one_word(name)
    }
}
