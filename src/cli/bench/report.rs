//! The report of a bench: one JSON object for scripts, a table for people.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::delivery;
use crate::cli::output::Table;
use crate::cli::units::BitRate;
use crate::cli::verify::Latency;
use crate::link::Blackhole;
use crate::wire::Delivery;

/// The workload and its outcome.
#[derive(Debug)]
pub struct Report {
    /// The requested workload.
    pub workload: Workload,
    /// What the clients observed.
    pub outcome: Outcome,
    /// The cost of the run.
    pub cost: Cost,
}

/// The requested workload.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Number of concurrent sessions.
    pub sessions: u32,
    /// Members of each session.
    pub members: u16,
    /// Messages per second of each member.
    pub rate_hz: f64,
    /// Size of a message in bytes.
    pub size_bytes: usize,
    /// Delivery mode of the messages.
    pub delivery: Delivery,
    /// Length of the counted time, in seconds.
    pub seconds: u32,
    /// True with a bulk transfer in addition to the messages.
    pub bulk: bool,
    /// Rate of each member's line.
    pub rate_limit: Option<BitRate>,
    /// The periods in which nothing passes.
    pub blackhole: Option<Blackhole>,
    /// Seed of the run's random choices.
    pub seed: u64,
}

/// What the clients observed.
#[derive(Debug)]
pub struct Outcome {
    /// Clients that did not get into their session.
    pub connect_failures: u64,
    /// Connections whose other end fell silent, or accepted nothing of what it was sent.
    pub timeouts: u64,
    /// Everything else that went wrong: refusals, closes, altered payloads.
    pub errors: u64,
    /// Of these, messages that nobody sent in this form.
    pub altered: u64,
    /// Of these, connections that ended before the run did.
    pub ended: u64,
    /// Of them, too, messages for which a client's send buffer had no room.
    pub unsent: u64,
    /// Of these, messages that the server refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Counted messages that members sent.
    pub sent: u64,
    /// Deliveries that they should have caused.
    pub expected: u64,
    /// Deliveries that they caused.
    pub delivered: u64,
    /// Deliveries that arrived after a later one of the same sender, or in a different place than at other
    /// members.
    pub order_violations: u64,
    /// Deliveries that had arrived before.
    pub duplicates: u64,
    /// Pairs of a sender and a receiver that the sender's last message did not reach.
    pub latest_missing: u64,
    /// Outcome of the bulk transfer; `None` without one.
    pub bulk: Option<BulkOutcome>,
    /// Time from the call of `send` to the delivery, counted for each receiver.
    pub latency: Latency,
    /// Of these, the deliveries at the member that receives the bulk transfer; `None` without one.
    pub latency_beside_bulk: Option<Latency>,
    /// Time from the end of a blackhole to the next delivery at a receiver; `None` without blackholes.
    pub recovery: Option<Latency>,
}

/// The outcome of a bulk transfer.
#[derive(Debug, Clone, Copy)]
pub struct BulkOutcome {
    /// Payload bytes of the messages that arrived whole in the counted time.
    pub bytes: u64,
    /// Messages that were sent and not refused, but did not arrive.
    pub missing: u64,
    /// Actual length of the counted time.
    pub time: Duration,
}

/// The cost of a run, as far as this machine can measure it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Length of the counted time, in microseconds.
    pub counted_us: u64,
    /// Deliveries in the counted time.
    pub delivered_in_time: u64,
    /// Microseconds of CPU that the server used in the counted time.
    pub server_busy_us: Option<u64>,
    /// The same for this process with its clients.
    pub client_busy_us: Option<u64>,
    /// Microseconds of the counted time in which the clients' thread waited for a core.
    pub client_waited_us: Option<u64>,
    /// Microseconds of CPU that the server used until everything sent in the counted time had arrived.
    pub server_cpu_us: Option<u64>,
    /// The same for this process with its clients.
    pub client_cpu_us: Option<u64>,
    /// Datagrams and UDP payload bytes that both ends sent until then, including lost ones; the server's are
    /// those that its clients derive from packet numbers.
    pub traffic: Option<Traffic>,
    /// Resident memory of the server at the end.
    pub server_rss_bytes: Option<u64>,
}

/// Datagrams and bytes of UDP payload, without UDP and IP headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams to the clients.
    pub datagrams_down: u64,
    /// Those of them that arrived, and their bytes.
    pub datagrams_arrived: u64,
    pub bytes_arrived: u64,
    /// Datagrams to the server.
    pub datagrams_up: u64,
    /// Their bytes.
    pub bytes_up: u64,
}

