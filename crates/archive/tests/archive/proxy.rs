//! A way to a server that is slow, refuses, or breaks off.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the way does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Closes every connection at once.
    Refuse,
    /// Takes everything and never answers.
    Silence,
    /// Waits before each piece.
    Slow(Duration),
    /// Breaks off a connection after so many bytes from the client, as long as there are cuts left.
    CutUpload(u64),
    /// The same for bytes from the server.
    CutDownload(u64),
}

/// The way to one server.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    cuts: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("bound"),
            fault: Arc::new(Mutex::new(Fault::None)),
            cuts: Arc::default(),
            connections: Arc::default(),
        };
        let me = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                me.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(me.clone().carry(client, server));
            }
        });
        proxy
    }

    /// From now on; cuts happen `cuts` times, then all is well.
    pub fn set(&self, fault: Fault, cuts: usize) {
        *self.fault.lock().expect("not poisoned") = fault;
        self.cuts.store(cuts, Ordering::Relaxed);
    }

    pub fn cuts_left(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().expect("not poisoned")
    }

    async fn carry(self, mut client: TcpStream, server: SocketAddr) {
        if self.fault() == Fault::Refuse {
            return;
        }
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = async {
            let (mut piece, passed) = (vec![0; 64 << 10], AtomicU64::new(0));
            while let Ok(bytes @ 1..) = from_client.read(&mut piece).await {
                if self.breaks_off(&passed, bytes, true).await
                    || to_server.write_all(&piece[..bytes]).await.is_err()
                {
                    return;
                }
            }
        };
        let down = async {
            let (mut piece, passed) = (vec![0; 64 << 10], AtomicU64::new(0));
            while let Ok(bytes @ 1..) = from_server.read(&mut piece).await {
                if self.breaks_off(&passed, bytes, false).await
                    || to_client.write_all(&piece[..bytes]).await.is_err()
                {
                    return;
                }
            }
        };
        // Whichever ends first takes the other with it.
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    }

    /// Lets time pass if it should; whether the connection ends here.
    async fn breaks_off(&self, passed: &AtomicU64, bytes: usize, up: bool) -> bool {
        let passed = passed.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let cut = match (self.fault(), up) {
            (Fault::None | Fault::Refuse, _) => false,
            (Fault::Slow(pause), _) => {
                tokio::time::sleep(pause).await;
                false
            }
            (Fault::Silence, _) => {
                std::future::pending::<()>().await;
                false
            }
            (Fault::CutUpload(after), true) | (Fault::CutDownload(after), false) => passed > after,
            (Fault::CutUpload(_) | Fault::CutDownload(_), _) => false,
        };
        let take = |left: usize| left.checked_sub(1);
        cut && self.cuts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}
