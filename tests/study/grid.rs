//! What a study file says, multiplied out, and what it must not say.

use super::{FOLDERS, STUDY};
use normfree::config::{Activation, Norm};
use normfree::fault::Kind;
use normfree::report::study;
use normfree::study::{Grid, Shard};
use proptest::prelude::*;

/// The activation with this word.
fn activation(word: &str) -> Activation {
    Activation::find(word).unwrap()
}

fn grid(text: &str, overrides: &[&str]) -> Grid {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    Grid::parse(text, "tiny.toml", &overrides).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Two sizes, inserted before the configurations.
fn sized() -> String {
    let sizes = "\
[[size]]
name = \"s\"
model.n_layer = 2

[[size]]
name = \"l\"
label = \"3 layers\"
model.n_layer = 3
train.batch_size = 1

[[configuration]]
name = \"ln_g\"";
    STUDY.replacen("[[configuration]]\nname = \"ln_g\"", sizes, 1).replace("n_layer = 1\n", "")
}

fn folders(grid: &Grid) -> Vec<&str> {
    grid.runs.iter().map(|run| run.folder.to_str().unwrap()).collect()
}

#[test]
fn configurations_times_seeds() {
    let grid = grid(STUDY, &["train.steps=7"]);
    assert_eq!(folders(&grid), FOLDERS);
    assert_eq!((grid.name.as_str(), grid.baseline.as_str()), ("tiny", "ln_g"));
    assert_eq!(grid.out.to_str(), Some("runs/study/tiny"));
    let seeds: Vec<u64> = grid.runs.iter().map(|run| run.seed).collect();
    assert_eq!(seeds, [3, 1, 2, 1, 2]);
    for run in &grid.runs {
        assert_eq!(
            (run.config.train.seed, run.config.train.steps, run.config.model.n_layer),
            (run.seed, 7, 1)
        );
    }
    let [ln_g, r, free] = [0, 1, 3].map(|i| &grid.runs[i]);
    assert_eq!([&*ln_g.label, &r.label, &free.label], ["SM+LN+G", "SM+R", "learned, free"]);
    assert_eq!((ln_g.config.model.norm, r.config.model.norm), (Norm::LAYER_NORM, Norm::NONE));
    assert_eq!(free.config.model.activation_function, activation("learnable_lrelu"));
    assert!(r.config.train.decay_slopes && !free.config.train.decay_slopes);
}

#[test]
fn sizes_multiply() {
    let text = sized();
    let grid = grid(&text, &[]);
    let small = FOLDERS.map(|folder| folder.replace("-seed", "-s-seed"));
    let large = FOLDERS.map(|folder| folder.replace("-seed", "-l-seed"));
    assert_eq!(folders(&grid), [small, large].concat());
    assert_eq!(grid.baseline, "ln_g-s");
    let (first, last) = (&grid.runs[0], &grid.runs[9]);
    assert_eq!((first.config.model.n_layer, first.config.train.batch_size), (2, 2));
    assert_eq!((last.config.model.n_layer, last.config.train.batch_size), (3, 1));
    assert_eq!((&*first.label, &*last.label), ("SM+LN+G, s", "learned, free, 3 layers"));
    assert_eq!((&*first.baseline, &*last.baseline), ("ln_g-s", "ln_g-l"));
    // A configuration's own value overrides that of a size, and `--set` overrides both.
    let own = text.replace("name = \"r\"", "name = \"r\"\nmodel.n_layer = 5");
    assert!(self::grid(&own, &[]).runs.iter().all(|run| {
        run.config.model.n_layer
            == match (&*run.configuration, run.configuration.ends_with("-s")) {
                ("r-s" | "r-l", _) => 5,
                (_, true) => 2,
                (_, false) => 3,
            }
    }));
    assert!(self::grid(&own, &["model.n_layer=4"]).runs.iter().all(|run| run.config.model.n_layer == 4));
}

#[test]
fn recorded_values_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut grid = grid(&sized(), &[]);
    grid.out = folder.path().to_owned();
    grid.write_record().unwrap();
    let read = study::Study::load(folder.path()).unwrap().unwrap();
    assert_eq!(read, grid.record());
    assert_eq!((read.name.as_str(), read.runs.len()), ("tiny", 10));
    assert!(read.runs.iter().any(|run| run.configuration == read.baseline));
    let other: Vec<Option<&str>> = read.runs.iter().map(|run| run.baseline.as_deref()).collect();
    assert_eq!(other, [[None; 5], [Some("ln_g-l"); 5]].concat());
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn shards_are_disjoint_complete_and_even(runs in 0_usize..200, count in 1_usize..40) {
        let shards: Vec<Shard> = (1..=count).map(|index| format!("{index}/{count}").parse().unwrap()).collect();
        for place in 0..runs {
            prop_assert_eq!(shards.iter().filter(|shard| shard.holds(place)).count(), 1);
        }
        let sizes: Vec<usize> =
            shards.iter().map(|shard| (0..runs).filter(|&place| shard.holds(place)).count()).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
    }
}

