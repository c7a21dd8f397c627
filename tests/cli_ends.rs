//! How the subcommands end on signals, whether or not their output is read and their packets are answered.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cli_support;

use std::fs::File;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread::{sleep, spawn};
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::Instant;

use cli_support::{Folder, Running, texts};
use serde_json::Value;

/// Returns a running server and its address.
fn serve(key: &str) -> (Running, String) {
    let mut server =
        Running::start(&["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--key-file", key]);
    let addr = server.addr();
    (server, addr)
}

fn client(user: &str, key: &str, addr: &str) -> Running {
    let mut client =
        Running::start(&["client", "--user", user, "--key-file", key, "--server", addr, "--json"]);
    client.wait_for_json("connected", |said| said["result"] == "connected");
    client
}

/// Otherwise a lost goodbye would leave the member in its sessions until the idle timeout.
#[test]
fn a_client_waits_until_its_goodbye_is_answered() {
    let folder = Folder::new();
    let key = folder.key();
    let (server, addr) = serve(&key);
    let mut waiting = client("ann", &key, &addr);
    let mut hasty = client("ben", &key, &addr);
    server.signal("STOP");
    [&waiting, &hasty].iter().for_each(|client| client.signal("INT"));
    sleep(Duration::from_millis(500));
    assert!([&mut waiting, &mut hasty].iter_mut().all(|client| client.is_running()), "nobody has answered");
    hasty.signal("INT");
    assert!(hasty.wait_exit().success(), "a second signal ends it at once");
    server.signal("CONT");
    assert!(waiting.wait_exit().success());
}

/// A script must learn that none of its commands was executed.
#[test]
fn a_client_that_is_told_to_end_while_it_connects_fails() {
    let folder = Folder::new();
    let key = folder.key();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let mut client = Running::start(&["client", "--user", "ann", "--key-file", &key, "--server", &addr]);
    silent.recv(&mut [0; 1_500]).unwrap();
    client.signal("TERM");
    assert_eq!(client.wait_exit().code(), Some(1));
    client.wait_for_stderr("told to stop before the client was connected");
}

/// A script that counts answers must find one for each command, also for one whose outcome is unknown.
#[test]
fn a_command_under_way_is_answered_when_the_connection_ends() {
    let folder = Folder::new();
    let key = folder.key();
    let (mut server, addr) = serve(&key);
    let [mut ann, mut ben] = ["ann", "ben"].map(|user| client(user, &key, &addr));
    let begin = |client: &mut Running, line: &str| {
        // Written at once, so that the second one has been read when the first one is answered.
        client.say_bytes(format!("help\n{line}\n").as_bytes());
        client.wait_for_json("help", |said| said["result"] == "help");
    };
    let answer = |client: &mut Running| {
        let line = client.wait_for_json("an answer or the end", |said| said["event"] != "invited");
        assert_eq!(client.wait_for_json("the end", |_| true)["event"], "disconnected");
        line["error"].as_str().unwrap_or_default().to_owned()
    };
    begin(&mut ben, "wait 1h");
    server.signal("STOP");
    begin(&mut ann, "create 1 8");
    ann.signal("INT");
    assert_eq!(answer(&mut ann), "create");
    server.signal("CONT");
    server.signal("TERM");
    assert_eq!(answer(&mut ben), "wait");
    assert!(server.wait_exit().success());
}

#[test]
fn a_client_whose_output_nobody_reads_ends_when_it_is_told_to() {
    let folder = Folder::new();
    let key = folder.key();
    let (_server, addr) = serve(&key);
    let mut deaf = Running::start_unread(&["client", "--user", "ann", "--key-file", &key, "--server", &addr]);
    deaf.say("create 1 8 open");
    // Far more lines than fit into the pipe.
    (0..20).for_each(|_| deaf.say(&format!("say 1 {}", "x".repeat(4_000))));
    (0..3_000).for_each(|_| deaf.say("help"));
    deaf.end_input();
    sleep(Duration::from_millis(500));
    deaf.signal("TERM");
    assert!(deaf.wait_exit().success());
}

/// Like a log collector that hangs.
#[test]
fn a_server_whose_log_nobody_reads_serves_and_ends_when_it_is_told_to() {
    let folder = Folder::new();
    let key = folder.key();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    drop(socket);
    let args = ["serve", "--dev", "--listen", &addr, "--key-file", &key];
    let mut server = Running::start_with_full_log(&args);
    let mut ann = client("ann", &key, &addr);
    ann.say("create 1 8");
    ann.wait_for_json("a session", |said| said["result"] == "create");
    server.signal("TERM");
    ann.wait_for_json("the end", |said| said["event"] == "disconnected");
    assert!(server.wait_exit().success());
}

/// Like a key that a secret store has not handed over yet. Nobody else can end such a process in a container,
/// where the default action of a signal does not apply to the first process.
#[test]
fn a_key_file_that_nobody_writes_does_not_keep_a_process_alive() {
    let folder = Folder::new();
    let fifo = folder.file("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (args, status) in [
        (&["client", "--user", "ann", "--server", "127.0.0.1:7777"][..], 1),
        (&["bench", "--server", "127.0.0.1:7777"], 1),
        (&["serve", "--listen", "127.0.0.1:0"], 0),
    ] {
        let mut running = Running::start(&[args, &["--key-file", &fifo]].concat());
        // Opening it to write waits for someone who reads.
        let (path, (tell, opened)) = (fifo.clone(), channel());
        spawn(move || tell.send(File::options().write(true).open(path)));
        let _silent = opened.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        running.signal("TERM");
        assert_eq!(running.wait_exit().code(), Some(status), "{args:?}: {}", running.transcript());
    }
}

