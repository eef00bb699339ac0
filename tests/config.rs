//! The configuration: presets, defaults, overrides, what is refused, and with which message.

use std::path::{Path, PathBuf};

use normfree::config::{
    Accumulation, Activation, Bias, Config, EntropyPenalty, EntropyReference, Family, FeedForward, FinalNorm,
    Norm, NormPosition, OnNonfinite, Optimizer, Order, Recompute, SlopeScope,
};
use normfree::fault::Kind;
use normfree::model::parameter_count;
use proptest::prelude::*;

/// The activation with this word.
fn activation(word: &str) -> Activation {
    Activation::find(word).unwrap()
}

/// Every required key and nothing else; line numbers matter to the tests of messages.
const LEAST: &str = "\
[model]
n_layer = 2
n_head = 4
n_embd = 48
n_positions = 16
vocab_size = 64
norm = \"none\"
activation_function = \"relu\"

[data]
path = \"somewhere\"

[train]
steps = 100
batch_size = 2
learning_rate = 1e-3
checkpoint_every = 10
eval_every = 20
";

fn least() -> Config {
    Config::parse(LEAST, "least.toml", &[]).expect("the least configuration is valid")
}

fn with(overrides: &[&str]) -> Result<Config, String> {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    Config::parse(LEAST, "least.toml", &overrides).map_err(|fault| {
        assert_eq!(fault.kind, Kind::Config);
        fault.to_string()
    })
}

/// The message for a file that is `LEAST` with `from` replaced by `to`.
fn refused(from: &str, to: &str) -> String {
    assert_eq!(LEAST.matches(from).count(), 1, "{from:?} stands once in the text");
    let fault = Config::parse(&LEAST.replace(from, to), "least.toml", &[]).expect_err(to);
    assert_eq!(fault.kind, Kind::Config);
    fault.to_string()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

fn presets() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(root)
        .into_iter()
        .map(|entry| entry.expect("configs/ can be listed").into_path())
        // A study is more than a configuration, and a claim is none.
        .filter(|path| path.is_file() && !path.components().any(|part| part.as_os_str() == "study"))
        .collect();
    files.sort();
    files
}

