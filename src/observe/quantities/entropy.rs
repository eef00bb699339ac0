//! Attention entropy, and what of attention is not finite.

use super::kinds::ATTENTION;
use super::row::Extent::{Head, Layer};
use super::row::Presence::Always;
use super::row::{Axis, Quantity, Stored, figure, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// Mean entropy of each head, in nats.
    HEAD_ENTROPY = Quantity { presence: Always, column: "entropy", ..row(&ATTENTION, "head_entropy", Head) };
    /// Mean over the heads of a layer, in nats.
    LAYER_ENTROPY = Quantity {
        presence: Always,
        column: "entropy",
        drawn: figure(
            0, "layer_entropy", Axis::Entropy, "Entropy (nats)",
            "Mean attention entropy of each layer over training, nats",
        ),
        ..row(&ATTENTION, "layer_entropy", Layer)
    };
    /// Attention probabilities that are not finite, summed over heads; the code behind arXiv 2410.09637 takes the mean over
    /// heads.
    NONFINITE_ATTENTION = Quantity {
        stored: Stored::Whole,
        presence: Always,
        tag: Some("nonfinite_attention"),
        ..row(&ATTENTION, "nonfinite", Layer)
    };
}
