//! FUNCTION, and how FCALL calls one: libraries are texts that the group's log and snapshots hold,
//! so every member has them; each loads them when the first function is called there.

use crate::data::commands::script::{Caller, LIMITS, NO_CLUSTER, key_count};
use crate::data::commands::transaction::Sum;
use crate::data::commands::{help, too_many, word};
use crate::data::core::Core;
use crate::data::dispatch::{Flow, OOM, Refused};
use crate::data::routing::{Ask, Verdict};
use crate::data::server::Server;
use cairn_keyspace::command::{Command, Flags, lookup};
use cairn_keyspace::{LIBRARIES_BYTES_MAX, dump_libraries, fits, load_libraries};
use cairn_resp::{Args, ReplyBuf};
use cairn_script::{Engine, Flag, Level, Library, Options, Run};

/// The text of one library, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

const HELP: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Load a library at this group; every master has its own.",
    "DELETE <LIBRARY NAME>",
    "    Delete a library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Tell which libraries there are, with their functions, and their texts if asked.",
    "STATS",
    "    Tell how many libraries and functions there are.",
    "KILL",
    "    There is never one to kill: a function is stopped by itself after a second.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all libraries.",
    "DUMP",
    "    Give all libraries as a payload for FUNCTION RESTORE.",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Load the libraries of a payload: in place of all, beside them (the default), or in place",
    "    of those of the same names.",
    "HELP",
    "    Print this help.",
];

/// Libraries as they are loaded here.
#[derive(Debug)]
pub struct Functions {
    engine: Engine,
    /// The version of the keyspace's libraries that is loaded.
    version: Option<u64>,
}

fn say(level: Level, text: &str) {
    match level {
        Level::Debug => tracing::debug!(text, "a library says"),
        Level::Verbose | Level::Notice => tracing::info!(text, "a library says"),
        Level::Warning => tracing::warn!(text, "a library says"),
    }
}

impl Functions {
    /// Loads what the keyspace has, as far as it is not loaded. What cannot be loaded is said, and
    /// left out.
    fn follow(&mut self, core: &Core) {
        let version = core.keyspace.libraries_version();
        if self.version == Some(version) {
            return;
        }
        let wanted = core.keyspace.libraries();
        let same = |it: &Library| wanted.get(it.name.as_bytes()) == Some(&it.text);
        let stale = self.engine.libraries().filter(|it| !same(it)).map(|it| it.name.clone());
        for name in stale.collect::<Vec<_>>() {
            self.engine.drop_library(name.as_bytes());
        }
        for (name, text) in wanted {
            if self.engine.library(name).is_some() {
                continue;
            }
            let options = Options { replace: false, trusted: true };
            if let Err(error) = self.engine.load_library(text, options, &mut say) {
                let library = String::from_utf8_lossy(name);
                tracing::error!(%library, error, "a library of functions cannot be loaded");
            }
        }
        self.version = Some(version);
    }
}

impl Server {
    /// The functions, all of them loaded; to be given back.
    fn take_functions(&mut self) -> Result<Box<Functions>, String> {
        let mut functions = match self.functions.take() {
            Some(functions) => functions,
            None => {
                let engine = Engine::new(LIMITS, self.core.clock.now)?;
                Box::new(Functions { engine, version: None })
            }
        };
        functions.follow(&self.core);
        Ok(functions)
    }

    /// `FCALL function numkeys …`, `FCALL_RO function numkeys …`, within a unit of the log.
    pub(super) fn try_function(
        &mut self,
        index: usize,
        (command, args): (&'static Command, Args<'_>),
        (sum, slot): (&mut Sum, &mut u16),
        reply: &mut ReplyBuf,
    ) -> Result<(), String> {
        // A function calls no other command FCALL, so nobody looks for the engine meanwhile.
        let functions = self.take_functions()?;
        let asked = (command, args);
        let outcome = self.call_function(&functions.engine, index, asked, (sum, slot), reply);
        self.functions = Some(functions);
        outcome
    }

    /// Whether there is such a function, and it says of itself that it changes nothing.
    pub(super) fn function_only_reads(&mut self, name: &[u8]) -> bool {
        let Ok(functions) = self.take_functions() else { return false };
        let reads = functions.engine.function(name).is_some_and(|it| it.has(Flag::NoWrites));
        self.functions = Some(functions);
        reads
    }

