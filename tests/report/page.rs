//! The report page, in Chromium: what a reader sees, points at and presses.

use std::fs;
use std::path::{Path, PathBuf};

use normfree::fault::Kind;
use normfree::report::comparison::Comparison;
use normfree::report::figures::Options;
use normfree::report::page::{page, write_page};
use serde_json::json;

use super::browser::Browser;
use super::study::{CONFIGURATIONS, Made, Size, write, write_run};

const SIZE: Size = Size { layers: 6, heads: 4, steps: 300, every: 20 };

/// A name that would run a script if it were read as HTML.
const EVIL: &str = "</script><img src=x onerror=\"document.title='broken out'\">&<b>study</b>";

/// The page about a made-up study of six configurations and two seeds, and the folder that keeps both.
fn made(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), name, &CONFIGURATIONS, &[1, 2], SIZE);
    let comparison = Comparison::load(&[folder.path()]).unwrap();
    let path = folder.path().join("report.html");
    write_page(&comparison, &path, &Options::default()).unwrap();
    (folder, path)
}

fn gallery() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Nothing was written to the console, and nothing but the page itself was requested.
fn assert_quiet(browser: &Browser) {
    let console = browser.log("browser");
    assert!(console.is_empty(), "{console:?}");
    for entry in browser.log("performance") {
        let message = entry["message"].as_str().unwrap();
        let message: serde_json::Value = serde_json::from_str(message).unwrap();
        let asked = &message["message"]["params"];
        // The browser's own first page requests its parts.
        let ours = asked["documentURL"].as_str().is_some_and(|page| page.starts_with("file:"));
        if message["message"]["method"] == "Network.requestWillBeSent" && ours {
            let url = asked["request"]["url"].as_str().unwrap();
            let inside = ["file:", "data:", "blob:"].iter().any(|scheme| url.starts_with(scheme));
            assert!(inside, "the page asks for {url}");
        }
    }
}

