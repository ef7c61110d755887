//! Scripts: what they may reach, that each is one unit of the log, and where they are refused.

use super::{Client, Committing, Rig, show};
use cairn_keyspace::Keyspace;
use cairn_logic::record::Role;

/// Says `command` with a script, whose blanks are others than those between words.
fn run(client: &mut Client, command: &str, script: &str, rest: &str) -> String {
    client.say(&format!("{command} {} {rest}", script.replace(' ', "\t")))
}

fn eval(client: &mut Client, script: &str, rest: &str) -> String {
    run(client, "EVAL", script, rest)
}

#[test]
fn a_script_runs_commands_and_is_kept_by_its_sum() {
    let rig = Committing::new();
    let mut client = rig.client();
    let script = "redis.call('SET',KEYS[1],ARGV[1]) return {KEYS[1],redis.call('GET',KEYS[1])}";
    assert_eq!(eval(&mut client, script, "1 b v"), "[b v]");
    let wrong = "-ERR wrong number of arguments for 'script|load' command";
    assert_eq!(client.say("SCRIPT LOAD a b"), wrong);
    let text = "return\tredis.call('INCR',KEYS[1])";
    let sha = client.say(&format!("SCRIPT LOAD {text}"));
    assert_eq!(client.say(&format!("EVALSHA {} 1 {{b}}n", sha.to_uppercase())), "1");
    assert_eq!(client.say(&format!("SCRIPT EXISTS {sha} x")), "[1 0]");
    assert_eq!(client.say("SCRIPT FLUSH ASYNC"), "OK");
    let gone = "-NOSCRIPT No matching script. Please use EVAL.";
    assert_eq!(client.say(&format!("EVALSHA {sha} 1 {{b}}n")), gone);
    assert_eq!(client.say("SCRIPT KILL"), "-NOTBUSY No scripts in execution right now.");
}

#[test]
fn what_a_script_may_not_do_is_refused() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("SET b 1");
    let write = "return redis.call('SET',KEYS[1],'v')";
    for (command, script, rest, want) in [
        ("EVAL", "return redis.call('NOSUCH')", "0", "ERR Unknown Redis command called"),
        ("EVAL", "return redis.call('GET')", "0", "ERR Wrong number of args calling"),
        ("EVAL", "return redis.call('MULTI')", "0", "ERR This Redis command is not allowed"),
        ("EVAL", "return redis.call('CONFIG','GET','x')", "0", "ERR This Redis command is not"),
        ("EVAL", "return redis.call('EVAL','return 1',0)", "0", "ERR This Redis command is not"),
        ("EVAL", "return redis.call('LPUSH','b','v')", "1 b", "WRONGTYPE Operation against"),
        ("EVAL_RO", write, "1 b", "ERR Write commands are not allowed from read-only scripts."),
        ("EVAL_RO", "return redis.call('PUBLISH','c','x')", "0", "ERR Write commands are not"),
        ("EVAL", "#!lua flags=no-cluster\nreturn 1", "0", "ERR Can not run script on cluster"),
        ("EVAL", "return redis.call('GET','c')", "1 b", "ERR Script attempted to access keys"),
        ("EVAL", "return redis.call('GET','a')", "0", "ERR Script attempted to access a non"),
        ("EVAL", "return 1", "-1", "ERR Number of keys can't be negative"),
        ("EVAL", "return 1", "2 b", "ERR Number of keys can't be greater than number of args"),
        ("EVAL", "return 1", "2 b c", "CROSSSLOT Keys in request don't hash to the same slot"),
        ("EVAL", "return 1", "1 a", "MOVED 15495 10.0.0.1:9"),
        ("EVAL", "return (", "0", "ERR Error compiling script (new function): user_script:1:"),
    ] {
        let said = run(&mut client, command, script, rest);
        assert!(said.starts_with(&format!("-{want}")), "{command} {script} {rest}: {said}");
    }
    assert_eq!(client.say("GET b"), "1");
}

