//! EVAL and its like, SCRIPT: a script is one unit of the log, which holds its effects only.

use crate::data::commands::transaction::Sum;
use crate::data::commands::{debug, help, word};
use crate::data::core::{BATCH_BYTES, Core};
use crate::data::denials::Context;
use crate::data::dispatch::{CROSSSLOT, Flow, NO_SLOT, OOM, Refused, same_slot};
use crate::data::routing::{Ask, Verdict};
use crate::data::server::Server;
use cairn_acl::{Denied, Reason};
use cairn_keyspace::At;
use cairn_keyspace::command::{Command, Flags, Session, lookup};
use cairn_logic::replication::Admission;
use cairn_logic::time::Duration;
use cairn_resp::number::parse_i64;
use cairn_resp::{Args, ReplyBuf};
use cairn_script::{Declared, Engine, Host, Level, Limits, Run, Sha};

/// What scripts may take. One that goes on for longer is stopped, and what it wrote stays.
pub(super) const LIMITS: Limits = Limits {
    time: Duration::from_secs(1),
    memory_bytes: 64 << 20,
    scripts_max: 10_000,
    scripts_bytes_max: 16 << 20,
};
/// Effects of one script, in bytes, above which it writes no more: all of them are one entry of
/// the log, beside what others wrote in this turn.
const EFFECTS_BYTES_MAX: usize = 2 * BATCH_BYTES;

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
pub(super) const NO_CLUSTER: &str = "ERR Can not run script on cluster, 'no-cluster' flag is set.";
const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
const NOT_MASTER: &str = "READONLY You can't write against a read only replica.";
const NOT_HERE: &str = "ERR Script attempted to access a non local key in a cluster node";
const OTHER_SLOT: &str = "ERR Script attempted to access keys that do not hash to the same slot";
const TOO_MUCH: &str = "ERR the script writes more than 16 MiB, the limit of one entry of the log";

const HELP: &[&str] = &[
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEBUG (YES|SYNC|NO)",
    "    Not here: there is no debugger, try scripts on a cluster of your own.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Tell which of these scripts this node keeps.",
    "FLUSH [ASYNC|SYNC]",
    "    Forget all scripts.",
    "KILL",
    "    There is never one to kill: a script is stopped by itself after a second.",
    "LOAD <script>",
    "    Keep a script for EVALSHA.",
    "HELP",
    "    Print this help.",
];

impl Core {
    /// Whether a script may run here and now: on its keys as a command that reads them. What it
    /// writes is judged command by command, but for a handover, whose end the whole script awaits.
    pub(in crate::data) fn admit_script(
        &self,
        command: &Command,
        args: Args<'_>,
        at: Option<At>,
        readonly: bool,
    ) -> Result<(), Refused> {
        let ask = Ask { write: false, readonly };
        let verdict = match at {
            Some(at) if !same_slot(command, args, at.slot) => {
                return Err(Refused::Error(CROSSSLOT.into()));
            }
            Some(at) => self.view.of_slot(at.slot, ask),
            None => self.view.of_no_slot(ask),
        };
        if verdict != Verdict::Here {
            return Err(self.refuse(verdict, at));
        }
        if self.is_guarded() {
            self.guard(at.map(|at| at.slot))?;
        }
        if self.keyspace.lent().is_some() {
            // It may ask for all keys, and cannot wait once it has begun.
            return Err(Refused::Stalled);
        }
        let writes = !command.flags.has(Flags::READONLY) && self.mastership.is_some();
        if writes && self.admission == Admission::HandingOver {
            return Err(Refused::Stalled);
        }
        self.ready(command, false)
    }
}

