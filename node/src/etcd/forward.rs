//! Passing a request on to the master, one hop at most.

use super::handle::Handle;
use crate::peer::client::endpoint;
use crate::tls::Keys;
use cairn_directory::core::Refusal;
use cairn_logic::time::Duration;
use cairn_wire::etcd::refuse;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Marks a request that was passed on once.
const FORWARDED: &str = "cairn-forwarded";
/// How long the connection to the master may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// The largest answer that is passed back.
pub(super) const ANSWER_BYTES_MAX: usize = cairn_directory::answer::ANSWER_BYTES_MAX * 2;

/// The connection to the master that was used last: its address, and the certificates in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Forward {
    last: Arc<Mutex<Option<(String, String, Channel)>>>,
}

impl Forward {
    fn channel(&self, address: &str, tls: Option<&Arc<Keys>>) -> Result<Channel, Status> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = tls.map_or_else(String::new, |keys| keys.now().digest.clone());
        if let Some((known, with, channel)) = &*last
            && known == address
            && *with == digest
        {
            return Ok(channel.clone());
        }
        let endpoint = endpoint(address, tls).map_err(|_| refuse::refusal(Refusal::NotReady))?;
        let channel = endpoint.connect_timeout(CONNECT_MAX).tcp_nodelay(true).connect_lazy();
        *last = Some((address.to_owned(), digest, channel.clone()));
        Ok(channel)
    }
}

impl Handle {
    /// Where to pass the request on to; `None` if this node answers itself.
    ///
    /// # Errors
    /// `Unavailable` if no master is known, or if the request was passed on before.
    pub(super) fn elsewhere<T>(&self, request: &Request<T>) -> Result<Option<Channel>, Status> {
        let plane = self.plane();
        // The loop refuses what it may not answer, also if it is not the master any more.
        if plane.is_master() || self.is_system() {
            return Ok(None);
        }
        let Some(master) = &plane.master else {
            return Err(refuse::refusal(Refusal::NotReady));
        };
        if request.metadata().contains_key(FORWARDED) {
            return Err(refuse::refusal(Refusal::MasterChanged));
        }
        self.forward.channel(&master.etcd, self.tls.as_ref()).map(Some)
    }
}

/// The same message, marked as passed on.
pub(super) fn forwarded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let once: MetadataValue<Ascii> = MetadataValue::from_static("1");
    request.metadata_mut().insert(FORWARDED, once);
    request
}
