//! Names of the tensors that the host fills and reads. Every tape of a run shares them.

/// u32 [B·T].
pub const TOKENS: &str = "tokens";
/// u32 [B·T]; `u32::MAX` where a position does not count.
pub const TARGETS: &str = "targets";
/// u32 [B·T]: positions sorted by token.
pub const SORTED: &str = "sorted";
/// u32 [B·T + 1]: where each token's positions start in `sorted`.
pub const SEGMENTS: &str = "segments";
/// f32 `[1]`: the weight of a position in the loss.
pub const TARGET_WEIGHT: &str = "scale";
/// f32 `[2]`: the gate of tapered norms, and how far their scales move towards those of the step.
pub const TAPER: &str = "taper schedule";
/// f32 `[2·n]`: the same of each place of a fake norm, in the order of [`Removal`](super::removal::Removal).
pub const REMOVAL: &str = "removal schedule";
/// f32 `[4]`: the schedule of norms of columns; see `ops::column_norm::rule`.
pub const STATISTICS: &str = "statistics schedule";
/// f32 `[4]`: the loss scale of mixed precision and its state; see `ops::gradient_norm`.
pub const LOSS_SCALE: &str = "loss scale";
/// u32 `[4]`: the random key of dropout.
pub const DROPOUT_KEY: &str = "dropout key";
/// u32 `[rows]`: the tokens of generation passes.
pub const READ: &str = "tokens read";
/// u32 `[rows]`: the position of each row in the text, in generation passes.
pub const POSITIONS: &str = "positions";
/// u32 `[n_head, rows]`: the index of each row's temperature in every layer's table, in generation passes.
pub const TEMPERATURES: &str = "temperatures";
/// f32 `[vocab_size]`: the logits of the row, in generation passes.
pub const LOGITS: &str = "logits";
/// f32 `[1]`.
pub const LOSS: &str = "loss";

/// f32 `[1]`: the loss that holds the scale of the residual stream, including λ.
pub const SCALE_LOSS: &str = "scale loss";

/// f32 `[n_head]`: mean entropy of each head of a layer.
pub fn head_entropy(layer: usize) -> String {
    format!("head entropy {layer}")
}

/// f32 `[8 n_head]`: what [`crate::ops::attention_logits`] says of the heads of a layer.
pub fn attention_logits(layer: usize) -> String {
    format!("attention logits {layer}")
}

/// f32 `[n_head]`: the entropy penalties of a layer's heads, including λ.
pub fn entropy_penalty(layer: usize) -> String {
    format!("entropy penalty {layer}")
}

/// f32 `[n_inner]`: tokens of a micro-batch for which each unit of a layer's feed-forward network is nonzero.
pub fn active_units(layer: usize) -> String {
    format!("active units {layer}")
}

/// f32 `[3]`: norm, largest and median magnitude of a sample of the logits.
pub const LOGIT_SIZES: &str = "logit sizes";

/// f32 `[3]`: norm, largest and median magnitude of the residual stream after a layer.
pub fn residual(layer: usize) -> String {
    format!("residual stream {layer}")
}

/// f32 `[units]`: the length of the row of the last matrix that each unit of a layer's feed-forward network weighs.
pub fn unit_lengths(layer: usize) -> String {
    format!("unit lengths {layer}")
}

/// f32 `[1]`: the least product of a unit's magnitude and that length that is kept.
pub fn unit_bound(layer: usize) -> String {
    format!("unit bound {layer}")
}

/// f32 `[B·T, units]`: the units that are kept.
pub fn units(layer: usize) -> String {
    format!("units {layer}")
}

/// f32 `[units, units]`: Σ x xᵀ over the tokens of an evaluation, where x is what a layer's feed-forward network has before or
/// after (`side`) its activation.
pub fn moments(side: &str, layer: usize) -> String {
    format!("second moments {side} activation {layer}")
}

/// f32 `[units]`: Σ x over the same.
pub fn sums(side: &str, layer: usize) -> String {
    format!("sums {side} activation {layer}")
}

/// f32 `[5]`: how much of its input the bounded norm before attention, network or head saturates, and its mean γ.
pub fn saturation(before: &str, layer: usize) -> String {
    format!("saturation before {before} {layer}")
}

/// f32 `[2]`: norm and largest magnitude of the gradient of a layer's parameters.
pub fn layer_gradient(layer: usize) -> String {
    format!("layer gradient {layer}")
}

/// f32 `[2]`: norm and largest magnitude of the matrices of a layer before an update.
pub fn layer_weights(layer: usize) -> String {
    format!("layer weights {layer}")
}

/// f32 `[2]`: the same of what the update added to them.
pub fn layer_change(layer: usize) -> String {
    format!("layer change {layer}")
}

/// f32 `[n_positions, 2·n_embd]`: keys and values of the tokens read so far, in generation passes.
pub fn cache(layer: usize) -> String {
    format!("cache {layer}")
}

/// f32 `[n_head]`: rows of each head with probabilities that are not finite.
pub fn nonfinite(layer: usize) -> String {
    format!("nonfinite {layer}")
}
