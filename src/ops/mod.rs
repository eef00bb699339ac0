//! The ops. Each op has one file here, one WGSL file in `shaders/` and one test in `tests/ops/`, all with the same stem.
//! The file here holds the formula, shapes, adjoint, recipe and f64 reference of the op and of its backward twin.

pub mod case;
mod element;
mod norm_rows;
pub mod norms;
pub mod packed;
mod random;
mod team;
mod unroll;

pub mod activation;
pub mod adamw;
pub mod add;
pub mod attention;
pub mod attention_logits;
pub mod attention_sink;
pub mod attention_variance;
pub mod beside;
pub mod bhyt;
pub mod bounded;
pub mod branch;
pub mod cached_attention;
pub mod cast;
pub mod column_norm;
pub mod column_sum;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod entropy_penalty;
pub mod gated;
pub mod gather;
pub mod gradient_norm;
pub mod grouped_heads;
pub mod head_entropy;
pub mod head_gate;
pub mod layer_norm;
pub mod learned_scale;
pub mod magnitudes;
pub mod matmul;
pub mod muon;
pub mod poly_norm;
pub mod poly_relu;
pub mod prelu;
pub mod qk_norm;
pub mod rms_norm;
pub mod rotary;
pub mod saturation;
pub mod scale_loss;
pub mod scaled_sum;
pub mod seed_norm;
pub mod sgd;
pub mod shift;
pub mod spectral_norm;
pub mod sphere;
pub mod splice;
pub mod taper;
pub mod temperature;
pub mod truncate;
pub mod unit_clip;
pub mod unit_norm;
pub mod unit_scale;
pub mod weight_norm;

pub use crate::tape::recipe::{
    Binding, Choices, Dispatch, Kernel, MAX_GROUPS, MAX_ITERATIONS, Operand, Recipe, Traits, Tuning, Vendor,
    WINDOW_ELEMENTS, WINDOW_TEXELS, axis, fits_image, grid, parse,
};
pub use crate::tape::{Io, Op, Shapes};

pub(crate) use unroll::unrolled;

use case::Case;

/// The cases of one op for a seed.
pub type Cases = fn(u64) -> Vec<Case>;

/// Every op by stem, with the cases that compare it with the reference. `verify` and the tests use this list.
pub const CASES: &[(&str, Cases)] = &[
    ("activation", activation::cases),
    ("adamw", adamw::cases),
    ("add", add::cases),
    ("attention", attention::cases),
    ("attention_logits", attention_logits::cases),
    ("attention_sink", attention_sink::cases),
    ("attention_variance", attention_variance::cases),
    ("beside", beside::cases),
    ("bhyt", bhyt::cases),
    ("bounded", bounded::cases),
    ("branch", branch::cases),
    ("cached_attention", cached_attention::cases),
    ("cast", cast::cases),
    ("column_norm", column_norm::cases),
    ("column_sum", column_sum::cases),
    ("cross_entropy", cross_entropy::cases),
    ("dropout", dropout::cases),
    ("embedding", embedding::cases),
    ("entropy_penalty", entropy_penalty::cases),
    ("gated", gated::cases),
    ("gather", gather::cases),
    ("gradient_norm", gradient_norm::cases),
    ("grouped_heads", grouped_heads::cases),
    ("head_entropy", head_entropy::cases),
    ("head_gate", head_gate::cases),
    ("layer_norm", layer_norm::cases),
    ("learned_scale", learned_scale::cases),
    ("magnitudes", magnitudes::cases),
    ("matmul", matmul::cases),
    ("muon", muon::cases),
    ("poly_norm", poly_norm::cases),
    ("poly_relu", poly_relu::cases),
    ("prelu", prelu::cases),
    ("qk_norm", qk_norm::cases),
    ("rms_norm", rms_norm::cases),
    ("rotary", rotary::cases),
    ("saturation", saturation::cases),
    ("scale_loss", scale_loss::cases),
    ("scaled_sum", scaled_sum::cases),
    ("seed_norm", seed_norm::cases),
    ("sgd", sgd::cases),
    ("shift", shift::cases),
    ("spectral_norm", spectral_norm::cases),
    ("sphere", sphere::cases),
    ("splice", splice::cases),
    ("taper", taper::cases),
    ("temperature", temperature::cases),
    ("truncate", truncate::cases),
    ("unit_clip", unit_clip::cases),
    ("unit_norm", unit_norm::cases),
    ("unit_scale", unit_scale::cases),
    ("weight_norm", weight_norm::cases),
];
