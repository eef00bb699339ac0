//! The model card: what a model is, what it was trained on, what it reached, and how to load it.

use crate::config::Config;
use crate::data::Meta;
use crate::draw::escape::markdown;
use crate::fault::Result;
use crate::hub;
use crate::model::parameter_count;
use crate::numbers::{bytes, counted, thousands};
use crate::observe::quantities::{EVAL_LOSS, KINDS};
use crate::report::comparison::Comparison;
use crate::report::figures::{Options, figures};
use crate::report::run::{RunData, paper_name};
use std::path::Path;

/// The picture's file.
pub(super) const HEATMAP: &str = "heatmap.png";

/// What a card says beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// Steps done.
    pub step: u64,
    /// The description of its data.
    pub data: Option<Meta>,
    /// Held-out loss in nats per token.
    pub loss: Option<f64>,
    /// The entropy of every head, as PNG.
    pub heatmap: Option<Vec<u8>>,
}

/// The log's last held-out loss up to `step`, and the heatmap of the head entropies then, if the log has them.
///
/// # Errors
/// Those of drawing.
pub fn heatmap(mut run: RunData, step: u64) -> Result<(Option<f64>, Option<Vec<u8>>)> {
    KINDS.iter().for_each(|kind| run.log.cut(kind, step + 1));
    let loss = run.log.numbers(&EVAL_LOSS).iter().rfind(|(of, _)| *of == step).map(|(_, loss)| *loss);
    if run.entropies().is_none() {
        return Ok((loss, None));
    }
    let options =
        Options { reference: RunData::reference_of(std::slice::from_ref(&run)), ..Options::default() };
    let drawn = figures(&Comparison::new(vec![run], None), &options)?;
    let heatmap = drawn.into_iter().find(|figure| figure.stem == "heatmap");
    Ok((loss, heatmap.map(|figure| figure.picture.png()).transpose()?))
}

impl Card {
    /// The card, in Markdown with the front matter of Hugging Face, of a model that was `trained` so and computes `config`.
    pub fn text(&self, config: &Config, trained: &Config, has_tokenizer: bool) -> String {
        let name = paper_name(trained);
        let family = config.model.family.word;
        let mut text = format!(
            "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- normfree\n- {family}\n---\n\n# {}\n\n",
            markdown(&name)
        );
        let norms = match (config.model.norm.word, config.model.head_norm().word) {
            ("none", "none") => "no norm anywhere".to_owned(),
            ("none", head) => format!("no norm inside its blocks and `{head}` before its head"),
            (norm, _) => format!("the norm `{norm}`"),
        };
        text.push_str(&format!(
            "A decoder of the {family} family with {norms}: {} parameters, {} of {}, width {}, {}. \
             It was trained for {} with normfree {}.\n\n",
            thousands(parameter_count(&config.model) as u64),
            counted(config.model.n_layer as u64, "block"),
            counted(config.model.n_head as u64, "head"),
            config.model.n_embd,
            counted(config.model.n_positions as u64, "position"),
            counted(self.step, "step"),
            env!("CARGO_PKG_VERSION"),
        ));
        let scaled = [
            (config.model.weight_norm != trained.model.weight_norm)
                .then(|| format!("weight_norm = \"{}\"", trained.model.weight_norm)),
            (config.model.ffn_gains != trained.model.ffn_gains).then(|| "ffn_gains = true".to_owned()),
            (config.model.head_gains != trained.model.head_gains).then(|| "head_gains = true".to_owned()),
        ];
        let scaled: Vec<String> = scaled.into_iter().flatten().map(|key| format!("`{key}`")).collect();
        if !scaled.is_empty() {
            text.push_str(&format!(
                "Its matrices were trained with {}; this folder has what they come to.\n\n",
                scaled.join(" and ")
            ));
        }
        text.push_str(&loading(config, has_tokenizer));
        text.push_str(&self.results());
        text.push_str(&self.data());
        text.push_str(&format!("## Configuration\n\n```toml\n{}```\n", without_places(trained).to_toml()));
        text
    }

