//! Libraries of functions: a library's text is run once, registers functions, and these are called
//! by name ever after.

use crate::convert::argument;
use crate::engine::{Engine, LIBRARY, Level, Problem, described, text_only, watch};
use crate::library;
use crate::shebang::{BAD_NAME, is_name, title};
use cairn_logic::time::Duration;
use mlua::{MultiValue, Table, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;

/// For how long a library may take to register its functions.
const LOAD_TIME: Duration = Duration::from_millis(500);
/// After so many of Lua's instructions the clock is looked at.
const LOOK_EVERY: u32 = 1000;

/// What a function says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It changes nothing, and may not.
    NoWrites,
    /// It may write where there is no memory.
    AllowOom,
    /// It may run at a member that is behind.
    AllowStale,
    /// It refuses to run in a cluster.
    NoCluster,
    /// It may use keys of several slots: not here.
    AllowCrossSlotKeys,
}

impl Flag {
    /// All with their names, in the order in which they are shown.
    pub const ALL: [(&str, Self); 5] = [
        ("no-writes", Self::NoWrites),
        ("allow-oom", Self::AllowOom),
        ("allow-stale", Self::AllowStale),
        ("no-cluster", Self::NoCluster),
        ("allow-cross-slot-keys", Self::AllowCrossSlotKeys),
    ];
}

/// A function of a library.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it says of what it does.
    pub description: Option<Vec<u8>>,
    flags: Vec<Flag>,
    pub(crate) callback: mlua::Function,
}

impl Function {
    /// Whether it has this flag.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }
}

/// A library that was loaded.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: Vec<u8>,
    /// Its functions, by name.
    pub functions: BTreeMap<String, Function>,
}

/// How libraries are loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// One of the same name is replaced.
    pub replace: bool,
    /// It was loaded somewhere before: it may take as long as a script.
    pub trusted: bool,
}

/// The libraries there are, and which of them has which function; names of functions in small
/// letters.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    all: BTreeMap<String, Library>,
    owners: HashMap<String, String>,
}

impl Libraries {
    fn link(&mut self, library: Library) {
        for name in library.functions.keys() {
            self.owners.insert(name.to_ascii_lowercase(), library.name.clone());
        }
        self.all.insert(library.name.clone(), library);
    }

    fn unlink(&mut self, name: &str) -> Option<Library> {
        let library = self.all.remove(name)?;
        for name in library.functions.keys() {
            self.owners.remove(&name.to_ascii_lowercase());
        }
        Some(library)
    }

    /// A function of `library` that another one has, too.
    fn collision<'a>(&self, library: &'a Library) -> Option<&'a str> {
        let mut names = library.functions.keys();
        names.find(|name| self.owners.contains_key(&name.to_ascii_lowercase())).map(String::as_str)
    }
}

impl Engine {
    /// The libraries there are, by name.
    pub fn libraries(&self) -> impl Iterator<Item = &Library> {
        self.libraries.all.values()
    }

    /// The library of this name.
    #[must_use]
    pub fn library(&self, name: &[u8]) -> Option<&Library> {
        std::str::from_utf8(name).ok().and_then(|name| self.libraries.all.get(name))
    }

