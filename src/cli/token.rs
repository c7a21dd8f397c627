//! `token`: mints a connect grant, as a game backend would.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::backend;
use crate::base::UserId;
use crate::cli::output::{Failure, product};
use crate::cli::{key_file, units};
use crate::secure::ConnectGrant;
use crate::secure::token::{LIFETIME_MAX, MintRequest, NAME_BYTES};

/// Mints a connect token and prints the grant as JSON, as a game backend would hand it to a client.
///
/// The grant lets its holder connect once, as that user, to that server, until it expires.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  rallypoint token --user alice --key-file rallypoint.key --server 127.0.0.1:7777 > alice.grant"
)]
pub struct TokenArgs {
    /// User that connects with the grant, 1 to 64 bytes.
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// File with the server's token key, as written by `keygen`.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Server, as clients reach it and as it names itself: the token's `aud`, one of the server's `names` if
    /// it has any.
    #[arg(long, value_name = "ADDR")]
    server: String,
    /// HOST:PORT at which clients reach the server, if it names itself otherwise; may be given several times.
    #[arg(long, value_name = "ADDR")]
    address: Vec<String>,
    /// How long the token is valid, 1ms to 10min.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    ttl: Duration,
    /// Data about the user for the server: any JSON of at most 256 bytes.
    #[arg(long, value_name = "JSON", value_parser = json)]
    data: Option<Value>,
}

/// Shortest time for which a token can be valid: its times are in ms.
const LIFETIME_MIN: Duration = Duration::from_millis(1);

/// Runs the subcommand.
///
/// # Errors
/// [`Failure::Usage`] if the token's contents exceed a limit, [`Failure::Work`] if the key cannot be read.
pub fn run(args: TokenArgs) -> Result<(), Failure> {
    let key = key_file::read(&args.key_file)?;
    let addresses =
        if args.address.is_empty() { std::slice::from_ref(&args.server) } else { &args.address[..] };
    if let Some(bad) = addresses.iter().find(|address| !ConnectGrant::is_address(address)) {
        let hint =
            if args.address.is_empty() { "; with --address, --server is the server's name" } else { "" };
        return Err(Failure::Usage(format!("`{bad}` is no address: HOST:PORT, as in 127.0.0.1:7777{hint}")));
    }
    if addresses.len() > ConnectGrant::MAX_SERVERS {
        let (count, max) = (addresses.len(), ConnectGrant::MAX_SERVERS);
        return Err(Failure::Usage(format!("{count} addresses are too many, {max} are allowed")));
    }
    if !NAME_BYTES.contains(&args.server.len()) {
        return Err(Failure::Usage("--server is the server's name, 1 to 128 bytes".to_owned()));
    }
    if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&args.ttl) {
        return Err(Failure::Usage("--ttl is how long the token can be used, 1ms to 10min".to_owned()));
    }
    let request = MintRequest { user: args.user, server: args.server, lifetime: args.ttl, data: args.data };
    let grant = backend::mint(&key, request).map_err(|error| Failure::Usage(error.to_string()))?;
    let grant = if args.address.is_empty() { Ok(grant) } else { grant.at(args.address) };
    let grant = grant.map_err(|error| Failure::Usage(error.to_string()))?;
    product(&*grant.to_json())
}

/// Parses JSON; without this, any text would be taken as a JSON string.
fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))
}
