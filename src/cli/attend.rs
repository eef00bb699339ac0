//! `normfree attend`.

use super::located::{Located, locate, other_data};
use super::output::write_result;
use super::picture::{check_place, write_picture};
use super::prompt::prompt;
use super::{Global, counted, say, table, thousands};
use crate::config::Config;
use crate::data::LoadedTokenizer;
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::generate::attend;
use crate::observe::record::Number;
use crate::pattern::{Head, Kept, Patterns, page, picture};
use crate::report::run::paper_name;
use crate::train::evaluate::HeldOut;
use crate::train::loader::from_file;
use crate::train::places;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Reads a text with the newest checkpoint and shows which tokens every head reads:
a page to open (attention.html: tokens shaded by the weights, the pattern of one
head, all heads sorted by layer or entropy) and a picture (attention.png). Both
need no network. Weights are the softmax of the scores, with the model's norms,
positions, temperatures, cap and sink; entropies are in nats.

Examples:
  normfree attend runs/sm_r --prompt 'def main(argv):'
  normfree attend runs/sm_r --file src/lib.rs --tokens 64 --out figures
  normfree attend runs/sm_r/checkpoints/step-00000200 --out early.png
  normfree attend runs/sm_r --prompt 'a b a b' --json > patterns.json";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folder, whose newest intact checkpoint is used, or the folder of one checkpoint
    #[arg(value_name = "RUN|CHECKPOINT")]
    path: PathBuf,
    /// Text to read [default: the beginning of the run's held-out text]
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Read the text from a file, or with `-` from standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
    /// Read at most N tokens, the first of the text [default: 128, or the run's sequences if these are shorter]
    #[arg(short = 'n', long, value_name = "N")]
    tokens: Option<usize>,
    /// Folder for attention.html and attention.png, or one file that ends in .html, .png or .svg [default: the run's folder]
    #[arg(short, long, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
    /// The tokenizer.json that the data was prepared with, if neither the run nor its data still has it
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Print tokens, entropies and weights as one JSON object, and write no file
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

/// So many tokens are shown unless more are asked for: a page of GPT-2's 144 heads then has 2 MB.
const SHOWN: usize = 128;

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let located = locate(&arguments.path, global)?;
    let tokenizer = located.tokenizer(arguments.tokenizer.as_deref(), global)?;
    let text = Text::of(arguments, &located, &tokenizer)?;
    text.notes.iter().for_each(|note| global.note(note));
    let folder = located.folder().to_owned();
    let files = Files::of(arguments.out.as_deref(), &folder)?;
    let (path, step) = (located.path().display().to_string(), located.step());
    let Located { config, weights, .. } = located;
    let device = {
        let (device, _waiting) = global.open_for("loading the model")?;
        device
    };
    if arguments.json {
        let start = json!({
            "checkpoint": path,
            "step": step,
            "tokens": text.ids.iter().zip(&text.pieces).map(|(id, text)| json!({ "id": id, "text": text })).collect::<Value>(),
        });
        let start = start.to_string();
        let mut read = write_result(&format!("{},\"heads\":[", start.trim_end_matches('}')))?;
        let mut gap = "";
        let largest = attend(&device, &config.model, from_file(weights), &text.ids, &mut |head| {
            if read {
                let line = serde_json::to_string(&Line::from(&head)).expect("numbers and names are JSON");
                read = write_result(&format!("{gap}\n{line}"))?;
                gap = ",";
            }
            Ok(())
        })?;
        return write_result(&format!("\n],\"kernel_difference\":{}}}\n", json!(Number(largest))))
            .map(|_| ());
    }
    let mut patterns = Patterns {
        title: title(&config, &folder, step),
        notes: notes(&config, &text),
        tokens: text.pieces,
        heads: config.model.n_head,
        kept: Vec::new(),
    };
    let largest = attend(&device, &config.model, from_file(weights), &text.ids, &mut |head| {
        patterns.kept.push(Kept::from(&head));
        Ok(())
    })?;
    files.write(&patterns)?;
    say(of_means(&patterns))?;
    for file in files.0 {
        say(file.display())?;
    }
    global.note(match largest {
        0.0 => "the entropies are those that the attention kernel measures".to_owned(),
        _ => format!(
            "the entropies differ from those that the attention kernel measures by at most {largest:.1e} nats"
        ),
    });
    let Some((rows, (layer, head))) = patterns.broken() else { return Ok(()) };
    Err(Fault::new(Kind::NonFinite, "attention has scores that are not finite")
        .at(path)
        .found(format!("{}, the first in layer {layer}, head {head}", counted(rows as u64, "such row")))
        .remedy("look at an earlier checkpoint"))
}