fn preset(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
    Config::load(&path, &[]).unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn every_preset_is_valid_and_round_trips() {
    let files = presets();
    let what = "eight experiments at two sizes, four with Pythia, four of the demo, four entropy-guided ones, 32 mechanisms, \
                three to time";
    assert_eq!(files.len(), 63, "{what}: {files:?}");
    for path in files {
        let config = Config::load(&path, &[]).unwrap_or_else(|fault| panic!("{fault}"));
        config.validate().unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        let again =
            Config::parse(&config.to_toml(), "resolved", &[]).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(config, again, "{}", path.display());
    }
}

#[test]
fn presets_are_the_experiments_their_names_say() {
    let gelu = activation("gelu");
    let leaky_relu = activation("leaky_relu");
    let learnable_lrelu = activation("learnable_lrelu");
    let relu = activation("relu");
    let experiments = [
        ("sm_ln_g", Norm::LAYER_NORM, gelu, None),
        ("sm_ln_r", Norm::LAYER_NORM, relu, None),
        ("sm_g", Norm::NONE, gelu, None),
        ("sm_r", Norm::NONE, relu, None),
        ("sm_leaky", Norm::NONE, leaky_relu, None),
        ("sm_learnable_layer", Norm::NONE, learnable_lrelu, Some(SlopeScope::PerLayer)),
        ("sm_learnable_block", Norm::NONE, learnable_lrelu, Some(SlopeScope::PerBlock)),
        ("sm_learnable_shared", Norm::NONE, learnable_lrelu, Some(SlopeScope::Shared)),
    ];
    for (name, norm, activation, scope) in experiments {
        let paper = preset(&format!("paper/{name}.toml"));
        let small = preset(&format!("small/{name}.toml"));
        for config in [&paper, &small] {
            assert_eq!((config.model.norm, config.model.activation_function), (norm, activation), "{name}");
            assert!(scope.is_none_or(|scope| config.model.slope_scope == scope), "{name}");
            assert_eq!(config.train.sequence_length, 128, "{name}");
            assert_eq!(config.train.optimizer, Optimizer::ADAMW_HF, "{name}");
            assert!(
                config.model.final_norm == FinalNorm::Switch(true) && config.train.decay_slopes,
                "{name}"
            );
        }
        let (model, train) = (&paper.model, &paper.train);
        assert_eq!((model.n_layer, model.n_head, model.n_embd, model.n_inner), (12, 12, 768, 3072), "{name}");
        assert_eq!((model.n_positions, model.vocab_size, model.embd_pdrop), (1024, 50_000, 0.1), "{name}");
        assert_eq!(
            train.batch_size * train.gradient_accumulation_steps * train.sequence_length,
            65_536,
            "{name}"
        );
        let (model, train) = (&small.model, &small.train);
        assert_eq!(
            (model.n_layer, model.n_head, model.n_embd, model.n_positions),
            (6, 4, 128, 128),
            "{name}"
        );
        assert_eq!((model.vocab_size, model.embd_pdrop), (2048, 0.0), "{name}");
        assert_eq!((train.steps, train.batch_size, train.learning_rate), (2600, 16, 1e-3), "{name}");
    }
}

#[test]
fn parameter_counts_are_the_originals() {
    let count = |name: &str| parameter_count(&preset(&format!("paper/{name}.toml")).model);
    assert_eq!(count("sm_ln_g"), 124_177_920);
    assert_eq!(count("sm_ln_r"), 124_177_920);
    assert_eq!(count("sm_g"), 124_141_056);
    assert_eq!(count("sm_leaky"), 124_141_056);
    assert_eq!(count("sm_learnable_block"), 124_141_056 + 12);
    assert_eq!(count("sm_learnable_layer"), 124_141_056 + 144);
    assert_eq!(count("sm_learnable_shared"), 124_141_056 + 1);
    let none = ["model.activation_function=none".to_owned()];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/paper/sm_r.toml");
    let none = Config::load(&path, &none).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(
        (none.model.activation_function, parameter_count(&none.model)),
        (activation("none"), 124_141_056)
    );
}

#[test]
fn parameter_count_of_gpt2_itself() {
    let model = with(&[
        "model.n_layer=12",
        "model.n_head=12",
        "model.n_embd=768",
        "model.n_positions=1024",
        "model.vocab_size=50257",
        "model.norm=layer_norm",
        "model.bias=all",
    ])
    .expect("GPT-2 is valid")
    .model;
    assert_eq!(parameter_count(&model), 124_439_808);
}

/// The paper's last model: per block one matrix of the feed-forward network, 2 scales, 12 thresholds and 12 × 1,024
/// temperatures.
#[test]
fn parameter_counts_of_entropy_guided_models() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/paper/sm_r.toml");
    let count = |changes: &[&str]| {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        parameter_count(&Config::load(&path, &changes).unwrap_or_else(|fault| panic!("{fault}")).model)
    };
    let plain = count(&[]);
    assert_eq!(count(&["model.entropy_regularization=1e-5"]), plain + 144);
    assert_eq!(count(&["model.learnable_temperature=true"]), plain + 12 * 12 * 1024);
    assert_eq!(count(&["model.ffn_scaling=true"]), plain + 24);
    let fused = ["model.ffn=fused", "model.activation_function=none"];
    assert_eq!(count(&fused), plain - 12 * 7 * 768 * 768);
    let biased = |more: &[&str]| count(&[&["model.bias=all"], more].concat());
    assert_eq!(biased(&fused), biased(&[]) - 12 * (7 * 768 * 768 + 4 * 768));
}

#[test]
fn entropy_guided_presets_are_what_their_names_say() {
    for (name, activation, fused, regularized) in [
        ("ereg_sm_g", activation("gelu"), false, true),
        ("ereg_sm_r", activation("relu"), false, true),
        ("sm_t_scfuffn", activation("none"), true, false),
        ("ereg_sm_t_scfuffn", activation("none"), true, true),
    ] {
        let model = preset(&format!("ereg/{name}.toml")).model;
        assert_eq!((model.norm, model.activation_function), (Norm::NONE, activation), "{name}");
        let ffn = if fused { FeedForward::FUSED } else { FeedForward::STANDARD };
        assert_eq!(
            (model.ffn, model.ffn_scaling, model.learnable_temperature),
            (ffn, fused, fused),
            "{name}"
        );
        assert_eq!(model.regularizes_entropy(), regularized, "{name}");
        assert_eq!((model.n_layer, model.n_head, model.n_embd, model.n_positions), (4, 4, 64, 128), "{name}");
    }
}

