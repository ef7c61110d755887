//! The log stream on the wire: messages one after the other, each behind its length in four bytes
//! (big-endian).
//!
//! Who opens a stream sends [`OPENS`] and an [`Opening`](super::pb::Opening); the first byte tells
//! it from HTTP/2, which begins with `P`, so that both live on one port. Under TLS the
//! protocol's name is [`ALPN`].

use super::{Malformed, malformed};
use bytes::{Buf, BufMut, BytesMut};
use prost::Message;

/// The first bytes of a stream from whoever opens it.
pub const OPENS: [u8; 8] = *b"CAIRNLOG";
/// The protocol's name in a TLS handshake.
pub const ALPN: &[u8] = b"cairn-log";
/// The largest first message of each side, in bytes: it is read before anything is proved.
pub const OPENING_BYTES_MAX: usize = 4 << 10;

const LENGTH_BYTES: usize = 4;

/// Appends `message` to what is to be sent.
///
/// # Panics
/// With a message of 4 GiB: a frame is bounded by its batches long before.
pub fn put(message: &impl Message, out: &mut BytesMut) {
    let bytes = message.encoded_len();
    out.reserve(LENGTH_BYTES + bytes);
    out.put_u32(u32::try_from(bytes).expect("messages are bounded"));
    message.encode(out).expect("there is room");
}

/// Takes the first message of what has arrived; `None` while it is not whole.
///
/// What it holds as bytes is not copied.
///
/// # Errors
/// It is longer than `bytes_max`, or not such a message: the stream is to be closed.
pub fn take<M: Message + Default>(
    arrived: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<M>, Malformed> {
    let Some(length) = arrived.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let bytes = u32::from_be_bytes(*length) as usize;
    if bytes > bytes_max {
        return Err(malformed("longer than its bound"));
    }
    if arrived.len() < LENGTH_BYTES + bytes {
        arrived.reserve(LENGTH_BYTES + bytes - arrived.len());
        return Ok(None);
    }
    arrived.advance(LENGTH_BYTES);
    let message = M::decode(arrived.split_to(bytes).freeze());
    message.map(Some).map_err(|_| malformed("no message of a log stream"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::pb::{Frame, Healed, Opening, frame::Body};
    use proptest::prelude::*;

    fn frame(epoch: u64) -> Frame {
        Frame { group: "tweets-0".to_owned(), body: Some(Body::Healed(Healed { epoch, life: 3 })) }
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let mut sent = BytesMut::new();
        (0..5).for_each(|epoch| put(&frame(epoch), &mut sent));
        for piece in 1..sent.len() {
            let (mut arrived, mut taken) = (BytesMut::new(), Vec::new());
            for piece in sent.chunks(piece) {
                arrived.extend_from_slice(piece);
                while let Some(frame) = take::<Frame>(&mut arrived, 1 << 10).unwrap() {
                    taken.push(frame);
                }
            }
            assert_eq!(taken, (0..5).map(frame).collect::<Vec<_>>(), "pieces of {piece}");
            assert!(arrived.is_empty());
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_there() {
        let mut arrived = BytesMut::from(&[0, 0, 16, 1][..]);
        assert!(take::<Opening>(&mut arrived, OPENING_BYTES_MAX).is_err());
        let mut arrived = BytesMut::from(&[0, 0, 16, 0][..]);
        assert_eq!(take::<Opening>(&mut arrived, OPENING_BYTES_MAX), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut arrived = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take::<Frame>(&mut arrived, 256) {}
            prop_assert!(arrived.len() <= bytes.len());
        }
    }
}
