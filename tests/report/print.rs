//! Figures for print: at the width of a page and of a column, all text has 8 points or more, stays on the picture, and is apart.

use super::study::{CONFIGURATIONS, Made, Size, write};
use super::{gallery, texts};
use normfree::draw::picture::{Picture, TICK, layout_width};
use normfree::report::comparison::Comparison;
use normfree::report::figures::{Options, figures};
use normfree::report::heatmap::Scale;
use std::fs;

/// A name that no column holds in one line.
const LONG: Made =
    ("sm_long", "SM+LearnableR(per block), no decay of the slopes", "none", "leaky_relu", 0.3, 3.6);

fn assert_printed(stem: &str, picture: &Picture) {
    let boxes: Vec<_> = texts(picture).into_iter().filter(|text| !text.text.is_empty()).collect();
    for text in &boxes {
        let (left, top, right, bottom) = text.bounds();
        let inside = left >= 0.0 && top >= 0.0 && right <= picture.width && bottom <= picture.height;
        assert!(inside, "{stem}: `{}` is cut: {left} to {right} of {}", text.text, picture.width);
        assert!(text.size >= TICK, "{stem}: `{}` has {} pixels", text.text, text.size);
    }
    for (index, text) in boxes.iter().enumerate() {
        let a = text.bounds();
        for other in &boxes[index + 1..] {
            let b = other.bounds();
            let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
            assert!(apart, "{stem}: `{}` and `{}` overlap: {a:?}, {b:?}", text.text, other.text);
        }
    }
}

#[test]
fn every_figure_fits_a_column() {
    let configurations: Vec<Made> = CONFIGURATIONS.into_iter().chain([LONG]).collect();
    for (heads, seeds) in [(4, &[1, 2][..]), (12, &[1][..])] {
        let folder = tempfile::tempdir().unwrap();
        let size = Size { layers: heads, heads, steps: 300, every: 20 };
        write(folder.path(), "study", &configurations, seeds, size);
        let comparison = Comparison::load(&[folder.path()]).unwrap();
        let difference = Some(("SM+R".to_owned(), "SM+G".to_owned()));
        for (inches, scale) in
            [(3.0, Scale::Shared), (3.25, Scale::Shared), (5.5, Scale::Shared), (6.75, Scale::Own)]
        {
            let options =
                Options { width: Some(inches), scale, difference: difference.clone(), ..Options::default() };
            let drawn = figures(&comparison, &options).unwrap();
            let stems: Vec<&str> = drawn.iter().map(|figure| figure.stem).collect();
            for stem in
                ["heatmap", "heatmap_difference", "quarters", "loss", "layer_entropy", "slope_stability"]
            {
                assert!(stems.contains(&stem), "{stem} is not among {stems:?}");
            }
            for figure in drawn {
                let name = format!("{}-{heads}-{inches}", figure.stem);
                assert_eq!(figure.picture.width, layout_width(inches), "{name}");
                assert_printed(&name, &figure.picture);
                if inches == 3.25 {
                    fs::write(gallery().join(format!("{name}.png")), figure.picture.png().unwrap()).unwrap();
                    fs::write(gallery().join(format!("{name}.pdf")), figure.picture.pdf().unwrap()).unwrap();
                }
            }
        }
    }
}
