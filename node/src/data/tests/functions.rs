//! Functions: their libraries are entries of the log, and members load them when they are called.

use super::{Client, Committing, Rig, show};
use crate::data::link::ToData;
use cairn_keyspace::{Export, Keyspace};
use cairn_logic::ids::{EntryId, Offset};
use cairn_logic::record::Role;

const LIBRARY: &str = "#!lua name=lib\n
    local calls = 0
    redis.register_function('add', function(keys, args)
        return redis.call('INCRBY', keys[1], args[1])
    end)
    redis.register_function{function_name='look', description='reads', flags={'no-writes'},
        callback=function(keys) return redis.call('GET', keys[1]) end}
    redis.register_function('calls', function() calls = calls + 1 return calls end)";

/// Words with `text` among them, in which blanks are other ones.
fn with(before: &str, text: &str, behind: &str) -> String {
    format!("{before} {}{behind}", text.replace(' ', "\t"))
}

fn load(client: &mut Client, text: &str) -> String {
    client.say(&with("FUNCTION LOAD", text, ""))
}

#[test]
fn functions_are_loaded_called_shown_and_deleted() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(load(&mut client, &LIBRARY.replace("lib\n", "\"lib\"\n")), "lib");
    assert_eq!(load(&mut client, LIBRARY), "-ERR Library 'lib' already exists");
    assert_eq!(client.say(&with("FUNCTION LOAD REPLACE", LIBRARY, "")), "lib");
    assert_eq!(client.say("FCALL add 1 b 5"), "5");
    assert_eq!(client.say("FCALL ADD 1 b 5"), "10");
    assert_eq!(client.say("FCALL_RO look 1 b"), "10");
    let refused = "-ERR Can not execute a script with write flag using *_ro command.";
    assert_eq!(client.say("FCALL_RO add 1 b 5"), refused);
    assert_eq!([client.say("FCALL calls 0"), client.say("FCALL calls 0")], ["1", "2"]);
    let shown = client.say("FUNCTION LIST");
    assert_eq!(
        shown,
        "[[library_name lib engine LUA functions [[name add description (nil) flags \
        []] [name calls description (nil) flags []] [name look description reads flags \
        [no-writes]]]]]"
    );
    assert_eq!(client.say("FUNCTION LIST LIBRARYNAME x*"), "[]");
    assert!(client.say("FUNCTION LIST WITHCODE").contains("library_code #!lua\tname=lib\n"));
    let stats = "[running_script (nil) engines [LUA [libraries_count 1 functions_count 3]]]";
    assert_eq!(client.say("FUNCTION STATS"), stats);
    assert_eq!(client.say("FUNCTION DELETE lib"), "OK");
    assert_eq!(client.say("FUNCTION DELETE lib"), "-ERR Library not found");
    assert_eq!(client.say("FCALL add 1 b 5"), "-ERR Function not found");
    assert_eq!(client.say("FUNCTION KILL"), "-NOTBUSY No scripts in execution right now.");
}

#[test]
fn an_error_calls_what_a_library_has_called_by_the_same_name() {
    let rig = Committing::new();
    let mut client = rig.client();
    let said = load(&mut client, "#! name=a\nredis.register_function('f', function() end)");
    assert_eq!(said, "-ERR Engine '' not found");
    for api in ["redis", "server"] {
        let said = load(&mut client, &format!("#!lua name=a\n{api}.register_function('f', 1)"));
        let want = format!("second argument to {api}.register_function must be a function");
        assert!(said.ends_with(&want), "{said}");
    }
}

#[test]
fn what_makes_no_library_is_refused_and_changes_nothing() {
    let rig = Committing::new();
    let mut client = rig.client();
    load(&mut client, LIBRARY);
    let absent = "Script attempted to access nonexistent global variable";
    for (text, want) in [
        ("return 1", "ERR Missing library metadata".to_owned()),
        ("#!lua name=a\nreturn", "ERR No functions registered".into()),
        ("#!lua name=a\nreturn (", "ERR Error compiling function: user_function:2:".into()),
        (
            "#!lua name=a\nredis.call('PING')",
            format!("ERR Error registering functions: ERR user_function:2: {absent} 'call'"),
        ),
        (
            "#!lua name=a\nmath.random()",
            format!("ERR Error registering functions: ERR user_function:2: {absent} 'math'"),
        ),
        (
            "#!lua name=a\nx = 1",
            "ERR Error registering functions: ERR user_function:2: Attempt to \
            modify a readonly table"
                .into(),
        ),
        (
            "#!lua name=a\nredis.register_function('f')",
            "ERR Error registering functions: ERR \
            calling redis.register_function with a single argument is only applicable"
                .into(),
        ),
        (
            "#!lua name=a\nredis.register_function('add', function() end)",
            "ERR Function add already exists".into(),
        ),
        (
            "#!lua name=a\nwhile true do end",
            "ERR Error registering functions: ERR FUNCTION LOAD \
            timeout"
                .into(),
        ),
    ] {
        let said = load(&mut client, text);
        assert!(said.starts_with(&format!("-{want}")), "{text}: {said}");
    }
    for (words, want) in [
        ("FUNCTION LOAD x y", "ERR Unknown option given: x"),
        ("FUNCTION LIST x", "ERR Unknown argument x"),
        ("FUNCTION LIST LIBRARYNAME", "ERR library name argument was not given"),
        ("FUNCTION FLUSH x", "ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        (
            "FUNCTION FLUSH x y",
            "ERR unknown subcommand or wrong number of arguments for 'FLUSH'. \
            Try FUNCTION HELP.",
        ),
        ("FUNCTION RESTORE x", "ERR DUMP payload version or checksum are wrong"),
        (
            "FUNCTION RESTORE x y",
            "ERR Wrong restore policy given, value should be either FLUSH, \
            APPEND or REPLACE.",
        ),
        ("FUNCTION x", "ERR unknown subcommand 'x'. Try FUNCTION HELP."),
        ("FCALL nosuch 0", "ERR Function not found"),
        ("FCALL add x", "ERR Bad number of keys provided"),
        ("FCALL add -1 b", "ERR Number of keys can't be negative"),
        ("FCALL add 2 b", "ERR Number of keys can't be greater than number of args"),
        ("FCALL add 1 foo", "MOVED 12182 10.0.0.1:9"),
    ] {
        assert_eq!(client.say(words), format!("-{want}"), "{words}");
    }
    assert_eq!(client.say("FCALL add 1 b 1"), "1");
}

