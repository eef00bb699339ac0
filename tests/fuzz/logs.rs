//! Logs of runs and published matrices, through to figures, tables, page and Parquet.

use crate::runner::{corpus, run};
use normfree::fault::{Fault, Kind};
use normfree::report::comparison::Comparison;
use normfree::report::export::write_parquet;
use normfree::report::figures::Options;
use normfree::report::page::page;
use normfree::report::run::RunData;
use normfree::report::write_comparison;
use std::fs;
use std::path::Path;

const CONFIG: &str = "[model]\nn_layer = 2\nn_head = 2\nnorm = \"none\"\nactivation_function = \"relu\"\n\
                      n_positions = 16\n[train]\nsequence_length = 16\nseed = 1\n";

/// Draws them as `plot` and `report` do.
fn drawn(path: &Path, out: &Path) -> Result<Comparison, Fault> {
    let comparison = Comparison::load(&[path])?;
    let options = Options { reference: RunData::reference_of(&comparison.runs), ..Options::default() };
    write_comparison(&comparison, out, &options)?;
    page(&comparison, &options)?;
    Ok(comparison)
}

/// A file that cannot be drawn must give a fault that names that file.
fn blames<T>(result: Result<T, Fault>, kinds: &[Kind]) -> Result<(), String> {
    match result {
        Err(fault) if !kinds.contains(&fault.kind) => Err(format!("{:?}: {fault}", fault.kind)),
        _ => Ok(()),
    }
}

#[test]
fn logs() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, out) = (folder.path().join("run"), folder.path().join("out"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("config.toml"), CONFIG).unwrap();
    run("logs", &corpus("metrics"), |input| {
        fs::write(dir.join("metrics.jsonl"), input).unwrap();
        let exported = drawn(&dir, &out).and_then(|comparison| write_parquet(&comparison.runs, &out));
        blames(exported, &[Kind::RunFolder])
    });
}

#[test]
fn published_matrices() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("published.toml"), folder.path().join("out"));
    run("published", &corpus("published"), |input| {
        fs::write(&file, input).unwrap();
        // Text that is not UTF-8 cannot be read.
        blames(drawn(&file, &out), &[Kind::Data, Kind::Io])
    });
}
