//! What commands look like: one line for each.
//!
//! A word in capitals stands for itself, `A|B` for one of both, a word in small letters for an
//! argument of that kind, `kind+` for some of them, `[ … ]` for what may be left out.

mod scored;
mod streams;

use anyhow::{Result, bail, ensure};

/// A part of a shape.
#[derive(Debug)]
pub enum Part {
    /// One of these words.
    Word(Vec<&'static str>),
    /// An argument of this kind.
    Kind(Kind),
    /// Some arguments of this kind.
    Some(Kind),
    /// Parts that may be left out.
    Maybe(Vec<Part>),
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key that mostly holds such a value.
    Text,
    List,
    Set,
    Hash,
    Sorted,
    /// A key of any type.
    Key,
    /// A place in something, often one that is there.
    Index,
    /// How many, often few.
    Count,
    /// How many to draw: negative ones are few.
    Draw,
    Integer,
    Float,
    Item,
    Field,
    Pattern,
    /// A time to live that outlasts the round, or is over.
    Ttl,
    /// A moment far away, or long ago.
    Moment,
    /// Two hundred items.
    Many,
    /// Two hundred fields with values.
    ManyFields,
    /// Two hundred scores with members.
    ManyScored,
    /// One field and its value.
    FieldItem,
    /// One score and its member.
    Scored,
    /// A count of keys and as many keys of one type.
    Lists,
    Sets,
    /// The same with sorted sets, sets among them; or with weights behind, too.
    SortedSets,
    Weighted,
    /// A key of a sorted set whose scores are all zero.
    Level,
    /// Some scores of zero with members.
    Levels,
    /// A key of a HyperLogLog, and of places.
    HyperLogLog,
    Geo,
    /// An end of a range of scores, or of texts.
    Bound,
    Reach,
    /// A place of a bit, and a type of integers.
    Bit,
    Width,
    /// A longitude and a latitude; these with a name; a name alone; a distance.
    Degrees,
    Place,
    Name,
    Far,
    /// A key of a stream; a group, and one that reads for it.
    Stream,
    Group,
    Consumer,
    /// How many entries, often fewer than there are; a time since delivery.
    Few,
    Idle,
    /// An ID that may be there; one behind most others; one near the end; `$` or one; one end of a
    /// range.
    Id,
    NewId,
    LastId,
    IdEnd,
    IdReach,
    /// Fields and values.
    Entry,
}

const KINDS: &[(&str, Kind)] = &[
    ("text", Kind::Text),
    ("list", Kind::List),
    ("set", Kind::Set),
    ("hash", Kind::Hash),
    ("zset", Kind::Sorted),
    ("key", Kind::Key),
    ("index", Kind::Index),
    ("count", Kind::Count),
    ("draw", Kind::Draw),
    ("integer", Kind::Integer),
    ("float", Kind::Float),
    ("item", Kind::Item),
    ("field", Kind::Field),
    ("pattern", Kind::Pattern),
    ("ttl", Kind::Ttl),
    ("moment", Kind::Moment),
    ("many", Kind::Many),
    ("manyfields", Kind::ManyFields),
    ("manyscored", Kind::ManyScored),
    ("fielditem", Kind::FieldItem),
    ("scored", Kind::Scored),
    ("lists", Kind::Lists),
    ("sets", Kind::Sets),
    ("zsets", Kind::SortedSets),
    ("weighted", Kind::Weighted),
    ("level", Kind::Level),
    ("levels", Kind::Levels),
    ("hll", Kind::HyperLogLog),
    ("geo", Kind::Geo),
    ("bound", Kind::Bound),
    ("reach", Kind::Reach),
    ("bit", Kind::Bit),
    ("width", Kind::Width),
    ("degrees", Kind::Degrees),
    ("place", Kind::Place),
    ("name", Kind::Name),
    ("far", Kind::Far),
    ("stream", Kind::Stream),
    ("group", Kind::Group),
    ("consumer", Kind::Consumer),
    ("few", Kind::Few),
    ("idle", Kind::Idle),
    ("id", Kind::Id),
    ("newid", Kind::NewId),
    ("lastid", Kind::LastId),
    ("idend", Kind::IdEnd),
    ("idreach", Kind::IdReach),
    ("entry", Kind::Entry),
];

/// All shapes, or those that begin with a text.
///
/// # Errors
/// If one is malformed or there is none.
pub fn all(only: Option<&str>) -> Result<Vec<Vec<Part>>> {
    let wanted = |line: &&&str| only.is_none_or(|only| line.starts_with(only));
    // Without data there would be little to see.
    let filling = FILLING.iter().chain(scored::FILLING).chain(streams::FILLING);
    let filling = filling.filter(|_| only.is_some());
    let every = || SHAPES.iter().chain(scored::SHAPES).chain(streams::SHAPES);
    let lines = every().filter(wanted).chain(filling);
    let shapes = lines.map(|line| parse(line)).collect::<Result<Vec<_>>>()?;
    ensure!(every().any(|line| wanted(&line)), "no shape begins with {only:?}");
    Ok(shapes)
}

fn parse(line: &'static str) -> Result<Vec<Part>> {
    let mut words = line.split(' ');
    let parts = parse_until(&mut words, false)?;
    ensure!(words.next().is_none(), "a bracket too many: {line}");
    Ok(parts)
}

fn parse_until(words: &mut impl Iterator<Item = &'static str>, nested: bool) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some(word) = words.next() {
        let (name, some) = word.strip_suffix('+').map_or((word, false), |name| (name, true));
        let kind = KINDS.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind);
        parts.push(match kind {
            _ if word == "[" => Part::Maybe(parse_until(words, true)?),
            _ if word == "]" && nested => return Ok(parts),
            Some(kind) if some => Part::Some(kind),
            Some(kind) => Part::Kind(kind),
            None if name.bytes().any(|byte| byte.is_ascii_lowercase()) && !name.contains('{') => {
                bail!("no kind of argument is called {name}")
            }
            None => Part::Word(word.split('|').collect()),
        });
    }
    ensure!(!nested, "a bracket is not closed");
    Ok(parts)
}

