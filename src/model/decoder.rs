//! The decoder of every family: from tokens through its blocks to the loss, or to the next token's logits.

use super::activate::declare_shared;
use super::attention::{loss_scale, losses};
use super::block::{Block, remade_if};
use super::config::ModelConfig;
use super::family::{Head, Positions};
use super::gains;
use super::names;
use super::normalize::{Before, Normalize, Stream};
use super::pass::{CachedPass, Pass, Precision, Recompute};
use super::removal::Removal;
use super::rows::{Cached, Rows};
use super::site::Site;
use crate::observe::quantities::{
    EMBEDDING_SCALE, LOGIT_RMS, RESIDUAL_MAX, RESIDUAL_MEDIAN, RESIDUAL_RMS, SCALE_LOSS, SCALE_TARGET,
};
use crate::ops::cross_entropy::{Table, Targets};
use crate::ops::magnitudes::WITH_MEDIAN;
use crate::ops::norms::Role;
use crate::ops::taper::Running;
use crate::tape::{DType, Declaration, Start, Tape, TensorId};

/// A model on a tape.
pub struct Recorded {
    pub tape: Tape,
    pub loss: TensorId,
}

/// A declared model.
pub(super) struct Decoder {
    /// The token table.
    tokens: TensorId,
    /// The position table, if positions are learned.
    positions: Option<TensorId>,
    /// What the embedding is multiplied by, if that is learned.
    scale: Option<TensorId>,
    blocks: Vec<Block>,
    final_norm: Normalize,
    /// The state of the loss that holds the scale before that norm, with its λ and the ε of the scales, if there is one.
    anchor: Option<(TensorId, f64, f32)>,
    /// The matrix with a row for each token, as the head reads it.
    head: Table,
}