#[test]
fn a_reader_points_slides_chooses_and_zooms() {
    let (_folder, path) = made("A small study");
    let browser = Browser::open(&path);
    browser.size(1440, 1000);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    let ready: f64 = browser.text("return document.documentElement.dataset.ready").parse().unwrap();
    let drawn = browser.text("return document.documentElement.dataset.drawn");
    println!("interactive after {ready} ms, all drawn after {drawn} ms");
    assert!(ready < 5000.0, "{ready} ms, on however busy a machine");

    // Heatmaps: hovering shows layer, head and value; the middle of the second column, first row.
    let first = "#heatmap-grid .panel:first-child";
    browser.point(&format!("{first} canvas"), (0.42, 0.05), false);
    browser.wait(&format!(
        "return document.querySelector('{first} output').textContent.startsWith('Layer 0, head 1: ')"
    ));
    let told = browser.text(&format!("return document.querySelector('{first} output').textContent"));
    assert!(told.ends_with(" nats") && told.contains('.'), "{told}");
    let value: f64 = told.trim_end_matches(" nats").rsplit(' ').next().unwrap().parse().unwrap();
    let stored = browser.run("const d = JSON.parse(document.getElementById('data').textContent); return d.runs[0].heads.frames.at(-1)[1] / 100");
    assert!((value - stored.as_f64().unwrap()).abs() < 1e-9, "{told}, stored {stored}");
    let tip = browser.run(&format!(
        "return [...document.querySelectorAll('{first} .chart div')].map(e => e.textContent).join(' ')"
    ));
    assert!(tip.as_str().unwrap().contains("Layer 0, head 1"), "{tip}");

    // The arrow keys do the same.
    browser.run(&format!("document.querySelector('{first} .chart').focus()"));
    browser.press("\u{e015}\u{e015}\u{e014}");
    browser.wait(&format!(
        "return document.querySelector('{first} output').textContent.startsWith('Layer 2, head 2: ')"
    ));

    // The slider moves through training: by key to the beginning, where every head is at the ceiling.
    let facts = format!("return document.querySelector('{first} .note').textContent");
    assert!(browser.text(&facts).starts_with("step 300 "), "{}", browser.text(&facts));
    browser.run("document.getElementById('step').focus()");
    browser.press("\u{e011}");
    browser.wait("return document.getElementById('step-shown').textContent === '1'");
    assert!(browser.text(&facts).contains("step 1 · overload 100%"), "{}", browser.text(&facts));
    browser.press("\u{e014}");
    browser.wait("return document.getElementById('step-shown').textContent === '21'");
    browser.press("\u{e010}");

    // A run's difference to itself is zero.
    browser
        .run("const s = document.getElementById('show'); s.value = 0; s.dispatchEvent(new Event('change'))");
    browser.run(&format!("document.querySelector('{first} .chart').focus()"));
    browser.wait(&format!(
        "return document.querySelector('{first} output').textContent.includes('0.00 nats of difference')"
    ));
    browser
        .run("const s = document.getElementById('show'); s.value = ''; s.dispatchEvent(new Event('change'))");

    // Runs: one of each of the first four configurations is shown; then another is chosen, all, and none.
    let shown = "return document.querySelectorAll('#heatmap-grid .panel').length";
    assert_eq!(browser.run(shown), json!(4));
    browser.point("#picks label:nth-child(2) input", (0.5, 0.5), true);
    browser.wait("return document.querySelectorAll('#heatmap-grid .panel').length === 5");
    browser.point("#pick-all", (0.5, 0.5), true);
    browser.wait("return document.querySelectorAll('#heatmap-grid .panel').length === 12");
    let broken = "#heatmap-grid .panel:last-child";
    browser.run(&format!("document.querySelector('{broken} .chart').focus()"));
    browser.wait(&format!(
        "return document.querySelector('{broken} output').textContent.endsWith('not finite')"
    ));
    browser.picture(&gallery().join("page_all.png"));
    browser.point("#pick-none", (0.5, 0.5), true);
    browser.wait("return document.querySelectorAll('#heatmap-grid .panel').length === 0");
    browser.point("#pick-all", (0.5, 0.5), true);

    // Zoom: by button, and by dragging the bar; every chart follows.
    let zoom = "const c = [document.getElementById('curve-chart'), ...document.querySelectorAll('#layer-grid .chart')]; \
                return c.map(e => { const z = window.echarts.getInstanceByDom(e).getOption().dataZoom[0]; return [Math.round(z.start), Math.round(z.end)]; })";
    browser.point("[data-zoom=in]", (0.5, 0.5), true);
    let zoomed = browser.run(zoom);
    assert!(zoomed.as_array().unwrap().len() > 6);
    assert!(zoomed.as_array().unwrap().iter().all(|range| *range == json!([25, 75])), "{zoomed}");
    browser.point("[data-zoom=all]", (0.5, 0.5), true);
    assert_eq!(browser.run(zoom)[3], json!([0, 100]));

    // Every available quantity can be drawn.
    for (select, least) in [("curve", 6), ("quantity", 10)] {
        let count = browser.run(&format!("return document.getElementById('{select}').options.length"));
        assert_eq!(count, json!(least), "{select}");
        for index in 0..least {
            browser.run(&format!(
                "const s = document.getElementById('{select}'); s.selectedIndex = {index}; s.dispatchEvent(new Event('change'))"
            ));
        }
    }
    // The spike of one step, and the gap where a run broke, are among the points drawn.
    let spike = "const d = JSON.parse(document.getElementById('data').textContent); \
                 return d.runs.filter(r => r.group === 'SM+G').every(r => r.curves.loss[0].includes(101))";
    assert_eq!(browser.run(spike), json!(true));
    assert_quiet(&browser);
}

#[test]
fn the_page_fits_phones_and_screens_in_light_and_dark() {
    let (_folder, path) = made("A small study");
    let browser = Browser::open(&path);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    let mut papers = Vec::new();
    for (width, dark) in [(390, false), (1280, false), (1280, true), (390, true)] {
        browser.size(width, 900);
        browser.dark(dark);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(browser.run(fits), json!(true), "at {width} pixels the page scrolls sideways");
        if width == 390 {
            let sideways = "return [...document.querySelectorAll('.sheet')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel).join()";
            assert_eq!(browser.text(sideways), "", "figures of a page of {width} pixels scroll sideways");
        }
        let canvas = "return [...document.querySelectorAll('canvas')].every(c => c.getBoundingClientRect().right <= innerWidth)";
        assert_eq!(browser.run(canvas), json!(true), "a chart leaves a page of {width} pixels");
        papers.push(browser.text("return getComputedStyle(document.body).backgroundColor"));
        browser.picture(&gallery().join(format!("page_{width}_{}.png", if dark { "dark" } else { "light" })));
    }
    assert_eq!(papers[0], papers[1]);
    assert_ne!(papers[1], papers[2]);
    assert_quiet(&browser);
}

