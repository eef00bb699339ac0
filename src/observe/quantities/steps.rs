//! What every step says of itself.

use super::kinds::STEP;
use super::row::Extent::Step;
use super::row::Presence::Always;
use super::row::{Axis, Live, Quantity, Stored, curve, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// Mean cross-entropy over the targets of the step, in nats per token. Absent where no target of the step counts.
    LOSS = Quantity {
        stored: Stored::F64,
        tag: Some("Loss/train"),
        drawn: curve(0, "loss", Axis::Loss, 1200, "Training loss (nats per token)"),
        ..row(&STEP, "loss", Step)
    };
    /// What attention entropy adds to the training objective, λ included; only with the regularizer.
    ENTROPY_PENALTY = Quantity { tag: Some("train/entropy_penalty"), ..row(&STEP, "entropy_penalty", Step) };
    /// What the scale of the residual stream before the head adds to the training objective, λ included: `model.scale_loss`.
    SCALE_LOSS = Quantity { tag: Some("train/scale_loss"), ..row(&STEP, "scale_loss", Step) };
    LEARNING_RATE = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("train/lr"),
        drawn: curve(4, "lr", Axis::Linear, 300, "Learning rate"),
        live: Some(Live::Number("learning rate", |rate| format!("{rate:.3e}"))),
        ..row(&STEP, "lr", Step)
    };
    /// Global L2 norm of the gradient before clipping.
    GRAD_NORM = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("train/grad_norm"),
        drawn: curve(3, "grad_norm", Axis::Logarithmic, 1200, "Gradient norm before clipping"),
        live: Some(Live::Number("gradient", |norm| format!("{norm:.3}"))),
        ..row(&STEP, "grad_norm", Step)
    };
    /// Tokens seen since the start of the run, this step included.
    TOKENS = Quantity { stored: Stored::Whole, presence: Always, tag: None, ..row(&STEP, "tokens", Step) };
    TOKENS_PER_S = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("train/tokens_per_s"),
        drawn: curve(5, "tokens_per_s", Axis::Linear, 600, "Tokens per second"),
        ..row(&STEP, "tokens_per_s", Step)
    };
    /// What the gradient was multiplied by on its way through f16; only with mixed precision.
    LOSS_SCALE = Quantity {
        tag: Some("train/loss_scale"),
        drawn: curve(6, "loss_scale", Axis::Linear, 300, "Loss scale"),
        live: Some(Live::Number("loss scale", |scale| scale.to_string())),
        ..row(&STEP, "loss_scale", Step)
    };
    /// The gradient overflowed at that scale: the update was skipped and the scale halved.
    OVERFLOW = Quantity { stored: Stored::Flag, tag: Some("train/overflow"), ..row(&STEP, "overflow", Step) };
}
