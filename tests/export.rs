//! Logs as Parquet tables, read back and compared with the logs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use normfree::observe::quantities::*;
use normfree::report::run::RunData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::cli::{Place, sets};

type Row = BTreeMap<String, Field>;

fn table(folder: &Path, stem: &str) -> Vec<Row> {
    let file = File::open(folder.join(stem).with_extension("parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    let row = |row: parquet::record::Row| {
        row.get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect()
    };
    rows.map(|of| row(of.unwrap())).collect()
}

/// The rows of one run, as text: floats with all their digits.
fn told(rows: &[Row], run: &str, columns: &[&str]) -> Vec<String> {
    let of = rows.iter().filter(|row| row["run"] == Field::Str(run.to_owned()));
    let field = |row: &Row, name: &str| match &row[name] {
        Field::Float(value) => format!("{value:?}"),
        Field::Double(value) => format!("{value:?}"),
        Field::Str(text) => text.clone(),
        Field::Null => "null".to_owned(),
        other => other.to_string(),
    };
    of.map(|row| columns.iter().map(|name| field(row, name)).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn logs_become_tables() {
    let place = Place::with_data();
    let slopes = sets(&["model.activation_function=learnable_lrelu", "observe.slopes_every=5"]);
    place.succeeds(&[&["train", "tiny.toml", "--run", "one/slopes"], &slopes[..]].concat());
    let broken = sets(&["train.learning_rate=1e15", "train.max_grad_norm=0", "train.on_nonfinite=record"]);
    place.succeeds(&[&["train", "tiny.toml", "--run", "broken"], &broken[..]].concat());
    let said = place.succeeds(&["export", "one/slopes", "broken", "--parquet", "tables"]);
    assert_eq!(said.lines().count(), 19, "{said}");
    let folder = place.path("tables");
    for name in ["slopes", "broken"] {
        let run = if name == "slopes" { "one/slopes" } else { "broken" };
        let run = RunData::load(&place.path(run)).unwrap();
        let log = &run.log;
        let steps = (0..log.numbers(&LOSS).len()).map(|i| {
            let [loss, lr, norm, speed] =
                [&LOSS, &LEARNING_RATE, &GRAD_NORM, &TOKENS_PER_S].map(|of| log.numbers(of)[i].1);
            let (step, tokens) = log.numbers(&TOKENS)[i];
            format!("{step} {loss:?} {lr:?} {norm:?} {tokens} {speed:?} null null false")
        });
        let columns = [
            "step",
            "loss",
            "lr",
            "grad_norm",
            "tokens",
            "tokens_per_s",
            "entropy_penalty",
            "loss_scale",
            "overflow",
        ];
        assert_eq!(told(&table(&folder, "steps"), name, &columns), steps.collect::<Vec<_>>());
        let heads = log.heads(&HEAD_ENTROPY).iter().flat_map(|(step, grid)| {
            let layer = |(layer, heads): (usize, &Vec<f32>)| {
                let head = |(head, entropy): (usize, &f32)| format!("{step} {layer} {head} {entropy:?}");
                heads.iter().enumerate().map(head).collect::<Vec<_>>()
            };
            grid.iter().enumerate().flat_map(layer).collect::<Vec<_>>()
        });
        assert_eq!(
            told(&table(&folder, "attention"), name, &["step", "layer", "head", "entropy"]),
            heads.collect::<Vec<_>>()
        );
        let broken = log.counts(&NONFINITE_ATTENTION).iter();
        let layers = log.layers(&LAYER_ENTROPY).iter().zip(broken).flat_map(|((step, entropy), broken)| {
            let of = |i: usize| format!("{step} {i} {:?} {}", entropy[i], broken.1[i]);
            (0..2).map(of).collect::<Vec<_>>()
        });
        assert_eq!(
            told(&table(&folder, "attention_layers"), name, &["step", "layer", "entropy", "nonfinite"]),
            layers.collect::<Vec<_>>()
        );
        let slopes = log.layers(&SLOPES).iter();
        let slopes = slopes.flat_map(|(step, of)| (0..2).map(move |i| format!("{step} {i} {:?}", of[i])));
        assert_eq!(
            told(&table(&folder, "slopes"), name, &["step", "layer", "slope"]),
            slopes.collect::<Vec<_>>()
        );
        let rows =
            [&LAYER_GRAD_NORM, &ZEROS, &DEAD, &RESIDUAL_MAX, &RESIDUAL_MEDIAN].map(|of| log.layers(of));
        let layers = (0..rows[0].len()).flat_map(|at| {
            let of = move |i: usize| {
                let values = rows.map(|row| format!("{:?}", row[at].1[i]));
                format!("{} {i} {}", rows[0][at].0, values.join(" "))
            };
            (0..2).map(of)
        });
        let columns = ["step", "layer", "grad_norm", "zeros", "dead", "residual_max", "residual_median"];
        assert_eq!(told(&table(&folder, "layers"), name, &columns), layers.collect::<Vec<_>>());
        let evals = log.numbers(&EVAL_LOSS).iter().zip(log.numbers(&EVAL_PPL));
        let evals = evals.map(|((step, loss), (_, ppl))| format!("{step} {loss:?} {ppl:?}"));
        assert_eq!(told(&table(&folder, "evals"), name, &["step", "loss", "ppl"]), evals.collect::<Vec<_>>());
        let found = run.nonfinite.iter().map(|r| {
            let (at, value) = (r.index, r.value);
            format!(
                "{} {} {} {} {} {} {at} {value:?}",
                r.step, r.micro_batch, r.phase, r.scope, r.op, r.tensor
            )
        });
        let columns = ["step", "micro_batch", "phase", "scope", "op", "tensor", "index", "value"];
        assert_eq!(told(&table(&folder, "nonfinite"), name, &columns), found.collect::<Vec<_>>());
        assert_eq!(run.nonfinite.is_empty(), name == "slopes");
        assert_eq!(log.layers(&SLOPES).is_empty(), name == "broken");
        assert_eq!(run.losses().all(|(_, loss)| loss.is_finite()), name == "slopes", "NaN is NaN");
    }

    // Runs in folders of the same name are told apart by their paths; files are replaced.
    fs::create_dir(place.path("two")).unwrap();
    fs::rename(place.path("broken"), place.path("two/slopes")).unwrap();
    place.succeeds(&["export", "one/slopes", "two/slopes", "--parquet", "tables"]);
    let runs = |run| told(&table(&folder, "evals"), run, &["step"]);
    assert_eq!([runs("one/slopes"), runs("two/slopes"), runs("slopes")].map(|rows| rows.len()), [2, 2, 0]);

    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published_head_entropies.toml");
    let published = published.to_str().unwrap();
    place.fails(&["export", published, "--parquet", "no"], 2, &["published heatmap", "no log"]);
    assert!(!place.path("no").exists());
    place.fails(&["export", "nowhere", "--parquet", "no"], 6, &["not a run folder"]);
}