#[test]
fn the_tab_key_reaches_every_control() {
    let (_folder, path) = made("A small study");
    let browser = Browser::open(&path);
    browser.size(1440, 1000);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    browser.run(
        "window.reached = new Set(); document.addEventListener('focusin', e => window.reached.add(e.target)); \
         window.wanted = [...document.querySelectorAll('a[href], button, select, input, summary, #heatmap-grid .chart')]; \
         document.activeElement.blur()",
    );
    let count = browser
        .run("return document.querySelectorAll('[tabindex], a, button, select, input, summary').length");
    for _ in 0..count.as_u64().unwrap() / 10 + 1 {
        browser.press("\u{e004}\u{e004}\u{e004}\u{e004}\u{e004}\u{e004}\u{e004}\u{e004}\u{e004}\u{e004}");
    }
    let missed = "return window.wanted.filter(e => !window.reached.has(e) && !e.disabled).map(e => e.outerHTML.slice(0, 90)).join('\\n')";
    assert_eq!(browser.text(missed), "");
    // The focused control is visible, and every control has a name.
    let nameless = "return [...document.querySelectorAll('button, select, input')].filter(e => !(e.textContent.trim() || e.labels?.[0]?.textContent.trim() || e.ariaLabel)).length";
    assert_eq!(browser.run(nameless), json!(0));
    assert_quiet(&browser);
}

#[test]
fn a_table_is_sorted_and_charts_are_saved() {
    let (_folder, path) = made("A small study");
    let browser = Browser::open(&path);
    browser.size(1440, 1000);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    let first = "return document.querySelector('#table tbody tr th').textContent";
    let head = |name: &str| {
        browser.run(&format!(
            "[...document.querySelectorAll('#table thead button')].find(b => b.textContent === {name:?}).click()"
        ));
    };
    head("perplexity");
    assert_eq!(browser.text(first), "SM+LN+G");
    head("perplexity");
    assert_eq!(browser.text(first), "SM+G", "the run that diverged has no perplexity and stays at the end");
    let last = "return document.querySelector('#table tbody tr:last-child th').textContent";
    assert_eq!(browser.text(last), "SM");
    head("configuration");
    assert_eq!(browser.text(first), "SM");
    // The band of seeds.
    assert_eq!(browser.run("return document.querySelectorAll('#table svg.seeds').length"), json!(5));

    // Four cards are two and two where three fit; six are three and three.
    let columns =
        "return new Set([...document.querySelectorAll('#heatmap-grid .panel')].map(e => e.offsetLeft)).size";
    assert_eq!(browser.run(columns), json!(2));

    // Every chart and figure can be saved as PNG and SVG.
    browser.run(
        "window.saved = []; HTMLAnchorElement.prototype.click = function () { \
         window.saved.push([this.download, this.href.slice(0, 21)]); };",
    );
    for kind in ["png", "svg"] {
        browser.run(&format!(
            "document.querySelectorAll('[data-save={kind}]').forEach(b => b.click()); \
             document.querySelectorAll('[data-kind={kind}]').forEach(b => b.click())"
        ));
    }
    let wanted =
        "return document.querySelectorAll('[data-save], [data-kind]').length === window.saved.length";
    browser.wait(wanted);
    let saved = browser.run("return window.saved");
    let saved = saved.as_array().unwrap();
    assert!(saved.len() > 30, "{}", saved.len());
    for name in ["heatmap.png", "heatmap.svg", "loss.png", "curve_loss.svg", "heatmap_SM+R_seed_1.png"] {
        assert!(saved.iter().any(|of| of[0] == json!(name)), "{name}: {saved:?}");
    }
    let svg = browser.text(
        "const c = window.echarts.getInstanceByDom(document.getElementById('curve-chart')); \
         const d = window.echarts.init(null, null, { renderer: 'svg', ssr: true, width: 400, height: 300 }); \
         d.setOption(c.getOption()); return d.renderToSVGString()",
    );
    assert!(
        svg.starts_with("<svg") && svg.contains("<path") && svg.contains("Steps done"),
        "{}",
        &svg[..200]
    );
    assert_quiet(&browser);
}

