//! Both ends of log streams, and what is none.

use super::*;
use crate::snapshots::Shelf;
use crate::tls::Doors;
use cairn_logic::ids::{Epoch, GroupId, Incarnation, Life, NodeId};
use cairn_logic::message::Message as Said;
use cairn_wire::hello::Secret;
use tokio::net::TcpListener;

fn identity(name: &str, secret: u8) -> Identity {
    let me = Sender { id: NodeId::new(name), incarnation: Incarnation(1) };
    let secret = Secret::new(&"ab".repeat(16), &[secret; 32]).unwrap();
    Identity::new(me, secret, Doors::default())
}

fn healed(epoch: u64) -> Frame {
    let message = Said::Healed { epoch: Epoch(epoch), life: Life(2) };
    Frame { group: GroupId::new("tweets-0"), message, bodies: Vec::new() }
}

/// A peer port; what comes in there.
async fn port() -> (String, mpsc::Receiver<Inbound>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (inbox, arrived) = mpsc::channel(4);
    let member = identity("b", 7);
    let routes = super::super::peer_routes(&member, inbox.clone(), &Shelf::new(1));
    super::super::spawn(&member, listener, inbox, routes);
    (address, arrived)
}

/// What comes out of a port that closes the connection after `sent`.
async fn answer(address: &str, sent: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    timeout(HANDSHAKE_MAX * 2, tcp.read_to_end(&mut answer)).await.unwrap().ok();
    answer
}

#[tokio::test]
async fn frames_go_both_ways_in_order() {
    let (address, mut arrived) = port().await;
    let (stream, other) = open(&identity("a", 7), "b", &address, true).await.unwrap();
    assert_eq!(other.id, NodeId::new("b"));
    let ((frames, queue), (inbox, mut answers)) = (mpsc::channel(16), mpsc::channel(16));
    let carried = tokio::spawn(async move {
        let from = other;
        let inbound = |frame| Inbound::Frame { from: from.clone(), frame, beat: true, back: None };
        stream.carry(queue, &inbox, inbound).await
    });
    for epoch in 0..40 {
        frames.send(healed(epoch).into()).await.unwrap();
        let Some(Inbound::Frame { from, frame, beat: true, back: Some(back) }) =
            arrived.recv().await
        else {
            panic!("something else came");
        };
        assert_eq!((from.id, frame), (NodeId::new("a"), healed(epoch)));
        back.send(healed(epoch + 100).into()).await.unwrap();
        let Some(Inbound::Frame { frame, back: None, .. }) = answers.recv().await else {
            panic!("something else was answered");
        };
        assert_eq!(frame, healed(epoch + 100));
    }
    drop(arrived);
    frames.send(healed(0).into()).await.unwrap();
    assert!(carried.await.unwrap().is_ok(), "the other end has gone");
}

#[tokio::test]
async fn who_proves_nothing_or_means_another_is_told_so() {
    let (address, _arrived) = port().await;
    let stranger = open(&identity("a", 8), "b", &address, false).await.unwrap_err();
    assert!(stranger.to_string().contains("does not prove"), "{stranger}");
    let astray = open(&identity("a", 7), "z", &address, false).await.unwrap_err();
    assert!(astray.to_string().contains("hello is for z"), "{astray}");
}

#[tokio::test]
async fn what_is_no_stream_is_closed() {
    let (address, _arrived) = port().await;
    assert!(answer(&address, b"CAIRNLOOsomething").await.is_empty());
    let long = [&wire::OPENS[..], &[0, 1, 0, 0]].concat();
    assert!(answer(&address, &long).await.is_empty(), "longer than an opening may be");
    let mut mute = BytesMut::from(&wire::OPENS[..]);
    wire::put(&pb::Opening::default(), &mut mute);
    let mut refused = BytesMut::from(&answer(&address, &mute).await[..]);
    let opened = wire::take::<pb::Opened>(&mut refused, 1 << 10).unwrap().unwrap();
    assert!(opened.refused.contains("another cluster"), "{}", opened.refused);
}

#[tokio::test]
async fn a_stream_ends_with_the_first_frame_that_is_none() {
    let (address, mut arrived) = port().await;
    let (mut stream, _) = open(&identity("a", 7), "b", &address, false).await.unwrap();
    stream.put(&pb::Frame { group: "g".to_owned(), body: None }).await.unwrap();
    let mut rest = Vec::new();
    timeout(HANDSHAKE_MAX, stream.io.read_to_end(&mut rest)).await.unwrap().ok();
    assert!(rest.is_empty() && arrived.try_recv().is_err());
}
