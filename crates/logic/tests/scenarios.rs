//! Runs testdata/*.txt: the property first, then commands; below `----` what must follow.
//!
//! `UPDATE_EXPECT=1 cargo test -p cairn-logic --test scenarios` rewrites what follows; read the
//! difference before you believe it. The commands are those of [`Play::command`].

#[path = "cluster/driver.rs"]
mod driver;
#[path = "cluster/register.rs"]
mod register;

use cairn_logic::counting::Plane;
use cairn_logic::ids::{EntryId, Epoch, Life, Offset};
use cairn_logic::judge::choose;
use cairn_logic::message::{Answer, Mode, Order, Sealed};
use cairn_logic::record::{Durability, Member, Record, Role, Rule};
use cairn_logic::replication::{Change, Input};
use cairn_logic::time::{Duration, Instant};
use cairn_logic::timing::Timing;
use driver::{Cluster, Letter, name};
use register::Register;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Between two ticks, at most.
const STEP: Duration = Duration::from_millis(500);

struct Play {
    cluster: Cluster,
    /// Letters that wait until they are released.
    held: Vec<Letter>,
    /// The arbiter's, once something is asked of it.
    register: Option<Register>,
}

/// `n3` is node 2.
fn node(word: &str) -> usize {
    word.strip_prefix('n').and_then(|n| n.parse::<usize>().ok()).expect("a node is n1, n2, …") - 1
}

fn nodes(words: &str) -> Vec<usize> {
    words.split(',').map(node).collect()
}

