//! One file per op, same stem as in `src/ops` and `shaders`.

mod activation;
mod adamw;
mod add;
pub mod attention;
mod attention_logits;
mod cached_attention;
mod cast;
pub mod check;
mod column_sum;
mod cross_entropy;
mod dropout;
mod embedding;
mod entropy_penalty;
mod gather;
mod gradient_norm;
mod head_entropy;
mod layer_norm;
mod magnitudes;
mod matmul;
mod rotary;
mod scaled_sum;
mod temperature;
