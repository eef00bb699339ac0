//! The `[model]` table: the parts and sizes of the decoder.
//!
//! Keys follow Hugging Face's GPT-2 configuration where possible, in every family. The defaults are those of the code
//! behind arXiv 2410.09637, including its oddities, each of which has its own name.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

use super::family::{Family, Head};
use super::join::Residual;
use super::network::FeedForward;
use crate::ops::activation::Activation;
use crate::ops::bounded::NormFunction;
use crate::ops::norms::Norm;
use crate::ops::rotary::BASE;
use crate::words::choice;

choice! {
    /// Who shares a learnable slope.
    SlopeScope {
        /// each block stores `n_layer` slopes and uses the entry of its own layer (the original's "per_layer")
        PerLayer = "per_layer",
        /// each block stores and uses one slope of its own (what the original calls "global")
        PerBlock = "per_block",
        /// one slope for the whole model
        Shared = "shared",
    }
}

choice! {
    /// Which of the block's matrices have a trained bias.
    Bias {
        /// query and key only, as in the original
        QueryKey = "query_key",
        /// query, key, value, attention output and the feed-forward matrices, as in GPT-2
        All = "all",
        /// no biases
        None = "none",
    }
}

choice! {
    /// What the entropy regularizer compares with a head's threshold. Deviations count squared, beyond the margin.
    EntropyPenalty {
        /// each row's entropy, summed over all rows of a step, as in the code of arXiv 2501.03489 (with
        /// `train.accumulation = "mean_of_means"`, of a micro-batch)
        RowSum = "row_sum",
        /// each row's entropy, averaged over the rows, so that the batch size does not matter
        RowMean = "row_mean",
        /// the head's mean entropy over a micro-batch, as in the paper's algorithm. Its square is not that of the mean over a
        /// step, so several micro-batches need `train.accumulation = "mean_of_means"`
        HeadMean = "head_mean",
    }
}

choice! {
    /// A gate on attention's output: times σ(a·W), where a are the rows that queries and keys are made of.
    AttentionGate {
        /// no gate
        None = "none",
        /// one gate for each head (arXiv 2505.06708)
        Head = "head",
        /// one gate for each element (the same)
        Element = "element",
    }
}

choice! {
    /// A norm of each query and key head.
    QkNorm {
        /// no norm
        None = "none",
        /// RMSNorm before rotary positions, with a learned gain for each column, one vector for all query heads and one for all key heads
        RmsNorm = "rms_norm",
        /// the same without gains
        Plain = "plain",
        /// length one behind rotary positions, times a learned gain for each column of all heads, which queries and keys share; scores
        /// are their products times the root of a head's width (nGPT, arXiv 2410.01131)
        Unit = "unit",
    }
}

choice! {
    /// Where the norms of a block stand.
    NormPosition {
        /// before attention and before the feed-forward network: x + F(N(x))
        Pre = "pre",
        /// after each addition to the residual stream: N(x + F(x))
        Post = "post",
        /// before and after each branch: x + N(F(N(x)))
        Both = "both",
    }
}

choice! {
    /// What the matrices inside the blocks are divided and multiplied by before products read them.
    WeightNorm {
        /// nothing
        None = "none",
        /// γ/σ with a learned γ and the largest singular value σ, which a power iteration after each update follows (σReparam, arXiv
        /// 2303.06296); queries, keys and values each have their own
        SigmaReparam = "sigma_reparam",
    }
}

/// The norm before the head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FinalNorm {
    /// That which the blocks' norm implies, or none.
    Switch(bool),
    Own(Norm),
}

