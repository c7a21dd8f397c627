//! The server's configuration: every key has a default, a unit and a range, all in one table
//! (`keys`) that reading, checking and printing share.
//!
//! Values come from the defaults, then the file, then the command line; the last one applies.

mod keys;
mod print;
mod read;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use read::ConfigError;

use crate::cli::PROTOCOL_ID;
use crate::server::limits::Limits;

/// All settings of `serve`. Field docs and ranges are those of the keys of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is documented in the table of keys, which users read")]
pub struct Config {
    pub listen: SocketAddr,
    pub workers: u64,
    pub busy_poll: Duration,
    pub names: Vec<String>,
    pub protocol_id: u64,
    pub key_file: Option<PathBuf>,
    pub previous_key_file: Option<PathBuf>,
    pub drain_timeout: Duration,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7777)),
            workers: 0,
            busy_poll: Duration::ZERO,
            names: Vec::new(),
            protocol_id: PROTOCOL_ID,
            key_file: None,
            previous_key_file: None,
            drain_timeout: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::default().apply_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_printed_is_read_back_as_the_same() {
        let config = Config::default();
        let mut read = Config { workers: 7, ..Config::default() };
        read.apply_toml(&config.to_toml()).unwrap();
        assert_eq!(read, config);

        let config = Config {
            listen: "[::1]:9".parse().unwrap(),
            names: vec!["a\"b\\".to_owned(), "é".to_owned()],
            protocol_id: u64::MAX,
            key_file: Some("keys/one \"1\".key".into()),
            busy_poll: Duration::from_millis(2),
            drain_timeout: Duration::from_millis(1_500),
            limits: Limits { sessions_per_user: 3, ..Limits::default() },
            ..Config::default()
        };
        let mut read = Config::default();
        read.apply_toml(&config.to_toml()).unwrap();
        assert_eq!(read, config);
    }

    #[test]
    fn the_print_names_default_and_range_of_every_key() {
        let text = Config::default().to_toml();
        for key in keys::all() {
            assert!(text.contains(&format!("{} = ", key.name)), "{} is missing", key.name);
        }
        let documented = text.lines().filter(|line| line.starts_with("# Default: ")).count();
        assert_eq!(documented, keys::all().count());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_what_is_allowed() {
        let text = refusal("workers = 2\nworkerz = 3\n");
        assert!(text.starts_with("line 2: unknown key `workerz`"), "{text}");
        assert!(text.contains("workers") && text.contains("listen"), "{text}");
        let text = refusal("\n[limits]\nmax_sesions = 3\n");
        assert!(text.starts_with("line 3: unknown key `limits.max_sesions`"), "{text}");
        assert!(text.contains("limits.max_sessions"), "{text}");
        assert!(refusal("[limit]\nmax_sessions = 3").starts_with("line 1: unknown key `limit`"));
        assert!(refusal("[\"\"]\nworkers = 3").starts_with("line 1: unknown key ``"));
    }

    #[test]
    fn of_two_values_that_do_not_fit_the_one_in_the_file_is_named() {
        let text = refusal("[limits]\n\nmax_queued_bytes = 262144");
        assert_eq!(
            text,
            "line 3: `limits.max_queued_bytes` is 262144; allowed is more than `limits.lagging_bytes`, which is 524288"
        );
        let text = refusal("[limits]\nlagging_bytes = 8388608");
        assert_eq!(
            text,
            "line 2: `limits.lagging_bytes` is 8388608; allowed is less than `limits.max_queued_bytes`, which is 4194304"
        );
        let both = "[limits]\nlagging_bytes = 200000\nmax_queued_bytes = 262144";
        assert_eq!(Config::default().apply_toml(both), Ok(()));
        let text =
            refusal("[limits]\ninvites_per_user = 512\nlagging_bytes = 200000\nmax_queued_bytes = 262144");
        assert_eq!(
            text,
            "line 4: `limits.max_queued_bytes` is 262144; allowed is at least 376832 with `limits.invites_per_user` 512"
        );
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_line_and_the_range() {
        let text = refusal("\n\ndrain_timeout = \"2min\"\n");
        assert_eq!(text, "line 3: `drain_timeout` is 2min; allowed is 0s to 1min");
        let text = refusal("[limits]\nidle_timeout_ms = 10");
        assert_eq!(text, "line 2: `limits.idle_timeout_ms` is 10; allowed is 1000 to 600000 ms");
        let text = refusal("workers = -1");
        assert!(text.starts_with("line 1: `workers` is -1; allowed is "), "{text}");
        let text = refusal("workers = 1000");
        assert!(text.starts_with("line 1: `workers` is 1000; allowed is "), "{text}");
    }

    #[test]
    fn a_value_of_the_wrong_type_or_unit_is_refused() {
        let text = refusal("drain_timeout = 10");
        assert!(text.starts_with("line 1: `drain_timeout` is 10; allowed is "), "{text}");
        let text = refusal("drain_timeout = \"10\"");
        assert!(text.starts_with("line 1: `drain_timeout`: `10` has no unit"), "{text}");
        assert_eq!(refusal("workers = \"1\""), "line 1: `workers` is \"1\"; allowed is 0 to 255");
        assert!(refusal("listen = \"here\"").starts_with("line 1: `listen` is here; allowed is "));
        assert!(refusal("names = [1]").starts_with("line 1: `names` is [1]; allowed is "));
        assert!(refusal("limits = 3").starts_with("line 1: `limits` is 3; allowed is "));
    }

    #[test]
    fn a_key_in_place_of_its_path_is_refused_and_not_shown() {
        let allowed = "allowed is the path of a file in quotes";
        for value in ["\"k4.local.AAAA\"", "[\"k4.local.AAAA\"]", "7"] {
            let text = refusal(&format!("workers = 1\nprevious_key_file = {value}"));
            assert_eq!(text, format!("line 2: `previous_key_file` is no path of a file; {allowed}"));
        }
        let config = Config { key_file: Some("k4.local.AAAA".into()), ..Config::default() };
        let text = config.check().unwrap_err().to_string();
        assert_eq!(text, format!("`key_file` is no path of a file; {allowed}"));
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let text = refusal("workers = 2\nlisten = \n");
        assert!(text.starts_with("line 2: "), "{text}");
    }

    #[test]
    fn defaults_are_in_their_own_ranges() {
        assert_eq!(Config::default().check(), Ok(()));
        let limits = Limits { idle_timeout_ms: 1, ..Limits::default() };
        let text = Config { limits, ..Config::default() }.check().unwrap_err().to_string();
        assert_eq!(text, "`limits.idle_timeout_ms` is 1; allowed is 1000 to 600000 ms");
        let limits = Limits { lagging_bytes: 8 << 20, ..Limits::default() };
        let text = Config { limits, ..Config::default() }.check().unwrap_err().to_string();
        assert_eq!(
            text,
            "`limits.lagging_bytes` is 8388608; allowed is less than `limits.max_queued_bytes`, which is 4194304"
        );
    }
}
