//! Compiles scripts and runs one at a time, within bounds.

use crate::convert;
use crate::functions::Libraries;
use crate::library::{self, Dice, Json};
use crate::shebang::{self, Declared};
use crate::store::{Script, Sha, Store};
use cairn_logic::time::{Duration, Instant};
use cairn_resp::{Args, ArgsBuf, Reply, ReplyBuf, Version};
use mlua::{
    Chunk, ChunkMode, Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value,
    VmState,
};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// After so many of Lua's instructions the clock is looked at: some microseconds.
const LOOK_EVERY: u32 = 1000;
/// What scripts are called in errors.
const NAME: &str = "@user_script";
/// What libraries are called there.
pub(crate) const LIBRARY: &str = "@user_function";

/// What a script may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the thread's time, in one run.
    pub time: Duration,
    /// Bytes of all its values, of the compiled scripts and of what is not collected yet.
    pub memory_bytes: usize,
    /// Compiled scripts that are kept; above, those that came first go.
    pub scripts_max: usize,
    /// Bytes of their texts.
    pub scripts_bytes_max: usize,
}

/// How much a line of a script's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `redis.LOG_DEBUG`
    Debug,
    /// `redis.LOG_VERBOSE`
    Verbose,
    /// `redis.LOG_NOTICE`
    Notice,
    /// `redis.LOG_WARNING`
    Warning,
}

/// What a script may reach.
pub trait Host {
    /// Executes a command of the script and writes exactly one reply in `out`'s version.
    fn call(&mut self, args: Args<'_>, out: &mut ReplyBuf);

    /// Whether the script's user may have a command executed.
    ///
    /// # Errors
    /// The text of the error reply.
    fn may(&mut self, args: Args<'_>) -> Result<bool, String>;

    /// Takes a line of the script's log.
    fn log(&mut self, level: Level, text: &str);
}

const BUSY: &str = "ERR a command is being executed";

/// What a run is given.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// `KEYS`
    pub keys: Args<'a>,
    /// `ARGV`
    pub arguments: Args<'a>,
}

/// The scripts of a node, and the machine that runs them.
pub struct Engine {
    pub(crate) lua: Lua,
    pub(crate) limits: Limits,
    pub(crate) now: fn() -> Instant,
    store: Store,
    pub(crate) libraries: Libraries,
    /// Runs a script: `prelude.lua` has given it, and the next two.
    run: Function,
    /// Loads a library.
    pub(crate) load: Function,
    /// Calls a function.
    invoke: Function,
    pub(crate) set_environment: Function,
    compile: Function,
    json: Json,
    /// When the run has to be over, in nanoseconds of `now`.
    pub(crate) deadline: Arc<AtomicU64>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine with {} scripts", self.store.len())
    }
}

impl Engine {
    /// A machine without scripts; `now` is the clock for [`Limits::time`].
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(limits: Limits, now: fn() -> Instant) -> Result<Self, String> {
        Self::build(limits, now).map_err(|error| format!("ERR no scripts can be run: {error}"))
    }

