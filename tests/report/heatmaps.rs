//! Heatmaps of heads: colours, cells, bins and the published values.

use super::{assert_legible, cells, four_runs, gallery, grid, panel, published, svg_texts, texts};
use normfree::draw::colormap::{BLACK, Colormap, Rgb, WHITE, diverging};
use normfree::draw::picture::Mark;
use normfree::draw::raster::DENSITY;
use normfree::fault::Kind;
use normfree::observe::entropy::{bins, causal_ceiling, observed_max};
use normfree::observe::quantities::ATTENTION;
use normfree::report::comparison::Comparison;
use normfree::report::heatmap::{Scale, difference, heatmap};
use normfree::report::outcome::outcomes;
use normfree::report::quarters::quarters;
use normfree::report::stats::Reference;
use std::fs;
use std::path::Path;

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
    assert!(fault.to_string().contains("a: 1 layer of 3 heads; c: 1 layer of 1 head"), "{fault}");
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
