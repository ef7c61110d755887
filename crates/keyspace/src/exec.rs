//! Runs one command on the keyspace: arguments in; reply, effects and a dependency out.

use crate::command::{Command, Flags, Group, Kind};
use crate::effects::{EffectLog, Op};
use crate::events::Classes;
use crate::keyspace::{At, Keyspace};
use crate::refusal::Refusal;
use crate::table::Place;
use crate::value::{Collection, Type};
use cairn_logic::ids::{Offset, Slot};
use cairn_logic::time::Duration;
use cairn_resp::{Args, ArgsBuf, ReplyBuf};

/// What a command may know of the world.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// The wall clock, in milliseconds since 1970; read once per turn.
    pub now_ms: u64,
    /// Whether effects may be logged: true on the master alone. Otherwise write commands are
    /// refused, and expired keys are hidden but not deleted.
    pub may_write: bool,
    /// The largest value that a command may make, in bytes.
    pub value_bytes_max: usize,
}

/// What the caller must know of an executed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether it logged effects (its own, or the deletion of an expired key).
    pub wrote: bool,
    /// The reply may be released once this offset is committed; 0 if it depends on no data.
    ///
    /// For commands with keys it is the last write of their slots, this command's own included;
    /// for commands on all keys the last offset there is.
    pub depends_on: Offset,
    /// Set if it found nothing and may wait for it. Its reply is then for a caller that does not
    /// let it wait; one that has waited in vain is answered by nothing where an array was possible.
    pub waits: Option<Box<Wait>>,
}

/// What a command waits for that found nothing (BLPOP and its like): a change of one of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For how long; none: as long as it takes.
    pub timeout: Option<Duration>,
    /// What to give to [`Keyspace::execute_again`] then; none: the same command.
    pub again: Option<ArgsBuf>,
}

/// A command being executed.
pub(crate) struct Call<'a> {
    pub ks: &'a mut Keyspace,
    pub ctx: &'a Ctx,
    pub args: Args<'a>,
    pub reply: &'a mut ReplyBuf,
    pub log: &'a mut EffectLog,
    first: Option<At>,
    depends_on: Offset,
    waits: Option<Box<Wait>>,
    /// Whether it has waited for its keys.
    again: bool,
    /// Whether a key that is looked for and is not there is a miss: not where one is to be made.
    pub reads: bool,
    /// Whether a key that is found counts as used.
    pub uses: bool,
}

impl Keyspace {
    /// Executes a command of kind [`Kind::Data`] and writes exactly one reply.
    ///
    /// `at` is what [`Keyspace::locate`] said of the command's first key, if the caller knows it.
    /// Arity is checked here; whether this node owns the slots, whether all keys are of one slot,
    /// and memory limits ([`Flags::DENY_OOM`]) are the caller's to check before.
    pub fn execute(
        &mut self,
        ctx: &Ctx,
        command: &Command,
        args: Args<'_>,
        at: Option<At>,
        reply: &mut ReplyBuf,
        log: &mut EffectLog,
    ) -> Done {
        Call { first: at, ..Call::new(self, ctx, args, reply, log) }.done(command)
    }

    /// Executes a command again that has waited for one of its keys: as before, but that values of
    /// other types than it waits for are passed over.
    pub fn execute_again(
        &mut self,
        ctx: &Ctx,
        command: &Command,
        args: Args<'_>,
        reply: &mut ReplyBuf,
        log: &mut EffectLog,
    ) -> Done {
        Call { again: true, ..Call::new(self, ctx, args, reply, log) }.done(command)
    }

    /// Whether commands of `family` that wait for `key` may find there what they wait for.
    #[must_use]
    pub fn may_serve(&self, family: Group, key: &[u8], now_ms: u64) -> bool {
        let at = self.locate(key);
        let found = self.find(at, key).filter(|place| !self.is_expired(at, *place, now_ms));
        let found = found.map(|place| self.kind(at, place));
        match family {
            Group::List => found == Some(Type::List),
            Group::SortedSet => found == Some(Type::Sorted),
            _ => true,
        }
    }
}

impl<'a> Call<'a> {
    fn new(
        ks: &'a mut Keyspace,
        ctx: &'a Ctx,
        args: Args<'a>,
        reply: &'a mut ReplyBuf,
        log: &'a mut EffectLog,
    ) -> Self {
        let depends_on = Offset::ZERO;
        let (first, waits, again) = (None, None, false);
        let (reads, uses) = (false, true);
        Self { ks, ctx, args, reply, log, first, depends_on, waits, again, reads, uses }
    }

