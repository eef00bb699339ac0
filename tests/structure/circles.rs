//! No two files of a room use each other, directly or through others.
//!
//! What counts, judged by the text alone:
//! - A file uses another if a `use` or a path in its code names something that the other defines: `crate::room::file::Item`,
//!   `super::file::Item`, `super::Item` defined in the parent's own file, `child::item` of a module it declares.
//! - A name that a file only re-exports (`pub use child::Item`) leads to the file that defines it. Whoever asks for the name
//!   uses that file; the file between uses it only if the name also appears in its own code.
//! - `mod child;` is a declaration and does not count. Nor does a method of a type whose `impl` is elsewhere: nothing in the
//!   text says which file it comes from.
//! - Comments, strings and `#[cfg(test)]` modules are ignored.

use super::{files, text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

type Module = Vec<String>;

/// One file of `src`, with what its circles depend on.
struct Source {
    file: PathBuf,
    code: String,
    /// What `use` brings into its scope, by name, as absolute paths, and whether it is re-exported.
    imports: BTreeMap<String, (Module, bool)>,
}

/// The remaining circles, each as its files, with the reason. The aim is none.
const KNOWN: &[&[&str]] = &[
    // A device is opened by adapters, canary and width, which open devices to try them.
    &[
        "src/gpu/adapters.rs",
        "src/gpu/canary.rs",
        "src/gpu/describe.rs",
        "src/gpu/device.rs",
        "src/gpu/pipelines.rs",
        "src/gpu/submissions.rs",
        "src/gpu/width.rs",
    ],
    // A configuration picks a network and a join, whose rows declare their parameters from the configuration.
    &[
        "src/model/activate.rs",
        "src/model/config.rs",
        "src/model/join.rs",
        "src/model/network/fused.rs",
        "src/model/network/gated.rs",
        "src/model/network/mod.rs",
        "src/model/network/standard.rs",
        "src/model/site.rs",
    ],
    // A tape holds ops, and their adjoints record on a tape.
    &["src/tape/backward.rs", "src/tape/mod.rs", "src/tape/op.rs", "src/tape/remake.rs"],
];

#[test]
fn no_files_know_each_other_in_a_circle() {
    let sources = sources();
    let edges = edges(&sources);
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 300, "the search finds nothing any more");
    let file = |module: &Module| sources[module].file.display().to_string();
    let circles = circles(&edges);
    let files = |circle: &BTreeSet<Module>| circle.iter().map(file).collect::<BTreeSet<String>>();
    let is = |circle: &BTreeSet<Module>, known: &[&str]| files(circle).iter().eq(known);
    for known in KNOWN {
        assert!(circles.iter().any(|circle| is(circle, known)), "{known:?} is no circle any more: strike it");
    }
    // An op and its kernels for the CPU are one thought in two files or three: `adamw.rs` and `adamw/host.rs`.
    let one_op = |circle: &BTreeSet<Module>| {
        let own = |file: &String| file.strip_prefix("src/ops/")?.split("/host").next().map(str::to_owned);
        let stem = |file: &String| own(file).unwrap_or(file.clone()).trim_end_matches(".rs").to_owned();
        files(circle).iter().map(stem).collect::<BTreeSet<_>>().len() == 1
    };
    let circles: Vec<_> = circles.into_iter().filter(|circle| !one_op(circle)).collect();
    let new = circles.iter().filter(|circle| !KNOWN.iter().any(|known| is(circle, known)));
    let found: Vec<String> = new.map(|circle| told(circle, &edges, &sources)).collect();
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
}

