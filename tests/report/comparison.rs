//! Which runs are one configuration, what they are called, and what is compared with what.

use super::{assert_legible, folder, four_runs, gallery, published, study, svg_texts, synthetic, texts};
use normfree::data::{DataSeal, Dtype};
use normfree::fault::Kind;
use normfree::observe::quantities::EVAL;
use normfree::observe::record::Eval;
use normfree::report::comparison::Comparison;
use normfree::report::figures::{Options, figures};
use normfree::report::outcome::outcomes;
use normfree::report::paired::{Sample, paired, two_sided};
use normfree::report::run::{RunData, TrainedOn, distinct_names};
use normfree::report::stats::Reference;
use std::collections::BTreeMap;
use std::fs;

#[test]
fn runs_are_named_as_the_paper_names_them() {
    let name = |model: &str| {
        let dir =
            folder(&format!("[model]\nn_positions = 1024\n{model}\n[train]\nsequence_length = 128"), b"");
        let run = RunData::load(dir.path()).unwrap();
        assert_eq!(run.context, Some(128));
        run.name
    };
    for (norm, activation, expected) in [
        ("layer_norm", "gelu", "SM+LN+G"),
        ("none", "gelu_new", "SM+G"),
        ("none", "relu", "SM+R"),
        ("layer_norm", "none", "SM+LN"),
        ("none", "none", "SM"),
        ("layer_norm", "relu", "SM+LN+R"),
        ("dyt", "gelu", "SM+DyT+G"),
        ("bounded\"\nnorm_function = \"isru", "relu", "SM+Bounded(isru)+R"),
        ("none\"\nfinal_norm = \"rms_norm", "relu", "SM(final RMS)+R"),
        (
            "rms_norm\"\nffn_norm = \"none\"\nnorm_layers = \"0-1\"\nnorm_position = \"post",
            "gelu",
            "SM+RMS(FFN none, blocks 0-1, post)+G",
        ),
        ("none", "leaky_relu\"\nleaky_slope = 0.1 #\"", "SM+LeakyR(0.1)"),
        ("none", "learnable_lrelu\"\nslope_scope = \"per_layer", "SM+LearnableR(per layer)"),
        ("none", "gelu\"\nentropy_regularization = 1e-5 #\"", "EReg(SM+G)"),
        ("none", "relu\"\nentropy_regularization = 0.0\nffn_scaling = true #\"", "SM+R+ScFFN"),
        ("none", "none\"\nlearnable_temperature = true\nffn_scaling = true\nffn = \"fused", "SM(t)+ScFuFFN"),
    ] {
        assert_eq!(name(&format!("norm = \"{norm}\"\nactivation_function = \"{activation}\"")), expected);
    }
    let dir = folder("[data]\npath = \"x\"", b"");
    let run = RunData::load(dir.path()).unwrap();
    assert_eq!(run.name, dir.path().file_name().unwrap().to_str().unwrap());
    assert_eq!(run.context, None);

    let run = |name: &str, dir: &str| RunData { name: name.into(), dir: dir.into(), ..RunData::default() };
    let runs = [run("SM+R", "runs/a"), run("SM+R", "runs/b"), run("SM+G", "runs/a")];
    assert_eq!(distinct_names(&runs), ["SM+R (a)", "SM+R (b)", "SM+G"]);
    let runs = [run("SM+R", "x/a"), run("SM+R", "y/a"), run("a", "z/a"), run("a", "w/a")];
    assert_eq!(distinct_names(&runs), ["SM+R (x/a)", "SM+R (y/a)", "a (z/a)", "a (w/a)"]);
}

#[test]
fn the_first_run_that_names_a_reference_decides() {
    let run = |config: &str| RunData::load(folder(config, b"").path()).unwrap();
    let ceiling = run("[observe]\nentropy_reference = \"causal_ceiling\"");
    let context = run("[observe]\nentropy_reference = \"log_context\"");
    assert_eq!(RunData::reference_of(&[run(""), context.clone(), ceiling.clone()]), Reference::LogContext);
    assert_eq!(RunData::reference_of(&[ceiling, context]), Reference::CausalCeiling);
    assert_eq!(RunData::reference_of(&[run("[observe]\nentropy = true")]), Reference::ObservedMax);
}