    fn call_function(
        &mut self,
        engine: &Engine,
        index: usize,
        (command, args): (&'static Command, Args<'_>),
        (sum, slot): (&mut Sum, &mut u16),
        reply: &mut ReplyBuf,
    ) -> Result<(), String> {
        let function = engine.function(args.get(1)).ok_or("ERR Function not found")?;
        let count = key_count(args).map_err(|text| match text {
            text if text.starts_with("ERR value") => "ERR Bad number of keys provided".to_owned(),
            text => text,
        })?;
        let reads = function.has(Flag::NoWrites);
        if function.has(Flag::NoCluster) {
            return Err(NO_CLUSTER.into());
        }
        if !reads && self.core.mastership.is_none() {
            let text = "READONLY Can not run script with write flag on readonly replica";
            return Err(text.into());
        }
        if !reads && command.flags.has(Flags::READONLY) {
            let text = "ERR Can not execute a script with write flag using *_ro command.";
            return Err(text.into());
        }
        let lets_oom = function.has(Flag::AllowOom);
        if !lets_oom && !reads {
            self.has_room_to_run()?;
        }
        if let Some(key) = command.first_key(args) {
            *slot = self.core.keyspace.locate(key).slot.get();
        }
        sum.shows_data = true;
        sum.depends_on = sum.depends_on.max(self.core.keyspace.libraries_last_write());
        let logged = self.core.log.body_bytes();
        let mut caller = Caller { server: self, index, sum, slot, reads, logged, lets_oom };
        let run = Run { keys: args.from(3).first(count), arguments: args.from(3 + count) };
        engine.call(args.get(1), run, &mut caller, reply);
        Ok(())
    }

    /// `FUNCTION subcommand …` outside of a transaction.
    pub(in crate::data) fn function_alone(&mut self, index: usize, args: Args<'_>) -> Flow {
        if let Err(Refused::Stalled) = self.admit_function(index, args) {
            self.stall(index);
            return Flow::Again;
        }
        self.as_unit(index, |server, sum, _| {
            server.function(index, args);
            sum.shows_data = true;
            let last = server.core.keyspace.libraries_last_write();
            sum.depends_on = sum.depends_on.max(last);
        });
        Flow::Next
    }

    /// Whether a subcommand may be executed here and now.
    fn admit_function(&mut self, index: usize, args: Args<'_>) -> Result<(), Refused> {
        let sub = word(args.get(1));
        if matches!(sub.as_str(), "help" | "kill") {
            return Ok(());
        }
        let write = matches!(sub.as_str(), "load" | "delete" | "flush" | "restore");
        let ask = Ask { write, readonly: self.session(index).readonly };
        let verdict = self.core.view.of_no_slot(ask);
        if verdict != Verdict::Here {
            return Err(self.core.refuse(verdict, None));
        }
        // Libraries take memory as values do.
        let grows = matches!(sub.as_str(), "load" | "restore");
        let like = lookup(if grows { b"set" } else { b"del" });
        like.map_or(Ok(()), |like| self.with_room(|core| core.ready(like, write)))
    }

    /// `FUNCTION subcommand …`; writes one reply.
    pub(in crate::data) fn function(&mut self, index: usize, args: Args<'_>) {
        match self.admit_function(index, args) {
            Ok(()) => {}
            Err(Refused::Error(text)) => return self.out(index).error(&text),
            Err(Refused::NoMemory) => return self.out(index).error(OOM),
            Err(Refused::Stalled) => {
                return self.out(index).error("TRYAGAIN the group is handing over");
            }
        }
        let done = match word(args.get(1)).as_str() {
            "load" => self.function_load(index, args),
            "delete" => self.function_delete(index, args.get(2)),
            "flush" => return self.function_flush(index, args),
            "restore" => return self.function_restore(index, args),
            "list" => self.function_list(index, args),
            "stats" => self.function_stats(index),
            "dump" => {
                let texts = self.core.keyspace.libraries().values().map(Vec::as_slice);
                let payload = dump_libraries(texts);
                self.out(index).bulk(&payload);
                Ok(())
            }
            "kill" => Err("NOTBUSY No scripts in execution right now.".to_owned()),
            // Unknown ones were refused before.
            _ => return help(self, index, HELP),
        };
        if let Err(text) = done {
            self.out(index).error(&text);
        }
    }

