//! The GPT-NeoX family: everything that GPT-2's tests check, and what is particular to it.

use crate::memory::{again, made_again_has_the_same_bits};
use crate::support::seed;
use crate::training::{agrees, batches, config, each_activation_agrees, engine, stays_with_f64};
use normfree::model::parameter_count;
use normfree::ops::Traits;
use normfree::train::engine::Blueprint;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const FAMILY: &str = "model.family=gpt_neox";

#[test]
fn each_activation_with_layer_norm_agrees_with_f64() {
    each_activation_agrees("gpt_neox", "layer_norm");
}

#[test]
fn each_activation_without_norm_agrees_with_f64() {
    each_activation_agrees("gpt_neox", "none");
}

#[test]
fn each_switch_agrees_with_f64() {
    let slopes = "model.activation_function=learnable_lrelu";
    agrees(&[FAMILY, "model.bias=query_key", "model.embd_pdrop=0.1", "model.rotary_pct=1"]);
    agrees(&[FAMILY, "model.bias=none", "model.final_norm=false", "model.norm=none"]);
    agrees(&[FAMILY, slopes, "model.slope_scope=shared", "model.norm=none", "train.recompute=block"]);
    agrees(&[FAMILY, "train.optimizer=adamw", "train.gradient_accumulation_steps=1", "train.recompute=ffn"]);
    // Heads of 12 columns, 6 of them rotated: the pairs fill no vector.
    let odd = ["model.n_embd=24", "model.n_inner=36", "model.rotary_pct=0.5", "model.vocab_size=100"];
    agrees(&[&[FAMILY, "model.scale_residual_projections=true", "train.recompute=block"], &odd[..]].concat());
}

#[test]
fn twenty_steps_stay_with_f64_too() {
    stays_with_f64("gpt_neox");
}

#[test]
fn recomputed_tensors_have_the_same_bits() {
    made_again_has_the_same_bits("gpt_neox");
}

/// The op that rotated query and key in place does so again, in its place.
#[test]
fn a_block_is_recomputed_with_its_rotation() {
    for norm in ["model.norm=none", "model.norm=layer_norm"] {
        let config = config(&[FAMILY, norm, "train.recompute=block"]);
        let tape = Blueprint::new(&config, &Traits::floor()).micro.tape;
        let mut block = vec!["mlp matmul", "mlp activation", "attn matmul", "attn rotary", "attn attention"];
        if norm.ends_with("layer_norm") {
            block.insert(0, "mlp layer_norm");
            block.insert(3, "attn layer_norm");
        }
        let want: Vec<String> =
            [1, 0].iter().flat_map(|layer| block.iter().map(move |op| format!("h.{layer}.{op}"))).collect();
        assert_eq!(again(&tape), want, "{norm}");
    }
}

/// The residual stream's gradient is added by the ops that make the other two: a block needs no separate addition.
#[test]
fn no_gradient_needs_an_addition_of_its_own() {
    for changes in [&[FAMILY][..], &[FAMILY, "model.norm=none"], &[FAMILY, "model.final_norm=false"]] {
        let tape = Blueprint::new(&config(changes), &Traits::floor()).micro.tape;
        let added = tape.nodes().iter().filter(|node| node.op.name() == "add");
        assert_eq!(added.map(|node| node.scope.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

/// The head is a separate matrix and gets its own gradient; in the token table only rows in use have one.
#[test]
fn the_head_is_not_the_token_table() {
    let config = config(&[FAMILY]);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let batches = batches(&config, &mut random);
    let (mut engine, _) = engine(&config);
    engine.submit(0, 0, 1e-3, &batches).unwrap();
    engine.take(true).unwrap().unwrap();
    let width = config.model.n_embd;
    let rows = |name: &str| -> Vec<bool> {
        let values = engine.store.read(&engine.device, name, config.model.vocab_size * width).unwrap();
        values.chunks(width).map(|row| row.iter().any(|value| *value != 0.0)).collect()
    };
    let [table, head] = ["grad gpt_neox.embed_in.weight", "grad embed_out.weight"].map(rows);
    let used = |token: u32| batches.iter().any(|batch| batch.tokens.contains(&token));
    let unused = (0..97).filter(|&token| !used(token)).count();
    assert!(unused > 20, "{unused} of 97 tokens are not in the batches");
    // At the end of a sequence a token no longer affects anything; at the start it does.
    let length = config.train.sequence_length;
    let opens =
        |token: u32| batches.iter().any(|batch| batch.tokens.chunks(length).any(|row| row[0] == token));
    for (token, has_gradient) in table.into_iter().enumerate() {
        assert!(!has_gradient || used(token as u32), "token {token} is not in the batches");
        assert!(has_gradient || !opens(token as u32), "token {token} opens a sequence");
    }
    assert!(head.iter().all(|row| *row), "every token has a probability");
    let mixed = config_parameters(&["train.precision=mixed"]);
    let copied = |name: &str| mixed.iter().find(|(known, _)| known == name).unwrap().1;
    assert!(copied("embed_out.weight") && !copied("gpt_neox.embed_in.weight"));
}

/// The names of the parameters, and whether each has an f16 copy.
fn config_parameters(changes: &[&str]) -> Vec<(String, bool)> {
    let config = config(&[&[FAMILY], changes].concat());
    let train = &config.train;
    let parameters = normfree::model::parameters(&config.model, train.decay_slopes, train.precision);
    let elements: usize = parameters.iter().map(|parameter| parameter.elements()).sum();
    assert_eq!(elements, parameter_count(&config.model), "{changes:?}");
    parameters.into_iter().map(|parameter| (parameter.name, parameter.copied)).collect()
}

#[test]
fn parameters_are_hugging_faces() {
    let names: Vec<String> = config_parameters(&[]).into_iter().map(|(name, _)| name).collect();
    let mut want = vec!["gpt_neox.embed_in.weight".to_owned()];
    for layer in 0..2 {
        for part in [
            "input_layernorm",
            "attention.query_key_value",
            "attention.dense",
            "post_attention_layernorm",
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
        ] {
            want.extend(["weight", "bias"].map(|what| format!("gpt_neox.layers.{layer}.{part}.{what}")));
        }
    }
    want.extend(["weight", "bias"].map(|what| format!("gpt_neox.final_layer_norm.{what}")));
    want.push("embed_out.weight".to_owned());
    assert_eq!(names, want);
    config_parameters(&["model.norm=none", "model.final_norm=false", "model.bias=none"]);
    config_parameters(&["model.bias=query_key", "model.activation_function=learnable_lrelu"]);
}
