//! Rules of any bytes: taken or refused, never half, and what was taken is told so that it makes
//! the same user again.

use cairn_acl::{Access, CATEGORIES, Category, Change, Fixed, Name, Reason, Stored, User, Users};
use cairn_keyspace::command::{COMMANDS, Flags, Keys, categories, lookup};
use cairn_resp::ArgsBuf;
use proptest::collection::vec;
use proptest::prelude::*;

/// Words that rules are made of, whole ones among them.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "on",
        "off",
        "nopass",
        "resetpass",
        "reset",
        ">",
        "<",
        "#",
        "!",
        "~",
        "%R~",
        "%W~",
        "%RW~",
        "&",
        "+",
        "-",
        "+@",
        "-@",
        "get",
        "set",
        "client",
        "|",
        "list",
        "select",
        "0",
        "all",
        "read",
        "write",
        "dangerous",
        "(",
        ")",
        " ",
        "*",
        "key:*",
        "allkeys",
        "resetkeys",
        "allchannels",
        "resetchannels",
        "allcommands",
        "nocommands",
        "clearselectors",
        "%",
        "+get",
        "-@write",
        "+@read",
        "~key",
        "&news",
        "+client|list",
        "+select|0",
        "(+get ~a)",
    ];
    prop_oneof![
        6 => prop::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ]
}

fn rule() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..4).prop_map(|pieces| pieces.concat())
}

