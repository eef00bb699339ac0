//! The sizes of a card's models.

use serde_json::Value;

/// The sizes of a card and its training data.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub quick: bool,
    /// Changes to the configurations, which have GPT-2's size.
    changes: &'static [&'static str],
    /// Sequence lengths, each with the largest batch to try.
    pub lengths: [Length; 2],
    /// Turns of each measurement.
    pub rounds: &'static str,
    /// M×N×K of the separately timed product.
    pub product: [usize; 3],
    /// Approximate number of parameters.
    parameters: f64,
    /// Vocabulary to learn, and bytes of text.
    pub vocabulary: usize,
    pub text: u64,
    /// Steps of the run that is killed, and the steps between its checkpoints.
    pub resumed: (u64, u64),
    /// The fewest steps that make a model meaningful, and the most to run if time allows.
    pub steps: (u64, u64),
}

/// A sequence length.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    pub tokens: usize,
    /// Sequences in the largest batch to try.
    pub batch: usize,
}

impl Sizes {
    /// GPT-2 124M: 12 layers, 12 heads, width 768.
    pub const FULL: Self = Self {
        quick: false,
        changes: &[],
        lengths: [Length { tokens: 128, batch: 64 }, Length { tokens: 1024, batch: 8 }],
        rounds: "5",
        product: [1024, 3072, 768],
        parameters: 124e6,
        vocabulary: 8192,
        text: 12 << 20,
        resumed: (40, 10),
        steps: (20, 20_000),
    };

    /// Small enough for software Vulkan on two cores.
    pub const QUICK: Self = Self {
        quick: true,
        changes: &["model.n_layer=2", "model.n_head=2", "model.n_embd=32", "model.vocab_size=512"],
        lengths: [Length { tokens: 32, batch: 8 }, Length { tokens: 64, batch: 4 }],
        rounds: "2",
        product: [64, 96, 32],
        parameters: 0.05e6,
        vocabulary: 512,
        text: 300 << 10,
        resumed: (16, 4),
        steps: (4, 60),
    };

    /// The options for a configuration of this size.
    pub fn options(&self) -> Vec<String> {
        self.changes.iter().flat_map(|&change| ["--set".to_owned(), change.to_owned()]).collect()
    }

    /// A product in command-line form.
    pub fn product_text(&self) -> String {
        let [m, n, k] = self.product;
        format!("{m}x{n}x{k}")
    }

    /// A batch size whose steps fit in `seconds` of measurement, judging by the device's ceilings: kernels reach a
    /// fraction of its arithmetic.
    pub fn batch(&self, length: Length, ceilings: &Value, seconds: f64) -> usize {
        /// Fraction of the f32 multiply-add ceiling.
        const REACHED: f64 = 0.2;
        /// Total steps in a measurement.
        const STEPS: f64 = 40.0;
        let Some(flops) = ceilings["arithmetic"][0]["flops"].as_f64() else { return length.batch };
        let step = |batch: usize| 6.0 * self.parameters * (batch * length.tokens) as f64 / (REACHED * flops);
        let mut batch = length.batch;
        while batch > 1 && STEPS * step(batch) > seconds {
            batch /= 2;
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn batches_suit_the_device() {
        let of = |flops: f64, length| {
            let ceilings = json!({ "arithmetic": [{ "number": "f32", "flops": flops }] });
            Sizes::FULL.batch(Sizes::FULL.lengths[length], &ceilings, 40.0)
        };
        // A large card, an integrated GPU, two cores.
        assert_eq!([of(5e13, 0), of(2e12, 0), of(5e10, 0)], [64, 4, 1]);
        assert_eq!([of(5e13, 1), of(2e12, 1), of(5e10, 1)], [8, 1, 1]);
        assert_eq!(Sizes::FULL.batch(Sizes::FULL.lengths[0], &Value::Null, 40.0), 64);
    }
}