impl Traffic {
    /// Returns what was added since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            datagrams_down: self.datagrams_down.saturating_sub(earlier.datagrams_down),
            datagrams_arrived: self.datagrams_arrived.saturating_sub(earlier.datagrams_arrived),
            bytes_arrived: self.bytes_arrived.saturating_sub(earlier.bytes_arrived),
            datagrams_up: self.datagrams_up.saturating_sub(earlier.datagrams_up),
            bytes_up: self.bytes_up.saturating_sub(earlier.bytes_up),
        }
    }

    /// Returns the bytes of the datagrams to the clients, assuming that lost ones had the same average size
    /// as the others.
    fn bytes_down(self) -> u64 {
        let all = u128::from(self.bytes_arrived) * u128::from(self.datagrams_down);
        u64::try_from(all / u128::from(self.datagrams_arrived.max(1))).unwrap_or(u64::MAX)
    }
}

impl BulkOutcome {
    /// Returns the payload bytes per second; `None` without a counted time.
    pub fn bytes_per_second(&self) -> Option<f64> {
        (!self.time.is_zero()).then(|| ratio(self.bytes, 1) / self.time.as_secs_f64())
    }

    /// Returns the part of a line of `rate` that the payload took. Headers and the sessions' traffic take up
    /// more of it.
    pub fn share_of(&self, rate: BitRate) -> Option<f64> {
        Some(8.0 * self.bytes_per_second()? / ratio(rate.0, 1))
    }
}

impl Outcome {
    /// Returns the ratio of deliveries to expected deliveries.
    pub fn delivery_ratio(&self) -> Option<f64> {
        share(self.delivered, self.expected)
    }
}

impl Report {
    /// Returns the checks that failed; empty if every check holds.
    pub fn failures(&self) -> Vec<String> {
        let Outcome { connect_failures, timeouts, ended, expected, delivered, .. } = self.outcome;
        let Outcome { order_violations, duplicates, latest_missing, altered, .. } = self.outcome;
        let Outcome { refused, unsent, bulk, .. } = &self.outcome;
        let bulk_missing = bulk.map_or(0, |bulk| bulk.missing);
        let delivery = self.workload.delivery;
        let exactly_once = delivery.is_reliable() && !matches!(delivery, Delivery::ReliableLatest { .. });
        let (counted, asked) = (Duration::from_micros(self.cost.counted_us), self.workload.seconds);
        let Workload { sessions, members, .. } = self.workload;
        if connect_failures == u64::from(sessions) * u64::from(members) {
            return vec!["no client got into a session".to_owned()];
        }
        // The counted time begins at the first wake-up after its planned start, so it may be slightly short.
        let is_short = counted + Duration::from_millis(500) < Duration::from_secs(asked.into());
        [
            (is_short, format!("it was ended after {:.1} of {asked} s", counted.as_secs_f64())),
            (connect_failures > 0, format!("{connect_failures} clients did not get into their session")),
            (timeouts > 0, format!("{timeouts} connections timed out")),
            (ended > 0, format!("{ended} connections ended before their time")),
            (expected == 0, "nothing was sent".to_owned()),
            (
                exactly_once && delivered < expected,
                format!("{} deliveries are missing", expected.saturating_sub(delivered)),
            ),
            (order_violations > 0, format!("{order_violations} order violations")),
            (duplicates > 0, format!("{duplicates} duplicates")),
            (altered > 0, format!("{altered} messages arrived other than they were sent")),
            (*unsent > 0, format!("{unsent} messages were not sent: the send buffer was full")),
            (!refused.is_empty(), format!("the server refused messages: {}", reasons(refused))),
            (bulk_missing > 0, format!("{bulk_missing} messages of the bulk transfer are missing")),
            (
                bulk.is_some_and(|bulk| bulk.bytes == 0),
                "nothing of the bulk transfer arrived in time".to_owned(),
            ),
            (latest_missing > 0, format!("{latest_missing} times the latest message is missing")),
        ]
        .into_iter()
        .filter_map(|(failed, what)| failed.then_some(what))
        .collect()
    }

    /// Returns true if the clients, which share one thread, were busy or waiting for a core nearly all of the
    /// time.
    pub fn are_clients_busy(&self) -> bool {
        let Cost { client_busy_us, client_waited_us, .. } = self.cost;
        let busy_us = client_busy_us.map(|busy_us| busy_us + client_waited_us.unwrap_or(0));
        self.core_share(busy_us).is_some_and(|share| share > BUSY_SHARE)
    }

    /// Returns the number of cores that this CPU time kept busy.
    fn core_share(&self, cpu_us: Option<u64>) -> Option<f64> {
        share(cpu_us?, self.cost.counted_us)
    }

