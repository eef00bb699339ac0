//! The largest singular value σ and the learned gain γ of every matrix that `model.weight_norm` scales.

use super::kinds::WEIGHT_NORMS;
use super::row::Extent::Layer;
use super::row::{Axis, Quantity, figure, row, rows};

/// Declares σ and γ of each linear map by its name in the log and what it is. A place among the figures and a title follow the
/// one that is drawn.
macro_rules! matrices {
    ($($map:literal, $what:literal:
        $sigma:ident $(($sigma_at:literal, $sigma_title:literal))?,
        $gamma:ident $(($gamma_at:literal, $gamma_title:literal))?;)*) => {
        rows! { pub(super) ROWS: Quantity;
            $(
                #[doc = concat!("The largest singular value σ of ", $what, ", by power iteration.")]
                $sigma = Quantity {
                    drawn: drawn!($($sigma_at, $sigma_title)?; concat!($map, "_sigma"), Axis::Logarithmic, "σ"),
                    ..row(&WEIGHT_NORMS, concat!($map, "_sigma"), Layer)
                };
                #[doc = concat!("The learned gain γ of ", $what, ": products read γ/σ times the matrix.")]
                $gamma = Quantity {
                    drawn: drawn!($($gamma_at, $gamma_title)?; concat!($map, "_gamma"), Axis::Linear, "γ"),
                    ..row(&WEIGHT_NORMS, concat!($map, "_gamma"), Layer)
                };
            )*
        }

        /// σ of the linear maps of a block: query, key, value, attention's gate and last matrix, the network's gate, first and
        /// last matrix.
        pub static SINGULAR_VALUES: [&Quantity; 8] = [$(&$sigma),*];

        /// γ of the same.
        pub static GAINS: [&Quantity; 8] = [$(&$gamma),*];
    };
}

macro_rules! drawn {
    (; $($rest:tt)*) => {
        None
    };
    ($at:literal, $title:literal; $stem:expr, $axis:expr, $label:literal) => {
        figure($at, $stem, $axis, $label, $title)
    };
}

matrices! {
    "query", "the matrix that makes queries":
        QUERY_SIGMA (40, "Largest singular value of each layer's query matrix over training"),
        QUERY_GAMMA (41, "Learned gain of each layer's query matrix over training");
    "key", "the matrix that makes keys":
        KEY_SIGMA, KEY_GAMMA (42, "Learned gain of each layer's key matrix over training");
    "value", "the matrix that makes values": VALUE_SIGMA, VALUE_GAMMA;
    "attention_gate", "the matrix of attention's gate": ATTENTION_GATE_SIGMA, ATTENTION_GATE_GAMMA;
    "attention_out", "attention's last matrix": ATTENTION_OUT_SIGMA, ATTENTION_OUT_GAMMA;
    "ffn_gate", "the matrix of a gated feed-forward network's gates": FFN_GATE_SIGMA, FFN_GATE_GAMMA;
    "ffn_in", "the first matrix of the feed-forward network, or what a gated one multiplies its gates with":
        FFN_IN_SIGMA, FFN_IN_GAMMA;
    "ffn_out", "the last matrix of the feed-forward network":
        FFN_OUT_SIGMA,
        FFN_OUT_GAMMA (43, "Learned gain of the last matrix of each layer's feed-forward network over training");
}
