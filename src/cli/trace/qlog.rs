//! Events in the format of qlog. Spec: trace.md.
//!
//! Whatever QUIC lacks or defines differently has a name under `rallypoint:`, or a field that qlog does not
//! define.

use serde_json::{Value, json};

use super::file::millis;
use crate::base::{ConnectionId, Ecn, PacketNumber, Timestamp};
use crate::cli::delivery;
use crate::rudp::{Closed, EcnState, Metrics, PacketDropped, TraceEvent, TracedFrame, TracedPlace, Vantage};
use crate::wire::Delivery;

/// Returns the name of a side, as used in file names and headers.
pub fn side(vantage: Vantage) -> &'static str {
    match vantage {
        Vantage::Client => "client",
        Vantage::Server => "server",
    }
}

/// Returns the first line of a file. `wall_millis` is the wall-clock time at which its times begin.
pub fn header(vantage: Vantage, connection: ConnectionId, wall_millis: f64) -> Value {
    let id = format!("{:08x}", connection.0);
    json!({
        "qlog_format": "NDJSON",
        "qlog_version": "0.3",
        "title": format!("rallypoint {} of connection {id}", side(vantage)),
        "trace": {
            "vantage_point": { "type": side(vantage) },
            "common_fields": {
                "group_id": id,
                "protocol_type": ["RALLYPOINT"],
                "time_format": "relative",
                "reference_time": wall_millis,
            },
        },
    })
}

/// Returns the last line of a file that is full.
pub fn cut(max_bytes: u64) -> (&'static str, Value) {
    ("rallypoint:trace_cut", json!({ "max_bytes": max_bytes }))
}

/// Returns the name and the data of an event at `now`.
pub fn event(now: Timestamp, event: &TraceEvent<'_>) -> (&'static str, Value) {
    match event {
        TraceEvent::Started => ("transport:connection_started", json!({})),
        TraceEvent::PacketSent { number, bytes, eliciting, frames } => {
            let mut data = packet(*number, *bytes, frames);
            set(&mut data, "ack_eliciting", json!(eliciting));
            ("transport:packet_sent", data)
        }
        TraceEvent::PacketReceived { number, bytes, ecn, frames } => {
            let mut data = packet(*number, *bytes, frames);
            if *ecn == Ecn::Ce {
                set(&mut data, "ecn", json!("CE"));
            }
            ("transport:packet_received", data)
        }
        TraceEvent::PacketDropped { bytes, why } => {
            let data =
                json!({ "raw": { "length": bytes }, "trigger": trigger(*why), "details": why.to_string() });
            ("transport:packet_dropped", data)
        }
        TraceEvent::PacketLost { number } => {
            ("recovery:packet_lost", json!({ "header": numbered(*number), "trigger": "time_threshold" }))
        }
        TraceEvent::LossWasSpurious { number } => {
            ("rallypoint:loss_was_spurious", json!({ "header": numbered(*number) }))
        }
        TraceEvent::PacketRepaired { number, by } => {
            ("rallypoint:packet_repaired", json!({ "header": numbered(*number), "by": by.0 }))
        }
        TraceEvent::MetricsUpdated(metrics) => ("recovery:metrics_updated", estimates(metrics)),
        TraceEvent::LossTimerUpdated { due } => ("recovery:loss_timer_updated", loss_timer(now, *due)),
        TraceEvent::Probe { count } => {
            let data = json!({ "event_type": "expired", "timer_type": "pto", "pto_count": count });
            ("recovery:loss_timer_updated", data)
        }
        TraceEvent::DatagramSizeUpdated { bytes } => ("connectivity:mtu_updated", json!({ "new": bytes })),
        TraceEvent::EcnStateUpdated { state } => {
            let new = match state {
                EcnState::Testing => "testing",
                EcnState::Capable => "capable",
                EcnState::Failed => "failed",
            };
            ("recovery:ecn_state_updated", json!({ "new": new }))
        }
        TraceEvent::KeyUpdated { by_peer } => {
            let trigger = if *by_peer { "remote_update" } else { "local_update" };
            ("security:key_updated", json!({ "key_type": "1rtt", "trigger": trigger }))
        }
        TraceEvent::Closed(why) => ("transport:connection_closed", closed(why)),
    }
}

fn numbered(number: PacketNumber) -> Value {
    json!({ "packet_type": "1RTT", "packet_number": number.0 })
}

