//! Waiting for Ctrl-C or SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Done at the first SIGINT, SIGTERM or SIGHUP.
pub async fn stop() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}
