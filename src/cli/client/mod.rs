//! `client`: a client for a terminal or a pipe, with one command per line.

mod commands;
mod input;
mod line;
mod printer;
mod said;

use std::future::{Ready, ready};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use clap::Args;

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
use crate::client::{Client, ClientConfig, Disconnected, Event, Events, RequestError};
use crate::secure::ConnectGrant;

/// A client for a terminal or a pipe: reads commands and writes events and results, one per line.
///
/// Each command is answered before the next line is read, also if the connection ends first; `help` lists the
/// commands. The client ends on `quit`, at the end of the input, or with the connection. On `quit` and at the
/// end of the input it leaves its sessions once everything that was said is passed on or refused. A signal
/// also ends it, a second one at once; before it is connected, with exit status 1. A refused command is
/// reported and does not affect the exit status.
///
/// Payloads and properties are shown as text, and in `base64` if they are not UTF-8.
#[derive(Args, Debug)]
#[command(
    override_usage = "rallypoint client --grant <FILE> [OPTIONS]\n       rallypoint client --user <ID> --key-file <FILE> --server <ADDR> [OPTIONS]",
    after_help = "Example:\n  rallypoint client --grant alice.grant\n  rallypoint client --user alice --key-file rallypoint.key --server 127.0.0.1:7777\n  > create 1 8\n  > say 1 hello"
)]
pub struct ClientArgs {
    /// File with a connect grant as JSON, as printed by `token`.
    #[arg(long, value_name = "FILE", required_unless_present = "user")]
    #[arg(conflicts_with_all = ["user", "key_file", "server"])]
    grant: Option<PathBuf>,
    /// Mint a grant for this user instead.
    #[arg(long, value_name = "ID", requires_all = ["key_file", "server"])]
    user: Option<UserId>,
    /// File with the server's token key.
    #[arg(long, value_name = "FILE", requires = "user")]
    key_file: Option<PathBuf>,
    /// Address of the server.
    #[arg(long, value_name = "ADDR", requires = "user", value_parser = units::address)]
    server: Option<String>,
    /// Name of the server in tokens, if it is not the address: one of the `names` in the server's
    /// configuration.
    #[arg(long, value_name = "NAME", requires = "user")]
    name: Option<String>,
    /// The server's protocol id, which distinguishes games.
    #[arg(long, value_name = "N", default_value_t = PROTOCOL_ID, value_parser = units::protocol_id)]
    protocol_id: u64,
    /// Print events and results as JSON, one object per line.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// [`Failure::Work`] if no connection is made, also because of a signal, or if it ends before the user ends
/// it.
pub fn run(args: &ClientArgs) -> Result<(), Failure> {
    runtime::block_on(async {
        let failed = |error| Failure::while_doing("listening to signals", error);
        let mut signals = Signals::of_a_terminal().map_err(failed)?;
        let (client, events) = tokio::select! {
            connected = connect(args) => connected?,
            // Nothing of what the input asks for was done.
            () = signals.next() => {
                return Err(Failure::Work("told to stop before the client was connected".to_owned()));
            }
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
        let backend = Backend::new(key_file::read_aside(key_file).await?, server, args.protocol_id);
        return backend.named(args.name.clone()).connect(user).await;
    }
    let path = args.grant.as_deref().ok_or_else(|| Failure::Usage("--grant is missing".to_owned()))?;
    files::check_path("a grant", path)?;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::while_doing(format_args!("reading the grant {}", path.display()), error)
    };
    let text = files::read_aside(path).await.map_err(|error| failed(&error))?;
    let grant = ConnectGrant::from_json(&text).map_err(|error| failed(&error))?;
    let config = ClientConfig::new(args.protocol_id);
    Client::connect(&grant, config).await.map_err(|error| Failure::while_doing("connecting", error))
}

/// The client's input and output lines.
struct Terminal {
    json: bool,
    events: Events,
    input: Lines,
    printer: Printer,
    signals: Signals,
    /// True after a signal.
    is_told_to_end: bool,
}

/// After a signal, the process waits this long for lines that nobody reads.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Terminal {
    /// Executes line after line until either side ends the connection.
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
                () = self.signals.next() => return self.end(client, pin!(nothing())).await,
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
                self.print(&Said::error("?", None, "the line is not UTF-8"));
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
                    let name = if line::is_command(word) { word } else { "?" };
                    self.print(&Said::error(name, None, error));
                }
            }
        }
    }

    /// Executes a command; events that arrive meanwhile are shown at once, except the last: it answers the
    /// command, too, and the answer comes first.
    async fn carry_out(&mut self, client: &Client, line: Line) -> Option<Result<(), Failure>> {
        let commands = Commands::new(client);
        let mut command = pin!(commands.carry_out(line));
        loop {
            tokio::select! {
                biased;
                event = next_event(&mut self.events, &mut self.printer) => {
                    if let Some(end) = self.show_after(command.as_mut(), event).await {
                        return Some(end);
                    }
                }
                said = &mut command => {
                    self.print_all(&said);
                    return None;
                }
                () = self.signals.next() => return Some(self.end(client, command).await),
            }
        }
    }

    /// Like [`Self::show`], but shows the answer of the `command` under way before the last event, the end of
    /// the connection, with which it has one.
    async fn show_after(
        &mut self,
        command: Pin<&mut impl Answer>,
        event: Option<Event>,
    ) -> Option<Result<(), Failure>> {
        if matches!(event, None | Some(Event::Disconnected(_))) {
            self.print_all(&command.await);
        }
        self.show(event)
    }

    /// Shows an event; returns the outcome of the client if it is the last one.
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

    /// Closes the connection once the fate of everything that was sent is known.
    async fn finish(&mut self, client: &Client) -> Result<(), Failure> {
        let mut left = pin!(leave_all(client));
        loop {
            tokio::select! {
                biased;
                event = next_event(&mut self.events, &mut self.printer) => {
                    if let Some(end) = self.show(event) {
                        return end;
                    }
                }
                () = &mut left => return self.close(client, pin!(nothing())).await,
                () = self.signals.next() => return self.end(client, pin!(nothing())).await,
            }
        }
    }

    /// Closes the connection because of a signal.
    async fn end(&mut self, client: &Client, command: Pin<&mut impl Answer>) -> Result<(), Failure> {
        self.is_told_to_end = true;
        self.close(client, command).await
    }

    /// Closes the connection and waits until the server has answered or was notified often enough, unless
    /// another signal arrives. Shows the answer of the `command` under way.
    async fn close(&mut self, client: &Client, mut command: Pin<&mut impl Answer>) -> Result<(), Failure> {
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
            if let Some(end) = self.show_after(command.as_mut(), event).await {
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

    fn print_all(&mut self, said: &[Said]) {
        said.iter().for_each(|said| self.print(said));
    }

    fn print(&mut self, said: &Said) {
        self.printer.push(if self.json { said.to_json() } else { said.to_string() });
    }
}

/// Leaves all sessions once everything that was sent has arrived. The answer comes behind the refusals of
/// what was sent before, so these are events by then. If the connection ends first, an event reports it.
async fn leave_all(client: &Client) {
    if client.flush().await.is_err() {
        return;
    }
    for session in client.sessions() {
        if let Err(RequestError::NotConnected) = client.leave(session.slot()).await {
            return;
        }
    }
}

/// The lines with which a command is answered, once it is.
trait Answer: Future<Output = Vec<Said>> {}

impl<T: Future<Output = Vec<Said>>> Answer for T {}

/// Returns the answer if no command is under way.
fn nothing() -> Ready<Vec<Said>> {
    ready(Vec::new())
}

/// Waits for the next event and meanwhile passes on printed lines; if the printer is behind, passes those on
/// first.
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
