//! A model whose norms no longer read their rows' statistics, written without norms.
//!
//! A closed fake LayerNorm is y = (x − μ)·c·γ + β with a constant c. Everything in it is linear, so the matrices around it take it
//! over: the next matrix W becomes diag(c·γ)·W and its bias grows by β·W; and everything that is written to the residual stream loses
//! its mean over the columns (Jiang et al. 2023, arXiv 2305.14858), so that μ = 0. The head has no bias: its matrix becomes
//! diag(c·γ)·W as well, and β/(c·γ) is added to the last bias of the last block. A closed fake RMSNorm has neither μ nor β.
//!
//! Sums and products are of f64, and rounded once.

use std::collections::BTreeMap;

use super::config::{AttentionGate, Bias, FinalNorm, ModelConfig, NormPosition, WeightNorm};
use super::family::{Head, Projections};
use super::join::Residual;
use super::network::FeedForward;
use super::parameter::parameters;
use super::pass::Precision;
use crate::fault::{Fault, Kind, Result};
use crate::ops::norms::Norm;
use crate::ops::packed::Packed;

/// Values by the parameters' names.
pub type Values = BTreeMap<String, Vec<f32>>;

/// The kinds of norms that can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removed {
    LayerNorm,
    RmsNorm,
}

/// The word that a norm removes, or its own.
fn own(norm: Norm) -> &'static str {
    norm.removes.unwrap_or(norm.word)
}

/// What all norms of a model are.
///
/// # Errors
/// [`Kind::Config`] if norms of the model cannot be removed, naming the key.
fn removed(config: &ModelConfig) -> Result<Removed> {
    let refused = |what: &str, key: &str, found: String, remedy: &str| {
        let fault = Fault::new(Kind::Config, format!("the norms of this model cannot be removed: {what}"));
        Err(fault.at(format!("model.{key}")).found(found).remedy(remedy.to_owned()))
    };
    let ModelConfig { norm_position: position, residual, attention_gate: gate, .. } = *config;
    if position != NormPosition::Pre {
        let what = "no matrix follows a norm that stands behind a branch";
        return refused(
            what,
            "norm_position",
            format!("\"{position}\""),
            "give a model with norms before its branches",
        );
    }
    if residual != Residual::PLAIN || config.ffn_scaling {
        let what = "the end of a branch must be added as it is";
        let found = format!("residual = \"{residual}\", ffn_scaling = {}", config.ffn_scaling);
        return refused(what, "residual", found, "give a model with residual = \"plain\"");
    }
    if gate != AttentionGate::None {
        let what = "the gate of attention reads the norm as well, and has no bias";
        return refused(what, "attention_gate", format!("\"{gate}\""), "give a model without it");
    }
    if config.weight_norm != WeightNorm::None {
        let what = "a matrix that is divided by its singular value does not take over a norm's scale";
        let remedy = "export the model with `normfree export RUN --hf DIR`, which writes plain matrices, and import that";
        return refused(what, "weight_norm", "\"sigma_reparam\"".to_owned(), remedy);
    }
    for (key, gained) in [("ffn_gains", config.ffn_gains), ("head_gains", config.head_gains)] {
        if gained {
            let what = "a matrix with gains does not take over a norm's bias";
            let remedy = "export the model with `normfree export RUN --hf DIR`, which writes plain matrices, and import that";
            return refused(what, key, "true".to_owned(), remedy);
        }
    }
    let blocks = (0..config.n_layer).flat_map(|layer| config.norms_of(layer));
    let mut words: Vec<&str> = blocks.chain([config.head_norm()]).map(own).collect();
    words.sort_unstable();
    words.dedup();
    match words.as_slice() {
        ["layer_norm"] => Ok(Removed::LayerNorm),
        ["rms_norm"] | ["none", "rms_norm"] => Ok(Removed::RmsNorm),
        ["none"] => {
            refused("it has none", "norm", "\"none\"".to_owned(), "give a model with layer_norm or rms_norm")
        }
        words => {
            let what = "they must be LayerNorm at every site, the head's included, or RMSNorm";
            refused(what, "norm", words.join(" and "), "give a model with one norm, layer_norm or rms_norm")
        }
    }
}

impl ModelConfig {
    /// The same model with fake norms, which can be removed one after the other.
    ///
    /// # Errors
    /// [`Kind::Config`] if norms of the model cannot be removed, or are removed already, naming the key.
    pub fn with_fake_norms(&self) -> Result<Self> {
        removed(self)?;
        let sites = (0..self.n_layer).flat_map(|layer| self.norms_of(layer)).chain([self.head_norm()]);
        if let Some(fake) = sites.into_iter().find(|norm| norm.removes.is_some()) {
            return Err(Fault::new(Kind::Config, "the norms of this model are removed already")
                .at("model.norm")
                .found(format!("\"{fake}\""))
                .remedy("give the run that it was removed from; the model without norms is in its folder norm_free"));
        }
        let fake = |norm: Norm| Norm::all().find(|fake| fake.removes == Some(norm.word)).unwrap_or(norm);
        let mut config = self.clone();
        config.norm = fake(self.norm);
        config.attention_norm = self.attention_norm.map(fake);
        config.ffn_norm = self.ffn_norm.map(fake);
        let head = fake(self.head_norm());
        if config.head_norm() != head {
            config.final_norm = FinalNorm::Own(head);
        }
        Ok(config)
    }

