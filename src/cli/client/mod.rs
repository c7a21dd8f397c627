//! `client`: a client for a terminal or a pipe, one command a line.

mod commands;
mod input;
mod line;
mod printer;
mod said;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use zeroize::Zeroizing;

use self::commands::Commands;
use self::input::Lines;
use self::line::{HELP, Line};
use self::printer::Printer;
use self::said::Said;
use crate::base::UserId;
use crate::cli::PROTOCOL_ID;
use crate::cli::backend::Backend;
use crate::cli::files;
use crate::cli::key_file;
use crate::cli::output::Failure;
use crate::cli::runtime;
use crate::cli::signals::Signals;
use crate::cli::units;
use crate::client::{Client, ClientConfig, Disconnected, Event, Events};
use crate::secure::ConnectGrant;

/// A client for a terminal or a pipe: commands as lines in, events and results as lines out.
///
/// Each command is answered before the next line is read; `help` lists them. Ends with `quit`, at the
/// end of the input, or with the connection. A signal ends it as well, and a second one at once. A command that
/// is refused is told and changes nothing about the exit status.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  rallypoint client --grant alice.grant\n  rallypoint client --user alice --key-file rallypoint.key --server 127.0.0.1:7777\n  > create 1 8\n  > say 1 hello"
)]
pub struct ClientArgs {
    /// File with a connect grant as JSON, as `token` prints it.
    #[arg(long, value_name = "FILE", required_unless_present = "user")]
    #[arg(conflicts_with_all = ["user", "key_file", "server"])]
    grant: Option<PathBuf>,
    /// Mint a grant for this user instead.
    #[arg(long, value_name = "ID", requires_all = ["key_file", "server"])]
    user: Option<UserId>,
    /// File with the server's token key.
    #[arg(long, value_name = "FILE", requires = "user")]
    key_file: Option<PathBuf>,
    /// The server.
    #[arg(long, value_name = "ADDR", requires = "user", value_parser = units::address)]
    server: Option<String>,
    /// What tokens call the server, if that is not its address: one of the `names` of its configuration.
    #[arg(long, value_name = "NAME", requires = "user")]
    name: Option<String>,
    /// The server's protocol id, which tells games apart.
    #[arg(long, value_name = "N", default_value_t = PROTOCOL_ID)]
    protocol_id: u64,
    /// Events and results as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// [`Failure::Work`] when there is no connection, or when it ends before the user does.
pub fn run(args: &ClientArgs) -> Result<(), Failure> {
    runtime::block_on(async {
        let failed = |error| Failure::while_doing("listening to signals", error);
        let mut signals = Signals::of_a_terminal().map_err(failed)?;
        let (client, events) = tokio::select! {
            connected = connect(args) => connected?,
            () = signals.next() => return Ok(()),
        };
        let (input, printer) = (Lines::new(), Printer::new());
        let mut terminal =
            Terminal { json: args.json, events, input, printer, signals, is_told_to_end: false };
        terminal.print(&Said::result("connected"));
        let ended = terminal.converse(&client).await;
        let Terminal { printer, mut signals, is_told_to_end, .. } = terminal;
        tokio::select! {
            biased;
            written = printer.finish() => ended.and(written),
            () = signals.next() => ended,
            () = tokio::time::sleep(LAST_WORDS), if is_told_to_end => ended,
        }
    })
}

async fn connect(args: &ClientArgs) -> Result<(Client, Events), Failure> {
    if let (Some(user), Some(key_file), Some(server)) = (&args.user, &args.key_file, &args.server) {
        let backend = Backend::new(key_file::read(key_file)?, server, args.protocol_id);
        return backend.named(args.name.clone()).connect(user).await;
    }
    let path = args.grant.as_deref().ok_or_else(|| Failure::Usage("--grant is missing".to_owned()))?;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::while_doing(format_args!("reading the grant {}", path.display()), error)
    };
    let text = files::read_aside(path).await.map(Zeroizing::new).map_err(|error| failed(&error))?;
    let grant = ConnectGrant::from_json(&text).map_err(|error| failed(&error))?;
    let config = ClientConfig::new(args.protocol_id);
    Client::connect(&grant, config).await.map_err(|error| Failure::while_doing("connecting", error))
}

/// The lines that come in and go out.
struct Terminal {
    json: bool,
    events: Events,
    input: Lines,
    printer: Printer,
    signals: Signals,
    /// There was a signal.
    is_told_to_end: bool,
}