#[test]
fn a_fused_network_has_neither_activation_nor_inner_width() {
    let message = with(&["model.ffn=fused"]).expect_err("relu in a fused network");
    says(&message, &["model.ffn", "model.activation_function", "relu", "activation_function = \"none\""]);
    let fused = ["model.ffn=fused", "model.activation_function=none"];
    let message = with(&[&fused[..], &["model.n_inner=48"]].concat()).expect_err("a width inside one matrix");
    says(&message, &["model.n_inner", "48", "omit n_inner"]);
    assert!(with(&fused).is_ok());
    for (key, would_do) in [
        ("model.entropy_regularization=-1", "0 or greater"),
        ("model.entropy_margin=-0.1", "0 or greater"),
        ("model.temperature_init=0", "greater than 0"),
        ("model.entropy_penalty=rows", "\"row_sum\" or \"row_mean\" or \"head_mean\""),
    ] {
        says(&with(&[key]).expect_err(key), &[key.split_once('=').unwrap().0, would_do]);
    }
}

#[test]
fn a_gpt_neox_is_pythia() {
    let family = "model.family=gpt_neox";
    let pythia = with(&[
        family,
        "model.n_layer=6",
        "model.n_head=8",
        "model.n_embd=512",
        "model.n_positions=2048",
        "model.vocab_size=50304",
        "model.norm=layer_norm",
    ])
    .expect("Pythia-70M is valid")
    .model;
    assert_eq!(parameter_count(&pythia), 70_426_624);
    assert_eq!((pythia.bias, pythia.embd_pdrop, pythia.rotary_pct), (Bias::All, 0.0, Some(0.25)));
    assert_eq!((pythia.n_inner, pythia.head_dim(), pythia.rotary_columns()), (2048, 64, 16));
    let other = with(&[family, "model.bias=query_key", "model.embd_pdrop=0.2", "model.rotary_pct=0.5"]);
    let other = other.expect("the switches work in every family");
    assert_eq!((other.model.bias, other.model.embd_pdrop), (Bias::QueryKey, 0.2));
    assert_eq!(other.model.rotary_columns(), 6);
    assert_eq!(Config::parse(&other.to_toml(), "resolved", &[]), Ok(other));
    // A GPT-2's file says nothing about it, so that old files equal new ones.
    assert!(!least().to_toml().contains("rotary"));

    let message = with(&[family]).expect_err("3 of 12 columns");
    says(&message, &["in pairs", "key model.rotary_pct (left at its default)", "3 of 12 columns"]);
    says(&message, &["least.toml line 4, key model.n_embd", "use rotary_pct = 0.3334"]);
    with(&[family, "model.rotary_pct=0.3334"]).expect("the suggestion works");
    says(&with(&[family, "model.rotary_pct=0"]).expect_err("no columns"), &["use rotary_pct = 0.1667"]);
    let message = with(&["model.rotary_pct=0.5"]).expect_err("a gpt2");
    says(&message, &["a gpt2 has no rotary positions", "--set model.rotary_pct", "family = \"gpt_neox\""]);
}

#[test]
fn the_pythia_presets_are_the_experiments_their_names_say() {
    let gelu = activation("gelu");
    let relu = activation("relu");
    for (name, norm, activation) in [
        ("sm_ln_g", Norm::LAYER_NORM, gelu),
        ("sm_ln_r", Norm::LAYER_NORM, relu),
        ("sm_g", Norm::NONE, gelu),
        ("sm_r", Norm::NONE, relu),
    ] {
        let Config { model, train, .. } = preset(&format!("paper/pythia70m_{name}.toml"));
        assert_eq!(
            (model.family, model.norm, model.activation_function),
            (Family::GPT_NEOX, norm, activation)
        );
        assert_eq!((model.n_layer, model.n_head, model.n_embd, model.n_inner), (6, 8, 512, 2048), "{name}");
        assert_eq!((model.n_positions, model.vocab_size, model.bias), (2048, 50_000, Bias::All), "{name}");
        assert_eq!((train.sequence_length, train.steps * train.tokens_per_step()), (128, 2_097_152_000));
    }
}

