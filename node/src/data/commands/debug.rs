//! DEBUG, of which one thing is served: PROTOCOL, which answers with each kind of reply, so that
//! those who write clients see what theirs makes of it. It touches nothing; scripts may call it.

use crate::data::commands::word;
use cairn_resp::{Args, ReplyBuf, Version};

const KINDS: &str = "string|integer|double|null|array|set|map|attrib|push|verbatim|true|false";
const BIG_NUMBER: &str = "1234567999999999999999999999999999999";

/// Answers what may be asked by everybody; whether it was that.
pub fn answered(args: Args<'_>, out: &mut ReplyBuf) -> bool {
    if args.len() != 3 {
        return false;
    }
    match word(args.get(1)).as_str() {
        "protocol" => protocol(&word(args.get(2)), out),
        // There is nothing that scripts would have to be allowed.
        "set-disable-deny-scripts" if matches!(args.get(2), b"0" | b"1") => out.ok(),
        _ => return false,
    }
    true
}

/// Whether it is asked for what [`answered`] answers.
pub fn is_answered(args: Args<'_>) -> bool {
    answered(args, &mut ReplyBuf::new(Version::Resp2))
}

/// A reply of this kind.
#[expect(clippy::approx_constant, reason = "clients expect this number, which is not pi")]
fn protocol(kind: &str, out: &mut ReplyBuf) {
    match kind {
        "string" => out.bulk(b"Hello World"),
        "integer" => out.integer(12345),
        "double" => out.double(3.141),
        "null" => out.null(),
        "array" => {
            out.array(3);
            (0..3).for_each(|number| out.integer(number));
        }
        "set" => {
            out.set(3);
            (0..3).for_each(|number| out.integer(number));
        }
        "map" => {
            out.map(3);
            for number in 0..3 {
                out.integer(number);
                out.boolean(number == 1);
            }
        }
        "attrib" => {
            if out.version() == Version::Resp3 {
                out.attribute(1);
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.integer(90);
            }
            out.bulk(b"Some real reply following the attribute");
        }
        "push" if out.version() == Version::Resp2 => {
            out.error("ERR RESP2 is not supported by this command");
        }
        "push" => {
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.integer(42);
            // Clients that take messages out of the row still wait for a reply.
            out.bulk(b"Some real reply following the push reply");
        }
        "verbatim" => out.verbatim(*b"txt", b"This is a verbatim\nstring"),
        "true" => out.boolean(true),
        "false" => out.boolean(false),
        "bignum" => out.big_number(BIG_NUMBER),
        _ => out.error(&format!(
            "ERR Wrong protocol type name. Please use one of the following: {KINDS}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_resp::{ArgsBuf, Reply};

    fn asked(words: &[&str], version: Version) -> Option<Vec<u8>> {
        let mut args = ArgsBuf::new();
        words.iter().for_each(|word| args.push(word.as_bytes()));
        let mut out = ReplyBuf::new(version);
        answered(args.as_args(), &mut out).then(|| out.take())
    }

    #[test]
    fn each_kind_is_a_reply_that_can_be_read_in_both_versions() {
        for kind in KINDS.split('|').chain(["bignum", "nothing"]) {
            for version in [Version::Resp2, Version::Resp3] {
                let bytes = asked(&["DEBUG", "PROTOCOL", kind], version).unwrap();
                let (_, mut read) = Reply::parse(&bytes).unwrap().expect("a whole reply");
                if read < bytes.len() {
                    read += Reply::parse(&bytes[read..]).unwrap().expect("one behind a push").1;
                }
                assert_eq!(read, bytes.len(), "{kind}");
            }
        }
        let attribute = asked(&["debug", "protocol", "attrib"], Version::Resp3).unwrap();
        let (reply, _) = Reply::parse(&attribute).unwrap().unwrap();
        assert_eq!(reply, Reply::Bulk(b"Some real reply following the attribute".to_vec()));
    }

    #[test]
    fn all_else_is_not_served() {
        for words in [
            &["DEBUG", "SLEEP", "1"][..],
            &["DEBUG", "SET-ACTIVE-EXPIRE", "0"],
            &["DEBUG", "PROTOCOL"],
            &["DEBUG", "SET-DISABLE-DENY-SCRIPTS", "2"],
        ] {
            assert_eq!(asked(words, Version::Resp2), None, "{words:?}");
        }
    }
}
