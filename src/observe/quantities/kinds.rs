//! The kinds of records.

use super::row::Extent::{Head, Layer, Step};
use super::row::{Cadence, Kind, kind, rows};

rows! { pub KINDS: Kind;
    STEP = kind("step", "steps", Step, Cadence::EveryStep);
    /// What attention did in a step.
    ATTENTION = kind("attention", "attention", Head, Cadence::Entropy);
    ACTIVATION_SLOPES = kind("slopes", "slopes", Layer, Cadence::Slopes);
    ENTROPY_THRESHOLDS = kind("entropy_thresholds", "entropy_thresholds", Head, Cadence::Slopes);
    FFN_SCALES = kind("ffn_scales", "ffn_scales", Layer, Cadence::Slopes);
    /// What norms learn for a whole row.
    NORM_SCALES = kind("norm_scales", "norm_scales", Layer, Cadence::Slopes);
    /// What bounded norms did in a step.
    NORMS = kind("norms", "norms", Layer, Cadence::Layers);
    /// Learned factors of branches: `model.residual`.
    RESIDUAL_SCALES = kind("residual_scales", "residual_scales", Layer, Cadence::Slopes);
    /// Singular values and gains of scaled matrices: `model.weight_norm`.
    WEIGHT_NORMS = kind("weight_norms", "weight_norms", Layer, Cadence::Layers);
    /// What the layers' tensors held in a step.
    LAYERS = kind("layers", "layers", Layer, Cadence::Layers);
    /// The spectra of the feed-forward networks over held-out text: `observe.spectrum`.
    SPECTRUM = kind("spectrum", "spectrum", Layer, Cadence::Evaluation);
    /// One pass over held-out text.
    EVAL = kind("eval", "evals", Step, Cadence::Evaluation);
}
