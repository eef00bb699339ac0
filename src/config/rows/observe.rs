//! The keys of `[observe]`: what is measured, and how often.

use super::super::EntropyReference;
use super::super::schema::Accepts::{Flag, Integer, Number, Text, Words};
use super::super::schema::Otherwise::Absent;
use super::super::schema::{Changes, Row, Span};
use super::row::{U32, count, flag, is, row, word};

pub(super) const ROWS: &[Row] = &[
    row(
        "observe.entropy",
        Flag,
        flag(true),
        Changes::Never,
        "measure the entropy of every head at every step",
    ),
    row(
        "observe.entropy_every",
        Integer(1, U32),
        count(100),
        Changes::OnResume,
        "steps between `attention` records in the log",
    ),
    row(
        "observe.slopes_every",
        Integer(1, U32),
        count(100),
        Changes::OnResume,
        "steps between `slopes` records",
    ),
    row(
        "observe.layers",
        Flag,
        flag(true),
        Changes::OnResume,
        "observe the layers: gradients, units of the feed-forward network, the residual stream",
    ),
    row(
        "observe.layers_every",
        Integer(1, U32),
        count(100),
        Changes::OnResume,
        "steps between `layers` records",
    ),
    row(
        "observe.sample_every",
        Integer(1, U32),
        count(10),
        Changes::OnResume,
        "steps between observations of the layers; a unit is dead if it was zero for every token of every observation since the last record",
    ),
    row(
        "observe.spectrum",
        Flag,
        flag(false),
        Changes::OnResume,
        "measure the spectra of the feed-forward networks' units at each evaluation, for which it takes memory for two matrices of `n_inner` by `n_inner` in each layer",
    ),
    row(
        "observe.sample_prompt",
        Text,
        Absent,
        Changes::OnResume,
        "a text that the model continues after each evaluation; the continuation is in the log, the report and TensorBoard, and depends only on weights, `seed` and step. Without it none is made",
    ),
    row(
        "observe.sample_tokens",
        Integer(1, 4096),
        count(64),
        Changes::OnResume,
        "tokens of the continuation, unless the model ends the document before",
    ),
    row(
        "observe.sample_temperature",
        Number(Span::NotNegative),
        is(0.8),
        Changes::OnResume,
        "what its logits are divided by; 0 always takes the likeliest token",
    ),
    row(
        "observe.tensorboard",
        Flag,
        flag(true),
        Changes::OnResume,
        "write TensorBoard's event files beside the log",
    ),
    row(
        "observe.entropy_reference",
        Words(EntropyReference::WORDS),
        word("observed_max"),
        Changes::OnResume,
        "the entropy that counts as the full scale when heads are binned; `plot --reference` overrides it",
    ),
];