    fn results(&self) -> String {
        let mut text = String::new();
        if let Some(loss) = self.loss {
            text.push_str(&format!(
                "## Held-out text\n\nLoss {loss:.4} nats per token, perplexity {:.2}, on text of the same source that was held \
                 out.\n\n",
                loss.exp()
            ));
        }
        if self.heatmap.is_some() {
            text.push_str(&format!(
                "## Attention\n\n![Mean attention entropy of every head, in nats]({HEATMAP})\n\nMean attention entropy of every \
                 head on training text, in nats: layers down, heads across.\n\n"
            ));
        }
        text
    }

    fn data(&self) -> String {
        let Some(meta) = &self.data else { return String::new() };
        let (source, train) = (&meta.source, &meta.train);
        let mut text = "## Data\n\n".to_owned();
        for line in &source.description {
            text.push_str(&format!("- {}\n", markdown(&without_place(line))));
        }
        text.push_str(&format!(
            "\n{}, {}; {} of a vocabulary of {} to train on, in {}. SHA-256 of the sources: `{}`.\n\n",
            counted(source.files, "file"),
            bytes(source.bytes),
            counted(train.tokens, "token"),
            thousands(meta.vocab_size as u64),
            counted(train.documents, "document"),
            source.sha256,
        ));
        text
    }
}

/// A card is read by others, to whom the folders of this machine say nothing: of an absolute path, only its last part.
fn last_part(path: &str) -> &str {
    let path_of = Path::new(path);
    path_of.file_name().filter(|_| path_of.is_absolute()).and_then(|name| name.to_str()).unwrap_or(path)
}

/// A line that may end in a path.
fn without_place(line: &str) -> String {
    let ends = line.match_indices(' ').map(|(at, _)| at + 1);
    match ends.into_iter().find(|&at| Path::new(&line[at..]).is_absolute()) {
        Some(at) => format!("{}{}", &line[..at], last_part(&line[at..])),
        None => line.to_owned(),
    }
}

fn without_places(config: &Config) -> Config {
    let mut config = config.clone();
    config.data.path = last_part(&config.data.path).to_owned();
    config.train.init_from = config.train.init_from.as_deref().map(|path| last_part(path).to_owned());
    config
}

/// How to load the model.
fn loading(config: &Config, has_tokenizer: bool) -> String {
    let stock = hub::is_stock(&config.model);
    let trust = if stock { "" } else { ", trust_remote_code=True" };
    let mut text = "## How to load it\n\n".to_owned();
    if !stock {
        text.push_str(
            "No stock class of transformers computes this model, so its code is in this folder; read it before you trust it. \
             It needs transformers 4.57 or newer.\n\n",
        );
    }
    let (import, tokenizer) = match has_tokenizer {
        true => {
            ("AutoModelForCausalLM, AutoTokenizer", "tokenizer = AutoTokenizer.from_pretrained(FOLDER)\n")
        }
        false => ("AutoModelForCausalLM", ""),
    };
    text.push_str(&format!(
        "```python\nfrom transformers import {import}\n\nFOLDER = \".\"\nmodel = AutoModelForCausalLM.from_pretrained(FOLDER{trust})\n{}",
        if stock || !has_tokenizer {
            tokenizer.to_owned()
        } else {
            tokenizer.replace("FOLDER)", "FOLDER, trust_remote_code=True)")
        }
    ));
    if has_tokenizer {
        text.push_str(
            "inputs = tokenizer(\"The\", return_tensors=\"pt\")\nprint(tokenizer.decode(model.generate(**inputs, max_new_tokens=20)[0]))\n",
        );
    }
    text.push_str("```\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_tells_no_absolute_path() {
        let root = if cfg!(windows) { "C:/" } else { "/" };
        let told = |line: &str| without_place(&line.replace('%', root));
        assert_eq!(told("folder %home/a person/some text"), "folder some text");
        assert_eq!(told("Python standard library, %usr/lib/python3"), "Python standard library, python3");
        assert_eq!(told("file texts/a b.txt"), "file texts/a b.txt");
        assert_eq!(last_part("data/small"), "data/small");
    }
}
