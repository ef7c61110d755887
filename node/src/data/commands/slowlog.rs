//! SLOWLOG and LATENCY: what took long at this node.

use crate::data::commands::{help, word};
use crate::data::figures::Figure;
use crate::data::server::Server;
use cairn_resp::{Args, number};
use std::fmt::Write;

const SLOWLOG_HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
    "HELP",
    "    Print this help.",
];

const LATENCY_HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the \
     specified command names.",
    "    If no commands are specified then all histograms are replied.",
    "HELP",
    "    Print this help.",
];

const OFF: &str = "Nothing is watched at this node. CONFIG SET latency-monitor-threshold \
    <milliseconds> begins it. SLOWLOG GET has the commands that took long, INFO stats says how \
    many turns of the data thread took more than 20 ms.";
const QUIET: &str = "Nothing took longer than latency-monitor-threshold at this node.";

fn seconds(at_s: u64) -> i64 {
    i64::try_from(at_s).unwrap_or(i64::MAX)
}

impl Server {
    /// `SLOWLOG GET [count] | LEN | RESET | HELP`
    pub fn slowlog(&mut self, index: usize, args: Args<'_>) {
        match word(args.get(1)).as_str() {
            "get" if args.len() <= 3 => self.slowlog_get(index, args),
            "get" => super::too_many(self, index, args, "SLOWLOG"),
            "len" => {
                let len = self.slow.len();
                self.out(index).count(len);
            }
            "reset" => {
                self.slow.clear();
                self.out(index).ok();
            }
            // Unknown ones were refused before.
            _ => help(self, index, SLOWLOG_HELP),
        }
    }

    fn slowlog_get(&mut self, index: usize, args: Args<'_>) {
        let count = match args.len() {
            2 => Some(10),
            _ => number::parse_i64(args.get(2)).filter(|count| *count >= -1),
        };
        let Some(count) = count else {
            return self.out(index).error("ERR count should be greater than or equal to -1");
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        let out = &mut conn.replies.buf;
        let entries = self.slow.newest(count);
        out.array(entries.len());
        for entry in entries {
            out.array(6);
            out.integer(i64::try_from(entry.id).unwrap_or(i64::MAX));
            out.integer(seconds(entry.at_s));
            out.integer(i64::try_from(entry.took.as_micros()).unwrap_or(i64::MAX));
            out.array(entry.args.len());
            entry.args.iter().for_each(|arg| out.bulk(arg));
            out.bulk(entry.client.as_bytes());
            out.bulk(&entry.name);
        }
    }

    /// `LATENCY subcommand …`
    pub fn latency(&mut self, index: usize, args: Args<'_>) {
        match word(args.get(1)).as_str() {
            "latest" => self.latency_latest(index),
            "history" => self.latency_history(index, &word(args.get(2))),
            "reset" => {
                let names: Vec<String> = args.from(2).iter().map(word).collect();
                let fits = |name: &str| names.is_empty() || names.iter().any(|it| it == name);
                let count = self.latency.forget(fits);
                self.out(index).count(count);
            }
            "histogram" => self.latency_histogram(index, args.from(2)),
            "doctor" => {
                let report = self.latency_report();
                self.out(index).verbatim(*b"txt", report.as_bytes());
            }
            "graph" => {
                let text = "ERR graphs are not drawn here: LATENCY HISTORY has the samples";
                self.out(index).error(text);
            }
            // Unknown ones were refused before.
            _ => help(self, index, LATENCY_HELP),
        }
    }

    fn latency_latest(&mut self, index: usize) {
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        let out = &mut conn.replies.buf;
        let events = self.latency.events();
        out.array(events.len());
        for (name, samples) in events {
            let (at_s, ms) = samples.last.back().copied().unwrap_or_default();
            out.array(4);
            out.bulk(name.as_bytes());
            out.integer(seconds(at_s));
            out.integer(seconds(ms));
            out.integer(seconds(samples.longest_ms));
        }
    }

    fn latency_history(&mut self, index: usize, event: &str) {
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        let out = &mut conn.replies.buf;
        let Some(samples) = self.latency.of(event) else { return out.array(0) };
        out.array(samples.last.len());
        for (at_s, ms) in &samples.last {
            out.array(2);
            out.integer(seconds(*at_s));
            out.integer(seconds(*ms));
        }
    }

    fn latency_histogram(&mut self, index: usize, names: Args<'_>) {
        let known = self.figures.known();
        // A command stands for its subcommands as well.
        let fits = |name: &str, wanted: &[u8]| {
            let begin = name.as_bytes().get(..wanted.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(wanted))
                && matches!(name.as_bytes().get(wanted.len()), None | Some(b'|'))
        };
        let chosen: Vec<&(String, &Figure)> = match names.is_empty() {
            true => known.iter().collect(),
            false => {
                let of = |wanted| known.iter().filter(move |(name, _)| fits(name, wanted));
                names.iter().flat_map(of).collect()
            }
        };
        let known = chosen.into_iter().filter_map(|(name, figure)| {
            Some((name.clone(), figure.calls, figure.spans.as_ref()?.doublings()))
        });
        let known: Vec<_> = known.collect();
        let out = self.out(index);
        out.map(known.len());
        for (name, calls, doublings) in known {
            out.bulk(name.as_bytes());
            out.map(2);
            out.bulk(b"calls");
            out.integer(seconds(calls));
            out.bulk(b"histogram_usec");
            out.map(doublings.len());
            for (micros, count) in doublings {
                out.integer(seconds(micros));
                out.integer(seconds(count));
            }
        }
    }

    fn latency_report(&self) -> String {
        if self.latency.threshold.is_none() {
            return OFF.to_owned();
        }
        let mut report = String::new();
        for (name, samples) in self.latency.events() {
            let count = samples.last.len();
            let sum: u64 = samples.last.iter().map(|(_, ms)| ms).sum();
            let mean = sum / (count as u64).max(1);
            writeln!(
                report,
                "{name}: {count} samples, one a second at most; mean {mean} ms, longest {} ms.",
                samples.longest_ms
            )
            .expect("writing to a string succeeds");
        }
        if report.is_empty() { QUIET.to_owned() } else { report }
    }
}
