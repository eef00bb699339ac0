//! Numbers that parts of a model learn: slopes of activations, thresholds of the entropy regularizer, scales of the feed-forward
//! network.

use super::kinds::{ACTIVATION_SLOPES, ENTROPY_THRESHOLDS, FFN_SCALES};
use super::row::Extent::{Head, Layer};
use super::row::Presence::Always;
use super::row::{Axis, Drawn, Live, Quantity, drawn_as, figure, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// Learnable slope of the activation for negative inputs; a global slope is repeated for every layer.
    SLOPES = Quantity {
        presence: Always,
        column: "slope",
        drawn: Some(Drawn {
            shared: Some(("slope_scope", "shared")),
            ..drawn_as(
                1, "slopes", Axis::Signed, "Slope",
                "Learnable slope of the activation in each layer over training",
            )
        }),
        live: Some(Live::Layers("slope of every layer", "slopes, layer by layer")),
        ..row(&ACTIVATION_SLOPES, "slopes", Layer)
    };

    /// Learned threshold of the entropy regularizer, as a share of ln T.
    THRESHOLDS = Quantity {
        presence: Always,
        tag: Some("entropy_threshold"),
        column: "threshold",
        drawn: figure(
            7, "entropy_thresholds", Axis::Linear, "Threshold (share of ln T)",
            "Learned entropy threshold, mean of each layer's heads, as a share of ln T, over training",
        ),
        ..row(&ENTROPY_THRESHOLDS, "thresholds", Head)
    };

    /// What a feed-forward network's result is divided by: a block ends in β·x + FFN(x)/α.
    FFN_ALPHA = Quantity {
        presence: Always,
        tag: Some("ffn_alpha"),
        drawn: figure(
            8, "ffn_alpha", Axis::Linear, "α",
            "Learned divisor α of each layer's feed-forward network over training",
        ),
        ..row(&FFN_SCALES, "alpha", Layer)
    };
    /// What the residual stream is multiplied by there.
    FFN_BETA = Quantity {
        presence: Always,
        tag: Some("ffn_beta"),
        drawn: figure(
            9, "ffn_beta", Axis::Linear, "β",
            "Learned factor β of the residual stream in each layer over training",
        ),
        ..row(&FFN_SCALES, "beta", Layer)
    };
}
