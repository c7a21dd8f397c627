//! Checks the architecture: no layer imports upward, and clocks, sockets, tasks and global random sources
//! occur only where they are allowed.
//!
//! Works on the text of `src/`: comments and string literals are blanked, then each file is checked against
//! the row of its layer in [`LAYERS`]. A file that belongs to no layer fails, so a new folder must be added
//! to the table.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of `src/`, and the layers of the crate that it may import besides itself.
struct Layer {
    name: &'static str,
    imports: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer { name: "base", imports: &[] },
    Layer { name: "wire", imports: &["base"] },
    Layer { name: "secure", imports: &["base", "wire"] },
    Layer { name: "session", imports: &["base", "wire"] },
    Layer { name: "rudp", imports: &["base", "wire", "secure"] },
    Layer { name: "backend", imports: &["base", "secure"] },
    Layer { name: "link", imports: &["base"] },
    Layer { name: "net", imports: &["base", "wire"] },
    Layer { name: "server", imports: &["base", "wire", "secure", "rudp", "net", "session"] },
    Layer { name: "client", imports: &["base", "wire", "secure", "rudp", "net"] },
    Layer {
        name: "cli",
        imports: &["base", "wire", "secure", "backend", "rudp", "net", "session", "server", "client", "link"],
    },
    Layer {
        name: "testing",
        imports: &["base", "wire", "secure", "rudp", "net", "session", "server", "client", "link"],
    },
];

/// A facility that is allowed only in certain places.
struct Homed {
    what: &'static str,
    /// Text that identifies its use.
    signs: &'static [&'static str],
    /// Path prefixes below `src/` where it is allowed.
    homes: &'static [&'static str],
    /// Path prefixes inside those where it is still forbidden: the sans-IO parts.
    but_not: &'static [&'static str],
}

/// The parts of `server` and `client` that the simulation runs under a virtual clock.
const SANS_IO: &[&str] = &["server/worker", "client/core"];

const HOMED: &[Homed] = &[
    Homed {
        what: "a clock",
        signs: &["Instant::now", "SystemTime::now", ".elapsed()"],
        homes: &["net/", "backend.rs", "cli/", "main.rs"],
        but_not: &[],
    },
    Homed {
        what: "what a clock says",
        signs: &["UNIX_EPOCH"],
        homes: &["net/", "cli/", "base/time.rs"],
        but_not: &[],
    },
    Homed {
        what: "a socket",
        signs: &["UdpSocket", "TcpStream", "TcpListener", "socket2", "libc::"],
        homes: &["net/", "cli/"],
        but_not: &[],
    },
    Homed {
        what: "a task, a thread or a sleep",
        signs: &["tokio", "thread::spawn", "thread::Builder", "thread::sleep"],
        homes: &["net/", "server/", "client/", "cli/", "main.rs"],
        but_not: SANS_IO,
    },
    Homed {
        what: "a log line",
        signs: &["tracing::"],
        homes: &["net/", "server/", "client/", "cli/", "main.rs"],
        but_not: &[],
    },
    Homed {
        what: "a global random source",
        signs: &[
            "thread_rng",
            "rand::rng()",
            "rand::random",
            "OsRng",
            "from_os_rng",
            "ThreadRng",
            "SystemRandom",
            "getrandom",
        ],
        homes: &["net/", "backend.rs", "server/", "client/", "cli/", "main.rs"],
        but_not: SANS_IO,
    },
];

#[test]
fn no_layer_imports_upward() {
    report(&sources(), imports_upward);
}

#[test]
fn clocks_sockets_tasks_and_chance_stay_at_home() {
    report(&sources(), strays);
}

#[test]
fn an_import_upward_is_caught_in_every_form() {
    let planted = |text: &str| !imports_upward("rudp/planted.rs", text).is_empty();
    assert!(planted("use crate::server::Worker;"));
    assert!(planted("use crate::{base::Timestamp, net::{self, Clock}};"));
    assert!(planted("use crate::{\n    base::Timestamp,\n    session,\n};"));
    assert!(planted("fn f() { crate::cli::run() }"));
    assert!(!planted("use crate::{base::{Now, net}, wire::server};"), "an item's name is no layer");
    assert!(!planted("// use crate::server::Worker;\n/// See [`crate::server`].\n"), "comments do not count");
    assert!(!planted("#[cfg(test)]\nmod tests { use crate::testing::Pair; }"), "tests may use `testing`");
    assert!(planted("#[cfg(test)]\nmod tests { use crate::server::Worker; }"), "but not what stands above");
    assert!(planted("use crate::testing::Pair;"), "`testing` is for tests alone");
    assert!(planted("#[cfg(test)]\nmod tests;\nuse crate::testing::Pair;"), "also behind a file of tests");
    assert!(planted("use super::super::server::Worker;"), "by way of the root");
    assert!(planted("use super::super::{base::Timestamp, server::Worker};"));
    assert!(planted("mod inner { use super::super::super::server::Worker; }"));
    assert!(!planted("use super::server::Worker;"), "which is `rudp::server`");
    assert_eq!(imports_upward("planted/mod.rs", "").len(), 1, "a folder without a row fails");
    assert_eq!(imports_upward("base/planted.rs", "use crate::wire;"), ["base imports wire"]);
}