    /// Loads texts, all or none, and keeps them in the log; the names of their libraries.
    fn keep(&mut self, texts: &[&[u8]], options: Options) -> Result<Vec<String>, String> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err("ERR the library is larger than 1 MiB".into());
        }
        if self.core.keyspace.libraries_bytes() + bytes > LIBRARIES_BYTES_MAX {
            return Err("ERR the libraries would be larger than 8 MiB together".into());
        }
        let mut functions = self.take_functions()?;
        let loaded = functions.engine.load_some(texts, options, &mut say);
        if let Ok(names) = &loaded {
            let core = &mut self.core;
            for (name, text) in names.iter().zip(texts) {
                core.keyspace.put_library(name.as_bytes(), text, &mut core.log);
            }
            functions.version = Some(core.keyspace.libraries_version());
        }
        self.functions = Some(functions);
        loaded
    }

    fn function_load(&mut self, index: usize, args: Args<'_>) -> Result<(), String> {
        let last = args.len() - 1;
        for option in 2..last {
            if !args.get(option).eq_ignore_ascii_case(b"REPLACE") {
                let given = String::from_utf8_lossy(args.get(option));
                return Err(format!("ERR Unknown option given: {given}"));
            }
        }
        let options = Options { replace: last > 2, trusted: false };
        let names = self.keep(&[args.get(last)], options)?;
        let name = names.first().map_or("", String::as_str);
        self.out(index).bulk(name.as_bytes());
        Ok(())
    }

    fn function_delete(&mut self, index: usize, name: &[u8]) -> Result<(), String> {
        let core = &mut self.core;
        if !core.keyspace.drop_library(name, &mut core.log) {
            return Err("ERR Library not found".into());
        }
        self.out(index).ok();
        Ok(())
    }

    fn drop_all(&mut self) {
        let core = &mut self.core;
        let names: Vec<Vec<u8>> = core.keyspace.libraries().keys().cloned().collect();
        for name in names {
            core.keyspace.drop_library(&name, &mut core.log);
        }
    }

    fn function_flush(&mut self, index: usize, args: Args<'_>) {
        match args.len() {
            2 => {}
            3 if matches!(word(args.get(2)).as_str(), "sync" | "async") => {}
            3 => {
                let text = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
                return self.out(index).error(text);
            }
            _ => return too_many(self, index, args, "FUNCTION"),
        }
        self.drop_all();
        self.out(index).ok();
    }

    fn function_restore(&mut self, index: usize, args: Args<'_>) {
        if args.len() > 4 {
            return too_many(self, index, args, "FUNCTION");
        }
        let policy = if args.len() == 4 { word(args.get(3)) } else { "append".to_owned() };
        match self.restored(args.get(2), &policy) {
            Ok(()) => self.out(index).ok(),
            Err(text) => self.out(index).error(&text),
        }
    }

    fn restored(&mut self, payload: &[u8], policy: &str) -> Result<(), String> {
        if !matches!(policy, "flush" | "append" | "replace") {
            return Err("ERR Wrong restore policy given, value should be either FLUSH, APPEND or \
                        REPLACE."
                .into());
        }
        let texts = load_libraries(payload).map_err(|text| format!("ERR {text}"))?;
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        if policy == "flush" {
            // Tried where nothing else is, so that all stays as it is if they cannot be loaded.
            let mut alone = Engine::new(LIMITS, self.core.clock.now)?;
            alone.load_some(&texts, Options::default(), &mut say)?;
            self.drop_all();
        }
        let options = Options { replace: policy == "replace", trusted: false };
        self.keep(&texts, options).map(drop).map_err(said_by_restore)
    }

    fn function_list(&mut self, index: usize, args: Args<'_>) -> Result<(), String> {
        let (mut with_code, mut pattern, mut at) = (false, None, 2);
        while at < args.len() {
            match word(args.get(at)).as_str() {
                "withcode" if !with_code => with_code = true,
                "libraryname" if pattern.is_none() => {
                    at += 1;
                    if at == args.len() {
                        return Err("ERR library name argument was not given".into());
                    }
                    pattern = Some(args.get(at).to_vec());
                }
                _ => {
                    let given = String::from_utf8_lossy(args.get(at));
                    return Err(format!("ERR Unknown argument {given}"));
                }
            }
            at += 1;
        }
        let functions = self.take_functions()?;
        let shown = |it: &&Library| {
            pattern.as_ref().is_none_or(|pattern| {
                fits(&pattern.to_ascii_lowercase(), &it.name.to_ascii_lowercase().into_bytes())
            })
        };
        let libraries: Vec<&Library> = functions.engine.libraries().filter(shown).collect();
        let out = self.out(index);
        out.array(libraries.len());
        libraries.iter().for_each(|library| show(library, with_code, out));
        self.functions = Some(functions);
        Ok(())
    }

    fn function_stats(&mut self, index: usize) -> Result<(), String> {
        let functions = self.take_functions()?;
        let (mut libraries, mut count) = (0, 0);
        for library in functions.engine.libraries() {
            libraries += 1;
            count += library.functions.len();
        }
        let out = self.out(index);
        out.map(2);
        out.bulk(b"running_script");
        out.null();
        out.bulk(b"engines");
        out.map(1);
        out.bulk(b"LUA");
        out.map(2);
        out.bulk(b"libraries_count");
        out.count(libraries);
        out.bulk(b"functions_count");
        out.count(count);
        self.functions = Some(functions);
        Ok(())
    }
}

/// What FUNCTION RESTORE says of a library that is there already.
fn said_by_restore(text: String) -> String {
    match text.strip_prefix("ERR Library '").and_then(|rest| rest.split_once('\'')) {
        Some((name, rest)) => format!("ERR Library {name}{rest}"),
        None => text,
    }
}

fn show(library: &Library, with_code: bool, out: &mut ReplyBuf) {
    out.map(if with_code { 4 } else { 3 });
    out.bulk(b"library_name");
    out.bulk(library.name.as_bytes());
    out.bulk(b"engine");
    out.bulk(b"LUA");
    out.bulk(b"functions");
    out.array(library.functions.len());
    for function in library.functions.values() {
        out.map(3);
        out.bulk(b"name");
        out.bulk(function.name.as_bytes());
        out.bulk(b"description");
        match &function.description {
            Some(text) => out.bulk(text),
            None => out.null(),
        }
        out.bulk(b"flags");
        let flags = Flag::ALL.iter().filter(|(_, flag)| function.has(*flag));
        let flags: Vec<&str> = flags.map(|(name, _)| *name).collect();
        out.set(flags.len());
        flags.iter().for_each(|flag| out.simple(flag));
    }
    if with_code {
        out.bulk(b"library_code");
        out.bulk(&library.text);
    }
}