/// `15s`, `600ms`.
fn span(word: &str) -> Duration {
    let millis = match (word.strip_suffix("ms"), word.strip_suffix('s')) {
        (Some(n), _) => number(n),
        (None, Some(n)) => number(n) * 1000,
        (None, None) => panic!("a span ends in ms or s, not {word}"),
    };
    Duration::from_millis(millis)
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

impl Play {
    /// `group|global nodes members rule [flushed] [zones=a,a,b/2]`: in which zones the nodes are,
    /// and in how many of them copies have to be
    fn new(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let plane = match words[0] {
            "group" => Plane::Group,
            "global" => Plane::Global,
            other => panic!("a scenario begins with group or global, not {other}"),
        };
        let rule = match words[3] {
            "async" => Rule::Async,
            "one" => Rule::One,
            "quorum" => Rule::Quorum,
            "all" => Rule::All,
            other => panic!("unknown rule {other}"),
        };
        let (count, members) = (number(words[1]) as usize, number(words[2]) as usize);
        let flushed = words.get(4) == Some(&"flushed");
        let mut cluster = Cluster::new(plane, count, members, rule, flushed, Timing::default());
        if let Some(zones) = words.iter().find_map(|word| word.strip_prefix("zones=")) {
            let (places, needed) = zones.split_once('/').expect("zones, and how many are needed");
            cluster.zones = places.split(',').map(str::to_owned).collect();
            cluster.record.durability.zones = u8::try_from(number(needed)).expect("few");
            let lie = cluster.zones.clone();
            cluster.record.members.iter_mut().zip(lie).for_each(|(m, zone)| m.zone = Some(zone));
        }
        Self { cluster, held: Vec::new(), register: None }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has = |word: &str| words.contains(&word);
        match words[0] {
            // Time: `later` only passes, with `tick` it is noticed step by step.
            "later" => self.pass(words[1]),
            "tick" => {
                let end = self.cluster.now + span(words[1]);
                self.tick_until(end);
            }
            // The appender and the disk.
            "write" => {
                let written = self.cluster.write(node(words[1]), has("authority"));
                assert!(written, "{} has no appender", words[1]);
            }
            "disk" => self.cluster.disk(node(words[1]), has("flush")),
            // The network.
            "deliver" => self.deliver(words[1], words[2], true),
            "drop" => self.deliver(words[1], words[2], false),
            "keep" => self.keep(words[1], words[2]),
            "hold" => self.hold(words[1], words[2]),
            "release" => self.cluster.net.extend(self.held.drain(..)),
            "frame" => self.cluster.frame = number(words[1]) as usize,
            "settle" => self.settle(words.get(2).map_or(Vec::new(), |w| nodes(w))),
            // Snapshots, the front of the log, and what is fetched.
            "snapshot" => self.cluster.snapshot(node(words[1])),
            "truncate" => self.cluster.truncate(node(words[1]), has("pressed")),
            "fetching" => self.cluster.fetch(node(words[1]), node(words[2])),
            "fetched" => self.cluster.fetched(node(words[1])),
            // What only this node's log lacks is lost, as a person accepts.
            "lose" => self.cluster.lose(node(words[1])),
            "learn" => self.learn(&words),
            // Processes.
            "crash" => self.cluster.crash(node(words[1]), has("machine").then_some(0)),
            "start" => self.cluster.start(node(words[1]), !has("rebooted")),
            // The judge and the keeper.
            "open" => self.open(),
            "seal" => self.cluster.order(
                node(words[1]),
                Order::Seal {
                    attempt: Epoch(number(words[2])),
                    forced: has("forced"),
                    released: has("released"),
                },
            ),
            // The arbiter: `arbiter lose a 2`, `arbiter p read`, `arbiter q replace a 2`.
            "arbiter" => self.arbiter(&words[1..]),
            "choose" => self.choose(&words[1..]),
            "elect" => self.elect(node(words[1]), number(words[2]), &nodes(words[3])),
            "record" => self.record(number(words[1]), node(words[2]), &nodes(words[3])),
            "grant" => {
                let (_, expected, record) = self.cluster.asks.remove(0);
                assert!(self.cluster.swap(expected, record), "the version had moved");
            }
            "read" => {
                for i in nodes(words[1]) {
                    let record = self.cluster.record.clone();
                    self.cluster.input(i, Input::Record(record));
                }
            }
            "found" => self.found(),
            "wish" => self.wish(&words),
            "show" => self.show(node(words[1])),
            _ => self.ask(&words),
        }
    }

    /// `learn a b,c backup`: a knows these learners.
    fn learn(&mut self, words: &[&str]) {
        let mut learners = self.members(&nodes(words[2]), usize::MAX);
        if words.contains(&"backup") {
            learners.iter_mut().for_each(|member| member.role = Role::Backup);
        }
        self.cluster.input(node(words[1]), Input::Learners(learners));
    }

    /// Orders to one node, and questions.
    fn ask(&mut self, words: &[&str]) {
        match words[0] {
            "hand" => {
                let epoch = Epoch(number(words[2]));
                let target = name(node(words[3]));
                self.cluster.order(node(words[1]), Order::HandOver { epoch, target });
            }
            "confirm" => {
                let token = number(words[2]);
                self.cluster.input(node(words[1]), Input::ConfirmReads { token });
            }
            "refuse" => {
                let expected = self.cluster.record.version;
                self.cluster.input(node(words[1]), Input::Refused(expected));
            }
            "relief" => {
                let report = self.cluster.report(node(words[1]));
                self.cluster.trace.push(format!("asks for relief: {:?}", report.relief));
            }
            "silence" => {
                let silence = self.cluster.report(node(words[1])).master_silence.as_millis();
                self.cluster.trace.push(format!("{} has not heard for {silence} ms", words[1]));
            }
            other => panic!("unknown command {other}"),
        }
    }

    fn pass(&mut self, word: &str) {
        self.cluster.now = self.cluster.now + span(word);
    }

    /// Passes in steps of at most `STEP`, each of them noticed by everybody.
    fn tick_until(&mut self, end: Instant) {
        while self.cluster.now < end {
            self.cluster.now = end.min(self.cluster.now + STEP);
            self.tick();
        }
    }

    fn tick(&mut self) {
        for i in 0..self.cluster.nodes.len() {
            self.cluster.input(i, Input::Tick);
        }
    }

    /// Delivers (or loses) what is under way now; `*` is anybody.
    fn deliver(&mut self, from: &str, to: &str, arrives: bool) {
        let meant =
            |l: &Letter| (from == "*" || l.from == node(from)) && (to == "*" || l.to == node(to));
        let (now, rest): (Vec<Letter>, Vec<Letter>) =
            self.cluster.net.drain(..).partition(|l| meant(l));
        self.cluster.net = rest.into();
        for letter in now.into_iter().filter(|_| arrives) {
            self.cluster.deliver(letter);
        }
    }

    /// Repeats what is under way, so that it arrives late once more.
    fn keep(&mut self, from: &str, to: &str) {
        let (from, to) = (node(from), node(to));
        let again: Vec<Letter> =
            self.cluster.net.iter().filter(|l| l.from == from && l.to == to).cloned().collect();
        self.cluster.net.extend(again);
    }

    /// Keeps back what is under way, to arrive after what comes later.
    fn hold(&mut self, from: &str, to: &str) {
        let (from, to) = (node(from), node(to));
        let (held, rest): (Vec<Letter>, Vec<Letter>) =
            self.cluster.net.drain(..).partition(|l| l.from == from && l.to == to);
        self.cluster.net = rest.into();
        self.held.extend(held);
    }

    /// Everything arrives and is flushed until nothing moves, but nothing to or from `without`.
    fn settle(&mut self, without: Vec<usize>) {
        for _ in 0..50 {
            self.cluster.net.retain(|l| !without.contains(&l.from) && !without.contains(&l.to));
            let letters: Vec<Letter> = self.cluster.net.drain(..).collect();
            for letter in letters {
                self.cluster.deliver(letter);
            }
            for i in (0..self.cluster.nodes.len()).filter(|i| !without.contains(i)) {
                self.cluster.disk(i, true);
                self.cluster.input(i, Input::Tick);
            }
        }
    }

    fn open(&mut self) {
        let attempt = self.cluster.record.attempt.next();
        let record = Record { attempt, open: true, ..self.cluster.record.clone() };
        let version = record.version;
        self.cluster.swap(version, record);
    }

    fn arbiter(&mut self, words: &[&str]) {
        let record = || self.cluster.record.clone();
        let register = self.register.get_or_insert_with(|| Register::found(record()));
        match words {
            ["lose", acceptor, folder] => register.lose(acceptor, number(folder)),
            [who, operation @ ..] => self.cluster.trace.push(register.does(who, operation)),
            [] => panic!("the arbiter is to do something"),
        }
    }

    /// `choose n1=1/9 n2=2/5,torn`: whom a judge elects when members answer with logs that end
    /// there; a torn one is not intact.
    fn choose(&mut self, words: &[&str]) {
        let attempt = self.cluster.record.attempt;
        let mut sealed = BTreeMap::new();
        for word in words {
            let (who, last) = word.split_once('=').expect("a node and where its log ends");
            let (last, intact) = last.strip_suffix(",torn").map_or((last, true), |l| (l, false));
            let (epoch, offset) = last.split_once('/').expect("an epoch and an offset");
            let last = EntryId::new(Epoch(number(epoch)), Offset(number(offset)));
            let (life, reserved, was_master) = (Life(1), 0, false);
            let zones = true;
            let answer = Sealed { attempt, life, last, intact, reserved, was_master, zones };
            sealed.insert(name(node(who)), answer);
        }
        let chosen = choose(&self.cluster.record, &sealed, false, None, None);
        let text = chosen.map_or("nobody".to_owned(), |c| {
            let members: Vec<_> = c.members.iter().map(|m| m.id.as_str()).collect();
            format!("{} at {} with {}", c.elect, c.last, members.join(","))
        });
        self.cluster.trace.push(format!("chosen: {text}"));
    }

    fn members(&self, of: &[usize], master: usize) -> Vec<Member> {
        of.iter()
            .map(|i| Member {
                id: name(*i),
                incarnation: self.cluster.nodes[*i].me.incarnation,
                role: if *i == master { Role::Master } else { Role::Replica },
                zone: self.cluster.zones.get(*i).cloned(),
            })
            .collect()
    }

    /// Elects by the last seal that the node answered.
    fn elect(&mut self, i: usize, attempt: u64, of: &[usize]) {
        let sealed = self.cluster.answers.iter().rev().find_map(|(who, answer)| match answer {
            Answer::Sealed(s) if *who == i => Some(s.clone()),
            _ => None,
        });
        let sealed = sealed.expect("an elect has answered a seal");
        let record = &self.cluster.record;
        let mode = Mode { rule: record.rule, wanted: record.wanted, durability: record.durability };
        let order = Order::Elect {
            attempt: Epoch(attempt),
            life: sealed.life,
            last: sealed.last,
            members: self.members(of, i),
            mode,
            above: 0,
        };
        self.cluster.order(i, order);
    }

    fn record(&mut self, epoch: u64, master: usize, of: &[usize]) {
        let record = Record {
            epoch: Epoch(epoch),
            master: Some(name(master)),
            members: self.members(of, master),
            open: false,
            ..self.cluster.record.clone()
        };
        let version = record.version;
        self.cluster.swap(version, record);
    }

    /// n1 masters epoch 1 with all members; nothing of that is shown.
    fn found(&mut self) {
        let of: Vec<usize> = (0..self.cluster.record.members.len()).collect();
        self.open();
        self.pass("1s");
        for i in &of {
            self.cluster
                .order(*i, Order::Seal { attempt: Epoch(1), forced: true, released: false });
        }
        self.elect(0, 1, &of);
        self.settle(Vec::new());
        self.record(1, 0, &of);
        for i in 0..self.cluster.nodes.len() {
            let record = self.cluster.record.clone();
            self.cluster.input(i, Input::Record(record));
        }
        self.pass("100ms");
        self.settle(Vec::new());
        self.cluster.trace.clear();
    }

    /// `wish n1 join n4`, `… remove n3`, `… flushed-all`, `… zones 2`, `… nothing`.
    fn wish(&mut self, words: &[&str]) {
        let wish = match words[2] {
            "join" => {
                let member = self.members(&[node(words[3])], usize::MAX).remove(0);
                Some(Change::Join(member))
            }
            "remove" => Some(Change::Remove(name(node(words[3])))),
            "flushed-all" => {
                let durability = Durability { flushed: true, zones: 1 };
                let wanted = self.cluster.record.wanted;
                Some(Change::Mode(Mode { rule: Rule::All, wanted, durability }))
            }
            "zones" => {
                let Record { rule, wanted, mut durability, .. } = self.cluster.record;
                durability.zones = u8::try_from(number(words[3])).expect("few");
                Some(Change::Mode(Mode { rule, wanted, durability }))
            }
            "nothing" => None,
            other => panic!("unknown wish {other}"),
        };
        self.cluster.input(node(words[1]), Input::Wish(wish));
    }

    fn show(&mut self, i: usize) {
        let node = &self.cluster.nodes[i];
        let Some(replica) = &node.replica else {
            self.cluster.trace.push(format!("n{}: is down", i + 1));
            return;
        };
        let status = replica.status(self.cluster.now);
        let mut log: Vec<String> = node.log.iter().map(|b| b.0.last().to_string()).collect();
        if node.before != EntryId::ZERO {
            log.insert(0, format!("{}:", node.before));
        }
        let reads = node.read_until.filter(|until| *until > self.cluster.now);
        let reads = reads.map_or("no reads".to_string(), |until| {
            let left = until.since(self.cluster.now).as_millis();
            if left > 1_000_000 { "reads".into() } else { format!("reads for {left} ms") }
        });
        let state = if node.state.is_empty() { "empty" } else { "state" };
        self.cluster.trace.push(format!(
            "n{}: {:?} sealed {} log [{}] written {} flushed {} committed {} {reads} {state} of {}",
            i + 1,
            status.position,
            status.sealed,
            log.join(" "),
            status.written,
            status.flushed,
            status.committed,
            node.state.len(),
        ));
    }
}

fn play(script: &str) -> String {
    let mut lines = script.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    let mut play = Play::new(lines.next().expect("a scenario says what it plays on"));
    let mut out = String::new();
    for line in lines {
        play.cluster.trace.clear();
        play.command(line);
        writeln!(out, "> {line}").expect("strings take everything");
        for said in &play.cluster.trace {
            writeln!(out, "  {said}").expect("strings take everything");
        }
    }
    if let Some(what) = play.cluster.broken {
        writeln!(out, "BROKEN: {what}").expect("strings take everything");
    }
    out
}

fn scenarios() -> Vec<std::path::PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("testdata is part of the crate")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let update = std::env::var("UPDATE_EXPECT").is_ok();
    let files = scenarios();
    assert!(files.len() >= 8, "scenarios are missing");
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable scenario");
        let (script, expected) = text.split_once("\n----\n").unwrap_or((text.as_str(), ""));
        let got = play(script);
        assert!(!got.contains("BROKEN"), "{}:\n{got}", path.display());
        if got != expected {
            if update {
                let whole = format!("{}\n----\n{got}", script.trim_end());
                std::fs::write(&path, whole).expect("a writable scenario");
            } else {
                wrong.push(format!("{}: got\n{got}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[cfg(feature = "mutants")]
#[test]
fn a_broken_rule_changes_a_scenario() {
    use cairn_logic::mutant::{Mutant, set_broken};
    let mut missed = Vec::new();
    for mutant in Mutant::OF_REPLICA.iter().copied() {
        set_broken(Some(mutant));
        let changes = |path: &std::path::PathBuf| {
            let text = std::fs::read_to_string(path).expect("a readable scenario");
            let (script, expected) = text.split_once("\n----\n").expect("a trace");
            std::panic::catch_unwind(|| play(script)).map_or(true, |got| got != expected)
        };
        match scenarios().iter().find(|path| changes(path)) {
            Some(path) => {
                let file = path.file_name().expect("a file has a name");
                println!("scenario {mutant:?} {}", file.display());
            }
            None => missed.push(mutant),
        }
    }
    set_broken(None);
    assert_eq!(missed, [], "rules without a scenario");
}
