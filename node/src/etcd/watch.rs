//! The Watch service: many watches on one stream.

use super::handle::{Handle, unexpected};
use cairn_directory::Error;
use cairn_directory::core::{Reply, Request as Ask, Response as Told};
use cairn_directory::op::REQUEST_BYTES_MAX;
use cairn_directory::watch::{ALL_WATCHES, Notice, Refused, StreamId};
use cairn_logic::ids::{Epoch, Revision};
use cairn_wire::etcd::{Message, convert, etcdserverpb as pb, mvccpb};
use pb::watch_request::RequestUnion;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Notices that may wait for one stream, their bytes are bounded too; beyond them its watches lag.
const NOTICES: usize = 256;
/// Responses that may wait for one client.
const RESPONSES: usize = 32;
/// Events of one response are divided above so many bytes, where the client allows it.
const FRAGMENT_BYTES: usize = REQUEST_BYTES_MAX;
/// A client may ask to be refused while there is no master.
const NEEDS_MASTER: &str = "hasleader";

type Told1 = Result<pb::WatchResponse, Status>;

/// The client is gone, or was told why the stream ends.
struct Over;

/// One client's stream.
struct Session {
    handle: Handle,
    stream: StreamId,
    responses: mpsc::Sender<Told1>,
    /// Watches by number; whether their responses may be divided.
    watches: BTreeMap<i64, bool>,
    next_id: i64,
    epoch: Epoch,
}

#[tonic::async_trait]
impl pb::watch_server::Watch for Handle {
    type WatchStream = ReceiverStream<Told1>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permit = self.admit_stream()?;
        let needs_master = request.metadata().get(NEEDS_MASTER).is_some_and(|v| v == "true");
        if needs_master && self.plane().master.is_none() {
            return Err(Status::unavailable("etcdserver: no leader"));
        }
        let (responses, stream) = mpsc::channel(RESPONSES);
        let handle = self.clone();
        tokio::spawn(async move {
            handle.run_watches(request.into_inner(), responses).await;
            drop(permit);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Handle {
    async fn run_watches(
        self,
        mut requests: Streaming<pb::WatchRequest>,
        responses: mpsc::Sender<Told1>,
    ) {
        let (notify, mut notices) = mpsc::channel(NOTICES);
        let Ok(stream) = self.open_stream(notify).await else { return };
        let mut session = Session {
            handle: self,
            stream,
            responses,
            watches: BTreeMap::new(),
            next_id: 0,
            epoch: Epoch::ZERO,
        };
        loop {
            let step = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => session.request(request).await,
                    Ok(None) | Err(_) => Err(Over),
                },
                notice = notices.recv() => match notice {
                    Some(notice) => session.notice(notice).await,
                    None => Err(Over),
                },
                () = session.responses.closed() => Err(Over),
            };
            if step.is_err() {
                break;
            }
        }
        let _closed = session.handle.ask(Ask::CloseStream { stream }).await;
    }
}

impl Session {
    async fn say(&self, response: pb::WatchResponse) -> Result<(), Over> {
        self.responses.send(Ok(response)).await.map_err(|_| Over)
    }

    /// Asks the loop; if it cannot answer, the client is told and the stream ends.
    async fn ask(&mut self, ask: Ask) -> Result<Reply, Over> {
        match self.handle.ask(ask).await {
            Ok(reply) => {
                self.epoch = reply.epoch;
                Ok(reply)
            }
            Err(status) => {
                let _told = self.responses.send(Err(status)).await;
                Err(Over)
            }
        }
    }

    fn response(&self, revision: Revision, watch_id: i64) -> pb::WatchResponse {
        let header = Some(self.handle.header_at(revision, self.epoch));
        pb::WatchResponse { header, watch_id, ..Default::default() }
    }

