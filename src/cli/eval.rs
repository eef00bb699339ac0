//! `normfree eval`.

use super::located::{Located, with_data};
use super::{Global, counted, output, say, say_json, sentence, table};
use crate::fault::{Fault, Kind, Result};
use crate::observe::quantities::NORMALIZED_ENTROPY;
use crate::observe::record::{Eval, Number};
use crate::train::evaluate::{HeldOut, evaluate};
use crate::train::heads::{Heads, OF_HEADS, measure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Prints the mean cross-entropy in nats per token, the perplexity and, where the
tokenizer is of bytes, bits per byte, over the held-out chunks that the run was
evaluated on, or over those of another folder prepared with the same tokenizer.

--heads also measures every attention head on that text: its mean entropy in
nats, its largest logit, the variance of its logits, its weight on the first
position and on the 16 latest ones, and with --json its entropy in each quarter
of the context as a share of what the keys allow.

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
    /// Use the first N held-out chunks, rounded up to whole batches; 0 for all [default: the run's train.eval_chunks]
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
    let (located, HeldOut { corpus, .. }) = with_data(&arguments.path, arguments.data.as_deref(), global)?;
    let (path, step) = (located.path().display().to_string(), located.step());
    let Located { config, mut weights, .. } = located;
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
        say_json(value)?;
    } else {
        let bits = evaluated.bits_per_byte().map(|bits| format!(", {bits:.4} bits per byte"));
        say(sentence(&format!(
            "{}{}, on {data}: loss {:.4} nats per token, perplexity {:.3}{}; {}",
            arguments.path.display(),
            step.map(|step| format!(", step {step}")).unwrap_or_default(),
            eval.loss,
            eval.ppl,
            bits.unwrap_or_default(),
            counted(evaluated.targets, "target"),
        )))?;
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
    // The quarters' entropies are in the JSON alone: a terminal has no room for them.
    let shown = OF_HEADS.len() - NORMALIZED_ENTROPY.len();
    let title = ["layer", "head"].into_iter().chain(OF_HEADS[..shown].iter().map(|quantity| quantity.name));
    let mut rows = vec![title.map(|name| name.replace('_', " ")).collect::<Vec<_>>()];
    for (layer, of) in heads.values[0].iter().enumerate() {
        for head in 0..of.len() {
            let values = heads.values[..shown].iter().map(|grid| format!("{:.4}", grid[layer][head]));
            rows.push([layer.to_string(), head.to_string()].into_iter().chain(values).collect());
        }
    }
    let right = vec![true; rows[0].len()];
    table(&rows, &right, 2)
}
