//! The table of commands, by family.

use super::{Command, Flags, Group, Keys, Kind, More, Run, RunFn, Session};
use crate::run::payloads;
use crate::run::streams::{self, claims, groups, info, pending, reads};
use crate::run::{bitfields, bits, blocking, draws, expiry, geo, geo_search, hashes, hyperloglog};
use crate::run::{inspect, keys, lcs, list_moves, list_places, lists, renames, scan};
use crate::run::{set_algebra, sets, sort, sorted_ranges, sorted_removals, sorted_sets};
use crate::run::{sorted_unions, sorted_walks, strings};

const WRITE: Flags = Flags::WRITE;
const GROW: Flags = Flags::WRITE.and(Flags::DENY_OOM);
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const FAST_GROW: Flags = GROW.and(Flags::FAST);
const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const MOVABLE: Flags = Flags::READONLY.and(Flags::MOVABLE_KEYS);
const MOVABLE_WRITE: Flags = Flags::WRITE.and(Flags::MOVABLE_KEYS);
const SORTS: Flags = GROW.and(Flags::MOVABLE_KEYS);
const WAITS: Flags = WRITE.and(Flags::BLOCKING).and(Flags::NO_SCRIPT);
const WAITS_GROW: Flags = WAITS.and(Flags::DENY_OOM);
const WAITS_FAST: Flags = WAITS.and(Flags::FAST);
const WAITS_MOVABLE: Flags = MOVABLE_WRITE.and(Flags::BLOCKING);
const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);
const ALWAYS_NO_AUTH: Flags = ALWAYS.and(Flags::NO_AUTH);
const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);
const OPEN: Flags = Flags::LOADING.and(Flags::STALE);
const EVALS: Flags =
    Flags::STALE.and(Flags::NO_SCRIPT).and(Flags::SKIP_MONITOR).and(Flags::MOVABLE_KEYS);
const LISTENS: Flags = OPEN.and(Flags::PUBSUB).and(Flags::NO_SCRIPT);
const PUBLISHES: Flags = ALWAYS.and(Flags::PUBSUB).and(Flags::MAY_REPLICATE);

/// The first argument counts the keys that follow it.
const COUNTED: Keys = Keys::NONE.and(More::Counted(1));
/// The same behind a timeout.
const TIMED_COUNTED: Keys = Keys::NONE.and(More::Counted(2));
/// All but the last argument, a timeout.
const TIMED: Keys = Keys::between(1, -2, 1);
/// Those that follow the word STREAMS.
const STREAMS: Keys = Keys::NONE.and(More::Streams);
/// A key, and an argument that counts those that follow it.
const ONE_AND_COUNTED: Keys = Keys::ONE.and(More::Counted(2));
/// A key, and the one that STORE or STOREDIST among the options names.
const GEO_STORED: Keys = Keys::ONE.and(More::Stored(5));

const fn data(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    group: Group,
    run: Run,
) -> Command {
    Command { number: 0, name, arity, flags, keys, group, kind: Kind::Data(RunFn(run)) }
}

const fn session(
    name: &'static str,
    arity: i8,
    flags: Flags,
    group: Group,
    session: Session,
) -> Command {
    Command { number: 0, name, arity, flags, keys: Keys::NONE, group, kind: Kind::Session(session) }
}

/// A command that is refused: what it asks for is done in another way.
const fn nowhere(name: &'static str, arity: i8) -> Command {
    session(name, arity, ADMIN.and(Flags::NO_SCRIPT), Group::Server, Session::Nowhere)
}

/// A command that runs a script on the keys that its second argument counts.
const fn script(name: &'static str, flags: Flags) -> Command {
    let (group, kind) = (Group::Scripting, Kind::Session(Session::Eval));
    Command { name, arity: -3, flags, keys: TIMED_COUNTED, group, kind, number: 0 }
}

/// A command on channels; those of `keys` belong to slots.
const fn channels(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    session: Session,
) -> Command {
    Command {
        number: 0,
        name,
        arity,
        flags,
        keys,
        group: Group::PubSub,
        kind: Kind::Session(session),
    }
}

