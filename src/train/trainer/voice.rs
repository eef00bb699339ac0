//! Text from the model at its evaluations: how it continues `observe.sample_prompt`.

use crate::config::Config;
use crate::data::{Corpus, LoadedTokenizer, tokenizer_path};
use crate::fault::{Fault, Kind, Result};
use crate::generate::{Sampler, Sampling};
use crate::observe::record::Sample;
use crate::train::engine::Engine;
use crate::train::run_folder::RunFolder;

/// A tokenizer and what is to be continued with it.
pub(super) struct Voice {
    tokenizer: LoadedTokenizer,
    prompt: String,
    /// Its tokens, at least one.
    start: Vec<u32>,
    tokens: usize,
    temperature: f64,
    seed: u64,
}

impl Voice {
    /// That of a run, if its configuration has a prompt, with the tokenizer of its data or else the run's own copy.
    ///
    /// # Errors
    /// [`Kind::Data`] if there is no tokenizer, or if it is not the data's; those of reading it and of encoding the prompt.
    pub fn of(config: &Config, corpus: &Corpus, run: &RunFolder) -> Result<Option<Self>> {
        let Some(prompt) = config.observe.sample_prompt.clone() else { return Ok(None) };
        let places = [tokenizer_path(corpus.folder()), run.tokenizer()];
        let path = places.iter().find(|path| path.is_file()).ok_or_else(|| {
            Fault::new(Kind::Data, "there is no tokenizer to encode observe.sample_prompt with")
                .at(places[0].display())
                .remedy("omit the key, or prepare the data with `normfree prepare`")
        })?;
        let tokenizer = LoadedTokenizer::read(path)?;
        let start = tokenizer.encode_one(&prompt)?;
        let fits = start.iter().all(|&token| (token as usize) < config.model.vocab_size);
        if start.is_empty() || !fits {
            return Err(Fault::new(Kind::Data, "observe.sample_prompt cannot be encoded for this model")
                .at(path.display())
                .found(match start.is_empty() {
                    true => "a text without a token".to_owned(),
                    false => format!("a token beyond the vocabulary of {}", config.model.vocab_size),
                })
                .remedy("give another text, or restore the data's own tokenizer.json"));
        }
        Ok(Some(Self {
            tokenizer,
            prompt,
            start,
            tokens: config.observe.sample_tokens,
            temperature: config.observe.sample_temperature,
            seed: config.train.seed,
        }))
    }

    /// The text after `step` steps, which depends on nothing but the weights, the seed and the step; `None` if `stopped`
    /// becomes true meanwhile.
    ///
    /// # Errors
    /// [`Kind::NonFinite`] if the logits are not finite; those of the device.
    pub fn speak(
        &self,
        engine: &mut Engine,
        step: u64,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Sample>> {
        // Another stream for each step: one and the same would draw the same places of the distribution every time.
        let seed = self.seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut sampler =
            Sampler::new(Sampling { temperature: self.temperature, top_k: 0, top_p: 1.0, seed });
        let mut decode = self.tokenizer.decoder();
        let (mut all, mut text) = (self.start.clone(), String::new());
        engine.begin_text()?;
        for _ in 0..self.tokens {
            if stopped() {
                return Ok(None);
            }
            let logits = engine.next_logits(&all)?;
            let token = sampler.pick(&logits[..self.tokenizer.vocab_size.min(logits.len())])?;
            if Some(token) == self.tokenizer.end_of_text {
                break;
            }
            all.push(token);
            text.extend(decode(token)?);
        }
        let tokens = all.len() - self.start.len();
        Ok(Some(Sample { step, prompt: self.prompt.clone(), text, tokens }))
    }
}
