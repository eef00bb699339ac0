//! Curves over steps and over nodes: legible at every size, with honest gaps.

use super::{assert_legible, four_runs, gallery, published, svg_texts, synthetic, texts};
use normfree::draw::axes::{nice_ticks, tick_text};
use normfree::draw::picture::{Mark, Picture};
use normfree::fault::Kind;
use normfree::observe::quantities::{
    ATTENTION, EVAL, GRAD_NORM, LAYER_ENTROPY, LEARNING_RATE, LOSS, STEP, TOKENS, TOKENS_PER_S,
};
use normfree::observe::record::{Measured, Values};
use normfree::report::comparison::Comparison;
use normfree::report::curves::{loss_curves, smooth};
use normfree::report::layers::layer_curves;
use normfree::report::liveness::{Alive, Layer, liveness};
use normfree::report::run::RunData;
use std::fs;

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
