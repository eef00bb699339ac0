//! Logs as Parquet tables, read back and held against the logs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

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
    assert_eq!(said.lines().count(), 9, "{said}");
    let folder = place.path("tables");
    for name in ["slopes", "broken"] {
        let run = if name == "slopes" { "one/slopes" } else { "broken" };
        let run = RunData::load(&place.path(run)).unwrap();
        let steps = run.steps.iter().map(|r| {
            let (lr, norm, speed) = (r.lr, r.grad_norm, r.tokens_per_s);
            let loss = r.loss.unwrap();
            format!("{} {loss:?} {lr:?} {norm:?} {} {speed:?} null null false", r.step, r.tokens)
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
        let heads = run.attention.iter().flat_map(|r| {
            let layer = |(layer, heads): (usize, &Vec<f32>)| {
                let head = |(head, entropy): (usize, &f32)| format!("{} {layer} {head} {entropy:?}", r.step);
                heads.iter().enumerate().map(head).collect::<Vec<_>>()
            };
            r.head_entropy.iter().enumerate().flat_map(layer).collect::<Vec<_>>()
        });
        assert_eq!(
            told(&table(&folder, "attention"), name, &["step", "layer", "head", "entropy"]),
            heads.collect::<Vec<_>>()
        );
        let layers = run.attention.iter().flat_map(|r| {
            let of = |i: usize| format!("{} {i} {:?} {}", r.step, r.layer_entropy[i], r.nonfinite[i]);
            (0..2).map(of).collect::<Vec<_>>()
        });
        assert_eq!(
            told(&table(&folder, "attention_layers"), name, &["step", "layer", "entropy", "nonfinite"]),
            layers.collect::<Vec<_>>()
        );
        let slopes = run
            .slopes
            .iter()
            .flat_map(|r| (0..2).map(|i| format!("{} {i} {:?}", r.step, r.slopes[i])).collect::<Vec<_>>());
        assert_eq!(
            told(&table(&folder, "slopes"), name, &["step", "layer", "slope"]),
            slopes.collect::<Vec<_>>()
        );
        let layers = run.layers.iter().flat_map(|r| {
            let of = |i: usize| {
                let values =
                    [&r.grad_norm, &r.zeros, &r.dead, &r.residual_max, &r.residual_median].map(|v| v[i]);
                format!("{} {i} {}", r.step, values.map(|v| format!("{v:?}")).join(" "))
            };
            (0..2).map(of).collect::<Vec<_>>()
        });
        let columns = ["step", "layer", "grad_norm", "zeros", "dead", "residual_max", "residual_median"];
        assert_eq!(told(&table(&folder, "layers"), name, &columns), layers.collect::<Vec<_>>());
        let evals = run.evals.iter().map(|r| format!("{} {:?} {:?}", r.step, r.loss, r.ppl));
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
        assert_eq!(run.slopes.is_empty(), name == "broken");
        assert_eq!(run.steps.iter().all(|r| r.loss.unwrap().is_finite()), name == "slopes", "NaN is NaN");
    }

    // Runs in folders of one name are told apart by their paths; files are replaced.
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
