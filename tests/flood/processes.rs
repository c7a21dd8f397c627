//! The binary's processes, each ended when its handle is dropped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

/// A temporary folder of one test, with a token key in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let folder = Self(folder);
        let made = command(["keygen", "--out"]).arg(folder.key_file()).status().unwrap();
        assert!(made.success());
        folder
    }

    pub fn key_file(&self) -> PathBuf {
        self.0.join("token.key")
    }

    pub fn key(&self) -> String {
        std::fs::read_to_string(self.key_file()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `serve`.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Option<JoinHandle<String>>,
}

impl Server {
    pub fn start(folder: &Folder) -> Self {
        let mut child = command(["serve", "--listen", "127.0.0.1:0", "--key-file"])
            .arg(folder.key_file())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect(&line).parse().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, address, log: Some(log) }
    }

    /// Returns the resident memory.
    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
    }

    /// Asks the server to end, and returns the counters in its log.
    pub fn stop(mut self) -> BTreeMap<String, u64> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        let log = self.log.take().unwrap().join().unwrap();
        let counted = log.lines().filter_map(|line| line.rsplit_once(" count="));
        let name = |text: &str| text.rsplit_once(": ").map_or(text, |(_, name)| name).to_owned();
        counted.map(|(text, count)| (name(text), count.parse().unwrap())).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A process that runs beside the test.
pub struct Running(Child);

impl Running {
    /// Waits for the process, and returns the JSON that it prints at its end.
    pub fn wait(mut self) -> Value {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(self.0.wait().unwrap().success(), "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Starts `bench` with 8 sessions of 8 members at 30 Hz.
pub fn bench(folder: &Folder, server: SocketAddr, seconds: u64) -> Running {
    let child = command(["bench", "--json", "--warmup", "1s", "--seconds", &seconds.to_string(), "--server"])
        .arg(server.to_string())
        .arg("--key-file")
        .arg(folder.key_file())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

/// Starts `client`, which creates a session and stays in it.
pub fn client_through(folder: &Folder, relay: SocketAddr) -> Running {
    let mut child =
        command(["client", "--json", "--user", "alice", "--server", &relay.to_string(), "--key-file"])
            .arg(folder.key_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    let commands = "create 1 8\nsay 1 a\nwait 50ms\nsay 1 b\nwait 50ms\nsay 1 c\nwait 600s\n";
    child.stdin.as_mut().unwrap().write_all(commands.as_bytes()).unwrap();
    Running(child)
}

fn command<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rallypoint"));
    command.args(arguments);
    command
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
