//! What an evaluation measures: spectra of the feed-forward networks, and the loss on held-out text.

use super::kinds::{EVAL, SPECTRUM};
use super::row::Extent::{Layer, Step};
use super::row::Presence::Always;
use super::row::{Axis, Quantity, Stored, curve, figure, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// Spectral entropy of the feed-forward network before its activation, in nats: −Σ λ ln λ, where λ are the eigenvalues of the
    /// covariance of its units over held-out tokens, divided by their sum (NerVE).
    PRE_ENTROPY = Quantity {
        presence: Always,
        drawn: figure(
            30, "pre_spectral_entropy", Axis::Linear, "Spectral entropy (nats)",
            "Spectral entropy of each layer's units before the activation over training",
        ),
        ..row(&SPECTRUM, "pre_entropy", Layer)
    };
    /// The same after it.
    POST_ENTROPY = Quantity {
        presence: Always,
        drawn: figure(
            31, "post_spectral_entropy", Axis::Linear, "Spectral entropy (nats)",
            "Spectral entropy of each layer's units after the activation over training",
        ),
        ..row(&SPECTRUM, "post_entropy", Layer)
    };
    /// Participation ratio before the activation, (Σ λ)² / Σ λ²: how many directions the units use.
    PRE_PARTICIPATION = Quantity {
        presence: Always,
        drawn: figure(
            32, "pre_participation", Axis::Logarithmic, "Participation ratio",
            "Participation ratio of each layer's units before the activation over training",
        ),
        ..row(&SPECTRUM, "pre_participation", Layer)
    };
    /// The same after it.
    POST_PARTICIPATION = Quantity {
        presence: Always,
        drawn: figure(
            33, "post_participation", Axis::Logarithmic, "Participation ratio",
            "Participation ratio of each layer's units after the activation over training",
        ),
        ..row(&SPECTRUM, "post_participation", Layer)
    };
    /// Early enrichment before the activation: how far the cumulated spectrum is above a flat one, from 0 to 1.
    PRE_ENRICHMENT = Quantity { presence: Always, ..row(&SPECTRUM, "pre_enrichment", Layer) };
    /// The same after it.
    POST_ENRICHMENT = Quantity { presence: Always, ..row(&SPECTRUM, "post_enrichment", Layer) };
    /// Jensen-Shannon divergence between the spectra before and after the activation, in nats.
    SPECTRAL_DIVERGENCE = Quantity {
        presence: Always,
        drawn: figure(
            34, "spectral_divergence", Axis::Linear, "Divergence (nats)",
            "Divergence of each layer's spectra before and after the activation over training",
        ),
        ..row(&SPECTRUM, "divergence", Layer)
    };

    /// Mean cross-entropy on held-out text, in nats per token.
    EVAL_LOSS = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("Loss/held_out"),
        drawn: curve(1, "held_out", Axis::Loss, usize::MAX, "Held-out loss (nats per token)"),
        ..row(&EVAL, "loss", Step)
    };
    /// Perplexity, e^loss.
    EVAL_PPL = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("Loss/perplexity"),
        drawn: curve(2, "perplexity", Axis::Perplexity, usize::MAX, "Held-out perplexity"),
        ..row(&EVAL, "ppl", Step)
    };
}
