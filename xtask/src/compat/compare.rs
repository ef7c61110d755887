//! Whether two replies to a command say the same.

use cairn_keyspace::command::{Flags, lookup};
use cairn_resp::Reply;
use cairn_resp::number::parse_f64;

use super::Line;
use super::show::reply as shown;

/// How a command's replies are compared.
enum How {
    /// Byte by byte.
    Exactly,
    /// Items in any order.
    Unordered,
    /// Pairs of items in any order; a map's pairs in any order.
    Pairs,
    /// The second part is items in any order; the first is a cursor.
    Scan { pairs: bool },
    /// Only how many parts there are, unless it is an error.
    Parts,
    /// Only types and counts: it was drawn at random.
    Shape,
    /// Numbers up to this far apart: each side has its own clock.
    Near(u64),
}

fn has(line: &Line, word: &str) -> bool {
    line.iter().skip(2).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

fn how(line: &Line) -> How {
    let name = line.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    match name.as_slice() {
        b"smembers" | b"sinter" | b"sunion" | b"sdiff" | b"hkeys" | b"hvals" | b"keys" => {
            How::Unordered
        }
        b"hgetall" => How::Pairs,
        // Only the first cursor means the same to both.
        b"sscan" | b"hscan" | b"zscan" if line.get(2).is_some_and(|cursor| cursor != b"0") => {
            How::Parts
        }
        b"sscan" => How::Scan { pairs: false },
        b"hscan" | b"zscan" => How::Scan { pairs: true },
        b"scan" => How::Scan { pairs: false },
        b"spop" | b"srandmember" | b"hrandfield" | b"randomkey" | b"zrandmember" => How::Shape,
        // Keys that are equal by what they are sorted by have no order, nor has a set.
        b"sort" | b"sort_ro" if has(line, "BY") => {
            if has(line, "LIMIT") {
                How::Shape
            } else {
                How::Unordered
            }
        }
        b"ttl" | b"expiretime" => How::Near(1),
        // What has expired is counted until somebody looks.
        b"dbsize" => How::Near(9),
        b"pttl" | b"pexpiretime" => How::Near(5000),
        _ => How::Exactly,
    }
}

/// A reply of a command on sorted sets whose scores are written in one way: ours are never a
/// negative zero, and large ones are written as 7.2 does it.
fn with_plain_scores(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(items) => Reply::Array(items.iter().map(with_plain_scores).collect()),
        Reply::Bulk(text) if text == b"-0" => Reply::Bulk(b"0".to_vec()),
        Reply::Bulk(text) if text.len() >= 17 => match parse_f64(text) {
            Some(value) => Reply::Double(value),
            None => reply.clone(),
        },
        Reply::Double(value) => Reply::Double(value + 0.0),
        other => other.clone(),
    }
}

/// Whether both replies say the same.
pub fn same(line: &Line, ours: &Reply, theirs: &Reply) -> bool {
    let first = line.first().and_then(|name| name.first());
    let on_sorted_sets = first.is_some_and(|first| first.eq_ignore_ascii_case(&b'z'));
    let on_streams = first.is_some_and(|first| first.eq_ignore_ascii_case(&b'x'));
    match on_sorted_sets && !matches!(how(line), How::Shape) {
        true => alike(line, &with_plain_scores(ours), &with_plain_scores(theirs)),
        false if on_streams => alike(line, &with_plain_times(ours), &with_plain_times(theirs)),
        false => alike(line, ours, theirs),
    }
}

/// A time that both clocks give: since when to 50 seconds, and moments not at all.
fn plain_time(time: &Reply) -> Reply {
    match time {
        Reply::Integer(time) if *time < 1_000_000_000 => Reply::Integer(time - time % 50_000),
        Reply::Integer(_) => Reply::Integer(1_000_000_000),
        other => other.clone(),
    }
}