    #[inline]
    fn done(mut self, command: &Command) -> Done {
        let begin = self.reply.len();
        let outcome = self.run(command);
        let Call { reply, log, depends_on, waits, .. } = self;
        if let Err(refusal) = outcome {
            reply.truncate(begin);
            refusal.write(command.name, reply);
        }
        Done { wrote: log.command_done(), depends_on, waits }
    }

    /// Says that the command found nothing and may wait for it; none: as long as it takes. Then
    /// `again` is executed.
    pub fn wait_with(&mut self, timeout: Option<Duration>, again: ArgsBuf) {
        self.waits = Some(Box::new(Wait { timeout, again: Some(again) }));
    }

    /// Whether it has waited for its keys before.
    pub fn has_waited(&self) -> bool {
        self.again
    }

    /// The same for a command that is executed again as it is.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        self.waits = Some(Box::new(Wait { timeout, again: None }));
    }

    fn run(&mut self, command: &Command) -> Result<(), Refusal> {
        if !command.takes(self.args.len()) {
            return Err(Refusal::Arity);
        }
        let Kind::Data(run) = command.kind else { return Err(Refusal::NotHere) };
        if !self.ctx.may_write && command.flags.has(Flags::WRITE) {
            return Err(Refusal::ReadOnly);
        }
        self.reads = !command.flags.has(Flags::WRITE);
        (run.0)(self)
    }

    /// Argument `index`; 0 is the command's name.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index)
    }

    /// How many arguments there are, the name included.
    pub fn argc(&self) -> usize {
        self.args.len()
    }

    /// Where the command's first key, argument 1, belongs.
    #[inline]
    pub fn at_first(&mut self) -> At {
        match self.first {
            Some(at) => at,
            None => self.ks.locate(self.arg(1)),
        }
    }

    /// The reply depends on a slot's last write.
    #[inline]
    pub fn depend(&mut self, slot: Slot) {
        self.depends_on = self.depends_on.max(self.ks.slot_last_write(slot));
    }

    /// The reply depends on everything there is.
    pub fn depend_on_all(&mut self) {
        self.depends_on = self.depends_on.max(self.log.last());
    }

    /// Finds a live key; an expired one is hidden, and deleted if that may be logged.
    #[inline]
    pub fn find(&mut self, at: At, key: &[u8]) -> Option<Place> {
        self.depend(at.slot);
        let Some(place) = self.ks.find(at, key) else {
            self.tell_miss(key);
            return None;
        };
        if !self.ks.is_expired(at, place, self.ctx.now_ms) {
            if self.ks.usage.uses && self.uses {
                self.ks.note_use(at, place);
            }
            return Some(place);
        }
        if self.ctx.may_write {
            self.delete(at, key, place);
            self.tell(Classes::EXPIRED, "expired", key);
        }
        self.tell_miss(key);
        None
    }

    /// Finds what is about to be replaced, whether its time is over or not, unless that is to be
    /// told or how often a key is used is noted.
    #[inline]
    pub fn find_replaced(&mut self, at: At, key: &[u8]) -> Option<Place> {
        let noted = self.ks.events.is_some() || self.ks.usage.often.is_some();
        if noted { self.find(at, key) } else { self.ks.find(at, key) }
    }

    #[inline]
    fn tell_miss(&mut self, key: &[u8]) {
        if self.reads {
            self.tell(Classes::MISS, "keymiss", key);
        }
    }

    /// Finds a live collection.
    #[inline]
    pub fn find_as<C: Collection>(&mut self, at: At, key: &[u8]) -> Result<Option<Place>, Refusal> {
        match self.find(at, key) {
            Some(place) if self.ks.collection::<C>(at, place).is_none() => Err(Refusal::WrongType),
            found => Ok(found),
        }
    }

    /// Finds a live collection of a command that may have waited for it: then values of other types
    /// are passed over.
    pub fn find_waited<C: Collection>(
        &mut self,
        at: At,
        key: &[u8],
    ) -> Result<Option<Place>, Refusal> {
        match self.find_as::<C>(at, key) {
            Err(Refusal::WrongType) if self.again => Ok(None),
            found => found,
        }
    }

    /// Finds a live collection, the first key's, for reading.
    pub fn read<C: Collection>(&mut self) -> Result<Option<&C>, Refusal> {
        let at = self.at_first();
        let place = self.find_as::<C>(at, self.arg(1))?;
        Ok(place.and_then(|place| self.ks.collection::<C>(at, place)))
    }

    /// A live collection under any key. Deletes nothing: whoever looks at several keys at once asks
    /// [`Call::find_as`] for each of them before.
    pub fn look<C: Collection>(&self, key: &[u8]) -> Option<&C> {
        let at = self.ks.locate(key);
        let place = self.ks.find(at, key)?;
        let live = !self.ks.is_expired(at, place, self.ctx.now_ms);
        live.then(|| self.ks.collection::<C>(at, place)).flatten()
    }

    /// Finds a live collection or makes one, which must be filled at once.
    pub fn open<C: Collection>(&mut self, at: At, key: &[u8]) -> Result<Place, Refusal> {
        match self.find_as::<C>(at, key)? {
            Some(place) => Ok(place),
            None => {
                self.tell_new(key);
                Ok(self.ks.put_collection::<C>(at, key))
            }
        }
    }

    /// Deletes a key and logs it.
    pub fn delete(&mut self, at: At, key: &[u8], place: Place) {
        self.ks.remove(at, place);
        self.log.texts(Op::Delete, &[key]);
        self.wrote(at.slot);
    }

    /// Puts a value without expiry in the place of what is under a key, nothing if it has no items,
    /// and logs it as one entry, which is an event of this class and name; how many there are.
    /// `bytes` is what all items take.
    pub fn store<C: Collection>(
        &mut self,
        key: &[u8],
        (value, bytes): (C, usize),
        (op, class, name): (Op, Classes, &'static str),
        items: impl FnOnce(&C, &mut EffectLog),
    ) -> Result<usize, Refusal> {
        if bytes > self.ctx.value_bytes_max {
            return Err(Refusal::text("ERR the result is larger than one command may store"));
        }
        let at = self.ks.locate(key);
        self.reads = false;
        let count = value.len();
        // What nothing takes the place of is deleted, whether its time is over or not.
        let there = if count > 0 { self.find(at, key) } else { self.ks.find(at, key) };
        if let Some(place) = there {
            self.delete(at, key, place);
        }
        match there {
            None if count > 0 => self.tell_new(key),
            Some(_) if count == 0 => self.tell_generic("del", key),
            _ => {}
        }
        if count > 0 {
            self.tell(class, name, key);
            let many = self.log.begin_many(op, key);
            items(&value, self.log);
            self.log.end_many(many, count);
            self.ks.put_object(at, key, None, value.into_value(), None);
            self.wrote(at.slot);
        }
        Ok(count)
    }

    /// Says that the effects just logged wrote to a slot.
    #[inline]
    pub fn wrote(&mut self, slot: Slot) {
        let offset = self.log.next_offset();
        self.ks.mark_written(slot, offset);
        self.depends_on = offset;
    }

    /// Says that they wrote to all slots.
    pub fn wrote_all(&mut self) {
        self.depends_on = self.log.next_offset();
    }

    /// Says so if there were any.
    pub fn wrote_if(&mut self, any: bool, slot: Slot) {
        if any {
            self.wrote(slot);
        }
    }

    /// Argument `index` as a number of at least `least`; refused with this text if it is not.
    pub fn at_least(
        &self,
        index: usize,
        least: i64,
        refusal: &'static str,
    ) -> Result<usize, Refusal> {
        let number = self.integer(index).ok().filter(|number| *number >= least);
        number.and_then(|number| usize::try_from(number).ok()).ok_or(Refusal::text(refusal))
    }

    /// Argument `index` as an integer whose negative is one, too.
    pub fn mirrored(&self, index: usize) -> Result<i64, Refusal> {
        const REFUSAL: &str = "ERR value is out of range, value must between \
                               -9223372036854775807 and 9223372036854775807";
        match self.integer(index)? {
            i64::MIN => Err(Refusal::text(REFUSAL)),
            number => Ok(number),
        }
    }

    /// Whether argument `index` is this word, in letters of any case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.arg(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Argument `index` as an integer.
    pub fn integer(&self, index: usize) -> Result<i64, Refusal> {
        cairn_resp::number::parse_i64(self.arg(index)).ok_or(Refusal::NotInteger)
    }
}