    /// The same model without norms: with biases, if those of LayerNorms go into them, and with a head of its own, if the norm
    /// before it goes into that.
    ///
    /// # Errors
    /// As [`Self::with_fake_norms`].
    pub fn without_norms(&self) -> Result<Self> {
        let removed = removed(self)?;
        let own_head = self.head_norm() != Norm::NONE;
        Ok(Self {
            norm: Norm::NONE,
            attention_norm: None,
            ffn_norm: None,
            norm_layers: None,
            final_norm: FinalNorm::Switch(false),
            bias: if removed == Removed::LayerNorm { Bias::All } else { self.bias },
            scale_loss: 0.0,
            tie_embeddings: if own_head { Some(false) } else { self.tie_embeddings },
            ..self.clone()
        })
    }
}

/// The values of a model with fake norms, all of them closed, as those of [`ModelConfig::without_norms`].
///
/// # Errors
/// [`Kind::Config`] if norms of the model cannot be removed; [`Kind::Checkpoint`] if one of them still reads its rows' statistics, or
/// if no bias can take the place of β before the head.
///
/// # Panics
/// If `values` are not those of the model.
pub fn fold(config: &ModelConfig, mut values: Values) -> Result<Values> {
    let target = config.without_norms()?;
    let removed = removed(config)?;
    let naming = &config.family.naming;
    values.remove(&config.anchor());
    let (width, last) = (config.n_embd, config.n_layer - 1);
    let (Head::Own(head) | Head::Tied(head)) = target.head();
    if let (Head::Tied(_), Head::Own(_)) = (config.head(), target.head()) {
        let table = values[&format!("{}.weight", naming.tokens)].clone();
        values.insert(head.to_owned(), table);
    }
    for layer in 0..config.n_layer {
        let norms = config.norms_of(layer);
        let name = |part: &'static str| naming.in_block(layer, part);
        for (norm, part, places) in
            [(norms[0], "norm_1", attention_matrices(config)), (norms[1], "norm_2", network_matrices(config))]
        {
            if norm == Norm::NONE {
                continue;
            }
            let site = Site::take(&mut values, &name(part))?;
            places.into_iter().for_each(|(part, of)| site.move_to_next(&mut values, &name(part), width, of));
        }
    }
    if removed == Removed::LayerNorm {
        let tables = [Some(format!("{}.weight", naming.tokens)), positions(config)];
        let ends = (0..config.n_layer)
            .flat_map(|layer| ["attention.out", "mlp.contract"].map(|part| naming.in_block(layer, part)));
        let ends = ends.flat_map(|part| ["weight", "bias"].map(|of| format!("{part}.{of}")));
        for name in tables.into_iter().flatten().chain(ends) {
            // A bias that the model lacks has no mean.
            values.get_mut(&name).into_iter().for_each(|rows| centre(rows, width));
        }
    }
    if config.head_norm() != Norm::NONE {
        let site = Site::take(&mut values, naming.final_norm)?;
        let bias = format!("{}.bias", naming.in_block(last, "mlp.contract"));
        site.move_to_head(values.get_mut(head).expect("the head is there"));
        if site.beta.is_some() {
            let bias = values.entry(bias).or_default();
            bias.resize(width, 0.0);
            site.move_to_last_bias(bias, naming.final_norm)?;
        }
    }
    complete(&target, values)
}

/// The name of the position table, if there is one.
fn positions(config: &ModelConfig) -> Option<String> {
    match config.family.positions {
        super::family::Positions::Learned(name) => Some(name.to_owned()),
        super::family::Positions::Rotary => None,
    }
}

/// Which of the two scales of a site a column of the next matrix is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    /// That of queries and keys, which other sites have alone.
    First,
    Values,
    /// The first for the columns of queries and keys, the second for the rest.
    Packed,
}

/// The matrices that read the norm of attention.
fn attention_matrices(config: &ModelConfig) -> Vec<(&'static str, Columns)> {
    match config.family.projections {
        Projections::Packed => vec![("attention.qkv", Columns::Packed)],
        Projections::Apart => vec![
            ("attention.q", Columns::First),
            ("attention.k", Columns::First),
            ("attention.v", Columns::Values),
        ],
    }
}