#[test]
fn the_table_says_what_was_measured_against_what() {
    let mut runs = four_runs();
    runs.swap(0, 2);
    runs[0].parameters = Some(124_141_056);
    let (panels, _) = published();
    runs.push(synthetic("SM|x", &panels[2], 2600, 3.4, 1200));
    let table = |runs: &[RunData], reference| {
        outcomes(&Comparison::new(runs.to_vec(), None), reference).map(|outcomes| outcomes.table())
    };
    let made = table(&runs, Reference::ObservedMax).unwrap();
    let (markdown, plain) = (made.markdown(), made.plain());
    let rows: Vec<&str> = markdown.lines().collect();
    assert!(rows[0].contains("vs SM+LN+G"), "{markdown}");
    let counted = rows[..7].iter().map(|row| row.replace("\\|", "").matches('|').count());
    assert!(counted.clone().all(|count| count == 12), "{markdown}");
    let row = |name: &str| *rows.iter().find(|row| row.starts_with(&format!("| {name} |"))).unwrap();
    // Perplexities are e^(end + 0.05 + what remains of the exponential); SM+G compared with SM+LN+G is e^0.26 − 1.
    assert!(
        row("SM+G").contains("+29.7%") && row("SM+G").contains("| 1% | 18% | 23% | 58% | 3.87 |"),
        "{markdown}"
    );
    assert!(row("SM+G").contains("124,141,056"));
    assert!(row("SM+LN+G").contains("| – | 4% | 14% | 74% | 8% |"), "{markdown}");
    assert!(row("SM+LN+R").contains("−13.1%"), "{markdown}");
    assert!(row("SM\\|x").contains("| diverged | diverged | – | – | – | – | – | – |"), "{markdown}");
    assert!(markdown.contains("M: largest head entropy observed in these runs."));
    assert!(
        markdown.contains("\nSM\\|x: diverged at step 1,201; its loss and heads are not counted.\n"),
        "{markdown}"
    );
    let widths: Vec<usize> = plain.lines().take(6).map(|line| line.chars().count()).collect();
    assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{plain}");

    let ceiling = table(&runs, Reference::CausalCeiling).unwrap().markdown();
    assert!(ceiling.contains("| 3.88 |") && ceiling.contains("causal ceiling"));
    runs[1].context = None;
    assert_eq!(table(&runs, Reference::LogContext).unwrap_err().kind, Kind::Config);
}

/// In a study of several sizes each is compared with the baseline of its own size.
#[test]
fn sizes_are_compared_with_their_own_baseline() {
    let run = |name: &str, baseline: Option<&str>, ppl: f64| {
        let mut run = RunData {
            name: name.to_owned(),
            baseline: baseline.map(str::to_owned),
            configuration: Some(name.to_owned()),
            seed: Some(1),
            ..RunData::default()
        };
        run.log.push(&EVAL, 10, &Eval { step: 10, loss: ppl.ln(), ppl }.values());
        run
    };
    let large = Some("SM+LN+G, 18");
    let runs = vec![
        run("SM+LN+G, 12", None, 100.0),
        run("SM+R, 12", None, 110.0),
        run("SM+LN+G, 18", large, 50.0),
        run("SM+R, 18", large, 60.0),
    ];
    let comparison = Comparison::new(runs, Some("SM+LN+G, 12"));
    let outcomes = outcomes(&comparison, Reference::ObservedMax).unwrap();
    let changes: Vec<Option<f64>> =
        outcomes.rows.iter().map(|row| row.change.map(|change| (change * 100.0).round())).collect();
    assert_eq!(changes, [None, Some(10.0), None, Some(20.0)]);
    let markdown = outcomes.table().markdown();
    assert!(markdown.contains("Compared with SM+LN+G, 18: SM+R, 18."), "{markdown}");
}