#[test]
fn a_bench_that_is_told_to_end_while_it_connects_reports() {
    let folder = Folder::new();
    let key = folder.key();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let args = ["bench", "--server", &addr, "--key-file", &key, "--sessions", "60", "--json"];
    let mut bench = Running::start(&args);
    silent.recv(&mut [0; 1_500]).unwrap();
    bench.signal("INT");
    let report = bench.wait_for_json("a report", |said| said["connect_failures"] == 480);
    assert_eq!((&report["delivered"], &report["latency_us"]["p50"]), (&0.into(), &Value::Null));
    assert_eq!(bench.wait_exit().code(), Some(1));
}

/// Otherwise a server that hangs would keep the bench for as long as it is given to end.
#[cfg(target_os = "linux")]
#[test]
fn a_bench_that_is_told_to_end_again_kills_its_server() {
    let folder = Folder::new();
    let traces = folder.file("traces");
    let args = ["bench", "--sessions", "1", "--members", "2", "--rate", "500", "--seconds", "3600"];
    let mut bench = Running::start(&[&args[..], &["--warmup", "0s", "--json", "--trace", &traces]].concat());
    // Far more than two clients trace while they connect and join.
    wait_until("the load", || bytes_in(&traces) > 256 << 10);
    let server = child_of(bench.pid()).unwrap();
    assert!(Command::new("sh").arg("-c").arg(format!("kill -STOP {server}")).status().unwrap().success());
    // One of these may already reach it while it stops its server.
    wait_until("the order to end", || {
        bench.signal("INT");
        let pending = status_of(server, "ShdPnd:").and_then(|bits| u64::from_str_radix(&bits, 16).ok());
        // SIGTERM is number 15.
        pending.is_none_or(|bits| bits & (1 << 14) != 0) || !bench.is_running()
    });
    if bench.is_running() {
        bench.signal("INT");
    }
    assert_eq!(bench.wait_exit().code(), Some(1));
    let said = bench.transcript();
    assert!(said.contains("\"sessions\":1") && said.contains("told to stop at once"), "{said}");
    wait_until("its end", || status_of(server, "State:").is_none_or(|state| state.starts_with('Z')));
}

/// Waits until `holds`.
#[cfg(target_os = "linux")]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come");
        sleep(Duration::from_millis(20));
    }
}

/// Returns the total length of the files in a folder, 0 if there is none.
#[cfg(target_os = "linux")]
fn bytes_in(folder: &str) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
}

/// Returns a line of what Linux says of a process, if there is one.
#[cfg(target_os = "linux")]
fn status_of(pid: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

#[cfg(target_os = "linux")]
fn child_of(parent: u32) -> Option<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut pids = processes.filter_map(|name| name.parse::<u32>().ok());
    pids.find(|pid| status_of(*pid, "PPid:") == Some(parent.to_string()))
}

/// A figure that cannot be known is reported as null.
#[test]
fn a_bench_whose_server_ends_goes_on_for_nobody() {
    let folder = Folder::new();
    let key = folder.key();
    let (server, addr) = serve(&key);
    let args = ["bench", "--server", &addr, "--key-file", &key, "--sessions", "1", "--members", "2"];
    let mut bench = Running::start(&[&args[..], &["--warmup", "0s", "--seconds", "3600", "--json"]].concat());
    sleep(Duration::from_secs(3));
    server.signal("TERM");
    let report = bench.wait_for_json("a report", |said| said["timeouts"].is_u64());
    assert!(
        report["udp_bytes_both_ways_per_delivery"].is_f64(),
        "known by the clients, also after their end: {report}"
    );
    assert_eq!(bench.wait_exit().code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_whose_output_is_lost_fails() {
    let folder = Folder::new();
    let key = folder.key();
    let (_server, addr) = serve(&key);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let command = &mut Command::new(env!("CARGO_BIN_EXE_rallypoint"));
    command.args(["client", "--user", "ann", "--key-file", &key, "--server", &addr]);
    let output = command.stdin(std::process::Stdio::null()).stdout(full).output().unwrap();
    let (status, _, err) = texts(&output);
    assert!(status == Some(1) && err.contains("writing to standard output"), "{err}");
}

#[test]
fn a_line_without_end_and_a_file_without_end_are_refused() {
    let folder = Folder::new();
    let key = folder.key();
    let (_server, addr) = serve(&key);
    let mut ann = client("ann", &key, &addr);
    ann.say_bytes(&[b'x'; (1 << 20) + 1]);
    assert_eq!(ann.wait_exit().code(), Some(1));
    assert!(ann.transcript().contains("longer than 1 MiB"), "{}", ann.transcript());
    for flag in ["--key-file", "--config"] {
        let (status, _, err) = texts(&cli_support::run(&["serve", "--dev", flag, "/dev/zero"]));
        assert!(matches!(status, Some(1 | 2)) && err.contains("longer than 1 MiB"), "{err}");
    }
}