#[test]
fn all_writes_of_a_script_are_one_entry_and_replicas_get_the_same() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    let script = "for i=1,50 do redis.call('RPUSH',KEYS[1],math.random(1000)) end \
        redis.call('SET',KEYS[2],redis.call('LLEN',KEYS[1])) error('late')";
    client.send(&format!("EVAL {} 2 {{b}}l {{b}}n", script.replace(' ', "\t")));
    let batch = rig.batch();
    assert_eq!(batch.head.count, 1);
    assert!(client.is_quiet(), "nothing is said before it is committed");
    rig.link.commit(batch.head.last_offset());
    let said = show(&client.reply());
    assert!(said.starts_with("-ERR user_script:1: late script: "), "{said}");
    let mut replica = Keyspace::new(5);
    assert_eq!(replica.apply(&batch.body, batch.head.first), Ok(1));
    assert_eq!(replica.len(), 2);
    assert_eq!(client.say("GET {b}n"), "50");
}

#[test]
fn scripts_within_transactions_are_part_of_them() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("MULTI");
    client.say("SET b 1");
    assert_eq!(eval(&mut client, "return redis.call('INCR',KEYS[1])", "1 b"), "QUEUED");
    assert_eq!(client.say("EXEC"), "[OK 2]");
    client.say("MULTI");
    client.say("SET b 1");
    assert_eq!(eval(&mut client, "return 1", "1 c"), "QUEUED");
    assert!(client.say("EXEC").starts_with("-CROSSSLOT"));
}

#[test]
fn those_who_wait_and_watch_hear_of_a_script_s_writes() {
    let rig = Committing::new();
    let (mut waiting, mut watching, mut client) = (rig.client(), rig.client(), rig.client());
    waiting.send("BLPOP b 0");
    while !client.say("INFO clients").contains("blocked_clients:1\r\n") {}
    watching.say("WATCH {b}w");
    eval(&mut client, "redis.call('RPUSH','b','x') redis.call('SET','{b}w',1)", "1 b");
    assert_eq!(show(&waiting.reply()), "[b x]");
    watching.say("MULTI");
    watching.say("PING");
    assert_eq!(watching.say("EXEC"), "(nil)");
}

#[test]
fn messages_of_scripts_are_heard() {
    let rig = Committing::new();
    let (mut listening, mut client) = (rig.client(), rig.client());
    listening.say("SUBSCRIBE news");
    assert_eq!(eval(&mut client, "return redis.call('PUBLISH','news','hello')", "0"), "1");
    assert_eq!(show(&listening.reply()), "[message news hello]");
}

#[test]
fn a_script_that_says_what_it_is_is_refused_without_memory_unless_it_says_more() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("CONFIG SET maxmemory 1"), "OK");
    assert_eq!(eval(&mut client, "return 1", "0"), "1");
    assert!(
        eval(&mut client, "#!lua\nreturn 1", "0").starts_with("-OOM allow-oom flag is not set")
    );
    assert_eq!(eval(&mut client, "#!lua flags=no-writes\nreturn 1", "0"), "1");
    let write = "#!lua flags=allow-oom\nreturn redis.call('SET',KEYS[1],'v')";
    assert_eq!(eval(&mut client, write, "1 b"), "OK");
}

#[test]
fn nothing_waits_within_a_script() {
    let rig = Committing::new();
    let mut client = rig.client();
    let pop = "return redis.call('BLPOP',KEYS[1],0)";
    assert_eq!(eval(&mut client, pop, "1 b"), "(nil)");
    client.say("RPUSH b x");
    assert_eq!(eval(&mut client, pop, "1 b"), "[b x]");
    let copies = eval(&mut client, "return redis.call('WAIT',5,0)", "0");
    assert!(copies.parse::<u64>().is_ok_and(|copies| copies < 5), "{copies}");
}

#[test]
fn replicas_run_scripts_that_read_for_those_who_asked_for_it() {
    let rig = Rig::replica(Role::Replica);
    let mut client = rig.client();
    assert!(eval(&mut client, "return 1", "1 b").starts_with("-MOVED"));
    client.say("READONLY");
    assert_eq!(eval(&mut client, "return redis.call('GET','b')", "1 b"), "(nil)");
    let said = eval(&mut client, "return redis.call('SET','b','v')", "1 b");
    assert!(said.starts_with("-READONLY You can't write against a read only replica."), "{said}");
}
