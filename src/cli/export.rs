//! `normfree export`.

use super::{Global, say};
use crate::fault::Result;
use crate::report::comparison::Comparison;
use crate::report::export::write_parquet;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Writes the logs of runs as tables, one file for each kind of record, with the
run's folder in the column `run`: steps and evals; attention and
entropy_thresholds, with a row for each head; attention_layers, slopes,
ffn_scales and layers, with a row for each layer; nonfinite; samples, the texts
of evaluations. NaN and infinities are kept as such. Steps count the steps done,
so the first is 1, where the log has 0. A study's folder stands for all its
runs, any other folder for the runs and studies inside; runs may still be
training.

Examples:
  normfree export runs/sm_g runs/sm_r --parquet tables
  normfree export runs/study/small --parquet tables
  python3 -c \"import pandas; print(pandas.read_parquet('tables/evals.parquet'))\"";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folders, studies' folders, and folders of these
    #[arg(required = true, value_name = "RUN|STUDY|FOLDER")]
    runs: Vec<PathBuf>,
    /// Folder for the Parquet files; those of an earlier export are replaced
    #[arg(long, required = true, value_name = "DIR")]
    parquet: PathBuf,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let comparison = Comparison::load(&arguments.runs)?;
    let files = write_parquet(&comparison.runs, &arguments.parquet)?;
    for missing in &comparison.missing {
        global.note(format!("left out: {missing}"));
    }
    for file in files {
        say(file.display())?;
    }
    Ok(())
}