const fn text(name: &'static str, arity: i8, flags: Flags, run: Run) -> Command {
    data(name, arity, flags, Keys::ONE, Group::String, run)
}

const fn bits_of(name: &'static str, arity: i8, flags: Flags, run: Run) -> Command {
    data(name, arity, flags, Keys::ONE, Group::Bitmap, run)
}

const fn hash(name: &'static str, arity: i8, flags: Flags, run: Run) -> Command {
    data(name, arity, flags, Keys::ONE, Group::Hash, run)
}

const fn list(name: &'static str, arity: i8, flags: Flags, run: Run) -> Command {
    data(name, arity, flags, Keys::ONE, Group::List, run)
}

const fn set(name: &'static str, arity: i8, flags: Flags, run: Run) -> Command {
    data(name, arity, flags, Keys::ONE, Group::Set, run)
}

const fn sorted(name: &'static str, arity: i8, flags: Flags, run: Run) -> Command {
    data(name, arity, flags, Keys::ONE, Group::SortedSet, run)
}

const fn geo_of(name: &'static str, arity: i8, flags: Flags, keys: Keys, run: Run) -> Command {
    let command = sorted_of(name, arity, flags, keys, run);
    Command { group: Group::Geo, ..command }
}

const fn sorted_of(name: &'static str, arity: i8, flags: Flags, keys: Keys, run: Run) -> Command {
    let flags = match keys.more {
        More::None => flags,
        More::Counted(_) | More::Stored(_) | More::Streams => flags.and(Flags::MOVABLE_KEYS),
    };
    data(name, arity, flags, keys, Group::SortedSet, run)
}

const fn stream_of(name: &'static str, arity: i8, flags: Flags, keys: Keys, run: Run) -> Command {
    data(name, arity, flags, keys, Group::Stream, run)
}

const fn stream(name: &'static str, arity: i8, flags: Flags, run: Run) -> Command {
    stream_of(name, arity, flags, Keys::ONE, run)
}

const fn generic(name: &'static str, arity: i8, flags: Flags, keys: Keys, run: Run) -> Command {
    data(name, arity, flags, keys, Group::Generic, run)
}

