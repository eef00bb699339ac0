//! `normfree export`.

use super::located::{Located, Origin, locate};
use super::{Global, say};
use crate::data::Meta;
use crate::fault::{Fault, Kind, Result};
use crate::publish::{Card, Model, heatmap, publish};
use crate::report::comparison::Comparison;
use crate::report::export::write_parquet;
use crate::report::run::RunData;
use crate::train::folded::plain;
use crate::train::loader::layout;
use crate::train::places;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
--parquet writes the logs of runs as tables, one file for each kind of record,
with the run's folder in the column `run`: steps and evals; attention and
entropy_thresholds, with a row for each head; attention_layers, slopes,
ffn_scales and layers, with a row for each layer; nonfinite; samples, the texts
of evaluations. NaN and infinities are kept as such. Steps count the steps done,
so the first is 1, where the log has 0. A study's folder stands for all its
runs, any other folder for the runs and studies inside; runs may still be
training.

--hf writes one model as a folder for Hugging Face's programs: config.json,
weights, tokenizer, a card with the heatmap. Where no stock class computes the
model, the folder has its code, and loads with trust_remote_code=True.

Examples:
  normfree export runs/sm_g runs/sm_r --parquet tables
  normfree export runs/study/small --parquet tables
  normfree export runs/sm_r --hf sm_r_hf
  normfree export runs/sm_r/checkpoints/step-00000200 --hf early
  python3 -c \"import pandas; print(pandas.read_parquet('tables/evals.parquet'))\"";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(group = clap::ArgGroup::new("form").required(true))]
pub(super) struct Arguments {
    /// With --parquet run folders, studies' folders, and folders of these; with --hf one run or checkpoint
    #[arg(required = true, value_name = "RUN|STUDY|FOLDER|CHECKPOINT")]
    runs: Vec<PathBuf>,
    /// Folder for the Parquet files; those of an earlier export are replaced
    #[arg(long, group = "form", value_name = "DIR")]
    parquet: Option<PathBuf>,
    /// Folder for the model, which must not exist or be empty
    #[arg(long, group = "form", value_name = "DIR")]
    hf: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let files = match (&arguments.parquet, &arguments.hf) {
        (Some(folder), _) => write_logs(&arguments.runs, folder, global)?,
        (None, Some(folder)) => match arguments.runs.as_slice() {
            [run] => write_model(run, folder, global)?,
            several => {
                return Err(Fault::new(Kind::Usage, "a folder for Hugging Face holds one model")
                    .found(format_args!("{} runs", several.len()))
                    .remedy("give one run or checkpoint with --hf"));
            }
        },
        (None, None) => unreachable!("one of the two is required"),
    };
    for file in files {
        say(file.display())?;
    }
    Ok(())
}

fn write_logs(runs: &[PathBuf], folder: &Path, global: &Global) -> Result<Vec<PathBuf>> {
    let comparison = Comparison::load(runs)?;
    let files = write_parquet(&comparison.runs, folder)?;
    for missing in &comparison.missing {
        global.note(format!("left out: {missing}"));
    }
    Ok(files)
}

fn write_model(path: &Path, folder: &Path, global: &Global) -> Result<Vec<PathBuf>> {
    let Located { origin, config, weights } = locate(path, global)?;
    let Origin::Run { run, checkpoint } = origin else {
        return Err(Fault::new(Kind::Usage, "this is a folder for Hugging Face already")
            .at(path.display())
            .remedy("give a run or one of its checkpoints"));
    };
    let step = checkpoint.state().step;
    let data = places::data(&run, &config).into_iter().find_map(|folder| Meta::read(&folder).ok().flatten());
    let sealed = checkpoint.state().data.as_ref();
    let end_of_text = match sealed {
        Some(data) => data.end_of_text,
        None => data.as_ref().and_then(|meta| meta.end_of_text),
    };
    let tokenizer = std::fs::read(run.tokenizer()).ok();
    if tokenizer.is_none() {
        global.note("the run has no tokenizer, so the folder has none");
    }
    let (loss, heatmap) = heatmap(RunData::load(run.path())?, step)?;
    let card = Card { step, data, loss, heatmap };
    let (plain, mut weights) = plain(&config, weights)?;
    let layout = layout(&plain);
    let model = Model {
        config: &plain,
        trained: &config,
        weights: weights.as_mut(),
        layout: &layout,
        tokenizer,
        end_of_text,
        card,
    };
    publish(model, folder)
}
