//! How XADD and XTRIM say what goes.

use super::ids::{given, strict};
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use crate::value::stream::id::Id;
use crate::value::stream::{Stream, Trim};

/// Entries that `~` drops at once unless told otherwise: those of 100 blocks.
const LIMIT: u64 = 10_000;

/// Options of XADD and XTRIM.
#[derive(Default)]
pub struct Options {
    pub no_stream: bool,
    /// The ID of the new entry, and whether its number was said.
    pub id: Option<(Id, bool)>,
    /// Behind the ID.
    pub rest: usize,
    trim: Option<Trim>,
    whole: bool,
    limit: Option<u64>,
}

impl Options {
    /// Reads them; `adds` says that it is XADD.
    pub fn read(call: &Call<'_>, adds: bool) -> Result<Self, Refusal> {
        let mut options = Self { rest: call.argc(), ..Self::default() };
        let mut at = 2;
        while at < call.argc() {
            let more = at + 1 < call.argc();
            if adds && call.arg(at) == b"*" {
                options.rest = at + 1;
                break;
            } else if (call.is_word(at, "MAXLEN") || call.is_word(at, "MINID")) && more {
                at = options.threshold(call, at)?;
            } else if call.is_word(at, "LIMIT") && more {
                let limit = call.integer(at + 1)?;
                let negative = Refusal::text("ERR The LIMIT argument must be >= 0.");
                options.limit = Some(u64::try_from(limit).map_err(|_| negative)?);
                at += 1;
            } else if adds && call.is_word(at, "NOMKSTREAM") {
                options.no_stream = true;
            } else if adds {
                options.id = Some(given(call.arg(at))?);
                options.rest = at + 1;
                break;
            } else {
                return Err(Refusal::Syntax);
            }
            at += 1;
        }
        options.check(adds)?;
        Ok(options)
    }

    /// What MAXLEN or MINID at `at` says; where it ends.
    fn threshold(&mut self, call: &Call<'_>, mut at: usize) -> Result<usize, Refusal> {
        const BOTH: &str =
            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
        if self.trim.is_some() {
            return Err(Refusal::text(BOTH));
        }
        let by_length = call.is_word(at, "MAXLEN");
        at += 1;
        let word = call.arg(at);
        if matches!(word, b"~" | b"=") && at + 1 < call.argc() {
            self.whole = word == b"~";
            at += 1;
        }
        self.trim = Some(if by_length {
            let negative = Refusal::text("ERR The MAXLEN argument must be >= 0.");
            Trim::ToLength(u64::try_from(call.integer(at)?).map_err(|_| negative)?)
        } else {
            Trim::Before(strict(call.arg(at), 0)?)
        });
        Ok(at)
    }

    fn check(&self, adds: bool) -> Result<(), Refusal> {
        let text = match (self.trim, self.limit) {
            (None, Some(1..)) => {
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
            }
            (None, _) if !adds => "ERR syntax error, XTRIM must be called with a trimming strategy",
            (_, Some(_)) if !self.whole => {
                "ERR syntax error, LIMIT cannot be used without the special ~ option"
            }
            _ => return Ok(()),
        };
        Err(Refusal::text(text))
    }
}

/// Trims a stream and logs it; how many entries went. The slot is not yet said to be written.
pub fn trim(call: &mut Call<'_>, (at, key, place): (At, &[u8], Place), options: &Options) -> usize {
    let stream = call.ks.collection::<Stream>(at, place);
    let (Some(trim), Some(stream)) = (options.trim, stream) else { return 0 };
    let limit = if options.whole { options.limit.unwrap_or(LIMIT) } else { 0 };
    let Some(to) = stream.trim_end(trim, options.whole, limit) else { return 0 };
    let gone = call.ks.update(at, place, |stream: &mut Stream, touch| stream.cut(touch, to));
    if gone > 0 {
        call.log.stream_cut(key, to, gone);
        call.tell(Classes::STREAM, "xtrim", key);
    }
    gone
}