/// The decoder. Sizes are counts of elements. `normfree keys` documents every key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    pub family: Family,
    /// Number of blocks.
    pub n_layer: usize,
    /// Attention heads per block; divides `n_embd`.
    pub n_head: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Rows of the position table; with rotary positions only the longest context. Training may use a shorter context:
    /// `train.sequence_length`.
    pub n_positions: usize,
    /// Share of a head's columns that rotary positions rotate, rounded down; for `gpt_neox` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_pct: Option<f64>,
    /// The base of rotary positions' angles, 10,000 if it is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Key and value heads, `n_head` if it is unset; fewer only in families whose projections are apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_kv_head: Option<usize>,
    /// Whether the head is the token table; as in the family if it is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie_embeddings: Option<bool>,
    /// Rows of the token table and of the head, which in `gpt2` is the token table.
    pub vocab_size: usize,
    /// Width inside the feed-forward network; defaults to 4·`n_embd`.
    pub n_inner: usize,
    /// The norm inside the blocks, two in each.
    pub norm: Norm,
    /// The norm of attention, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_norm: Option<Norm>,
    /// The norm of the feed-forward network, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffn_norm: Option<Norm>,
    /// The blocks that have norms, counted from 0, as in `0-2,5`; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_layers: Option<String>,
    pub norm_position: NormPosition,
    /// A norm before the head: the blocks' norm, or LayerNorm if they have none. The original keeps it in its
    /// normalization-free models.
    pub final_norm: FinalNorm,
    /// λ of the loss that holds the scale of the residual stream before the head; 0 switches it off.
    pub scale_loss: f64,
    /// Whether the embedding is multiplied by a trained number that starts at √`n_embd`.
    pub embedding_scale: bool,
    /// ε of every norm that has one; the default depends on the norm.
    pub layer_norm_epsilon: f64,
    /// The function of the norm `bounded`.
    pub norm_function: NormFunction,
    /// The initial α of a bounded norm.
    pub alpha_init: f64,
    /// The same before attention, if it differs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_alpha_init: Option<f64>,
    /// The initial λ of BHyT.
    pub lambda_init: f64,
    /// BHyT's κ, which is not learned.
    pub kappa: f64,
    /// Between the two matrices of the feed-forward network.
    pub activation_function: Activation,
    /// The p of an activation with a fixed p.
    pub leaky_slope: f64,
    /// The initial p of an activation that learns it.
    pub slope_init: f64,
    pub slope_scope: SlopeScope,
    pub ffn: FeedForward,
    /// What the matrices inside the blocks are scaled by.
    pub weight_norm: WeightNorm,
    /// The initial gain γ of scaled matrices.
    pub gamma_init: f64,
    /// Whether the columns of the first matrices of feed-forward networks have learned gains.
    pub ffn_gains: bool,
    /// Whether the rows of the head have learned gains.
    pub head_gains: bool,
    /// How the branches of a block join the residual stream.
    pub residual: Residual,
    /// The constant of that join, or where its learned numbers start; the join's own if it is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_scale: Option<f64>,
    /// A block ends in β·x + FFN(x)/α, with trained α and β per block that start at 1, instead of x + FFN(x).
    pub ffn_scaling: bool,
    /// Attention scores are divided by a trained temperature for each head and position.
    pub learnable_temperature: bool,
    /// Initial temperature.
    pub temperature_init: f64,
    /// A norm of each query and key head; ε is that of the other norms.
    pub qk_norm: QkNorm,
    /// Scores are c·tanh(score/c) with this c; 0 leaves them as they are.
    pub attention_softcap: f64,
    /// A learned logit of each head in the denominator of its softmax.
    pub attention_sink: bool,
    /// A gate on the heads' weighted values.
    pub attention_gate: AttentionGate,
    /// λ of the entropy regularizer; 0 switches it off. It is a model key, as `router_aux_loss_coef` is in Hugging Face's
    /// configurations, because its thresholds are parameters.
    pub entropy_regularization: f64,
    pub entropy_penalty: EntropyPenalty,
    /// γ: how far an entropy may deviate from its threshold at no cost, as a share of ln T.
    pub entropy_margin: f64,
    /// Initial thresholds, as a share of ln T.
    pub entropy_threshold_init: f64,
    pub bias: Bias,
    /// Dropout after the sum of the embeddings; the blocks have none.
    pub embd_pdrop: f64,
    /// Standard deviation of the normal distribution that initializes matrices and embeddings.
    pub initializer_range: f64,
    /// Initialize the two residual projections of each block at `initializer_range`/√(2·`n_layer`), as GPT-2 does.
    pub scale_residual_projections: bool,
}

impl ModelConfig {
    /// Width of one head.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Columns at the start of each query and key head that rotary positions rotate.
    pub fn rotary_columns(&self) -> usize {
        self.rotary_pct.map_or(0, |share| (self.head_dim() as f64 * share) as usize)
    }

    /// The rotated columns, and the base of their angles.
    pub fn rotary(&self) -> (usize, f64) {
        (self.rotary_columns(), self.rope_theta.unwrap_or(BASE))
    }

    /// Columns of all keys, and of all values.
    pub fn key_columns(&self) -> usize {
        self.n_kv_head.unwrap_or(self.n_head) * self.head_dim()
    }

    /// What maps the last norm's rows to logits.
    pub fn head(&self) -> Head {
        let (Head::Tied(name) | Head::Own(name)) = self.family.head;
        match self.tie_embeddings {
            Some(true) => Head::Tied(name),
            Some(false) => Head::Own(name),
            None => self.family.head,
        }
    }

    /// The name of the head's matrix, which is the token table's if it is tied.
    pub(super) fn head_name(&self) -> &'static str {
        let (Head::Tied(name) | Head::Own(name)) = self.head();
        name
    }

    /// Whether something scales its matrices before products read them.
    pub fn scales_matrices(&self) -> bool {
        self.weight_norm != WeightNorm::None || self.ffn_gains || self.head_gains
    }

    /// The norms of attention and of the feed-forward network in a block.
    pub fn norms_of(&self, layer: usize) -> [Norm; 2] {
        if !self.normalized_layers().is_none_or(|layers| layers.iter().any(|range| range.contains(&layer))) {
            return [Norm::NONE; 2];
        }
        [self.attention_norm, self.ffn_norm].map(|own| own.unwrap_or(self.norm))
    }

    /// The ranges of blocks that have norms; `None` if all have, or if the text does not say ranges of blocks.
    pub fn normalized_layers(&self) -> Option<Vec<RangeInclusive<usize>>> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let [first, last] = [first, last].map(|number| number.trim().parse::<usize>().ok());
            first.zip(last).map(|(first, last)| first..=last).filter(|range| !range.is_empty())
        };
        let ranges: Option<Vec<_>> = self.norm_layers.as_ref()?.split(',').map(range).collect();
        ranges.filter(|ranges| ranges.iter().all(|range| *range.end() < self.n_layer))
    }

    /// The norm before the head.
    pub fn head_norm(&self) -> Norm {
        match self.final_norm {
            FinalNorm::Switch(true) => self.norm.at_head(),
            FinalNorm::Switch(false) => Norm::NONE,
            FinalNorm::Own(norm) => norm,
        }
    }

    /// The name of the state of the loss that holds the scale.
    pub(super) fn anchor(&self) -> String {
        format!("{}.anchor", self.family.naming.final_norm)
    }

    /// Whether training includes attention entropy.
    pub fn regularizes_entropy(&self) -> bool {
        self.entropy_regularization > 0.0
    }
}
