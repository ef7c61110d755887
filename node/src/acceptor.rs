//! The arbiter's acceptor in this process: a thread and a file of its own, so that it waits only
//! for its flush; and the role `acceptor`, which does nothing else.

use crate::boot::{self, Boot, StopSignals};
use crate::metrics::{self, Facts};
use crate::peer::{self, Inbound, Reply};
use anyhow::{Context, Result};
use bytes::Bytes;
use cairn_files::{DoubleWriteFile, Folder, RealDisk};
use cairn_logic::arbiter::{Acceptor, AcceptorEffect, AcceptorState, Request, Seat};
use cairn_logic::ids::NodeId;
use cairn_logic::message::Sender;
use cairn_wire::peer::pb;
use std::sync::mpsc;
use tonic::Status;

/// The longest request an acceptor reads, in bytes; a value is a few kilobytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

type Call = (Bytes, Reply<Bytes>);

/// Control's handle on the acceptor's thread.
#[derive(Clone, Debug)]
pub struct AcceptorHandle {
    calls: mpsc::Sender<Call>,
}

impl AcceptorHandle {
    /// Opens the acceptor's file in `folder` (or makes it) and starts its thread.
    ///
    /// # Errors
    /// The file is damaged or cannot be made.
    pub fn start(folder: &Folder<RealDisk>, me: &Sender) -> Result<Self> {
        let path = folder.acceptor();
        let found = DoubleWriteFile::open_if_made(&RealDisk, &path)?;
        let (file, state) = match found {
            Some((file, bytes)) => {
                let state = serde_json::from_slice(&bytes);
                (file, state.with_context(|| format!("acceptor file {path:?}"))?)
            }
            None => {
                let state = AcceptorState::default();
                (DoubleWriteFile::create(&RealDisk, &path, &encode(&state))?, state)
            }
        };
        let seat = Seat { id: me.id.clone(), incarnation: me.incarnation };
        let (calls, queue) = mpsc::channel();
        let mut thread = Thread { acceptor: Acceptor::new(seat, state), file };
        std::thread::Builder::new()
            .name("acceptor".to_owned())
            .spawn(move || queue.into_iter().for_each(|call| thread.answer(call)))?;
        Ok(Self { calls })
    }

    /// Hands over one request; the reply comes when what it rests on is flushed.
    pub fn call(&self, request: Bytes, reply: Reply<Bytes>) {
        // The thread only ends with the process.
        self.calls.send((request, reply)).ok();
    }
}

fn encode(state: &AcceptorState) -> Vec<u8> {
    serde_json::to_vec(state).expect("an acceptor's state is plain data")
}

struct Thread {
    acceptor: Acceptor,
    file: DoubleWriteFile<RealDisk>,
}

impl Thread {
    fn answer(&mut self, (request, reply): Call) {
        let parsed = match request.len() {
            0..=REQUEST_BYTES_MAX => serde_json::from_slice::<Request>(&request).ok(),
            _ => None,
        };
        let Some(request) = parsed else {
            reply.send(Err(Status::invalid_argument("not a request to an acceptor"))).ok();
            return;
        };
        let mut effects = Vec::new();
        self.acceptor.step(&NodeId::new("proposer"), request, &mut effects);
        let mut answer = None;
        for effect in effects {
            match effect {
                AcceptorEffect::Persist(state) => self.persist(&state),
                AcceptorEffect::Reply { body, .. } => answer = serde_json::to_vec(&body).ok(),
            }
        }
        let answer = answer.map(Bytes::from).ok_or_else(|| Status::internal("no reply"));
        reply.send(answer).ok();
    }

    fn persist(&mut self, state: &AcceptorState) {
        if let Err(error) = self.file.write(&encode(state)) {
            tracing::error!(%error, "flushing the acceptor failed");
            eprintln!("cairn-node: flushing the acceptor failed, the process ends: {error}");
            std::process::abort();
        }
    }
}

/// Runs the role `acceptor` until it is asked to stop.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run(boot: Boot) -> Result<()> {
    let acceptor = AcceptorHandle::start(&boot.folder, &boot.identity.me)?;
    let listener = boot::listen("peers", boot.settings.listen.peer).await?;
    let (inbox, mut queue) = tokio::sync::mpsc::channel(64);
    let routes = peer::peer_routes(&boot.identity, inbox.clone(), &boot.shelf);
    peer::spawn(&boot.identity, listener, inbox.clone(), routes);
    metrics::spawn(boot::listen("metrics", boot.settings.listen.metrics).await?, inbox);
    boot.identity.tls.watch();
    let mut stop = StopSignals::listen()?;
    loop {
        tokio::select! {
            () = stop.asked() => break,
            inbound = queue.recv() => match inbound.context("the port ended")? {
                Inbound::Accept(request, reply) => acceptor.call(request, reply),
                Inbound::Status(_, reply) => drop(reply.send(Ok(status(&boot)))),
                Inbound::Facts(reply) => {
                    let facts = Facts { status: status(&boot), ..Facts::default() };
                    reply.send(Ok(facts)).ok();
                }
                Inbound::Where(reply) => refuse(reply),
                Inbound::Found(_, reply) => refuse(reply),
                Inbound::Wish(_, reply) => refuse(reply),
                Inbound::Known(reply) => refuse(reply),
                Inbound::Rebuild(_, reply) => refuse(reply),
                Inbound::Frame { .. }
                | Inbound::Line { .. }
                | Inbound::Up { .. }
                | Inbound::LineClosed { .. }
                | Inbound::Publications(_)
                | Inbound::Carried { .. } => {}
            },
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn refuse<T>(reply: Reply<T>) {
    let text = "this is an acceptor; ask a node of role global";
    reply.send(Err(Status::failed_precondition(text))).ok();
}

fn status(boot: &Boot) -> pb::StatusReply {
    pb::StatusReply {
        node: boot.identity.me.id.as_str().to_owned(),
        incarnation: boot.identity.me.incarnation.0,
        role: "acceptor".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rss_bytes: crate::status::rss_bytes(),
        peer_tls_digest: boot.identity.tls.digests().0,
        ..pb::StatusReply::default()
    }
}
