//! Traces as files.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::file::wall_millis;
use super::*;
use crate::base::{PacketNumber, StreamId, Timestamp};
use crate::rudp::{TraceEvent, TracedFrame, TracedPlace};
use crate::wire::Delivery;

const ID: ConnectionId = ConnectionId(0x0100_a3f2);

/// A folder that is removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rallypoint-trace-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(5_000_000 + micros)
}

fn lost(number: u64) -> TraceEvent<'static> {
    TraceEvent::PacketLost { number: PacketNumber(number) }
}

#[test]
fn a_file_has_a_header_and_one_event_a_line() {
    let temporary = Temporary::new("lines");
    let folder = TraceFolder::new(&temporary.0, 10);
    let mut trace = folder.trace(ID, Vantage::Server).unwrap();
    trace.event(at(0), &TraceEvent::Started);
    let place = TracedPlace { stream: StreamId(3), number: 700 };
    let frames = [
        TracedFrame::Ack {
            runs: [(5, 9), (1, 3)].into_iter().collect(),
            held: Duration::from_micros(256),
            repaired: [4].into_iter().collect(),
        },
        TracedFrame::Repair { packets: [38, 40].into_iter().collect(), bytes: 30 },
        TracedFrame::Message { place: Some(place), delivery: Delivery::ReliableOrdered, bytes: 64 },
    ];
    let sent =
        TraceEvent::PacketSent { number: PacketNumber(41), bytes: 120, eliciting: true, frames: &frames };
    trace.event(at(1_250), &sent);
    trace.event(at(90_001), &lost(41));
    drop(trace);
    let lines = temporary.lines("server-0100a3f2-0001.qlog");
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["trace"]["vantage_point"]["type"], "server");
    assert_eq!(lines[0]["trace"]["common_fields"]["group_id"], "0100a3f2");
    assert_eq!((&lines[1]["time"], &lines[1]["name"]), (&0.0.into(), &"transport:connection_started".into()));
    let data = &lines[2]["data"];
    assert_eq!((lines[2]["time"].as_f64(), &data["header"]["packet_number"]), (Some(1.25), &41.into()));
    assert_eq!(data["frames"][0]["acked_ranges"], serde_json::json!([[5, 9], [1, 3]]));
    assert_eq!(data["frames"][0]["repaired"], serde_json::json!([4]));
    assert_eq!(data["frames"][1]["packets"], serde_json::json!([38, 40]));
    assert_eq!((&data["frames"][2]["stream_id"], &data["frames"][2]["number"]), (&3.into(), &700.into()));
    assert_eq!(lines[3]["name"], "recovery:packet_lost");
}

/// The reference time aligns two traces.
#[test]
fn times_count_from_the_time_of_day_at_which_the_connection_began() {
    let temporary = Temporary::new("reference");
    let folder = TraceFolder::new(&temporary.0, 10);
    let before = wall_millis();
    let mut trace = folder.trace(ID, Vantage::Client).unwrap();
    let after = wall_millis();
    while wall_millis() < after + 2.0 {
        std::thread::yield_now();
    }
    trace.event(at(0), &TraceEvent::Started);
    drop(trace);
    let header = &temporary.lines("client-0100a3f2-0001.qlog")[0];
    let reference = header["trace"]["common_fields"]["reference_time"].as_f64().unwrap();
    assert!((before..=after).contains(&reference), "{reference}, but {before} to {after}");
}

#[test]
fn a_file_that_is_full_says_so_in_its_last_line() {
    let temporary = Temporary::new("full");
    let folder = TraceFolder::new(&temporary.0, 10);
    let mut trace = TraceFile::new(Arc::clone(&folder.0), ID, Vantage::Client).with_max_bytes(2_000);
    (0..1_000).for_each(|n| trace.event(at(n), &lost(n)));
    drop(trace);
    let name = "client-0100a3f2-0001.qlog";
    assert!(fs::metadata(temporary.0.join(name)).unwrap().len() < 2_100);
    let lines = temporary.lines(name);
    let cuts = lines.iter().filter(|line| line["name"] == "rallypoint:trace_cut");
    assert_eq!(cuts.count(), 1);
    assert_eq!(lines.last().unwrap()["data"]["max_bytes"], 2_000);
    assert!(lines.len() > 10);
}

#[test]
fn no_more_files_than_there_may_be_and_none_for_a_connection_that_says_nothing() {
    let temporary = Temporary::new("files");
    let folder = TraceFolder::new(&temporary.0, 2);
    let traces: Vec<_> = (0..5).map(|_| folder.trace(ID, Vantage::Client).unwrap()).collect();
    assert_eq!(temporary.files(), 0);
    traces.into_iter().for_each(|mut trace| trace.event(at(0), &lost(0)));
    assert_eq!(temporary.files(), 2);
}

#[test]
fn a_file_that_cannot_be_made_ends_the_trace_alone_and_an_older_one_stays() {
    let temporary = Temporary::new("failing");
    let older = temporary.0.join("client-0100a3f2-0001.qlog");
    fs::write(&older, "older").unwrap();
    let folder = TraceFolder::new(&temporary.0, 10);
    let mut trace = folder.trace(ID, Vantage::Client).unwrap();
    (0..3).for_each(|n| trace.event(at(n), &lost(n)));
    drop(trace);
    assert_eq!(fs::read_to_string(&older).unwrap(), "older");
    assert!(folder.0.has_failed.load(Ordering::Relaxed));
    assert!(TraceFolder::open(&older).is_err(), "a file is no folder");
}
