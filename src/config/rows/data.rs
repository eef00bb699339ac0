//! The keys of `[data]`.

use super::super::Order;
use super::super::schema::Accepts::{Integer, Text, Words};
use super::super::schema::Otherwise::{Absent, Required};
use super::super::schema::{Changes, Row};
use super::row::{row, word};

pub(super) const ROWS: &[Row] = &[
    row(
        "data.path",
        Text,
        Required,
        Changes::OnResume,
        "a folder made by `normfree prepare`, or one of nanoGPT's; relative to the working directory. A run can be resumed after its data was moved",
    ),
    row(
        "data.order",
        Words(Order::WORDS),
        word("shuffle"),
        Changes::Never,
        "the order in which training chunks are taken",
    ),
    row(
        "data.train_tokens",
        Integer(1, u64::MAX),
        Absent,
        Changes::Never,
        "train on this many tokens only, in whole sequences spread evenly over the data; by default on all. It asks what a little data does, seen many times",
    ),
];
