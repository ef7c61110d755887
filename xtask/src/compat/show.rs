//! Commands and replies as a person reads them.

use cairn_resp::Reply;

use super::Line;

/// More of a text is not shown.
const SHOWN_MAX: usize = 120;
/// More items of a reply are not shown.
const ITEMS_SHOWN_MAX: usize = 24;

fn text(bytes: &[u8]) -> String {
    let mut shown = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii().to_string();
    if bytes.len() > SHOWN_MAX {
        shown.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    shown
}

/// A command in one line; words that are empty or have spaces stand in quotes.
pub fn line(line: &Line) -> String {
    let word = |word: &Vec<u8>| {
        let plain = !word.is_empty() && !word.contains(&b' ');
        if plain { text(word) } else { format!("\"{}\"", text(word)) }
    };
    let mut shown: Vec<String> = line.iter().take(24).map(word).collect();
    if line.len() > shown.len() {
        shown.push(format!("… ({} words)", line.len()));
    }
    shown.join(" ")
}

/// A reply in one line, as far as a person wants to read.
pub fn reply(reply: &Reply) -> String {
    render(reply, ITEMS_SHOWN_MAX)
}

/// All items of a reply in one line.
pub fn whole(reply: &Reply) -> String {
    render(reply, usize::MAX)
}

fn render(reply: &Reply, most: usize) -> String {
    let many = |items: &[Reply]| {
        let mut shown: Vec<String> = items.iter().take(most).map(|it| render(it, most)).collect();
        if items.len() > shown.len() {
            shown.push(format!("… ({} items)", items.len()));
        }
        shown.join(" ")
    };
    match reply {
        Reply::Simple(text) => format!("+{text}"),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(value) => format!(":{value}"),
        Reply::Bulk(bytes) => format!("\"{}\"", text(bytes)),
        Reply::Null => "nil".to_owned(),
        Reply::Array(items) => format!("[{}]", many(items)),
        Reply::Set(items) => format!("~[{}]", many(items)),
        Reply::Push(items) => format!(">[{}]", many(items)),
        Reply::Map(pairs) => {
            let pair = |(key, value): &(Reply, Reply)| {
                format!("{}={}", render(key, most), render(value, most))
            };
            format!("{{{}}}", pairs.iter().take(most).map(pair).collect::<Vec<_>>().join(" "))
        }
        Reply::Double(value) => format!(",{value}"),
        Reply::Boolean(value) => format!("#{value}"),
        Reply::BigNumber(text) => format!("({text}"),
        Reply::Verbatim(_, bytes) => format!("={}", text(bytes)),
    }
}

/// What differences of one cause have in common: the command's name and what kind of reply each
/// side gave.
pub fn signature(line: &Line, ours: &Reply, theirs: &Reply) -> String {
    let kind = |reply: &Reply| match reply {
        Reply::Error(text) => text.clone(),
        Reply::Array(items) => format!("array of {}", items.len().min(2)),
        other => reply_kind(other).to_owned(),
    };
    let name = line.first().map(|name| text(&name.to_ascii_uppercase())).unwrap_or_default();
    format!("{name}: {} / {}", kind(ours), kind(theirs))
}

fn reply_kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Simple(_) => "simple",
        Reply::Error(_) => "error",
        Reply::Integer(_) => "integer",
        Reply::Bulk(_) => "bulk",
        Reply::Null => "null",
        Reply::Array(_) => "array",
        Reply::Map(_) => "map",
        Reply::Set(_) => "set",
        Reply::Push(_) => "push",
        Reply::Double(_) => "double",
        Reply::Boolean(_) => "boolean",
        Reply::BigNumber(_) => "big number",
        Reply::Verbatim(..) => "verbatim",
    }
}