#[test]
fn omitted_keys_have_the_originals_values() {
    let Config { model, data, train, observe } = least();
    assert_eq!((model.n_inner, model.head_dim()), (192, 12));
    assert!(model.final_norm == FinalNorm::Switch(true) && !model.scale_residual_projections);
    let bounded = (model.norm_function.word, model.alpha_init, model.attention_alpha_init);
    assert_eq!(bounded, ("tanh", 0.5, None));
    assert_eq!((model.lambda_init, model.kappa, model.layer_norm_epsilon), (2.0, 10.0, 1e-5));
    assert_eq!((model.norm_position, model.embedding_scale), (NormPosition::Pre, false));
    assert_eq!((model.weight_norm.word(), model.gamma_init, model.scale_loss), ("none", 1.0, 0.0));
    assert_eq!((model.attention_norm, model.ffn_norm, model.norm_layers), (None, None, None));
    assert_eq!((train.taper_start, train.taper_end), (0.25, 0.75));
    assert_eq!((train.removal_start, train.removal_gap_ffn, train.removal_gap_qk), (20.0, 2.0, 2.0));
    assert_eq!((train.removal_gap_v, train.removal_momentum, train.norm_warmup), (3.0, 0.9, 4000));
    // ε follows the norm.
    let epsilon = |norm: &str| with(&[&format!("model.norm={norm}")]).unwrap().model.layer_norm_epsilon;
    assert_eq!(["none", "rms_norm", "bhyt"].map(epsilon), [1e-5, 1e-6, 1e-6]);
    assert_eq!((model.layer_norm_epsilon, model.initializer_range, model.embd_pdrop), (1e-5, 0.02, 0.1));
    assert_eq!((model.leaky_slope, model.slope_init), (0.01, 0.01));
    assert_eq!((model.slope_scope, model.bias), (SlopeScope::PerLayer, Bias::QueryKey));
    assert_eq!((model.ffn, model.ffn_scaling), (FeedForward::STANDARD, false));
    assert_eq!((model.learnable_temperature, model.temperature_init), (false, 1.0));
    assert_eq!((model.entropy_regularization, model.entropy_penalty), (0.0, EntropyPenalty::RowSum));
    assert_eq!((model.entropy_margin, model.entropy_threshold_init), (0.2, 0.5));
    assert_eq!(data.order, Order::Shuffle);
    assert_eq!((train.gradient_accumulation_steps, train.sequence_length), (1, 16));
    assert_eq!(train.accumulation, Accumulation::Mean);
    assert_eq!((train.final_learning_rate, train.warmup_ratio, train.weight_decay), (1e-7, 0.05, 0.1));
    assert_eq!((train.adam_beta1, train.adam_beta2, train.adam_epsilon), (0.9, 0.999, 1e-8));
    assert_eq!((train.max_grad_norm, train.optimizer), (1.0, Optimizer::ADAMW_HF));
    assert_eq!((train.keep_checkpoints, train.eval_chunks, train.seed), (2, 0, 0));
    assert_eq!((train.init_from, train.on_nonfinite), (None, OnNonfinite::Stop));
    assert_eq!(train.recompute, Recompute::None);
    assert!(!train.unit_weights && !train.project_weights && !model.ffn_gains && !model.head_gains);
    assert!(train.decay_slopes && train.ignore_end_of_text && observe.entropy);
    assert_eq!((observe.entropy_every, observe.slopes_every), (100, 100));
    assert_eq!((observe.layers, observe.layers_every, observe.sample_every), (true, 100, 10));
    assert_eq!(observe.entropy_reference, EntropyReference::ObservedMax);
}

#[test]
fn the_schedule_is_the_one_of_transformers() {
    let train = least().train;
    assert_eq!(train.warmup_steps(), 5);
    // Read from the original's output, and accurate to one unit in the fifth digit.
    for (step, rate, unit) in
        [(0, 0.0, 0.0), (1, 2e-4, 1e-8), (5, 1e-3, 1e-7), (50, 5.2636e-4, 1e-8), (99, 1.0626e-5, 1e-9)]
    {
        let here = train.learning_rate_at(step);
        assert!((here - rate).abs() <= unit, "step {step}: {here:e}, not {rate:e}");
    }
    // The same as fractions, to the last digits of f64.
    for (step, rate) in
        [(3, 6e-4), (50, 1e-7 + 9.999e-4 * 50.0 / 95.0), (99, 1e-7 + 9.999e-4 / 95.0), (100, 1e-7)]
    {
        let here = train.learning_rate_at(step);
        assert!((here - rate).abs() <= 1e-15, "step {step}: {here:e}, not {rate:e}");
    }
    let rates: Vec<f64> = (0..=120).map(|step| train.learning_rate_at(step)).collect();
    assert!(rates.iter().all(|rate| (0.0..=1e-3).contains(rate)), "{rates:?}");
    assert!(rates[100..].iter().all(|rate| *rate == 1e-7), "{rates:?}");
}