    fn build(limits: Limits, now: fn() -> Instant) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        lua.set_memory_limit(limits.memory_bytes)?;
        let compile = lua.create_function(|lua, (text, _name): (mlua::String, Value)| {
            match text_only(lua, &text.as_bytes()).set_name("=loadstring").into_function() {
                Ok(function) => Ok((Value::Function(function), Value::Nil)),
                Err(error) => {
                    Ok((Value::Nil, Value::String(lua.create_string(described(&error))?)))
                }
            }
        })?;
        let json = Json::default();
        let dice = Dice::new(now().as_nanos() as i32);
        let base = library::base(&lua)?;
        let set_environment: Function = lua.globals().get("setfenv")?;
        let line = lua.create_function(|lua, ()| Ok(place_of_script(lua).map(|(_, line)| line)))?;
        let text = lua.create_function(|_, problem: Value| Ok(text_of(&problem)))?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=prelude");
        let given = (
            base,
            library::libraries(&lua, &dice, now, &json)?,
            library::common(&lua)?,
            line,
            text,
        );
        let worlds: Table = prelude.call(given)?;
        let [run, load, invoke] = ["run", "load", "invoke"].map(|name| worlds.raw_get(name));
        Ok(Self {
            lua,
            limits,
            now,
            store: Store::default(),
            libraries: Libraries::default(),
            run: run?,
            load: load?,
            invoke: invoke?,
            set_environment,
            compile,
            json,
            deadline: Arc::new(AtomicU64::new(u64::MAX)),
        })
    }

    /// Compiles `text` unless that was done before.
    ///
    /// # Errors
    /// The text of the error reply.
    pub fn load(&mut self, text: &[u8]) -> Result<Sha, String> {
        let sha = Sha::of(text);
        if self.store.get(&sha).is_some() {
            return Ok(sha);
        }
        let (declared, body) = shebang::read(text)?;
        self.collect();
        let function = text_only(&self.lua, body).set_name(NAME).into_function();
        let function = function.map_err(|error| {
            format!("ERR Error compiling script (new function): {}", described(&error))
        })?;
        let script = Script::new(function, declared, text.len());
        self.store.put(sha, script, self.limits.scripts_max, self.limits.scripts_bytes_max);
        Ok(sha)
    }

    /// Makes room. This Lua does not collect by itself when memory is refused.
    pub(crate) fn collect(&self) {
        if self.lua.used_memory() > self.limits.memory_bytes / 2 {
            self.lua.gc_collect().ok();
        }
    }

    /// What a script says of itself; none if there is no such script.
    #[must_use]
    pub fn declared(&self, sha: &Sha) -> Option<Declared> {
        self.store.get(sha).map(|script| script.declared)
    }

    /// How many scripts there are, and the bytes of their texts.
    #[must_use]
    pub fn scripts(&self) -> (usize, usize) {
        (self.store.len(), self.store.bytes())
    }

    /// Runs a script and writes exactly one reply; what it did before an error stays done.
    pub fn run(&mut self, sha: &Sha, run: Run<'_>, host: &mut dyn Host, out: &mut ReplyBuf) {
        let Some(script) = self.store.get(sha).cloned() else {
            return out.error("NOSCRIPT No matching script. Please use EVAL.");
        };
        let what = What { runs: &self.run, code: &script.function, name: sha.as_str(), from: NAME };
        self.bounded(what, run, host, out);
    }

    /// Calls a function that a library has registered, as [`Engine::run`] runs a script.
    pub fn call(&self, name: &[u8], run: Run<'_>, host: &mut dyn Host, out: &mut ReplyBuf) {
        let Some(function) = self.function(name) else {
            return out.error("ERR Function not found");
        };
        let (code, name) = (&function.callback, function.name.as_str());
        self.bounded(What { runs: &self.invoke, code, name, from: LIBRARY }, run, host, out);
    }

    /// Runs something within bounds and writes exactly one reply.
    fn bounded(&self, what: What<'_>, run: Run<'_>, host: &mut dyn Host, out: &mut ReplyBuf) {
        let begin = out.len();
        self.collect();
        self.json.reset();
        let until = (self.now)() + self.limits.time;
        self.deadline.store(until.as_nanos(), Relaxed);
        let outcome = watch(&self.lua, &self.deadline, self.now, LOOK_EVERY)
            .and_then(|()| self.perform(what, run, host, out));
        self.lua.remove_hook();
        let problem = match outcome {
            Ok(None) => return,
            Ok(Some(problem)) => problem,
            Err(mlua::Error::MemoryError(_)) => Problem {
                text: format!("ERR the script needs more than {} bytes", self.limits.memory_bytes),
                line: None,
            },
            Err(other) => Problem { text: format!("ERR {}", described(&other)), line: None },
        };
        out.truncate(begin);
        let line = problem.line.map_or(String::new(), |line| format!(":{line}"));
        let What { name, from, .. } = what;
        out.error(&format!("{} script: {name}, on {from}{line}.", problem.text));
    }

    fn perform(
        &self,
        what: What<'_>,
        run: Run<'_>,
        host: &mut dyn Host,
        out: &mut ReplyBuf,
    ) -> mlua::Result<Option<Problem>> {
        let lua = &self.lua;
        let (host, version) = (RefCell::new(host), Cell::new(Version::Resp2));
        let keys = list(lua, run.keys)?;
        let arguments = list(lua, run.arguments)?;
        let execute = |args: &MultiValue| match host.try_borrow_mut() {
            Ok(mut host) => command(args, version.get(), &mut **host),
            Err(_) => Err(BUSY.to_owned()),
        };
        lua.scope(|scope| {
            let call = scope.create_function(|lua, args: MultiValue| match execute(&args) {
                Ok(Reply::Error(text)) | Err(text) => Err(mlua::Error::external(Raised(text))),
                Ok(reply) => convert::to_lua(lua, reply, version.get()),
            })?;
            let pcalled = scope.create_function(|lua, args: MultiValue| {
                let reply = execute(&args).unwrap_or_else(Reply::Error);
                convert::to_lua(lua, reply, version.get())
            })?;
            let may = scope.create_function(|_, args: MultiValue| {
                let asked = given(&args).and_then(|args| {
                    let mut host = host.try_borrow_mut().map_err(|_| BUSY.to_owned())?;
                    host.may(args.as_args())
                });
                asked.map_err(|text| mlua::Error::external(Raised(text)))
            })?;
            let log = scope.create_function(|_, args: MultiValue| {
                let Ok(mut host) = host.try_borrow_mut() else { return Ok(()) };
                library::log(&args, |level, text| host.log(level, text))
            })?;
            let set_version = scope.create_function(|_, args: MultiValue| {
                version.set(library::version(&args)?);
                Ok(())
            })?;
            let given = (
                what.code.clone(),
                self.set_environment.clone(),
                self.compile.clone(),
                call,
                pcalled,
                log,
                set_version,
                may,
                keys,
                arguments,
            );
            let (good, value): (bool, Value) = what.runs.call(given)?;
            match good {
                true => convert::to_reply(&value, version.get(), out).map(|()| None),
                false => Problem::of(&value).map(Some),
            }
        })
    }
}

