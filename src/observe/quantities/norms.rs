//! What norms learn, and how much of their input a bounded one saturates, in each place of a norm.

use super::kinds::{NORM_SCALES, NORMS};
use super::row::Extent::{Layer, Step};
use super::row::{Axis, Quantity, figure, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// Learned α of the bounded norm before attention: y = f(α·x + s)·γ + β.
    ATTENTION_NORM_ALPHA = Quantity {
        drawn: figure(
            20, "attention_norm_alpha", Axis::Linear, "α",
            "Learned α of the bounded norm before attention in each layer over training",
        ),
        ..row(&NORM_SCALES, "attention_norm_alpha", Layer)
    };
    /// Its learned s.
    ATTENTION_NORM_SHIFT = row(&NORM_SCALES, "attention_norm_shift", Layer);
    /// Learned λ of BHyT there.
    ATTENTION_NORM_LAMBDA = row(&NORM_SCALES, "attention_norm_lambda", Layer);
    /// TaperNorm's running scale there, or what a fake norm holds for queries and keys: one over the running deviation.
    ATTENTION_NORM_SCALE = row(&NORM_SCALES, "attention_norm_scale", Layer);
    /// Its mean γ.
    ATTENTION_NORM_GAIN = row(&NORMS, "attention_norm_gain", Layer);
    /// Share of its input with |α·x + s| above 0.5.
    ATTENTION_NORM_ABOVE_0_5 = row(&NORMS, "attention_norm_above_0_5", Layer);
    /// Share of its input with |α·x + s| above 1.
    ATTENTION_NORM_ABOVE_1 = row(&NORMS, "attention_norm_above_1", Layer);
    /// Share of its input with |α·x + s| above 2.
    ATTENTION_NORM_ABOVE_2 = Quantity {
        drawn: figure(
            21, "attention_norm_above_2", Axis::Share, "Share of inputs",
            "Share of |α·x + s| above 2 at the norm before attention, by layer, over training",
        ),
        ..row(&NORMS, "attention_norm_above_2", Layer)
    };
    /// Share of its input with |α·x + s| above 3.
    ATTENTION_NORM_ABOVE_3 = row(&NORMS, "attention_norm_above_3", Layer);
    /// Learned α of the bounded norm before the feed-forward network: y = f(α·x + s)·γ + β.
    FFN_NORM_ALPHA = Quantity {
        drawn: figure(
            22, "ffn_norm_alpha", Axis::Linear, "α",
            "Learned α of the bounded norm before the feed-forward network in each layer over training",
        ),
        ..row(&NORM_SCALES, "ffn_norm_alpha", Layer)
    };
    /// Its learned s.
    FFN_NORM_SHIFT = row(&NORM_SCALES, "ffn_norm_shift", Layer);
    /// Learned λ of BHyT there.
    FFN_NORM_LAMBDA = row(&NORM_SCALES, "ffn_norm_lambda", Layer);
    /// TaperNorm's running scale there, or what a fake norm holds.
    FFN_NORM_SCALE = row(&NORM_SCALES, "ffn_norm_scale", Layer);
    /// Its mean γ.
    FFN_NORM_GAIN = row(&NORMS, "ffn_norm_gain", Layer);
    /// Share of its input with |α·x + s| above 0.5.
    FFN_NORM_ABOVE_0_5 = row(&NORMS, "ffn_norm_above_0_5", Layer);
    /// Share of its input with |α·x + s| above 1.
    FFN_NORM_ABOVE_1 = row(&NORMS, "ffn_norm_above_1", Layer);
    /// Share of its input with |α·x + s| above 2.
    FFN_NORM_ABOVE_2 = Quantity {
        drawn: figure(
            23, "ffn_norm_above_2", Axis::Share, "Share of inputs",
            "Share of |α·x + s| above 2 at the norm before the feed-forward network, by layer, over training",
        ),
        ..row(&NORMS, "ffn_norm_above_2", Layer)
    };
    /// Share of its input with |α·x + s| above 3.
    FFN_NORM_ABOVE_3 = row(&NORMS, "ffn_norm_above_3", Layer);
    /// Learned α of the bounded norm before the head: y = f(α·x + s)·γ + β.
    FINAL_NORM_ALPHA = row(&NORM_SCALES, "final_norm_alpha", Step);
    /// Its learned s.
    FINAL_NORM_SHIFT = row(&NORM_SCALES, "final_norm_shift", Step);
    /// Learned λ of BHyT there.
    FINAL_NORM_LAMBDA = row(&NORM_SCALES, "final_norm_lambda", Step);
    /// TaperNorm's running scale there, or what a fake norm holds.
    FINAL_NORM_SCALE = row(&NORM_SCALES, "final_norm_scale", Step);
    /// Its mean γ.
    FINAL_NORM_GAIN = row(&NORMS, "final_norm_gain", Step);
    /// Share of its input with |α·x + s| above 0.5.
    FINAL_NORM_ABOVE_0_5 = row(&NORMS, "final_norm_above_0_5", Step);
    /// Share of its input with |α·x + s| above 1.
    FINAL_NORM_ABOVE_1 = row(&NORMS, "final_norm_above_1", Step);
    /// Share of its input with |α·x + s| above 2.
    FINAL_NORM_ABOVE_2 = row(&NORMS, "final_norm_above_2", Step);
    /// Share of its input with |α·x + s| above 3.
    FINAL_NORM_ABOVE_3 = row(&NORMS, "final_norm_above_3", Step);
}

/// What is measured of the norm in one place.
#[derive(Debug)]
pub struct NormSite {
    pub alpha: &'static Quantity,
    pub shift: &'static Quantity,
    pub lambda: &'static Quantity,
    pub scale: &'static Quantity,
    pub gain: &'static Quantity,
    /// For each of the thresholds of `ops::saturation`, in their order.
    pub above: [&'static Quantity; 4],
}

/// Before attention, before the feed-forward network, before the head.
pub static NORM_SITES: [NormSite; 3] = [
    NormSite {
        alpha: &ATTENTION_NORM_ALPHA,
        shift: &ATTENTION_NORM_SHIFT,
        lambda: &ATTENTION_NORM_LAMBDA,
        scale: &ATTENTION_NORM_SCALE,
        gain: &ATTENTION_NORM_GAIN,
        above: [
            &ATTENTION_NORM_ABOVE_0_5,
            &ATTENTION_NORM_ABOVE_1,
            &ATTENTION_NORM_ABOVE_2,
            &ATTENTION_NORM_ABOVE_3,
        ],
    },
    NormSite {
        alpha: &FFN_NORM_ALPHA,
        shift: &FFN_NORM_SHIFT,
        lambda: &FFN_NORM_LAMBDA,
        scale: &FFN_NORM_SCALE,
        gain: &FFN_NORM_GAIN,
        above: [&FFN_NORM_ABOVE_0_5, &FFN_NORM_ABOVE_1, &FFN_NORM_ABOVE_2, &FFN_NORM_ABOVE_3],
    },
    NormSite {
        alpha: &FINAL_NORM_ALPHA,
        shift: &FINAL_NORM_SHIFT,
        lambda: &FINAL_NORM_LAMBDA,
        scale: &FINAL_NORM_SCALE,
        gain: &FINAL_NORM_GAIN,
        above: [&FINAL_NORM_ABOVE_0_5, &FINAL_NORM_ABOVE_1, &FINAL_NORM_ABOVE_2, &FINAL_NORM_ABOVE_3],
    },
];