impl Server {
    /// `EVAL`, `EVALSHA`, `EVAL_RO`, `EVALSHA_RO`, outside of a transaction.
    pub(in crate::data) fn eval(
        &mut self,
        index: usize,
        command: &'static Command,
        args: Args<'_>,
        at: Option<At>,
    ) -> Flow {
        let readonly = self.session(index).readonly;
        match self.core.admit_script(command, args, at, readonly) {
            Ok(()) => {}
            Err(Refused::Error(text)) => {
                self.out(index).error(&text);
                return Flow::Next;
            }
            Err(Refused::NoMemory) => {
                self.out(index).error(OOM);
                return Flow::Next;
            }
            Err(Refused::Stalled) => {
                self.stall(index);
                return Flow::Again;
            }
        }
        self.as_unit(index, |server, sum, slot| {
            server.run_script(index, command, args, sum, slot);
        });
        Flow::Next
    }

    /// Runs a script, or calls a function, within a unit of the log; writes one reply.
    pub(in crate::data) fn run_script(
        &mut self,
        index: usize,
        command: &'static Command,
        args: Args<'_>,
        sum: &mut Sum,
        slot: &mut u16,
    ) {
        let mut reply = ReplyBuf::new(self.out(index).version());
        let what = (command, args);
        let tried = match command.name {
            "fcall" | "fcall_ro" => self.try_function(index, what, (sum, slot), &mut reply),
            _ => self.try_script(index, what, (sum, slot), &mut reply),
        };
        if let Err(text) = tried {
            reply.clear();
            reply.error(&text);
        }
        self.out(index).raw(reply.as_bytes());
    }

    fn try_script(
        &mut self,
        index: usize,
        (command, args): (&'static Command, Args<'_>),
        (sum, slot): (&mut Sum, &mut u16),
        reply: &mut ReplyBuf,
    ) -> Result<(), String> {
        let count = key_count(args)?;
        // A script has no script of its own to run, so nobody looks for the engine meanwhile.
        let mut engine = self.take_scripts()?;
        let by_text = matches!(command.name, "eval" | "eval_ro");
        let sha = match by_text {
            true => engine.load(args.get(1)),
            false => Sha::read(args.get(1)).ok_or_else(|| NO_SCRIPT.to_owned()),
        };
        let outcome = sha.and_then(|sha| {
            let declared = engine.declared(&sha).ok_or_else(|| NO_SCRIPT.to_owned())?;
            if declared.no_cluster {
                return Err(NO_CLUSTER.to_owned());
            }
            if let Some(key) = command.first_key(args) {
                *slot = self.core.keyspace.locate(key).slot.get();
                sum.shows_data = true;
            }
            let reads = command.flags.has(Flags::READONLY) || declared.no_writes;
            if !reads && declared.allow_oom == Some(false) {
                self.has_room_to_run()?;
            }
            let (logged, lets_oom) = (self.core.log.body_bytes(), declared.allow_oom == Some(true));
            let mut caller = Caller { server: self, index, sum, slot, reads, logged, lets_oom };
            let run = Run { keys: args.from(3).first(count), arguments: args.from(3 + count) };
            engine.run(&sha, run, &mut caller, reply);
            Ok(())
        });
        self.scripts = Some(engine);
        outcome
    }

    /// Whether what a command would run says of itself that it changes nothing.
    pub(super) fn only_reads(&mut self, command: &Command, args: Args<'_>) -> bool {
        let declared = match command.name {
            "eval" => Declared::of(args.get(1)),
            "evalsha" => {
                let engine = self.scripts.as_ref();
                engine.zip(Sha::read(args.get(1))).and_then(|(engine, sha)| engine.declared(&sha))
            }
            "fcall" => return self.function_only_reads(args.get(1)),
            _ => None,
        };
        declared.is_some_and(|declared| declared.no_writes)
    }

    /// Whether a script or function may run that says nothing of what it does without memory.
    pub(super) fn has_room_to_run(&self) -> Result<(), String> {
        match self.core.is_full() && !self.core.evicting.goes_on {
            true => Err("OOM allow-oom flag is not set on the script, can not run it when used \
                         memory > 'maxmemory'"
                .into()),
            false => Ok(()),
        }
    }

    fn take_scripts(&mut self) -> Result<Box<Engine>, String> {
        match self.scripts.take() {
            Some(engine) => Ok(engine),
            None => Engine::new(LIMITS, self.core.clock.now).map(Box::new),
        }
    }

