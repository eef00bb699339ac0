//! The page of patterns in Chromium: what a reader sees, points at and presses.

use std::path::{Path, PathBuf};
use std::time::Instant;

use normfree::pattern::{Kept, Patterns, byte, page, picture};
use serde_json::json;

use crate::cli::Place;
use crate::report::browser::Browser;

fn gallery() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attend");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Heads that read themselves, the token before, the first token, or everything alike.
fn made(layers: usize, heads: usize, count: usize) -> Patterns {
    let words = ["def", " f", "(", "x", "):", "\n", "    ", "return", " x", " *", " <b>2</b>", "\n\n"];
    let kept = (0..layers * heads).map(|head| {
        let share = |query: usize, key: usize| -> f64 {
            let even = 1.0 / (query + 1) as f64;
            let sharp = match head % 3 {
                0 => f64::from(u8::from(key == query)),
                1 => f64::from(u8::from(key == query.saturating_sub(1))),
                _ => f64::from(u8::from(key == 0)),
            };
            let part = head as f64 / (layers * heads) as f64;
            part * even + (1.0 - part) * sharp
        };
        let rows: Vec<Vec<f64>> =
            (0..count).map(|query| (0..=query).map(|key| share(query, key)).collect()).collect();
        let nats = |row: &Vec<f64>| row.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum::<f64>();
        let entropies: Vec<f64> = rows.iter().map(nats).collect();
        Kept {
            weights: rows.iter().flatten().map(|&weight| byte(weight)).collect(),
            sinks: Vec::new(),
            mean: entropies.iter().sum::<f64>() / count as f64,
            entropies,
        }
    });
    Patterns {
        title: "SM+R · <i>made</i> · step 5".into(),
        notes: vec![format!("The first {count} tokens of a text.")],
        tokens: (0..count).map(|i| words[i % words.len()].to_owned()).collect(),
        heads,
        kept: kept.collect(),
    }
}

fn written(patterns: &Patterns) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attention.html");
    std::fs::write(&path, page(patterns)).unwrap();
    (folder, path)
}

#[test]
fn a_reader_chooses_heads_and_tokens() {
    let (_folder, path) = written(&made(2, 3, 24));
    let browser = Browser::open(&path);
    browser.size(1280, 900);
    browser.wait("return document.documentElement.dataset.ready !== undefined");
    assert_eq!(
        browser.text("return document.querySelector('h1').textContent"),
        "SM+R · <i>made</i> · step 5"
    );
    let told = "return document.querySelector('.patterns-told').textContent";
    // Head 0 of layer 0 reads only itself.
    assert!(browser.text(told).starts_with("Token 23, “⏎⏎”, reads “⏎⏎” 1.00."), "{}", browser.text(told));
    browser.point(".patterns-text span:nth-of-type(5)", (0.5, 0.5), true);
    assert!(
        browser.text(told).starts_with("Token 4, “):”, reads “):” 1.00. Entropy 0.00 of at most 1.61 nats.")
    );
    // The second head reads the token before.
    browser.point(".patterns-all button:nth-child(2)", (0.5, 0.5), true);
    assert!(browser.text(told).starts_with("Token 4, “):”, reads “x” 0.8"), "{}", browser.text(told));
    assert!(
        browser
            .text("return document.querySelector('.patterns h3').textContent")
            .starts_with("Layer 0, head 1: mean entropy")
    );
    browser.run("document.querySelector('.patterns-text').focus()");
    browser.press("\u{e014}");
    assert!(browser.text(told).starts_with("Token 5, "), "{}", browser.text(told));
    browser.run("const s = document.querySelectorAll('.patterns-bar select')[1]; s.value = 'readers'; s.dispatchEvent(new Event('change'))");
    assert!(browser.text(told).contains("is read by “␣␣␣␣” 0.8"), "{}", browser.text(told));
    // Sorted by entropy, the last head comes first.
    let first = "return document.querySelector('.patterns-all button').textContent.slice(0, 3)";
    assert_eq!(browser.text(first), "0.0");
    browser.run("const s = document.querySelectorAll('.patterns-bar select')[0]; s.value = 'high'; s.dispatchEvent(new Event('change'))");
    assert_eq!(browser.text(first), "1.2");
    // The colours of the small picture: head 0 has its weight on the diagonal.
    let colour = "const b = [...document.querySelectorAll('.patterns-all button')].find(b => b.textContent.startsWith('0.0')); \
         const d = b.firstChild.getContext('2d').getImageData(0, 0, 24, 24).data; \
         return [[3, 3], [3, 2], [2, 3]].map(([row, column]) => [...d.slice(4 * (row * 24 + column), 4 * (row * 24 + column) + 4)])";
    assert_eq!(browser.run(colour), json!([[8, 31, 71, 255], [237, 242, 248, 255], [0, 0, 0, 0]]));
    assert!(browser.log("browser").is_empty());
}

