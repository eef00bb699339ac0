//! The heads on the report page: one number each, the same everywhere, readable at every width.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use normfree::draw::colormap::{Colormap, Rgb, diverging};
use normfree::report::comparison::Comparison;
use normfree::report::figures::{Options, figures};
use normfree::report::page::write_page;
use serde_json::{Value, json};

use super::browser::Browser;
use super::study::{CONFIGURATIONS, Size, write_run};
use super::{gallery, svg_texts};

/// The page about two runs of 12 layers of 12 heads, and the folder that keeps it.
fn made() -> (tempfile::TempDir, PathBuf, Comparison) {
    let folder = tempfile::tempdir().unwrap();
    let size = Size { layers: 12, heads: 12, steps: 100, every: 20 };
    let paths = [0, 1].map(|index| {
        let path = folder.path().join(CONFIGURATIONS[index].0);
        write_run(&path, &CONFIGURATIONS[index], 1, size);
        path
    });
    let comparison = Comparison::load(&paths).unwrap();
    let path = folder.path().join("report.html");
    write_page(&comparison, &path, &Options::default()).unwrap();
    (folder, path, comparison)
}

fn opened(path: &std::path::Path, width: u32) -> Browser {
    let browser = Browser::open(path);
    drawn(&browser, width);
    browser
}

/// Waits until the page is drawn at a width.
fn drawn(browser: &Browser, width: u32) {
    browser.size(width, 1000);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
}

/// For each cell of the first heatmap: its text, the text's colour and size, whether it is shown, and the fill behind it.
const CELLS: &str = "
    const place = document.querySelector('#heatmap-grid .chart'), chart = window.echarts.getInstanceByDom(place);
    const series = chart.getModel().getSeriesByIndex(0), data = series.getData(), own = chart.getOption().series[0];
    return Array.from({ length: data.count() }, (_, index) => {
      const item = own.data[index];
      return [item.label.formatter, item.label.color, own.label.fontSize, own.label.show,
        data.getItemVisual(index, 'style').fill, item.index];
    });";

fn cells(browser: &Browser) -> Vec<Value> {
    browser.run(CELLS).as_array().unwrap().clone()
}

fn show(browser: &Browser, value: &str) {
    browser.run(&format!(
        "const s = document.getElementById('show'); s.value = '{value}'; s.dispatchEvent(new Event('change'))"
    ));
}

fn rgb(text: &str) -> Rgb {
    if let Some(code) = text.strip_prefix('#') {
        return Rgb::hex(u32::from_str_radix(code, 16).unwrap());
    }
    let numbers: Vec<f64> =
        text.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|part| part.parse().ok()).collect();
    Rgb(numbers[0].round() as u8, numbers[1].round() as u8, numbers[2].round() as u8)
}

/// WCAG 2's contrast of two colours, 1 to 21.
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (a, b) = (one.luminance() + 0.05, other.luminance() + 0.05);
    (a / b).max(b / a)
}

#[test]
fn a_head_has_one_number_whatever_draws_it() {
    let (_folder, path, comparison) = made();
    let browser = opened(&path, 1440);
    let figures = figures(&comparison, &Options::default()).unwrap();
    let printed = |stem: &str| {
        let figure = figures.iter().find(|figure| figure.stem == stem).unwrap();
        svg_texts(&figure.picture.svg())
            .into_iter()
            .filter(|text| text.contains('.') && text.chars().count() <= 5)
            .collect::<Vec<_>>()
    };
    let written = |cells: &[Value]| -> Vec<String> {
        let mut by_place: BTreeMap<u64, String> = BTreeMap::new();
        for cell in cells {
            by_place.insert(cell[5].as_u64().unwrap(), cell[0].as_str().unwrap().to_owned());
        }
        by_place.into_values().collect()
    };
    // The figure draws the first run first, cell by cell as the page numbers them.
    let here = written(&cells(&browser));
    assert_eq!(here.len(), 144);
    assert_eq!(here, printed("heatmap")[..144]);
    // The difference drawn is the second run's minus the first's; the page's second panel.
    show(&browser, "0");
    browser.run("document.querySelector('#heatmap-grid .panel').hidden = true");
    let second =
        CELLS.replace("querySelector('#heatmap-grid .chart')", "querySelectorAll('#heatmap-grid .chart')[1]");
    let difference = browser.run(&second).as_array().unwrap().clone();
    assert_eq!(written(&difference), printed("heatmap_difference")[..144]);
    // Shares equal those of the table and of the figure, which count before rounding.
    show(&browser, "");
    let facts = browser.text("return document.querySelector('#heatmap-grid .note').textContent");
    let told = facts.split_once(" · ").unwrap().1.to_owned();
    let figure = figures.iter().find(|figure| figure.stem == "heatmap").unwrap();
    assert!(svg_texts(&figure.picture.svg()).contains(&told), "`{told}` is not in the figure");
}

