//! Commands for one group that were not answered yet, so written that all of them can be said
//! again: to a master that executed none, some or all of them, it comes to the same.
//!
//! `SET`, `HSET`, `SADD`, `ZADD` and `PEXPIREAT` are so by themselves. A further piece of a text is
//! said with its place (`SETRANGE`). A list begins with `DEL`; of one that began in what was
//! answered before, [`Unanswered::open_list`] says how long it was then.
//!
//! Pure: it keeps bytes.

/// Commands that were not answered.
#[derive(Debug, Default)]
pub struct Unanswered {
    bytes: Vec<u8>,
    commands: usize,
    /// The key that was written to last, after all commands.
    last: Key,
    /// The same after all that was answered.
    known: Key,
}

/// A key that more may come for.
#[derive(Clone, Debug, Default)]
struct Key {
    name: Vec<u8>,
    /// Bytes of a text.
    bytes: u64,
    /// Items of a list.
    items: u64,
}

impl Unanswered {
    /// What to send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many answers to wait for.
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// A list that had so many items when all before this was answered, and may have got more.
    pub fn open_list(&self) -> Option<(&[u8], u64)> {
        (self.known.items > 0).then_some((&self.known.name, self.known.items))
    }

    /// Everything was answered well.
    pub fn answered(&mut self) {
        self.bytes.clear();
        self.commands = 0;
        self.known = self.last.clone();
    }

    /// Adds a command on `key`, as [`cairn_keyspace::commands_of`] makes it.
    pub fn add(&mut self, key: &[u8], words: &[&[u8]]) {
        if self.last.name != key || words[0] == b"SET" {
            self.last = Key { name: key.to_vec(), ..Key::default() };
        }
        match words {
            [name, _, text, ..] if *name == b"SET" => {
                self.last.bytes = text.len() as u64;
                self.write(words);
            }
            [name, _, text] if *name == b"APPEND" => {
                let place = self.last.bytes.to_string();
                self.last.bytes += text.len() as u64;
                self.write(&[b"SETRANGE", key, place.as_bytes(), text]);
            }
            [name, _, items @ ..] if *name == b"RPUSH" => {
                if self.last.items == 0 {
                    self.write(&[b"DEL", key]);
                }
                self.last.items += items.len() as u64;
                self.write(words);
            }
            words => self.write(words),
        }
    }

    fn write(&mut self, words: &[&[u8]]) {
        write(&mut self.bytes, words);
        self.commands += 1;
    }
}

/// Appends a command to `out`.
pub fn write(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(unanswered: &mut Unanswered, command: &str) {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        unanswered.add(words[1], &words);
    }

    fn said(unanswered: &Unanswered) -> Vec<String> {
        let text = String::from_utf8(unanswered.bytes().to_vec()).unwrap();
        let commands = text.split('*').skip(1);
        let words = |command: &str| {
            let lines = command.split("\r\n").skip(2).step_by(2);
            lines.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        };
        commands.map(words).collect()
    }

    #[test]
    fn pieces_of_a_text_are_said_with_their_place() {
        let mut unanswered = Unanswered::default();
        ["SET a 12345", "APPEND a 678", "SET b 1"].iter().for_each(|c| add(&mut unanswered, c));
        assert_eq!(said(&unanswered), ["SET a 12345", "SETRANGE a 5 678", "SET b 1"]);
        unanswered.answered();
        assert_eq!((unanswered.bytes().len(), unanswered.commands()), (0, 0));
        add(&mut unanswered, "APPEND b 2");
        assert_eq!(said(&unanswered), ["SETRANGE b 1 2"]);
        assert_eq!(unanswered.open_list(), None);
    }

    #[test]
    fn a_list_begins_with_its_absence_and_its_length_is_known_where_it_goes_on() {
        let mut unanswered = Unanswered::default();
        ["RPUSH a 1 2 3", "RPUSH a 4"].iter().for_each(|c| add(&mut unanswered, c));
        assert_eq!(said(&unanswered), ["DEL a", "RPUSH a 1 2 3", "RPUSH a 4"]);
        assert_eq!((unanswered.commands(), unanswered.open_list()), (3, None));
        unanswered.answered();
        add(&mut unanswered, "RPUSH a 5");
        assert_eq!(said(&unanswered), ["RPUSH a 5"]);
        assert_eq!(unanswered.open_list(), Some((&b"a"[..], 4)));
        // Still: of what was not answered nobody knows what was executed.
        ["RPUSH b 1", "HSET h f 1"].iter().for_each(|c| add(&mut unanswered, c));
        assert_eq!(unanswered.open_list(), Some((&b"a"[..], 4)));
        unanswered.answered();
        assert_eq!(unanswered.open_list(), None);
    }
}
