//! What ARCHITECTURE.md says about files and layers, checked.

mod circles;
mod package;

use normfree::ops::CASES;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files in a folder that end in `extension`, including subfolders if `deep`, relative to the root.
fn files(folder: &str, extension: &str, deep: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root().join(folder)).max_depth(if deep { usize::MAX } else { 1 }) {
        let path = entry.unwrap().into_path();
        if path.is_file() && path.extension().is_some_and(|e| e == extension) {
            found.push(path.strip_prefix(root()).unwrap().to_path_buf());
        }
    }
    assert!(!found.is_empty(), "{folder} has no .{extension} files");
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn an_op_is_three_files_of_one_stem() {
    let stems: BTreeSet<&str> = CASES.iter().map(|(stem, _)| *stem).collect();
    assert_eq!(stems.len(), CASES.len(), "a stem stands twice in the list");
    for (folder, extension, others) in [
        ("shaders", "wgsl", &[][..]),
        (
            "src/ops",
            "rs",
            &["mod", "case", "element", "norm_rows", "norms", "packed", "team", "random", "unroll"],
        ),
        ("tests/ops", "rs", &["mod", "check"]),
    ] {
        let files = files(folder, extension, false);
        let found: BTreeSet<&str> = files.iter().map(|f| f.file_stem().unwrap().to_str().unwrap()).collect();
        let wanted: BTreeSet<&str> = stems.iter().chain(others).copied().collect();
        assert_eq!(found, wanted, "{folder}");
    }
    // Parts of a shader are in a folder named after its stem.
    for path in files("shaders", "wgsl", true) {
        let Some(folder) = path.parent().and_then(|parent| parent.iter().nth(1)) else { continue };
        let folder = folder.to_str().unwrap();
        assert!(stems.contains(folder) || ["bench", "shared"].contains(&folder), "{}", path.display());
    }
}

#[test]
fn cases_and_ops_carry_their_stem() {
    for (stem, cases) in CASES {
        for case in cases(1) {
            assert_eq!(case.stem, *stem, "{}", case.label);
            assert!(
                case.tape.nodes().iter().any(|node| node.op.stem() == *stem),
                "{stem} {} has no node of its op",
                case.label
            );
        }
    }
}

#[test]
fn only_the_rooms_of_the_device_know_wgpu() {
    let mut users = BTreeSet::new();
    for path in files("src", "rs", true) {
        let uses = text(&path).lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("wgpu::") || code.contains("use wgpu")
        });
        if uses {
            users.insert(path);
        }
    }
    let allowed = |path: &Path| path.starts_with("src/gpu") || path.starts_with("src/plan");
    let others: Vec<_> = users.iter().filter(|path| !allowed(path)).collect();
    assert!(others.is_empty(), "{others:?} speak of wgpu");
    assert!(users.len() > 2, "the search finds nothing any more: {users:?}");
}

/// Macros that fail if nobody reads: the terminal is gone, the disk is full.
#[test]
fn one_place_writes_to_the_terminal() {
    let place = Path::new("src/cli/output");
    let mut within = 0;
    for path in files("src", "rs", true) {
        let own = path.with_extension("").starts_with(place);
        // cargo shows what tests print.
        let text = text(&path);
        for (number, line) in text.lines().take_while(|line| *line != "mod tests {").enumerate() {
            let code = line
                .split("//")
                .next()
                .unwrap_or_default()
                .replace("stderr().is_terminal()", "")
                .replace("use_stderr()", "");
            for word in ["print!(", "println!(", "dbg!(", "stdout()", "stderr()", "exit("] {
                let found = code.match_indices(word).any(|(at, _)| {
                    // Other names may end in the same word.
                    word != "exit("
                        || code[..at].ends_with("process::")
                        || code[..at].ends_with("low_level::")
                });
                let leaves = word == "exit(" && path == Path::new("src/cli/stop.rs");
                assert!(
                    !found || own || leaves,
                    "{} line {}: `{word}`; say it with src/cli/output.rs",
                    path.display(),
                    number + 1
                );
                within += u32::from(found);
            }
        }
    }
    assert!(within >= 4, "the search finds nothing any more");
}

/// `Cargo.toml` denies unsafe code, except below an `allow`.
#[test]
fn unsafe_code_stands_in_named_places() {
    let places = ["cli/stop.rs", "data/token_file.rs", "gpu/adapters.rs", "gpu/device.rs", "gpu/kept.rs"];
    let places = [&places[..], &["gpu/pipelines.rs", "gpu/width.rs", "ops/matmul/host.rs"]].concat();
    let named: BTreeSet<PathBuf> = places.iter().map(|place| Path::new("src").join(place)).collect();
    let allowed = |path: &PathBuf| text(path).contains("allow(unsafe_code)");
    let found: BTreeSet<PathBuf> = files("src", "rs", true).into_iter().filter(allowed).collect();
    assert_eq!(found, named);
}

