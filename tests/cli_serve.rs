//! `serve`, `token` and `client` as communicating processes, as a user would run them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cli_support;

use cli_support::{Folder, Running, run, texts};
use serde_json::Value;

/// A running server and what clients need to reach it.
struct Service {
    server: Running,
    addr: String,
    key: String,
    folder: Folder,
}

impl Service {
    fn start(flags: &[&str]) -> Self {
        let folder = Folder::new();
        let key = folder.key();
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--workers", "2", "--key-file", &key];
        args.extend(flags);
        let mut server = Running::start(&args);
        let addr = server.addr();
        Self { server, addr, key, folder }
    }

    /// Returns a connected client of `user` with JSON output.
    fn client(&self, user: &str) -> Running {
        let args = ["client", "--user", user, "--key-file", &self.key, "--server", &self.addr, "--json"];
        let mut client = Running::start(&args);
        client.wait_for_json("connected", |said| said["result"] == "connected");
        client
    }

    /// Returns alice and bob in one session, both at their slot 1, and its id.
    fn meeting(&self) -> (Running, Running, String) {
        let (mut alice, mut bob) = (self.client("alice"), self.client("bob"));
        let session = create(&mut alice, 8);
        admit(&mut alice, &mut bob, "bob", &session);
        (alice, bob, session)
    }
}

/// Creates a session and returns its id.
fn create(owner: &mut Running, max: u32) -> String {
    owner.say(&format!("create 7 {max}"));
    let created = result(owner, "create");
    assert_eq!((&created["slot"], &created["member"]), (&Value::from(1), &Value::from(1)));
    created["session"].as_str().unwrap().to_owned()
}

/// Invites `user`, whose client accepts.
fn admit(owner: &mut Running, invited: &mut Running, user: &str, session: &str) {
    owner.say(&format!("invite {session} {user} 60s"));
    let invite = event(invited, "invited")["invite"].as_str().unwrap().to_owned();
    invited.say(&format!("accept {invite}"));
    assert_eq!(result(invited, "accept")["slot"], 1);
    event(owner, "member_joined");
}

fn result(client: &mut Running, command: &str) -> Value {
    client.wait_for_json(command, |said| said["result"] == command)
}

fn event(client: &mut Running, name: &str) -> Value {
    client.wait_for_json(name, |said| said["event"] == name)
}

/// Enters a line that must be refused, and returns the error code.
fn refusal(client: &mut Running, line: &str) -> Value {
    client.say(line);
    let command = line.split(' ').next().unwrap();
    client.wait_for_json(line, |said| said["error"] == command)["code"].clone()
}

/// Tokens must contain the server's name, whatever its address is.
#[test]
fn a_server_with_a_name_is_reached_by_it() {
    let folder = Folder::new();
    let config = folder.file("named.toml");
    std::fs::write(&config, "names = [\"eu-1.example\"]\n").unwrap();
    let service = Service::start(&["--config", &config]);
    let reach = |command: &[&'static str], name: &[&'static str]| {
        let place = ["--key-file", service.key.as_str(), "--server", service.addr.as_str()];
        run(&[command, name, &place].concat())
    };
    let bench = ["bench", "--sessions", "1", "--members", "2", "--seconds", "1", "--warmup", "100ms"];
    let name = ["--name", "eu-1.example"];
    for command in [&bench[..], &["client", "--user", "ann"]] {
        let (status, _, err) = texts(&reach(command, &name));
        assert_eq!(status, Some(0), "{err}");
    }
    let (status, _, err) = texts(&reach(&["client", "--user", "ann"], &[]));
    assert!(status == Some(1) && err.contains("another server"), "{err}");
}

