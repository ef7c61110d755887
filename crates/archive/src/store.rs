//! Objects by name in a folder or in S3-compatible storage, sealed and opened on the way.

use crate::error::{Error, Result};
use crate::seal::{self, Key, Opener, Sealer};
use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload,
    RetryConfig,
};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Larger objects are sent in parts of this size, or larger ones if there would be too many.
const PART_BYTES: u64 = 8 << 20;
const PARTS_MAX: u64 = 9_000;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 3;
/// The largest object that is held in memory, in bytes.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// How long to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Connecting.
    pub connect: Duration,
    /// A request on which nothing moves.
    pub idle: Duration,
    /// Tries of one request after the first.
    pub retries: usize,
    /// No further try begins so long after the first one began.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            retries: 8,
            total: Duration::from_secs(120),
        }
    }
}

/// Where archives are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// S3-compatible storage; credentials and region are in the environment (`AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`).
    S3 {
        /// The bucket.
        bucket: String,
        /// Before the names of all objects.
        prefix: String,
        /// The address of a storage that is not Amazon's; paths name the bucket then.
        endpoint: Option<String>,
        /// Instead of those in the environment.
        credentials: Option<Credentials>,
    },
}

/// What proves to S3-compatible storage who we are.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Says who.
    pub access_key_id: String,
    /// Proves it.
    pub secret_access_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials of {}", self.access_key_id)
    }
}

impl Place {
    /// Reads `file:///path`, a path, or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// [`Error::Place`].
    pub fn read(text: &str, endpoint: Option<&str>) -> Result<Self> {
        let wrong = |problem: &str| {
            Err(Error::Place { place: text.to_owned(), problem: problem.to_owned() })
        };
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return wrong("it names no bucket");
            }
            let prefix = prefix.trim_matches('/').to_owned();
            let endpoint = endpoint.map(ToOwned::to_owned);
            let bucket = bucket.to_owned();
            return Ok(Self::S3 { bucket, prefix, endpoint, credentials: None });
        }
        if endpoint.is_some() {
            return wrong("an endpoint is only for s3://bucket/prefix");
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            return wrong("give a folder, file:///folder, or s3://bucket/prefix");
        }
        if text.starts_with("file://") && !path.starts_with('/') {
            return wrong("file:// needs a whole path, as in file:///var/backups");
        }
        Ok(Self::Folder(PathBuf::from(path)))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its length as it is stored.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub changed_ms: u64,
}

/// A place, opened. An object is there as a whole or not at all, and never changed in part.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    key: Option<Key>,
}

impl Store {
    /// Opens `place`; a folder is made if need be. Everything is written and read under `key`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Place`] for settings that no storage takes.
    pub fn open(place: &Place, key: Option<Key>, patience: &Patience) -> Result<Self> {
        let wrong = |error: object_store::Error| Error::Place {
            place: place.to_string(),
            problem: error.to_string(),
        };
        match place {
            Place::Folder(path) => {
                std::fs::create_dir_all(path).map_err(Error::file("make folder", path))?;
                let folder = LocalFileSystem::new_with_prefix(path).map_err(wrong)?;
                let objects = Arc::new(folder.with_fsync(true).with_automatic_cleanup(true));
                Ok(Self { objects, prefix: String::new(), key })
            }
            Place::S3 { bucket, prefix, endpoint, credentials } => {
                let mut builder = s3(bucket, endpoint.as_deref(), patience);
                if let Some(credentials) = credentials {
                    builder = builder
                        .with_access_key_id(&credentials.access_key_id)
                        .with_secret_access_key(&credentials.secret_access_key);
                }
                let objects = Arc::new(builder.build().map_err(wrong)?);
                Ok(Self { objects, prefix: prefix.clone(), key })
            }
        }
    }

    fn at(&self, name: &str) -> Name {
        match self.prefix.as_str() {
            "" => Name::from(name),
            prefix => Name::from(format!("{prefix}/{name}")),
        }
    }