#[test]
fn text_is_read_as_the_compiler_reads_it() {
    let code = without_text(
        "use a::b; // use c::d\nlet s = \"use e::f\"; let c = '\"'; let r = r#\"g::h\"#; fn i<'a>() {} /* j::k */ l::m",
    );
    for (word, there) in
        [("a::b", true), ("c::d", false), ("e::f", false), ("g::h", false), ("j::k", false), ("l::m", true)]
    {
        assert_eq!(code.contains(word), there, "{word} in {code}");
    }
    let code = without_tests(
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { {} }\n}\nfn c() {}\n#[cfg(test)]\nmod tests;\n",
    );
    assert!(code.contains("fn a") && code.contains("fn c") && !code.contains("fn b"), "{code}");
    let mut paths = Vec::new();
    leaves("super::{self, a::{B, C as D}, e}", &mut Vec::new(), &mut paths);
    let texts: Vec<String> = paths.iter().map(|(path, name)| format!("{} {name}", path.join("::"))).collect();
    assert_eq!(texts, ["super super", "super::a::B B", "super::a::C D", "super::e e"]);
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every file of `src` by its module.
fn sources() -> BTreeMap<Module, Source> {
    let mut sources = BTreeMap::new();
    for file in files("src", "rs", true) {
        let mut module: Module =
            file.with_extension("").iter().skip(1).map(|part| part.to_str().unwrap().to_owned()).collect();
        match module.last().map(String::as_str) {
            Some("mod") => drop(module.pop()),
            // The roots of the program and the library use every room.
            Some("lib" | "main") if module.len() == 1 => continue,
            _ => {}
        }
        let code = without_tests(&without_text(&text(&file)));
        sources.insert(module, Source { file, code, imports: BTreeMap::new() });
    }
    let modules: BTreeSet<Module> = sources.keys().cloned().collect();
    for (module, source) in &mut sources {
        let (code, imports) = imports(&source.code, module, &modules);
        (source.code, source.imports) = (code, imports);
    }
    sources
}

/// The text without comments and without the contents of strings and characters.
fn without_text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|after| after.len() - after.trim_start_matches('#').len());
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw
            && rest[1 + hashes..].starts_with('"')
            && !out.ends_with(is_word)
        {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |at| at + 2)
        } else if c == '\'' {
            // A character, unless it is a lifetime.
            match rest[1..].chars().next() {
                Some('\\') => rest[3..].find('\'').map_or(rest.len(), |at| at + 4),
                Some(of) if rest[1 + of.len_utf8()..].starts_with('\'') => 2 + of.len_utf8(),
                _ => 0,
            }
        } else {
            0
        };
        if skipped == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skipped..];
        }
    }
    out
}

/// The code without its `#[cfg(test)]` modules.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]").into_iter().chain(rest.find("#[cfg(all(test")).min() {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let (open, end) = (item.find('{'), item.find(';'));
        let length = match (open, end) {
            (Some(open), end) if end.is_none_or(|end| open < end) => {
                let mut depth = 0;
                let closes = item[open..].find(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    depth == 0
                });
                open + closes.expect("braces match") + 1
            }
            (_, end) => end.expect("an item ends") + 1,
        };
        rest = &item[length..];
    }
    out + rest
}

/// The paths of a `use`, each with the name that it introduces.
fn leaves(tree: &str, before: &mut Module, out: &mut Vec<(Module, String)>) {
    let tree = tree.trim();
    let length = before.len();
    let (path, group) = match tree.split_once('{') {
        Some((path, group)) => (path, group.strip_suffix('}')),
        None => (tree, None),
    };
    let (path, name) = path.split_once(" as ").map_or((path, None), |(path, name)| (path, Some(name.trim())));
    before.extend(
        path.split("::").map(str::trim).filter(|part| !part.is_empty() && *part != "self").map(str::to_owned),
    );
    match group {
        None if before.is_empty() => {}
        None => out.push((before.clone(), name.unwrap_or(before.last().unwrap()).to_owned())),
        Some(group) => {
            let (mut depth, mut from) = (0, 0);
            for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
                depth += i32::from(c == '{') - i32::from(c == '}');
                if c == ',' && depth == 0 {
                    if !group[from..at].trim().is_empty() {
                        leaves(&group[from..at], before, out);
                    }
                    from = at + 1;
                }
            }
        }
    }
    before.truncate(length);
}

/// A path as written in a module, from the root of the crate; `None` if it is another crate's.
fn absolute(path: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut at = module.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                at.pop();
                rest = &rest[1..];
            }
        }
        first => {
            at.push(first.to_owned());
            if !modules.contains(&at) {
                return None;
            }
            at.pop();
        }
    }
    at.extend(rest.iter().cloned());
    Some(at)
}

type Imports = BTreeMap<String, (Module, bool)>;