#[test]
fn two_clients_meet_and_talk() {
    let service = Service::start(&[]);
    let (mut alice, mut bob, _) = service.meeting();

    alice.say("say 1 hello, everyone");
    for client in [&mut alice, &mut bob] {
        let message = event(client, "message");
        assert_eq!((&message["text"], &message["sender"]), (&"hello, everyone".into(), &1.into()));
        assert_eq!(message["delivery"], "ordered");
    }
    bob.say("tell 1 1 psst");
    assert_eq!(event(&mut alice, "message")["text"], "psst");

    bob.say("set 1 score 40");
    assert_eq!(result(&mut bob, "set")["revision"], 1);
    alice.say("incr 1 score 2");
    let changes = bob.wait_for_json("42", |said| {
        said["event"] == "properties_changed" && said["changes"][0]["value"] == 42
    });
    assert_eq!(changes["revision"], 2);

    alice.say("members 1");
    let members = result(&mut alice, "members");
    assert_eq!(members["members"].as_array().unwrap().len(), 2);

    alice.say("transfer 1 2");
    assert_eq!(event(&mut bob, "owner_changed")["owner"], 2);
    alice.say("leave 1");
    assert_eq!(event(&mut bob, "member_left")["why"], "left");
    bob.say("delete 1");
    assert_eq!(event(&mut bob, "session_deleted")["why"], "deleted");

    for mut client in [alice, bob] {
        client.say("quit");
        assert!(client.wait_exit().success(), "{}", client.transcript());
    }
}

#[test]
fn what_a_user_may_not_do_is_refused_by_name_and_changes_nothing() {
    let service = Service::start(&[]);
    let (mut alice, mut bob, session) = service.meeting();
    let mut carol = service.client("carol");

    for line in ["kick 1 1", "transfer 1 2", "delete 1", &format!("invite {session} carol 60s")] {
        assert_eq!(refusal(&mut bob, line), "not_owner", "{line}");
    }
    assert_eq!(refusal(&mut alice, "kick 1 9"), "no_such_member");
    assert_eq!(refusal(&mut alice, "incr 1 nothing 1"), "no_such_property");
    assert_eq!(refusal(&mut alice, "leave 5"), "not_a_member");
    assert_eq!(refusal(&mut carol, "accept 1-1"), "no_such_session");
    assert_eq!(refusal(&mut carol, &format!("accept {session}-99")), "no_such_invite");
    assert_eq!(refusal(&mut carol, &format!("accept {session}-1")), "not_your_invite");
    assert_eq!(refusal(&mut bob, &format!("accept {session}-1")), "invite_used");
    alice.say("dance");
    assert!(alice.wait_for("dance").contains("no such command"));

    alice.say(&format!("invite {session} carol 60s"));
    let invite = event(&mut carol, "invited")["invite"].as_str().unwrap().to_owned();
    alice.say(&format!("revoke {invite}"));
    assert_eq!(event(&mut carol, "invite_revoked")["invite"], invite.as_str());
    assert_eq!(refusal(&mut carol, &format!("accept {invite}")), "invite_revoked");

    alice.say(&format!("invite {session} carol 1s"));
    let expired = event(&mut carol, "invite_expired")["invite"].as_str().unwrap().to_owned();
    assert_eq!(refusal(&mut carol, &format!("accept {expired}")), "invite_expired");

    alice.say(&format!("invite {session} carol 60s"));
    let invite = event(&mut carol, "invited")["invite"].as_str().unwrap().to_owned();
    carol.say(&format!("decline {invite}"));
    assert_eq!(event(&mut alice, "invite_declined")["user"], "carol");

    alice.say("members 1");
    assert_eq!(result(&mut alice, "members")["members"].as_array().unwrap().len(), 2);
}

#[test]
fn a_full_session_refuses_and_a_kick_makes_room() {
    let service = Service::start(&[]);
    let (mut alice, mut bob, mut carol) =
        (service.client("alice"), service.client("bob"), service.client("carol"));
    let session = create(&mut alice, 2);
    admit(&mut alice, &mut bob, "bob", &session);
    alice.say(&format!("invite {session} carol 60s"));
    let invite = event(&mut carol, "invited")["invite"].as_str().unwrap().to_owned();
    assert_eq!(refusal(&mut carol, &format!("accept {invite}")), "session_full");

    alice.say("kick 1 2");
    assert_eq!(event(&mut bob, "member_left")["why"], "kicked");
    assert_eq!(refusal(&mut bob, "say 1 still here?"), "not_a_member", "the client itself knows");
    carol.say(&format!("accept {invite}"));
    assert_eq!(result(&mut carol, "accept")["slot"], 1);
}

