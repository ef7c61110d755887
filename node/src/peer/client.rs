//! The client side of one call: connecting, and saying Hello.

use super::{Identity, MESSAGE_BYTES_MAX};
use crate::tls::Keys;
use cairn_logic::time::Duration;
use cairn_wire::hello::HELLO_KEY;
use cairn_wire::peer::pb::peer_client::PeerClient;
use std::sync::Arc;
use tonic::metadata::BinaryMetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Error};
use tonic::{Request, Status};

/// How long a connection may be silent before a sign of life is asked for, and how long that may
/// take: within twice this a node looks for another master.
pub const ALIVE: Duration = Duration::from_millis(1_500);
/// How long a connection may take to be made.
pub const CONNECT_MAX: Duration = Duration::from_millis(500);

/// Adds the caller's Hello to each call.
#[derive(Clone, Debug)]
pub struct SayHello(BinaryMetadataValue);

impl SayHello {
    /// The Hello of `identity` to `target` (empty: to whoever answers).
    #[must_use]
    pub fn new(identity: &Identity, target: &str) -> Self {
        Self(identity.secret.metadata(&identity.me, identity.life(), target))
    }
}

impl tonic::service::Interceptor for SayHello {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert_bin(HELLO_KEY, self.0.clone());
        Ok(request)
    }
}

/// A peer's client.
pub type Client = PeerClient<InterceptedService<Channel, SayHello>>;

/// The other end at `address`, by TLS if there are `keys`.
///
/// # Errors
/// A bad address, or certificates that cannot be used.
pub fn endpoint(address: &str, keys: Option<&Arc<Keys>>) -> Result<Endpoint, Error> {
    match keys {
        None => Endpoint::from_shared(format!("http://{address}")),
        Some(keys) => Endpoint::from_shared(format!("https://{address}"))?
            .tls_config(keys.now().client.clone()),
    }
}

/// Connects to a peer port.
///
/// # Errors
/// A bad address, or no answer within [`CONNECT_MAX`].
pub async fn channel(identity: &Identity, address: &str) -> Result<Channel, Error> {
    endpoint(address, identity.tls.peers.as_ref())?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .connect()
        .await
}

/// The client of the peer `target` (empty: of whoever answers) over `channel`.
#[must_use]
pub fn client(identity: &Identity, target: &str, channel: Channel) -> Client {
    PeerClient::with_interceptor(channel, SayHello::new(identity, target))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
