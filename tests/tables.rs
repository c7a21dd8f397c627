//! Checks that the tables in the specification match those of the code.
//!
//! `RALLYPOINT_WRITE_VECTORS=1 cargo test --test tables` writes them into the pages.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rallypoint::server::limits::Limits;
use rallypoint::wire::{CloseCode, DeleteReason, ErrorCode, LeaveReason, RejectCode};

// spec-test: ERR-1, CLO-1, HSK-8, EVT-5, EVT-9
#[test]
fn errors_md_has_the_tables_of_the_codes() {
    let tables = [
        ("Results", ErrorCode::table()),
        ("CLOSE", CloseCode::table()),
        ("REJECT", RejectCode::table()),
        ("Why a member left", LeaveReason::table()),
        ("Why a session was deleted", DeleteReason::table()),
    ];
    let sections = tables.map(|(title, table)| format!("## {title}\n\n{table}")).join("\n");
    settle("errors.md", "## Results\n", &sections);
}

#[test]
fn limits_md_has_the_limits_of_a_server() {
    let mut table = String::from("| setting | default | allowed | |\n|---|---|---|---|\n");
    for limit in Limits::ALL {
        let text = limit.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (name, unit) = (limit.name, limit.unit);
        writeln!(table, "| `{name}` | {} {unit} | {}..{} | {text} |", limit.default, limit.min, limit.max)
            .unwrap();
    }
    settle("limits.md", "| setting |", &table);
}

/// Compares everything from `from` to the end of the page with `wanted`, or writes it when asked to.
fn settle(page: &str, from: &str, wanted: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-spec").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find(from).unwrap_or(text.len());
    if std::env::var_os("RALLYPOINT_WRITE_VECTORS").is_some() {
        std::fs::write(&path, [&text[..start], wanted].concat()).unwrap();
        return;
    }
    assert_eq!(&text[start..], wanted, "{page} differs: see the head of tests/tables.rs");
}
