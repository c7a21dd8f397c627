//! First contact with the binary: help, wrong usage, keys, tokens, configuration.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cli_support;

use cli_support::{Folder, run, run_with, texts};
use serde_json::Value;

const SUBCOMMANDS: [&str; 7] = ["demo", "keygen", "serve", "token", "client", "bench", "netsim"];

#[test]
fn help_goes_to_standard_output_with_an_example_for_every_subcommand() {
    for subcommand in SUBCOMMANDS {
        let (status, out, err) = texts(&run(&[subcommand, "--help"]));
        assert_eq!(status, Some(0), "{subcommand}: {err}");
        assert!(out.contains("Example") && out.contains(&format!("rallypoint {subcommand}")), "{out}");
    }
}

#[test]
fn wrong_usage_is_status_2_and_says_what_is_wrong() {
    for (args, named) in [
        (&[][..], "Usage"),
        (&["dance"], "dance"),
        (&["keygen", "--into", "x"], "--into"),
        (&["token", "--user", "bob"], "--key-file"),
        (&["token", "--user", "", "--key-file", "x", "--server", "y"], "allowed are 1 to 64"),
        (&["demo", "--loss", "5"], "no unit"),
        (&["demo", "--loss", "101%"], "out of range"),
        (&["demo", "--members", "1"], "--members"),
        (&["bench", "--delivery", "psychic"], "psychic"),
        (&["bench", "--server", "127.0.0.1:1"], "--key-file"),
        #[cfg(target_os = "linux")]
        (&["bench", "--sessions", "10000", "--members", "1024"], "10240000 clients need 10240000 sockets"),
        (
            &["bench", "--sessions", "200", "--loss", "1%"],
            "1600 clients; impairments need a relay, and one carries 1024",
        ),
        (
            &["demo", "--sessions", "100", "--members", "16", "--loss", "1%"],
            "1800 clients; impairments need a relay",
        ),
        (&["bench", "--burst", "0"], "from 1 to 10000"),
        (&["bench", "--rate-limit", "10"], "a bit rate is"),
        (&["bench", "--blackhole", "10s"], "EVERY:FOR"),
        (&["netsim", "--rebind", "0s"], "above 0"),
        (&["netsim", "--blackhole", "1s:2s"], "lets nothing pass"),
        (&["serve", "--idle-timeout", "10"], "no unit"),
        (&["serve", "--idle-timeout", "1500us"], "whole ms, 1000ms to 600000ms"),
        (&["serve", "--idle-timeout", "1000.5ms"], "whole ms"),
        (
            &["netsim", "--seconds", "1", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:0"],
            "a port from 1 to 65535",
        ),
        (&["netsim", "--mtu", "1199"], "1200 or more"),
        (&["bench", "--mtu", "0"], "1200 or more"),
        (&["serve", "--report", "99ms"], "0s, or 100ms or more"),
        (&["serve", "--protocol-id", "7g"], "no number below 2^64"),
        (&["client"], "client --user <ID> --key-file <FILE> --server <ADDR>"),
        #[cfg(target_os = "linux")]
        (
            &["bench", "--server", "127.0.0.1:1", "--key-file", "x", "--server-pid", "4294967295"],
            "--server-pid is 4294967295",
        ),
        (&["serve"], "--dev"),
    ] {
        let (status, out, err) = texts(&run(args));
        assert_eq!(status, Some(2), "{args:?}: {out}{err}");
        assert!(err.contains(named), "{args:?}: {err}");
        assert!(out.is_empty(), "{args:?}: {out}");
    }
}

/// One datagram would become one of each of 1,024 clients.
#[test]
fn a_relay_to_itself_is_refused() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = free.port();
    for (listen, upstream) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")]
    {
        let [listen, upstream] = [listen, upstream].map(|host| format!("{host}:{port}"));
        let relay = ["netsim", "--seconds", "1", "--listen", &listen, "--upstream", &upstream];
        let (status, out, err) = texts(&run(&relay));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains("--upstream") && err.contains("where the relay itself listens"), "{err}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_file_is_for_its_owner_only_and_is_not_overwritten() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    let path = folder.key();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("k4.local.") && text.ends_with('\n'), "{}", text.len());

    let (status, out, err) = texts(&run(&["keygen", "--out", &path]));
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.contains("exists already"), "{err}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_told_and_a_part_of_one_is_not_left() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let key = folder.key();
    let token =
        |key: &str| texts(&run(&["token", "--user", "bob", "--key-file", key, "--server", "127.0.0.1:7777"]));
    assert_eq!(token(&key).2, "");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (status, _, err) = token(&key);
    assert!(status == Some(0) && err.contains("is open to others (mode 644, not 600)"), "{err}");

    let path = folder.file("part.key");
    let limited =
        format!("trap '' XFSZ; ulimit -f 0; exec {} keygen --out {path}", env!("CARGO_BIN_EXE_rallypoint"));
    let output = std::process::Command::new("sh").arg("-c").arg(limited).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!std::path::Path::new(&path).exists());
}