#[test]
fn the_warm_up_may_be_nothing_or_everything() {
    let none = with(&["train.warmup_ratio=0"]).expect("a ratio of 0 is valid").train;
    assert_eq!((none.warmup_steps(), none.learning_rate_at(0)), (0, 1e-3));
    let all = with(&["train.warmup_ratio=1", "train.steps=10"]).expect("a ratio of 1 is valid").train;
    assert_eq!((all.learning_rate_at(5), all.learning_rate_at(10)), (5e-4, 1e-7));
    let rounded_up = with(&["train.steps=101"]).expect("valid").train;
    assert_eq!(rounded_up.warmup_steps(), 6);
}

/// A run that began before `train.accumulation` existed resumes with the arithmetic it had.
#[test]
fn older_runs_keep_their_accumulation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let written = |accumulation: &str, micro_batches: usize, keeps_key: bool| {
        let micro_batches = format!("train.gradient_accumulation_steps={micro_batches}");
        let text = with(&[&format!("train.accumulation={accumulation}"), &micro_batches]).unwrap().to_toml();
        let kept = text.lines().filter(|line| keeps_key || !line.starts_with("accumulation"));
        std::fs::write(&path, kept.map(|line| line.to_owned() + "\n").collect::<String>()).unwrap();
        Config::load_of_run(&path, &[]).unwrap().train.accumulation
    };
    for word in Accumulation::WORDS.iter().map(|word| word.word) {
        assert_eq!(written(word, 4, true).word(), word);
        assert_eq!(written(word, 4, false), Accumulation::MeanOfMeans);
        // One micro-batch has one mean: the run stays comparable with newer ones.
        assert_eq!(written(word, 1, false), Accumulation::Mean);
    }
}

#[test]
fn every_key_can_be_set() {
    let full = with(&["train.init_from=weights.safetensors"]).expect("valid");
    let table: toml::Table = full.to_toml().parse().expect("the resolved configuration is TOML");
    let mut keys = 0;
    for (table, content) in &table {
        for (key, value) in content.as_table().expect("tables of keys") {
            let same = with(&["train.init_from=weights.safetensors", &format!("{table}.{key}={value}")])
                .unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(same, full, "--set {table}.{key}={value}");
            let wrong = with(&[&format!("{table}.{key}=[]")]);
            match wrong {
                Err(message) => says(&message, &[&format!("--set {table}.{key}"), "use "]),
                // The name of a folder may be any text that is not empty.
                Ok(_) => {
                    assert!(value.is_str() && ["path", "init_from"].contains(&key.as_str()), "{table}.{key}")
                }
            }
            keys += 1;
        }
    }
    assert_eq!(keys, 97, "a key was added or lost: put its default into the tests too");
}

#[test]
fn overrides_are_typed_like_the_file_and_the_last_one_counts() {
    let config = with(&[
        "model.n_layer=3",
        "model.norm=layer_norm",
        "model.activation_function=\"gelu_new\"",
        "train.learning_rate=5e-4",
        "train.weight_decay=0",
        "train.seed = 18446744073709551615",
        "model.n_layer=5",
        "data.path=2024",
        "observe.entropy=false",
    ])
    .expect("valid");
    assert_eq!(config.model.n_layer, 5);
    assert_eq!(config.model.norm, Norm::LAYER_NORM);
    assert_eq!(config.model.activation_function, activation("gelu_new"));
    assert_eq!((config.train.learning_rate, config.train.weight_decay), (5e-4, 0.0));
    assert_eq!(config.train.seed, u64::MAX);
    assert_eq!(config.data.path, "2024");
    assert!(!config.observe.entropy);
    assert_eq!(Config::parse(&config.to_toml(), "resolved", &[]), Ok(config));
    // Values that depend on another key follow its override too.
    let wider = with(&["model.n_embd=64", "model.n_positions=32"]).expect("valid");
    assert_eq!((wider.model.n_inner, wider.train.sequence_length), (256, 32));
}

#[test]
fn an_override_heals_the_file() {
    let text = LEAST.replace("n_layer = 2\n", "").replace("n_head = 4", "n_head = \"four\"");
    let overrides = ["model.n_layer=2".to_owned(), "model.n_head=4".to_owned()];
    assert_eq!(Config::parse(&text, "least.toml", &overrides), Ok(least()));
}