/// If runs say what their data was, that decides, not its path.
#[test]
fn runs_are_grouped_by_their_data() {
    let run = |seed: u64, path: &str, data: Option<u64>| {
        let text = format!("[data]\npath = \"{path}\"\n[train]\nseed = {seed}\n");
        RunData {
            name: "SM+R".into(),
            seed: Some(seed),
            data: data.map(|samples| TrainedOn { samples, seal: None }),
            settings: text.parse().unwrap(),
            ..RunData::default()
        }
    };
    let groups = |runs: [RunData; 2]| Comparison::new(runs.to_vec(), None).groups.len();
    assert_eq!(groups([run(1, "data/a", Some(7)), run(2, "/mnt/a", Some(7))]), 1);
    assert_eq!(groups([run(1, "data/a", Some(7)), run(2, "data/a", Some(8))]), 2);
    assert_eq!(groups([run(1, "data/a", None), run(2, "/mnt/a", Some(7))]), 2);
    assert_eq!(groups([run(1, "data/a", None), run(2, "data/a", Some(7))]), 1);
}

/// A perplexity on other text says nothing about the model.
#[test]
fn runs_that_were_evaluated_on_other_text_are_not_compared() {
    let mut runs = four_runs();
    let seal = |valid: &str, tokenizer: &str| DataSeal {
        train: "a".into(),
        valid: valid.into(),
        dtype: Dtype::U16,
        end_of_text: None,
        tokenizer: Some(tokenizer.into()),
    };
    for (run, seal) in runs.iter_mut().zip([seal("b", "t"), seal("b", "t"), seal("c", "t"), seal("b", "u")]) {
        run.data = Some(TrainedOn { samples: 0, seal: Some(seal) });
    }
    let comparison = Comparison::new(runs, None);
    let outcomes = outcomes(&comparison, Reference::ObservedMax).unwrap();
    let compared: Vec<bool> = outcomes.rows.iter().map(|row| row.against.is_some()).collect();
    let changes: Vec<bool> = outcomes.rows.iter().map(|row| row.change.is_some()).collect();
    assert_eq!(compared, changes);
    assert_eq!(compared.iter().filter(|one| **one).count(), 1, "{:?}", outcomes.rows);
    let told = outcomes.table().markdown();
    let others: Vec<&str> = [2, 3].map(|index| comparison.names[index].as_str()).into();
    assert!(told.contains(&format!("not compared: {}.", others.join("; "))), "{told}");
}

#[test]
fn students_t_has_the_tabled_quantiles() {
    // The 97.5% and the 99.95% points of the distribution, from tables.
    for (freedom, t, p) in [
        (1, 12.7062, 0.05),
        (2, 4.30265, 0.05),
        (3, 3.18245, 0.05),
        (4, 2.77645, 0.05),
        (5, 2.57058, 0.05),
        (10, 2.22814, 0.05),
        (30, 2.04227, 0.05),
        (1, 636.619, 0.001),
        (4, 8.61030, 0.001),
        (9, 4.78091, 0.001),
    ] {
        assert!((two_sided(t, freedom) - p).abs() < 2e-6, "{freedom}: {}", two_sided(t, freedom));
        assert_eq!(two_sided(t, freedom), two_sided(-t, freedom));
        assert_eq!(two_sided(0.0, freedom), 1.0);
    }
    let of = |values: &[(u64, f64)]| values.iter().copied().collect::<BTreeMap<u64, f64>>();
    // Differences 1, 2, 3: mean 2, deviation 1, t = 2√3 with two degrees of freedom.
    let base = of(&[(1, 1.0), (2, 1.0), (3, 1.0), (4, 9.0)]);
    let test = paired(&of(&[(1, 2.0), (2, 3.0), (3, 4.0), (7, 0.0)]), &base).unwrap();
    assert_eq!(test.n, 3);
    assert!((test.t - 12f64.sqrt()).abs() < 1e-12 && (test.p - 0.0741799).abs() < 1e-6, "{test:?}");
    assert_eq!(paired(&of(&[(1, 2.0)]), &base), Err(1));
    assert_eq!(paired(&of(&[]), &base), Err(0));
    let same = paired(&base, &base).unwrap();
    assert_eq!((same.t, same.p), (0.0, 1.0));
    assert_eq!(Sample::of(&[]), None);
    assert_eq!(Sample::of(&[1.0, 3.0]).unwrap().deviation, Some(2f64.sqrt()));
}

