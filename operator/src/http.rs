//! Metrics and probes: three pages.

use crate::metrics::Metrics;
use cairn_pages::Page;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves `/metrics`, `/livez` and `/readyz` until dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    cairn_pages::serve(listener, move |path| std::future::ready(page(&path, &metrics))).await;
}

fn page(path: &str, metrics: &Metrics) -> Page {
    match path {
        "/metrics" => Page::figures(metrics.page()),
        // A replica that waits for the Lease is as well as the one that leads.
        "/livez" | "/readyz" => Page::well(),
        _ => Page::unknown("/metrics, /livez and /readyz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_there_and_others_are_not() {
        let metrics = Metrics::default();
        assert_eq!(page("/metrics", &metrics), Page::figures(metrics.page()));
        assert!(metrics.page().contains("cairn_operator_leading 0"));
        assert_eq!(page("/livez", &metrics), Page::well());
        assert_eq!(page("/secrets", &metrics), Page::unknown("/metrics, /livez and /readyz"));
    }
}
