//! What the papers say of their norms, in f64.

use crate::support::seed;
use crate::training::config;
use normfree::config::{Config, Precision};
use normfree::model::{Pass, names, parameters, record};
use normfree::ops::cross_entropy::Logits;
use normfree::reference::Memory;
use normfree::tape::{DType, Tape, TensorId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// A pass that evaluates one sequence of 9 tokens.
fn evaluation(config: &Config) -> Pass {
    Pass {
        batch: 1,
        sequence: 9,
        micro_batches: 1,
        accumulation: config.train.accumulation,
        training: false,
        entropy: false,
        layers: false,
        spectrum: false,
        truncated: false,
        logits: Logits { piece_bytes: 1 << 20, kept_bytes: 0 },
        recompute: config.train.recompute,
        precision: Precision::F32,
    }
}

/// The loss of a model with these parameters on tokens that depend on their places alone.
fn loss(config: &Config, values: &BTreeMap<String, Vec<f64>>) -> f64 {
    let recorded = record(&config.model, &evaluation(config));
    let tape = &recorded.tape;
    let mut memory = Memory::new(tape);
    for (name, values) in values {
        memory.set(tape, tape.find(name).unwrap(), values);
    }
    let tokens: Vec<f64> = (0..9).map(|i| f64::from(i * i * 7 % 97)).collect();
    let targets: Vec<f64> = (0..9).map(|i| f64::from(i * 11 % 97)).collect();
    memory.set(tape, tape.find(names::TOKENS).unwrap(), &tokens);
    memory.set(tape, tape.find(names::TARGETS).unwrap(), &targets);
    memory.set(tape, tape.find(names::TARGET_WEIGHT).unwrap(), &[1.0 / 9.0]);
    memory.run(tape);
    memory.get(tape, recorded.loss)[0]
}

/// Random values for every parameter of a model.
fn drawn(config: &Config, random: &mut ChaCha8Rng) -> BTreeMap<String, Vec<f64>> {
    let draw = |parameter: normfree::model::Parameter| {
        let around =
            if parameter.name.contains("ln_") && parameter.name.ends_with("weight") { 1.0 } else { 0.0 };
        let values = (0..parameter.elements()).map(|_| {
            let drawn: f64 = StandardNormal.sample(random);
            around + 0.2 * drawn
        });
        (parameter.name.clone(), values.collect())
    };
    parameters(&config.model, false, Precision::F32).into_iter().map(draw).collect()
}

/// With its gate closed, a tapered norm multiplies columns by numbers, which the next matrix can take over: what is left has no
/// norm in its blocks, and the same loss.
#[test]
fn a_closed_taper_folds_into_the_next_matrix() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let tapered = config(&["model.norm=taper_norm", "model.bias=all"]);
    let bare = config(&[
        "model.norm=none",
        "model.final_norm=rms_norm",
        "model.bias=all",
        "model.layer_norm_epsilon=1e-6",
    ]);
    let mut values = drawn(&tapered, &mut random);
    let scale = |random: &mut ChaCha8Rng| random.random_range(0.5..2.0);
    for (_, state) in values.iter_mut().filter(|(name, _)| name.ends_with(".taper")) {
        *state = vec![0.0, scale(&mut random)];
    }
    let mut folded = values.clone();
    for layer in 0..2 {
        for (norm, matrix) in [("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")] {
            let name = |part: &str| format!("transformer.h.{layer}.{part}");
            let gain = folded.remove(&name(&format!("{norm}.weight"))).unwrap();
            let state = folded.remove(&name(&format!("{norm}.taper"))).unwrap();
            let matrix = folded.get_mut(&name(&format!("{matrix}.weight"))).unwrap();
            let columns = matrix.len() / gain.len();
            for (row, gain) in matrix.chunks_mut(columns).zip(&gain) {
                row.iter_mut().for_each(|v| *v *= gain * state[1]);
            }
        }
    }
    let (with, without) = (loss(&tapered, &values), loss(&bare, &folded));
    // f64, over products of up to 128 terms.
    assert!((with - without).abs() < 1e-11 * with, "{with} {without}");
    // The gate is what closes it: open, it is RMSNorm.
    let rms = config(&["model.norm=rms_norm", "model.bias=all"]);
    for (_, state) in values.iter_mut().filter(|(name, _)| name.ends_with(".taper")) {
        state[0] = 1.0;
    }
    let open = loss(&tapered, &values);
    values.retain(|name, _| !name.ends_with(".taper"));
    assert_eq!(open, loss(&rms, &values));
    assert!((open - with).abs() > 1e-3, "{open} {with}");
}