/// Standard error is kept in logs, and a key there would be known to everyone who reads them.
#[test]
fn a_secret_in_place_of_a_path_is_not_shown() {
    let folder = Folder::new();
    let key = std::fs::read_to_string(folder.key()).unwrap();
    let (key, config) = (key.trim(), folder.file("rallypoint.toml"));
    std::fs::write(&config, format!("key_file = {key:?}\n")).unwrap();
    let grant = "{\"token\": \"v4.local.AAAA\"}";
    let secret = &key["k4.local.".len()..];
    for args in [
        &["serve", "--key-file", key][..],
        &["serve", "--dev", "--key-file", key],
        &["serve", "--print-config", "--key-file", key],
        &["serve", "--config", &config],
        &["serve", "--config", key],
        &["token", "--user", "bob", "--key-file", key, "--server", "127.0.0.1:7777"],
        &["client", "--user", "bob", "--key-file", key, "--server", "127.0.0.1:7777"],
        &["client", "--grant", grant],
        &["bench", "--server", "127.0.0.1:7777", "--key-file", key],
        &["keygen", "--out", key],
    ] {
        let (status, out, err) = texts(&run(args));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(err.contains("path of a file") && !err.contains(secret) && !err.contains("AAAA"), "{err}");
    }
}

/// A log filter must not be ignored silently.
#[test]
fn a_filter_of_the_log_that_is_none_is_told() {
    let folder = Folder::new();
    let out =
        run_with(&[("RALLYPOINT_LOG", "rallypoint=nonsense")], &["keygen", "--out", &folder.file("a.key")]);
    let (status, _, err) = texts(&out);
    assert_eq!(status, Some(0), "{err}");
    assert!(err.contains("RALLYPOINT_LOG is ignored, \"rallypoint=nonsense\": "), "{err}");
    assert!(!err.contains("names no level"), "told once: {err}");
    for (filter, is_told) in [("wran", true), ("rallypoint=debug,info", false)] {
        let out = run_with(&[("RALLYPOINT_LOG", filter)], &["keygen", "--out", &folder.file(filter)]);
        let (status, _, err) = texts(&out);
        assert_eq!((status, err.contains("RALLYPOINT_LOG names no level")), (Some(0), is_told), "{err}");
    }
}

#[test]
fn a_grant_is_one_json_object_with_the_documented_members() {
    let folder = Folder::new();
    let key = folder.key();
    let args =
        ["token", "--user", "bob", "--key-file", &key, "--server", "127.0.0.1:7777", "--data", "{\"elo\":7}"];
    let (status, out, err) = texts(&run(&args));
    assert_eq!(status, Some(0), "{err}");
    let grant: Value = serde_json::from_str(&out).unwrap();
    let mut members: Vec<&String> = grant.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["expires", "psk", "servers", "token"]);
    assert!(grant["token"].as_str().unwrap().starts_with("v4.local."));
    assert_eq!(grant["servers"], serde_json::json!(["127.0.0.1:7777"]));

    let again = texts(&run(&args)).1;
    assert_ne!(again, out, "every token is another one");

    let named = ["token", "--user", "bob", "--key-file", &key, "--server", "eu-1"];
    let (status, _, err) = texts(&run(&named));
    assert!(status == Some(2) && err.contains("HOST:PORT"), "{err}");
    let (status, out, err) =
        texts(&run(&[&named[..], &["--address", "192.0.2.1:1", "--address", "[2001:db8::1]:1"]].concat()));
    assert_eq!(status, Some(0), "{err}");
    let grant: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(grant["servers"], serde_json::json!(["192.0.2.1:1", "[2001:db8::1]:1"]));
    assert_eq!(grant["audience"], "eu-1");
}

