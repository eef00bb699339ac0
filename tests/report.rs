//! Reading run folders, statistics of entropies, and the pictures, tables and pages made from them.

#[cfg(feature = "outside-tools")]
pub mod browser;
mod comparison;
mod curves;
#[cfg(feature = "outside-tools")]
mod diverged;
mod folders;
mod golden;
#[cfg(feature = "outside-tools")]
mod heads;
mod heatmaps;
#[cfg(feature = "outside-tools")]
mod live;
mod log;
mod names;
#[cfg(feature = "outside-tools")]
mod page;
mod parts;
mod print;
mod study;
mod summary;

use normfree::draw::colormap::{Colormap, Rgb};
use normfree::draw::picture::{Mark, Picture};
use normfree::fault::Kind;
use normfree::observe::quantities::{
    ATTENTION, EVAL, GRAD_NORM, HEAD_ENTROPY, LAYER_ENTROPY, LEARNING_RATE, LOSS, NONFINITE_ATTENTION, STEP,
    TOKENS, TOKENS_PER_S,
};
use normfree::observe::record::{Eval, Measured, Values};
use normfree::report::comparison::Comparison;
use normfree::report::figures::{Options, entropy_panels};
use normfree::report::heatmap::{Panel, Scale, heatmap};
use normfree::report::run::RunData;
use normfree::report::stats::Reference;
use normfree::report::write_comparison;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const NAMES: [(&str, &str); 4] =
    [("sm_ln_g", "SM+LN+G"), ("sm_ln_r", "SM+LN+R"), ("sm_g", "SM+G"), ("sm_r", "SM+R")];

/// The four heatmaps of the paper's first figure and the bins of its second.
fn published() -> (Vec<Panel>, Vec<[i64; 4]>) {
    let text = include_str!("data/published_head_entropies.toml");
    let mut table: toml::Table = text.parse().unwrap();
    let shares: BTreeMap<String, [i64; 4]> = table.remove("published_bins").unwrap().try_into().unwrap();
    table.retain(|key, _| NAMES.iter().any(|(name, _)| *name == key));
    let mut grids: BTreeMap<String, Vec<Vec<f64>>> = table.try_into().unwrap();
    let panel = |(key, title): (&str, &str)| {
        let values = grids.remove(key).unwrap();
        Panel { title: title.into(), notes: Vec::new(), values, reference: None }
    };
    (NAMES.map(panel).into(), NAMES.map(|(key, _)| shares[key]).into())
}

/// A folder for pictures that a person may want to see after the tests.
fn gallery() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn panel(title: &str, values: Vec<Vec<f64>>) -> Panel {
    Panel { title: title.into(), notes: Vec::new(), values, reference: None }
}

fn grid(layers: usize, heads: usize) -> Vec<Vec<f64>> {
    let value = |layer: usize, head: usize| 3.87 * ((layer * 7 + head * 13) % 50) as f64 / 49.0;
    (0..layers).map(|layer| (0..heads).map(|head| value(layer, head)).collect()).collect()
}

fn texts(picture: &Picture) -> Vec<&normfree::draw::picture::Text> {
    picture
        .marks
        .iter()
        .filter_map(|mark| if let Mark::Text(text) = mark { Some(text) } else { None })
        .collect()
}

/// The rectangles of cells; the 256 stripes of a colour bar are 18 wide.
fn cells(picture: &Picture) -> Vec<(f64, f64, f64, f64, Rgb)> {
    let cell = |mark: &Mark| match *mark {
        Mark::Rect { x, y, width, height, fill } if width > 20.0 => Some((x, y, width, height, fill)),
        _ => None,
    };
    picture.marks.iter().filter_map(cell).collect()
}