/// A model with LayerNorm becomes one with RMSNorm and the same loss (Jiang et al. 2023, arXiv 2305.14858): what is written to the
/// residual stream loses its mean, which LayerNorm takes away anyway, and each β moves into the next bias.
#[test]
fn a_pre_ln_model_converts_to_rms_norm() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let ln = config(&["model.norm=layer_norm", "model.bias=all"]);
    let rms = config(&["model.norm=rms_norm", "model.bias=all", "model.layer_norm_epsilon=1e-5"]);
    let width = ln.model.n_embd;
    let mut values = drawn(&ln, &mut random);
    // The head is the token table, which has no bias to take this one.
    values.get_mut("transformer.ln_f.bias").unwrap().fill(0.0);
    let mut converted = values.clone();
    converted.remove("transformer.ln_f.bias");
    let centre = |rows: &mut Vec<f64>| {
        for row in rows.chunks_mut(width) {
            let mean = row.iter().sum::<f64>() / width as f64;
            row.iter_mut().for_each(|v| *v -= mean);
        }
    };
    for layer in 0..2 {
        let name = |part: &str| format!("transformer.h.{layer}.{part}");
        for (norm, matrix) in [("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")] {
            let beta = converted.remove(&name(&format!("{norm}.bias"))).unwrap();
            let weight = converted[&name(&format!("{matrix}.weight"))].clone();
            let bias = converted.get_mut(&name(&format!("{matrix}.bias"))).unwrap();
            for (row, beta) in weight.chunks(bias.len()).zip(&beta) {
                bias.iter_mut().zip(row).for_each(|(bias, w)| *bias += beta * w);
            }
        }
        for part in ["attn.c_proj.weight", "attn.c_proj.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"] {
            centre(converted.get_mut(&name(part)).unwrap());
        }
    }
    // The head is tied to the token table, so that centring it changes logits as well: both models get tokens without a mean.
    centre(values.get_mut("transformer.wte.weight").unwrap());
    centre(converted.get_mut("transformer.wte.weight").unwrap());
    centre(converted.get_mut("transformer.wpe.weight").unwrap());
    let (with, without) = (loss(&ln, &values), loss(&rms, &converted));
    assert!((with - without).abs() < 1e-11 * with, "{with} {without}");
}

/// BHyT's estimate is the mean square that attention adds where it averages T independent rows evenly: the mean over many draws
/// of T rows of variance (λ/κ)², through W_V and W_O.
#[test]
fn the_estimated_variance_is_that_of_an_even_attention() {
    const WIDTH: usize = 16;
    const ROWS: usize = 12;
    const DRAWS: usize = 4000;
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let mut normal = |count: usize, spread: f64| -> Vec<f64> {
        (0..count)
            .map(|_| spread * <StandardNormal as Distribution<f64>>::sample(&StandardNormal, &mut random))
            .collect()
    };
    let (packed, output) = (normal(WIDTH * 3 * WIDTH, 0.4), normal(WIDTH * WIDTH, 0.3));
    let (lambda, inverse) = (2.0, 0.1);
    let mut tape = Tape::new();
    let mut input = |name: &str, shape: &[usize]| -> TensorId { tape.input(name, shape, DType::F32) };
    let (w, o, l) =
        (input("packed", &[WIDTH, 3 * WIDTH]), input("output", &[WIDTH; 2]), input("lambda", &[1]));
    let factor = inverse * inverse / (ROWS * WIDTH) as f64;
    let added = tape.attention_variance(w, o, l, factor as f32);
    let mut memory = Memory::new(&tape);
    memory.set(&tape, w, &packed);
    memory.set(&tape, o, &output);
    memory.set(&tape, l, &[lambda]);
    memory.run(&tape);
    let estimate = memory.get(&tape, added)[0];
    let mut mean = 0.0;
    for _ in 0..DRAWS {
        let rows = normal(ROWS * WIDTH, lambda * inverse);
        let average: Vec<f64> =
            (0..WIDTH).map(|c| rows.iter().skip(c).step_by(WIDTH).sum::<f64>() / ROWS as f64).collect();
        let through = |x: &[f64], matrix: &[f64], columns: usize, first: usize| -> Vec<f64> {
            (0..WIDTH)
                .map(|c| x.iter().zip(matrix.chunks(columns)).map(|(x, row)| x * row[first + c]).sum())
                .collect()
        };
        let values = through(&average, &packed, 3 * WIDTH, 2 * WIDTH);
        let out = through(&values, &output, WIDTH, 0);
        mean += out.iter().map(|v| v * v).sum::<f64>() / (WIDTH * DRAWS) as f64;
    }
    // The mean square of a draw varies by about its own size, so that of 4,000 by less than 2%: 5% is more than three times that.
    assert!((mean / estimate - 1.0).abs() < 0.05, "{mean} {estimate}");
}

/// CRMSNorm of a row of mean zero without its last element is LayerNorm of the whole row, without that element.
#[test]
fn crms_norm_is_layer_norm_of_rows_of_mean_zero() {
    const ROWS: usize = 5;
    const WIDTH: usize = 13;
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let mut whole: Vec<f64> = (0..ROWS * WIDTH).map(|_| random.random_range(-3.0..3.0)).collect();
    for row in whole.chunks_mut(WIDTH) {
        let mean = row.iter().sum::<f64>() / WIDTH as f64;
        row.iter_mut().for_each(|v| *v -= mean);
    }
    let short: Vec<f64> = whole.chunks(WIDTH).flat_map(|row| &row[..WIDTH - 1]).copied().collect();
    let mut tape = Tape::new();
    let mut input = |name: &str, shape: &[usize]| -> TensorId { tape.input(name, shape, DType::F32) };
    let (x, gamma, beta) = (input("x", &[ROWS, WIDTH]), input("gamma", &[WIDTH]), input("beta", &[WIDTH]));
    let (c, ones) = (input("c", &[ROWS, WIDTH - 1]), input("ones", &[WIDTH - 1]));
    let y = tape.layer_norm(x, (gamma, beta), 1e-5, DType::F32);
    let z = tape.crms_norm(c, ones, 1e-5, DType::F32);
    let mut memory = Memory::new(&tape);
    memory.set(&tape, x, &whole);
    memory.set(&tape, gamma, &[1.0; WIDTH]);
    memory.set(&tape, c, &short);
    memory.set(&tape, ones, &[1.0; WIDTH - 1]);
    memory.run(&tape);
    for (y, z) in memory.get(&tape, y).chunks(WIDTH).zip(memory.get(&tape, z).chunks(WIDTH - 1)) {
        for (y, z) in y.iter().zip(z) {
            assert!((y - z).abs() < 1e-12, "{y} {z}");
        }
    }
}
