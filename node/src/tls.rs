//! Certificates: read from files, read again when these change, given to every transport.
//!
//! New connections use what was read last; established ones go on with what they began with. Files
//! that cannot be used leave the former ones in force, with a log line.

use cairn_logic::time::Duration;
use cairn_settings::{TlsFiles, TlsSettings};
use cairn_wire::peer::stream;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not there or not readable.
    #[error("cannot read {path:?}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no PEM of the kind it should be.
    #[error("{path:?} holds no usable {what}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Certificate or private key.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// They do not go together.
    #[error("certificate {path:?} cannot be used")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authority's certificates cannot verify anybody.
    #[error("authority {path:?} cannot be used")]
    Authority {
        /// The authority's file.
        path: PathBuf,
        /// Why.
        source: rustls::server::VerifierBuilderError,
    },
}

/// Certificates as they were read.
#[derive(Debug)]
pub struct Loaded {
    /// SHA-256 of certificate and authority, in hexadecimal.
    pub digest: String,
    /// For gRPC: HTTP/2 alone.
    pub grpc: Arc<ServerConfig>,
    /// For peers: HTTP/2 and log streams.
    pub peers: Arc<ServerConfig>,
    /// For RESP.
    pub plain: Arc<ServerConfig>,
    /// For gRPC connections that this node makes.
    pub client: ClientTlsConfig,
    /// For log streams that it opens.
    pub streams: Arc<ClientConfig>,
    /// Of all three files, the key included: tells whether they have changed.
    content: [u8; 32],
}

/// The certificates of some doors; cheap to share.
#[derive(Debug)]
pub struct Keys {
    files: TlsFiles,
    verify: bool,
    loaded: RwLock<Arc<Loaded>>,
}

impl Keys {
    /// Reads `files`; with `verify`, who connects must show a certificate of the authority.
    ///
    /// # Errors
    /// [`Error`]: the node does not start with certificates that cannot be used.
    pub fn load(files: &TlsFiles, verify: bool) -> Result<Self, Error> {
        let loaded = RwLock::new(Arc::new(read(files, verify)?));
        Ok(Self { files: files.clone(), verify, loaded })
    }

    /// What new connections use.
    #[must_use]
    pub fn now(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files; whether others are in force now.
    ///
    /// # Errors
    /// [`Error`]; the former ones stay in force.
    pub fn refresh(&self) -> Result<bool, Error> {
        let (_, _, _, content) = contents(&self.files)?;
        if content == self.now().content {
            return Ok(false);
        }
        let loaded = Arc::new(read(&self.files, self.verify)?);
        tracing::info!(digest = %loaded.digest, certificate = ?self.files.certificate, "read anew");
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }
}

fn file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

type Contents = (Vec<u8>, Vec<u8>, Vec<u8>, [u8; 32]);

fn contents(files: &TlsFiles) -> Result<Contents, Error> {
    let certificate = file(&files.certificate)?;
    let (key, authority) = (file(&files.key)?, file(&files.authority)?);
    let mut sum = Sha256::new();
    [&certificate, &key, &authority].iter().for_each(|part| sum.update(part));
    Ok((certificate, key, authority, sum.finalize().into()))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |source| Error::Pem { path: path.to_owned(), what: "certificate", source };
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(bad)?;
    if all.is_empty() {
        return Err(bad(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(all)
}

fn read(files: &TlsFiles, verify: bool) -> Result<Loaded, Error> {
    let TlsFiles { certificate, key, authority } = files;
    let (certificate_pem, key_pem, authority_pem, content) = contents(files)?;
    let bad_key = |source| Error::Pem { path: key.clone(), what: "private key", source };
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(bad_key)?;
    let chain = certificates(certificate, &certificate_pem)?;
    let unusable = |source| Error::Unusable { path: certificate.clone(), source };
    let mut roots = RootCertStore::empty();
    for root in certificates(authority, &authority_pem)? {
        roots.add(root).map_err(unusable)?;
    }
    let provider = Arc::new(ring::default_provider());
    let streams = ClientConfig::builder_with_provider(provider.clone());
    let mut streams = streams
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain.clone(), private.clone_key())
        .map_err(unusable)?;
    streams.alpn_protocols = vec![stream::ALPN.to_vec()];
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = match verify {
        false => builder.with_no_client_auth(),
        true => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let bad = |source| Error::Authority { path: authority.clone(), source };
            builder.with_client_cert_verifier(verifier.build().map_err(bad)?)
        }
    };
    let plain = builder.with_single_cert(chain, private).map_err(unusable)?;
    let mut grpc = plain.clone();
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    let mut peers = plain.clone();
    peers.alpn_protocols = vec![b"h2".to_vec(), stream::ALPN.to_vec()];
    let mut sum = Sha256::new();
    [&certificate_pem, &authority_pem].iter().for_each(|part| sum.update(part));
    let client = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&authority_pem))
        .identity(Identity::from_pem(&certificate_pem, &key_pem));
    Ok(Loaded {
        digest: sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        grpc: Arc::new(grpc),
        peers: Arc::new(peers),
        plain: Arc::new(plain),
        client,
        streams: Arc::new(streams),
        content,
    })
}

/// The certificates of all doors of a node.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// Peers and heartbeats, both ways.
    pub peers: Option<Arc<Keys>>,
    /// RESP and etcd clients.
    pub clients: Option<Arc<Keys>>,
}

impl Doors {
    /// Reads what `settings` name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(settings: &TlsSettings) -> Result<Self, Error> {
        let load = |files: &TlsFiles, verify| Keys::load(files, verify).map(Arc::new);
        let peers = settings.peers.as_ref().map(|files| load(files, true)).transpose()?;
        let verify = settings.verify_clients;
        let clients = settings.clients.as_ref().map(|files| load(files, verify)).transpose()?;
        Ok(Self { peers, clients })
    }

    /// The digests for status: peers', clients'; empty where there is plain text.
    #[must_use]
    pub fn digests(&self) -> (String, String) {
        let digest = |keys: &Option<Arc<Keys>>| {
            keys.as_ref().map_or_else(String::new, |keys| keys.now().digest.clone())
        };
        (digest(&self.peers), digest(&self.clients))
    }

    /// Looks at the files from time to time, for as long as the process runs.
    pub fn watch(&self) {
        let all: Vec<Arc<Keys>> = self.peers.iter().chain(&self.clients).cloned().collect();
        if all.is_empty() {
            return;
        }
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                for keys in &all {
                    if let Err(error) = keys.refresh() {
                        let why = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(%error, why, "the former certificates stay in force");
                    }
                }
            }
        });
    }
}
