//! The report as a table for people, made from its JSON.

use std::fmt::Write;

use serde_json::Value;

/// A column: its heading, its figure and the number of decimals.
type Column = (&'static str, &'static str, usize);

/// For workloads at a rate.
const PACED: &[Column] = &[
    ("server us/dlv", "server_cpu_us_per_delivery", 2),
    ("load us/dlv", "load_cpu_us_per_delivery", 2),
    ("ratio", "ratio", 5),
    ("p50 us", "p50_us", 0),
    ("p99 us", "p99_us", 0),
    ("p99.9 us", "p999_us", 0),
    ("max us", "max_us", 0),
    ("B/dlv", "bytes_per_delivery", 1),
    ("dgram/dlv", "datagrams_per_delivery", 2),
    ("RSS MiB", "server_rss_mib", 1),
];
const SATURATION: &[Column] = &[
    ("deliveries/s", "deliveries_per_s", 0),
    ("sessions", "sessions", 0),
    ("p99 us", "p99_us", 0),
    ("p99 us at half", "p99_at_half_us", 0),
    ("server us/dlv", "server_cpu_us_per_delivery", 2),
    ("server core", "server_cpu_share", 2),
    ("load core", "load_cpu_share", 2),
    ("dlv/s full core", "deliveries_per_full_core", 0),
];
const ECHO: &[Column] = &[
    ("p50 us", "p50_us", 1),
    ("p99 us", "p99_us", 1),
    ("p99.9 us", "p999_us", 1),
    ("server us/trip", "server_cpu_us_per_delivery", 2),
    ("load us/trip", "load_cpu_us_per_delivery", 2),
    ("B/trip", "bytes_per_delivery", 1),
    ("dgram/trip", "datagrams_per_delivery", 2),
];
const BULK: &[Column] = &[
    ("MB/s", "mb_per_s", 1),
    ("server us/dlv", "server_cpu_us_per_delivery", 2),
    ("server core", "server_cpu_share", 2),
    ("load core", "load_cpu_share", 2),
    ("p99 us", "p99_us", 0),
    ("B/dlv", "bytes_per_delivery", 1),
    ("lost", "lost", 0),
];
const IDLE: &[Column] = &[
    ("RSS KiB/conn", "rss_per_connection_kib", 1),
    ("server CPU ms/s", "server_cpu_ms_per_s", 2),
    ("RSS MiB", "server_rss_mib", 1),
];

/// Returns the table of a report's JSON: the medians, one block per workload, the first column also as a
/// multiple of Rallypoint's.
pub fn table(report: &Value) -> String {
    let mut text = String::new();
    let results = report.get("results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut workloads: Vec<&str> = Vec::new();
    for name in results.iter().filter_map(|row| row.get("workload").and_then(Value::as_str)) {
        if !workloads.contains(&name) {
            workloads.push(name);
        }
    }
    for workload in workloads {
        let rows = results.iter().filter(|row| row.get("workload").and_then(Value::as_str) == Some(workload));
        block(&mut text, workload, &rows.collect::<Vec<_>>());
    }
    text
}

fn columns(workload: &str) -> &'static [Column] {
    match workload.split_once('-').map_or(workload, |(name, _)| name) {
        "saturation" | "workers" => SATURATION,
        "echo" => ECHO,
        "bulk" => BULK,
        "idle" => IDLE,
        _ => PACED,
    }
}

fn block(text: &mut String, workload: &str, rows: &[&Value]) {
    let columns = columns(workload);
    // Writing to a string cannot fail.
    let _ = write!(text, "{workload:<16}");
    for (index, (heading, ..)) in columns.iter().enumerate() {
        let _ = write!(text, " {heading:>14}");
        if index == 0 {
            let _ = write!(text, " {:>7}", "x rally");
        }
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "  {:<14}", row.get("peer").and_then(Value::as_str).unwrap_or("?"));
        let figure = |of: &str, name: &str| row.get(of)?.get(name)?.as_f64();
        let failures = row.get("failed").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let has_figures = row.get("median").and_then(Value::as_object).is_some_and(|it| !it.is_empty());
        if has_figures {
            for (index, (_, name, decimals)) in columns.iter().enumerate() {
                let _ = write!(text, " {:>14}", cell(figure("median", name), *decimals));
                if index == 0 {
                    let _ = write!(text, " {:>7}", cell(figure("to_rallypoint", name), 2));
                }
            }
        }
        if let Some(why) = failures.first().and_then(Value::as_str) {
            let _ = write!(text, " FAILED {}x: {why}", failures.len());
        }
        text.push('\n');
    }
    text.push('\n');
}

fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
