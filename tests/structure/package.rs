//! What leaves the project: the crate and the files of a release.

use super::{cargo, root};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// The files that a source file embeds by their whole name, relative to the project. Macros embed others by parts of their
/// names: whole folders below.
fn embedded(source: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(source).unwrap();
    let pieces = text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1));
    let beside = source.parent().unwrap().strip_prefix(root()).unwrap().to_owned();
    pieces.map(|piece| plain(&beside.join(piece.split('"').next().unwrap()))).collect()
}

#[test]
fn the_crate_holds_what_the_program_embeds() {
    let output =
        cargo().args(["package", "--list", "--allow-dirty", "--locked", "--offline"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: BTreeSet<PathBuf> =
        String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect();
    let files = |folder: &str| -> Vec<PathBuf> {
        let walk = walkdir::WalkDir::new(root().join(folder)).into_iter().map(Result::unwrap);
        walk.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
    };
    let mut needed =
        vec![PathBuf::from("Cargo.lock"), "README.md".into(), "LICENSE-MIT".into(), "LICENSE-APACHE".into()];
    for folder in ["src", "shaders", "configs"] {
        needed.extend(files(folder).iter().map(|path| path.strip_prefix(root()).unwrap().to_owned()));
    }
    let before = needed.len();
    for source in files("src").iter().filter(|path| path.extension().is_some_and(|of| of == "rs")) {
        needed.extend(embedded(source));
    }
    assert!(needed.len() > before + 40, "the search finds nothing any more");
    let missing: Vec<&PathBuf> = needed.iter().filter(|path| !listed.contains(*path)).collect();
    assert!(missing.is_empty(), "the crate lacks {missing:?}");
}

/// The script of `.github/workflows/release.yml`.
#[cfg(unix)]
#[test]
fn a_release_file_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &Path, arguments: &[&std::ffi::OsStr]| {
        let output = std::process::Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let program = std::ffi::OsStr::new(env!("CARGO_BIN_EXE_normfree"));
    let told =
        run(&root().join(".ci/archive"), &[program, "some-target".as_ref(), folder.path().as_os_str()]);
    let name = format!("normfree-{}-some-target", env!("CARGO_PKG_VERSION"));
    let archive = folder.path().join(format!("{name}.tar.gz"));
    assert!(told.trim().ends_with(&format!("{name}.tar.gz")) && archive.is_file(), "{told}");
    let listed = run(Path::new("tar"), &["-tzf".as_ref(), archive.as_os_str()]);
    for part in [
        "normfree",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "man/normfree.1",
        "completions/normfree.zsh",
    ] {
        assert!(listed.lines().any(|line| line == format!("{name}/{part}")), "{part} is not in\n{listed}");
    }
    let digest = fs::read_to_string(folder.path().join(format!("{name}.tar.gz.sha256"))).unwrap();
    assert!(digest.starts_with(&normfree::files::sha256(&fs::read(&archive).unwrap())), "{digest}");
}
