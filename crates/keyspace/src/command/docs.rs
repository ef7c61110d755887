//! One line on every command, for COMMAND DOCS.

/// What is told about a command.
pub(super) struct Doc {
    /// The version of Redis in which it first appeared.
    pub since: &'static str,
    /// What it does.
    pub summary: &'static str,
}

/// The line on the command called `name`.
pub(super) fn doc(name: &str) -> Doc {
    let found = DOCS.binary_search_by_key(&name, |(name, _, _)| name);
    let (since, summary) = found.map_or(("1.0.0", ""), |at| (DOCS[at].1, DOCS[at].2));
    Doc { since, summary }
}

/// Name, first version and summary, in the order of names.
const DOCS: &[(&str, &str, &str)] = &[
    ("append", "2.0.0", "Puts more bytes at the end of a string."),
    ("asking", "3.0.0", "Lets the next command use a slot that is being moved here."),
    ("auth", "1.0.0", "Authenticates the connection."),
    ("client", "2.4.0", "Tells and changes what is known of client connections."),
    ("cluster", "3.0.0", "Tells about the cluster's nodes and slots."),
    ("command", "2.8.13", "Tells about commands."),
    ("config", "2.0.0", "Reads and changes settings."),
    ("dbsize", "1.0.0", "Counts the keys."),
    ("decr", "1.0.0", "Subtracts one from an integer."),
    ("decrby", "1.0.0", "Subtracts a number from an integer."),
    ("del", "1.0.0", "Deletes keys."),
    ("discard", "2.0.0", "Drops a transaction."),
    ("echo", "1.0.0", "Returns its argument."),
    ("exec", "1.2.0", "Executes a transaction."),
    ("exists", "1.0.0", "Counts which of the keys exist."),
    ("expire", "1.0.0", "Sets a key's time to live in seconds."),
    ("expireat", "1.2.0", "Sets when a key expires, in seconds since 1970."),
    ("expiretime", "7.0.0", "Tells when a key expires, in seconds since 1970."),
    ("flushall", "1.0.0", "Deletes all keys."),
    ("flushdb", "1.0.0", "Deletes all keys."),
    ("get", "1.0.0", "Returns a string."),
    ("getdel", "6.2.0", "Returns a string and deletes its key."),
    ("getex", "6.2.0", "Returns a string and changes when it expires."),
    ("getrange", "2.4.0", "Returns a piece of a string."),
    ("getset", "1.0.0", "Replaces a string and returns the former one."),
    ("hdel", "2.0.0", "Deletes fields of a hash."),
    ("hello", "6.0.0", "Chooses the protocol version and authenticates."),
    ("hexists", "2.0.0", "Tells whether a field of a hash exists."),
    ("hget", "2.0.0", "Returns a field of a hash."),
    ("hgetall", "2.0.0", "Returns all fields of a hash with their values."),
    ("hincrby", "2.0.0", "Adds to an integer in a field of a hash."),
    ("hincrbyfloat", "2.6.0", "Adds to a number in a field of a hash."),
    ("hkeys", "2.0.0", "Returns the fields of a hash."),
    ("hlen", "2.0.0", "Counts the fields of a hash."),
    ("hmget", "2.0.0", "Returns several fields of a hash."),
    ("hmset", "2.0.0", "Sets fields of a hash."),
    ("hset", "2.0.0", "Sets fields of a hash and counts the new ones."),
    ("hsetnx", "2.0.0", "Sets a field of a hash if it does not exist."),
    ("hstrlen", "3.2.0", "Tells how long a field of a hash is."),
    ("hvals", "2.0.0", "Returns the values of a hash."),
    ("incr", "1.0.0", "Adds one to an integer."),
    ("incrby", "1.0.0", "Adds a number to an integer."),
    ("incrbyfloat", "2.6.0", "Adds a number to a number."),
    ("info", "1.0.0", "Tells about the node."),
    ("keys", "1.0.0", "Returns the keys that fit to a pattern."),
    ("lindex", "1.0.0", "Returns an item of a list."),
    ("llen", "1.0.0", "Counts the items of a list."),
    ("lpop", "1.0.0", "Takes items from the front of a list."),
    ("lpush", "1.0.0", "Puts items at the front of a list."),
    ("lpushx", "2.2.0", "Puts items at the front of a list if it exists."),
    ("lrange", "1.0.0", "Returns a range of a list."),
    ("mget", "1.0.0", "Returns several strings."),
    ("mset", "1.0.1", "Sets several strings."),
    ("msetnx", "1.0.1", "Sets several strings if none of the keys exists."),
    ("multi", "1.2.0", "Begins a transaction."),
    ("persist", "2.2.0", "Makes a key stay for ever."),
    ("pexpire", "2.6.0", "Sets a key's time to live in milliseconds."),
    ("pexpireat", "2.6.0", "Sets when a key expires, in milliseconds since 1970."),
    ("pexpiretime", "7.0.0", "Tells when a key expires, in milliseconds since 1970."),
    ("ping", "1.0.0", "Tells that the node answers."),
    ("psetex", "2.6.0", "Sets a string and its time to live in milliseconds."),
    ("pttl", "2.6.0", "Tells a key's time to live in milliseconds."),
    ("quit", "1.0.0", "Closes the connection."),
    ("randomkey", "1.0.0", "Returns a key drawn at random."),
    ("readonly", "3.0.0", "Lets the connection read from a replica."),
    ("readwrite", "3.0.0", "Ends reading from a replica."),
    ("reset", "6.2.0", "Puts the connection back to its beginning."),
    ("rpop", "1.0.0", "Takes items from the back of a list."),
    ("rpush", "1.0.0", "Puts items at the back of a list."),
    ("rpushx", "2.2.0", "Puts items at the back of a list if it exists."),
    ("sadd", "1.0.0", "Adds members to a set."),
    ("scan", "2.8.0", "Walks over all keys."),
    ("scard", "1.0.0", "Counts the members of a set."),
    ("select", "1.0.0", "Chooses database 0."),
    ("set", "1.0.0", "Sets a string."),
    ("setex", "2.0.0", "Sets a string and its time to live in seconds."),
    ("setnx", "1.0.0", "Sets a string if its key does not exist."),
    ("setrange", "2.2.0", "Overwrites a piece of a string."),
    ("sismember", "1.0.0", "Tells whether something is a member of a set."),
    ("smembers", "1.0.0", "Returns the members of a set."),
    ("smismember", "6.2.0", "Tells which of several are members of a set."),
    ("srem", "1.0.0", "Removes members of a set."),
    ("strlen", "2.2.0", "Tells how long a string is."),
    ("substr", "1.0.0", "Returns a piece of a string."),
    ("touch", "3.2.1", "Counts which of the keys exist."),
    ("ttl", "1.0.0", "Tells a key's time to live in seconds."),
    ("type", "1.0.0", "Tells the type of a key's value."),
    ("unlink", "4.0.0", "Deletes keys."),
    ("unwatch", "2.2.0", "Forgets the watched keys."),
    ("wait", "3.0.0", "Waits until replicas have the connection's writes."),
    ("watch", "2.2.0", "Makes a transaction fail if keys change before it."),
    ("zadd", "1.2.0", "Adds members to a sorted set or changes their scores."),
    ("zcard", "1.2.0", "Counts the members of a sorted set."),
    ("zcount", "2.0.0", "Counts the members with scores in a range."),
    ("zincrby", "1.2.0", "Adds to a member's score."),
    ("zlexcount", "2.8.9", "Counts the members in a range of texts."),
    ("zmscore", "6.2.0", "Returns the scores of several members."),
    ("zrange", "1.2.0", "Returns a range of a sorted set."),
    ("zrangebylex", "2.8.9", "Returns the members in a range of texts."),
    ("zrangebyscore", "1.0.5", "Returns the members with scores in a range."),
    ("zrank", "2.0.0", "Tells a member's place in ascending order."),
    ("zrem", "1.2.0", "Removes members of a sorted set."),
    ("zrevrange", "1.2.0", "Returns a range of a sorted set in descending order."),
    ("zrevrangebylex", "2.8.9", "Returns the members in a range of texts, descending."),
    ("zrevrangebyscore", "2.2.0", "Returns the members with scores in a range, descending."),
    ("zrevrank", "2.0.0", "Tells a member's place in descending order."),
    ("zscore", "1.2.0", "Returns a member's score."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;

    #[test]
    fn every_command_has_its_line_and_every_line_its_command() {
        assert!(DOCS.is_sorted_by_key(|(name, _, _)| name));
        assert_eq!(DOCS.len(), COMMANDS.len());
        for command in COMMANDS {
            assert!(!doc(command.name).summary.is_empty(), "{}", command.name);
        }
    }
}