/// A reply of a command on streams without what belongs to one side alone: times, and how many
/// nodes a tree has that only the peer has.
fn with_plain_times(reply: &Reply) -> Reply {
    let named = |name: &Reply| {
        let name = name.as_bytes().unwrap_or_default();
        matches!(name, b"idle" | b"seen-time" | b"radix-tree-nodes")
    };
    match reply {
        Reply::Map(pairs) => {
            let pair = |(name, value): &(Reply, Reply)| {
                let plain = if named(name) { plain_time(value) } else { with_plain_times(value) };
                (name.clone(), plain)
            };
            Reply::Map(pairs.iter().map(pair).collect())
        }
        Reply::Array(items) => {
            let mut plain: Vec<Reply> = items.iter().map(with_plain_times).collect();
            let integer = |at: usize| matches!(items.get(at), Some(Reply::Integer(_)));
            // What is pending: an ID, a consumer unless it is known, the time, and a count.
            let time = match items.len() {
                3 if integer(1) && integer(2) => Some(1),
                4 if integer(2) && integer(3) => Some(2),
                _ => None,
            };
            let behind_name = (1..items.len()).filter(|at| named(&items[at - 1]));
            time.into_iter().chain(behind_name).for_each(|at| plain[at] = plain_time(&items[at]));
            Reply::Array(plain)
        }
        other => other.clone(),
    }
}

fn alike(line: &Line, ours: &Reply, theirs: &Reply) -> bool {
    match how(line) {
        How::Exactly => shown_whole(ours) == shown_whole(theirs),
        How::Unordered => unordered(ours) == unordered(theirs),
        How::Pairs => paired(ours) == paired(theirs),
        // Whoever has not shown all has another order.
        How::Scan { .. } if goes_on(ours) || goes_on(theirs) => shape_of(ours) == shape_of(theirs),
        How::Scan { pairs } => scan(ours, pairs) == scan(theirs, pairs),
        How::Parts => match (shape_of(ours), shape_of(theirs)) {
            (None, None) => ours == theirs,
            (ours, theirs) => ours == theirs,
        },
        How::Shape => shape(ours) == shape(theirs),
        How::Near(bound) => match (ours, theirs) {
            (Reply::Integer(a), Reply::Integer(b)) if *a > 0 && *b > 0 => a.abs_diff(*b) <= bound,
            _ => ours == theirs,
        },
    }
}

/// Whether the data can be compared further though these replies differ: the command only reads, or
/// both refuse it.
pub fn changes_nothing(line: &Line, ours: &Reply, theirs: &Reply) -> bool {
    let command = line.first().and_then(|name| lookup(name));
    let reads = command.is_some_and(|command| !command.flags.has(Flags::WRITE));
    reads || matches!((ours, theirs), (Reply::Error(_), Reply::Error(_)))
}

/// All of a reply as text: doubles by the number they are, so that a NaN equals itself.
fn shown_whole(reply: &Reply) -> String {
    format!("{reply:?}")
}

fn sorted(items: &[Reply]) -> Vec<String> {
    let mut items: Vec<String> = items.iter().map(shown_whole).collect();
    items.sort();
    items
}

fn unordered(reply: &Reply) -> (&'static str, Vec<String>) {
    match reply {
        Reply::Array(items) => ("array", sorted(items)),
        Reply::Set(items) => ("set", sorted(items)),
        other => ("", vec![shown_whole(other)]),
    }
}

fn in_pairs(items: &[Reply]) -> Vec<String> {
    let mut pairs: Vec<String> = items.chunks(2).map(|pair| format!("{pair:?}")).collect();
    pairs.sort();
    pairs
}

fn paired(reply: &Reply) -> (&'static str, Vec<String>) {
    match reply {
        Reply::Array(items) => ("array", in_pairs(items)),
        Reply::Map(pairs) => {
            let mut pairs: Vec<String> = pairs.iter().map(|pair| format!("{pair:?}")).collect();
            pairs.sort();
            ("map", pairs)
        }
        other => ("", vec![shown_whole(other)]),
    }
}

/// Whether this is a cursor to go on with, and what was found.
fn goes_on(reply: &Reply) -> bool {
    matches!(reply, Reply::Array(parts)
        if matches!(parts.as_slice(), [Reply::Bulk(cursor), Reply::Array(_)] if cursor != b"0"))
}

/// How many parts there are.
fn shape_of(reply: &Reply) -> Option<usize> {
    if let Reply::Array(parts) = reply { Some(parts.len()) } else { None }
}

fn scan(reply: &Reply, pairs: bool) -> (&'static str, Vec<String>) {
    match reply {
        Reply::Array(parts) => match parts.as_slice() {
            [_, Reply::Array(items)] if pairs => ("all", in_pairs(items)),
            [_, Reply::Array(items)] => ("all", sorted(items)),
            _ => ("", vec![shown_whole(reply)]),
        },
        other => ("", vec![shown_whole(other)]),
    }
}