#[test]
fn curves_are_smoothed_with_what_was_measured_behind() {
    let (_folder, path) = made("A small study");
    let browser = Browser::open(&path);
    browser.size(1280, 1000);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    let count = |what: &str| {
        browser.run(&format!(
            "return window.echarts.getInstanceByDom(document.getElementById('curve-chart')).getOption().series.filter(s => {what}).length"
        ))
    };
    assert_eq!(
        (count("(s.id || '').startsWith('raw')"), count("!/^(raw|low|high) /.test(s.id || '')")),
        (json!(4), json!(4))
    );
    let click = |id: &str| browser.run(&format!("document.getElementById('{id}').click()"));
    click("curve-raw");
    assert_eq!(count("(s.id || '').startsWith('raw')"), json!(0));
    click("curve-raw");
    browser.run("document.getElementById('pick-all').click()");
    click("curve-band");
    // Five configurations with two seeds each; of the sixth both seeds diverge and keep lines of their own.
    assert_eq!(
        (count("(s.id || '').startsWith('high')"), count("!/^(raw|low|high) /.test(s.id || '')")),
        (json!(5), json!(7))
    );
    assert_quiet(&browser);
}

#[test]
fn names_from_files_are_text() {
    let (_folder, path) = made(EVIL);
    let html = fs::read_to_string(&path).unwrap();
    // The page has four scripts of its own.
    assert_eq!(html.matches("</script>").count(), 3, "a name ends a script");
    assert!(!html.contains("/home/ada"), "a folder of the machine is told");
    assert!(html.contains("…/code"));
    let browser = Browser::open(&path);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    assert_eq!(browser.text("return document.querySelector('h1').textContent"), EVIL);
    assert!(browser.text("return document.title").starts_with("</script>"));
    assert_eq!(
        browser.run("return document.querySelectorAll('main b, main img:not([loading])').length"),
        json!(0)
    );
    assert_quiet(&browser);
}

#[test]
fn a_page_shows_only_existing_records() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    // A run that has just begun, beside published heatmaps.
    fs::create_dir(of("fresh")).unwrap();
    fs::write(of("fresh/metrics.jsonl"), "").unwrap();
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published_head_entropies.toml");
    let comparison = Comparison::load(&[of("fresh"), published.clone()]).unwrap();
    let html = page(&comparison, &Options::default()).unwrap();
    assert!(html.contains("58% of heads overloaded") && html.contains("4 heatmaps from print"));
    fs::write(of("few.html"), &html).unwrap();
    let browser = Browser::open(&of("few.html"));
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    assert_quiet(&browser);
    // Nothing to report on; the same run twice; a study none of whose runs has begun.
    assert_eq!(page(&Comparison::default(), &Options::default()).unwrap_err().kind, Kind::Usage);
    let twice = Comparison::load(&[&published, &published]).unwrap_err();
    assert_eq!(twice.kind, Kind::Usage);
    write(folder.path(), "study", &CONFIGURATIONS[..1], &[1], SIZE);
    fs::remove_dir_all(of("sm_ln_g-seed1")).unwrap();
    assert_eq!(Comparison::load(&[folder.path()]).unwrap_err().kind, Kind::RunFolder);
}

#[test]
fn a_large_report_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let size = Size { layers: 12, heads: 12, steps: 3000, every: 50 };
    let made: &[Made] = &CONFIGURATIONS[..5];
    for of in made {
        for seed in 1..=4 {
            write_run(&folder.path().join(format!("{}-seed{seed}", of.0)), of, seed, size);
        }
    }
    let paths: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let start = std::time::Instant::now();
    let comparison = Comparison::load(&paths).unwrap();
    assert_eq!(
        (comparison.runs.len(), comparison.groups.len()),
        (20, 5),
        "plain runs are grouped by their settings"
    );
    let html = page(&comparison, &Options::default()).unwrap();
    println!("{} bytes in {:.1} s", html.len(), start.elapsed().as_secs_f64());
    assert!(html.len() < 10_000_000, "{} bytes", html.len());
    let path = folder.path().join("large.html");
    fs::write(&path, html).unwrap();
    let browser = Browser::open(&path);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    println!(
        "interactive and drawn after {} ms",
        browser.text("const d = document.documentElement.dataset; return d.ready + ' and ' + d.drawn")
    );
    assert_quiet(&browser);
}
