//! What a running server logs of itself.

use std::time::Duration;

use tracing::{info, warn};

use crate::rudp::DropReason;
use crate::server::{Server, Totals};

/// Shortest interval between two reports.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// Logs what the server counts, again and again; waits for ever when `every` is 0.
pub async fn reports(server: &Server, every: Duration) {
    if every.is_zero() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(every).await;
        report(server);
    }
}

/// Why clients that mean this server come to nothing before they are connected: a wrong key, protocol id, name or
/// clock at one of its ends, an operator who says no, or more of them than it takes.
const REFUSALS: &[DropReason] = &[
    DropReason::BadChecksum,
    DropReason::BadVersion,
    DropReason::TokenForged,
    DropReason::TokenMalformed,
    DropReason::TokenExpired,
    DropReason::TokenEarly,
    DropReason::WrongServer,
    DropReason::HandshakeForged,
    DropReason::Refused,
    DropReason::Full,
    DropReason::HandshakesFull,
    DropReason::LedgerFull,
    DropReason::UserLimit,
    DropReason::AddressLimit,
];

/// How often the log may warn of the same.
const WARNINGS_EVERY: Duration = Duration::from_secs(10);

/// Warns of HELLOs that come to nothing, some of each handshake: their clients learn little, and nothing where they
/// prove nothing. And of datagrams that the system does not send, which look like losses on the way.
pub async fn warnings(server: &Server) {
    let mut hellos = [0; REFUSALS.len()];
    let mut not_sent = 0;
    loop {
        tokio::time::sleep(WARNINGS_EVERY).await;
        for (reason, count) in since(&mut hellos, &server.counters()) {
            warn!(hellos = count, reason = reason.name(), "came to nothing in the last 10 s");
        }
        let before = std::mem::replace(&mut not_sent, server.traffic().send_errors);
        if not_sent > before {
            warn!(datagrams = not_sent - before, "the system refused to send in the last 10 s");
        }
    }
}

/// The HELLOs that came to nothing since `before`, which is brought up to date.
fn since(before: &mut [u64; REFUSALS.len()], counters: &Totals) -> Vec<(DropReason, u64)> {
    let counts = counters.dropped_by_reason().filter(|(reason, _)| REFUSALS.contains(reason));
    let news = before.iter_mut().zip(counts).map(|(before, (reason, count))| {
        let news = count.saturating_sub(std::mem::replace(before, count));
        (reason, news)
    });
    news.filter(|(_, count)| *count > 0).collect()
}

/// Logs what the server has counted, zeros left out.
pub fn report(server: &Server) {
    let traffic = server.traffic();
    info!(?traffic, "carried");
    let counters = server.counters();
    for metric in counters.metrics().iter().filter(|metric| metric.value > 0) {
        info!(count = metric.value, "{}", metric.name);
    }
    for (reason, count) in counters.dropped_by_reason().filter(|(_, count)| *count > 0) {
        info!(count, "dropped: {}", reason.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_news_once() {
        let mut before = [0; REFUSALS.len()];
        let mut counters = Totals::default();
        let index = |reason| DropReason::ALL.iter().position(|other| *other == reason).unwrap();
        counters.dropped[index(DropReason::TokenForged)] = 3;
        counters.dropped[index(DropReason::AddressLimit)] = 1;
        counters.dropped[index(DropReason::Replayed)] = 9;
        let all = [(DropReason::TokenForged, 3), (DropReason::AddressLimit, 1)];
        assert_eq!(since(&mut before, &counters), all);
        assert_eq!(since(&mut before, &counters), []);
        counters.dropped[index(DropReason::TokenForged)] = 5;
        assert_eq!(since(&mut before, &counters), [(DropReason::TokenForged, 2)]);
    }
}
