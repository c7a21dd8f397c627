//! Ties `protocol-spec/` to the code.
//!
//! A requirement is an item `- REL-4: A receiver MUST …` of a page. Code that implements one is marked
//! `// spec: REL-4` (or `Spec: REL-4` in a doc comment), and a test that checks it is marked
//! `// spec-test: REL-4`. Each MUST needs such a test that `cargo test` runs (one in `fuzz/` is not enough),
//! and no marker may name an id that the spec does not contain.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders with code and tests.
const CODE: &[&str] = &["src", "tests", "benches", "fuzz/fuzz_targets"];

#[test]
fn every_must_of_the_spec_has_a_test() {
    let requirements = requirements(&pages());
    assert!(requirements.len() > 10, "the walk found no requirements");
    let named = references(&code());
    let untested: Vec<String> = requirements
        .iter()
        .filter(|(id, text)| text.contains("MUST") && !named.iter().any(|n| n.id == **id && n.is_held))
        .map(|(id, text)| format!("{id}: {text}"))
        .collect();
    assert!(untested.is_empty(), "\nno `// spec-test:` names\n{}\n", untested.join("\n"));
}

/// The README explains the word.
#[test]
fn every_must_is_in_a_requirement() {
    let pages: Vec<_> = pages().into_iter().filter(|(file, _)| !file.ends_with("README.md")).collect();
    let count = |text: &str| text.matches("MUST").count();
    let in_requirements: usize = requirements(&pages).values().map(|text| count(text)).sum();
    let in_all: usize = pages.iter().map(|(_, text)| count(text)).sum();
    assert_eq!(in_all, in_requirements);
}

/// A test that is not run holds nothing.
#[test]
fn no_test_of_a_requirement_is_ignored() {
    for (file, text) in code() {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("// spec-test: ")) {
            let head =
                lines[at + 1..].iter().take_while(|line| line.starts_with("//") || line.starts_with("#["));
            assert!(head.into_iter().all(|line| !line.starts_with("#[ignore")), "{file}:{}", at + 1);
        }
    }
}

#[test]
fn every_marker_of_a_test_is_on_one() {
    let code = code().into_iter().filter(|(file, _)| !file.starts_with("fuzz")).collect::<Vec<_>>();
    let named = references(&code);
    let astray: Vec<String> = named
        .iter()
        .filter(|named| named.is_test && !named.is_held)
        .map(|named| format!("{}: {}", named.file, named.id))
        .collect();
    assert!(astray.is_empty(), "\nno `#[test]` follows\n{}\n", astray.join("\n"));
}

#[test]
fn code_names_only_requirements_that_the_spec_has() {
    let requirements = requirements(&pages());
    let unknown: Vec<String> = references(&code())
        .into_iter()
        .filter(|named| !requirements.contains_key(&named.id))
        .map(|named| format!("{}: {}", named.file, named.id))
        .collect();
    assert!(unknown.is_empty(), "\nno page of protocol-spec has\n{}\n", unknown.join("\n"));
}

#[test]
fn pages_name_only_requirements_that_exist() {
    let pages = pages();
    let requirements = requirements(&pages);
    for (file, text) in &pages {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            let family = word.split('-').next().unwrap_or_default();
            let of_a_family = requirements.keys().any(|id| id.split('-').next() == Some(family));
            if of_a_family && ids(word).next().as_deref() == Some(word) {
                assert!(requirements.contains_key(word), "{file} names {word}, which no page defines");
            }
        }
    }
}