#[test]
fn an_unknown_key_names_the_right_one() {
    let message = refused("n_layer = 2", "n_layers = 2");
    says(&message, &["least.toml line 2", "model.n_layers", "did you mean model.n_layer?"]);
    says(&message, &["[model] takes family, n_layer, n_head", "scale_residual_projections"]);
    for (typed, meant) in [
        ("model.vocabsize", "model.vocab_size"),
        ("model.n-embd", "model.n_embd"),
        ("model.activation", "model.activation_function"),
        ("model.steps", "train.steps"),
        ("modle.n_head", "model.n_head"),
        ("n_head", "model.n_head"),
        ("train.lr", "train.learning_rate"),
        ("train.warmup_ration", "train.warmup_ratio"),
        ("train.lerning_rate", "train.learning_rate"),
        ("train.eval_evry", "train.eval_every"),
        ("train.batchsize", "train.batch_size"),
        ("data.ordre", "data.order"),
        ("observe.entropy_refrence", "observe.entropy_reference"),
    ] {
        let message = with(&[&format!("{typed}=1")]).expect_err(typed);
        says(&message, &["unknown key", &format!("--set {typed}"), &format!("did you mean {meant}?")]);
    }
    let nothing_near = with(&["train.zzzzzzzz=1"]).expect_err("unknown");
    assert!(!nothing_near.contains("did you mean"), "{nothing_near}");
    says(&nothing_near, &["[train] takes steps, batch_size"]);
}

#[test]
fn unknown_and_misused_tables() {
    says(
        &refused("[train]", "[trian]"),
        &["least.toml line 13", "[trian]", "did you mean [train]?", "[observe]"],
    );
    says(&refused("[model]", "n_layer = 3\n[model]"), &["line 1", "n_layer", "did you mean model.n_layer?"]);
    let nested = refused("[data]\n", "[model.data]\n");
    says(&nested, &["unknown key", "line 10, key model.data", "[model] takes"]);
    let text = format!("observe = 3\n{LEAST}");
    let message = Config::parse(&text, "x.toml", &[]).expect_err("observe is a table").to_string();
    says(&message, &["wrong type", "x.toml line 1, key observe", "3 (an integer)", "[observe] is a table"]);
}

#[test]
fn wrong_types_name_what_was_found_and_what_is_expected() {
    let message = refused("n_layer = 2", "n_layer = \"two\"");
    says(
        &message,
        &["wrong type", "least.toml line 2, key model.n_layer", "\"two\" (a string)", "an integer from 1"],
    );
    says(
        &refused("steps = 100", "steps = 1e2"),
        &["line 14", "train.steps", "100.0 (a float)", "an integer"],
    );
    says(
        &refused("path = \"somewhere\"", "path = 7"),
        &["line 11", "data.path", "7 (an integer)", "a non-empty string"],
    );
    says(&refused("vocab_size = 64", "vocab_size = [64]"), &["model.vocab_size", "an array"]);
    says(&refused("vocab_size = 64", "vocab_size = {}"), &["model.vocab_size", "a table"]);
    says(
        &with(&["observe.entropy=1"]).expect_err("1"),
        &["--set observe.entropy", "1 (an integer)", "true or false"],
    );
    says(&with(&["train.seed=0.5"]).expect_err("0.5"), &["--set train.seed", "0.5 (a float)"]);
}

#[test]
fn unknown_words_list_the_known() {
    let message = refused("norm = \"none\"", "norm = \"layernorm\"");
    says(
        &message,
        &["line 7", "model.norm", "did you mean \"layer_norm\"?", "use \"layer_norm\" or \"none\""],
    );
    says(
        &with(&["train.optimizer=adam"]).expect_err("adam"),
        &["--set train.optimizer", "\"adamw\"", "\"adam\""],
    );
    says(
        &with(&["train.precision=f16"]).expect_err("f16"),
        &["--set train.precision", "\"f32\" or \"mixed\""],
    );
    says(
        &with(&["train.loss_scale=3"]).expect_err("3"),
        &["--set train.loss_scale", "a power of two from 1 to 16777216"],
    );
}