/// The code without its `use` lines, and what these bring.
fn imports(code: &str, module: &Module, modules: &BTreeSet<Module>) -> (String, Imports) {
    let (mut out, mut found) = (String::new(), BTreeMap::new());
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let end = rest[at..].find(';').map(|end| at + end);
        let before = &rest[..at];
        // Where a statement may begin.
        let line = before.rsplit(['\n', ';', '{', '}']).next().unwrap().trim();
        let starts = (line.is_empty() || line == "pub" || (line.starts_with("pub(") && line.ends_with(')')))
            && !before.ends_with(is_word);
        let Some(end) = end.filter(|_| starts) else {
            out.push_str(&rest[..at + 4]);
            rest = &rest[at + 4..];
            continue;
        };
        out.push_str(before.strip_suffix(line).unwrap_or(before));
        let mut paths = Vec::new();
        leaves(&rest[at + 4..end], &mut Vec::new(), &mut paths);
        for (path, name) in paths {
            if let Some(path) = absolute(&path, module, modules) {
                found.insert(name, (path, !line.is_empty()));
            }
        }
        rest = &rest[end + 1..];
    }
    (out + rest, found)
}

/// The module whose file defines what an absolute path names, through files that re-export it; `None` if the path names a
/// module itself.
fn definer(path: &Module, sources: &BTreeMap<Module, Source>, steps: u32) -> Option<Module> {
    let length = (1..=path.len()).rev().find(|&length| sources.contains_key(&path[..length].to_vec()))?;
    let (module, inside) = path.split_at(length);
    let module = module.to_vec();
    let first = inside.first()?;
    if let Some((handed, _)) = sources[&module].imports.get(first)
        && steps > 0
    {
        let mut further = handed.clone();
        further.extend(inside[1..].iter().cloned());
        return definer(&further, sources, steps - 1);
    }
    Some(module)
}

/// The files that each file uses within its room.
fn edges(sources: &BTreeMap<Module, Source>) -> BTreeMap<Module, BTreeSet<Module>> {
    let modules: BTreeSet<Module> = sources.keys().cloned().collect();
    let mut edges = BTreeMap::new();
    for (module, source) in sources {
        let mut known = BTreeSet::new();
        let mut know = |path: &Module| known.extend(definer(path, sources, 8));
        let words: BTreeSet<&str> = source.code.split(|c| !is_word(c)).collect();
        for (name, (path, for_others)) in &source.imports {
            if !for_others || words.contains(name.as_str()) {
                know(path);
            }
        }
        for text in source.code.split(|c: char| !is_word(c) && c != ':') {
            let path: Module = text.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            if path.len() < 2 || text.starts_with("::") {
                continue;
            }
            if let Some((imported, _)) = source.imports.get(&path[0]) {
                let mut further = imported.clone();
                further.extend(path[1..].iter().cloned());
                know(&further);
            } else if let Some(path) = absolute(&path, module, &modules) {
                know(&path);
            }
        }
        known.retain(|other| other != module && other.first() == module.first());
        edges.insert(module.clone(), known);
    }
    edges
}

/// Everything that can be reached from a module.
fn reached(from: &Module, edges: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = left.pop() {
        left.extend(edges[&module].iter().filter(|next| seen.insert((*next).clone())).cloned());
    }
    seen
}

/// The groups of modules that all reach one another.
fn circles(edges: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach: BTreeMap<&Module, BTreeSet<Module>> =
        edges.keys().map(|module| (module, reached(module, edges))).collect();
    let mut found: Vec<BTreeSet<Module>> = Vec::new();
    for (module, reachable) in &reach {
        if reachable.contains(*module) && !found.iter().any(|circle| circle.contains(*module)) {
            found.push(reachable.iter().filter(|other| reach[*other].contains(*module)).cloned().collect());
        }
    }
    found
}

/// A circle, and who uses whom in it.
fn told(
    circle: &BTreeSet<Module>,
    edges: &BTreeMap<Module, BTreeSet<Module>>,
    sources: &BTreeMap<Module, Source>,
) -> String {
    let name = |module: &Module| sources[module].file.display().to_string();
    let lines = circle.iter().map(|module| {
        let known: Vec<String> = edges[module].intersection(circle).map(name).collect();
        format!("  {} knows {}", name(module), known.join(", "))
    });
    format!("a circle of {}:\n{}", circle.len(), lines.collect::<Vec<_>>().join("\n"))
}