/// No text leaves the page, even in a viewer whose font is 15% wider, and no two texts of a picture overlap.
fn assert_legible(picture: &Picture) {
    let boxes: Vec<_> = texts(picture).iter().map(|text| (text.text.clone(), text.bounds())).collect();
    for (text, (left, top, right, bottom)) in &boxes {
        let (grow_x, grow_y) = if right - left > bottom - top {
            ((right - left) * 0.075, 0.0)
        } else {
            (0.0, (bottom - top) * 0.075)
        };
        assert!(
            left - grow_x >= 0.0 && top - grow_y >= 0.0,
            "`{text}` is cut at the left or top: {left}, {top}"
        );
        assert!(
            right + grow_x <= picture.width && bottom + grow_y <= picture.height,
            "`{text}` is cut at the right or bottom: {right}, {bottom} of {}, {}",
            picture.width,
            picture.height
        );
    }
    for (index, (text, a)) in boxes.iter().enumerate() {
        for (other, b) in &boxes[index + 1..] {
            let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
            assert!(apart, "`{text}` and `{other}` overlap: {a:?}, {b:?}");
        }
    }
}

/// Whether every tag is closed in order and every `&` begins an entity; returns the texts of `<text>`.
fn svg_texts(svg: &str) -> Vec<String> {
    let (mut open, mut found, mut rest) = (Vec::new(), Vec::new(), svg);
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        assert!(!before.contains('>'), "a stray > in {before:?}");
        for entity in before.split('&').skip(1) {
            assert!(
                ["amp;", "lt;", "gt;", "quot;"].iter().any(|name| entity.starts_with(name)),
                "{entity:?}"
            );
        }
        if open.last() == Some(&"text") {
            found.push(before.to_string());
        }
        let (tag, after) = after[1..].split_once('>').expect("a tag without its end");
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "a broken tag {tag:?}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
        rest = after;
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "left open: {open:?}");
    found
}

fn folder(config: &str, metrics: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("metrics.jsonl"), metrics).unwrap();
    if !config.is_empty() {
        fs::write(dir.path().join("config.toml"), config).unwrap();
    }
    dir
}

/// A run of `steps` steps that looks real: the loss falls, entropies settle, and from step `breaks` on nothing is finite.
fn synthetic(name: &str, panel: &Panel, steps: u64, end: f64, breaks: u64) -> RunData {
    let mut run = RunData {
        name: name.into(),
        dir: format!("runs/{name}").into(),
        context: Some(128),
        ..RunData::default()
    };
    for step in 0..steps {
        let t = step as f64 / steps as f64;
        let lost = step >= breaks;
        let loss = if lost { f64::NAN } else { end + (7.6 - end) * (-9.0 * t).exp() };
        let noise = 0.12 * (step as f64 * 12.9898).sin();
        let values = Measured::from([
            (&LOSS, Values::Step(loss + noise)),
            (&LEARNING_RATE, Values::Step(1e-3)),
            (&GRAD_NORM, Values::Step(1.0)),
            (&TOKENS, Values::Step(((step + 1) * 2048) as f64)),
            (&TOKENS_PER_S, Values::Step(6e3)),
        ]);
        run.log.push(&STEP, step + 1, &values);
        if step % 50 == 49 {
            let entropy = |value: f64| {
                if lost { f32::NAN } else { (3.87 + (value - 3.87) * (t * 3.0).min(1.0)) as f32 }
            };
            let grid: Vec<Vec<f32>> =
                panel.values.iter().map(|row| row.iter().map(|&value| entropy(value)).collect()).collect();
            let layers = grid.iter().map(|row| row.iter().sum::<f32>() / row.len() as f32).collect();
            let nonfinite = vec![u64::from(lost) * 128; grid.len()];
            let values = Measured::from([
                (&HEAD_ENTROPY, Values::Heads(grid)),
                (&LAYER_ENTROPY, Values::Layers(layers)),
                (&NONFINITE_ATTENTION, Values::Counts(nonfinite)),
            ]);
            run.log.push(&ATTENTION, step + 1, &values);
        }
        if step % 250 == 249 {
            run.log.push(&EVAL, step + 1, &Eval::new(step + 1, loss + 0.05).values());
        }
    }
    run
}

