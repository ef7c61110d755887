//! LCS: the longest common subsequence of two strings. Takes time and memory by the product of
//! their lengths, which is bounded as the size of a value is.

use crate::exec::Call;
use crate::refusal::Refusal;

type Outcome = Result<(), Refusal>;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_len: bool,
    least: i64,
}

fn options(call: &Call<'_>) -> Result<Options, Refusal> {
    let (mut options, mut at) = (Options::default(), 3);
    while at < call.argc() {
        if call.is_word(at, "IDX") {
            options.idx = true;
        } else if call.is_word(at, "LEN") {
            options.len = true;
        } else if call.is_word(at, "WITHMATCHLEN") {
            options.with_len = true;
        } else if call.is_word(at, "MINMATCHLEN") && at + 1 < call.argc() {
            at += 1;
            options.least = call.integer(at)?.max(0);
        } else {
            return Err(Refusal::Syntax);
        }
        at += 1;
    }
    Ok(options)
}

/// The string under argument `index`; an empty one if there is none.
fn text(call: &mut Call<'_>, index: usize) -> Result<Vec<u8>, Refusal> {
    let key = call.arg(index);
    let at = call.ks.locate(key);
    let Some(place) = call.find(at, key) else { return Ok(Vec::new()) };
    let text = call.ks.text(at, place).map(<[u8]>::to_vec);
    text.ok_or(Refusal::text("ERR The specified keys must contain string values"))
}

/// The lengths of the longest common subsequences of all beginnings of two texts.
struct Lengths {
    width: usize,
    cells: Vec<u32>,
}

impl Lengths {
    fn new(a: &[u8], b: &[u8]) -> Self {
        let width = b.len() + 1;
        let mut cells = vec![0; width * (a.len() + 1)];
        for (row, byte) in a.iter().enumerate() {
            let (above, below) = cells.split_at_mut((row + 1) * width);
            let above = &above[row * width..];
            for (column, other) in b.iter().enumerate() {
                below[column + 1] = match byte == other {
                    true => above[column] + 1,
                    false => above[column + 1].max(below[column]),
                };
            }
        }
        Self { width, cells }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }
}

/// Two equal pieces: where each begins, and how long they are.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The common subsequence as pieces that are equal in both texts, the last one first.
fn matches(a: &[u8], b: &[u8], lengths: &Lengths) -> Vec<Match> {
    let (mut i, mut j) = (a.len(), b.len());
    let mut found: Vec<Match> = Vec::new();
    let mut grows = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            match found.last_mut().filter(|_| grows) {
                Some(last) => *last = Match { a: i, b: j, len: last.len + 1 },
                None => found.push(Match { a: i, b: j, len: 1 }),
            }
            grows = true;
        } else {
            if lengths.at(i - 1, j) > lengths.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
            grows = false;
        }
    }
    found
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]
pub(crate) fn lcs(call: &mut Call<'_>) -> Outcome {
    const BOTH: &str = "ERR If you want both the length and indexes, please just use IDX.";
    const TOO_LARGE: &str =
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    // Both are looked up before either is refused.
    let (a, b) = (text(call, 1), text(call, 2));
    let (a, b) = (a?, b?);
    let options = options(call)?;
    if options.idx && options.len {
        return Err(Refusal::text(BOTH));
    }
    let cells = (a.len() + 1).checked_mul(b.len() + 1);
    let bytes = cells.and_then(|cells| cells.checked_mul(size_of::<u32>()));
    if bytes.is_none_or(|bytes| bytes > call.ctx.value_bytes_max) {
        return Err(Refusal::text(TOO_LARGE));
    }
    let lengths = Lengths::new(&a, &b);
    let len = lengths.at(a.len(), b.len());
    if options.len {
        call.reply.count(len as usize);
        return Ok(());
    }
    let found = matches(&a, &b, &lengths);
    if !options.idx {
        let pieces = found.iter().rev().map(|found| &a[found.a..found.a + found.len]);
        call.reply.bulk(&pieces.collect::<Vec<_>>().concat());
        return Ok(());
    }
    let long: Vec<&Match> = found.iter().filter(|it| it.len as i64 >= options.least).collect();
    call.reply.map(2);
    call.reply.bulk(b"matches");
    call.reply.array(long.len());
    for found in long {
        call.reply.array(2 + usize::from(options.with_len));
        for start in [found.a, found.b] {
            call.reply.array(2);
            call.reply.count(start);
            call.reply.count(start + found.len - 1);
        }
        if options.with_len {
            call.reply.count(found.len);
        }
    }
    call.reply.bulk(b"len");
    call.reply.count(len as usize);
    Ok(())
}
