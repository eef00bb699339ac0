//! The family of Llama and SmolLM2: whole models compared with f64, and the names and layout of its weight files.

use crate::mixed::SMOOTH;
use crate::training::{agrees_within, config, has_f16, within_f32};
use normfree::config::{Config, Precision};
use normfree::model::{parameter_count, parameters};
use normfree::train::checkpoint::ModelTensors;

const LLAMA: [&str; 4] =
    ["model.family=llama", "model.ffn=gated", "model.activation_function=silu", "model.n_kv_head=1"];

#[test]
fn models_agree_with_f64() {
    within_f32(&LLAMA);
    within_f32(&[&LLAMA[..], &["model.norm=rms_norm", "model.tie_embeddings=false"]].concat());
    within_f32(
        &[&LLAMA[..3], &["model.norm=none", "model.qk_norm=rms_norm", "model.bias=query_key"]].concat(),
    );
    within_f32(
        &[&LLAMA[..], &["train.recompute=block", "model.rope_theta=100000", "train.optimizer=muon"]].concat(),
    );
}

#[test]
fn mixed_precision_agrees_with_f64() {
    const MIXED: &str = "train.precision=mixed";
    if has_f16(&config(&[MIXED])) {
        agrees_within(&[&LLAMA[..], &[MIXED, "model.attention_gate=head"]].concat(), &SMOOTH);
    }
}

/// SmolLM2-135M, as its `config.json` describes it.
const SMOLLM2: &str = "
    [model]
    family = \"llama\"
    n_layer = 30
    n_head = 9
    n_kv_head = 3
    n_embd = 576
    n_inner = 1536
    n_positions = 8192
    vocab_size = 49152
    rope_theta = 100000.0
    layer_norm_epsilon = 1e-5
    [data]
    path = \"unused\"
    [train]
    steps = 1
    batch_size = 1
    learning_rate = 1e-3
    checkpoint_every = 1
    eval_every = 1";

#[test]
fn smollm2_has_the_names_shapes_and_size_of_its_files() {
    let config = Config::parse(SMOLLM2, "test", &[]).unwrap();
    assert_eq!(parameter_count(&config.model), 134_515_008);
    let parameters = parameters(&config.model, true, Precision::F32);
    let layout = ModelTensors::of(config.model.family, &parameters);
    let filed = layout.entries().iter().map(|entry| entry.filed());
    let filed: Vec<(String, Vec<usize>)> = filed.map(|spec| (spec.name, spec.shape)).collect();
    // The tensors outside the blocks, and those of a block, [out, in] as PyTorch's `Linear` has them. A tied head is not filed.
    let mut wanted = vec![("model.embed_tokens.weight".to_owned(), vec![49152, 576])];
    for layer in 0..30 {
        for (name, shape) in [
            ("input_layernorm", vec![576]),
            ("self_attn.q_proj", vec![576, 576]),
            ("self_attn.k_proj", vec![192, 576]),
            ("self_attn.v_proj", vec![192, 576]),
            ("self_attn.o_proj", vec![576, 576]),
            ("post_attention_layernorm", vec![576]),
            ("mlp.gate_proj", vec![1536, 576]),
            ("mlp.up_proj", vec![1536, 576]),
            ("mlp.down_proj", vec![576, 1536]),
        ] {
            wanted.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    wanted.push(("model.norm.weight".to_owned(), vec![576]));
    let sorted = |mut list: Vec<(String, Vec<usize>)>| {
        list.sort();
        list
    };
    assert_eq!(sorted(filed), sorted(wanted));
}

#[test]
fn what_a_family_lacks_is_refused_in_a_sentence() {
    let refused = |changes: &[&str]| {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        Config::parse(SMOLLM2, "test", &changes).unwrap_err().to_string()
    };
    assert!(refused(&["model.n_kv_head=4"]).contains("n_head is not a multiple of n_kv_head"));
    let packed = refused(&["model.family=gpt_neox", "model.norm=none", "model.activation_function=silu"]);
    assert!(packed.contains("do not share keys"), "{packed}");
    assert!(refused(&["model.n_inner=1534"]).contains("multiple of 4"));
}
