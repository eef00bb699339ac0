//! `normfree eval`.

use super::located::{Located, locate};
use super::{Global, columns, output, say, thousands};
use crate::fault::{Fault, Kind, Result};
use crate::observe::record::{Eval, Number};
use crate::train::evaluate::{HeldOut, evaluate};
use crate::train::heads::{Heads, OF_HEADS, measure};
use crate::train::places;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Prints the mean cross-entropy in nats per token, the perplexity and, where the
tokenizer is of bytes, bits per byte, over the held-out chunks that the run was
evaluated on, or over those of another prepared folder with the same vocabulary.

--heads also measures every attention head on that text: its mean entropy in
nats, its largest logit, the variance of its logits, and its weight on the first
position and on the 16 latest ones.

Examples:
  normfree eval runs/sm_r
  normfree eval runs/sm_r --chunks 0
  normfree eval runs/sm_r --heads --json
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
    /// Measure every attention head as well
    #[arg(long)]
    heads: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let Located { run, config, checkpoint, mut weights } = locate(&arguments.path, global)?;
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
    let heads = match arguments.heads {
        true => Some(measure(&device, &config, &mut weights, &corpus, chunks, &mut watch)?),
        false => None,
    };
    let evaluated = evaluate(device, &config, weights, corpus, chunks, &mut watch)?;
    bar.finish_and_clear();
    let eval = Eval::new(checkpoint.state().step, evaluated.loss);
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
        value["targets"] = json!(evaluated.targets);
        value["bits_per_byte"] = json!(evaluated.bits_per_byte().map(Number));
        if let Some(heads) = &heads {
            value["heads"] = as_json(heads);
        }
        say(value)?;
    } else {
        let bits = evaluated.bits_per_byte().map(|bits| format!(", {bits:.4} bits per byte"));
        say(format!(
            "{}, step {}, on {data}: loss {:.4} nats per token, perplexity {:.3}{}; {} targets",
            arguments.path.display(),
            eval.step,
            eval.loss,
            eval.ppl,
            bits.unwrap_or_default(),
            thousands(evaluated.targets),
        ))?;
        if let Some(heads) = &heads {
            say(as_table(heads))?;
        }
    }
    if eval.ppl.is_finite() {
        return Ok(());
    }
    Err(Fault::new(Kind::NonFinite, "the checkpoint's loss or perplexity is not finite")
        .at(checkpoint.path().display())
        .found(format!("loss {}, perplexity {}", eval.loss, eval.ppl))
        .remedy("evaluate an earlier checkpoint"))
}

/// The quantities of all heads by name, `[n_layer][n_head]`, and how many sequences were read.
fn as_json(heads: &Heads) -> Value {
    let number = |grid: &Vec<Vec<f64>>| -> Vec<Vec<Number<f64>>> {
        grid.iter().map(|layer| layer.iter().copied().map(Number).collect()).collect()
    };
    let mut value = json!({ "chunks": heads.chunks });
    for (quantity, grid) in OF_HEADS.iter().zip(&heads.values) {
        value[quantity.name] = json!(number(grid));
    }
    value
}

/// A row for each head.
fn as_table(heads: &Heads) -> String {
    let title = ["layer", "head"].into_iter().chain(OF_HEADS.iter().map(|quantity| quantity.name));
    let mut rows = vec![title.map(str::to_owned).collect::<Vec<_>>()];
    for (layer, of) in heads.values[0].iter().enumerate() {
        for head in 0..of.len() {
            let values = heads.values.iter().map(|grid| format!("{:.4}", grid[layer][head]));
            rows.push([layer.to_string(), head.to_string()].into_iter().chain(values).collect());
        }
    }
    let right = vec![true; rows[0].len()];
    columns(&rows, &right)
}
