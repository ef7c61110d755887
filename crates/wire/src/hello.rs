//! Proof of the cluster secret, carried by every call (docs/replication.md §9, First start).
//!
//! The proof binds caller, folder, life and target, so that it is of no use to another pair. It
//! keeps strangers and misconfigured peers out; who can read or change packets is TLS's matter.

use crate::peer::{WIRE_VERSION, pb::Hello};
use cairn_logic::ids::{Incarnation, Life, NodeId};
use cairn_logic::message::Sender;
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sha2::Sha256;
use std::fmt;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

/// The metadata entry that holds the encoded Hello.
pub const HELLO_KEY: &str = "cairn-hello-bin";

/// The shortest secret, in bytes.
pub const SECRET_BYTES_MIN: usize = 16;

/// What all processes of one cluster know, and nobody else.
#[derive(Clone)]
pub struct Secret {
    uid: String,
    key: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret of cluster {}", self.uid)
    }
}

/// Why a caller was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No Hello, or not one.
    #[error("no hello: this port is for the processes of a Cairn cluster")]
    Missing,
    /// Another cluster's process.
    #[error("hello of another cluster: {theirs:?} called, this is {ours:?}")]
    OtherCluster {
        /// The caller's uid.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// The secret is not ours.
    #[error("hello of {node} does not prove the cluster secret")]
    Proof {
        /// Who it says it is.
        node: String,
    },
    /// The caller meant somebody else: an address was reused.
    #[error("hello is for {target}, this is {me}")]
    OtherTarget {
        /// Whom it meant.
        target: String,
        /// Who we are.
        me: String,
    },
    /// Too old or too new.
    #[error("hello of wire version {theirs}, this node talks to {} and {ours}", ours - 1)]
    Version {
        /// The caller's version.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
}

/// A secret that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cluster secret has {bytes} bytes, at least 16 are needed")]
pub struct ShortSecret {
    /// How many it has.
    pub bytes: usize,
}

impl Secret {
    /// The secret of the cluster `uid`; surrounding white space in `text` does not count.
    ///
    /// # Errors
    /// [`ShortSecret`] below 16 bytes.
    pub fn new(uid: &str, text: &[u8]) -> Result<Self, ShortSecret> {
        let key = text.trim_ascii();
        if key.len() < SECRET_BYTES_MIN {
            return Err(ShortSecret { bytes: key.len() });
        }
        Ok(Self { uid: uid.to_owned(), key: key.to_vec() })
    }

    fn mac(&self, hello: &Hello) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any key length will do");
        let bare = Hello { proof: Vec::new().into(), ..hello.clone() };
        mac.update(b"cairn hello ");
        mac.update(&bare.encode_to_vec());
        mac
    }

    /// The Hello of `sender` in its `life` to `target` (empty: to whoever answers).
    #[must_use]
    pub fn hello(&self, sender: &Sender, life: Life, target: &str) -> Hello {
        let mut hello = Hello {
            uid: self.uid.clone().into_bytes().into(),
            node: sender.id.as_str().to_owned(),
            incarnation: sender.incarnation.0,
            life: life.0,
            version: WIRE_VERSION,
            target: target.to_owned(),
            proof: Vec::new().into(),
        };
        hello.proof = self.mac(&hello).finalize().into_bytes().to_vec().into();
        hello
    }

    /// The Hello as a metadata value.
    #[must_use]
    pub fn metadata(&self, sender: &Sender, life: Life, target: &str) -> BinaryMetadataValue {
        BinaryMetadataValue::from_bytes(&self.hello(sender, life, target).encode_to_vec())
    }

    /// Checks the Hello of a call that reached the node `me`.
    ///
    /// # Errors
    /// [`Refused`] says why; the call must not be read any further.
    pub fn check(&self, metadata: &MetadataMap, me: &NodeId) -> Result<Caller, Refused> {
        let value = metadata.get_bin(HELLO_KEY).ok_or(Refused::Missing)?;
        let bytes = value.to_bytes().map_err(|_| Refused::Missing)?;
        let hello = Hello::decode(bytes).map_err(|_| Refused::Missing)?;
        self.check_hello(&hello, me)
    }

    /// Checks a Hello that reached the node `me` by itself.
    ///
    /// # Errors
    /// [`Refused`] says why; nothing of its sender must be read any further.
    pub fn check_hello(&self, hello: &Hello, me: &NodeId) -> Result<Caller, Refused> {
        if hello.uid != self.uid.as_bytes() {
            let theirs = String::from_utf8_lossy(&hello.uid).into_owned();
            return Err(Refused::OtherCluster { theirs, ours: self.uid.clone() });
        }
        self.mac(hello)
            .verify_slice(&hello.proof)
            .map_err(|_| Refused::Proof { node: hello.node.clone() })?;
        if !(WIRE_VERSION.saturating_sub(1)..=WIRE_VERSION + 1).contains(&hello.version) {
            return Err(Refused::Version { theirs: hello.version, ours: WIRE_VERSION });
        }
        if !hello.target.is_empty() && hello.target != me.as_str() {
            let target = hello.target.clone();
            return Err(Refused::OtherTarget { target, me: me.as_str().to_owned() });
        }
        let id = NodeId::new(&hello.node);
        let sender = Sender { id, incarnation: Incarnation(hello.incarnation) };
        Ok(Caller { sender, life: Life(hello.life) })
    }
}

/// Who called, as proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Node and folder.
    pub sender: Sender,
    /// The run of its process.
    pub life: Life,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(uid: &str, text: &str) -> Secret {
        Secret::new(uid, text.as_bytes()).unwrap()
    }

    fn sender() -> Sender {
        Sender { id: NodeId::new("a"), incarnation: Incarnation(7) }
    }

    fn check(from: &Secret, target: &str, by: &Secret) -> Result<Caller, Refused> {
        by.check_hello(&from.hello(&sender(), Life(3), target), &NodeId::new("b"))
    }

    #[test]
    fn who_knows_the_secret_is_let_in() {
        let ours = secret("c1", "sixteen bytes at least");
        let caller = check(&ours, "b", &ours).unwrap();
        assert_eq!(caller, Caller { sender: sender(), life: Life(3) });
        assert!(check(&ours, "", &ours).is_ok());
    }

    #[test]
    fn strangers_are_told_why_not() {
        let ours = secret("c1", "sixteen bytes at least");
        let other = check(&secret("c2", "sixteen bytes at least"), "b", &ours);
        assert!(matches!(other, Err(Refused::OtherCluster { .. })));
        let wrong = check(&secret("c1", "sixteen bytes or more"), "b", &ours);
        assert!(matches!(wrong, Err(Refused::Proof { .. })));
        assert!(matches!(check(&ours, "z", &ours), Err(Refused::OtherTarget { .. })));
    }

    #[test]
    fn a_proof_is_of_no_use_to_another() {
        let ours = secret("c1", "sixteen bytes at least");
        let mut hello = ours.hello(&sender(), Life(3), "b");
        hello.node = "mallory".to_owned();
        let refused = ours.check_hello(&hello, &NodeId::new("b"));
        assert!(matches!(refused, Err(Refused::Proof { .. })));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(Secret::new("c1", b"  short  ").is_err());
    }
}