    /// The name of an object as callers know it.
    fn name(&self, at: &Name) -> String {
        let name = at.as_ref();
        let name = name.strip_prefix(&self.prefix).unwrap_or(name);
        name.trim_start_matches('/').to_owned()
    }

    /// Writes an object, in place of one of that name.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Random`].
    pub async fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let sealed = seal::seal(self.key.as_ref(), name, content)?;
        let put = self.objects.put(&self.at(name), PutPayload::from(sealed)).await;
        put.map_err(Error::store("write", name)).map(drop)
    }

    /// Writes a file as an object, in parts if it is large; `told` hears how much was sent.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Store`], [`Error::Random`]; there is no such object then.
    pub async fn put_file(&self, name: &str, path: &Path, mut told: impl FnMut(u64)) -> Result<()> {
        let mut file = File::open(path).map_err(Error::file("open", path))?;
        let content = file.metadata().map_err(Error::file("look at", path))?.len();
        let part_bytes = PART_BYTES.max(content / PARTS_MAX);
        let mut sealer = Sealer::new(self.key.as_ref(), name, content)?;
        if content <= part_bytes {
            let part = next_part(&mut sealer, &mut file, path, u64::MAX)?;
            let put = self.objects.put(&self.at(name), PutPayload::from(part)).await;
            put.map_err(Error::store("write", name))?;
            told(content);
            return Ok(());
        }
        let upload = self.objects.put_multipart(&self.at(name)).await;
        let mut upload = upload.map_err(Error::store("write", name))?;
        let sent = async {
            let (mut sending, mut sent) = (FuturesUnordered::new(), 0);
            let mut rest = Vec::new();
            loop {
                while sending.len() >= PARTS_AT_ONCE {
                    sent += sending.try_next().await?.unwrap_or(0);
                    told(sent);
                }
                rest.extend(next_part(&mut sealer, &mut file, path, part_bytes)?);
                let last = sealer.wants().is_none();
                // All parts but the last have the same length: some storages want it so.
                let part_bytes = usize::try_from(part_bytes).expect("a part fits into memory");
                let at = if last { rest.len() } else { part_bytes.min(rest.len()) };
                let part: Vec<u8> = rest.drain(..at).collect();
                let bytes = part.len() as u64;
                let part = upload.put_part(PutPayload::from(part));
                let name = name.to_owned();
                sending.push(async move {
                    part.await.map_err(Error::store("write", &name)).map(|()| bytes)
                });
                if last {
                    break;
                }
            }
            while let Some(bytes) = sending.try_next().await? {
                sent += bytes;
                told(sent);
            }
            Ok(())
        };
        if let Err(error) = sent.await {
            // The storage may keep the parts a while; they never become an object.
            upload.abort().await.ok();
            return Err(error);
        }
        upload.complete().await.map_err(Error::store("write", name)).map(drop)
    }

    /// Whether the object `name` is there with so many bytes of content.
    ///
    /// # Errors
    /// [`Error::OtherKey`] and its kin if it could not be read by this key, [`Error::Store`].
    pub async fn has(&self, name: &str, content_bytes: u64) -> Result<bool> {
        let range = Some(GetRange::Bounded(0..seal::HEAD_BYTES as u64));
        let options = GetOptions { range, ..GetOptions::default() };
        let got = match self.objects.get_opts(&self.at(name), options).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            got => got.map_err(Error::store("read", name))?,
        };
        let bytes = got.meta.size;
        if bytes != seal::sealed_bytes(content_bytes, self.key.is_some()) {
            return Ok(false);
        }
        let head = got.bytes().await.map_err(Error::store("read", name))?;
        Opener::new(self.key.as_ref(), name).feed(&head, |_| Ok(()))?;
        Ok(true)
    }

    /// The content of an object.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Store`], those of [`seal`](mod@crate::seal).
    pub async fn get(&self, name: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let take = |bytes: &[u8]| {
            content.extend_from_slice(bytes);
            if content.len() as u64 > MEMORY_BYTES_MAX {
                let (name, found) = (name.to_owned(), "it is far too large");
                return Err(Error::Broken { name, found });
            }
            Ok(())
        };
        self.stream(name, take).await?;
        Ok(content)
    }

    /// Writes the content of an object to a file, which must not be there yet; `told` hears how
    /// much came. The file is of no use if this fails.
    ///
    /// # Errors
    /// [`Error::File`], and as [`Store::get`].
    pub async fn get_file(&self, name: &str, path: &Path, mut told: impl FnMut(u64)) -> Result<()> {
        let mut file = File::create_new(path).map_err(Error::file("make", path))?;
        let mut bytes = 0;
        let take = |content: &[u8]| {
            file.write_all(content).map_err(Error::file("write", path))?;
            bytes += content.len() as u64;
            told(bytes);
            Ok(())
        };
        self.stream(name, take).await
    }

    async fn stream(&self, name: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let got = self.objects.get(&self.at(name)).await.map_err(Error::store("read", name))?;
        let mut stream = got.into_stream();
        let mut opener = Opener::new(self.key.as_ref(), name);
        while let Some(bytes) = stream.next().await {
            opener.feed(&bytes.map_err(Error::store("read", name))?, &mut take)?;
        }
        opener.finish()
    }

    /// All objects whose names begin with `below` and a slash, sorted by name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, below: &str) -> Result<Vec<Stored>> {
        let listed = self.objects.list(Some(&self.at(below))).map_ok(|meta| Stored {
            name: self.name(&meta.location),
            bytes: meta.size,
            changed_ms: u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0),
        });
        let listed: Vec<_> = listed.try_collect().await.map_err(Error::store("list", below))?;
        let mut listed = listed;
        listed.sort();
        Ok(listed)
    }

    /// The names one level below `below` ("" for all).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn folders(&self, below: &str) -> Result<Vec<String>> {
        let at = self.at(below);
        let at = (!at.as_ref().is_empty()).then_some(at);
        let listed = self.objects.list_with_delimiter(at.as_ref()).await;
        let listed = listed.map_err(Error::store("list", below))?;
        let last = |at: &Name| at.filename().map(ToOwned::to_owned);
        Ok(listed.common_prefixes.iter().filter_map(last).collect())
    }

    /// Removes an object; content if it is gone already.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn remove(&self, name: &str) -> Result<()> {
        match self.objects.delete(&self.at(name)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(Error::store("remove", name)),
        }
    }
}