#[test]
fn ranges_are_kept() {
    for refused in [
        "model.n_layer=0",
        "model.n_layer=-1",
        "model.n_head=0",
        "model.n_positions=1",
        "model.vocab_size=0",
        "model.vocab_size=999999999999999999999999",
        "model.n_inner=0",
        "model.layer_norm_epsilon=0",
        "model.layer_norm_epsilon=1e-50",
        "model.leaky_slope=nan",
        "model.slope_init=inf",
        "model.embd_pdrop=1.0",
        "model.embd_pdrop=-0.1",
        "model.initializer_range=0.0",
        "data.path=",
        "data.path= ",
        "train.steps=0",
        "train.batch_size=0",
        "train.gradient_accumulation_steps=0",
        "train.sequence_length=1",
        "train.learning_rate=0",
        "train.learning_rate=-1e-3",
        "train.learning_rate=1e39",
        "train.learning_rate=1e999",
        "train.warmup_ratio=1.01",
        "train.weight_decay=-0.1",
        "train.max_grad_norm=-1",
        "train.adam_beta1=1",
        // Rounds to 1 in f32, where the bias correction would divide by zero.
        "train.adam_beta2=0.99999999999",
        "train.adam_epsilon=0",
        "train.checkpoint_every=0",
        "train.keep_checkpoints=0",
        "train.eval_every=0",
        "train.eval_chunks=-1",
        "train.init_from=",
        "train.seed=-1",
        "train.seed=18446744073709551616",
        "observe.entropy_every=0",
        "observe.slopes_every=0",
    ] {
        let key = refused.split('=').next().expect("a key");
        match with(&[refused]) {
            Err(message) => says(&message, &[&format!("--set {key}"), "found", "use "]),
            Ok(_) => panic!("{refused} was taken"),
        }
    }
}

#[test]
fn heads_must_fit_the_width() {
    let message = refused("n_embd = 48", "n_embd = 50");
    says(&message, &["n_embd is not divisible by n_head", "least.toml line 4, key model.n_embd"]);
    says(
        &message,
        &["least.toml line 3, key model.n_head", "n_embd = 50, n_head = 4", "use n_embd = 48 or 64"],
    );
    let message = with(&["model.n_embd=40"]).expect_err("heads of 10");
    says(&message, &["multiple of 4", "--set model.n_embd and least.toml line 3", "use n_embd = 32 or 48"]);
    let message = with(&["model.n_embd=4"]).expect_err("heads of 1");
    says(&message, &["use n_embd = 16"]);
    let message = with(&["model.n_embd=1040"]).expect_err("heads of 260");
    says(&message, &["too large", "at most 256", "n_head to 5 or more"]);
    assert_eq!(with(&["model.n_embd=1024"]).map(|config| config.model.head_dim()), Ok(256));
}

#[test]
fn keys_that_do_not_go_together() {
    let message = with(&["train.sequence_length=17"]).expect_err("longer than the table");
    says(
        &message,
        &["--set train.sequence_length", "least.toml line 5, key model.n_positions", "from 2 to 16"],
    );
    let message = with(&["train.learning_rate=1e-8"]).expect_err("ends above its peak");
    says(&message, &["key train.final_learning_rate (left at its default)", "--set train.learning_rate"]);
    with(&["train.final_learning_rate=1e-3"]).expect("a constant rate is a schedule");
}

#[test]
fn missing_keys_are_all_named() {
    let text = LEAST.replace("path = \"somewhere\"\n", "").replace("n_positions = 16\n", "");
    let message = Config::parse(&text, "least.toml", &[]).expect_err("two keys are missing").to_string();
    says(
        &message,
        &[
            "required keys are missing",
            "least.toml",
            "model.n_positions (an integer",
            "data.path (a non-empty",
        ],
    );
    // All others have defaults, and what depends on the data is the data's.
    let message = Config::parse("", "empty.toml", &[]).expect_err("all are missing").to_string();
    says(&message, &["empty.toml", "model.n_positions", "model.vocab_size", "data.path"]);
    assert!(!message.contains("train.") && !message.contains("model.n_layer"), "{message}");
}

#[test]
fn bad_toml_and_bad_arguments() {
    says(&refused("n_layer = 2", "n_layer = "), &["not TOML", "least.toml line 2"]);
    says(&refused("n_head = 4", "n_layer = 4"), &["not TOML", "least.toml line 3", "duplicate"]);
    says(&with(&["model.n_layer"]).expect_err("no ="), &["KEY=VALUE", "`model.n_layer`"]);
    says(&with(&["=3"]).expect_err("no key"), &["unknown key"]);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.toml");
    let fault = Config::load(&path, &[]).expect_err("there is no such file");
    assert_eq!(fault.kind, Kind::Io);
    says(&fault.to_string(), &["x.toml"]);
    std::fs::write(&path, b"[model]\nfamily = \"\xff\"\n").expect("the file is written");
    let fault = Config::load(&path, &[]).expect_err("not UTF-8");
    assert_eq!(fault.kind, Kind::Config);
    says(&fault.to_string(), &["UTF-8", "x.toml line 2"]);
    std::fs::write(&path, LEAST.replace('\n', "\r\n")).expect("the file is written");
    assert_eq!(Config::load(&path, &[]), Ok(least()), "line ends of Windows");
}

