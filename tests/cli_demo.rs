//! `demo` and `bench`, started as a user would start them, on real sockets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cli_support;

use cli_support::{Folder, Running, run, texts};
use serde_json::Value;

/// Runs the binary to its end, and returns the one JSON object that it prints.
fn report(args: &[&str]) -> Value {
    let (status, out, err) = texts(&run(args));
    assert_eq!(status, Some(0), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn all_is_well(report: &Value) {
    assert_eq!(report["delivery_ratio"], 1.0, "{report}");
    for key in ["order_violations", "duplicates"] {
        assert_eq!(report[key], 0, "{report}");
    }
    assert!(report["delivered"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["latency_us"]["samples"], report["delivered"], "{report}");
}

#[test]
fn the_demo_delivers_everything_and_refuses_what_it_must() {
    let report = report(&["demo", "--sessions", "2", "--members", "3", "--seconds", "1", "--json"]);
    all_is_well(&report);
    assert_eq!(report["sessions"], 2);
    assert_eq!((&report["members"], &report["ended_early"]), (&3.into(), &false.into()));
    assert_eq!(report["refusals_checked"], 10, "five in each session: {report}");
}

#[test]
fn the_demo_delivers_everything_over_a_line_that_loses() {
    let args = ["demo", "--sessions", "1", "--members", "3", "--seconds", "1"];
    all_is_well(&report(&[&args[..], &["--loss", "10%", "--delay", "10ms", "--json"]].concat()));
}

#[test]
fn the_demo_tells_its_story_on_standard_error_and_ends_with_a_table() {
    let (status, out, err) = texts(&run(&["demo", "--sessions", "1", "--members", "2", "--seconds", "1"]));
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("ratio 1.000") && !out.contains("session 1:"), "{out}");
    assert!(err.contains("first verified delivery after") && err.contains("left and came back"), "{err}");
}

#[test]
fn an_interrupted_demo_still_reports() {
    let mut demo =
        Running::start(&["demo", "--sessions", "1", "--members", "2", "--seconds", "3600", "--json"]);
    demo.wait_for_stderr("left and came back");
    demo.signal("INT");
    let report = demo.wait_for_json("the report", |_| true);
    all_is_well(&report);
    assert_eq!(report["ended_early"], true);
    assert!(demo.wait_exit().success(), "{}", demo.transcript());
}

/// Forty users would need a quarter of a minute to meet.
#[test]
fn a_demo_that_is_interrupted_while_its_users_meet_begins_nothing_else() {
    let mut demo =
        Running::start(&["demo", "--sessions", "1", "--members", "40", "--delay", "100ms", "--json"]);
    demo.wait_for_stderr("server on");
    demo.signal("INT");
    let report = demo.wait_for_json("the report", |_| true);
    assert_eq!((&report["sent"], &report["refusals_checked"]), (&0.into(), &0.into()), "{report}");
    assert!(demo.wait_exit().success(), "{}", demo.transcript());
    let said = demo.transcript();
    assert!(said.contains("users met") && !said.contains("40 users met"), "{said}");
}

#[test]
fn a_bench_through_a_relay_that_loses_delivers_everything() {
    let args =
        ["bench", "--sessions", "2", "--members", "3", "--seconds", "1", "--warmup", "200ms", "--json"];
    let report = report(&[&args[..], &["--loss", "10%", "--delay", "5ms", "--jitter", "2ms"]].concat());
    all_is_well(&report);
    for key in ["connect_failures", "timeouts", "errors"] {
        assert_eq!(report[key], 0, "{report}");
    }
    assert_eq!(report["expected"].as_u64(), report["sent"].as_u64().map(|sent| sent * 3), "to all: {report}");
    assert!(report["server_rss_bytes"].is_u64() && report["server_cpu_us_per_delivery"].is_number());
}

/// Each client changes its port several times, which must cause neither a loss nor a timeout.
#[test]
fn a_bench_whose_clients_change_their_port_delivers_everything() {
    let args = ["bench", "--sessions", "2", "--members", "3", "--seconds", "3", "--warmup", "200ms"];
    let report = report(&[&args[..], &["--delay", "5ms", "--rebind", "800ms", "--json"]].concat());
    all_is_well(&report);
    assert_eq!((&report["errors"], &report["timeouts"]), (&0.into(), &0.into()), "{report}");
    assert_eq!(report["expected"].as_u64(), report["sent"].as_u64().map(|sent| sent * 3), "to all: {report}");
}

#[test]
fn a_bench_with_bulk_delivers_everything_beside_it() {
    let args = ["bench", "--sessions", "1", "--members", "3", "--seconds", "2", "--warmup", "200ms"];
    let report = report(&[&args[..], &["--bulk", "--json"]].concat());
    all_is_well(&report);
    assert_eq!((&report["errors"], &report["timeouts"]), (&0.into(), &0.into()), "{report}");
    assert!(report["bulk_bytes"].as_u64().unwrap() > 0, "{report}");
    assert!(report["bulk_link_share"].is_null() && report["recovery_us"].is_null(), "{report}");
}

#[test]
fn a_bench_with_bulk_on_a_narrow_line_with_blackholes() {
    let args = ["bench", "--sessions", "1", "--members", "3", "--seconds", "2", "--warmup", "200ms"];
    let line = ["--rate-limit", "20mbit", "--queue", "50ms", "--blackhole", "500ms:100ms"];
    let report = report(&[&args[..], &line, &["--bulk", "--json"]].concat());
    all_is_well(&report);
    assert_eq!(report["errors"], 0, "{report}");
    assert!(report["bulk_bytes"].as_u64().unwrap() > 0, "{report}");
    assert!(report["bulk_link_share"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["recovery_us"]["samples"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_bench_of_every_delivery_passes_its_checks() {
    for delivery in ["reliable", "sequenced", "latest", "unreliable"] {
        let args = ["bench", "--sessions", "1", "--members", "3", "--seconds", "1", "--warmup", "100ms"];
        let report = report(&[&args[..], &["--delivery", delivery, "--to", "others", "--json"]].concat());
        assert_eq!(report["delivery"], delivery);
        assert_eq!(report["duplicates"], 0, "{report}");
        assert_eq!(report["expected"].as_u64(), report["sent"].as_u64().map(|sent| sent * 2), "{report}");
        assert!(report["delivered"].as_u64().unwrap() > 0, "{report}");
    }
}

#[test]
fn a_bench_of_a_server_that_runs_already() {
    let folder = Folder::new();
    let key = folder.key();
    let mut server = Running::start(&["serve", "--listen", "127.0.0.1:0", "--key-file", &key]);
    let addr = server.addr();
    let pid = server.pid().to_string();
    let args = ["bench", "--server", &addr, "--key-file", &key, "--sessions", "1", "--members", "2"];
    let length = ["--seconds", "1", "--warmup", "100ms", "--json"];
    let unknown = report(&[&args[..], &length].concat());
    all_is_well(&unknown);
    assert!(unknown["server_cpu_us_per_delivery"].is_null() && unknown["server_rss_bytes"].is_null());
    let known = report(&[&args[..], &length, &["--server-pid", &pid]].concat());
    assert!(known["server_rss_bytes"].is_u64(), "{known}");
}

#[test]
fn a_bench_without_a_server_fails() {
    let folder = Folder::new();
    let key = folder.key();
    // Bound, so that no other process uses the port, and silent.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let args =
        ["bench", "--server", &addr, "--key-file", &key, "--sessions", "1", "--members", "2", "--json"];
    let (status, _, err) = texts(&run(&args));
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("no client got into a session"), "{err}");
}