fn request() -> impl Strategy<Value = ArgsBuf> {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let words = [&b"list"[..], b"key:1", b"key", b"a", b"0", b"1", b"2", b"get", b"store"];
    let word = prop_oneof![
        4 => prop::sample::select(words.map(<[u8]>::to_vec).to_vec()),
        1 => vec(any::<u8>(), 0..5),
    ];
    (prop::sample::select(names), vec(word, 0..6)).prop_map(|(name, words)| {
        let mut args = ArgsBuf::new();
        args.push(name.as_bytes());
        words.iter().for_each(|word| args.push(word));
        args
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_user_that_is_told_is_the_same_again(
        name in vec(any::<u8>(), 0..6),
        steps in vec(vec(rule(), 0..5), 0..6),
        requests in vec(request(), 0..12),
    ) {
        let (fixed, mut stored) = (Fixed::default(), Stored::default());
        for rules in steps {
            let before = stored.clone();
            let change = Change::Set { name: name.clone(), rules };
            match stored.change(&fixed, &change) {
                Ok((after, _)) => stored = after,
                Err(refused) => {
                    prop_assert!(refused.text().starts_with("ERR "));
                    prop_assert_eq!(&stored, &before);
                }
            }
        }
        let users = Users::new(&fixed, &stored);
        let Some(user) = users.get(&name) else { return Ok(()) };
        let line = user.describe();
        let again = User::read(&name, &line);
        prop_assert_eq!(again.describe(), line);
        for args in requests {
            let args = args.as_args();
            let command = lookup(args.name()).unwrap();
            prop_assert_eq!(user.check(command, args), again.check(command, args));
            if user.is_free() {
                prop_assert!(user.check(command, args).is_ok());
            }
        }
    }

    #[test]
    fn a_line_of_any_bytes_makes_some_user(line in vec(piece(), 0..30)) {
        let user = User::read(b"app", &line.join(&b' '));
        prop_assert_eq!(User::read(b"app", &user.describe()).describe(), user.describe());
    }

    #[test]
    fn users_survive_the_directory(names in vec(vec(any::<u8>(), 1..6), 1..5)) {
        let mut stored = Stored::default();
        for name in &names {
            let rules = vec![[b"~", name.as_slice()].concat()];
            let change = Change::Set { name: name.clone(), rules };
            if let Ok((after, _)) = stored.change(&Fixed::default(), &change) {
                stored = after;
            }
        }
        let back = Stored::from_texts(stored.clone().into_texts());
        prop_assert_eq!(Users::new(&Fixed::default(), &back), Users::new(&Fixed::default(), &stored));
        for name in names.iter().filter(|name| User::is_name(name)) {
            prop_assert!(Users::new(&Fixed::default(), &back).get(name).is_some());
        }
    }
}

fn user(rules: &[&str]) -> User {
    let mut user = User::new(b"app");
    let rules: Vec<Vec<u8>> = rules.iter().map(|rule| rule.as_bytes().to_vec()).collect();
    user.apply_all(&rules).unwrap();
    user
}

fn refused(user: &User, words: &[&str]) -> Option<(Reason, String)> {
    let args: ArgsBuf = words.iter().collect();
    let denied = user.check(lookup(words[0].as_bytes()).unwrap(), args.as_args()).err()?;
    Some((denied.reason, String::from_utf8(denied.object).unwrap()))
}

#[test]
fn rules_of_commands_are_told_as_they_were_given_without_what_is_outdone() {
    let rules = |rules: &[&str]| {
        let user = user(rules);
        String::from_utf8(user.selectors().next().unwrap().command_rules()).unwrap()
    };
    assert_eq!(rules(&["+@all", "-@hash", "-@slow", "+hget"]), "+@all -@hash -@slow +hget");
    assert_eq!(rules(&["-@hash", "-@slow", "-@hash"]), "-@all -@slow -@hash");
    assert_eq!(rules(&["+client|id", "+client|LIST", "+CLIENT"]), "-@all +client");
    assert_eq!(rules(&["+select|0", "+select|1", "-select"]), "-@all -select");
    assert_eq!(rules(&["+get", "+@all", "-get", "+@all"]), "+@all");
}

#[test]
fn a_selector_that_goes_the_farthest_says_what_is_missing() {
    let user = user(&["+get", "~a", "(+set ~b)", "(+get ~c)"]);
    assert_eq!(refused(&user, &["get", "a"]), None);
    assert_eq!(refused(&user, &["get", "c"]), None);
    assert_eq!(refused(&user, &["set", "b", "1"]), None);
    assert_eq!(refused(&user, &["set", "a", "1"]), Some((Reason::Key, "a".into())));
    assert_eq!(refused(&user, &["del", "a"]), Some((Reason::Command, "del".into())));
}

#[test]
fn categories_are_those_that_command_tells() {
    for command in &COMMANDS {
        let name = Name::find(command.name.as_bytes()).unwrap();
        let of_table = CATEGORIES.into_iter().filter(|category| name.is_in(*category));
        let mut of_table: Vec<String> = of_table.map(|it| format!("@{}", it.name)).collect();
        let mut told = categories(command);
        of_table.sort_unstable();
        told.sort_unstable();
        assert_eq!(of_table, told, "{}", command.name);
    }
    assert_eq!(Category::named(b"READ").unwrap().name, "read");
    assert_eq!(Category::named(b"nothing"), None);
}

#[test]
fn who_may_read_only_changes_no_key_and_the_other_way_round() {
    let readers = user(&["+@all", "%R~*"]);
    let writers = user(&["+@all", "%W~*"]);
    // Those that only say whether something is there, or how much.
    let about = [
        "exists",
        "hexists",
        "hlen",
        "hstrlen",
        "llen",
        "memory",
        "object",
        "scard",
        "sismember",
        "strlen",
        "touch",
        "type",
        "watch",
        "xlen",
        "zcard",
        "xgroup",
        "xinfo",
    ];
    let channels = ["spublish", "ssubscribe", "sunsubscribe"];
    for command in COMMANDS.iter().filter(|it| it.keys != Keys::NONE) {
        if channels.contains(&command.name) || about.contains(&command.name) {
            continue;
        }
        let args: ArgsBuf = [command.name, "1", "1", "k", "streams", "k", "0"].iter().collect();
        let write = command.flags.has(Flags::WRITE);
        let by_reader = readers.check(command, args.as_args());
        let by_writer = writers.check(command, args.as_args());
        if command.keys_of(args.as_args()).next().is_none() {
            continue;
        }
        let may_only_read = ["sort", "georadius", "georadiusbymember", "bitfield", "xreadgroup"];
        if write && !may_only_read.contains(&command.name) {
            assert!(by_reader.is_err(), "{} changes keys", command.name);
        }
        if !write && command.flags.has(Flags::READONLY) {
            assert!(by_writer.is_err(), "{} tells what is in keys", command.name);
        }
    }
    assert!(Access::BOTH.covers(Access::READ) && !Access::READ.covers(Access::BOTH));
}