#[test]
fn a_clock_a_socket_a_task_and_chance_are_caught() {
    assert_eq!(strays("rudp/planted.rs", "let t = Instant::now();"), ["a clock: Instant::now"]);
    assert_eq!(strays("session/planted.rs", "SystemTime::now()").len(), 1);
    assert_eq!(strays("server/worker.rs", "tokio::spawn(x)").len(), 1);
    assert_eq!(strays("server/worker/roster.rs", "rand::rng()").len(), 1);
    assert_eq!(strays("client/core.rs", "StdRng::from_os_rng()").len(), 1);
    assert_eq!(strays("server/start.rs", "std::net::UdpSocket::bind(a)").len(), 1);
    assert!(strays("server/start.rs", "tokio::spawn(x); StdRng::from_os_rng()").is_empty());
    assert!(strays("net/clock.rs", "Instant::now()").is_empty());
    assert!(strays("base/time.rs", "// not Instant::now\nlet s = \"Instant::now\";").is_empty());
}

/// Fails with every finding of `check` in `files`.
fn report(files: &[(String, String)], check: fn(&str, &str) -> Vec<String>) {
    assert!(files.len() > 5, "the walk found no sources");
    let found: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| {
            check(path, text).into_iter().map(move |finding| format!("src/{path}: {finding}"))
        })
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Returns the layers that the file at `path` (below `src/`) imports but may not.
fn imports_upward(path: &str, text: &str) -> Vec<String> {
    if ["lib.rs", "main.rs"].contains(&path) {
        return Vec::new();
    }
    let folder = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == folder) else {
        return vec![format!("`{folder}` is no layer: enter it in tests/layers.rs")];
    };
    let code = code_of(text);
    let tests = if is_test_file(path) { 0 } else { inline_tests(&code).unwrap_or(code.len()) };
    let (shipped, tests) = code.split_at(tests);
    let mut found = Vec::new();
    for (part, testing) in [(shipped, false), (tests, true)] {
        for import in crate_imports(part).into_iter().chain(root_imports(path, part)) {
            let known = LAYERS.iter().any(|layer| layer.name == import);
            let allowed = import == layer.name
                || layer.imports.contains(&import.as_str())
                || (testing && import == "testing");
            if known && !allowed {
                found.push(format!("{} imports {import}", layer.name));
            }
        }
    }
    found
}

/// Returns the facilities that the file at `path` uses but may not.
fn strays(path: &str, text: &str) -> Vec<String> {
    // Shuttle's threads are tasks of a model checker, used only in tests.
    let code = code_of(text).replace("shuttle::thread", "");
    let within = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    HOMED
        .iter()
        .filter(|homed| !within(homed.homes) || within(homed.but_not))
        .flat_map(|homed| {
            let signs = homed.signs.iter().filter(|sign| code.contains(**sign));
            signs.map(|sign| format!("{}: {sign}", homed.what))
        })
        .collect()
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// Returns where the inline test module at the end of a file begins. A test module in its own file, or any
/// other item only for tests, does not turn the rest of the file into tests.
fn inline_tests(code: &str) -> Option<usize> {
    const MARK: &str = "#[cfg(test)]";
    let is_module = |at: &usize| {
        let item = &code[at + MARK.len()..];
        let head = item.find([';', '{']).map_or(item, |end| &item[..=end]);
        head.split_whitespace().any(|word| word == "mod") && head.ends_with('{')
    };
    code.match_indices(MARK).map(|(at, _)| at).find(is_module)
}

/// Returns what `code` imports from the root by a path of as many `super` as the depth of the file at `path`.
fn root_imports(path: &str, code: &str) -> Vec<String> {
    let depth = path.trim_end_matches("/mod.rs").split('/').count();
    let root = "super::".repeat(depth);
    let mut found = Vec::new();
    for (at, root) in code.match_indices(&root) {
        // An inline module is one level deeper.
        let rest = code[at + root.len()..].trim_start_matches("super::");
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.push(identifier(rest)),
        }
    }
    found
}

/// Returns the first path segment of everything that `code` imports from `crate`, including grouped imports.
fn crate_imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, matched) in code.match_indices("crate::") {
        let rest = code[at + matched.len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_heads(group));
        } else {
            found.push(identifier(rest));
        }
    }
    found
}

/// Returns the first identifiers of the top-level members of an import group, `group` being the text after
/// its brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = vec![identifier(group.trim_start())];
    let mut depth = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(identifier(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// Returns `text` with line comments and the contents of string literals blanked.
fn code_of(text: &str) -> String {
    text.lines().map(code_of_line).collect::<Vec<_>>().join("\n")
}

fn code_of_line(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => drop(characters.next()),
            // A quote in a character literal does not open a string.
            '"' if !in_string && code.ends_with('\'') && characters.peek() == Some(&'\'') => code.push(' '),
            '"' => {
                in_string = !in_string;
                code.push('"');
            }
            _ if in_string => {}
            '/' if characters.peek() == Some(&'/') => break,
            _ => code.push(character),
        }
    }
    code
}

/// Returns every Rust file of `src/`: its path below `src/` and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path: PathBuf = entry.expect("an entry is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).expect("invariant: found below it");
                files.push((
                    below.display().to_string(),
                    fs::read_to_string(&path).expect("a source is text"),
                ));
            }
        }
    }
    files
}