#[test]
fn the_text_about_a_head_follows_the_slider() {
    let (_folder, path, _) = made();
    let browser = opened(&path, 1440);
    let first = "#heatmap-grid .panel:first-child";
    let told = format!("return document.querySelector('{first} output').textContent");
    let tip = format!(
        "return [...document.querySelectorAll('{first} .chart div')].map(e => e.textContent).join(' ')"
    );
    let at = |cell: usize| {
        let of = browser.run("const d = JSON.parse(document.getElementById('data').textContent); return d.runs[0].heads.frames[document.getElementById('step').value]");
        format!("{:.2}", of[cell].as_f64().unwrap() / 100.0)
    };
    // By pointer, by key, and while it plays: the number is that of the step shown.
    browser.point(&format!("{first} canvas"), (0.5, 0.5), false);
    browser
        .wait(&format!("return document.querySelector('{first} output').textContent.startsWith('Layer ')"));
    let place = browser.text(&told);
    let number = |text: &str| -> usize { text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap() };
    let mut words = place.split(' ');
    let (layer, head) = (number(words.nth(1).unwrap()), number(words.nth(1).unwrap()));
    let cell = layer * 12 + head;
    let mut seen = vec![browser.text(&told)];
    for value in [0, 1, 2] {
        browser.run(&format!(
            "const s = document.getElementById('step'); s.value = {value}; s.dispatchEvent(new Event('input'))"
        ));
        let text = browser.text(&told);
        assert_eq!(text, format!("Layer {layer}, head {head}: {} nats", at(cell)));
        seen.push(text);
    }
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
    browser.run(&format!("document.querySelector('{first} .chart').focus()"));
    browser
        .run("const s = document.getElementById('step'); s.value = 3; s.dispatchEvent(new Event('input'))");
    let number = at(cell);
    assert!(browser.text(&told).ends_with(&format!(": {number} nats")), "{}", browser.text(&told));
    browser.wait(&format!(
        "return [...document.querySelectorAll('{first} .chart div')].some(e => e.textContent.includes('{number} nats'))"
    ));
    assert!(browser.run(&tip).as_str().unwrap().contains(&number));
    // Against another run too.
    show(&browser, "0");
    assert!(browser.text(&told).ends_with(": 0.00 nats of difference"), "{}", browser.text(&told));
}

#[test]
fn numbers_of_144_heads_are_read_on_screens_and_phones() {
    let (_folder, path, _) = made();
    let browser = opened(&path, 1440);
    for (width, dark) in [(1440, false), (360, false), (360, true)] {
        browser.visit(&path);
        drawn(&browser, width);
        browser.dark(dark);
        for (show_what, name) in [("", "entropy"), ("1", "difference")] {
            show(&browser, show_what);
            let cells = cells(&browser);
            assert_eq!(cells.len(), 144);
            // The space of a cell, and of the widest number in it.
            let room = browser.run(
                "const p = document.querySelector('#heatmap-grid .chart'), c = window.echarts.getInstanceByDom(p); \
                 const at = (x, y) => c.convertToPixel({ xAxisIndex: 0, yAxisIndex: 0 }, [x, y]); \
                 const pen = document.createElement('canvas').getContext('2d'); \
                 pen.font = c.getOption().series[0].label.fontSize + 'px sans-serif'; \
                 const widest = Math.max(...c.getOption().series[0].data.map(item => pen.measureText(item.label.formatter).width)); \
                 return [at(1, 0)[0] - at(0, 0)[0], at(0, 1)[1] - at(0, 0)[1], widest];",
            );
            let [across, down, widest] = [0, 1, 2].map(|index| room[index].as_f64().unwrap());
            for cell in &cells {
                let size = cell[2].as_f64().unwrap();
                assert_eq!(cell[3], json!(true), "no number in a cell at {width}");
                assert!(
                    size >= 11.0 && down >= size + 4.0 && across >= widest + 2.0,
                    "{name} at {width}: {room}, {size}"
                );
            }
            // Where the cells scroll, the bar of colours stays below what is in sight.
            let bar = browser.run(
                "const p = document.querySelector('#heatmap-grid .chart'); \
                 return window.echarts.getInstanceByDom(p).getOption().visualMap[0].orient",
            );
            assert_eq!(bar, json!(if width < 400 { "horizontal" } else { "vertical" }), "at {width}");
            // The page stays as wide as the screen; the chart scrolls inside its panel.
            let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
            assert_eq!(browser.run(fits), json!(true), "at {width} the page scrolls sideways");
        }
        // Figures for a telephone fit it.
        let narrow = browser.run(
            "return [...document.querySelectorAll('.on-narrow')].filter(e => e.clientWidth > 0) \
             .map(e => e.scrollWidth <= e.clientWidth)",
        );
        let narrow = narrow.as_array().unwrap();
        assert_eq!(narrow.len() >= 3, width < 400, "at {width}");
        assert!(narrow.iter().all(|fits| *fits == json!(true)), "{narrow:?} at {width}");
        // Printed figures stay readable, too.
        let shrunk = browser.run(
            "return [...document.querySelectorAll('.sheet img')].map(e => [e.width / e.getAttribute('width'), e.closest('figure').id])",
        );
        for figure in shrunk.as_array().unwrap() {
            assert!(figure[0].as_f64().unwrap() > 0.79, "{figure} at {width}");
        }
        browser.picture(&gallery().join(format!("heads_{width}{}.png", if dark { "_dark" } else { "" })));
    }
}