    /// The function of this name, in letters of any case.
    #[must_use]
    pub fn function(&self, name: &[u8]) -> Option<&Function> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        let library = self.libraries.all.get(self.libraries.owners.get(&name)?)?;
        let mut functions = library.functions.values();
        functions.find(|function| function.name.eq_ignore_ascii_case(&name))
    }

    /// Loads a library from its text; its name.
    ///
    /// # Errors
    /// The text of the error reply; everything is as before then.
    pub fn load_library(
        &mut self,
        text: &[u8],
        options: Options,
        log: &mut dyn FnMut(Level, &str),
    ) -> Result<String, String> {
        let loaded = self.load_some(&[text], options, log);
        loaded.map(|names| names.into_iter().next().unwrap_or_default())
    }

    /// Loads libraries, all or none; their names.
    ///
    /// # Errors
    /// The text of the error reply; everything is as before then.
    pub fn load_some(
        &mut self,
        texts: &[&[u8]],
        options: Options,
        log: &mut dyn FnMut(Level, &str),
    ) -> Result<Vec<String>, String> {
        let (mut replaced, mut names) = (Vec::new(), Vec::new());
        let mut problem = None;
        for text in texts {
            match self.load_one(text, options, &names, log) {
                Ok((library, old)) => {
                    names.push(library.name.clone());
                    replaced.extend(old);
                    self.libraries.link(library);
                }
                Err(text) => {
                    problem = Some(text);
                    break;
                }
            }
        }
        let Some(problem) = problem else { return Ok(names) };
        names.iter().for_each(|name| drop(self.libraries.unlink(name)));
        replaced.into_iter().for_each(|library| self.libraries.link(library));
        Err(format!("ERR {problem}"))
    }

    /// Loads one, and takes the one out that it replaces.
    fn load_one(
        &mut self,
        text: &[u8],
        options: Options,
        new: &[String],
        log: &mut dyn FnMut(Level, &str),
    ) -> Result<(Library, Option<Library>), String> {
        let titled = title(text)?;
        let name = titled.name;
        let known = self.libraries.all.contains_key(&name);
        if known && (!options.replace || new.contains(&name)) {
            return Err(format!("Library '{name}' already exists"));
        }
        let time = if options.trusted { self.limits.time } else { LOAD_TIME };
        let functions = self.registered(titled.body, time, log)?;
        if functions.is_empty() {
            return Err("No functions registered".into());
        }
        let library = Library { name, text: text.to_vec(), functions };
        let old = self.libraries.unlink(&library.name);
        match self.libraries.collision(&library) {
            None => Ok((library, old)),
            Some(function) => {
                let text = format!("Function {function} already exists");
                old.into_iter().for_each(|old| self.libraries.link(old));
                Err(text)
            }
        }
    }

    /// The functions that a library registers when it is run.
    fn registered(
        &self,
        body: &[u8],
        time: Duration,
        log: &mut dyn FnMut(Level, &str),
    ) -> Result<BTreeMap<String, Function>, String> {
        self.collect();
        let chunk = text_only(&self.lua, body).set_name(LIBRARY).into_function();
        let chunk =
            chunk.map_err(|error| format!("Error compiling function: {}", described(&error)))?;
        let (found, log) = (RefCell::new(BTreeMap::new()), RefCell::new(log));
        let until = (self.now)() + time;
        self.deadline.store(until.as_nanos(), Relaxed);
        let outcome = watch(&self.lua, &self.deadline, self.now, LOOK_EVERY).and_then(|()| {
            self.lua.scope(|scope| {
                // An error calls the function by the name that the library has used.
                let register = |api: &'static str| {
                    let found = &found;
                    scope.create_function(move |_, args: MultiValue| {
                        let done = read(&args).and_then(|it| add(&mut found.borrow_mut(), it));
                        done.map_err(|text| mlua::Error::runtime(text.replace("redis.", api)))
                    })
                };
                let (by_redis, by_server) = (register("redis.")?, register("server.")?);
                let log = scope.create_function(|_, args: MultiValue| {
                    let Ok(mut log) = log.try_borrow_mut() else { return Ok(()) };
                    library::log(&args, |level, text| log(level, text))
                })?;
                let given = (chunk, self.set_environment.clone(), by_redis, by_server, log);
                let (good, value): (bool, Value) = self.load.call(given)?;
                if good { Ok(None) } else { Problem::of(&value).map(|it| Some(it.text)) }
            })
        });
        self.lua.remove_hook();
        let late = (self.now)() >= until;
        let problem = match outcome {
            Ok(None) => return Ok(found.into_inner()),
            Ok(Some(_)) | Err(_) if late => "ERR FUNCTION LOAD timeout".to_owned(),
            Ok(Some(text)) => text,
            Err(error) => format!("ERR {}", described(&error)),
        };
        Err(format!("Error registering functions: {problem}"))
    }

    /// Takes a library away; whether there was one of this name.
    pub fn drop_library(&mut self, name: &[u8]) -> bool {
        let name = std::str::from_utf8(name).unwrap_or_default();
        self.libraries.unlink(name).is_some()
    }

    /// Takes all libraries away.
    pub fn drop_libraries(&mut self) {
        self.libraries = Libraries::default();
    }
}