/// A script would continue with an empty file.
#[cfg(target_os = "linux")]
#[test]
fn a_grant_that_cannot_be_written_is_a_failure() {
    let folder = Folder::new();
    let key = folder.key();
    let args = ["token", "--user", "bob", "--key-file", &key, "--server", "127.0.0.1:7777"];
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status =
        std::process::Command::new(env!("CARGO_BIN_EXE_rallypoint")).args(args).stdout(full).status();
    assert_eq!(status.unwrap().code(), Some(1));
}

#[test]
fn a_token_beyond_its_limits_is_refused() {
    let folder = Folder::new();
    let key = folder.key();
    let long = format!("\"{}\"", "x".repeat(300));
    let address = ["--address", "127.0.0.1:7777"];
    let many: Vec<&str> = address.iter().copied().cycle().take(2 * 17).collect();
    let (status, out, err) =
        texts(&run(
            &[&["token", "--user", "bob", "--key-file", &key, "--server", "game"][..], &many].concat()
        ));
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("17 addresses are too many, 16 are allowed"), "{err}");
    let nameless = [&["token", "--user", "bob", "--key-file", &key, "--server", ""][..], &address].concat();
    let (status, _, err) = texts(&run(&nameless));
    assert_eq!(status, Some(2));
    assert!(err.contains("1 to 128 bytes"), "{err}");
    for ttl in ["11min", "0s", "1us", "999us"] {
        let args = ["token", "--user", "bob", "--key-file", &key, "--server", "127.0.0.1:7777", "--ttl", ttl];
        let (status, out, err) = texts(&run(&args));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{ttl}: {err}");
        assert!(err.contains("--ttl") && err.contains("1ms to 10min"), "{err}");
    }
    for extra in [["--data", &long], ["--data", "{"]] {
        let mut args = vec!["token", "--user", "bob", "--key-file", &key, "--server", "127.0.0.1:7777"];
        args.extend(extra);
        let (status, out, err) = texts(&run(&args));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{extra:?}: {err}");
    }
}

#[test]
fn the_printed_configuration_is_taken_back_as_the_same() {
    let folder = Folder::new();
    let (status, printed, err) =
        texts(&run(&["serve", "--print-config", "--workers", "3", "--idle-timeout", "7s"]));
    assert_eq!(status, Some(0), "{err}");
    assert!(
        printed.contains("\nworkers = 3\n") && printed.contains("\nidle_timeout_ms = 7000\n"),
        "{printed}"
    );
    let file = folder.file("rallypoint.toml");
    std::fs::write(&file, &printed).unwrap();
    let (status, again, err) = texts(&run(&["serve", "--config", &file, "--print-config"]));
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(again, printed);
}

#[test]
fn a_configuration_with_an_unknown_or_illegal_key_is_refused() {
    let folder = Folder::new();
    let file = folder.file("rallypoint.toml");
    for (text, named) in [
        ("workers = 1\nworkerz = 2\n", "line 2: unknown key `workerz`"),
        ("[limits]\nmax_sessions = 0\n", "line 2: `limits.max_sessions` is 0; allowed is 1 to 1000000"),
        ("drain_timeout = 5\n", "line 1: `drain_timeout` is 5; allowed is"),
        ("workers = \n", "line 1: "),
    ] {
        std::fs::write(&file, text).unwrap();
        let (status, out, err) = texts(&run(&["serve", "--dev", "--config", &file]));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{text}");
        assert!(err.contains(named) && err.contains("rallypoint.toml"), "{err}");
    }
}