impl Decoder {
    /// Declares the parameters in the order of the family's Hugging Face file.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, precision: Precision) -> Self {
        let family = config.family;
        let mut site = Site { tape, config, precision, layer: None };
        let tokens = site.table(&format!("{}.weight", family.naming.tokens), config.vocab_size);
        let tied = match config.head() {
            Head::Tied(_) => Some(site.operand(tokens)),
            Head::Own(_) => None,
        };
        let positions = match family.positions {
            Positions::Learned(name) => Some(site.table(name, config.n_positions)),
            Positions::Rotary => None,
        };
        let scale = config.embedding_scale.then(|| {
            let start = Start::Constant((config.n_embd as f64).sqrt());
            let scale = Declaration::new(start).undecayed().added();
            let scale = scale.watched(&EMBEDDING_SCALE, 0..1, 0..1);
            site.declare(&format!("{}embedding_scale", family.files.prefix), &[1], scale)
        });
        let shared = declare_shared(&mut site);
        let block = |layer| {
            let mut site = Site { tape: site.tape, config, precision, layer: Some(layer) };
            Block::declare(&mut site, shared)
        };
        let blocks = (0..config.n_layer).map(block).collect();
        let place = (Before::Head, Stream::Branch);
        let final_norm = Normalize::declare(&mut site, config.head_norm(), place, family.naming.final_norm);
        let anchor = (config.scale_loss > 0.0).then(|| {
            let state = Declaration::new(Start::Constant(1.0)).undecayed().added();
            let state = state.watched(&SCALE_TARGET, 1..2, 0..1);
            let state = site.declare(&config.anchor(), &[2], state);
            (state, config.scale_loss, config.layer_norm_epsilon as f32)
        });
        let head = tied.map(Table::from).unwrap_or_else(|| {
            let Head::Own(name) = config.head() else { unreachable!("the head is tied or has a name") };
            let head = site.table(name, config.vocab_size);
            if config.head_gains {
                // The vector starts at 1/√d and counts times √d, so that a step of the optimizer changes it by more.
                let (width, tokens) = (gains::factor(config.n_embd), config.vocab_size);
                let declare = |name: &str, dims: &[usize], of| site.declare(name, dims, of);
                let vector = gains::declare(name, (tokens, width.recip()), declare);
                let (gains, result) = (Some((vector, width as f32)), precision.operands());
                return Table { rows: head, gains, result };
            }
            site.operand(head).into()
        });
        Self { tokens, positions, scale, blocks, final_norm, anchor, head }
    }

    /// Records the loss on whole sequences, with its gradient in training.
    pub fn record(&self, mut tape: Tape, config: &ModelConfig, pass: &Pass) -> Recorded {
        if pass.training {
            self.set_gates(&mut tape, config);
        }
        let x = self.embed(&mut tape, config, pass);
        let x = self.through(&mut tape, pass, x);
        let loss = self.loss(&mut tape, pass, x);
        if pass.training {
            if pass.micro_batches == 1 {
                tape.overwrite_gradients();
            }
            let losses = losses(&tape, config, loss);
            tape.backward_of(&losses);
        }
        Recorded { tape, loss }
    }

    /// Declares the schedules of norms that have one, and records that the gates of norms on their way out follow theirs, before
    /// anything reads them.
    fn set_gates(&self, tape: &mut Tape, config: &ModelConfig) {
        let norms = || self.blocks.iter().flat_map(Block::norms).chain([&self.final_norm]);
        let pairs =
            [(names::TAPER, Role::Taper, 1), (names::REMOVAL, Role::Held, Removal::count(config.n_layer))];
        let schedules = pairs.map(|(name, role, pairs)| {
            let anchored = role == Role::Taper && self.anchor.is_some();
            let needed = anchored || norms().any(|norm| norm.learned_as(role).is_some());
            needed.then(|| tape.input(name, &[2 * pairs], DType::F32))
        });
        if norms().any(|norm| norm.learned_as(Role::Running).is_some()) {
            tape.input(names::STATISTICS, &[4], DType::F32);
        }
        for ((schedule, pair), state, _) in norms().filter_map(|norm| norm.state(schedules)) {
            tape.taper_gate(schedule, pair, state);
        }
    }

    /// Records a pass over single rows for generation.
    pub fn record_reading(&self, mut tape: Tape, config: &ModelConfig, reading: &CachedPass) -> Tape {
        tape.fix_parameters();
        let tokens = tape.input(names::READ, &[reading.rows], DType::U32);
        let positions = tape.input(names::POSITIONS, &[reading.rows], DType::U32);
        let cached = Cached { positions, context: config.n_positions };
        tape.enter("embedding");
        let mut x = tape.gather(tokens, self.tokens);
        if let Some(table) = self.positions {
            let position = tape.gather(positions, table);
            x = tape.add(x, position);
        }
        if let Some(scale) = self.scale {
            x = tape.learned_scale(x, scale);
        }
        if config.residual.unit {
            x = tape.unit_rows(x);
        }
        for block in &self.blocks {
            x = block.forward(&mut tape, &Rows::Cached(&cached), x);
        }
        if reading.logits {
            tape.enter("head");
            let x = self.final_norm.apply(&mut tape, x, false);
            let logits = tape.observation(names::LOGITS, &[config.vocab_size]);
            tape.head_logits(x, self.head, logits, reading.piece_bytes);
        }
        tape
    }

    /// The residual stream's start: rows of the token table, plus rows of the position table if there is one.
    fn embed(&self, tape: &mut Tape, config: &ModelConfig, pass: &Pass) -> TensorId {
        let places = pass.batch * pass.sequence;
        let tokens = tape.input(names::TOKENS, &[places], DType::U32);
        let sorted = tape.input(names::SORTED, &[places], DType::U32);
        let segments = tape.input(names::SEGMENTS, &[places + 1], DType::U32);
        tape.enter("embedding");
        let mut x = tape.embedding(tokens, sorted, segments, self.tokens, self.positions, pass.sequence);
        if let Some(scale) = self.scale {
            x = tape.learned_scale(x, scale);
        }
        if pass.training && config.embd_pdrop > 0.0 {
            let key = tape.input(names::DROPOUT_KEY, &[4], DType::U32);
            x = tape.dropout(x, config.embd_pdrop, key);
        }
        if config.residual.unit { tape.unit_rows(x) } else { x }
    }

    /// `x` after all blocks.
    fn through(&self, tape: &mut Tape, pass: &Pass, mut x: TensorId) -> TensorId {
        for (layer, block) in self.blocks.iter().enumerate() {
            let again = pass.recompute == Recompute::Block;
            let rows = Rows::Sequences(pass);
            x = remade_if(again, tape, |tape| block.forward(tape, &rows, x));
            if pass.layers {
                tape.observing(|tape| {
                    let residual = tape.observation(&names::residual(layer), &[WITH_MEDIAN]);
                    let elements = tape.shape(x).elements();
                    tape.watch_norm(residual, &RESIDUAL_RMS, layer, (0, elements));
                    tape.watch(residual, &RESIDUAL_MAX, layer, 1..2);
                    tape.watch(residual, &RESIDUAL_MEDIAN, layer, 2..3);
                    tape.magnitudes(x, residual);
                });
            }
        }
        x
    }

    /// Records how large the logits are, for a sample: all of them are never in memory at once.
    fn observe_logits(&self, tape: &mut Tape, x: TensorId) {
        /// Positions of the micro-batch, and tokens of the vocabulary.
        const SAMPLE: (usize, usize) = (16, 8192);
        let rows = |tape: &Tape, tensor| tape.shape(tensor).dims()[0];
        let (positions, tokens) = (rows(tape, x).min(SAMPLE.0), rows(tape, self.head.rows).min(SAMPLE.1));
        let (x, head) = (tape.slice_rows(x, 0, positions), self.head.piece(tape, 0, tokens));
        let logits = tape.matmul_nt(x, head);
        let sizes = tape.observation(names::LOGIT_SIZES, &[WITH_MEDIAN]);
        tape.watch_norm(sizes, &LOGIT_RMS, 0, (0, positions * tokens));
        tape.magnitudes(logits, sizes);
    }

    /// Records the loss that holds the scale of `x`, if there is one; nothing outside of training.
    fn hold_scale(&self, tape: &mut Tape, pass: &Pass, x: TensorId) {
        let (Some((state, weight, epsilon)), true) = (self.anchor, pass.training) else { return };
        let schedule = tape.find(names::TAPER).expect("training declares it");
        let scales = tape.row_scales(x, epsilon);
        let rows = tape.shape(scales).elements() * pass.micro_batches;
        tape.taper_scale(scales, (schedule, 0), Running::Scale, state);
        let loss = tape.observation(names::SCALE_LOSS, &[1]);
        tape.watch(loss, &SCALE_LOSS, 0, 0..1);
        let scaling = loss_scale(tape, pass.precision);
        tape.scale_loss((scales, state), schedule, weight / rows as f64, loss, scaling);
    }

    /// The head on the normalized `x`, and its loss.
    fn loss(&self, tape: &mut Tape, pass: &Pass, x: TensorId) -> TensorId {
        let places = pass.batch * pass.sequence;
        tape.enter("head");
        self.hold_scale(tape, pass, x);
        let x = self.final_norm.apply(tape, x, pass.layers);
        if pass.layers {
            tape.observing(|tape| self.observe_logits(tape, x));
        }
        let targets = tape.input(names::TARGETS, &[places], DType::U32);
        let scale = tape.input(names::TARGET_WEIGHT, &[1], DType::F32);
        let scaling = loss_scale(tape, pass.precision);
        let loss = tape.observation(names::LOSS, &[1]);
        tape.head_cross_entropy(x, self.head, Targets { targets, scale, loss, scaling }, pass.logits);
        loss
    }
}