#[test]
fn an_invite_waits_for_its_user_and_a_second_connection_replaces_the_first() {
    let service = Service::start(&[]);
    let mut alice = service.client("alice");
    let session = create(&mut alice, 8);
    alice.say(&format!("invite {session} bob 60s"));
    result(&mut alice, "invite");

    let mut bob = service.client("bob");
    let invite = event(&mut bob, "invited")["invite"].as_str().unwrap().to_owned();
    bob.say("invites");
    assert_eq!(result(&mut bob, "invites")["count"], 1);
    bob.say(&format!("accept {invite}"));
    result(&mut bob, "accept");

    let _again = service.client("bob");
    let end = event(&mut bob, "disconnected");
    assert!(end["why"].as_str().unwrap().contains("another connection"), "{end}");
    assert_eq!((&end["code"], &end["may_reconnect"]), (&"replaced".into(), &false.into()));
    assert_eq!(bob.wait_exit().code(), Some(1), "{}", bob.transcript());
    assert_eq!(event(&mut alice, "member_left")["why"], "replaced");
}

#[test]
fn a_grant_connects_once() {
    let service = Service::start(&[]);
    let args = ["token", "--user", "dave", "--key-file", &service.key, "--server", &service.addr];
    let (status, grant, err) = texts(&run(&args));
    assert_eq!(status, Some(0), "{err}");
    let file = service.folder.file("grant");
    std::fs::write(&file, grant).unwrap();

    let mut first = Running::start(&["client", "--grant", &file]);
    first.wait_for("result connected");
    first.end_input();
    assert!(first.wait_exit().success(), "{}", first.transcript());

    let (status, _, err) = texts(&run(&["client", "--grant", &file]));
    assert_eq!(status, Some(1));
    assert!(err.contains("used already"), "{err}");
}

#[test]
fn a_terminated_server_tells_everyone_and_ends_well() {
    let mut service = Service::start(&[]);
    let (mut alice, mut bob, _) = service.meeting();
    service.server.signal("TERM");
    for client in [&mut alice, &mut bob] {
        let end = event(client, "disconnected");
        assert!(end["why"].as_str().unwrap().contains("shutting down"), "{end}");
        assert_eq!((&end["code"], &end["may_reconnect"]), (&"shutting_down".into(), &true.into()));
        assert_eq!(client.wait_exit().code(), Some(1));
    }
    assert_eq!(service.server.wait_exit().code(), Some(0), "{}", service.server.transcript());
}

#[test]
fn a_second_signal_ends_a_draining_server_at_once() {
    let mut service = Service::start(&["--drain-timeout", "1min"]);
    let mut alice = service.client("alice");
    create(&mut alice, 2);
    // A stopped client acknowledges nothing, so the drain would take the full minute.
    alice.signal("STOP");
    service.server.signal("TERM");
    service.server.wait_for_stderr("told to stop");
    service.server.signal("INT");
    assert_eq!(service.server.wait_exit().code(), Some(1), "{}", service.server.transcript());
}

/// As on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_logged_ends_nothing() {
    let folder = Folder::new();
    let key = folder.file("dev.key");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let args = ["serve", "--dev", "--listen", "127.0.0.1:0", "--key-file", &key];
    let mut server = Running::start_logging_to(full.into(), &args);
    let addr = server.addr();
    let mut client = Running::start(&["client", "--user", "eve", "--key-file", &key, "--server", &addr]);
    client.wait_for("result connected");
    client.end_input();
    assert!(client.wait_exit().success());
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.transcript());
}

