//! Reading run folders, statistics of entropies, and the pictures, tables and pages made from them.

#[cfg(feature = "outside-tools")]
pub mod browser;
#[cfg(feature = "outside-tools")]
mod diverged;
mod folders;
mod golden;
#[cfg(feature = "outside-tools")]
mod heads;
#[cfg(feature = "outside-tools")]
mod live;
mod log;
mod names;
#[cfg(feature = "outside-tools")]
mod page;
mod parts;
mod study;
mod summary;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use normfree::draw::axes::{nice_ticks, tick_text};
use normfree::draw::colormap::{BLACK, Colormap, Rgb, WHITE, diverging};
use normfree::draw::picture::{Mark, Picture};
use normfree::draw::raster::DENSITY;
use normfree::fault::Kind;
use normfree::observe::entropy::{bins, causal_ceiling, observed_max};
use normfree::observe::quantities::*;
use normfree::observe::record::{Eval, Measured, Values};
use normfree::report::comparison::Comparison;
use normfree::report::curves::{loss_curves, smooth};
use normfree::report::figures::{Options, entropy_panels, figures};
use normfree::report::heatmap::{Panel, Scale, difference, heatmap};
use normfree::report::layers::layer_curves;
use normfree::report::liveness::{Alive, Layer, liveness};
use normfree::report::outcome::outcomes;
use normfree::report::paired::{Sample, paired, two_sided};
use normfree::report::quarters::quarters;
use normfree::report::run::{RunData, TrainedOn, distinct_names};
use normfree::report::stats::Reference;
use normfree::report::write_comparison;

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

#[test]
fn the_causal_ceiling_is_the_mean_of_ln_i() {
    for (context, nats) in [(128, 3.8782), (256, 4.5596), (512, 5.2462), (1024, 5.9358), (1, 0.0)] {
        assert!((causal_ceiling(context) - nats).abs() < 5e-5, "{context}: {}", causal_ceiling(context));
    }
    assert_eq!(Reference::ObservedMax.nats(3.5, None).unwrap(), 3.5);
    assert_eq!(Reference::CausalCeiling.nats(3.5, Some(128)).unwrap(), causal_ceiling(128));
    assert!((Reference::LogContext.nats(3.5, Some(128)).unwrap() - 4.852).abs() < 1e-3);
    assert_eq!(Reference::LogContext.nats(3.5, None).unwrap_err().kind, Kind::Config);
}

#[test]
fn published_heatmaps_fall_into_the_published_bins() {
    let (panels, printed) = published();
    let m = observed_max(panels.iter().map(|panel| panel.values.as_slice()));
    assert_eq!(m, 3.87);
    let expected = [[4, 14, 74, 8], [6, 17, 74, 3], [1, 18, 23, 58], [3, 20, 55, 22]];
    for ((panel, expected), printed) in panels.iter().zip(expected).zip(printed) {
        let shares = bins(&panel.values, m);
        assert_eq!(shares.map(|share| (share * 100.0).round() as i64), expected, "{}", panel.title);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // The paper had more decimals than its cells show.
        assert!(expected.iter().zip(printed).all(|(a, b)| (a - b).abs() <= 2), "{}", panel.title);
    }
    // With ln T the overload of SM+G nearly vanishes: the reference must be named.
    assert!((bins(&panels[2].values, 128f64.ln())[3] - 0.097).abs() < 5e-4);
}

