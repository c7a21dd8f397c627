//! Writes a [`Config`] as a file from which it could have been read, with every key explained.

use std::fmt::Write;

use super::Config;
use super::keys;

impl Config {
    /// Returns the whole file: every key with its meaning, range, default and value in this configuration.
    pub fn to_toml(&self) -> String {
        let (mut config, mut default) = (self.clone(), Self::default());
        let mut text = String::from("# Configuration of `rallypoint serve`.\n");
        let mut section = "";
        for key in keys::all() {
            if key.section != section {
                section = key.section;
                push(&mut text, format_args!("\n[{section}]\n"));
            }
            let value = key.written(&mut config);
            let default = key.written(&mut default);
            text.push('\n');
            for line in key.doc.lines() {
                push(&mut text, format_args!("# {}\n", line.trim()));
            }
            push(&mut text, format_args!("# Allowed: {}.\n", key.field));
            push(&mut text, format_args!("# Default: {}.\n", default.as_deref().unwrap_or("none")));
            match value {
                Some(value) => push(&mut text, format_args!("{} = {value}\n", key.name)),
                None => push(&mut text, format_args!("# {} = \"\"\n", key.name)),
            }
        }
        text
    }
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a `String` never fails.
    let _ = text.write_fmt(part);
}
