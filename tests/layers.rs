//! The layers of docs/architecture.md, held true by reading the paths in the source: no folder
//! knows one below it in the table, and no two files of a folder know each other, by whatever way
//! round.
//!
//! What counts are paths (`crate::…`, `super::…`) outside comments, texts and test modules. A name
//! that a folder's `mod.rs` only passes on counts as one of the file that defines it. `mod.rs`
//! itself stands for its folder, so it is in no circle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module path below `crate`: `["store", "sqlite", "lock"]`.
type Module = Vec<String>;

struct Source {
    module: Module,
    is_folder: bool,
    /// Without comments, texts and test modules.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(source(&root, &path));
            }
        }
    }
    assert!(found.len() > 100, "the sources are in another index");
    found
}

fn source(root: &Path, path: &PathBuf) -> Option<Source> {
    let mut module: Module = path
        .strip_prefix(root)
        .unwrap()
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    let is_test = |part: &String| part == "tests" || part.ends_with("_tests") || part == "test_keys";
    if module.iter().any(is_test) || module == ["lib"] || module == ["main"] {
        return None;
    }
    let is_folder = module.last().is_some_and(|last| last == "mod");
    if is_folder {
        module.pop();
    }
    Some(Source { module, is_folder, code: code(&fs::read_to_string(path).unwrap()) })
}

/// Takes comments, texts and what is under `#[cfg(test)]` out.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // An item of a test ends where its brackets do: at a line with the indent that it began
            // with.
            let indent = line.len() - line.trim_start().len();
            let first = lines.next().unwrap_or_default();
            if first.trim_end().ends_with('{') {
                let end = |line: &str| line.starts_with('}') || line.get(indent..) == Some("}");
                let _ = lines.by_ref().find(|line| end(line));
            }
            continue;
        }
        let line = line.split("//").next().unwrap_or_default();
        // Every other part is a text; a quoted quotation mark is rare enough to be an error when it
        // matters.
        for (index, part) in line.split('"').enumerate() {
            if index % 2 == 0 {
                code.push_str(part);
            }
        }
        code.push('\n');
    }
    code
}

/// The paths that begin with `crate` or `super`, groups taken apart, as module paths.
fn paths(source: &Source) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let code = &source.code;
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            let mut base = if start == "crate::" { Vec::new() } else { source.module.clone() };
            if start == "super::" && !base.is_empty() {
                base.pop();
            }
            let mut rest = &code[at + start.len()..];
            while let Some(further) = rest.strip_prefix("super::") {
                base.pop();
                rest = further;
            }
            tree(&base, rest, &mut found);
        }
    }
    found
}

/// Reads `a::b`, `{a, b::{c, d}}` at the beginning of `rest`; answers how much it read.
fn tree(base: &Module, rest: &str, found: &mut BTreeSet<Module>) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    if bytes.first() == Some(&b'{') {
        at += 1;
        loop {
            while bytes.get(at).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b',') {
                at += 1;
            }
            match bytes.get(at) {
                None | Some(b'}') => return at + 1,
                Some(_) => at += tree(base, &rest[at..], found).max(1),
            }
        }
    }
    let mut path = base.clone();
    loop {
        let name: String =
            rest[at..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        at += name.len();
        if !name.is_empty() && name != "self" {
            path.push(name);
        }
        if !rest[at..].starts_with("::") {
            break;
        }
        at += 2;
        if rest[at..].starts_with('{') {
            return at + tree(&path, &rest[at..], found);
        }
    }
    found.insert(path);
    // ` as name` in a group.
    let tail = rest[at..].strip_prefix(" as ");
    at + tail.map_or(0, |tail| 4 + tail.chars().take_while(|c| c.is_alphanumeric() || *c == '_').count())
}

/// The rank of each folder or file in the table of docs/architecture.md.
fn table() -> BTreeMap<String, usize> {
    let document = include_str!("../docs/architecture.md");
    let rows = document.lines().skip_while(|line| !line.starts_with("| --- ")).skip(1);
    let mut ranks = BTreeMap::new();
    for (rank, row) in rows.take_while(|line| line.starts_with('|')).enumerate() {
        let first = row.split('|').nth(1).unwrap();
        for name in first.split('`').skip(1).step_by(2) {
            let name = name.trim_end_matches('/').trim_end_matches(".rs").to_owned();
            assert!(ranks.insert(name.clone(), rank).is_none(), "{name} is in the table twice");
        }
    }
    assert!(ranks.len() > 15, "the table is in another form");
    ranks
}