    /// `SCRIPT LOAD|EXISTS|FLUSH|KILL|DEBUG|HELP`
    pub(in crate::data) fn script(&mut self, index: usize, args: Args<'_>) {
        match word(args.get(1)).as_str() {
            "load" => self.script_load(index, args.get(2)),
            "exists" => {
                let known = |digits: &[u8]| {
                    let engine = self.scripts.as_ref();
                    let sha = Sha::read(digits);
                    engine.zip(sha).is_some_and(|(engine, sha)| engine.declared(&sha).is_some())
                };
                let found: Vec<bool> = args.from(2).iter().map(known).collect();
                let out = self.out(index);
                out.array(found.len());
                found.iter().for_each(|found| out.integer(i64::from(*found)));
            }
            "flush" => match args.len() {
                2 => self.script_flush(index),
                3 if matches!(word(args.get(2)).as_str(), "sync" | "async") => {
                    self.script_flush(index);
                }
                _ => self.out(index).error("ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
            },
            "kill" => self.out(index).error("NOTBUSY No scripts in execution right now."),
            "debug" => self.out(index).error("ERR there is no debugger of scripts here"),
            _ => help(self, index, HELP),
        }
    }

    fn script_load(&mut self, index: usize, text: &[u8]) {
        let loaded = self.take_scripts().and_then(|mut engine| {
            let loaded = engine.load(text);
            self.scripts = Some(engine);
            loaded
        });
        match loaded {
            Ok(sha) => self.out(index).bulk(sha.as_str().as_bytes()),
            Err(text) => self.out(index).error(&text),
        }
    }

    fn script_flush(&mut self, index: usize) {
        self.scripts = None;
        self.out(index).ok();
    }
}

/// What its user lacks for a command of a script.
const fn denial(denied: &Denied) -> &'static str {
    match denied.reason {
        Reason::Command => "can't run this command or subcommand",
        Reason::Key => "can't access at least one of the keys mentioned in the command arguments",
        Reason::Channel => "can't publish to the channel mentioned in the command",
    }
}

/// How many of a script's arguments are keys.
pub(super) fn key_count(args: Args<'_>) -> Result<usize, String> {
    let count = parse_i64(args.get(2));
    let count = count.ok_or("ERR value is not an integer or out of range")?;
    let count = usize::try_from(count).map_err(|_| "ERR Number of keys can't be negative")?;
    if count > args.len() - 3 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    Ok(count)
}

/// A script that is being run, as its commands see it.
pub(super) struct Caller<'a> {
    pub server: &'a mut Server,
    pub index: usize,
    pub sum: &'a mut Sum,
    /// The one slot of its keys, as soon as it is known.
    pub slot: &'a mut u16,
    /// Whether it may only read.
    pub reads: bool,
    /// The log's bytes before it.
    pub logged: usize,
    /// Whether it may write where there is no memory.
    pub lets_oom: bool,
}