#[test]
fn a_configuration_made_in_code_is_checked_alike() {
    let refused = |change: fn(&mut Config), parts: &[&str]| {
        let mut config = least();
        config.validate().expect("valid before the change");
        change(&mut config);
        says(&config.validate().expect_err("refused").to_string(), parts);
    };
    refused(|c| c.model.n_embd = 50, &["not divisible", "key model.n_embd and key model.n_head"]);
    refused(|c| c.train.learning_rate = f64::NAN, &["key train.learning_rate", "NaN"]);
    refused(|c| c.train.init_from = Some(String::new()), &["key train.init_from", "empty"]);
    refused(|c| c.model.vocab_size = usize::MAX, &["key model.vocab_size"]);
    let mut config = least();
    config.train.seed = u64::MAX;
    assert_eq!(config.validate(), Ok(()));
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn numbers_round_trip_to_the_last_bit(
        rate in 2e-7..1e30_f64,
        slope in (-1e30..1e30_f64),
        seed in any::<u64>(),
        path in "\\PC*[a-z\"'\\\\#=\n]",
    ) {
        let mut config = least();
        config.train.learning_rate = rate;
        config.model.leaky_slope = slope;
        config.train.seed = seed;
        config.data.path = path.clone() + "x";
        prop_assert_eq!(config.validate(), Ok(()));
        prop_assert_eq!(&Config::parse(&config.to_toml(), "resolved", &[]), &Ok(config));
    }
}

#[test]
fn norms_are_picked_for_each_place() {
    let model = |changes: &[&str]| with(changes).unwrap().model;
    let words = |of: &[Norm]| of.iter().map(|norm| norm.word).collect::<Vec<_>>();
    let mixed = model(&[
        "model.n_layer=4",
        "model.norm=layer_norm",
        "model.ffn_norm=dyt",
        "model.norm_layers=0-1, 3",
        "model.final_norm=rms_norm",
    ]);
    assert_eq!(words(&mixed.norms_of(1)), ["layer_norm", "dyt"]);
    assert_eq!(words(&mixed.norms_of(2)), ["none", "none"]);
    assert_eq!((mixed.norms_of(3)[1].word, mixed.head_norm().word), ("dyt", "rms_norm"));
    let head = |norm: &str, last: &str| {
        model(&[&format!("model.norm={norm}"), &format!("model.final_norm={last}")]).head_norm().word
    };
    assert_eq!([head("none", "true"), head("none", "false")], ["layer_norm", "none"]);
    assert_eq!([head("derf", "true"), head("taper_norm", "true")], ["derf", "rms_norm"]);
    let refused = |changes: &[&str], parts: &[&str]| says(&with(changes).unwrap_err(), parts);
    for layers in ["7", "0-9", "2-1", "a", "0,,1"] {
        refused(&[&format!("model.norm_layers=\"{layers}\"")], &["model.norm_layers", layers, "0-2,5"]);
    }
    refused(
        &["model.final_norm=rmsnorm"],
        &["model.final_norm", "did you mean \"rms_norm\"?", "true or false"],
    );
    let both = "model.norm_position=both";
    refused(
        &[both, "model.family=gpt_neox", "model.rotary_pct=0.5"],
        &["model.family", "use norm_position = \"pre\""],
    );
    refused(&[both, "train.precision=mixed"], &["train.precision", "\"both\""]);
    refused(&[both, "model.ffn_scaling=true"], &["model.ffn_scaling", "\"both\""]);
    refused(&["train.taper_start=0.9"], &["train.taper_start", "use a taper_end from 0.9 to 1"]);
    refused(
        &["model.norm=fake_layer_norm", "model.norm_position=post"],
        &["model.norm_position", "fake_layer_norm", "use norm_position = \"pre\""],
    );
    refused(
        &["model.ffn_norm=power_norm", "train.recompute=block"],
        &["train.recompute", "power_norm", "use recompute = \"ffn\""],
    );
}

#[test]
fn the_gate_is_open_then_falls_to_zero() {
    let train = with(&["train.steps=200", "train.taper_start=0.2", "train.taper_end=0.7"]).unwrap().train;
    assert_eq!([0, 1, 39].map(|step| train.taper_at(step)), [[1.0, 1.0], [1.0, 0.5], [1.0, 1.0 / 40.0]]);
    assert_eq!([40, 90, 140, 199].map(|step| train.taper_at(step)[0]), [1.0, 0.5, 0.0, 0.0]);
    assert_eq!(train.taper_at(40)[1], 0.0);
}