#[test]
fn no_folder_knows_one_below_it() {
    let ranks = table();
    let mut wrong = BTreeSet::new();
    for source in sources() {
        let own = source.module.first().unwrap();
        let rank = *ranks.get(own).unwrap_or_else(|| panic!("src/{own} is not in the table"));
        for path in paths(&source) {
            let Some(other) = path.first().filter(|other| *other != own) else { continue };
            if ranks.get(other).is_some_and(|below| *below > rank) {
                wrong.insert(format!("{} knows {}", source.module.join("/"), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "upward: {wrong:#?}");
}

#[test]
fn folders_of_one_row_form_no_circle() {
    let ranks = table();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let own = source.module.first().unwrap();
        for path in paths(&source) {
            let Some(other) = path.first().filter(|other| *other != own) else { continue };
            if ranks.contains_key(other) && ranks.get(own) == ranks.get(other) {
                edges.entry(own.clone()).or_default().insert(other.clone());
            }
        }
    }
    let circles = circles(&edges);
    assert!(circles.is_empty(), "{circles:?}");
}

#[test]
fn no_files_of_a_folder_form_a_circle() {
    let sources = sources();
    let modules: BTreeSet<&Module> = sources.iter().map(|source| &source.module).collect();
    // What a folder passes on, and from which of its files.
    let mut passed: BTreeMap<Module, String> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_folder) {
        for statement in source.code.split(';') {
            let statement = statement.trim_start();
            let Some(at) = statement.find("use ").filter(|_| statement.starts_with("pub")) else { continue };
            let mut names = BTreeSet::new();
            tree(&Vec::new(), statement[at + 4..].trim_start_matches("self::"), &mut names);
            for name in names.iter().filter(|name| name.len() > 1) {
                let mut full = source.module.clone();
                full.push(name.last().unwrap().clone());
                passed.insert(full, name[0].clone());
            }
        }
    }
    // For each folder, who of its direct children knows whom.
    let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in &sources {
        for path in paths(source) {
            for depth in 0..source.module.len() {
                let folder = &source.module[..depth];
                let child = &source.module[depth];
                let Some(name) = path.get(depth).filter(|_| path.starts_with(folder)) else { continue };
                let mut full = folder.to_vec();
                full.push(name.clone());
                let other = passed.get(&full).unwrap_or(name);
                let mut known = folder.to_vec();
                known.push(other.clone());
                if other != child && depth > 0 && modules.contains(&known) {
                    let children = folders.entry(folder.to_vec()).or_default();
                    children.entry(child.clone()).or_default().insert(other.clone());
                }
            }
        }
    }
    let mut wrong = Vec::new();
    for (folder, edges) in folders {
        for circle in circles(&edges) {
            wrong.push(format!("{}: {}", folder.join("/"), circle.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "circles: {wrong:#?}");
}

/// The sets of nodes that reach one another.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(node) = next.pop() {
            for other in edges.get(&node).into_iter().flatten() {
                if seen.insert(other.clone()) {
                    next.push(other.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = edges.keys().map(|node| (node, reach(node))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (node, known) in &reached {
        let others = reached.iter().filter(|(other, back)| known.contains(**other) && back.contains(*node));
        let circle: Vec<String> = others.map(|(other, _)| (*other).clone()).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

#[test]
fn the_reader_sees_what_it_must() {
    let source = Source {
        module: ["store", "sqlite", "lock"].map(str::to_owned).to_vec(),
        is_folder: false,
        code: code(
            "use crate::{access::Caller, sts::{tid::Tid, meter}}; // crate::cli\nuse super::claim::Claim;\n\
             fn f() { super::super::open(); let _ = \"crate::bench\"; crate::api::g() }\n\
             #[cfg(test)]\nmod tests {\n    use crate::server;\n}\nuse crate::id::ClientId as Id;\n",
        ),
    };
    let found: Vec<String> = paths(&source).iter().map(|path| path.join("::")).collect();
    let expected = [
        "access::Caller",
        "api::g",
        "id::ClientId",
        "store::open",
        "store::sqlite::claim::Claim",
        "sts::meter",
        "sts::tid::Tid",
    ];
    assert_eq!(found, expected);
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        circles(&edges)
    };
    assert!(edges(&[("a", "b"), ("b", "c")]).is_empty());
    assert_eq!(edges(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]), [["a", "b", "c"]]);
}