impl Caller<'_> {
    fn execute(&mut self, args: Args<'_>, out: &mut ReplyBuf) -> Result<(), String> {
        let command = lookup(args.name()).ok_or("ERR Unknown Redis command called from script")?;
        if !command.takes(args.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        // What waits for items may be called, as in Redis 7.2: it does not wait here.
        let harmless = command.name == "debug" && debug::is_answered(args);
        let allowed = command.flags.has(Flags::BLOCKING) || harmless;
        if command.flags.has(Flags::NO_SCRIPT) && !allowed {
            return Err(NOT_ALLOWED.into());
        }
        // What others hear of counts as a change here.
        if self.reads && command.flags.has(Flags::MAY_REPLICATE) {
            return Err(READ_ONLY.into());
        }
        if let Some(denied) = self.server.denied(self.index, command, args) {
            let why = denial(&denied);
            self.server.note_denied(self.index, Context::Lua, denied);
            return Err(format!("ERR The user executing the script {why}"));
        }
        let at = command.first_key(args).map(|key| self.server.core.keyspace.locate(key));
        if let Some(at) = at {
            self.stay(command, args, at)?;
        }
        match command.session() {
            None => return self.execute_here(command, args, at, out),
            Some(Session::Publish) => self.by_client(out, |it, at| it.publish(at, false, args)),
            Some(Session::Spublish) => self.by_client(out, |it, at| it.publish(at, true, args)),
            Some(Session::Nowhere) if harmless => drop(debug::answered(args, out)),
            Some(Session::Wait) => self.by_client(out, |it, at| it.wait(at, args)),
            Some(_) => return Err(NOT_ALLOWED.into()),
        }
        Ok(())
    }

    /// Executes what reads or writes keys.
    fn execute_here(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        at: Option<At>,
        out: &mut ReplyBuf,
    ) -> Result<(), String> {
        self.admit(command, args, at)?;
        let core = &mut self.server.core;
        let (ctx, began) = (core.ctx(), (core.clock.now)());
        let done = core.keyspace.execute(&ctx, command, args, at, out, &mut core.log);
        core.stats.commands += 1;
        let took = (core.clock.now)().since(began);
        self.server.conn(self.index).commands += 1;
        self.server.note(self.index, command, args, took);
        match out.as_bytes() {
            [b'-', text @ ..] => self.server.figures.failed(Some(command), text, true),
            _ => self.server.remember_read(self.index, command, args),
        }
        self.sum.depends_on = self.sum.depends_on.max(done.depends_on);
        self.sum.shows_data |= at.is_some() || done.wrote || command.flags.has(Flags::READONLY);
        Ok(())
    }

    /// All keys of a script are of one slot.
    fn stay(&mut self, command: &Command, args: Args<'_>, at: At) -> Result<(), String> {
        let slot = at.slot.get();
        if (*self.slot != NO_SLOT && *self.slot != slot) || !same_slot(command, args, at.slot) {
            return Err(OTHER_SLOT.into());
        }
        *self.slot = slot;
        Ok(())
    }

    fn admit(&self, command: &Command, args: Args<'_>, at: Option<At>) -> Result<(), String> {
        let core = &self.server.core;
        if command.flags.has(Flags::WRITE) {
            if self.reads {
                return Err(READ_ONLY.into());
            }
            if core.mastership.is_none() {
                return Err(NOT_MASTER.into());
            }
            if core.log.body_bytes().saturating_sub(self.logged) > EFFECTS_BYTES_MAX {
                return Err(TOO_MUCH.into());
            }
        }
        // Whether replicas may answer was asked when the script was admitted.
        match core.admit(command, args, at, true) {
            Ok(()) => Ok(()),
            Err(Refused::Error(text)) if text.starts_with("MOVED") => Err(NOT_HERE.into()),
            Err(Refused::Error(text)) => Err(text),
            Err(Refused::NoMemory) if self.lets_oom => Ok(()),
            Err(Refused::NoMemory) => Err(OOM.into()),
            Err(Refused::Stalled) => Err("TRYAGAIN the group is handing over".into()),
        }
    }

    /// Has the client's connection do something, and takes its reply.
    fn by_client(&mut self, out: &mut ReplyBuf, act: impl FnOnce(&mut Server, usize)) {
        let from = self.server.out(self.index).len();
        act(self.server, self.index);
        let buf = self.server.out(self.index);
        out.raw(&buf.as_bytes()[from..]);
        buf.truncate(from);
    }
}

impl Host for Caller<'_> {
    fn call(&mut self, args: Args<'_>, out: &mut ReplyBuf) {
        if let Err(text) = self.execute(args, out) {
            self.server.figures.failed(lookup(args.name()), text.as_bytes(), false);
            out.clear();
            out.error(&text);
        }
    }

    fn may(&mut self, args: Args<'_>) -> Result<bool, String> {
        self.server.script_may(self.index, args)
    }

    fn log(&mut self, level: Level, text: &str) {
        match level {
            Level::Debug => tracing::debug!(text, "a script says"),
            Level::Verbose | Level::Notice => tracing::info!(text, "a script says"),
            Level::Warning => tracing::warn!(text, "a script says"),
        }
    }
}
