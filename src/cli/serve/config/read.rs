//! Reads a file into a [`Config`], strictly: anything that is not in the table of keys is refused.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::keys::{self, Field, Key};
use crate::cli::units::{self, UnitError};
use crate::server::limits::LimitError;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{problem}", place = .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct ConfigError {
    /// The line of the file, from 1; `None` if the value is not from a file.
    pub line: Option<usize>,
    /// The problem, with the key's name and what is allowed.
    pub problem: String,
}

impl Config {
    /// Applies the values of a TOML text, each of them checked.
    ///
    /// # Errors
    /// [`ConfigError`] for the first part that is not TOML, not a known key, or not allowed.
    pub fn apply_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| ConfigError {
            line: error.span().map(|span| line_at(text, span.start)),
            problem: error.message().to_owned(),
        })?;
        self.apply_table(text, "", table.get_ref())?;
        self.check_limits(|key| line_of(text, table.get_ref(), "limits", key))
    }

    fn apply_table(&mut self, text: &str, section: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let at = |problem| ConfigError { line: Some(line_at(text, name.span().start)), problem };
            let name = name.get_ref().as_ref();
            if section.is_empty() && is_section(name) {
                let table = value
                    .get_ref()
                    .as_table()
                    .ok_or_else(|| at(format!("`{name}` is {}; allowed is a table", source(text, value))))?;
                self.apply_table(text, name, table)?;
                continue;
            }
            let key = keys::all()
                .find(|key| key.section == section && key.name == name)
                .ok_or_else(|| at(unknown(section, name)))?;
            self.apply_value(&key, value.get_ref()).map_err(|problem| {
                at(match problem {
                    Problem::Unit(error) => format!("`{}`: {error}", key.path()),
                    Problem::NotAllowed => not_allowed(&key, shown(&key, text, value)),
                })
            })?;
        }
        Ok(())
    }

    fn apply_value(&mut self, key: &Key, value: &DeValue<'_>) -> Result<(), Problem> {
        match &key.field {
            Field::Count(_, place) => *place(self) = whole_number(value)?,
            Field::Limit(limit) => {
                self.limits.set(limit.name, whole_number(value)?).map_err(|_| Problem::NotAllowed)?;
            }
            Field::Time(_, place) => *place(self) = units::duration(text(value)?).map_err(Problem::Unit)?,
            Field::Address(place) => *place(self) = text(value)?.parse().map_err(|_| Problem::NotAllowed)?,
            Field::File(place) => *place(self) = Some(PathBuf::from(text(value)?)),
            Field::Names(place) => {
                let names = value.as_array().ok_or(Problem::NotAllowed)?;
                *place(self) = names
                    .iter()
                    .map(|name| text(name.get_ref()).map(str::to_owned))
                    .collect::<Result<_, _>>()?;
            }
        }
        if key.holds(self) { Ok(()) } else { Err(Problem::NotAllowed) }
    }

    /// Checks every value against its range, regardless of its source.
    ///
    /// # Errors
    /// [`ConfigError`] for the first value that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut config = self.clone();
        for key in keys::all() {
            if !key.holds(&mut config) {
                let value = key.written(&mut config).unwrap_or_default();
                return Err(ConfigError { line: None, problem: not_allowed(&key, value.trim_matches('"')) });
            }
        }
        self.check_limits(|_| None)
    }

    /// Checks the limits, also against each other. `line` returns the line of a limit, if the file contains it.
    fn check_limits(&self, line: impl Fn(&str) -> Option<usize>) -> Result<(), ConfigError> {
        let not_allowed = |key, value, allowed| {
            let problem = format!("`limits.{key}` is {value}; allowed is {allowed}");
            ConfigError { line: line(key), problem }
        };
        self.limits.check().map_err(|error| match error {
            // Of the two values, the one in the file is refused.
            LimitError::NotBelow { name, value, other, other_value }
                if line(name).is_none() && line(other).is_some() =>
            {
                not_allowed(other, other_value, format!("more than `limits.{name}`, which is {value}"))
            }
            LimitError::NotBelow { name, value, other, other_value } => {
                not_allowed(name, value, format!("less than `limits.{other}`, which is {other_value}"))
            }
            LimitError::QueueTooSmall { value, min, invites_per_user } => {
                let allowed = format!("at least {min} with `limits.invites_per_user` {invites_per_user}");
                not_allowed("max_queued_bytes", value, allowed)
            }
            error => ConfigError { line: None, problem: error.to_string() },
        })
    }
}

/// What is wrong with a value.
enum Problem {
    Unit(UnitError),
    NotAllowed,
}

fn not_allowed(key: &Key, value: &str) -> String {
    // A key in place of its file's path must not be shown, and a reload would log it.
    let value = if matches!(key.field, Field::File(_)) { "no path of a file" } else { value };
    format!("`{}` is {value}; allowed is {}", key.path(), key.field)
}

fn unknown(section: &str, name: &str) -> String {
    let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
    let known: Vec<String> = keys::all().map(|key| key.path()).collect();
    format!("unknown key `{path}`; allowed are {}", known.join(", "))
}

fn is_section(name: &str) -> bool {
    !name.is_empty() && keys::all().any(|key| key.section == name)
}

fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, Problem> {
    value.as_str().ok_or(Problem::NotAllowed)
}

fn whole_number(value: &DeValue<'_>) -> Result<u64, Problem> {
    let number = value.as_integer().ok_or(Problem::NotAllowed)?;
    u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| Problem::NotAllowed)
}

/// Returns a value that is not allowed, as written in the file. For a number this includes quotes, which may
/// be the error.
fn shown<'a>(key: &Key, text: &'a str, value: &Spanned<DeValue<'_>>) -> &'a str {
    match key.field {
        Field::Count(..) | Field::Limit(_) => text.get(value.span()).unwrap_or_default(),
        _ => source(text, value),
    }
}

/// Returns the value as written in the file, without quotes.
fn source<'a>(text: &'a str, value: &Spanned<DeValue<'_>>) -> &'a str {
    text.get(value.span()).unwrap_or_default().trim_matches('"')
}

/// Returns the line of a key, if the file contains it.
fn line_of(text: &str, table: &DeTable<'_>, section: &str, name: &str) -> Option<usize> {
    let (_, section) = table.iter().find(|(key, _)| key.get_ref() == section)?;
    let (key, _) = section.get_ref().as_table()?.iter().find(|(key, _)| key.get_ref() == name)?;
    Some(line_at(text, key.span().start))
}

/// Returns the line, from 1, of the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