#[test]
fn numbers_are_tested_for_being_finite_by_their_bits() {
    for path in files("shaders", "wgsl", true) {
        for (number, line) in text(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (left, right) in code.match_indices("!=").chain(code.match_indices("==")).map(|(at, sign)| {
                let name = |c: char| c.is_alphanumeric() || "_.[]".contains(c);
                let left = code[..at].trim_end().rsplit(|c| !name(c)).next().unwrap_or_default();
                let right = code[at + sign.len()..].trim_start().split(|c| !name(c)).next();
                (left, right.unwrap_or_default())
            }) {
                assert!(
                    left.is_empty() || left != right,
                    "{} line {}: compares `{left}` with itself",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn override_constants_have_no_defaults() {
    let mut overrides = 0;
    for path in files("shaders", "wgsl", true) {
        for (number, line) in text(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default().trim();
            if let Some(declared) = code.strip_prefix("override ") {
                let place = format!("{} line {}: {line}", path.display(), number + 1);
                assert!(!declared.contains('='), "{place}: has a default");
                assert!(declared.contains(':') && declared.ends_with(';'), "{place}");
                overrides += 1;
            }
            assert!(!code.starts_with("@id"), "{} line {}: {line}", path.display(), number + 1);
        }
    }
    assert!(overrides > 20, "the search finds nothing any more");
}

/// The cargo that runs these tests, or the one on the path.
fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root());
    command
}

/// Major, minor and patch of a version of Rust.
fn version(text: &str) -> [u32; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// Covers the packages that a build on this machine uses; with the feature `outside-tools` all that Cargo.lock has for any
/// system, for which cargo may ask the index.
#[test]
fn no_locked_package_asks_for_a_newer_rust() {
    let host = {
        let output = std::process::Command::new("rustc").arg("-vV").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
    };
    let mut command = cargo();
    command.args(["metadata", "--locked", "--format-version", "1"]);
    if !cfg!(feature = "outside-tools") {
        command.args(["--offline", "--filter-platform", &host]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "the search finds nothing any more: {}", packages.len());
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let newer: Vec<String> = (packages.iter())
        .filter(|package| package["rust_version"].as_str().is_some_and(|asked| version(asked) > ours))
        .map(|package| {
            format!("{} {} asks for {}", package["name"], package["version"], package["rust_version"])
        })
        .collect();
    assert!(newer.is_empty(), "Cargo.toml says {}: {newer:?}", env!("CARGO_PKG_RUST_VERSION"));
    // The README says the same.
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"))));
}

/// The rooms of `src`; each comes before those it uses.
const ROOMS: &[&str] = &[
    "cli",
    "card",
    "referee",
    "study",
    "publish",
    "report",
    "bench",
    "train",
    "generate",
    "verify",
    "device",
    "host",
    "hub",
    "data",
    "config",
    "optimizer",
    "model",
    "plan",
    "gpu",
    "reference",
    "pattern",
    "ops",
    "tape",
    "cores",
    "observe",
    "draw",
    "cache",
    "process",
    "files",
    "fault",
    "shell",
    "numbers",
    "visible",
    "words",
];

/// Rooms that build and run without a device, although some of them are above rooms that need one.
const WITHOUT_DEVICE: [&str; 8] = ["report", "pattern", "observe", "draw", "model", "data", "config", "hub"];
const WITH_DEVICE: [&str; 8] = ["bench", "generate", "train", "verify", "device", "host", "plan", "gpu"];

/// The room of a source file, unless it is a root of the program or of the library, which use every room.
fn room(path: &Path) -> Option<String> {
    let first = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    let room = first.trim_end_matches(".rs");
    (!matches!(room, "main" | "lib")).then(|| room.to_owned())
}

#[test]
fn rooms_know_only_rooms_below() {
    let rank = |room: &str| ROOMS.iter().position(|&of| of == room);
    for path in files("src", "rs", true) {
        let Some(room) = room(&path) else { continue };
        let own = rank(&room).unwrap_or_else(|| panic!("{} is in no room of the map", path.display()));
        for known in text(&path).split("crate::").skip(1) {
            let known = known.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let Some(other) = rank(known) else { continue };
            assert!(other >= own, "{}: {room} knows {known}", path.display());
            assert!(
                !WITHOUT_DEVICE.contains(&room.as_str()) || !WITH_DEVICE.contains(&known),
                "{}: {room}, which needs no device, knows {known}",
                path.display()
            );
        }
    }
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for room in ROOMS {
        assert!(
            map.contains(&format!("`{room}/`")) || map.contains(&format!("`{room}.rs`")),
            "{room} is not on the map"
        );
    }
}

/// Links between the pages of the documentation lead to files that exist.
#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for entry in walkdir::WalkDir::new(root()).into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || name == "target")
    }) {
        let path = entry.unwrap().into_path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if link.contains(':') || file.is_empty() || link.contains([' ', '\n']) {
                continue;
            }
            assert!(path.parent().unwrap().join(file).exists(), "{}: {link}", path.display());
            links += 1;
        }
    }
    assert!(links > 40, "{links}: the search finds nothing any more");
}