    async fn request(&mut self, request: pb::WatchRequest) -> Result<(), Over> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id).await,
            Some(RequestUnion::ProgressRequest(_)) => {
                self.ask(Ask::AskProgress { stream: self.stream }).await.map(drop)
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, create: pb::WatchCreateRequest) -> Result<(), Over> {
        let id = if create.watch_id == 0 { self.unused_id() } else { create.watch_id };
        let ask = Ask::Watch {
            stream: self.stream,
            id,
            wish: convert::wish(&create),
            start: convert::revision(create.start_revision),
            progress: create.progress_notify,
        };
        let reply = self.ask(ask).await?;
        let created = pb::WatchResponse { created: true, ..self.response(reply.revision, id) };
        match reply.response {
            Told::Watching => {
                self.watches.insert(id, create.fragment);
                self.say(created).await
            }
            Told::NotWatching(Refused::Compacted(compacted)) => {
                self.say(created).await?;
                self.say(self.compacted(reply.revision, id, compacted)).await
            }
            Told::NotWatching(refused @ (Refused::Duplicate | Refused::TooMany)) => {
                let cancel_reason = match refused {
                    Refused::Duplicate => {
                        "etcdserver: mvcc: duplicate watch ID provided on the WatchStream"
                    }
                    Refused::TooMany | Refused::Compacted(_) => "etcdserver: too many watches",
                };
                let cancel_reason = cancel_reason.to_owned();
                let watch_id = ALL_WATCHES;
                self.say(pb::WatchResponse { watch_id, canceled: true, cancel_reason, ..created })
                    .await
            }
            other => {
                let _told = self.responses.send(Err(unexpected(&other))).await;
                Err(Over)
            }
        }
    }

    /// The smallest number that no watch of this stream has had.
    fn unused_id(&mut self) -> i64 {
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn compacted(&self, revision: Revision, id: i64, oldest: Revision) -> pb::WatchResponse {
        pb::WatchResponse {
            canceled: true,
            compact_revision: convert::signed(oldest.0),
            cancel_reason: Error::Compacted.to_string(),
            ..self.response(revision, id)
        }
    }

    async fn cancel(&mut self, id: i64) -> Result<(), Over> {
        if self.watches.remove(&id).is_none() {
            return Ok(());
        }
        let reply = self.ask(Ask::CancelWatch { stream: self.stream, id }).await?;
        self.say(pb::WatchResponse { canceled: true, ..self.response(reply.revision, id) }).await
    }

    async fn notice(&mut self, notice: Notice) -> Result<(), Over> {
        match notice {
            Notice::Events { watches, revision, events } => {
                let events: Vec<mvccpb::Event> = events.iter().map(convert::event).collect();
                let bytes = events.iter().map(Message::encoded_len).sum();
                for id in watches {
                    if let Some(divided) = self.watches.get(&id).copied() {
                        let response = self.response(revision, id);
                        self.events(response, events.clone(), divided, bytes).await?;
                    }
                }
                Ok(())
            }
            Notice::Progress { watches, revision } => {
                for id in watches {
                    if id == ALL_WATCHES || self.watches.contains_key(&id) {
                        self.say(self.response(revision, id)).await?;
                    }
                }
                Ok(())
            }
            Notice::Cancelled { watch, compacted } => {
                if self.watches.remove(&watch).is_none() {
                    return Ok(());
                }
                self.say(self.compacted(compacted, watch, compacted)).await
            }
        }
    }

    async fn events(
        &self,
        response: pb::WatchResponse,
        mut events: Vec<mvccpb::Event>,
        divided: bool,
        bytes: usize,
    ) -> Result<(), Over> {
        if !divided || bytes <= FRAGMENT_BYTES {
            return self.say(pb::WatchResponse { events, ..response }).await;
        }
        while !events.is_empty() {
            let mut room = FRAGMENT_BYTES;
            let fits = events.iter().take_while(|event| {
                let len = event.encoded_len();
                let fits = len <= room;
                room = room.saturating_sub(len);
                fits
            });
            let rest = events.split_off(fits.count().max(1).min(events.len()));
            let fragment = !rest.is_empty();
            self.say(pb::WatchResponse { events, fragment, ..response.clone() }).await?;
            events = rest;
        }
        Ok(())
    }
}