fn four_runs() -> Vec<RunData> {
    let (panels, _) = published();
    let ends = [3.27, 3.13, 3.53, 3.32];
    panels.iter().zip(ends).map(|(panel, end)| synthetic(&panel.title, panel, 2600, end, 9999)).collect()
}

#[test]
fn a_comparison_is_written_completely() {
    let runs = Comparison::new(four_runs(), None);
    let options = Options::default();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new/folder");
    let written = write_comparison(&runs, &out, &options).unwrap();
    let mut names: Vec<_> = written.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    names.sort_unstable();
    let expected = [
        "heatmap.pdf",
        "heatmap.png",
        "heatmap.svg",
        "heatmap_over_training.gif",
        "heatmap_over_training.png",
        "layer_entropy.pdf",
        "layer_entropy.png",
        "layer_entropy.svg",
        "loss.pdf",
        "loss.png",
        "loss.svg",
        "quarters.pdf",
        "quarters.png",
        "quarters.svg",
        "table.csv",
        "table.md",
        "table.tex",
    ];
    assert_eq!(names, expected);
    let mut present: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    present.sort_unstable();
    assert_eq!(present, expected, "something else was left in the folder");
    for path in &written {
        let bytes = fs::read(path).unwrap();
        match path.extension().unwrap().to_str().unwrap() {
            "png" => assert!(image::load_from_memory(&bytes).unwrap().width() > 800),
            "pdf" => assert!(bytes.starts_with(b"%PDF-") && bytes.ends_with(b"%%EOF")),
            "gif" => assert!(image::guess_format(&bytes).unwrap() == image::ImageFormat::Gif),
            "svg" => {
                assert!(svg_texts(std::str::from_utf8(&bytes).unwrap()).iter().any(|t| t.contains("SM+R")))
            }
            _ => assert!(String::from_utf8(bytes).unwrap().contains("SM+LN+R")),
        }
        fs::copy(path, gallery().join(path.file_name().unwrap())).unwrap();
    }
    golden::hold(&written);
    // Written again over itself, without the animation; into a path that is a file: a fault.
    let mut still = four_runs();
    still.iter_mut().for_each(|run| run.log.cut(&ATTENTION, 51));
    let still = Comparison::new(still, None);
    write_comparison(&still, &out, &options).unwrap();
    let fault = write_comparison(&still, &out.join("table.md"), &options).unwrap_err();
    assert_eq!(fault.kind, Kind::Io);
    assert_eq!(write_comparison(&Comparison::default(), &out, &options).unwrap_err().kind, Kind::Usage);
    // The size of a small demonstration: 6 layers, 4 heads.
    let (panels, _) = published();
    let small = |panel: &Panel| {
        let values = panel.values.chunks(2).map(|rows| rows[0][..4].to_vec()).collect();
        synthetic(&panel.title, &Panel { values, ..panel.clone() }, 400, 3.3, 9999)
    };
    let small: Vec<RunData> = panels.iter().map(small).collect();
    let picture = heatmap(
        &entropy_panels(&Comparison::new(small, None), Reference::ObservedMax).unwrap(),
        "",
        Scale::Shared,
        Colormap::Viridis,
    );
    let picture = picture.unwrap();
    assert_legible(&picture);
    fs::write(gallery().join("small.png"), picture.png().unwrap()).unwrap();
    // A run that has only begun has a table and no picture.
    let fresh = Comparison::new(vec![RunData { name: "SM+R".into(), ..RunData::default() }], None);
    let written = write_comparison(&fresh, &dir.path().join("fresh"), &options).unwrap();
    assert_eq!(
        written,
        ["table.md", "table.csv", "table.tex"].map(|name| dir.path().join("fresh").join(name))
    );
}