#[test]
fn bins_hold_their_edges() {
    assert_eq!(bins(&[vec![0.0, 1.0, 2.0, 3.0]], 4.0), [0.25; 4]);
    assert_eq!(bins(&[vec![0.999, 1.999, 2.999, 4.0]], 4.0), [0.25; 4]);
    assert_eq!(bins(&[vec![4.001, -1e-9]], 4.0), [0.5, 0.0, 0.0, 0.5]);
    assert_eq!(bins(&[vec![f64::NAN, 4.0], vec![f64::INFINITY, 0.0]], 4.0), [0.25, 0.0, 0.0, 0.25]);
    assert_eq!(bins(&[vec![0.0, 0.0]], 0.0), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(bins(&[], 4.0), [0.0; 4]);
}

#[test]
fn colours_are_the_published_ones_and_text_on_them_is_read() {
    // The ends and one middle colour of the 256-colour tables.
    assert_eq!(Colormap::Viridis.at(0.0), Rgb::hex(0x440154));
    assert_eq!(Colormap::Viridis.at(1.0), Rgb::hex(0xfde725));
    assert_eq!(Colormap::Viridis.at(130.0 / 255.0), Rgb::hex(0x20928c));
    assert_eq!(Colormap::Cividis.at(130.0 / 255.0), Rgb::hex(0x7e7d78));
    assert_eq!(Colormap::Cividis.at(0.0), Rgb::hex(0x00224e));
    assert_eq!(Colormap::Cividis.at(2.0), Rgb::hex(0xfee838));
    assert_eq!((WHITE.ink(), BLACK.ink()), (BLACK, WHITE));
    for colormap in [Colormap::Viridis, Colormap::Cividis] {
        let mut before = -1.0;
        // Steps large enough that 8 bits a channel tell neighbours apart.
        for step in 0..=85 {
            let colour = colormap.at(f64::from(step) / 85.0);
            let (light, ink) = (colour.luminance() + 0.05, colour.ink().luminance() + 0.05);
            assert!((light / ink).max(ink / light) >= 4.5, "{colormap:?} {step}: contrast below 4.5");
            assert!(light > before, "{colormap:?} {step}: not darker to lighter");
            before = light;
        }
    }
}

#[test]
fn the_papers_figure_is_drawn_cell_by_cell() {
    let (panels, _) = published();
    let picture = heatmap(&panels, "Published values", Scale::Shared, Colormap::Viridis).unwrap();
    assert_legible(&picture);
    let pixels = picture.pixels().unwrap();
    let cells = cells(&picture);
    assert_eq!(cells.len(), 4 * 144);
    let values = panels.iter().flat_map(|panel| panel.values.iter().flatten());
    for (&value, &(x, y, width, height, _)) in values.zip(&cells) {
        let colour = Colormap::Viridis.at(value / 3.87);
        for (dx, dy) in [(1.0, 1.0), (width - 1.0, height - 1.0)] {
            let pixel = pixels.get_pixel(((x + dx) * DENSITY) as u32, ((y + dy) * DENSITY) as u32);
            assert_eq!(pixel.0, [colour.0, colour.1, colour.2], "value {value}");
        }
    }
    // Rows are layers, layer 0 on top; columns are heads; panels are two by two.
    assert!(cells[1].0 > cells[0].0 && cells[1].1 == cells[0].1);
    assert!(cells[12].0 == cells[0].0 && cells[12].1 > cells[0].1);
    assert!(cells[144].0 > cells[11].0 && cells[144].1 == cells[0].1);
    assert!(cells[288].0 == cells[0].0 && cells[288].1 > cells[143].1);

    let svg = picture.svg();
    let written = svg_texts(&svg);
    for value in panels.iter().flat_map(|panel| panel.values.iter().flatten()) {
        assert!(written.contains(&format!("{value:.2}")), "{value} is not in the SVG");
    }
    for word in ["SM+LN+G", "SM+G", "Layer", "Head", "Mean entropy (nats)", "11"] {
        assert!(written.iter().any(|text| text == word), "{word} is not in the SVG");
    }
    fs::write(gallery().join("paper.svg"), svg).unwrap();
    fs::write(gallery().join("paper.png"), picture.png().unwrap()).unwrap();
}

#[test]
fn every_size_of_grid_is_legible() {
    let mut before = (0.0, 0.0);
    let drawn =
        [(1, Scale::Shared), (2, Scale::Own), (3, Scale::Shared), (4, Scale::Own), (4, Scale::Shared)];
    for (layers, heads) in [(1, 1), (6, 4), (12, 12), (24, 24)] {
        for (count, scale) in drawn {
            let mut panels = vec![panel("SM+LN+G", grid(layers, heads)); count];
            // The last one's text may extend to where a bar is.
            for panel in [0, count - 1] {
                panels[panel].notes = vec![
                    "2,600 steps · perplexity 26.30".into(),
                    "overload 8% · collapse 0% · M = 3.88 nats".into(),
                ];
            }
            let picture = heatmap(&panels, "Where M is named.", scale, Colormap::Cividis).unwrap();
            assert_legible(&picture);
            assert_eq!(cells(&picture).len(), layers * heads * count);
            // Every number lies inside its own cell.
            let bounds: Vec<_> = texts(&picture).iter().map(|text| text.bounds()).collect();
            for &(x, y, width, height, _) in &cells(&picture) {
                let inside = bounds.iter().filter(|&&(left, top, right, bottom)| {
                    left > x + 1.0 && right < x + width - 1.0 && top > y && bottom < y + height
                });
                assert_eq!(inside.count(), 1, "cell at {x}, {y}");
            }
            let mut stripes = 0;
            for stripe in &picture.marks {
                let Mark::Rect { x, y, width: 18.0, height, .. } = *stripe else { continue };
                stripes += 1;
                for (left, top, right, bottom) in &bounds {
                    let apart = *left >= x + 18.0 || *right <= x || *top >= y + height || *bottom <= y;
                    assert!(apart, "a text lies on the colour bar of {count} panels of {layers}x{heads}");
                }
            }
            assert!(stripes > 0, "there is no colour bar");
            let bars = texts(&picture).iter().filter(|text| text.text == "Mean entropy (nats)").count();
            assert_eq!(bars, if scale == Scale::Own { count } else { 1 });
            if count == 1 {
                assert!(picture.width >= before.0 && picture.height >= before.1);
                assert!(layers < 12 || (picture.width > before.0 && picture.height > before.1));
                before = (picture.width, picture.height);
            }
            // The largest take seconds to draw.
            if layers * heads * count < 600 {
                let file = gallery().join(format!("grid_{layers}x{heads}_{count}.png"));
                fs::write(file, picture.png().unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn cells_without_a_number_are_grey_and_say_so() {
    let values = vec![vec![1.0, f64::NAN, 3.0], vec![f64::INFINITY, -0.0, 2.0]];
    let picture = heatmap(&[panel("SM", values)], "", Scale::Shared, Colormap::Viridis).unwrap();
    assert_legible(&picture);
    let cells = cells(&picture);
    let grey = |colour: Rgb| colour.0 == colour.1 && colour.1 == colour.2;
    assert_eq!(
        cells.iter().map(|cell| grey(cell.4)).collect::<Vec<_>>(),
        [false, true, false, true, false, false]
    );
    let written: Vec<&str> = texts(&picture).iter().map(|text| text.text.as_str()).collect();
    assert!(written.contains(&"NaN") && written.contains(&"inf") && written.contains(&"0.00"));
    assert!(!written.contains(&"-0.00"));
    // The hatching stays inside its cell.
    let (x, y, width, height, _) = cells[1];
    let lines =
        picture.marks.iter().filter_map(|mark| if let Mark::Line(line) = mark { Some(line) } else { None });
    let within = |&(px, py): &(f64, f64)| (x..=x + width).contains(&px) && (y..=y + height).contains(&py);
    assert!(lines.filter(|line| line.points.iter().all(within)).count() >= 5);
    fs::write(gallery().join("nan.png"), picture.png().unwrap()).unwrap();

    // All values equal, all zero, and nothing finite at all.
    for value in [2.5, 0.0, f64::NAN] {
        let picture = heatmap(&[panel("<&\"'>", vec![vec![value; 4]; 3])], "", Scale::Own, Colormap::Viridis);
        let picture = picture.unwrap();
        assert_legible(&picture);
        svg_texts(&picture.svg());
        picture.png().unwrap();
    }
    let expected =
        |value: f64| heatmap(&[panel("a", vec![vec![value]])], "", Scale::Own, Colormap::Viridis).unwrap();
    assert_eq!(self::cells(&expected(2.5))[0].4, Colormap::Viridis.at(1.0));
    assert_eq!(self::cells(&expected(0.0))[0].4, Colormap::Viridis.at(0.0));
    for nothing in [vec![], vec![panel("empty", vec![])], vec![panel("empty", vec![vec![]])]] {
        assert_eq!(heatmap(&nothing, "", Scale::Own, Colormap::Viridis).unwrap_err().kind, Kind::Usage);
    }
}

fn folder(config: &str, metrics: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("metrics.jsonl"), metrics).unwrap();
    if !config.is_empty() {
        fs::write(dir.path().join("config.toml"), config).unwrap();
    }
    dir
}

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

#[test]
fn curves_are_legible_and_mark_where_a_run_broke() {
    let (panels, _) = published();
    let mut runs = four_runs();
    runs.push(synthetic("SM", &panels[2], 2600, 3.4, 1200));
    runs.extend((0..5).map(|k| synthetic(&format!("SM+LeakyR(0.{k})"), &panels[3], 400 * k, 3.6, 9999)));
    let of = |runs: &[RunData]| Comparison::new(runs.to_vec(), None);
    let layer_entropy_curves = |runs: &[RunData]| layer_curves(&of(runs), &LAYER_ENTROPY, None);
    let (loss, layers) =
        (loss_curves(&of(&runs), true, None).unwrap(), layer_entropy_curves(&runs[..5]).unwrap());
    for (picture, name) in [(&loss, "loss_many"), (&layers, "layer_entropy_many")] {
        assert_legible(picture);
        svg_texts(&picture.svg());
        fs::write(gallery().join(format!("{name}.png")), picture.png().unwrap()).unwrap();
        for mark in &picture.marks {
            if let Mark::Line(line) = mark {
                let page = |p: &(f64, f64)| {
                    (0.0..=picture.width).contains(&p.0) && (0.0..=picture.height).contains(&p.1)
                };
                assert!(line.points.iter().all(page), "a line leaves the page");
            }
        }
    }
    let labels: Vec<&str> = texts(&loss).iter().map(|text| text.text.as_str()).collect();
    for label in
        ["Steps done", "Loss (nats per token)", "Perplexity", "SM+LN+R", "SM (diverged at step 1,201)"]
    {
        assert!(labels.contains(&label), "{label} is missing");
    }
    // The cross of the broken run: two arms about its last finite point.
    let crosses = |picture: &Picture| {
        let arm = |mark: &&Mark| match mark {
            Mark::Line(line) => line.width == 2.0 && line.points.len() == 2,
            _ => false,
        };
        picture.marks.iter().filter(arm).count() / 2
    };
    assert_eq!(crosses(&loss), 1);
    assert_eq!(crosses(&layers), 12);
    assert_eq!(crosses(&loss_curves(&of(&runs[..4]), false, None).unwrap()), 0);
    // Nothing but NaN, and nothing at all.
    let lost = synthetic("SM", &panels[0], 100, 3.0, 0);
    assert_eq!(loss_curves(&of(&[lost]), true, None).unwrap_err().kind, Kind::Usage);
    assert_eq!(layer_entropy_curves(&[RunData::default()]).unwrap_err().kind, Kind::Usage);
    // A single record is a point.
    let mut one = four_runs().remove(0);
    let last = synthetic("", &panels[0], 2600, 3.27, 9999).log;
    let values = [&LOSS, &LEARNING_RATE, &GRAD_NORM, &TOKENS, &TOKENS_PER_S]
        .map(|row| (row, Values::Step(last.numbers(row)[2599].1)));
    one.log.cut(&STEP, 0);
    one.log.push(&STEP, 2600, &Measured::from(values));
    one.log.cut(&EVAL, 0);
    one.log.cut(&ATTENTION, 51);
    assert_legible(&loss_curves(&of(std::slice::from_ref(&one)), true, None).unwrap());
    let picture = layer_entropy_curves(std::slice::from_ref(&one)).unwrap();
    assert_eq!(picture.marks.iter().filter(|mark| matches!(mark, Mark::Disc { .. })).count(), 12);
}

/// Memory of a made-up plan: `blocks` blocks of 7 nodes forward and 15 backward.
fn memory(blocks: usize) -> Picture {
    let (forward, backward) = (7 * blocks + 4, 15 * blocks + 6);
    let kept = |i: usize| if i < forward { i } else { forward * (forward + backward - i) / backward };
    let bytes = |part: usize| {
        (0..forward + backward).map(move |i| (kept(i) * part + part.min(i % 3)) as u64 * 3_000_000)
    };
    let names = ["kept for the backward pass", "made again", "logits", "gradients", "passing", "images"];
    let layer = |(i, name)| Layer { name, bytes: bytes(if i == 1 { 0 } else { 6 - i }).collect() };
    let layers: Vec<Layer> = names.into_iter().enumerate().map(layer).collect();
    let total = |i: usize| layers.iter().map(|layer| layer.bytes[i]).sum::<u64>();
    let peak = (0..forward + backward).max_by_key(|&i| total(i)).unwrap();
    let mut places = vec![(0, "embedding".to_owned())];
    places.extend((0..blocks).map(|block| (2 + 7 * block, block.to_string())));
    places.push((forward - 2, "head".to_owned()));
    places.extend((0..blocks).map(|block| (forward + 4 + 15 * block, (blocks - 1 - block).to_string())));
    liveness(&Alive {
        title: "a plan",
        pool: total(peak) * 21 / 20,
        peak: (peak, "h.3.mlp cross_entropy.gradient"),
        layers,
        places,
        backward: forward,
    })
}

#[test]
fn memory_is_legible_at_every_depth() {
    for blocks in [1, 6, 12, 100] {
        let picture = memory(blocks);
        assert_legible(&picture);
        fs::write(gallery().join(format!("memory_{blocks}.png")), picture.png().unwrap()).unwrap();
        let labels = svg_texts(&picture.svg());
        let there = |label: &str| labels.iter().any(|text| text.starts_with(label));
        for label in ["forward", "backward", "pool", "peak", "kept for", "images", "Alive ("] {
            assert!(there(label), "{label} is missing among {labels:?}");
        }
        assert!(!there("made again"), "a purpose without memory has a colour");
        for mark in &picture.marks {
            if let Mark::Rect { x, y, width, height, .. } = *mark {
                assert!(width > 0.0 && height > 0.0 && x >= 0.0 && y >= 0.0, "{mark:?}");
                assert!(x + width <= picture.width && y + height <= picture.height, "{mark:?}");
            }
        }
    }
}

#[test]
fn smoothing_keeps_lines_straight_and_holes_open() {
    let line: Vec<_> = (0..50).map(|k| (f64::from(k), 2.0 * f64::from(k))).collect();
    for (a, b) in smooth(&line, 9)[..46].iter().zip(&line) {
        assert!((a.1 - b.1).abs() < 1e-12);
    }
    // The end is an average: the mean of the last five.
    assert_eq!(smooth(&line, 9)[49].1, 94.0);
    let mut holed = line.clone();
    holed[20].1 = f64::NAN;
    let smoothed = smooth(&holed, 9);
    assert!(smoothed.iter().enumerate().all(|(k, point)| point.1.is_nan() == (k == 20)));
    let noisy: Vec<_> = (0..100).map(|k| (f64::from(k), f64::from(k % 2))).collect();
    assert!(smooth(&noisy, 11)[10..90].iter().all(|point| (point.1 - 0.5).abs() < 0.06));
    assert_eq!(smooth(&line, 0), line);
    assert_eq!(smooth(&[], 5), []);
}

#[test]
fn ticks_are_round() {
    assert_eq!(nice_ticks(0.0, 3.87, 8), ((0..8).map(|k| f64::from(k) * 0.5).collect(), 0.5));
    assert_eq!(nice_ticks(0.0, 32000.0, 7).0, [0.0, 5e3, 1e4, 1.5e4, 2e4, 2.5e4, 3e4]);
    assert_eq!(nice_ticks(2.0, 2.0, 5).0, [2.0]);
    // One tick would not tell the scale.
    let tenths = |ticks: Vec<f64>| ticks.iter().map(|tick| (tick * 10.0).round()).collect::<Vec<_>>();
    assert_eq!(tenths(nice_ticks(6.95, 7.12, 2).0), [70.0, 71.0]);
    for (low, high, count) in [(6.9, 7.3, 2), (0.4, 1.7, 2), (2.31, 2.36, 3), (-0.3, 0.9, 2)] {
        assert!(nice_ticks(low, high, count).0.len() > 1, "{low} to {high}");
    }
    assert_eq!(tick_text(32000.0, 5000.0), "32,000");
    assert_eq!(tick_text(124177920.0, 1.0), "124,177,920");
    assert_eq!(tick_text(-0.25, 0.05), "−0.25");
    assert_eq!(tick_text(3.5, 0.5), "3.5");
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

#[test]
fn the_published_heatmaps_give_the_published_shares() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published_head_entropies.toml");
    let comparison = Comparison::load(&[path]).unwrap();
    let outcomes = outcomes(&comparison, Reference::ObservedMax).unwrap();
    let markdown = outcomes.table().markdown();
    for shares in [
        "| SM+LN+G | – | – | 0.9888 | 2.688 | – | 4% | 14% | 74% | 8% | 3.87 |",
        "| SM+LN+R | – | – | 1.0141 | 2.757 | +2.6% | 6% | 17% | 74% | 3% | 3.87 |",
        "| SM+G | – | – | 1.1622 | 3.197 | +18.9% | 1% | 18% | 23% | 58% | 3.87 |",
        "| SM+R | – | – | 1.0770 | 2.936 | +9.2% | 3% | 20% | 55% | 22% | 3.87 |",
    ] {
        assert!(markdown.contains(shares), "{markdown}");
    }
    let csv = outcomes.csv();
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [22; 5], "{csv}");
    assert!(csv.lines().nth(3).unwrap().ends_with(",3.87"), "{csv}");
    // The trap: with ln T, which no causal head reaches, hardly any head is overloaded.
    for (reference, shares) in [
        (Reference::CausalCeiling, "| 1% | 18% | 23% | 58% | 3.88 |"),
        (Reference::LogContext, "| 2% | 29% | 59% | 10% | 4.85 |"),
    ] {
        let markdown =
            normfree::report::outcome::outcomes(&comparison, reference).unwrap().table().markdown();
        assert!(markdown.contains(shares), "{reference}: {markdown}");
    }
    assert!(outcomes.table().latex().contains("SM+G & -- & -- & 1.1622 & 3.197 & +18.9\\% & 1\\%"));
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

#[test]
fn a_difference_has_its_sign_in_colour_and_in_text() {
    let (one, other) = (panel("a", vec![vec![1.0, 2.0, 3.0]]), panel("b", vec![vec![2.0, 2.0, f64::NAN]]));
    let picture = difference(&one, &other, "", None).unwrap();
    assert_legible(&picture);
    let fills: Vec<Rgb> = cells(&picture).iter().map(|cell| cell.4).collect();
    assert_eq!(fills[..2], [diverging(-1.0), WHITE]);
    let written: Vec<&str> = texts(&picture).iter().map(|text| text.text.as_str()).collect();
    for word in ["a minus b", "−1.00", "0.00", "NaN", "+1.00", "Difference (nats)"] {
        assert!(written.contains(&word), "{word} is missing among {written:?}");
    }
    let fault = difference(&one, &panel("c", vec![vec![1.0]]), "", None).unwrap_err();
    assert_eq!(fault.kind, Kind::Usage);
    assert!(fault.to_string().contains("a: 1 layers of 3 heads; c: 1 layers of 1 heads"), "{fault}");
}

#[test]
fn the_animation_moves_and_ends_where_training_ended() {
    let runs = Comparison::new(four_runs(), None);
    let bytes =
        normfree::report::heatmap_over_training(&runs, &[0, 1], Colormap::Viridis).unwrap().unwrap().png;
    let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    let frames = reader.info().animation_control().unwrap().num_frames;
    assert_eq!(frames, 32);
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    for _ in 0..frames {
        reader.next_frame(&mut buffer).unwrap();
    }
    fs::write(gallery().join("animation.png"), bytes).unwrap();
    // A single record has no animation.
    let mut still = four_runs();
    still.iter_mut().for_each(|run| run.log.cut(&ATTENTION, 51));
    let still = Comparison::new(still, None);
    assert!(normfree::report::heatmap_over_training(&still, &[0, 1], Colormap::Viridis).unwrap().is_none());
}

#[test]
fn published_shares_are_drawn_as_they_are_counted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published_head_entropies.toml");
    let picture = quarters(&Comparison::load(&[path]).unwrap(), Reference::ObservedMax, None).unwrap();
    assert_legible(&picture);
    let written: Vec<&str> = texts(&picture).iter().map(|text| text.text.as_str()).collect();
    for word in
        ["14%", "74%", "17%", "18%", "23%", "58%", "20%", "55%", "22%", "SM+LN+G", "Share of heads (%)"]
    {
        assert!(written.contains(&word), "{word} is missing among {written:?}");
    }
    fs::write(gallery().join("quarters_published.png"), picture.png().unwrap()).unwrap();
}