/// Every command a node knows.
pub(super) const LIST: &[Command] = &[
    text("append", 3, FAST_GROW, strings::append),
    text("decr", 2, FAST_GROW, strings::decr),
    text("decrby", 3, FAST_GROW, strings::decrby),
    text("get", 2, FAST_READ, strings::get),
    text("getdel", 2, FAST_WRITE, strings::getdel),
    text("getex", -2, FAST_WRITE, strings::getex),
    text("getrange", 4, READ, strings::getrange),
    text("getset", 3, FAST_GROW, strings::getset),
    text("incr", 2, FAST_GROW, strings::incr),
    text("incrby", 3, FAST_GROW, strings::incrby),
    text("incrbyfloat", 3, FAST_GROW, strings::incrbyfloat),
    data("lcs", -3, READ, Keys::TWO, Group::String, lcs::lcs),
    data("mget", -2, FAST_READ, Keys::ALL, Group::String, strings::mget),
    data("mset", -3, GROW, Keys::PAIRS, Group::String, strings::mset),
    data("msetnx", -3, GROW, Keys::PAIRS, Group::String, strings::msetnx),
    text("psetex", 4, GROW, strings::psetex),
    text("set", -3, GROW, strings::set),
    text("setex", 4, GROW, strings::setex),
    text("setnx", 3, FAST_GROW, strings::setnx),
    text("setrange", 4, GROW, strings::setrange),
    text("strlen", 2, FAST_READ, strings::strlen),
    text("substr", 4, READ, strings::getrange),
    generic("copy", -3, GROW, Keys::TWO, renames::copy),
    bits_of("bitcount", -2, READ, bits::bitcount),
    bits_of("bitfield", -2, GROW, bitfields::bitfield),
    bits_of("bitfield_ro", -2, FAST_READ, bitfields::bitfield_ro),
    data("bitop", -4, GROW, Keys::between(2, -1, 1), Group::Bitmap, bits::bitop),
    bits_of("bitpos", -3, READ, bits::bitpos),
    bits_of("getbit", 3, FAST_READ, bits::getbit),
    bits_of("setbit", 4, GROW, bits::setbit),
    data("pfadd", -2, FAST_GROW, Keys::ONE, Group::HyperLogLog, hyperloglog::pfadd),
    data("pfcount", -2, READ, Keys::ALL, Group::HyperLogLog, hyperloglog::pfcount),
    data("pfmerge", -2, GROW, Keys::ALL, Group::HyperLogLog, hyperloglog::pfmerge),
    generic("del", -2, WRITE, Keys::ALL, keys::del),
    generic("dump", 2, READ, Keys::ONE, payloads::dump),
    generic("exists", -2, FAST_READ, Keys::ALL, keys::exists),
    generic("expire", -3, FAST_WRITE, Keys::ONE, expiry::expire),
    generic("expireat", -3, FAST_WRITE, Keys::ONE, expiry::expireat),
    generic("expiretime", 2, FAST_READ, Keys::ONE, expiry::expiretime),
    generic("object", -2, READ, Keys::SECOND, inspect::object),
    generic("persist", 2, FAST_WRITE, Keys::ONE, expiry::persist),
    generic("pexpire", -3, FAST_WRITE, Keys::ONE, expiry::pexpire),
    generic("pexpireat", -3, FAST_WRITE, Keys::ONE, expiry::pexpireat),
    generic("pexpiretime", 2, FAST_READ, Keys::ONE, expiry::pexpiretime),
    generic("pttl", 2, FAST_READ, Keys::ONE, expiry::pttl),
    generic("rename", 3, WRITE, Keys::TWO, renames::rename),
    generic("renamenx", 3, FAST_WRITE, Keys::TWO, renames::renamenx),
    generic("restore", -4, GROW, Keys::ONE, payloads::restore),
    generic("sort", -2, SORTS, Keys::ONE.and(More::Stored(2)), sort::sort),
    generic("sort_ro", -2, MOVABLE, Keys::ONE, sort::sort_ro),
    generic("touch", -2, FAST_READ, Keys::ALL, keys::exists),
    generic("ttl", 2, FAST_READ, Keys::ONE, expiry::ttl),
    generic("type", 2, FAST_READ, Keys::ONE, keys::type_of),
    generic("unlink", -2, FAST_WRITE, Keys::ALL, keys::del),
    hash("hdel", -3, FAST_WRITE, hashes::hdel),
    hash("hexists", 3, FAST_READ, hashes::hexists),
    hash("hget", 3, FAST_READ, hashes::hget),
    hash("hgetall", 2, READ, hashes::hgetall),
    hash("hincrby", 4, FAST_GROW, hashes::hincrby),
    hash("hincrbyfloat", 4, FAST_GROW, hashes::hincrbyfloat),
    hash("hkeys", 2, READ, hashes::hkeys),
    hash("hlen", 2, FAST_READ, hashes::hlen),
    hash("hmget", -3, FAST_READ, hashes::hmget),
    hash("hmset", -4, FAST_GROW, hashes::hmset),
    hash("hrandfield", -2, READ, draws::hrandfield),
    hash("hscan", -3, READ, scan::hscan),
    hash("hset", -4, FAST_GROW, hashes::hset),
    hash("hsetnx", 4, FAST_GROW, hashes::hsetnx),
    hash("hstrlen", 3, FAST_READ, hashes::hstrlen),
    hash("hvals", 2, READ, hashes::hvals),
    data("blmove", 6, WAITS_GROW, Keys::TWO, Group::List, blocking::blmove),
    data("blmpop", -5, WAITS_MOVABLE, TIMED_COUNTED, Group::List, blocking::blmpop),
    data("blpop", -3, WAITS, TIMED, Group::List, blocking::blpop),
    data("brpop", -3, WAITS, TIMED, Group::List, blocking::brpop),
    data("brpoplpush", 4, WAITS_GROW, Keys::TWO, Group::List, blocking::brpoplpush),
    list("lindex", 3, READ, lists::lindex),
    list("linsert", 5, GROW, list_places::linsert),
    list("llen", 2, FAST_READ, lists::llen),
    data("lmove", 5, GROW, Keys::TWO, Group::List, list_moves::lmove),
    data("lmpop", -4, MOVABLE_WRITE, COUNTED, Group::List, list_moves::lmpop),
    list("lpop", -2, FAST_WRITE, lists::lpop),
    list("lpos", -3, READ, list_places::lpos),
    list("lpush", -3, FAST_GROW, lists::lpush),
    list("lpushx", -3, FAST_GROW, lists::lpushx),
    list("lrange", 4, READ, lists::lrange),
    list("lrem", 4, WRITE, list_places::lrem),
    list("lset", 4, GROW, list_places::lset),
    list("ltrim", 4, WRITE, list_places::ltrim),
    list("rpop", -2, FAST_WRITE, lists::rpop),
    data("rpoplpush", 3, GROW, Keys::TWO, Group::List, list_moves::rpoplpush),
    list("rpush", -3, FAST_GROW, lists::rpush),
    list("rpushx", -3, FAST_GROW, lists::rpushx),
    set("sadd", -3, FAST_GROW, sets::sadd),
    set("scard", 2, FAST_READ, sets::scard),
    data("sdiff", -2, READ, Keys::ALL, Group::Set, set_algebra::sdiff),
    data("sdiffstore", -3, GROW, Keys::ALL, Group::Set, set_algebra::sdiffstore),
    data("sinter", -2, READ, Keys::ALL, Group::Set, set_algebra::sinter),
    data("sintercard", -3, MOVABLE, COUNTED, Group::Set, set_algebra::sintercard),
    data("sinterstore", -3, GROW, Keys::ALL, Group::Set, set_algebra::sinterstore),
    set("sismember", 3, FAST_READ, sets::sismember),
    set("smembers", 2, READ, sets::smembers),
    set("smismember", -3, FAST_READ, sets::smismember),
    data("smove", 4, FAST_WRITE, Keys::TWO, Group::Set, set_algebra::smove),
    set("spop", -2, FAST_WRITE, draws::spop),
    set("srandmember", -2, READ, draws::srandmember),
    set("srem", -3, FAST_WRITE, sets::srem),
    set("sscan", -3, READ, scan::sscan),
    data("sunion", -2, READ, Keys::ALL, Group::Set, set_algebra::sunion),
    data("sunionstore", -3, GROW, Keys::ALL, Group::Set, set_algebra::sunionstore),
    sorted_of("bzmpop", -5, WAITS_MOVABLE, TIMED_COUNTED, blocking::bzmpop),
    sorted_of("bzpopmax", -3, WAITS_FAST, TIMED, blocking::bzpopmax),
    sorted_of("bzpopmin", -3, WAITS_FAST, TIMED, blocking::bzpopmin),
    sorted("zadd", -4, FAST_GROW, sorted_sets::zadd),
    sorted("zcard", 2, FAST_READ, sorted_sets::zcard),
    sorted("zcount", 4, FAST_READ, sorted_ranges::zcount),
    sorted_of("zdiff", -3, READ, COUNTED, sorted_unions::zdiff),
    sorted_of("zdiffstore", -4, GROW, ONE_AND_COUNTED, sorted_unions::zdiffstore),
    sorted("zincrby", 4, FAST_GROW, sorted_sets::zincrby),
    sorted_of("zinter", -3, READ, COUNTED, sorted_unions::zinter),
    sorted_of("zintercard", -3, READ, COUNTED, sorted_unions::zintercard),
    sorted_of("zinterstore", -4, GROW, ONE_AND_COUNTED, sorted_unions::zinterstore),
    sorted("zlexcount", 4, FAST_READ, sorted_ranges::zlexcount),
    sorted_of("zmpop", -4, WRITE, COUNTED, sorted_removals::zmpop),
    sorted("zmscore", -3, FAST_READ, sorted_sets::zmscore),
    sorted("zpopmax", -2, FAST_WRITE, sorted_removals::zpopmax),
    sorted("zpopmin", -2, FAST_WRITE, sorted_removals::zpopmin),
    sorted("zrandmember", -2, READ, sorted_walks::zrandmember),
    sorted("zrange", -4, READ, sorted_ranges::zrange),
    sorted("zrangebylex", -4, READ, sorted_ranges::zrangebylex),
    sorted("zrangebyscore", -4, READ, sorted_ranges::zrangebyscore),
    sorted_of("zrangestore", -5, GROW, Keys::TWO, sorted_ranges::zrangestore),
    sorted("zrank", -3, FAST_READ, sorted_sets::zrank),
    sorted("zrem", -3, FAST_WRITE, sorted_sets::zrem),
    sorted("zremrangebylex", 4, WRITE, sorted_removals::zremrangebylex),
    sorted("zremrangebyrank", 4, WRITE, sorted_removals::zremrangebyrank),
    sorted("zremrangebyscore", 4, WRITE, sorted_removals::zremrangebyscore),
    sorted("zrevrange", -4, READ, sorted_ranges::zrevrange),
    sorted("zrevrangebylex", -4, READ, sorted_ranges::zrevrangebylex),
    sorted("zrevrangebyscore", -4, READ, sorted_ranges::zrevrangebyscore),
    sorted("zrevrank", -3, FAST_READ, sorted_sets::zrevrank),
    sorted("zscan", -3, READ, sorted_walks::zscan),
    sorted("zscore", 3, FAST_READ, sorted_sets::zscore),
    sorted_of("zunion", -3, READ, COUNTED, sorted_unions::zunion),
    sorted_of("zunionstore", -4, GROW, ONE_AND_COUNTED, sorted_unions::zunionstore),
    stream("xack", -4, FAST_WRITE, groups::xack),
    stream("xadd", -5, FAST_GROW, streams::xadd),
    stream("xautoclaim", -6, FAST_WRITE, claims::xautoclaim),
    stream("xclaim", -6, FAST_WRITE, claims::xclaim),
    stream("xdel", -3, FAST_WRITE, streams::xdel),
    stream_of("xgroup", -2, WRITE, Keys::SECOND, groups::xgroup),
    stream_of("xinfo", -2, READ, Keys::SECOND, info::xinfo),
    stream("xlen", 2, FAST_READ, streams::xlen),
    stream("xpending", -3, READ, pending::xpending),
    stream("xrange", -4, READ, streams::xrange),
    stream_of("xread", -4, MOVABLE.and(Flags::BLOCKING), STREAMS, reads::xread),
    stream_of("xreadgroup", -7, WAITS_MOVABLE, STREAMS, reads::xreadgroup),
    stream("xrevrange", -4, READ, streams::xrevrange),
    stream("xsetid", -3, FAST_GROW, streams::xsetid),
    stream("xtrim", -4, WRITE, streams::xtrim),
    geo_of("geoadd", -5, GROW, Keys::ONE, geo::geoadd),
    geo_of("geodist", -4, READ, Keys::ONE, geo::geodist),
    geo_of("geohash", -2, READ, Keys::ONE, geo::geohash),
    geo_of("geopos", -2, READ, Keys::ONE, geo::geopos),
    geo_of("georadius", -6, GROW, GEO_STORED, geo_search::georadius),
    geo_of("georadius_ro", -6, READ, Keys::ONE, geo_search::georadius_ro),
    geo_of("georadiusbymember", -5, GROW, GEO_STORED, geo_search::georadiusbymember),
    geo_of("georadiusbymember_ro", -5, READ, Keys::ONE, geo_search::georadiusbymember_ro),
    geo_of("geosearch", -7, READ, Keys::ONE, geo_search::geosearch),
    geo_of("geosearchstore", -8, GROW, Keys::TWO, geo_search::geosearchstore),
    generic("keys", 2, READ, Keys::NONE, scan::keys),
    generic("randomkey", 1, READ, Keys::NONE, scan::randomkey),
    generic("scan", -2, READ, Keys::NONE, scan::scan),
    data("dbsize", 1, FAST_READ, Keys::NONE, Group::Server, keys::dbsize),
    data("flushall", -1, WRITE, Keys::NONE, Group::Server, keys::flush),
    data("flushdb", -1, WRITE, Keys::NONE, Group::Server, keys::flush),
    data("memory", -2, READ, Keys::SECOND, Group::Server, inspect::memory),
    data("time", 1, ALWAYS, Keys::NONE, Group::Server, keys::time),
    data("echo", 2, ALWAYS, Keys::NONE, Group::Connection, keys::echo),
    data("ping", -1, ALWAYS, Keys::NONE, Group::Connection, keys::ping),
    nowhere("bgrewriteaof", 1),
    nowhere("bgsave", -1),
    nowhere("debug", -2),
    nowhere("failover", -1),
    nowhere("lastsave", 1),
    nowhere("module", -2),
    nowhere("monitor", 1),
    nowhere("move", 3),
    nowhere("psync", -3),
    nowhere("replconf", -1),
    nowhere("replicaof", 3),
    nowhere("save", 1),
    nowhere("shutdown", -1),
    nowhere("slaveof", 3),
    nowhere("swapdb", 3),
    nowhere("sync", 1),
    session("latency", -2, ADMIN.and(Flags::NO_SCRIPT), Group::Server, Session::Latency),
    session("slowlog", -2, ADMIN, Group::Server, Session::Slowlog),
    session("acl", -2, OPEN, Group::Server, Session::Acl),
    session("asking", 1, Flags::FAST, Group::Cluster, Session::Asking),
    session("auth", -2, ALWAYS_NO_AUTH, Group::Connection, Session::Auth),
    session("client", -2, OPEN, Group::Connection, Session::Client),
    session("cluster", -2, OPEN, Group::Cluster, Session::Cluster),
    session("command", -1, OPEN, Group::Server, Session::Command),
    session("config", -2, ADMIN, Group::Server, Session::Config),
    session("discard", 1, ALWAYS, Group::Transactions, Session::Discard),
    script("eval", EVALS.and(Flags::MAY_REPLICATE)),
    script("eval_ro", EVALS.and(Flags::READONLY)),
    script("evalsha", EVALS.and(Flags::MAY_REPLICATE)),
    script("evalsha_ro", EVALS.and(Flags::READONLY)),
    session("exec", 1, OPEN.and(Flags::SKIP_SLOWLOG), Group::Transactions, Session::Exec),
    session("hello", -1, ALWAYS_NO_AUTH, Group::Connection, Session::Hello),
    session("info", -1, OPEN, Group::Server, Session::Info),
    session("multi", 1, ALWAYS, Group::Transactions, Session::Multi),
    channels("psubscribe", -2, LISTENS, Keys::NONE, Session::Psubscribe),
    channels("publish", 3, PUBLISHES, Keys::NONE, Session::Publish),
    channels("pubsub", -2, OPEN.and(Flags::PUBSUB), Keys::NONE, Session::Pubsub),
    channels("punsubscribe", -1, LISTENS, Keys::NONE, Session::Punsubscribe),
    channels("spublish", 3, PUBLISHES, Keys::ONE, Session::Spublish),
    channels("ssubscribe", -2, LISTENS, Keys::ALL, Session::Ssubscribe),
    channels("subscribe", -2, LISTENS, Keys::NONE, Session::Subscribe),
    channels("sunsubscribe", -1, LISTENS, Keys::ALL, Session::Sunsubscribe),
    channels("unsubscribe", -1, LISTENS, Keys::NONE, Session::Unsubscribe),
    session("quit", -1, ALWAYS_NO_AUTH, Group::Connection, Session::Quit),
    session("readonly", 1, ALWAYS, Group::Cluster, Session::Readonly),
    session("readwrite", 1, ALWAYS, Group::Cluster, Session::Readwrite),
    session("reset", 1, ALWAYS_NO_AUTH, Group::Connection, Session::Reset),
    session("role", 1, ALWAYS.and(Flags::NO_SCRIPT), Group::Server, Session::Role),
    session("script", -2, Flags::NO_SCRIPT, Group::Scripting, Session::Script),
    session("select", 2, ALWAYS, Group::Connection, Session::Select),
    session("unwatch", 1, ALWAYS, Group::Transactions, Session::Unwatch),
    session("wait", 3, Flags::BLOCKING, Group::Generic, Session::Wait),
    Command {
        number: 0,
        name: "watch",
        arity: -2,
        flags: ALWAYS,
        keys: Keys::ALL,
        group: Group::Transactions,
        kind: Kind::Session(Session::Watch),
    },
];
