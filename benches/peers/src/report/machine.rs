//! The machine on which a run was made.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// Describes the machine: cores, kernel, processor.
pub fn describe() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("", |(_, model)| model.trim());
    json!({ "cores": cores, "kernel": kernel.trim(), "cpu": model })
}

/// Returns the commit of the binary's sources, or an empty string if git does not report it.
pub fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let told =
        Command::new("git").args(["-C", folder, "describe", "--always", "--dirty", "--abbrev=12"]).output();
    let told = told.ok().filter(|told| told.status.success());
    told.map_or_else(String::new, |told| String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

/// Returns the system's load average.
pub fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