/// What is run.
#[derive(Clone, Copy)]
struct What<'a> {
    /// By this function of `prelude.lua`.
    runs: &'a Function,
    code: &'a Function,
    /// What it is called in errors, and where its text is from.
    name: &'a str,
    from: &'a str,
}

/// Bytecode could make Lua do anything, so only text is a script.
pub(crate) fn text_only<'a>(lua: &Lua, text: &'a [u8]) -> Chunk<'a> {
    lua.load(text).set_mode(ChunkMode::Text)
}

/// Stops what runs longer than until `deadline`. Once it is over, no line is executed any more,
/// so that no `pcall` can go on.
pub(crate) fn watch(
    lua: &Lua,
    deadline: &Arc<AtomicU64>,
    now: fn() -> Instant,
    every: u32,
) -> mlua::Result<()> {
    let (shared, triggers) =
        (Arc::clone(deadline), HookTriggers::new().every_nth_instruction(every));
    lua.set_hook(triggers, move |lua, _| {
        if now().as_nanos() < shared.load(Relaxed) {
            return Ok(VmState::Continue);
        }
        lua.set_hook(HookTriggers::EVERY_LINE, |_, _| Err(over()))?;
        Err(over())
    })
}

fn over() -> mlua::Error {
    mlua::Error::runtime("the script took too long and was stopped; what it wrote before stays")
}

/// The line of the script or library that is being executed, and which of both it is.
pub(crate) fn place_of_script(lua: &Lua) -> Option<(&'static str, usize)> {
    let place = |level| {
        lua.inspect_stack(level, |at| {
            let source = at.source();
            let name = [NAME, LIBRARY].into_iter().find(|it| source.source.as_deref() == Some(it));
            name.zip(at.current_line())
        })
    };
    (1..64).map_while(place).flatten().next()
}

fn list(lua: &Lua, args: Args<'_>) -> mlua::Result<Table> {
    let list = lua.create_table_with_capacity(args.len(), 0)?;
    for (at, arg) in args.iter().enumerate() {
        list.raw_set(at + 1, lua.create_string(arg)?)?;
    }
    Ok(list)
}

/// A command and its arguments.
fn given(args: &MultiValue) -> Result<ArgsBuf, String> {
    if args.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call".into());
    }
    let mut given = ArgsBuf::new();
    for arg in args {
        let arg = convert::argument(arg)
            .ok_or("ERR Lua redis lib command arguments must be strings or integers")?;
        given.push(&arg);
    }
    Ok(given)
}

/// Executes a command of a script.
fn command(args: &MultiValue, version: Version, host: &mut dyn Host) -> Result<Reply, String> {
    let given = given(args)?;
    let mut reply = ReplyBuf::new(version);
    host.call(given.as_args(), &mut reply);
    match Reply::parse(reply.as_bytes()) {
        Ok(Some((reply, _))) => Ok(reply),
        _ => Err("ERR the reply of a command cannot be read".into()),
    }
}

/// The error of a command that `redis.call` has raised.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// What an error of ours says, and whether it begins with its code.
fn text_of(problem: &Value) -> (String, bool) {
    let Value::Error(error) = problem else { return (problem.type_name().to_owned(), false) };
    match error.chain().find_map(|cause| cause.downcast_ref::<Raised>()) {
        Some(raised) => (raised.0.clone(), true),
        None => (described(error), false),
    }
}

/// What a script ended with.
pub(crate) struct Problem {
    pub text: String,
    line: Option<u32>,
}

impl Problem {
    /// Reads what `prelude.lua` made of it.
    pub fn of(value: &Value) -> mlua::Result<Self> {
        let Value::Table(problem) = value else {
            return Ok(Self { text: format!("ERR {}", value.to_string()?), line: None });
        };
        let text = match problem.raw_get("err")? {
            Value::String(text) => text.to_string_lossy(),
            _ => "ERR unknown error".to_owned(),
        };
        Ok(Self { text, line: problem.raw_get("line")? })
    }
}

/// An error without the places in Lua where it went through.
pub(crate) fn described(error: &mlua::Error) -> String {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } | mlua::Error::RuntimeError(message) => {
            message.clone()
        }
        mlua::Error::CallbackError { cause, .. } => return described(cause),
        other => other.to_string(),
    };
    text.split("\nstack traceback:").next().unwrap_or_default().to_owned()
}