/// Whoever wants an end waits so long for lines that nobody reads.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Terminal {
    /// Carries out line after line until one of the sides ends it.
    async fn converse(&mut self, client: &Client) -> Result<(), Failure> {
        loop {
            let line = tokio::select! {
                biased;
                event = next_event(&mut self.events, &mut self.printer) => {
                    if let Some(end) = self.show(event) {
                        return end;
                    }
                    continue;
                }
                () = self.signals.next() => return self.end(client).await,
                line = self.input.next(), if !self.printer.is_behind() => line,
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => return self.finish(client).await,
                Err(error) => {
                    self.finish(client).await?;
                    return Err(Failure::while_doing("reading input", error));
                }
            };
            let Ok(line) = str::from_utf8(&line) else {
                self.print(&Said::error("", None, "the line is not UTF-8"));
                continue;
            };
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() {
                continue;
            }
            match line.parse() {
                Ok(Line::Quit) => return self.finish(client).await,
                Ok(Line::Help) => self.help(),
                Ok(line) => {
                    if let Some(end) = self.carry_out(client, line).await {
                        return end;
                    }
                }
                Err(error) => {
                    let word = line.split_whitespace().next().unwrap_or_default();
                    self.print(&Said::error(word, None, error));
                }
            }
        }
    }

    /// Carries out a command; events that come meanwhile are shown at once.
    async fn carry_out(&mut self, client: &Client, line: Line) -> Option<Result<(), Failure>> {
        let commands = Commands::new(client);
        let mut command = std::pin::pin!(commands.carry_out(line));
        loop {
            tokio::select! {
                biased;
                event = next_event(&mut self.events, &mut self.printer) => {
                    if let Some(end) = self.show(event) {
                        return Some(end);
                    }
                }
                said = &mut command => {
                    for said in said {
                        self.print(&said);
                    }
                    return None;
                }
                () = self.signals.next() => return Some(self.end(client).await),
            }
        }
    }

    /// Shows an event; how all ends when it is the last one.
    fn show(&mut self, event: Option<Event>) -> Option<Result<(), Failure>> {
        let Some(event) = event else {
            return Some(Err(Failure::Work("the connection has ended".to_owned())));
        };
        self.print(&Said::from(&event));
        match event {
            Event::Disconnected(Disconnected::ByClient) => Some(Ok(())),
            Event::Disconnected(why) => Some(Err(Failure::Work(why.to_string()))),
            _ => None,
        }
    }

    /// Closes when all that was said has arrived.
    async fn finish(&mut self, client: &Client) -> Result<(), Failure> {
        let mut flushed = std::pin::pin!(client.flush());
        loop {
            tokio::select! {
                biased;
                event = next_event(&mut self.events, &mut self.printer) => {
                    if let Some(end) = self.show(event) {
                        return end;
                    }
                }
                // That the connection has ended first is told as an event.
                _ = &mut flushed => return self.close(client).await,
                () = self.signals.next() => return self.end(client).await,
            }
        }
    }

    /// Closes because of a signal.
    async fn end(&mut self, client: &Client) -> Result<(), Failure> {
        self.is_told_to_end = true;
        self.close(client).await
    }

    /// Tells the server, and waits until it has answered or was told often enough, unless there is another signal.
    async fn close(&mut self, client: &Client) -> Result<(), Failure> {
        client.close("");
        tokio::select! {
            biased;
            _ = client.closed() => {}
            () = self.signals.next() => {
                self.is_told_to_end = true;
                return Ok(());
            }
        }
        loop {
            let event = self.events.recv().await;
            if let Some(end) = self.show(event) {
                return end;
            }
        }
    }

    fn help(&mut self) {
        if self.json {
            self.print(&Said::result("help").with("commands", HELP));
        } else {
            self.printer.push(HELP.to_owned());
        }
    }

    fn print(&mut self, said: &Said) {
        self.printer.push(if self.json { said.to_json().to_string() } else { said.to_string() });
    }
}

/// The next event, while what was printed is read.
async fn next_event(events: &mut Events, printer: &mut Printer) -> Option<Event> {
    if printer.is_behind() {
        printer.hand_on().await;
    }
    let mut next = std::pin::pin!(events.recv());
    tokio::select! {
        biased;
        event = &mut next => event,
        () = printer.hand_on() => next.await,
    }
}
