//! `normfree eval`.

use super::located::{Located, locate};
use super::{Global, output, say};
use crate::fault::{Fault, Kind, Result};
use crate::observe::record::Eval;
use crate::train::evaluate::{HeldOut, evaluate};
use crate::train::places;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Prints the mean cross-entropy in nats per token, and the perplexity, over the
held-out chunks that the run was evaluated on, or over those of another prepared
folder with the same vocabulary.

Examples:
  normfree eval runs/sm_r
  normfree eval runs/sm_r --chunks 0
  normfree eval runs/sm_r/checkpoints/step-00000200 --data data/other --json";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folder, whose newest intact checkpoint is used, or the folder of one checkpoint
    #[arg(value_name = "RUN|CHECKPOINT")]
    path: PathBuf,
    /// Another prepared folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use at most N held-out chunks, in whole batches; 0 for all [default: the run's train.eval_chunks]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    chunks: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let Located { run, config, checkpoint, weights } = locate(&arguments.path, global)?;
    let folders =
        arguments.data.as_ref().map_or_else(|| places::data(&run, &config), |data| vec![data.clone()]);
    let HeldOut { corpus, same_data } =
        HeldOut::find(&folders, &config, &checkpoint).map_err(|fault| match fault.kind {
            Kind::Data => {
                fault.remedy("give a complete prepared folder with the run's vocabulary: --data DIR")
            }
            _ => fault,
        })?;
    let data = corpus.folder().display().to_string();
    let chunks = arguments.chunks.unwrap_or(config.train.eval_chunks);
    let (device, mut waiting) = global.open_for("loading the model")?;
    let bar = output::bar(global.quiet, "{pos} chunks, {elapsed}");
    let mut watch = |chunks: usize| {
        waiting.end();
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_position(chunks as u64);
    };
    let loss = evaluate(device, &config, weights, corpus, chunks, &mut watch)?;
    bar.finish_and_clear();
    let eval = Eval::new(checkpoint.state().step, loss);
    if !same_data && arguments.data.is_none() {
        global.note(format!(
            "{data} is not the data that the run was started with; --data DIR chooses another folder"
        ));
    }
    if arguments.json {
        let path = checkpoint.path().display().to_string();
        // Non-finite numbers become strings, as in the log.
        let mut value = json!(eval.record());
        value.as_object_mut().and_then(|line| line.shift_remove("kind"));
        value["checkpoint"] = json!(path);
        value["data"] = json!(data);
        say(value)?;
    } else {
        say(format!(
            "{}, step {}, on {data}: loss {:.4} nats per token, perplexity {:.3}",
            arguments.path.display(),
            eval.step,
            eval.loss,
            eval.ppl
        ))?;
    }
    if eval.ppl.is_finite() {
        return Ok(());
    }
    Err(Fault::new(Kind::NonFinite, "the checkpoint's loss or perplexity is not finite")
        .at(checkpoint.path().display())
        .found(format!("loss {}, perplexity {}", eval.loss, eval.ppl))
        .remedy("evaluate an earlier checkpoint"))
}
