//! Text from a trained model, token by token: a language model as a reader with a memory, and sampling of the next token.

mod sampler;

pub use sampler::{Sampler, Sampling};

use crate::config::ModelConfig;
use crate::device::{Device, Plan, Store};
use crate::fault::Result;
use crate::model::{CachedPass, names, parameters, record_reading};
use crate::ops::gather::NO_ROW;
use crate::tape::{DType, Role, Tape};
use crate::train::checkpoint::WeightFile;
use crate::train::loader::load;

/// A model on a device that reads text and predicts the next token. It caches the keys and values of what it has read, so
/// one more token costs the work of one token.
pub struct Reader {
    device: Device,
    store: Store,
    model: ModelConfig,
    /// Takes one token and predicts the next.
    next: Plan,
    /// Takes [`Reader::CHUNK`] tokens.
    many: Plan,
    /// The tokens in the cache.
    read: Vec<u32>,
}

impl Reader {
    /// Tokens that are read at once when many are new.
    const CHUNK: usize = 64;

    /// A reader with the weights of a file. It computes in f32, whatever precision they were trained in.
    ///
    /// # Errors
    /// [`crate::fault::Kind::Memory`] where the device has no room; those of reading the file.
    pub fn new(device: impl Into<Device>, model: &ModelConfig, weights: WeightFile) -> Result<Self> {
        let device = device.into();
        let reading = |rows, logits| CachedPass { rows, logits, piece_bytes: device.traits().max_binding };
        let next = record_reading(model, &reading(1, true));
        let many = record_reading(model, &reading(Self::CHUNK, false));
        let mut store = Store::new(&device);
        for parameter in parameters(model, true, crate::config::Precision::F32) {
            store.allocate(&device, &parameter.name, parameter.elements(), DType::F32)?;
        }
        let kept = |tape: &Tape| -> Vec<_> {
            let infos = tape.ids().map(|id| tape.info(id).clone());
            let role = |role| matches!(role, Role::Input | Role::Observation);
            infos.filter(|info| role(info.role) && info.parent.is_none()).collect()
        };
        // The larger plan first: the other's inputs are a prefix of its own.
        for info in kept(&many).into_iter().chain(kept(&next)) {
            if !store.contains(&info.name) {
                store.allocate(&device, &info.name, info.shape.elements(), info.dtype)?;
            }
        }
        for (tensor, values) in next.constants() {
            store.write(&device, &next.info(tensor).name, values);
        }
        load(&device, &store, weights)?;
        let [next, many] = Plan::build_all(&device, [&next, &many], &store)?;
        Plan::load_kernels(&device, &[&next, &many])?;
        device.keep_pipelines();
        for plan in [&next, &many] {
            plan.fix(&device)?;
        }
        Ok(Self { device, store, model: model.clone(), next, many, read: Vec::new() })
    }

    /// The most tokens it can read: the positions of the model.
    pub fn context(&self) -> usize {
        self.model.n_positions
    }

    /// The logits `[vocab_size]` of the token after `text`. Computes only what the reader has not just read. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    ///
    /// # Panics
    /// If the text is empty or longer than the context, or a token is outside the model's vocabulary.
    pub fn logits(&mut self, text: &[u32]) -> Result<Vec<f32>> {
        assert!((1..=self.context()).contains(&text.len()), "{} tokens to read", text.len());
        assert!(
            text.iter().all(|&token| (token as usize) < self.model.vocab_size),
            "a token of another model"
        );
        // The last token is always read again: its logits are not kept.
        let known = self.read.iter().zip(&text[..text.len() - 1]).take_while(|(a, b)| a == b).count();
        self.read.truncate(known);
        let body = &text[known..text.len() - 1];
        for (i, tokens) in body.chunks(Self::CHUNK).enumerate() {
            self.run(known + i * Self::CHUNK, tokens)?;
        }
        self.run(text.len() - 1, &text[text.len() - 1..])?;
        self.read = text.to_vec();
        self.store.read(&self.device, names::LOGITS, self.model.vocab_size)
    }

    /// Forgets what was read.
    pub fn forget(&mut self) {
        self.read.clear();
    }

    /// Reads tokens from position `first` on, with the plan for one token or the plan for many.
    fn run(&self, first: usize, tokens: &[u32]) -> Result<()> {
        let (plan, rows) = if tokens.len() == 1 { (&self.next, 1) } else { (&self.many, Self::CHUNK) };
        let filled = |mut values: Vec<u32>| {
            values.resize(rows, NO_ROW);
            values
        };
        let positions = (first..first + tokens.len()).map(|position| position as u32).collect();
        let positions: Vec<u32> = filled(positions);
        if self.store.contains(names::TEMPERATURES) {
            let context = self.context() as u32;
            let place = |head: u32, p: u32| if p == NO_ROW { NO_ROW } else { head * context + p };
            let heads = 0..self.model.n_head as u32;
            let places: Vec<u32> =
                heads.flat_map(|head| positions.iter().map(move |&p| place(head, p))).collect();
            self.store.write(&self.device, names::TEMPERATURES, &places);
        }
        self.store.write(&self.device, names::TOKENS, &filled(tokens.to_vec()));
        self.store.write(&self.device, names::POSITIONS, &positions);
        plan.submit(&self.device)
    }
}

/// The part of a text that a reader of `context` tokens continues. A text that has outgrown the context is cut to its last
/// half, because everything is read anew after a cut: this way not every token needs one.
pub fn window(text: &[u32], context: usize) -> &[u32] {
    if text.len() <= context {
        return text;
    }
    let half = context.div_ceil(2);
    // It grows from half the context to the whole, and starts again.
    let grown = (text.len() - context - 1) % (context - half + 1).max(1);
    &text[text.len() - half - grown..]
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn a_window_grows_to_the_context_and_is_cut_to_half() {
        for context in [2, 3, 8, 9] {
            let text: Vec<u32> = (0..100).collect();
            let mut before: &[u32] = &[];
            for length in 1..=text.len() {
                let now = window(&text[..length], context);
                assert_eq!(now.last(), Some(&(length as u32 - 1)));
                assert!((1..=context).contains(&now.len()), "{length}: {}", now.len());
                if before.len() == context {
                    assert_eq!(now.len(), context.div_ceil(2), "{length} of {context}");
                } else {
                    assert_eq!(now.len(), before.len() + 1, "{length} of {context}");
                    assert_eq!(&now[..before.len()], before);
                }
                before = now;
            }
        }
    }
}
