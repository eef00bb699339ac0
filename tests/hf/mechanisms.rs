//! Which models are compared: every family with every mechanism, one at a time, and some with many.

use normfree::config::{Activation, Family, FeedForward, Norm, NormFunction, Residual};

/// Names of models with the keys that make them.
pub fn models() -> Vec<(String, Vec<String>)> {
    let mut models = Vec::new();
    for family in Family::all() {
        let mut add = |name: &str, keys: &[&str]| {
            let own = [format!("model.family={family}")];
            let keys = own.into_iter().chain(keys.iter().map(|key| (*key).to_owned())).collect();
            models.push((format!("{family} {name}"), keys));
        };
        let stock = match family.word {
            "llama" => &["model.norm=rms_norm", "model.activation_function=silu"][..],
            _ => &[],
        };
        add("stock", stock);
        for norm in Norm::all() {
            let norm = format!("model.norm={norm}");
            add(&norm, &[&norm]);
        }
        for function in NormFunction::all() {
            let function = format!("model.norm_function={function}");
            add(&function, &["model.norm=bounded", &function]);
        }
        for activation in Activation::all().filter(|&one| (FeedForward::STANDARD.takes)(one)) {
            let activation = format!("model.activation_function={activation}");
            add(&activation, &["model.ffn=standard", "model.slope_init=0.2", &activation]);
        }
        for scope in ["per_layer", "per_block", "shared"] {
            let scope = format!("model.slope_scope={scope}");
            add(&scope, &["model.ffn=standard", "model.activation_function=learnable_lrelu", &scope]);
        }
        let none = ["model.activation_function=none", "model.n_inner=128"];
        add("fused", &[&["model.ffn=fused"], &none[..]].concat());
        for activation in ["gelu", "relu", "leaky_relu"] {
            let activation = format!("model.activation_function={activation}");
            add(&format!("gated {activation}"), &["model.ffn=gated", &activation]);
        }
        for residual in Residual::all() {
            let residual = format!("model.residual={residual}");
            add(&residual, &["model.norm=none", &residual]);
        }
        for keys in SINGLE {
            add(keys, &keys.split(' ').collect::<Vec<_>>());
        }
        if family != Family::GPT_NEOX {
            for keys in SEQUENTIAL {
                add(keys, &keys.split(' ').collect::<Vec<_>>());
            }
        }
        if family != Family::GPT2 {
            for keys in
                ["model.rotary_pct=0.5", "model.rope_theta=300", "model.rotary_pct=1.0 model.norm=none"]
            {
                add(keys, &keys.split(' ').collect::<Vec<_>>());
            }
        }
        if family == Family::LLAMA {
            for keys in [
                "model.n_kv_head=2 model.norm=rms_norm",
                "model.n_kv_head=1 model.qk_norm=rms_norm model.attention_sink=true",
                "model.n_kv_head=1 model.qk_norm=unit",
                "model.bias=all model.norm=rms_norm",
            ] {
                add(keys, &keys.split(' ').collect::<Vec<_>>());
            }
        }
    }
    models
}

/// Mechanisms of every family.
const SINGLE: [&str; 35] = [
    "train.removal_start=1 train.removal_gap_v=100 model.norm=fake_layer_norm",
    "model.ffn_scaling=true",
    "model.learnable_temperature=true model.temperature_init=0.9",
    "model.qk_norm=rms_norm",
    "model.qk_norm=plain",
    "model.qk_norm=unit",
    "model.ffn_gains=true model.bias=all",
    "model.head_gains=true model.tie_embeddings=false model.ffn_gains=true model.ffn=gated",
    "model.qk_norm=unit model.residual=ngpt model.norm=none train.unit_weights=true",
    "model.attention_softcap=0.5",
    "model.attention_sink=true",
    "model.weight_norm=sigma_reparam model.gamma_init=0.8",
    "model.weight_norm=sigma_reparam model.attention_gate=element model.norm=none",
    "model.scale_loss=0.5 train.taper_start=0.1 train.taper_end=0.2 model.norm=taper_norm model.final_norm=taper_norm",
    "model.attention_gate=head",
    "model.attention_gate=element",
    "model.attention_gate=element model.bias=all",
    "model.entropy_regularization=0.1 model.entropy_penalty=row_sum",
    "model.entropy_regularization=0.1 model.entropy_penalty=row_mean",
    "model.entropy_regularization=0.1 model.entropy_penalty=head_mean",
    "model.norm_layers=1",
    "model.embedding_scale=true",
    "model.bias=all",
    "model.bias=none",
    "model.attention_norm=none model.ffn_norm=rms_norm",
    "model.attention_norm=bhyt",
    "model.final_norm=false",
    "model.final_norm=derf model.norm=none",
    "model.norm=none model.activation_function=relu",
    "model.tie_embeddings=true",
    "model.tie_embeddings=false model.norm=dyt",
    "model.tie_embeddings=false",
    "model.layer_norm_epsilon=1e-2",
    "model.kappa=3.0 model.norm=bhyt model.lambda_init=1.5",
    "model.attention_softcap=1.0 model.attention_sink=true model.attention_gate=head model.qk_norm=rms_norm model.learnable_temperature=true model.residual=layer_scale model.embedding_scale=true model.norm=seed_norm model.entropy_regularization=0.01",
];

/// Mechanisms of families that add attention before the network reads.
const SEQUENTIAL: [&str; 6] = [
    "model.norm_position=post",
    "model.norm_position=both",
    "model.norm_position=post model.norm=rms_norm model.residual=skip_init model.residual_scale=0.5",
    "model.norm_position=both model.norm=derf model.attention_gate=head",
    "model.norm_position=both model.norm=bhyt",
    "train.taper_start=0.5 train.taper_end=1.0 model.norm=taper_norm model.residual=ln_scale",
];