/// A worker's failure to start is reported before the server reports that it is ready.
#[cfg(target_os = "linux")]
#[test]
fn a_server_whose_workers_do_not_start_is_not_ready() {
    let folder = Folder::new();
    let key = folder.key();
    let limited = format!(
        "ulimit -n 16; exec {} serve --listen 127.0.0.1:0 --workers 8 --key-file {key}",
        env!("CARGO_BIN_EXE_rallypoint")
    );
    let output = std::process::Command::new("sh").arg("-c").arg(limited).output().unwrap();
    let (status, said, told) = texts(&output);
    assert_eq!((status, said.as_str()), (Some(1), ""), "{told}");
    assert!(told.contains("error: starting the server"), "{told}");
}

/// A user id may be any text.
#[test]
fn no_users_id_forges_a_line_of_the_log() {
    let folder = Folder::new();
    let key = folder.file("dev.key");
    let args = ["serve", "--dev", "--listen", "127.0.0.1:0", "--key-file", &key];
    let mut server = Running::start(&args);
    let addr = server.addr();
    let user = "eve\n2026-01-01T00:00:00Z  INFO all is well \u{1b}[31m";
    let mut client = Running::start(&["client", "--user", user, "--key-file", &key, "--server", &addr]);
    client.wait_for("result connected");
    client.end_input();
    for what in [" connected", "disconnected"] {
        let line = server.wait_for_stderr(what);
        assert!(line.contains("user=\"eve\\n2026") && !line.contains('\u{1b}'), "{line}");
    }
}

/// A client's input may be anything, and its terminal may be closed.
#[cfg(unix)]
#[test]
fn a_client_says_goodbye_however_it_ends() {
    let service = Service::start(&[]);
    let (mut alice, mut bob, _) = service.meeting();
    bob.say_bytes(b"say 1 \xff\n");
    let error = bob.wait_for_json("an error", |said| said["error"] == "?");
    assert!(error["text"].as_str().unwrap().contains("UTF-8"), "{error}");
    bob.say("\u{1b}[31mdance 1");
    bob.wait_for_json("an error", |said| said["error"] == "?");
    bob.signal("HUP");
    let left = event(&mut alice, "member_left");
    assert_eq!((&left["user"], &left["why"]), (&"bob".into(), &"left".into()));
    assert!(bob.wait_exit().success());
}

/// A user who pipes lines in need not wait: all messages arrive before the goodbye.
#[test]
fn what_a_client_says_last_arrives() {
    let service = Service::start(&[]);
    let (mut alice, mut bob, _) = service.meeting();
    (0..50).for_each(|n| alice.say(&format!("say 1 {n}")));
    alice.say(&format!("say 1 {}", "x".repeat(60_000)));
    alice.end_input();
    for n in 0..50 {
        assert_eq!(event(&mut bob, "message")["text"], n.to_string());
    }
    event(&mut bob, "message");
    event(&mut bob, "member_left");
    assert!(alice.wait_exit().success());
}

/// More than the budgets allow: each message is passed on or refused by name, also the last ones.
#[test]
fn a_client_knows_the_fate_of_all_that_it_has_said() {
    let folder = Folder::new();
    let config = folder.file("rallypoint.toml");
    std::fs::write(&config, "[limits]\ncommands_per_second = 50").unwrap();
    let service = Service::start(&["--config", &config]);
    let mut alice = service.client("alice");
    create(&mut alice, 2);
    let said = 500;
    (0..said).for_each(|n| alice.say(&format!("say 1 {n}")));
    alice.end_input();
    let mut refused = 0;
    for _ in 0..said {
        let fate = alice.wait_for_json("the fate", |it| it["event"] == "message" || it["event"] == "refused");
        refused += u32::from(fate["event"] == "refused");
    }
    assert!(refused > 0, "the budget was not reached");
    assert!(alice.wait_exit().success());
}

