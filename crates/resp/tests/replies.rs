//! Replies: what is written is read back, in both versions, from pieces too.

use cairn_resp::{Reply, ReplyBuf, Version};
use proptest::prelude::*;

/// One call of the writer.
#[derive(Clone, Debug)]
enum Write {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Double(f64),
    Boolean(bool),
    Verbatim(Vec<u8>),
    BigNumber(u64),
    Array(Vec<Write>),
    Set(Vec<Write>),
    Map(Vec<(Write, Write)>),
}

fn write(reply: &mut ReplyBuf, what: &Write) {
    match what {
        Write::Simple(text) => reply.simple(text),
        Write::Error(text) => reply.error(text),
        Write::Integer(value) => reply.integer(*value),
        Write::Bulk(bytes) => reply.bulk(bytes),
        Write::Null => reply.null(),
        Write::NullArray => reply.null_array(),
        Write::Double(value) => reply.double(*value),
        Write::Boolean(value) => reply.boolean(*value),
        Write::Verbatim(text) => reply.verbatim(*b"txt", text),
        Write::BigNumber(value) => reply.big_number(&value.to_string()),
        Write::Array(items) => {
            let mark = reply.begin_array();
            items.iter().for_each(|item| write(reply, item));
            reply.end_array(mark, items.len());
        }
        Write::Set(items) => {
            reply.set(items.len());
            items.iter().for_each(|item| write(reply, item));
        }
        Write::Map(pairs) => {
            reply.map(pairs.len());
            for (key, value) in pairs {
                write(reply, key);
                write(reply, value);
            }
        }
    }
}

/// What a client reads of it in RESP3.
fn expected(what: &Write) -> Reply {
    let clean = |text: &String| text.replace(['\r', '\n'], " ");
    match what {
        Write::Simple(text) => Reply::Simple(clean(text)),
        Write::Error(text) => Reply::Error(clean(&text.trim_end_matches(['\r', '\n']).to_owned())),
        Write::Integer(value) => Reply::Integer(*value),
        Write::Bulk(bytes) => Reply::Bulk(bytes.clone()),
        Write::Null | Write::NullArray => Reply::Null,
        Write::Double(value) => Reply::Double(*value),
        Write::Boolean(value) => Reply::Boolean(*value),
        Write::Verbatim(text) => Reply::Verbatim("txt".to_owned(), text.clone()),
        Write::BigNumber(value) => Reply::BigNumber(value.to_string()),
        Write::Array(items) => Reply::Array(items.iter().map(expected).collect()),
        Write::Set(items) => Reply::Set(items.iter().map(expected).collect()),
        Write::Map(pairs) => {
            Reply::Map(pairs.iter().map(|(key, value)| (expected(key), expected(value))).collect())
        }
    }
}

fn writes() -> impl Strategy<Value = Write> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        "[ -~\r\n]{0,20}".prop_map(Write::Simple),
        "[ -~\r\n]{0,20}".prop_map(Write::Error),
        any::<i64>().prop_map(Write::Integer),
        bytes().prop_map(Write::Bulk),
        Just(Write::Null),
        Just(Write::NullArray),
        any::<f64>().prop_filter("a number", |v| !v.is_nan()).prop_map(Write::Double),
        any::<bool>().prop_map(Write::Boolean),
        bytes().prop_map(Write::Verbatim),
        any::<u64>().prop_map(Write::BigNumber),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Write::Array),
            prop::collection::vec(inner.clone(), 0..5).prop_map(Write::Set),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Write::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_in_resp3_is_read_back(what in writes()) {
        let mut reply = ReplyBuf::new(Version::Resp3);
        write(&mut reply, &what);
        prop_assert_eq!(Reply::parse(reply.as_bytes()), Ok(Some((expected(&what), reply.len()))));
        for len in 0..reply.len() {
            prop_assert_eq!(Reply::parse(&reply.as_bytes()[..len]), Ok(None));
        }
    }

    #[test]
    fn resp2_is_one_reply_of_old_types(what in writes()) {
        let mut reply = ReplyBuf::new(Version::Resp2);
        write(&mut reply, &what);
        let (parsed, len) = Reply::parse(reply.as_bytes()).expect("well-formed").expect("whole");
        prop_assert_eq!(len, reply.len());
        prop_assert!(is_old(&parsed));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Reply::parse(&bytes);
    }
}

fn is_old(reply: &Reply) -> bool {
    match reply {
        Reply::Array(items) => items.iter().all(is_old),
        Reply::Simple(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Bulk(_) | Reply::Null => {
            true
        }
        _ => false,
    }
}

#[test]
fn lying_lengths_take_no_memory_and_depth_is_bounded() {
    assert_eq!(Reply::parse(b"*1000000000\r\n"), Ok(None));
    assert_eq!(Reply::parse(b"$9000000000000000000\r\nx"), Ok(None));
    assert!(Reply::parse("*1\r\n".repeat(100).as_bytes()).is_err());
    assert!(Reply::parse(b"?\r\n").is_err());
}