/// The run's configuration in the paper's notation, its folder and step.
pub(super) fn title(config: &Config, folder: &Path, step: Option<u64>) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let step = step.map_or(String::new(), |step| format!(" · step {}", thousands(step)));
    format!("{} · {name}{step}", paper_name(config))
}

/// What a reader of the patterns should know.
fn notes(config: &Config, text: &Text) -> Vec<String> {
    let mut notes = vec![text.origin.clone()];
    notes.extend(text.notes.iter().map(|note| sentence(note)));
    if config.model.attention_sink {
        notes.push("A row's weights sum to what the head's sink leaves; entropies are those of the weights over the tokens.".into());
    }
    if config.model.attention_gate != crate::config::AttentionGate::None {
        notes.push("The gate on the heads' values comes after the weights, and is not in them.".into());
    }
    notes
}

/// A note as a sentence of its own.
fn sentence(note: &str) -> String {
    let mut letters = note.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// The tokens to read.
struct Text {
    ids: Vec<u32>,
    pieces: Vec<String>,
    /// A sentence.
    origin: String,
    notes: Vec<String>,
}

impl Text {
    fn of(arguments: &Arguments, located: &Located, tokenizer: &LoadedTokenizer) -> Result<Self> {
        let config = &located.config;
        let most = arguments.tokens.unwrap_or(SHOWN.min(config.train.sequence_length));
        if !(1..=config.model.n_positions).contains(&most) {
            return Err(Fault::new(Kind::Usage, "the model cannot read so many tokens at once")
                .at("--tokens")
                .found(most)
                .remedy(format!("use a number from 1 to {}, its positions", config.model.n_positions)));
        }
        let mut replaced = None;
        let (mut ids, what) = match prompt(arguments.prompt.as_deref(), arguments.file.as_deref())? {
            Some(text) => (tokenizer.encode_one(&text)?, "the text"),
            None => {
                let (ids, note) = held_out(located, most)?;
                replaced = note;
                (ids, "the run's held-out text")
            }
        };
        if ids.is_empty() {
            return Err(Fault::new(Kind::Usage, "there is no text to read")
                .found("an empty text")
                .remedy("give a --prompt or a --file"));
        }
        let mut notes = Vec::from_iter(replaced);
        let whole = ids.len();
        ids.truncate(most);
        if whole > most && arguments.tokens.is_none() {
            notes.push(format!(
                "the text has {}, of which the first {most} are read; --tokens N reads up to {}",
                counted(whole as u64, "token"),
                config.model.n_positions
            ));
        }
        let trained = config.train.sequence_length;
        if ids.len() > trained {
            let trained = counted(trained as u64, "token");
            notes.push(format!(
                "the run was trained on sequences of {trained}, so the positions behind them are untrained"
            ));
        }
        let first = if whole > ids.len() || what != "the text" { "The first " } else { "" };
        let origin = match first {
            "" if ids.len() == 1 => format!("The one token of {what}."),
            "" => format!("All {} of {what}.", counted(ids.len() as u64, "token")),
            first => format!("{first}{} of {what}.", counted(ids.len() as u64, "token")),
        };
        Ok(Self { pieces: pieces(tokenizer, &ids)?, ids, origin, notes })
    }
}

/// Each token as text; together they are the text. Of the tokens that share a character, the last has all of it, and the
/// others are empty.
pub(super) fn pieces(tokenizer: &LoadedTokenizer, ids: &[u32]) -> Result<Vec<String>> {
    let mut decode = tokenizer.decoder();
    ids.iter().map(|&id| Ok(decode(id)?.unwrap_or_default())).collect()
}

/// The first tokens of the run's held-out file, with a note if it is no longer that of the run.
pub(super) fn held_out(located: &Located, most: usize) -> Result<(Vec<u32>, Option<String>)> {
    let config = &located.config;
    let Some((run, checkpoint)) = located.run() else {
        return Err(Fault::new(Kind::Usage, "a folder from Hugging Face has no held-out text of its own")
            .at(located.path().display())
            .remedy("give a --prompt or a --file"));
    };
    let instead = |fault: Fault| fault.also("give a --prompt or a --file");
    let found = HeldOut::find(&places::data(run, config), config, Some(checkpoint)).map_err(instead)?;
    located.check_tokens(&found).map_err(instead)?;
    let HeldOut { corpus, same_data } = found;
    let mut ids = Vec::new();
    let mut sequence = vec![0; config.train.sequence_length];
    for index in 0..corpus.valid.sequences() {
        if ids.len() >= most {
            break;
        }
        corpus.valid.sequence(index, &mut sequence);
        ids.extend_from_slice(&sequence);
    }
    ids.truncate(most);
    Ok((ids, (!same_data).then(|| other_data(&corpus))))
}

/// One head as JSON: the weights of each query on the keys up to its own, with as many digits as f32 has.
#[derive(Serialize)]
struct Line {
    layer: usize,
    head: usize,
    mean_entropy: Number<f64>,
    entropies: Vec<Number<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sinks: Vec<Number<f64>>,
    weights: Vec<Vec<Number<f32>>>,
}

impl From<&Head> for Line {
    fn from(head: &Head) -> Self {
        let numbers = |values: &[f64]| values.iter().copied().map(Number).collect();
        let row = |query| head.row(query).iter().copied().map(Number).collect();
        Self {
            layer: head.layer,
            head: head.head,
            mean_entropy: Number(head.mean()),
            entropies: numbers(&head.entropies),
            sinks: numbers(&head.sinks),
            weights: (0..head.tokens()).map(row).collect(),
        }
    }
}

/// The mean entropies as a table for a terminal.
fn of_means(patterns: &Patterns) -> String {
    let mut rows = vec![
        std::iter::once("nats".to_owned())
            .chain((0..patterns.heads).map(|head| format!("head {head}")))
            .collect(),
    ];
    rows.extend(patterns.means().iter().enumerate().map(|(layer, means)| {
        let means = means.iter().map(|nats| format!("{nats:.2}"));
        std::iter::once(format!("layer {layer}")).chain(means).collect::<Vec<_>>()
    }));
    let right: Vec<bool> = (0..=patterns.heads).map(|column| column > 0).collect();
    table(&rows, &right, 1)
}

/// The files to write.
struct Files(Vec<PathBuf>);

impl Files {
    fn of(out: Option<&Path>, run: &Path) -> Result<Self> {
        let ending = |path: &Path| path.extension().map(|ending| ending.to_ascii_lowercase());
        let is_file = |path: &Path| {
            ending(path).is_some_and(|ending| ["html", "png", "svg"].iter().any(|of| ending == *of))
        };
        let files = match out {
            Some(file) if is_file(file) && !file.is_dir() => vec![file.to_owned()],
            // A slip in a file's name must not make a folder.
            Some(other) if other.extension().is_some() && !other.is_dir() => {
                return Err(Fault::new(Kind::Usage, "patterns are a page or a picture")
                    .at(format!("--out {}", other.display()))
                    .remedy(
                        "give a file that ends in .html, .png or .svg, or a folder whose name has no ending",
                    ));
            }
            _ => {
                let folder = out.unwrap_or(run);
                std::fs::create_dir_all(folder).map_err(|e| Fault::io("make the folder", folder, &e))?;
                ["attention.html", "attention.png"].map(|name| folder.join(name)).to_vec()
            }
        };
        files.iter().try_for_each(|path| check_place(path))?;
        Ok(Self(files))
    }

    fn write(&self, patterns: &Patterns) -> Result<()> {
        self.0.iter().try_for_each(|path| {
            match path.extension().is_some_and(|of| of.eq_ignore_ascii_case("html")) {
                true => write_atomic(path, page(patterns).as_bytes()),
                false => write_picture(&picture(patterns), path),
            }
        })
    }
}
