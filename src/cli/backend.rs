//! [`Backend`]: acts as a game's backend, which mints the grants with which clients connect.

use std::sync::Arc;

use crate::backend::{self, MintRequest};
use crate::base::UserId;
use crate::cli::output::Failure;
use crate::cli::trace::TraceFolder;
use crate::client::{Client, ClientConfig, Events};
use crate::rudp::Tracer;
use crate::secure::TokenKey;

/// The holder of a server's token key.
pub struct Backend {
    key: TokenKey,
    server: String,
    /// The server's name in tokens.
    name: String,
    config: ClientConfig,
}

impl Backend {
    /// Creates the backend of the server that clients reach at `server`, `HOST:PORT`.
    pub fn new(key: TokenKey, server: &str, protocol_id: u64) -> Self {
        let (server, name) = (server.to_owned(), server.to_owned());
        Self { key, server, name, config: ClientConfig::new(protocol_id) }
    }

    /// Sets the server's name in tokens, if given.
    pub fn named(self, name: Option<String>) -> Self {
        Self { name: name.unwrap_or(self.name), ..self }
    }

    /// Traces the clients' connections, if a tracer is given.
    pub fn traced(mut self, tracer: Option<Arc<TraceFolder>>) -> Self {
        self.config.tracer = tracer.map(|tracer| tracer as Arc<dyn Tracer>);
        self
    }

    /// Connects a new client of `user`.
    ///
    /// # Errors
    /// [`Failure::Work`] if the token exceeds a limit or the client does not connect.
    pub async fn connect(&self, user: &UserId) -> Result<(Client, Events), Failure> {
        let request = MintRequest::new(user.clone(), self.name.clone());
        let grant = backend::mint(&self.key, request)
            .map_err(|error| Failure::while_doing(format_args!("minting a token for {user}"), error))?
            .at([self.server.as_str()])
            .map_err(|error| Failure::while_doing(format_args!("naming {}", self.server), error))?;
        Client::connect(&grant, self.config.clone()).await.map_err(|error| {
            Failure::while_doing(format_args!("connecting {user} to {}", self.server), error)
        })
    }
}