const FILLING: &[&str] = &[
    "SET text item",
    "RPUSH list item+",
    "RPUSH list many",
    "SADD set item+",
    "SADD set many",
    "HSET hash fielditem+",
    "HSET hash manyfields",
    "ZADD zset scored+",
    "EXPIRE key ttl",
    "DEL key",
];

const SHAPES: &[&str] = &[
    "APPEND text item",
    "COPY key key [ REPLACE ]",
    "COPY key key [ DB 0 ] [ REPLACE ]",
    "DBSIZE",
    "DECR text",
    "DECRBY text integer",
    "DEL key+",
    "EXISTS key+",
    "EXPIRE key ttl [ NX|XX ]",
    "EXPIREAT key moment [ GT|LT ]",
    "EXPIRETIME key",
    "GET text",
    "GETDEL text",
    "GETEX text [ PERSIST ]",
    "GETEX text EX ttl",
    "GETRANGE text index index",
    "GETSET text item",
    "HDEL hash field+",
    "HEXISTS hash field",
    "HGET hash field",
    "HGETALL hash",
    "HINCRBY hash field integer",
    "HINCRBYFLOAT hash field 1.5|2|-0.25",
    "HKEYS hash",
    "HLEN hash",
    "HMGET hash field+",
    "HMSET hash fielditem+",
    "HRANDFIELD hash",
    "HRANDFIELD hash draw [ WITHVALUES ]",
    "HSCAN hash 0 COUNT 100000",
    "HSCAN hash 0 [ MATCH pattern ] COUNT 100000",
    "HSCAN hash 0 COUNT integer",
    "HSET hash fielditem+",
    "HSET hash manyfields",
    "HSETNX hash field item",
    "HSTRLEN hash field",
    "HVALS hash",
    "INCR text",
    "INCRBY text integer",
    "INCRBYFLOAT text 1.5|2|-0.25",
    "KEYS pattern",
    "LCS text text",
    "LCS text text [ LEN ] [ IDX ] [ MINMATCHLEN count ] [ WITHMATCHLEN ]",
    "LINDEX list index",
    "LINSERT list BEFORE|AFTER|AROUND item item",
    "LINSERT list BEFORE|AFTER item item",
    "LLEN list",
    "LMOVE list list LEFT|RIGHT LEFT|RIGHT",
    "LMPOP lists LEFT|RIGHT [ COUNT count ]",
    "LPOP list [ count ]",
    "LPOS list item [ RANK index ] [ COUNT count ] [ MAXLEN count ]",
    "LPUSH list item+",
    "LPUSHX list item+",
    "LRANGE list index index",
    "LREM list index item",
    "LREM list index item",
    "LSET list index item",
    "LTRIM list index index",
    "MGET text+",
    "MSET text item text item",
    "MSETNX text item text item",
    "OBJECT ENCODING|REFCOUNT|FREQ|IDLETIME|HELP|NONSENSE key",
    "OBJECT HELP",
    "MEMORY USAGE key [ SAMPLES count ]",
    "PERSIST key",
    "PEXPIRE key 200000|0|-1",
    "PEXPIREAT key moment",
    "PEXPIRETIME key",
    "PSETEX text 200000|0|-1 item",
    "PTTL key",
    "RANDOMKEY",
    "RENAME key key",
    "RENAMENX key key",
    "RPOP list [ count ]",
    "RPOPLPUSH list list",
    "RPUSH list item+",
    "RPUSH list many",
    "RPUSHX list item+",
    "SADD set item+",
    "SADD set many",
    "SCARD set",
    "SDIFF set+",
    "SDIFFSTORE set set+",
    "SET text item",
    "SET text integer",
    "SET text item [ NX|XX ] [ GET ] [ KEEPTTL ]",
    "SET text item EX|PX|EXAT|PXAT ttl",
    "SETEX text ttl item",
    "SETNX text item",
    "SETRANGE text index item",
    "SINTER set+",
    "SINTERCARD sets [ LIMIT count ]",
    "SINTERSTORE set set+",
    "SISMEMBER set item",
    "SMEMBERS set",
    "SMISMEMBER set item+",
    "SMOVE set set item",
    "SORT key [ ASC|DESC ] [ ALPHA ] [ LIMIT index count ]",
    "SORT key",
    "SORT list ALPHA [ DESC ] [ STORE list ]",
    "SORT set ALPHA [ DESC ] [ STORE list ]",
    "SORT zset [ DESC ] [ ALPHA ] [ STORE list ]",
    "SORT list BY {t}*|{t}hash1->*|{t}text*|NOSORT [ GET {t}text*|#|{t}hash*->f1 ] [ GET # ]",
    "SORT set BY NOSORT [ STORE list ]",
    "SORT_RO key [ LIMIT index count ] [ ALPHA ] [ DESC ]",
    "SORT_RO zset BY NOSORT [ DESC ]",
    "SPOP set [ draw ]",
    "SRANDMEMBER set [ draw ]",
    "SREM set item+",
    "SSCAN set 0 COUNT 100000",
    "SSCAN set 0 [ MATCH pattern ] COUNT 100000",
    "SSCAN set 0 COUNT integer",
    "STRLEN text",
    "SUBSTR text index index",
    "SUNION set+",
    "SUNIONSTORE set set+",
    "TOUCH key+",
    "TTL key",
    "TYPE key",
    "UNLINK key+",
    "ZADD zset scored+",
    "ZADD zset manyscored",
    "ZADD zset [ NX|XX ] [ GT|LT ] [ CH ] scored",
    "ZCARD zset",
    "ZMSCORE zset item+",
    "ZRANGE zset index index [ REV ] [ WITHSCORES ]",
    "ZRANK zset item",
    "ZREM zset item+",
    "ZREVRANK zset item",
    "ZSCORE zset item",
];

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_keyspace::command::lookup;

    #[test]
    fn every_shape_is_read_and_names_a_command() {
        let scored = scored::SHAPES.iter().chain(scored::FILLING);
        let scored = scored.chain(streams::SHAPES).chain(streams::FILLING);
        for line in SHAPES.iter().chain(FILLING).chain(scored) {
            parse(line).unwrap();
            let name = line.split(' ').next().unwrap();
            assert!(lookup(name.as_bytes()).is_some(), "{name}");
        }
        assert!(all(Some("LPOS")).unwrap().len() < all(None).unwrap().len());
        assert!(all(Some("NOTHING")).is_err());
    }

    #[test]
    fn a_malformed_shape_is_refused() {
        assert!(parse("GET nothing").is_err());
        assert!(parse("GET [ text").is_err());
        assert!(parse("GET text ]").is_ok_and(|parts| parts.len() == 3));
    }
}