#[test]
fn a_killed_clients_seat_is_free_after_the_idle_timeout() {
    let service = Service::start(&["--idle-timeout", "1s"]);
    let mut alice = service.client("alice");
    let session = create(&mut alice, 2);
    let (mut bob, mut carol) = (service.client("bob"), service.client("carol"));
    admit(&mut alice, &mut bob, "bob", &session);

    bob.signal("KILL");
    bob.wait_exit();
    let left = event(&mut alice, "member_left");
    assert_eq!((&left["member"], &left["why"]), (&2.into(), &"timed_out".into()));
    admit(&mut alice, &mut carol, "carol", &session);
}

#[test]
fn a_server_for_development_makes_its_key() {
    let folder = Folder::new();
    let key = folder.file("dev.key");
    let mut server = Running::start(&["serve", "--dev", "--listen", "127.0.0.1:0", "--key-file", &key]);
    let addr = server.addr();
    let args = ["client", "--user", "eve", "--key-file", &key, "--server", &addr];
    let mut client = Running::start(&args);
    client.wait_for("result connected");
}

#[test]
fn a_server_of_another_game_is_reached_by_its_id() {
    let service = Service::start(&["--protocol-id", "7"]);
    let args = ["client", "--user", "ann", "--key-file", &service.key, "--server", &service.addr, "--json"];
    let mut client = Running::start(&[&args[..], &["--protocol-id", "0x0_7"]].concat());
    client.wait_for_json("connected", |said| said["result"] == "connected");
}

#[test]
fn metrics_are_in_a_file_from_the_beginning_to_the_end() {
    let folder = Folder::new();
    let file = folder.file("rallypoint.prom");
    std::fs::write(&file, "of an earlier run").unwrap();
    let mut service = Service::start(&["--metrics", &file]);
    let connections = || {
        let text = std::fs::read_to_string(&file).unwrap();
        let sample = |name| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        [sample("rallypoint_connections "), sample("rallypoint_connections_opened_total ")]
    };
    assert_eq!(connections(), [Some(0), Some(0)]);
    let _alice = service.client("alice");
    let is_told = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        connections() == [Some(1), Some(1)]
    });
    assert!(is_told, "{:?}", connections());
    service.server.signal("TERM");
    assert_eq!(service.server.wait_exit().code(), Some(0), "{}", service.server.transcript());
    assert_eq!(connections(), [Some(0), Some(1)]);
    let nowhere = folder.file("no/such/folder");
    let refused =
        run(&["serve", "--listen", "127.0.0.1:0", "--key-file", &service.key, "--metrics", &nowhere]);
    let (status, out, err) = texts(&refused);
    assert!(status == Some(1) && out.is_empty() && err.contains("metrics"), "{out}{err}");
}

/// A full disk must not keep a server from starting again, and a device must not become a file.
#[cfg(unix)]
#[test]
fn metrics_replace_no_special_file_and_leave_no_draft() {
    let folder = Folder::new();
    let (key, fifo, file) = (folder.key(), folder.file("fifo"), folder.file("prom"));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let args = ["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--key-file", &key, "--metrics"];
    let mut refused = Running::start(&[&args[..], &[&fifo]].concat());
    refused.wait_for_stderr("no regular file");
    assert_eq!(refused.wait_exit().code(), Some(2));
    // No file may have a byte, which is not what a full disk says.
    let limited = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_rallypoint")]).args(args).arg(&file);
    let (status, _, err) = texts(&command.output().unwrap());
    assert!(status == Some(1) && err.contains("writing the metrics"), "{err}");
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["fifo", "key"]);
}

