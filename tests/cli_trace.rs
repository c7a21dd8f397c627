//! `--trace`: the events of each connection, as lines of JSON.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cli_support;

use cli_support::{Folder, run, texts};
use serde_json::Value;

/// Checks the header of one file, and returns its events.
fn events(text: &str, side: &str) -> Vec<Value> {
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let header = lines.next().unwrap();
    assert_eq!(
        (&header["qlog_format"], &header["trace"]["vantage_point"]["type"]),
        (&"NDJSON".into(), &side.into())
    );
    lines.collect()
}

fn of<'a>(events: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["name"] == name)
}

#[test]
fn a_bench_traces_both_sides_of_every_connection() {
    let folder = Folder::new();
    let traces = folder.file("traces");
    let args = ["bench", "--sessions", "1", "--members", "3", "--seconds", "2", "--warmup", "200ms"];
    let args = [&args[..], &["--loss", "20%", "--delay", "10ms", "--json", "--trace", &traces]].concat();
    let (status, out, err) = texts(&run(&args));
    assert_eq!(status, Some(0), "{out}\n{err}");

    let (mut lost, mut files) = (0, [0, 0]);
    for entry in std::fs::read_dir(&traces).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let side = if name.starts_with("client-") { "client" } else { "server" };
        files[usize::from(side == "server")] += 1;
        let events = events(&std::fs::read_to_string(&path).unwrap(), side);
        assert_eq!(events[0]["name"], "transport:connection_started", "{name}");
        assert_eq!(of(&events, "transport:connection_closed").count(), 1, "{name}");
        assert!(events.is_sorted_by_key(|event| event["time"].as_f64().unwrap()), "{name}");
        let number = |event: &Value| event["data"]["header"]["packet_number"].as_u64().unwrap();
        let sent: Vec<u64> = of(&events, "transport:packet_sent").map(number).collect();
        assert!(sent.len() > 1 && sent.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {sent:?}");
        for loss in of(&events, "recovery:packet_lost") {
            assert!(sent.binary_search(&number(loss)).is_ok(), "{name}: {loss}");
            lost += 1;
        }
        assert!(of(&events, "recovery:metrics_updated").count() > 0, "{name}");
    }
    assert_eq!(files, [3, 3]);
    assert!(lost > 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_a_failure() {
    let folder = Folder::new();
    let key = folder.key();
    let args = ["serve", "--listen", "127.0.0.1:0", "--key-file", &key, "--trace", &key];
    let (status, _, err) = texts(&run(&args));
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("making "), "{err}");
}
