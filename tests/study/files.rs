//! The shipped studies.

use normfree::config::{Activation, Bias, Config, EntropyPenalty, Family, FeedForward, Norm, SlopeScope};
use normfree::model::parameter_count;
use normfree::study::{Grid, Run};
use std::collections::BTreeMap;
use std::path::Path;

/// The activation with this word.
fn activation(word: &str) -> Activation {
    Activation::find(word).unwrap()
}

fn shipped(name: &str) -> Grid {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/study").join(name);
    Grid::load(&path, &[]).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Seeds by configuration.
fn seeds(grid: &Grid) -> BTreeMap<&str, Vec<u64>> {
    let mut seeds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for run in &grid.runs {
        seeds.entry(&run.configuration).or_default().push(run.seed);
    }
    seeds
}

/// A configuration's settings, apart from its size.
fn kind(config: &Config) -> (Norm, Activation, Option<f64>, Option<(SlopeScope, bool)>) {
    let model = &config.model;
    let slope = (model.activation_function == activation("leaky_relu")).then_some(model.leaky_slope);
    let learned = (model.activation_function == activation("learnable_lrelu"))
        .then_some((model.slope_scope, config.train.decay_slopes));
    (model.norm, model.activation_function, slope, learned)
}

#[test]
fn every_study_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/study");
    // The folder of claims has a test of its own.
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "entropy_guided.toml",
            "mechanisms.toml",
            "original_small.toml",
            "paper.toml",
            "small.toml",
            "stability.toml"
        ]
    );
    for name in names {
        let grid = shipped(&name);
        assert_eq!(format!("{}.toml", grid.name), name);
        for run in &grid.runs {
            run.config.validate().unwrap_or_else(|fault| panic!("{name} {}: {fault}", run.configuration));
        }
    }
}

#[test]
fn the_small_study_asks_the_papers_questions() {
    let gelu = activation("gelu");
    let leaky_relu = activation("leaky_relu");
    let learnable_lrelu = activation("learnable_lrelu");
    let relu = activation("relu");
    let grid = shipped("small.toml");
    let find = |name: &str| -> &Run { grid.runs.iter().find(|run| run.configuration == name).unwrap() };
    let mut expected = vec![
        ("sm_ln_g", (Norm::LAYER_NORM, gelu, None, None)),
        ("sm_ln_r", (Norm::LAYER_NORM, relu, None, None)),
        ("sm_g", (Norm::NONE, gelu, None, None)),
        ("sm_r", (Norm::NONE, relu, None, None)),
        ("sm_ln", (Norm::LAYER_NORM, activation("none"), None, None)),
        ("sm", (Norm::NONE, activation("none"), None, None)),
    ];
    for (name, slope) in [
        ("sm_leaky_0.01", 0.01),
        ("sm_leaky_0.05", 0.05),
        ("sm_leaky_0.1", 0.1),
        ("sm_leaky_0.2", 0.2),
        ("sm_leaky_0.3", 0.3),
    ] {
        expected.push((name, (Norm::NONE, leaky_relu, Some(slope), None)));
    }
    for (name, scope, decays) in [
        ("sm_learnable_layer", SlopeScope::PerLayer, true),
        ("sm_learnable_layer_free", SlopeScope::PerLayer, false),
        ("sm_learnable_block", SlopeScope::PerBlock, true),
        ("sm_learnable_block_free", SlopeScope::PerBlock, false),
        ("sm_learnable_shared", SlopeScope::Shared, true),
        ("sm_learnable_shared_free", SlopeScope::Shared, false),
    ] {
        expected.push((name, (Norm::NONE, learnable_lrelu, None, Some((scope, decays)))));
    }
    for (name, is) in &expected {
        assert_eq!(kind(&find(name).config), *is, "{name}");
    }
    for (name, seeds) in seeds(&grid) {
        let main = ["sm_ln_g", "sm_ln_r", "sm_g", "sm_r"].contains(&name);
        assert_eq!(seeds, if main { vec![1, 2, 3] } else { vec![1] }, "{name}");
        assert!(expected.iter().any(|(of, _)| *of == name), "{name}");
    }
    assert_eq!((grid.runs.len(), &*grid.baseline), (25, "sm_ln_g"));
}

