//! A master whose log a copy replays: both must hold the same data after every line.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, Done, EffectLog, Keyspace, unknown_command};
use cairn_logic::ids::Offset;
use cairn_resp::{ArgsBuf, Reply, ReplyBuf, Version};

const NOW: u64 = 1_700_000_000_000;

/// A master, and a copy that replays its log.
pub struct Node {
    pub master: Keyspace,
    copy: Keyspace,
    log: EffectLog,
    pub now_ms: u64,
    pub version: Version,
}

impl Node {
    pub fn new() -> Self {
        Self {
            master: Keyspace::new(1),
            copy: Keyspace::new(2),
            log: EffectLog::new(Offset(1)),
            now_ms: NOW,
            version: Version::Resp2,
        }
    }

    pub fn run(&mut self, line: &str) -> (String, Done) {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.split(' ').filter(|_| line.len() > name.len());
        let words = rest.map(|word| word.replace('_', " "));
        let args: ArgsBuf = std::iter::once(name.to_owned()).chain(words).collect();
        let args = args.as_args();
        let mut reply = ReplyBuf::new(self.version);
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: 1 << 20 };
        let Some(command) = lookup(args.name()) else {
            unknown_command(args, &mut reply);
            return (show(&reply), Done { wrote: false, depends_on: Offset::ZERO, waits: None });
        };
        let done = self.master.execute(&ctx, command, args, None, &mut reply, &mut self.log);
        self.replay(&done);
        (show(&reply), done)
    }

    fn replay(&mut self, done: &Done) {
        let entries = self.log.take();
        assert_eq!(done.wrote, entries.is_some());
        if let Some(entries) = entries {
            assert_eq!(self.copy.apply(&entries.body, entries.first), Ok(entries.count));
            assert!(done.depends_on.0 >= entries.first.0);
        }
        // A digest reads everything: not after each of thousands of writes.
        if self.log.next_offset().0 < 100 || self.log.next_offset().0.is_multiple_of(64) {
            assert_eq!(self.master.digest(), self.copy.digest());
        }
        assert_eq!(self.master.len(), self.copy.len());
    }
}

fn show(reply: &ReplyBuf) -> String {
    let (parsed, len) = Reply::parse(reply.as_bytes()).expect("a reply").expect("a whole one");
    assert_eq!(len, reply.len(), "exactly one reply");
    text(&parsed)
}

fn text(reply: &Reply) -> String {
    let many = |items: &[Reply]| items.iter().map(text).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Simple(text) => text.clone(),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(value) => format!(":{value}"),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Null => "nil".to_owned(),
        Reply::Array(items) => format!("[{}]", many(items)),
        Reply::Set(items) => format!("~[{}]", many(items)),
        Reply::Push(items) => format!(">[{}]", many(items)),
        Reply::Map(pairs) => {
            let pair = |(key, value): &(Reply, Reply)| format!("{}={}", text(key), text(value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Reply::Double(value) => format!(",{value}"),
        Reply::Boolean(value) => format!("#{value}"),
        Reply::BigNumber(text) => format!("({text}"),
        Reply::Verbatim(_, bytes) => format!("={}", String::from_utf8_lossy(bytes)),
    }
}

/// Runs `command => reply` lines; `_` in a command stands for a space within an argument.
pub fn check(script: &str) {
    check_on(&mut Node::new(), script);
}

pub fn check_on(node: &mut Node, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, want) = line.split_once(" =>").expect("command => reply");
        assert_eq!(node.run(command).0.trim(), want.trim(), "{command}");
    }
}