    /// Returns the report as one JSON object; unknown figures are null.
    pub fn to_json(&self) -> Value {
        let Self { workload, outcome, cost } = self;
        let per_delivery = |amount: Option<u64>| share(amount?, outcome.delivered);
        let traffic = |amount: fn(Traffic) -> u64| per_delivery(cost.traffic.map(amount));
        json!({
            "sessions": workload.sessions,
            "members": workload.members,
            "rate_hz": workload.rate_hz,
            "size_bytes": workload.size_bytes,
            "delivery": delivery::name(workload.delivery),
            "seconds": workload.seconds,
            "seed": workload.seed,
            "connect_failures": outcome.connect_failures,
            "timeouts": outcome.timeouts,
            "errors": outcome.errors,
            "refused": outcome.refused.values().sum::<u64>(),
            "unsent": outcome.unsent,
            "sent": outcome.sent,
            "expected": outcome.expected,
            "delivered": outcome.delivered,
            "delivery_ratio": outcome.delivery_ratio(),
            "deliveries_per_second": share(cost.delivered_in_time * 1_000_000, cost.counted_us),
            "bulk_bytes": outcome.bulk.map(|bulk| bulk.bytes),
            "bulk_bytes_per_second": outcome.bulk.and_then(|bulk| bulk.bytes_per_second()),
            "bulk_link_share": outcome.bulk.and_then(|bulk| bulk.share_of(workload.rate_limit?)),
            "latency_us": outcome.latency.to_json(),
            "latency_beside_bulk_us": outcome.latency_beside_bulk.as_ref().map(Latency::to_json),
            "recovery_us": outcome.recovery.as_ref().map(recovery_json),
            "server_cpu_us_per_delivery": per_delivery(cost.server_cpu_us),
            "client_cpu_us_per_delivery": per_delivery(cost.client_cpu_us),
            "server_core_share": self.core_share(cost.server_busy_us),
            "client_core_share": self.core_share(cost.client_busy_us),
            "server_datagrams_out_per_delivery": traffic(|t| t.datagrams_down),
            "server_bytes_out_per_delivery": traffic(Traffic::bytes_down),
            "datagrams_both_ways_per_delivery": traffic(|t| t.datagrams_down + t.datagrams_up),
            "udp_bytes_both_ways_per_delivery": traffic(|t| t.bytes_down() + t.bytes_up),
            "server_rss_bytes": cost.server_rss_bytes,
            "order_violations": outcome.order_violations,
            "duplicates": outcome.duplicates,
        })
    }

    /// Returns the report as a table for people.
    pub fn to_table(&self) -> Table {
        let json = self.to_json();
        let figure = |key: &str| {
            let figure = json.get(key);
            debug_assert!(figure.is_some(), "the report has no {key}");
            match figure {
                None | Some(Value::Null) => "unknown".to_owned(),
                Some(Value::Number(number)) if number.is_f64() => {
                    format!("{:.3}", number.as_f64().unwrap_or_default())
                }
                Some(other) => other.to_string(),
            }
        };
        let cpu = |us, share| format!("{} us a delivery, {} of a core", figure(us), figure(share));
        let Workload { sessions, members, rate_hz, size_bytes, delivery, seconds, .. } = self.workload;
        let mut table = Table::new();
        table
            .row(
                "workload",
                format_args!(
                    "{sessions} sessions of {members}, {rate_hz} Hz, {size_bytes} B, {}, {seconds} s",
                    delivery::name(delivery)
                ),
            )
            .row("seed", self.workload.seed)
            .row("sent", figure("sent"))
            .row(
                "delivered",
                format_args!(
                    "{} of {} expected, ratio {}, {} a second",
                    figure("delivered"),
                    figure("expected"),
                    figure("delivery_ratio"),
                    figure("deliveries_per_second")
                ),
            )
            .row("latency", &self.outcome.latency)
            .row("order violations", figure("order_violations"))
            .row("duplicates", figure("duplicates"))
            .row(
                "failures",
                format_args!(
                    "{} not connected, {} timed out, {} errors, of them {} refusals",
                    figure("connect_failures"),
                    figure("timeouts"),
                    figure("errors"),
                    figure("refused")
                ),
            )
            .row("server CPU", cpu("server_cpu_us_per_delivery", "server_core_share"))
            .row("client CPU", cpu("client_cpu_us_per_delivery", "client_core_share"))
            .row(
                "server sends",
                format_args!(
                    "{} datagrams, {} B a delivery",
                    figure("server_datagrams_out_per_delivery"),
                    figure("server_bytes_out_per_delivery")
                ),
            )
            .row(
                "both ways",
                format_args!(
                    "{} datagrams, {} B a delivery",
                    figure("datagrams_both_ways_per_delivery"),
                    figure("udp_bytes_both_ways_per_delivery")
                ),
            )
            .row(
                "server memory",
                self.cost
                    .server_rss_bytes
                    .map_or("unknown".to_owned(), |bytes| format!("{:.1} MiB", ratio(bytes, 1 << 20))),
            );
        if let Some(latency) = &self.outcome.latency_beside_bulk {
            table.row("latency beside it", latency).row(
                "bulk",
                format_args!(
                    "{} B, {} B/s, {} of the link",
                    figure("bulk_bytes"),
                    figure("bulk_bytes_per_second"),
                    figure("bulk_link_share")
                ),
            );
        }
        if let Some(recovery) = &self.outcome.recovery {
            table.row(
                "after blackholes",
                format_args!("next delivery {recovery}, {} gaps", recovery.samples()),
            );
        }
        table
    }
}

