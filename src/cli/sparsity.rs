//! `normfree sparsity`.

use super::located::{Located, with_data};
use super::{Global, output, say, say_json, sentence, table};
use crate::fault::Result;
use crate::train::evaluate::HeldOut;
use crate::train::sparsity::{Allowed, Sparsity, measure};
use serde_json::json;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Leaves out, in every layer, the units that add least to their network's output,
as long as the error of the output, averaged over tokens, stays below a bound
(CETT). The bound is the largest at which the perplexity on held-out text rises
by no more than --increase (PPL-p% sparsity), or the one that --cett gives.

Examples:
  normfree sparsity runs/sm_r
  normfree sparsity runs/sm_r --increase 0.05 --chunks 64
  normfree sparsity runs/sm_r --cett 0.2 --json";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folder, whose newest intact checkpoint is used, the folder of one checkpoint, or that of a Hugging Face model
    #[arg(value_name = "RUN|CHECKPOINT|DIR")]
    path: PathBuf,
    /// The most that perplexity may rise, as a share of it
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = positive, allow_negative_numbers = true)]
    increase: f64,
    /// Leave out what this error of the networks' outputs allows, whatever it costs
    #[arg(long, value_name = "ERROR", conflicts_with = "increase", value_parser = positive, allow_negative_numbers = true)]
    cett: Option<f64>,
    /// Another prepared folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use the first N held-out chunks, rounded up to whole batches; 0 for all [default: the run's train.eval_chunks]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    chunks: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above zero is wanted".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let (located, HeldOut { corpus, .. }) = with_data(&arguments.path, arguments.data.as_deref(), global)?;
    let (path, step) = (located.path().display().to_string(), located.step());
    let Located { config, weights, .. } = located;
    let data = corpus.folder().display().to_string();
    let chunks = arguments.chunks.unwrap_or(config.train.eval_chunks);
    let allowed = arguments.cett.map_or(Allowed::Increase(arguments.increase), Allowed::Cett);
    let (device, mut waiting) = global.open_for("loading the model")?;
    let bar = output::bar(global.quiet, "{pos} evaluations, {elapsed}");
    let mut watch = || {
        waiting.end();
        bar.inc(1);
    };
    let found = measure(device, &config, weights, corpus, chunks, allowed, &mut watch)?;
    bar.finish_and_clear();
    let Sparsity { cett, loss, truncated_loss, layers } = &found;
    let mean = layers.iter().map(|layer| layer.sparsity).sum::<f64>() / layers.len() as f64;
    if arguments.json {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                json!({ "threshold": layer.threshold, "sparsity": layer.sparsity, "zeros": layer.zeros })
            })
            .collect();
        return say_json(json!({
            "checkpoint": path,
            "data": data,
            "step": step,
            "increase": arguments.cett.is_none().then_some(arguments.increase),
            "cett": cett,
            "loss": loss,
            "ppl": loss.exp(),
            "truncated_loss": truncated_loss,
            "truncated_ppl": truncated_loss.exp(),
            "sparsity": mean,
            "layers": layers,
        }));
    }
    let share = |share: f64| format!("{:.1}%", 100.0 * share);
    let rows = layers.iter().enumerate().map(|(i, layer)| {
        vec![i.to_string(), share(layer.sparsity), share(layer.zeros), format!("{:.4}", layer.threshold)]
    });
    let titles = ["layer", "left out", "of them zero", "threshold"].map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(titles).chain(rows).collect();
    say(table(&rows, &[true; 4], 1))?;
    say(sentence(&format!(
        "{}{}, on {data}: {} of the units can be left out at an error of {cett:.3}; perplexity {:.3} becomes {:.3}",
        arguments.path.display(),
        step.map(|step| format!(", step {step}")).unwrap_or_default(),
        share(mean),
        loss.exp(),
        truncated_loss.exp()
    )))
}