fn shape(reply: &Reply) -> String {
    let many = |items: &[Reply]| items.iter().map(shape).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Array(items) => format!("[{}]", many(items)),
        Reply::Set(items) => format!("~[{}]", many(items)),
        Reply::Bulk(_) => "text".to_owned(),
        Reply::Double(_) => "number".to_owned(),
        other => shown(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn texts(items: &[&str]) -> Vec<Reply> {
        items.iter().map(|item| Reply::Bulk(item.as_bytes().to_vec())).collect()
    }

    #[test]
    fn order_counts_where_there_is_one() {
        let (a, b) = (Reply::Array(texts(&["1", "2"])), Reply::Array(texts(&["2", "1"])));
        assert!(same(&line("SMEMBERS k"), &a, &b));
        assert!(!same(&line("LRANGE k 0 -1"), &a, &b));
        assert!(!same(&line("SMEMBERS k"), &a, &Reply::Set(texts(&["1", "2"]))));
        assert!(!same(&line("SMEMBERS k"), &a, &Reply::Array(texts(&["1", "1"]))));
    }

    #[test]
    fn a_scan_that_goes_on_may_show_anything() {
        let scan = |cursor: &str, items: &[&str]| {
            let cursor = Reply::Bulk(cursor.as_bytes().to_vec());
            Reply::Array(vec![cursor, Reply::Array(texts(items))])
        };
        assert!(same(&line("SSCAN k 0"), &scan("7", &["1"]), &scan("0", &["2", "1"])));
        assert!(same(&line("SSCAN k 0"), &scan("0", &["1", "2"]), &scan("0", &["2", "1"])));
        assert!(!same(&line("SSCAN k 0"), &scan("0", &["1"]), &scan("0", &["2", "1"])));
        assert!(!same(&line("SSCAN k 0"), &scan("7", &["1"]), &Reply::Null));
    }

    #[test]
    fn a_value_belongs_to_its_field() {
        let a = Reply::Array(texts(&["f", "1", "g", "2"]));
        assert!(same(&line("HGETALL k"), &a, &Reply::Array(texts(&["g", "2", "f", "1"]))));
        assert!(!same(&line("HGETALL k"), &a, &Reply::Array(texts(&["g", "1", "f", "2"]))));
    }

    #[test]
    fn what_is_drawn_has_a_count_and_a_type() {
        let a = Reply::Array(texts(&["1", "2"]));
        assert!(same(&line("SRANDMEMBER k 2"), &a, &Reply::Array(texts(&["3", "4"]))));
        assert!(!same(&line("SRANDMEMBER k 2"), &a, &Reply::Array(texts(&["3"]))));
        assert!(!same(&line("SRANDMEMBER k 2"), &a, &Reply::Set(texts(&["3", "4"]))));
    }

    #[test]
    fn a_score_is_the_same_number_however_it_is_written() {
        let (zero, other) = (Reply::Array(texts(&["a", "0"])), Reply::Array(texts(&["a", "-0"])));
        assert!(same(&line("ZRANGE k 0 -1 WITHSCORES"), &zero, &other));
        assert!(same(&line("ZSCORE k a"), &Reply::Double(0.0), &Reply::Double(-0.0)));
        assert!(!same(&line("LRANGE k 0 -1"), &zero, &other));
        let large = [
            Reply::Array(texts(&["36893488147419103000"])),
            Reply::Array(texts(&["3.6893488147419103e+19"])),
        ];
        assert!(same(&line("ZSCORE k a"), &large[0], &large[1]));
        assert!(!same(&line("ZSCORE k a"), &large[0], &zero));
    }

    #[test]
    fn since_when_something_is_pending_is_compared_roughly() {
        let pending = |idle: i64, count: i64| {
            let mut items = texts(&["1-1", "ada"]);
            items.extend([Reply::Integer(idle), Reply::Integer(count)]);
            Reply::Array(vec![Reply::Array(items)])
        };
        let same = |a: &Reply, b: &Reply| same(&line("XPENDING k g - + 9"), a, b);
        assert!(same(&pending(100_001, 1), &pending(100_900, 1)));
        assert!(!same(&pending(100_001, 1), &pending(0, 1)));
        assert!(!same(&pending(100_001, 1), &pending(100_001, 2)));
    }

    #[test]
    fn clocks_may_differ_a_little_and_missing_keys_not() {
        assert!(same(&line("PTTL k"), &Reply::Integer(99_990), &Reply::Integer(100_000)));
        assert!(!same(&line("PTTL k"), &Reply::Integer(-1), &Reply::Integer(-2)));
    }
}