/// Above this share of a core, the clients themselves are late.
const BUSY_SHARE: f64 = 0.9;

/// Formats refusals, as in `3 rate_limited, 1 busy`.
fn reasons(refused: &BTreeMap<&'static str, u64>) -> String {
    refused.iter().map(|(why, count)| format!("{count} {why}")).collect::<Vec<_>>().join(", ")
}

fn recovery_json(recovery: &Latency) -> Value {
    let at = |percentile| recovery.percentile(percentile);
    json!({ "p50": at(50.0), "max": at(100.0), "samples": recovery.samples() })
}

fn share(amount: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| ratio(amount, of))
}

#[allow(clippy::cast_precision_loss, reason = "figures for people and plots; 2^53 is far away")]
fn ratio(amount: u64, of: u64) -> f64 {
    amount as f64 / of as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(delivery: Delivery) -> Report {
        let workload = Workload {
            sessions: 2,
            members: 4,
            rate_hz: 30.0,
            size_bytes: 64,
            delivery,
            seconds: 1,
            bulk: false,
            rate_limit: None,
            blackhole: None,
            seed: 7,
        };
        let outcome = Outcome {
            connect_failures: 0,
            timeouts: 0,
            errors: 0,
            altered: 0,
            ended: 0,
            unsent: 0,
            refused: BTreeMap::new(),
            sent: 10,
            expected: 40,
            delivered: 40,
            order_violations: 0,
            duplicates: 0,
            latest_missing: 0,
            latency: Latency::new(),
            latency_beside_bulk: None,
            recovery: None,
            bulk: None,
        };
        let cost =
            Cost { server_cpu_us: Some(80), server_busy_us: Some(80), counted_us: 160, ..Cost::default() };
        Report { workload, outcome, cost }
    }

    #[test]
    fn every_documented_key_is_there() {
        let json = report(Delivery::ReliableOrdered).to_json();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut documented =
            "sessions members rate_hz size_bytes delivery seconds seed connect_failures timeouts \
            errors refused unsent sent expected delivered delivery_ratio deliveries_per_second latency_us server_cpu_us_per_delivery \
            client_cpu_us_per_delivery server_core_share client_core_share server_datagrams_out_per_delivery server_bytes_out_per_delivery \
            datagrams_both_ways_per_delivery udp_bytes_both_ways_per_delivery server_rss_bytes \
            order_violations duplicates recovery_us bulk_bytes bulk_bytes_per_second bulk_link_share latency_beside_bulk_us"
                .split_ascii_whitespace()
                .collect::<Vec<_>>();
        documented.sort_unstable();
        assert_eq!(keys, documented);
        assert_eq!(json["server_cpu_us_per_delivery"], 2.0);
        assert_eq!(json["server_core_share"], 0.5);
        assert_eq!(json["client_cpu_us_per_delivery"], Value::Null);
        assert_eq!(json["client_core_share"], Value::Null);
        assert_eq!(json["delivery_ratio"], 1.0);
    }

    #[test]
    fn clients_without_time_are_told_of() {
        let mut report = report(Delivery::ReliableOrdered);
        let mut are_busy = |(client_busy_us, client_waited_us)| {
            (report.cost.client_busy_us, report.cost.client_waited_us) = (client_busy_us, client_waited_us);
            report.are_clients_busy()
        };
        assert!(!are_busy((None, None)) && !are_busy((Some(140), None)) && are_busy((Some(150), None)));
        assert!(!are_busy((Some(80), Some(60))) && are_busy((Some(80), Some(70))));
    }

    #[test]
    fn bulk_is_measured_against_the_line() {
        let mut report = report(Delivery::ReliableOrdered);
        report.workload.rate_limit = Some(BitRate(10_000_000));
        let bulk = |report: &Report| {
            let json = report.to_json();
            ["bulk_bytes", "bulk_bytes_per_second", "bulk_link_share"].map(|key| json[key].clone())
        };
        assert_eq!(bulk(&report), [Value::Null, Value::Null, Value::Null]);
        report.outcome.bulk =
            Some(BulkOutcome { bytes: 2_000_000, missing: 0, time: Duration::from_secs(2) });
        assert_eq!(bulk(&report), [json!(2_000_000), json!(1_000_000.0), json!(0.8)]);
        report.workload.rate_limit = None;
        assert_eq!(bulk(&report)[2], Value::Null, "of an unlimited line there is no share");
        report.outcome.bulk = Some(BulkOutcome { bytes: 0, missing: 0, time: Duration::ZERO });
        assert_eq!(bulk(&report), [json!(0), Value::Null, Value::Null], "ended before it was counted");
        report.outcome.latency_beside_bulk = Some(Latency::new());
        assert!(report.to_table().to_string().ends_with("0 B, unknown B/s, unknown of the link"));
    }

    #[test]
    fn recovery_is_known_only_with_blackholes() {
        let mut report = report(Delivery::ReliableOrdered);
        assert_eq!(report.to_json()["recovery_us"], Value::Null);
        report.outcome.recovery = Some(Latency::new());
        assert_eq!(report.to_json()["recovery_us"], json!({ "p50": null, "max": null, "samples": 0 }));
        if let Some(recovery) = &mut report.outcome.recovery {
            (1..=3).for_each(|micros| recovery.record(micros));
        }
        assert_eq!(report.to_json()["recovery_us"], json!({ "p50": 2, "max": 3, "samples": 3 }));
    }

    #[test]
    fn a_run_that_was_ended_early_is_none() {
        let mut report = report(Delivery::ReliableOrdered);
        report.workload.seconds = 20;
        report.cost.counted_us = 2_900_000;
        assert_eq!(report.failures(), ["it was ended after 2.9 of 20 s"]);
        report.cost.counted_us = 19_999_000;
        assert_eq!(report.failures(), [] as [String; 0]);
    }

    #[test]
    fn what_a_delivery_promises_is_held_against_it() {
        let failures = |delivery, break_it: fn(&mut Outcome)| {
            let mut report = report(delivery);
            report.cost.counted_us = u64::from(report.workload.seconds) * 1_000_000;
            break_it(&mut report.outcome);
            report.failures().len()
        };
        let missing: fn(&mut Outcome) = |outcome| outcome.delivered -= 1;
        assert_eq!(failures(Delivery::ReliableOrdered, |_| ()), 0);
        assert_eq!(failures(Delivery::ReliableOrdered, missing), 1);
        assert_eq!(failures(Delivery::ReliableUnordered, |outcome| outcome.duplicates = 1), 1);
        assert_eq!(failures(Delivery::ReliableOrdered, |outcome| outcome.order_violations = 1), 1);
        assert_eq!(failures(Delivery::Unreliable, missing), 0);
        assert_eq!(failures(Delivery::Sequenced { key: 1 }, |outcome| outcome.order_violations = 1), 1);
        assert_eq!(failures(Delivery::Unreliable, |outcome| outcome.duplicates = 1), 1);
        assert_eq!(failures(Delivery::ReliableLatest { key: 1 }, missing), 0);
        assert_eq!(failures(Delivery::ReliableLatest { key: 1 }, |outcome| outcome.latest_missing = 1), 1);
        assert_eq!(failures(Delivery::Unreliable, |outcome| outcome.timeouts = 1), 1);
        assert_eq!(failures(Delivery::ReliableOrdered, |outcome| outcome.expected = 0), 1);
        assert_eq!(failures(Delivery::Unreliable, |outcome| outcome.refused = [("busy", 1)].into()), 1);
        assert_eq!(failures(Delivery::Unreliable, |outcome| outcome.unsent = 1), 1);
        let of_bulk = |bytes, missing| {
            let mut report = report(Delivery::Unreliable);
            report.cost.counted_us = 1_000_000;
            report.outcome.bulk = Some(BulkOutcome { bytes, missing, time: Duration::from_secs(1) });
            report.failures()
        };
        assert_eq!(of_bulk(1, 0), [""; 0]);
        assert_eq!(of_bulk(1, 2), ["2 messages of the bulk transfer are missing"]);
        assert_eq!(of_bulk(0, 0), ["nothing of the bulk transfer arrived in time"]);
    }
}