/// WCAG 2.1 AA requires 4.5 for text of this size: checked for every colour that a cell can have, and for every cell present.
#[test]
fn numbers_stand_out_from_every_colour_behind_them() {
    let scales: [(&str, &dyn Fn(f64) -> Rgb); 3] = [
        ("viridis", &|t| Colormap::Viridis.at(t)),
        ("cividis", &|t| Colormap::Cividis.at(t)),
        ("differences", &|t| diverging(2.0 * t - 1.0)),
    ];
    for (name, scale) in scales {
        for k in 0..=1000 {
            let fill = scale(f64::from(k) / 1000.0);
            let ratio = contrast(fill, fill.ink());
            assert!(ratio >= 4.5, "{name} at {k}/1000: {ratio}");
        }
    }
    let (folder, path, comparison) = made();
    let browser = opened(&path, 1440);
    for colormap in [Colormap::Viridis, Colormap::Cividis] {
        write_page(&comparison, &path, &Options { colormap, ..Options::default() }).unwrap();
        browser.visit(&path);
        drawn(&browser, 1440);
        for show_what in ["", "1"] {
            show(&browser, show_what);
            for step in 0..6 {
                browser.run(&format!(
                    "const s = document.getElementById('step'); s.value = {step}; s.dispatchEvent(new Event('input'))"
                ));
                for cell in cells(&browser) {
                    let (ink, fill) = (rgb(cell[1].as_str().unwrap()), rgb(cell[4].as_str().unwrap()));
                    let ratio = contrast(ink, fill);
                    assert!(ratio >= 4.5, "{ink:?} on {fill:?} has {ratio:.2} ({cell})");
                }
            }
        }
    }
    // Everything else on the page, in light and dark mode: text against the paper behind it.
    browser.visit(&path);
    drawn(&browser, 1440);
    for dark in [false, true] {
        browser.dark(dark);
        let pairs = browser.run(
            "const shade = (e, name) => getComputedStyle(e)[name]; \
             const behind = (e) => { while (e && shade(e, 'backgroundColor').endsWith(', 0)')) e = e.parentElement; return shade(e || document.body, 'backgroundColor'); }; \
             document.getElementById('play').setAttribute('aria-pressed', 'true'); \
             return [...document.querySelectorAll('p, li, a, h1, h2, h3, button, label, th, td, figcaption, summary, pre, output, select')] \
               .filter(e => e.textContent.trim()).map(e => [shade(e, 'color'), behind(e), e.outerHTML.slice(0, 60)]);",
        );
        for pair in pairs.as_array().unwrap() {
            let ratio = contrast(rgb(pair[0].as_str().unwrap()), rgb(pair[1].as_str().unwrap()));
            assert!(ratio >= 4.5, "{pair}: {ratio:.2}, dark: {dark}");
        }
    }
    fs::remove_dir_all(folder.path()).unwrap();
}