#[test]
fn the_runs_of_a_study_are_grouped_by_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let size = study::Size { layers: 6, heads: 4, steps: 300, every: 20 };
    let written = study::write(folder.path(), "a study", &study::CONFIGURATIONS, &[1, 2, 3], size);
    fs::remove_dir_all(folder.path().join("sm_r-seed3")).unwrap();
    let comparison = Comparison::load(&[folder.path()]).unwrap();
    assert_eq!((comparison.runs.len(), comparison.groups.len()), (written.runs.len() - 1, 6));
    assert_eq!(comparison.groups[comparison.baseline].name, "SM+LN+G");
    assert_eq!(comparison.names[0], "SM+LN+G, seed 1");
    assert_eq!(comparison.missing, ["SM+R, seed 3: not started"]);
    assert_eq!(comparison.find("SM+G").unwrap(), comparison.find("sm_g-seed1").unwrap());
    assert_eq!(comparison.find("nothing").unwrap_err().kind, Kind::Usage);

    let table = outcomes(&comparison, Reference::ObservedMax).unwrap().table();
    let markdown = table.markdown();
    let row = |name: &str| markdown.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
    assert!(row("SM+G").contains("| 3 |") && row("SM+G").contains("n = 3, t = "), "{markdown}");
    assert!(row("SM+R").contains("n = 2, t = ") && row("SM+G").contains(" ± "), "{markdown}");
    assert!(row("SM").contains("| 3, 3 diverged |") && row("SM").contains("0 shared seeds"), "{markdown}");
    assert!(markdown.contains("Left out: SM+R, seed 3: not started."), "{markdown}");
    assert!(row("SM").contains("| diverged | diverged | – |"), "{markdown}");
    assert!(markdown.contains("SM: 3 of 3 diverged, first at step 61; their losses"), "{markdown}");

    let options = Options { difference: Some(("SM+R".into(), "SM+G".into())), ..Options::default() };
    let figures = figures(&comparison, &options).unwrap();
    let stems: Vec<&str> = figures.iter().map(|figure| figure.stem).collect();
    let expected = [
        "heatmap",
        "heatmap_difference",
        "quarters",
        "loss",
        "layer_entropy",
        "slopes",
        "activation_zeros",
        "dead_units",
        "residual_max",
        "residual_median",
        "layer_grad_norm",
        "entropy_thresholds",
        "ffn_alpha",
        "ffn_beta",
        "slope_stability",
    ];
    assert_eq!(stems, expected);
    for figure in &figures {
        assert_legible(&figure.picture);
        svg_texts(&figure.picture.svg());
        fs::write(gallery().join(format!("study_{}.png", figure.stem)), figure.picture.png().unwrap())
            .unwrap();
    }
    // The study's slopes: ReLU's 0, 0.1, and 1 without activation, whose runs broke at a fifth of 300 steps.
    let stability = &figures.last().unwrap().picture;
    let written: Vec<&str> = texts(stability).iter().map(|text| text.text.as_str()).collect();
    for word in ["0", "0.1", "1", "ReLU", "no activation", "without normalization"] {
        assert!(written.contains(&word), "{word} is missing among {written:?}");
    }
    assert!(comparison.runs.iter().filter_map(RunData::broke_at).all(|step| step == 61));
}

#[test]
fn runs_of_one_configuration_and_other_seeds_are_one_group() {
    let run = |seed: i64, rate: f64| {
        let settings = format!("[train]\nseed = {seed}\nlearning_rate = {rate}");
        let settings: toml::Table = settings.parse().unwrap();
        let dir = format!("runs/{seed}_{rate}").into();
        RunData { dir, name: "SM+R".into(), seed: Some(seed as u64), settings, ..RunData::default() }
    };
    let groups = |runs: Vec<RunData>| -> Vec<Vec<usize>> {
        Comparison::new(runs, None).groups.into_iter().map(|group| group.runs).collect()
    };
    assert_eq!(groups(vec![run(2, 1.0), run(1, 1.0)]), [[1, 0]]);
    // Another learning rate is another configuration; the same seed twice is not a second draw.
    assert_eq!(groups(vec![run(1, 1.0), run(2, 2.0)]), [[0], [1]]);
    assert_eq!(groups(vec![run(1, 1.0), run(1, 1.0)]), [[0], [1]]);
    let names = Comparison::new(vec![run(1, 1.0), run(2, 2.0)], None).names;
    assert_eq!(names, ["SM+R (1_1)", "SM+R (2_2)"]);
}
