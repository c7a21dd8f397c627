//! Shared by the tests of the binary: a running process whose output lines can be awaited with a deadline,
//! and which is killed when the test ends for any reason.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far longer than any step takes; only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rallypoint"));
    command.env_remove("RALLYPOINT_LOG");
    command
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    run_with(&[], args)
}

/// Runs the binary to its end, with these environment variables.
pub fn run_with(variables: &[(&str, &str)], args: &[&str]) -> Output {
    binary().envs(variables.iter().copied()).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Returns the exit status, standard output and standard error of a finished process.
pub fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A process of the binary, killed when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
    /// Standard output that is kept open but not read.
    unread: Option<ChildStdout>,
    /// Every line that was read, for the message of a failing test.
    seen: Vec<String>,
}

impl Running {
    /// Starts the binary.
    pub fn start(args: &[&str]) -> Self {
        Self::start_logging_to(Stdio::piped(), args)
    }

    /// Starts the binary with `logs` as its standard error.
    pub fn start_logging_to(logs: Stdio, args: &[&str]) -> Self {
        let command = &mut binary();
        let mut child =
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(logs).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = child.stderr.take().map_or_else(|| channel().1, lines);
        let stdin = child.stdin.take();
        Self { child, stdin, out, err, unread: None, seen: Vec::new() }
    }

    /// Starts the binary with standard output and error in one pipe, which is not read and holds about 64
    /// KiB.
    #[cfg(unix)]
    pub fn start_unread(args: &[&str]) -> Self {
        let command = &mut Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1", env!("CARGO_BIN_EXE_rallypoint")]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, unread) = (child.stdin.take(), child.stdout.take());
        Self { child, stdin, out: channel().1, err: channel().1, unread, seen: Vec::new() }
    }

    /// Starts the binary with standard error in a pipe that is not read and full.
    #[cfg(unix)]
    pub fn start_with_full_log(args: &[&str]) -> Self {
        let command = &mut Command::new("sh");
        // `yes` fills the pipe, waits, and ends with its reader.
        let filled = "yes & exec \"$0\" \"$@\" 2>&1 >/dev/null";
        command.args(["-c", filled, env!("CARGO_BIN_EXE_rallypoint")]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, unread) = (child.stdin.take(), child.stdout.take());
        Self { child, stdin, out: channel().1, err: channel().1, unread, seen: Vec::new() }
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        self.seen.push(format!("> {line}"));
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Writes bytes to its standard input.
    pub fn say_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Closes its standard input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for the next line of standard output that contains `text`; earlier lines are skipped.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_until(text, |line| line.contains(text))
    }

    /// Returns the address that the server reports to listen on.
    pub fn addr(&mut self) -> String {
        self.wait_for("listening on ").strip_prefix("listening on ").unwrap().to_owned()
    }

    /// Waits for the next line of standard error that contains `text`.
    pub fn wait_for_stderr(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.err.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(format!("stderr: {line}"));
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("`{text}` does not come ({error}):\n{}", self.transcript()),
            }
        }
    }

    /// Waits for the next line of standard output that is JSON and for which `wanted` holds.
    pub fn wait_for_json(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let json = |line: &str| serde_json::from_str::<Value>(line).ok();
        let line = self.wait_until(what, |line| json(line).is_some_and(|value| wanted(&value)));
        json(&line).unwrap()
    }

    fn wait_until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.out.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("`{what}` does not come ({error}):\n{}", self.transcript()),
            }
        }
    }

    /// Sends the signal `name` to the process.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status().unwrap();
        assert!(sent.success());
    }

    /// Returns true while the process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the process has ended.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.transcript());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns all lines that the process has written or received.
    pub fn transcript(&mut self) -> String {
        self.seen.extend(self.out.try_iter());
        let err: Vec<String> = self.err.try_iter().map(|line| format!("stderr: {line}")).collect();
        self.seen.extend(err);
        self.seen.join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a separate thread, so that waiting for one can have a deadline.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A temporary folder of one test, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Creates a new, empty folder.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rallypoint-test-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Returns the path of a file in the folder, as text for a command line.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates a new token key in the folder and returns its path.
    pub fn key(&self) -> String {
        let path = self.file("key");
        let (status, _, err) = texts(&run(&["keygen", "--out", &path]));
        assert_eq!(status, Some(0), "{err}");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