/// A click on a head of the report's heatmap opens what it reads in the run's own held-out text, after each kept checkpoint.
#[test]
fn a_click_in_the_report_opens_a_head() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml"]);
    place.succeeds(&["report", "runs/tiny"]);
    let path = place.path("runs/tiny/report.html").canonicalize().unwrap();
    let browser = Browser::open(&path);
    browser.size(1280, 900);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    let open = "return document.querySelector('dialog.opened')?.open === true";
    assert_eq!(browser.run(open), json!(false));
    // The second head of the first layer.
    browser.point("#heatmap-grid .chart", (0.7, 0.25), true);
    browser.wait(open);
    let head = "return document.querySelector('dialog.opened .patterns h3').textContent";
    assert!(browser.text(head).starts_with("Layer 0, head 1: mean entropy"), "{}", browser.text(head));
    let steps =
        "return [...document.querySelectorAll('dialog.opened option')].map(o => o.textContent).slice(0, 2)";
    assert_eq!(browser.run(steps), json!(["10", "12"]));
    assert_eq!(browser.text("return document.querySelector('dialog.opened select').value"), "1");
    // The entropy is that of the held-out text, so it is near the training text's but not the same.
    browser.run("const s = document.querySelector('dialog.opened select'); s.value = '0'; s.dispatchEvent(new Event('change'))");
    assert!(browser.text(head).starts_with("Layer 0, head 1: mean entropy"), "another step, the same head");
    browser.picture(&gallery().join("report_opened.png"));
    browser.press("\u{e00c}");
    assert_eq!(browser.run(open), json!(false));
    assert!(browser.log("browser").is_empty());
    place.succeeds(&["report", "runs/tiny", "--no-attention", "-o", "plain.html"]);
    let plain = std::fs::read_to_string(place.path("plain.html")).unwrap();
    assert!(plain.contains("\"patterns\":[]") && !plain.contains("opens what that head reads in"));
}

/// GPT-2's 144 heads over 128 tokens: the page is drawn within seconds on any machine, and fits phones and screens.
#[test]
fn a_large_page_opens_and_fits() {
    let patterns = made(12, 12, 128);
    let (_folder, path) = written(&patterns);
    assert!(std::fs::metadata(&path).unwrap().len() < 2_600_000);
    std::fs::write(gallery().join("grid.png"), picture(&patterns).png().unwrap()).unwrap();
    let browser = Browser::open(&path);
    let start = Instant::now();
    browser.wait("return document.documentElement.dataset.ready !== undefined");
    println!(
        "ready {} ms after it began, seen {:?}",
        browser.text("return document.documentElement.dataset.ready"),
        start.elapsed()
    );
    for (width, dark) in [(390, false), (1280, false), (1280, true), (390, true)] {
        browser.size(width, 900);
        browser.dark(dark);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(browser.run(fits), json!(true), "at {width} pixels the page scrolls sideways");
        browser.picture(&gallery().join(format!("page_{width}_{}.png", if dark { "dark" } else { "light" })));
    }
    assert!(browser.log("browser").is_empty());
}