/// Seals as much of the file as fits into `most` bytes, at least one chunk.
fn next_part(sealer: &mut Sealer, file: &mut File, path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut part = Vec::new();
    let mut content = Vec::new();
    while let Some(wanted) = sealer.wants().filter(|_| (part.len() as u64) < most) {
        content.resize(wanted, 0);
        file.read_exact(&mut content).map_err(Error::file("read", path))?;
        sealer.chunk(&content, &mut part);
    }
    Ok(part)
}

fn s3(bucket: &str, endpoint: Option<&str>, patience: &Patience) -> AmazonS3Builder {
    // Only the first call in a process counts; others found the same provider.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = ClientOptions::new()
        .with_connect_timeout(patience.connect)
        .with_timeout_disabled()
        .with_read_timeout(patience.idle)
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")));
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: patience.retries,
        retry_timeout: patience.total,
    };
    let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let builder = builder.with_client_options(client).with_retry(retry);
    match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false),
        None => builder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_nonsense_is_refused() {
        let folder = |path: &str| Place::Folder(path.into());
        assert_eq!(Place::read("file:///a/b", None).unwrap(), folder("/a/b"));
        assert_eq!(Place::read("a/b", None).unwrap(), folder("a/b"));
        let s3 = Place::read("s3://bucket/a/b/", Some("http://localhost:1")).unwrap();
        let expected = Place::S3 {
            bucket: "bucket".into(),
            prefix: "a/b".into(),
            endpoint: Some("http://localhost:1".into()),
            credentials: None,
        };
        assert_eq!(s3, expected);
        for text in ["", "s3://", "s3:///a", "http://a/b", "file://a/b"] {
            assert!(Place::read(text, None).is_err(), "{text}");
        }
        assert!(Place::read("/a", Some("http://localhost:1")).is_err());
    }
}
