//! Gradients, updates, zeros and the residual stream of each layer.

use super::kinds::LAYERS;
use super::row::Extent::{Layer, Step};
use super::row::Presence::{Always, MayBeEmpty};
use super::row::{Axis, Drawn, Quantity, drawn_as, figure, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// L2 norm of the gradient of the block's parameters, before clipping.
    LAYER_GRAD_NORM = Quantity {
        presence: Always,
        drawn: figure(
            6, "layer_grad_norm", Axis::Logarithmic, "Gradient norm",
            "L2 norm of the gradient of each layer's parameters over training",
        ),
        ..row(&LAYERS, "grad_norm", Layer)
    };
    /// ‖ΔW‖/‖W‖ of the step: the L2 norm of what the update changed in all matrices of the block, over their norm before it.
    UPDATE_RATIO = Quantity {
        drawn: figure(
            16, "update_ratio", Axis::Logarithmic, "Update over weight norm",
            "Norm of the update of each layer's matrices over that of their weights, over training",
        ),
        ..row(&LAYERS, "update_ratio", Layer)
    };
    /// Share of the feed-forward network's activations that are exactly zero. This quantity and the next are empty if the
    /// network is a single matrix, which has no activations.
    ZEROS = Quantity {
        presence: MayBeEmpty,
        drawn: Some(Drawn {
            unless_zero: Some(&ZEROS),
            ..drawn_as(
                2, "activation_zeros", Axis::Share, "Share of zeros",
                "Share of feed-forward activations that are zero, by layer, over training",
            )
        }),
        ..row(&LAYERS, "zeros", Layer)
    };
    /// Share of its units that were zero for every token of every step observed since the last such record.
    DEAD = Quantity {
        presence: MayBeEmpty,
        drawn: Some(Drawn {
            unless_zero: Some(&ZEROS),
            ..drawn_as(
                3, "dead_units", Axis::Share, "Share of dead units",
                "Share of feed-forward units that are zero for every token, by layer, over training",
            )
        }),
        ..row(&LAYERS, "dead", Layer)
    };
    /// Largest magnitude in the residual stream after the block.
    RESIDUAL_MAX = Quantity {
        presence: Always,
        drawn: figure(
            4, "residual_max", Axis::Logarithmic, "Largest magnitude",
            "Largest magnitude in the residual stream behind each layer over training",
        ),
        ..row(&LAYERS, "residual_max", Layer)
    };
    /// Median magnitude there.
    RESIDUAL_MEDIAN = Quantity {
        presence: Always,
        drawn: figure(
            5, "residual_median", Axis::Logarithmic, "Median magnitude",
            "Median magnitude in the residual stream behind each layer over training",
        ),
        ..row(&LAYERS, "residual_median", Layer)
    };

    /// Root mean square of the residual stream after the block.
    RESIDUAL_RMS = Quantity {
        drawn: figure(
            15, "residual_rms", Axis::Logarithmic, "Root mean square",
            "Root mean square of the residual stream behind each layer over training",
        ),
        ..row(&LAYERS, "residual_rms", Layer)
    };

    /// Root mean square of the model's logits, for the first 16 positions of the micro-batch and the first 8,192 tokens of the
    /// vocabulary.
    LOGIT_RMS = row(&LAYERS, "logit_rms", Step);
}