#[test]
fn a_library_is_an_entry_and_part_of_a_snapshot() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send(&with("FUNCTION LOAD", LIBRARY, ""));
    let batch = rig.batch();
    assert!(client.is_quiet(), "nothing is said before it is committed");
    rig.link.commit(batch.head.last_offset());
    assert_eq!(show(&client.reply()), "lib");
    let mut copy = Keyspace::new(5);
    assert_eq!(copy.apply(&batch.body, batch.head.first), Ok(1));
    assert_eq!(copy.libraries().len(), 1);
    let mut export = Export::new(1 << 16);
    assert!(!export.advance(&copy, EntryId::ZERO, usize::MAX));
    let mut loaded = Keyspace::new(7);
    for (_, portion) in export.take() {
        loaded.import(&portion, Offset(1)).unwrap();
    }
    assert_eq!(loaded.libraries(), copy.libraries());
    // What the snapshot has already is passed over.
    assert_eq!(loaded.apply(&batch.body, batch.head.first), Ok(1));
    assert_eq!(loaded.libraries_version(), 1);
}

#[test]
fn replicas_call_what_their_master_has_loaded() {
    let mut master = Rig::master();
    let mut client = master.client();
    client.send(&with("FUNCTION LOAD", LIBRARY, ""));
    let batch = master.batch();
    let rig = Rig::replica(Role::Replica);
    let mut client = rig.client();
    client.say("READONLY");
    assert_eq!(client.say("FCALL_RO look 1 b"), "-ERR Function not found");
    let link = rig;
    link.link.send(ToData::Apply(batch));
    while client.say("FCALL_RO look 1 b") != "(nil)" {}
    let refused = "-READONLY Can not run script with write flag on readonly replica";
    assert_eq!(client.say("FCALL add 1 b 1"), refused);
    let refused = "-READONLY You can't write against a read only replica.";
    assert_eq!(client.say("FUNCTION DELETE lib"), refused);
}

#[test]
fn a_payload_brings_libraries_back() {
    let rig = Committing::new();
    let mut client = rig.client();
    load(&mut client, LIBRARY);
    let cairn_resp::Reply::Bulk(payload) = client.ask("FUNCTION DUMP") else { panic!("a payload") };
    let restore = |client: &mut Client, policy: &[u8]| {
        let mut frame = b"*4\r\n$8\r\nFUNCTION\r\n$7\r\nRESTORE\r\n".to_vec();
        for word in [payload.as_slice(), policy] {
            frame.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            frame.extend_from_slice(word);
            frame.extend_from_slice(b"\r\n");
        }
        client.raw(&frame);
        show(&client.reply())
    };
    assert_eq!(restore(&mut client, b"APPEND"), "-ERR Library lib already exists");
    assert_eq!(restore(&mut client, b"REPLACE"), "OK");
    assert_eq!(client.say("FUNCTION FLUSH"), "OK");
    assert_eq!(client.say("FUNCTION LIST"), "[]");
    load(&mut client, "#!lua name=other\nredis.register_function('f', function() return 1 end)");
    assert_eq!(restore(&mut client, b"FLUSH"), "OK");
    assert_eq!(client.say("FCALL f 0"), "-ERR Function not found");
    assert_eq!(client.say("FCALL add 1 b 3"), "3");
    // Within a transaction, too.
    client.say("MULTI");
    assert_eq!(client.say("FUNCTION FLUSH"), "QUEUED");
    assert_eq!(client.say("FCALL add 1 b 3"), "QUEUED");
    assert_eq!(client.say("EXEC"), "[OK -ERR Function not found]");
}
