//! `normfree eval`.

use super::located::locate;
use super::{Global, output, say};
use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::train::evaluate::{Evaluated, evaluate};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Mean cross-entropy in nats per token, and perplexity, over the held-out chunks
that the run was evaluated on, or those of another prepared folder of the same
vocabulary.

Examples:
  normfree eval runs/sm_r
  normfree eval runs/sm_r --chunks 0
  normfree eval runs/sm_r/checkpoints/step-00000200 --data data/other --json";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// A run folder, whose newest whole checkpoint is taken, or the folder of one checkpoint
    #[arg(value_name = "RUN|CHECKPOINT")]
    path: PathBuf,
    /// Another prepared folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// At most so many held-out chunks, in whole batches; 0 for all [default: the run's
    /// train.eval_chunks]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    chunks: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let (run, checkpoint) = locate(&arguments.path, global)?;
    let mut config = Config::load_of_run(&run.config(), &[])?;
    if let Some(data) = &arguments.data {
        config.data.path = data.display().to_string();
    }
    let chunks = arguments.chunks.unwrap_or(config.train.eval_chunks);
    let gpu = global.open()?;
    let bar = output::bar(global.quiet, "{pos} chunks, {elapsed}");
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut watch = |chunks: usize| bar.set_position(chunks as u64);
    let Evaluated { eval, same_data } = evaluate(gpu, &config, &checkpoint, chunks, &mut watch)?;
    bar.finish_and_clear();
    if !same_data && arguments.data.is_none() {
        global.note(format!("{} is not the data that the run was begun with", config.data.path));
    }
    if arguments.json {
        let path = checkpoint.path().display().to_string();
        // Numbers that are not finite become strings, as in the log.
        let mut value = json!(eval);
        value["checkpoint"] = json!(path);
        value["data"] = json!(config.data.path);
        say(value)?;
    } else {
        say(format!(
            "{}, step {}, on {}: loss {:.4} nats per token, perplexity {:.3}",
            arguments.path.display(),
            eval.step,
            config.data.path,
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