fn packet(number: PacketNumber, bytes: usize, frames: &[TracedFrame]) -> Value {
    let frames: Vec<Value> = frames.iter().map(frame).collect();
    json!({ "header": numbered(number), "raw": { "length": bytes }, "frames": frames })
}

fn frame(frame: &TracedFrame) -> Value {
    match frame {
        TracedFrame::Ping => json!({ "frame_type": "ping" }),
        TracedFrame::PathChallenge => json!({ "frame_type": "path_challenge" }),
        TracedFrame::PathResponse => json!({ "frame_type": "path_response" }),
        TracedFrame::Close { code } => json!({ "frame_type": "connection_close", "error_code": code }),
        TracedFrame::Ack { runs, held, repaired } => {
            let ranges: Vec<[u64; 2]> = runs.iter().map(|(first, last)| [*first, *last]).collect();
            let mut data = json!({ "frame_type": "ack", "ack_delay": millis(*held), "acked_ranges": ranges });
            if !repaired.is_empty() {
                set(&mut data, "repaired", json!(repaired.as_slice()));
            }
            data
        }
        TracedFrame::CeCount { count } => json!({ "frame_type": "ce_count", "count": count }),
        TracedFrame::Repair { packets, bytes } => {
            json!({ "frame_type": "repair", "packets": packets.as_slice(), "length": bytes })
        }
        TracedFrame::Padding { bytes } => json!({ "frame_type": "padding", "length": bytes }),
        TracedFrame::Message { place, delivery, bytes } => message("message", *place, *delivery, *bytes),
        TracedFrame::Fragment { place, delivery, index, count, bytes } => {
            let mut data = message("fragment", Some(*place), *delivery, *bytes);
            set(&mut data, "index", json!(index));
            set(&mut data, "count", json!(count));
            data
        }
    }
}

fn message(kind: &str, place: Option<TracedPlace>, mode: Delivery, bytes: usize) -> Value {
    let mut data = json!({ "frame_type": kind, "delivery": delivery::name(mode), "length": bytes });
    if let Some(place) = place {
        set(&mut data, "stream_id", json!(place.stream.0));
        set(&mut data, "number", json!(place.number));
    }
    if let Some(key) = mode.key() {
        set(&mut data, "key", json!(key));
    }
    data
}

fn estimates(metrics: &Metrics) -> Value {
    let mut data = json!({
        "smoothed_rtt": millis(metrics.smoothed_rtt),
        "latest_rtt": millis(metrics.latest_rtt),
        "rtt_variance": millis(metrics.rtt_variance),
        "congestion_window": metrics.congestion_window,
        "bytes_in_flight": metrics.bytes_in_flight,
        "pto_count": metrics.probes,
        "queued_bytes": metrics.queued_bytes,
    });
    if let Some(minimum) = metrics.min_rtt {
        set(&mut data, "min_rtt", json!(millis(minimum)));
    }
    data
}

fn loss_timer(now: Timestamp, due: Option<Timestamp>) -> Value {
    match due {
        Some(due) => json!({ "event_type": "set", "timer_type": "ack", "delta": millis(due.since(now)) }),
        None => json!({ "event_type": "cancelled", "timer_type": "ack" }),
    }
}

/// Returns qlog's name for the reason; `details` contains the connection's own.
fn trigger(why: PacketDropped) -> &'static str {
    match why {
        PacketDropped::Malformed => "invalid",
        PacketDropped::Replayed => "duplicate",
        PacketDropped::DoesNotOpen => "decryption_failure",
        PacketDropped::TooLate | PacketDropped::OffPath | PacketDropped::OverBudget => "rejected",
        PacketDropped::Closed => "unexpected_packet",
    }
}

fn closed(why: &Closed) -> Value {
    let (owner, trigger, code) = match why {
        Closed::ByPeer { code, .. } => ("remote", "application", Some(code)),
        Closed::Local { code, .. } => ("local", "application", Some(code)),
        Closed::TimedOut => ("local", "idle_timeout", None),
        Closed::Violation(_) | Closed::KeyLimit(_) => ("local", "error", None),
    };
    let mut data = json!({ "owner": owner, "trigger": trigger, "reason": why.to_string() });
    if let Some(code) = code {
        set(&mut data, "code", json!(code.name()));
    }
    data
}

fn set(data: &mut Value, key: &str, value: Value) {
    if let Some(members) = data.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}