/// The way an operator changes keys without interruption: the new key beside the old one, then the new key
/// alone.
#[cfg(unix)]
#[test]
fn keys_are_changed_while_the_server_runs() {
    let folder = Folder::new();
    let (old, current, config) = (folder.key(), folder.file("current.key"), folder.file("rallypoint.toml"));
    let keygen = |path: &str| assert_eq!(texts(&run(&["keygen", "--out", path])).0, Some(0));
    let configure = |text: String| std::fs::write(&config, text).unwrap();
    configure(format!("listen = \"127.0.0.1:0\"\nkey_file = {old:?}"));
    let mut server = Running::start(&["serve", "--config", &config]);
    let addr = server.addr();
    let args = |key| ["client", "--user", "eve", "--key-file", key, "--server", &addr];
    let connect = |key| {
        let mut client = Running::start(&args(key));
        client.wait_for("result connected");
        client
    };
    let mut first = connect(&old);

    keygen(&current);
    configure(format!("key_file = {current:?}\nprevious_key_file = {old:?}"));
    server.signal("HUP");
    server.wait_for_stderr("keys are read again");
    connect(&current);
    first.wait_for_stderr("another connection");
    let mut second = connect(&old);

    configure(format!("key_file = {current:?}"));
    server.signal("HUP");
    server.wait_for_stderr("keys are read again");
    assert_eq!(texts(&run(&args(&old))).0, Some(1), "the old key is no longer taken");
    second.say("invites");
    second.wait_for("result invites");

    configure(format!("key_file = {current:?}\nprevious_key_file = {current:?}"));
    server.signal("HUP");
    server.wait_for_stderr("the previous key is the current one");

    let fifo = folder.file("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    configure(format!("key_file = {fifo:?}"));
    server.signal("HUP");
    // Opens once the server has begun to read, and writes nothing.
    let (tell, opened) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(std::fs::OpenOptions::new().write(true).open(fifo)));
    let _pipe = opened.recv_timeout(std::time::Duration::from_secs(60)).unwrap().unwrap();
    configure(format!("key_file = {current:?}"));
    std::fs::write(&current, "no key").unwrap();
    server.signal("HUP");
    server.wait_for_stderr("keys stay as they are");
    std::fs::remove_file(&current).unwrap();
    configure("key_file = 7".to_owned());
    server.signal("HUP");
    server.wait_for_stderr("keys stay as they are");
    second.say("invites");
    second.wait_for("result invites");
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.transcript());
}

/// Otherwise an operator who changes the file would believe that the new key is taken.
#[test]
fn a_key_of_the_configuration_that_does_not_count_is_told() {
    let folder = Folder::new();
    let (key, config) = (folder.key(), folder.file("rallypoint.toml"));
    std::fs::write(&config, "listen = \"127.0.0.1:0\"\nkey_file = \"other.key\"").unwrap();
    let mut server = Running::start(&["serve", "--config", &config, "--key-file", &key]);
    server.wait_for_stderr("--key-file counts");
    server.wait_for_stderr("k4.lid.");
    server.addr();
}

#[test]
fn a_client_with_another_key_is_not_answered() {
    let service = Service::start(&[]);
    let folder = Folder::new();
    let other = folder.key();
    let (status, out, err) =
        texts(&run(&["client", "--user", "eve", "--key-file", &other, "--server", &service.addr]));
    assert_eq!((status, out.as_str()), (Some(1), ""), "{err}");
}

/// The reader that is there when it is written may be that of either signal.
#[cfg(unix)]
#[test]
fn a_key_that_is_written_to_a_pipe_once_is_read_after_two_signals_as_well() {
    let folder = Folder::new();
    let (old, fifo, config) = (folder.key(), folder.file("fifo"), folder.file("rallypoint.toml"));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let configure =
        |key: &str| std::fs::write(&config, format!("listen = \"127.0.0.1:0\"\nkey_file = {key:?}")).unwrap();
    configure(&old);
    let mut server = Running::start(&["serve", "--config", &config]);
    server.addr();
    configure(&fifo);
    for _ in 0..2 {
        server.signal("HUP");
        server.wait_for_stderr("reading the token keys again");
    }
    std::fs::copy(&old, &fifo).unwrap();
    server.wait_for_stderr("keys are read again");
    for _ in 0..5 {
        server.signal("HUP");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.wait_for_stderr("the keys are not read");
}