#[test]
fn a_planted_gap_is_seen() {
    let page = ("p.md".into(), "# P\n- ABC-1: A sender MUST\n  knock.\n- ABC-2: It SHOULD wait.\n".into());
    let requirements = requirements(&[page]);
    assert_eq!(requirements["ABC-1"], "A sender MUST knock.");
    assert_eq!(requirements.len(), 2);
    let code =
        ("c.rs".into(), "// spec: ABC-1, ABC-9\n// spec-test: ABC-2\n/// Knocks. Spec: ABC-1.\n".into());
    let named = references(&[code]);
    let all: Vec<_> = named.iter().map(|named| (named.id.as_str(), named.is_test)).collect();
    assert_eq!(all, [("ABC-1", false), ("ABC-9", false), ("ABC-2", true), ("ABC-1", false)]);
    assert!(named.iter().all(|named| !named.is_held), "no test follows");
    for (after, held) in [
        ("#[test]\n", true),
        ("/// Waits.\n#[allow(x)]\n    #[tokio::test]\n", true),
        ("fn helper() {}\n#[test]\n", false),
        ("\n#[test]\n", false),
        ("#![no_main]\n", false),
    ] {
        let named = references(&[("c.rs".into(), format!("// spec-test: ABC-1\n{after}"))]);
        assert_eq!(named[0].is_held, held, "{after}");
    }
}

struct Named {
    id: String,
    file: String,
    /// Whether the reference marks a test.
    is_test: bool,
    /// Whether, in addition, a test follows the marker.
    is_held: bool,
}

/// Returns the requirements of `pages` by id; fails on a duplicate id.
fn requirements(pages: &[(String, String)]) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (file, text) in pages {
        let mut open: Option<String> = None;
        for line in text.lines() {
            if let Some((id, rest)) = line.strip_prefix("- ").and_then(|item| item.split_once(": "))
                && ids(id).next().as_deref() == Some(id)
            {
                let before = found.insert(id.into(), rest.trim().into());
                assert!(before.is_none(), "{file}: {id} is defined twice");
                open = Some(id.into());
            } else if line.starts_with("  ") {
                if let Some(text) = open.as_ref().and_then(|id| found.get_mut(id)) {
                    text.push(' ');
                    text.push_str(line.trim());
                }
            } else {
                open = None;
            }
        }
    }
    found
}

/// Returns every requirement id in the comments of `files`.
fn references(files: &[(String, String)]) -> Vec<Named> {
    let mut found = Vec::new();
    for (file, text) in files {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((_, comment)) = line.split_once("//") else { continue };
            let (marker, is_test) =
                match ["spec-test: ", "spec: ", "Spec: "].iter().find(|m| comment.contains(**m)) {
                    Some(marker) => (*marker, *marker == "spec-test: "),
                    None => continue,
                };
            let after = comment.split_once(marker).map(|(_, after)| after).unwrap_or_default();
            let is_held = is_test && is_before_a_test(&lines[at + 1..]);
            found.extend(ids(after).map(|id| Named { id, file: file.clone(), is_test, is_held }));
        }
    }
    found
}

/// Returns true if only comments and attributes separate the start of `lines` from a `#[test]`.
fn is_before_a_test(lines: &[&str]) -> bool {
    let head = lines
        .iter()
        .map(|line| line.trim())
        .take_while(|line| line.starts_with("//") || line.starts_with("#["));
    head.into_iter().any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// Returns the ids at the start of `text`, separated by commas, up to the first word that is not an id.
fn ids(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split([',', ' ', '.', '`']).filter(|word| !word.is_empty()).map_while(|word| {
        let (family, number) = word.split_once('-')?;
        let is_id = family.len() == 3
            && family.bytes().all(|byte| byte.is_ascii_uppercase())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then(|| word.to_owned())
    })
}

fn pages() -> Vec<(String, String)> {
    files("protocol-spec", "md")
}

fn code() -> Vec<(String, String)> {
    // This file contains sample ids.
    let planted = Path::new("tests").join("spec.rs").display().to_string();
    CODE.iter().flat_map(|folder| files(folder, "rs")).filter(|(path, _)| *path != planted).collect()
}

/// Returns every file with `extension` below `folder`, with its text.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path: PathBuf = entry.expect("an entry is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let below = path.strip_prefix(root).expect("invariant: found below it");
                found.push((
                    below.display().to_string(),
                    fs::read_to_string(&path).expect("a source is text"),
                ));
            }
        }
    }
    found.sort();
    found
}
