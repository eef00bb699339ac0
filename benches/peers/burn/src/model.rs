//! A GPT-2-style decoder in Burn's own modules: learned positions, pre-norm blocks with LayerNorm or none, a final
//! LayerNorm, the head tied to the token table, biases on query and key alone.

use burn::module::{Initializer, Module};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, relu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor};

/// What is trained.
#[derive(Clone, Debug)]
pub struct Shape {
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub positions: usize,
    pub sequence: usize,
    pub batch: usize,
    pub vocabulary: usize,
    pub layer_norm: bool,
    pub gelu: bool,
}

#[derive(Module, Debug)]
struct Block {
    norm_1: Option<LayerNorm>,
    query_key: Linear,
    value: Linear,
    project: Linear,
    norm_2: Option<LayerNorm>,
    expand: Linear,
    contract: Linear,
}

/// The decoder.
#[derive(Module, Debug)]
pub struct Gpt2 {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
}

/// GPT-2's start of every matrix.
fn initializer() -> Initializer {
    Initializer::Normal { mean: 0.0, std: 0.02 }
}

fn linear(from: usize, to: usize, bias: bool, device: &Device) -> Linear {
    LinearConfig::new(from, to).with_bias(bias).with_initializer(initializer()).init(device)
}

impl Block {
    fn new(shape: &Shape, device: &Device) -> Self {
        let width = shape.width;
        let norm = || shape.layer_norm.then(|| LayerNormConfig::new(width).init(device));
        Self {
            norm_1: norm(),
            query_key: linear(width, 2 * width, true, device),
            value: linear(width, width, false, device),
            project: linear(width, width, false, device),
            norm_2: norm(),
            expand: linear(width, 4 * width, false, device),
            contract: linear(4 * width, width, false, device),
        }
    }

    /// `x` [batch, sequence, width]; `hidden` [1, 1, sequence, sequence], true where a key lies in the future.
    fn forward(&self, x: Tensor<3>, hidden: &Tensor<4, Bool>, shape: &Shape) -> Tensor<3> {
        let [batch, sequence, width] = x.dims();
        let size = width / shape.heads;
        let split = |t: Tensor<3>| t.reshape([batch, sequence, shape.heads, size]).swap_dims(1, 2);
        let normed = |norm: &Option<LayerNorm>, x: Tensor<3>| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };

        let a = normed(&self.norm_1, x.clone());
        let mut query_key = self.query_key.forward(a.clone()).chunk(2, 2).into_iter();
        let (Some(query), Some(key)) = (query_key.next(), query_key.next()) else {
            unreachable!("the matrix was split in two")
        };
        let value = split(self.value.forward(a));
        let scores = split(query).matmul(split(key).swap_dims(2, 3)) / (size as f64).sqrt();
        let heads = [batch, shape.heads, sequence, sequence];
        let weights = softmax(scores.mask_fill(hidden.clone().expand(heads), -1e30), 3);
        let y = weights.matmul(value).swap_dims(1, 2).reshape([batch, sequence, width]);
        let x = x + self.project.forward(y);

        let f = self.expand.forward(normed(&self.norm_2, x.clone()));
        let f = if shape.gelu { gelu(f) } else { relu(f) };
        x + self.contract.forward(f)
    }
}

impl Gpt2 {
    /// Fresh weights.
    pub fn new(shape: &Shape, device: &Device) -> Self {
        let embedding = |rows: usize| {
            EmbeddingConfig::new(rows, shape.width).with_initializer(initializer()).init(device)
        };
        Self {
            tokens: embedding(shape.vocabulary),
            positions: embedding(shape.positions),
            blocks: (0..shape.layers).map(|_| Block::new(shape, device)).collect(),
            final_norm: LayerNormConfig::new(shape.width).init(device),
        }
    }

    /// The mean cross-entropy of the next tokens; `tokens` and `targets` [batch, sequence].
    pub fn loss(
        &self,
        tokens: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        hidden: &Tensor<4, Bool>,
        shape: &Shape,
    ) -> Tensor<1> {
        let [batch, sequence] = tokens.dims();
        let device = tokens.device();
        let positions = Tensor::arange(0..sequence as i64, &device).reshape([1, sequence]);
        let mut x = self.tokens.forward(tokens) + self.positions.forward(positions);
        for block in &self.blocks {
            x = block.forward(x, hidden, shape);
        }
        let x = self.final_norm.forward(x).reshape([batch * sequence, shape.width]);
        let logits = x.matmul(self.tokens.weight.val().transpose());
        CrossEntropyLossConfig::new().init(&device).forward(logits, targets.reshape([batch * sequence]))
    }
}