/// Those that read the norm of the feed-forward network.
fn network_matrices(config: &ModelConfig) -> Vec<(&'static str, Columns)> {
    let names: &[&str] = if config.ffn == FeedForward::FUSED {
        &["mlp.contract"]
    } else if config.ffn == FeedForward::GATED && config.family.projections == Projections::Apart {
        &["mlp.gate", "mlp.up"]
    } else {
        &["mlp.expand"]
    };
    names.iter().map(|&name| (name, Columns::First)).collect()
}

/// A closed norm.
struct Site {
    gamma: Vec<f32>,
    beta: Option<Vec<f32>>,
    /// c of the site, and of what values read.
    scales: [f64; 2],
}

impl Site {
    /// Takes the norm `name` out of the values.
    fn take(values: &mut Values, name: &str) -> Result<Self> {
        let mut part = |suffix: &str| values.remove(&format!("{name}.{suffix}"));
        let gamma = part("weight").expect("a norm has γ");
        let beta = part("bias");
        let held = part("held").expect("a fake norm has a state");
        let held_values = part("held_values").unwrap_or_else(|| held.clone());
        for state in [&held, &held_values] {
            if state[0] != 0.0 {
                return Err(Fault::new(Kind::Checkpoint, "a norm still reads the statistics of its rows")
                    .at(name)
                    .found(format!("its gate is {}", state[0]))
                    .remedy("fold the checkpoint of a later step"));
            }
        }
        Ok(Self { gamma, beta, scales: [f64::from(held[1]), f64::from(held_values[1])] })
    }

    /// Moves it into the matrix `name` [width, columns] that reads it, and into the bias of that.
    fn move_to_next(&self, values: &mut Values, name: &str, width: usize, of: Columns) {
        let matrix = values.get_mut(&format!("{name}.weight")).expect("the matrix is there");
        let columns = matrix.len() / width;
        let scale = |column: usize| match of {
            Columns::First => self.scales[0],
            Columns::Values => self.scales[1],
            Columns::Packed => {
                self.scales[usize::from(!Packed::of(columns, 1, 1).turned().contains(&column))]
            }
        };
        let scales: Vec<f64> = (0..columns).map(scale).collect();
        let mut sums = vec![0.0_f64; columns];
        for (row, weights) in matrix.chunks_exact_mut(columns).enumerate() {
            let gamma = f64::from(self.gamma[row]);
            let beta = self.beta.as_ref().map_or(0.0, |beta| f64::from(beta[row]));
            for ((weight, sum), scale) in weights.iter_mut().zip(&mut sums).zip(&scales) {
                let before = f64::from(*weight);
                *sum += beta * before;
                *weight = (before * gamma * scale) as f32;
            }
        }
        if self.beta.is_some() {
            // A model may have biases of queries and keys alone.
            let bias = values.entry(format!("{name}.bias")).or_default();
            bias.resize(columns, 0.0);
            bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias = (f64::from(*bias) + sum) as f32);
        }
    }

    /// Moves γ and c into the head, [tokens, width].
    fn move_to_head(&self, head: &mut [f32]) {
        for row in head.chunks_exact_mut(self.gamma.len()) {
            for (weight, &gamma) in row.iter_mut().zip(&self.gamma) {
                *weight = (f64::from(*weight) * f64::from(gamma) * self.scales[0]) as f32;
            }
        }
    }

    /// Moves β/(c·γ) into the last bias before the head.
    fn move_to_last_bias(&self, bias: &mut [f32], name: &str) -> Result<()> {
        let beta = self.beta.as_ref().expect("the norm has β");
        for (column, (bias, &beta)) in bias.iter_mut().zip(beta).enumerate() {
            if beta == 0.0 {
                continue;
            }
            let moved = f64::from(beta) / (self.scales[0] * f64::from(self.gamma[column]));
            let sum = (f64::from(*bias) + moved) as f32;
            if !sum.is_finite() {
                return Err(Fault::new(Kind::Checkpoint, "the norm before the head cannot be folded")
                    .at(name)
                    .found(format!("γ = {:e} beside β = {beta:e} in column {column}", self.gamma[column]))
                    .remedy("train a little longer, so that no γ is zero"));
            }
            *bias = sum;
        }
        Ok(())
    }
}

/// Takes the mean out of every row.
fn centre(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
        row.iter_mut().for_each(|v| *v = (f64::from(*v) - mean) as f32);
    }
}

/// The values of all parameters of `target`, with zeros for biases that the model lacked.
fn complete(target: &ModelConfig, mut values: Values) -> Result<Values> {
    let mut all = Values::new();
    for parameter in parameters(target, false, Precision::F32) {
        let mut own = values.remove(&parameter.name).unwrap_or_default();
        if parameter.name.ends_with(".bias") {
            own.resize(parameter.elements(), 0.0);
        }
        assert_eq!(own.len(), parameter.elements(), "{}", parameter.name);
        all.insert(parameter.name, own);
    }
    assert!(values.is_empty(), "left over: {:?}", values.keys().collect::<Vec<_>>());
    Ok(all)
}
