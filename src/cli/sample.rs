//! `normfree sample`.

use super::located::{Located, locate};
use super::output::write_result;
use super::prompt::prompt;
use super::{Global, counted, say_json, thousands};
use crate::fault::{Fault, Kind, Result};
use crate::generate::{Reader, Sampler, Sampling, window};
use crate::train::folded::plain;
use crate::train::loader::from_source;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

const AFTER_HELP: &str = "\
Continues the prompt, token by token, until --tokens are generated or the model
ends the document. The tokenizer is the run's own copy of its data's, or that in
the folder of a Hugging Face model. What the
model has read stays on the device in a cache of keys and values; a text that
outgrows the model's context is cut to its last half, and continues.

Examples:
  normfree sample runs/sm_r --prompt 'def main('
  normfree sample runs/sm_r --prompt 'fn ' --temperature 0 --tokens 200
  normfree sample runs/sm_r/checkpoints/step-00000200 --top-p 0.9 --seed 3
  head -c 400 src/lib.rs | normfree sample runs/sm_r --prompt-file - --json";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folder, whose newest intact checkpoint is used, the folder of one checkpoint, or that of a Hugging Face model
    #[arg(value_name = "RUN|CHECKPOINT|DIR")]
    path: PathBuf,
    /// Text to continue [default: the beginning of a document]
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Read the prompt from a file, or with `-` from standard input
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    /// Generate at most N tokens
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    tokens: usize,
    /// Divide the logits by T: below 1 likely tokens become likelier; 0 always takes the likeliest
    #[arg(short, long, value_name = "T", default_value_t = 1.0, value_parser = not_negative, allow_negative_numbers = true)]
    temperature: f64,
    /// Draw only from the K likeliest tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw only from the likeliest tokens that together have probability P
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = probability, allow_negative_numbers = true)]
    top_p: f64,
    /// Seed of the draws; equal seeds give equal texts on one device
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Continue where the model ends the document
    #[arg(long)]
    ignore_end_of_text: bool,
    /// Read the whole text again for each token; gives the same text, to compare the cache with
    #[arg(long)]
    no_cache: bool,
    /// The tokenizer.json that the data was prepared with, if neither the run nor its data still has it
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Print one JSON object at the end, with the tokens, instead of text as it is generated
    #[arg(long)]
    json: bool,
}

fn not_negative(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a finite number, 0 or greater".to_owned())
}

fn probability(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= 1.0);
    number.ok_or_else(|| "expected a number above 0 and at most 1".to_owned())
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let located = locate(&arguments.path, global)?;
    let tokenizer = located.tokenizer(arguments.tokenizer.as_deref(), global)?;
    let (path, step) = (located.path().display().to_string(), located.step());
    let end_of_text = tokenizer.end_of_text.or(located.end_of_text());
    let Located { config, weights, .. } = located;
    let prompt = prompt(arguments.prompt.as_deref(), arguments.prompt_file.as_deref())?.unwrap_or_default();
    let mut text = tokenizer.encode_one(&prompt)?;
    let prompted = text.len();
    if text.is_empty() {
        text.push(end_of_text.ok_or_else(|| {
            Fault::new(Kind::Usage, "there is no text to continue")
                .found("a tokenizer without an end-of-text token, which would begin a document")
                .remedy("give a --prompt")
        })?);
    }
    let mut reader = {
        // Matrices that something scales would be scaled again for each token.
        let (config, weights) = plain(&config, weights)?;
        let (device, _waiting) = global.open_for("loading the model")?;
        Reader::new(device, &config.model, from_source(weights))?
    };
    let Arguments { temperature, top_k, top_p, seed, .. } = *arguments;
    let mut sampler = Sampler::new(Sampling { temperature, top_k, top_p, seed });
    let mut stream = Stream::begin(&prompt, arguments.json)?;
    let mut decode = tokenizer.decoder();
    let mut made = Vec::new();
    let mut clock = None;
    while made.len() < arguments.tokens && !stream.left {
        if arguments.no_cache {
            reader.forget();
        }
        let logits = reader.logits(window(&text, reader.context()))?;
        let token = sampler.pick(&logits[..tokenizer.vocab_size.min(logits.len())])?;
        // The first token's extra time belongs to the prompt and the compiler.
        clock.get_or_insert_with(Instant::now);
        if Some(token) == end_of_text && !arguments.ignore_end_of_text {
            break;
        }
        text.push(token);
        made.push(token);
        if let Some(piece) = decode(token)? {
            stream.write(&piece)?;
        }
    }
    let seconds = clock.map_or(0.0, |clock| clock.elapsed().as_secs_f64());
    let text = stream.end()?;
    if arguments.json {
        return say_json(json!({
            "checkpoint": path,
            "step": step,
            "prompt": prompt,
            "prompt_tokens": prompted,
            "text": text,
            "tokens": made,
            "seconds": seconds,
        }));
    }
    if made.len() > 1 {
        let speed = (made.len() - 1) as f64 / seconds;
        global.note(format!("{}, {} a second", counted(made.len() as u64, "token"), thousands(speed as u64)));
    }
    Ok(())
}

/// The text, written to stdout as it comes or kept until the end.
struct Stream {
    text: String,
    kept: bool,
    /// The reader has left, as `head` does.
    left: bool,
}

impl Stream {
    fn begin(prompt: &str, kept: bool) -> Result<Self> {
        let mut stream = Self { text: String::new(), kept, left: false };
        stream.put(prompt)?;
        Ok(stream)
    }

    fn write(&mut self, piece: &str) -> Result<()> {
        self.text.push_str(piece);
        self.put(piece)
    }

    fn put(&mut self, piece: &str) -> Result<()> {
        if self.kept || self.left {
            return Ok(());
        }
        self.left = !write_result(piece)?;
        Ok(())
    }

    /// Ends the last line and returns the output.
    fn end(mut self) -> Result<String> {
        self.put("\n")?;
        Ok(self.text)
    }
}