/// The size, steps and baseline's settings of the small study; the regularizer in both readings, and its companions.
#[test]
fn the_entropy_guided_study_is_of_the_small_ones_size() {
    let (grid, small) = (shipped("entropy_guided.toml"), shipped("small.toml"));
    let of = |grid: &Grid, name: &str| {
        let run = grid.runs.iter().find(|run| run.configuration == name && run.seed == 1);
        run.unwrap_or_else(|| panic!("{name}")).config.clone()
    };
    for name in ["sm_g", "sm_r", "sm"] {
        assert_eq!(of(&grid, name).model, of(&small, name).model, "{name}");
        assert_eq!(of(&grid, name).train, of(&small, name).train, "{name}");
    }
    for (name, seeds) in seeds(&grid) {
        let several = ["sm_g", "sm_g_ereg", "sm_r", "sm_r_ereg", "sm_g_t_ereg"].contains(&name);
        assert_eq!(seeds, if several { vec![1, 2, 3] } else { vec![1] }, "{name}");
        let model = of(&grid, name).model;
        assert_eq!(model.regularizes_entropy(), name.contains("_ereg"), "{name}");
        assert_eq!(model.learnable_temperature, name.contains("_t"), "{name}");
        assert_eq!(model.ffn_scaling, name.contains("_sc"), "{name}");
        assert_eq!(model.ffn == FeedForward::FUSED, name.contains("fuffn"), "{name}");
        if name.contains("_ereg") {
            assert_eq!(model.entropy_penalty == EntropyPenalty::HeadMean, name.contains("head"), "{name}");
        }
    }
    assert_eq!((grid.runs.len(), &*grid.baseline), (26, "sm_g"));
}

/// One list of configurations at three sizes.
#[test]
fn the_other_studies_are_the_same_at_other_sizes() {
    let small = shipped("small.toml");
    let of = |grid: &Grid, size: &str| -> Vec<_> {
        let mut found: Vec<_> = grid
            .runs
            .iter()
            .filter_map(|run| Some((run.configuration.strip_suffix(size)?.to_owned(), kind(&run.config))))
            .collect();
        found.dedup();
        found
    };
    let original = shipped("original_small.toml");
    assert_eq!(of(&original, ""), of(&small, ""));
    assert_eq!(seeds(&original), seeds(&small));
    for run in &original.runs {
        let (model, train) = (&run.config.model, &run.config.train);
        assert_eq!((model.n_layer, model.n_head, model.n_embd, model.n_positions), (6, 4, 128, 128));
        assert_eq!((model.vocab_size, model.embd_pdrop, train.learning_rate), (2048, 0.0, 1e-3));
        assert_eq!(train.steps * train.tokens_per_step(), 5_324_800);
    }
    let paper = shipped("paper.toml");
    assert_eq!(of(&paper, "-12"), of(&small, ""));
    assert_eq!(of(&paper, "-18"), of(&small, ""));
    assert_eq!(of(&paper, "-pythia70m_128"), of(&small, ""));
    assert_eq!(of(&paper, "-pythia70m_256"), of(&small, ""));
    assert_eq!((&*paper.baseline, paper.runs.len()), ("sm_ln_g-12", 4 * 17));
    for run in &paper.runs {
        let (model, train) = (&run.config.model, &run.config.train);
        assert_eq!((train.steps * train.tokens_per_step(), model.vocab_size), (2_097_152_000, 50_000));
        let (name, size) = run.configuration.rsplit_once('-').unwrap();
        assert_eq!(run.baseline, format!("sm_ln_g-{size}"), "{name}");
        if let Some(length) = size.strip_prefix("pythia70m_") {
            assert_eq!((model.family, model.bias, model.embd_pdrop), (Family::GPT_NEOX, Bias::All, 0.0));
            assert_eq!((model.n_layer, model.n_head, model.n_embd, model.n_inner), (6, 8, 512, 2048));
            assert_eq!(train.sequence_length.to_string(), length);
            continue;
        }
        assert_eq!((model.family, model.n_layer.to_string()), (Family::GPT2, size.to_owned()));
        assert_eq!((model.n_head, model.n_embd, model.embd_pdrop), (12, 768, 0.1));
    }
    let count = |name: &str| {
        let run = paper.runs.iter().find(|run| run.configuration == name).unwrap();
        parameter_count(&run.config.model)
    };
    assert_eq!((count("sm_ln_g-12"), count("sm_r-12")), (124_177_920, 124_141_056));
    // With the paper's vocabulary in place of Pythia's: 304 rows fewer in both tables.
    assert_eq!(count("sm_ln_g-pythia70m_128"), 70_426_624 - 2 * 304 * 512);
}