#[test]
fn a_shard_is_one_of_n() {
    for text in ["0/4", "5/4", "1/0", "1", "a/b", "1/2/3", "-1/2"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
    assert!((0..9).all(|place| Shard::WHOLE.holds(place)));
}

/// The message for [`STUDY`] with `from` replaced by `to`.
#[track_caller]
fn refused(from: &str, to: &str, parts: &[&str]) {
    assert_eq!(STUDY.matches(from).count(), 1, "{from:?} stands once in the text");
    let fault = Grid::parse(&STUDY.replace(from, to), "tiny.toml", &[]).expect_err(to);
    assert_eq!(fault.kind, Kind::Config);
    let message = fault.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn an_impossible_study_is_refused() {
    refused("[study]\n", "[study\n", &["not TOML", "tiny.toml line 1"]);
    refused("[study]\n", "[studies]\n", &["unknown table", "line 1", "did you mean study?"]);
    refused("name = \"tiny\"\n", "", &["the key name is missing", "line 1", "[study] needs name"]);
    refused("name = \"tiny\"", "name = \"a/b\"", &["cannot be part of a folder", "line 2, key name", "a/b"]);
    refused("name = \"tiny\"", "name = 5", &["line 2, key name", "5 (an integer)", "a non-empty string"]);
    refused("baseline = \"ln_g\"\n", "", &["the key baseline is missing"]);
    refused(
        "baseline = \"ln_g\"",
        "baseline = \"ln\"",
        &["line 3, key baseline", "\"ln\"", "one of ln_g, r, free"],
    );
    refused("seeds = [1, 2]", "seed = [1, 2]", &["unknown key", "line 4, key seed", "did you mean seeds?"]);
    refused("seeds = [1, 2]", "seeds = []", &["empty list", "line 4", "at least one"]);
    refused("seeds = [1, 2]", "seeds = 1", &["line 4, key seeds", "1 (an integer)", "a list of integers"]);
    refused("seeds = [1, 2]", "seeds = [1, -2]", &["line 4, key seeds", "-2 (an integer)"]);
    refused("seeds = [1, 2]", "seeds = [1, 2, 1]", &["twice", "line 4, key seeds", "found 1"]);
    refused("n_layer = 1", "n_layers = 1", &["line 7, key model.n_layers", "did you mean model.n_layer?"]);
    refused("steps = 12", "steps = 12\nseed = 4", &["line 20, key train.seed", "seeds = [1, 2, 3]"]);
}

#[test]
fn an_impossible_configuration_is_refused() {
    refused("name = \"r\"", "names = \"r\"", &["unknown key", "line 33, key names", "did you mean name?"]);
    refused("name = \"r\"", "label = \"r\"", &["the key name is missing", "[[configuration]] needs name"]);
    refused(
        "name = \"r\"",
        "name = \"r\"\nnorm = \"none\"",
        &["unknown key", "line 34, key norm", "did you mean model.norm?"],
    );
    refused(
        "name = \"r\"",
        "name = \"r\"\nmodel.nrom = \"none\"",
        &["unknown key", "line 34, key model.nrom", "did you mean model.norm?"],
    );
    refused(
        "model.norm = \"layer_norm\"",
        "model.norm = \"layernorm\"",
        &["unknown word", "line 29, key model.norm", "did you mean \"layer_norm\"?"],
    );
    refused(
        "name = \"r\"",
        "name = \"r\"\nmodel.n_head = 3",
        &["n_embd is not divisible", "line 34, key model.n_head"],
    );
    refused("name = \"free\"\n", "name = \"r\"\n", &["two runs would have the same folder", "r-seed1"]);
    refused("name = \"free\"\n", "name = \"R\"\n", &["two runs would have the same folder", "R-seed1"]);
    refused("label = \"learned, free\"", "label = \"SM+R\"", &["the same label", "`SM+R` for r and free"]);
    let none = STUDY.split("[[configuration]]").next().unwrap();
    let fault = Grid::parse(none, "tiny.toml", &[]).unwrap_err().to_string();
    assert!(fault.contains("there is no [[configuration]]"), "{fault}");
    let table = STUDY.replacen("[[configuration]]", "[configuration]", 1);
    let table = table.split("[[configuration]]").next().unwrap();
    let fault = Grid::parse(table, "tiny.toml", &[]).unwrap_err().to_string();
    assert!(fault.contains("under [[configuration]]") && fault.contains("line 26"), "{fault}");
    let seeded = sized().replace("name = \"s\"", "name = \"s\"\nseeds = [1]");
    let fault = Grid::parse(&seeded, "tiny.toml", &[]).unwrap_err().to_string();
    assert!(fault.contains("unknown key") && fault.contains("[[size]] takes name, label"), "{fault}");
}