fn add(found: &mut BTreeMap<String, Function>, function: Function) -> Result<(), String> {
    if !is_name(function.name.as_bytes()) {
        return Err(BAD_NAME.into());
    }
    if found.contains_key(&function.name) {
        return Err("Function already exists in the library".into());
    }
    found.insert(function.name.clone(), function);
    Ok(())
}

/// What `redis.register_function` is given: a name and a callback, or a table with more.
fn read(args: &MultiValue) -> Result<Function, String> {
    let mut given = args.iter();
    match (given.next(), given.next(), given.next()) {
        (Some(only), None, _) => named(only),
        (Some(name), Some(callback), None) => {
            let name =
                text(name).ok_or("first argument to redis.register_function must be a string")?;
            let Value::Function(callback) = callback else {
                return Err("second argument to redis.register_function must be a function".into());
            };
            let name = String::from_utf8_lossy(&name).into_owned();
            let callback = callback.clone();
            Ok(Function { name, description: None, flags: Vec::new(), callback })
        }
        _ => Err("wrong number of arguments to redis.register_function".into()),
    }
}

/// A text, or a number as one.
fn text(value: &Value) -> Option<Vec<u8>> {
    argument(value)
}

fn named(given: &Value) -> Result<Function, String> {
    let Value::Table(table) = given else {
        return Err(
            "calling redis.register_function with a single argument is only applicable to \
                    Lua table (representing named arguments)."
                .into(),
        );
    };
    let (mut name, mut description, mut flags, mut callback) = (None, None, Vec::new(), None);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| described(&error))?;
        let key = text(&key)
            .ok_or("named argument key given to redis.register_function is not a string")?;
        match key.to_ascii_lowercase().as_slice() {
            b"function_name" => name = Some(must_be_text(&value, "function_name")?),
            b"description" => description = Some(must_be_text(&value, "description")?),
            b"callback" => {
                let Value::Function(function) = value else {
                    return Err("callback argument given to redis.register_function must be a \
                                function"
                        .into());
                };
                callback = Some(function);
            }
            b"flags" => {
                let Value::Table(table) = value else {
                    return Err("flags argument to redis.register_function must be a table \
                                representing function flags"
                        .into());
                };
                flags = flags_of(&table)?;
            }
            _ => return Err("unknown argument given to redis.register_function".into()),
        }
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    let callback = callback.ok_or("redis.register_function must get a callback argument")?;
    let name = String::from_utf8_lossy(&name).into_owned();
    Ok(Function { name, description, flags, callback })
}

fn must_be_text(value: &Value, name: &str) -> Result<Vec<u8>, String> {
    let refused = || format!("{name} argument given to redis.register_function must be a string");
    text(value).ok_or_else(refused)
}

fn flags_of(table: &Table) -> Result<Vec<Flag>, String> {
    let mut flags = Vec::new();
    for value in table.sequence_values::<Value>() {
        let value = value.map_err(|error| described(&error))?;
        let name = text(&value).unwrap_or_default();
        let known = Flag::ALL.iter().find(|(it, _)| name.eq_ignore_ascii_case(it.as_bytes()));
        let (_, flag) = known.ok_or("unknown flag given")?;
        if !flags.contains(flag) {
            flags.push(*flag);
        }
    }
    Ok(flags)
}
