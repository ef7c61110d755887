//! Requests: the exact answers to malformed ones, and what holds for any bytes.

use cairn_resp::{ArgsBuf, Limits, Parser, ProtocolError};
use proptest::prelude::*;

type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Feeds `input` in pieces that end at `cuts`, taking complete requests out after each.
fn feed(input: &[u8], cuts: &[usize], limits: Limits) -> Outcome {
    let mut parser = Parser::new(limits);
    let mut buffer = Vec::new();
    let mut requests = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&input.len()]) {
        buffer.extend_from_slice(&input[from..cut]);
        from = cut;
        let outcome = parser.parse(&mut buffer);
        for index in 0..parser.len() {
            requests.push(parser.args(index, &buffer).iter().map(<[u8]>::to_vec).collect());
        }
        if let Err(error) = outcome {
            return (requests, Some(error));
        }
        let consumed = parser.consume();
        buffer.drain(..consumed);
        assert!(parser.is_empty());
    }
    (requests, None)
}

fn whole(input: &[u8]) -> Outcome {
    feed(input, &[], Limits::default())
}

fn words(input: &[u8]) -> Vec<Vec<String>> {
    let (requests, error) = whole(input);
    assert_eq!(error, None);
    let text = |word: Vec<u8>| String::from_utf8(word).expect("text");
    requests.into_iter().map(|words| words.into_iter().map(text).collect()).collect()
}

#[test]
fn a_pipeline_is_read_at_once() {
    let input =
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n\r\nPING\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$";
    assert_eq!(words(input), [vec!["GET", "k"], vec!["PING"], vec!["PING"]]);
}

#[test]
fn inline_words_are_unquoted() {
    let input = b"SET \"a b\\n\\x41\" 'it\\'s'  last\r\nGET \"\"\n";
    assert_eq!(words(input), [vec!["SET", "a b\nA", "it's", "last"], vec!["GET", ""]]);
}

#[test]
fn malformed_requests_have_their_texts() {
    let long = vec![b'1'; 70_000];
    let line = |head: &[u8]| [head, &long].concat();
    for (input, text) in [
        (b"*x\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*2000000\r\n".to_vec(), "Protocol error: invalid multibulk length"),
        (b"*1\r\n$-1\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\n$x\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\n$600000000\r\n".to_vec(), "Protocol error: invalid bulk length"),
        (b"*1\r\nx\r\n".to_vec(), "Protocol error: expected '$', got 'x'"),
        (b"GET \"a\r\n".to_vec(), "Protocol error: unbalanced quotes in request"),
        (b"GET \"a\"b\r\n".to_vec(), "Protocol error: unbalanced quotes in request"),
        (line(b"*"), "Protocol error: too big mbulk count string"),
        (line(b"*1\r\n$"), "Protocol error: too big bulk count string"),
        (line(b""), "Protocol error: too big inline request"),
    ] {
        let (requests, error) = whole(&input);
        assert_eq!(requests.len(), 0, "{text}");
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(text));
    }
}

#[test]
fn what_stands_before_an_error_is_answered() {
    let (requests, error) = whole(b"PING\r\n*1\r\nx");
    assert_eq!((requests.len(), error), (1, Some(ProtocolError::ExpectedBulk(b'x'))));
}

#[test]
fn who_has_not_authenticated_may_send_little() {
    let limits = Limits { unauthenticated: true, ..Limits::default() };
    let error = |input: &[u8]| feed(input, &[], limits).1;
    assert_eq!(error(b"*11\r\n"), Some(ProtocolError::UnauthenticatedMultibulk));
    assert_eq!(error(b"*1\r\n$20000\r\n"), Some(ProtocolError::UnauthenticatedBulk));
    assert_eq!(error(b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"), None);
}

#[test]
fn a_request_of_many_small_arguments_keeps_its_limit() {
    let limits = Limits { request_bytes_max: 10, ..Limits::default() };
    let (_, error) = feed(b"*2\r\n$6\r\nabcdef\r\n$6\r\nabcdef\r\n", &[], limits);
    assert_eq!(error, Some(ProtocolError::BulkLength));
}

#[test]
fn a_half_read_argument_says_how_much_is_missing() {
    let mut parser = Parser::default();
    let mut buffer = b"*1\r\n$100\r\nabc".to_vec();
    assert_eq!(parser.parse(&mut buffer), Ok(0));
    assert_eq!(parser.bytes_wanted(buffer.len()), 99);
}

/// Bytes that are often nearly requests.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..5)
            .prop_map(|args| request(&args)),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => prop::sample::select(vec![
            b"*".to_vec(), b"$".to_vec(), b"\r\n".to_vec(), b"*3\r\n".to_vec(), b"$5\r\n".to_vec(),
            b"PING a \"b c\"\r\n".to_vec(), b"*-1\r\n".to_vec(), b"'".to_vec(),
        ]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn request(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn pieces_give_what_the_whole_gives(
        input in input(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(feed(&input, &cuts, Limits::default()), whole(&input));
    }

    #[test]
    fn one_byte_at_a_time_gives_what_the_whole_gives(input in input()) {
        let cuts: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(feed(&input, &cuts, Limits::default()), whole(&input));
    }

    #[test]
    fn any_bytes_end_in_requests_or_an_error(input in prop::collection::vec(any::<u8>(), 0..300)) {
        whole(&input);
    }

    #[test]
    fn requests_survive_a_round_trip(
        args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
    ) {
        let owned: ArgsBuf = args.iter().collect();
        prop_assert_eq!(owned.as_args().len(), args.len());
        prop_assert_eq!(whole(&request(&args)), (vec![args], None));
    }
}
