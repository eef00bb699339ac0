//! `normfree eval`.

use super::located::locate;
use super::{Global, columns, output, say, thousands};
use crate::config::Config;
use crate::data::Meta;
use crate::fault::{Fault, Kind, Result};
use crate::observe::record::{Eval, Number};
use crate::train::evaluate::{HeldOut, evaluate};
use crate::train::heads::{Heads, OF_HEADS, measure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
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
  normfree eval runs/sm_r/checkpoints/step-00000200 --data data/other --json
  normfree eval models/smollm2 --data data";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folder, whose newest intact checkpoint is used, the folder of one checkpoint, or that of a Hugging Face model
    #[arg(value_name = "RUN|CHECKPOINT|DIR")]
    path: PathBuf,
    /// Another prepared folder; the folder of a Hugging Face model needs one
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
    let located = locate(&arguments.path, global)?;
    let folders = match &arguments.data {
        Some(data) => vec![data.clone()],
        None => located.data(),
    };
    let Some(first) = folders.first() else {
        return Err(Fault::new(Kind::Usage, "a folder from Hugging Face has no held-out text of its own")
            .at(arguments.path.display())
            .remedy("give a folder prepared with its tokenizer: --data DIR"));
    };
    let (path, step) = (located.path().display().to_string(), located.step());
    let of_run = located.run().is_some();
    let mut config = located.config.clone();
    if !of_run {
        fit_to(&mut config, first)?;
    }
    let checkpoint = located.run().map(|(_, checkpoint)| checkpoint);
    let HeldOut { corpus, same_data } =
        HeldOut::find(&folders, &config, checkpoint).map_err(|fault| match fault.kind {
            Kind::Data => {
                fault.remedy("give a complete prepared folder with the model's vocabulary: --data DIR")
            }
            _ => fault,
        })?;
    let mut weights = located.weights;
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
    let eval = Eval::new(step.unwrap_or(0), evaluated.loss);
    if !same_data && arguments.data.is_none() {
        global.note(format!(
            "{data} is not the data that the run was started with; --data DIR chooses another folder"
        ));
    }
    if arguments.json {
        // Non-finite numbers become strings, as in the log.
        let mut value = json!(eval.record());
        for name in ["kind"].into_iter().chain(step.is_none().then_some("step")) {
            value.as_object_mut().and_then(|line| line.shift_remove(name));
        }
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
            "{}{}, on {data}: loss {:.4} nats per token, perplexity {:.3}{}; {} targets",
            arguments.path.display(),
            step.map(|step| format!(", step {step}")).unwrap_or_default(),
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
        .at(path)
        .found(format!("loss {}, perplexity {}", eval.loss, eval.ppl))
        .remedy("evaluate an earlier checkpoint"))
}

/// Tokens of a batch that a model from elsewhere is evaluated on, roughly.
const BATCH_TOKENS: usize = 8192;

/// Sets the length of sequences to the longest that the model reads and that the chunks of the data divide into.
fn fit_to(config: &mut Config, data: &Path) -> Result<()> {
    let most = config.model.n_positions;
    let chunk = Meta::read(data)?.map_or(most, |meta| meta.chunk);
    let length = (2..=most.min(chunk)).rev().find(|length| chunk.is_multiple_of(*length)).unwrap_or(most);
    config.train.sequence_length = length;
    config.train.batch_size = (BATCH_TOKENS / length).clamp(1, 16);
    Ok(())
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
