//! The live view, in its own terminal: it appears, it reacts, and it restores the terminal.

use super::Place;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A terminal with a shell in it, which runs one command and shows the terminal's settings before and after.
struct Terminal {
    screen: Arc<Mutex<vt100::Parser>>,
    keys: Box<dyn Write + Send>,
    master: Box<dyn MasterPty + Send>,
    shell: Box<dyn Child + Send + Sync>,
}

impl Terminal {
    fn run(place: &Place, arguments: &str, environment: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: 24, cols: 80, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut shell = CommandBuilder::new("sh");
        let program = env!("CARGO_BIN_EXE_normfree");
        shell.args([
            "-c",
            &format!("stty -a > before; '{program}' {arguments}; echo code $?; stty -a > after"),
        ]);
        shell.cwd(place.path(""));
        for name in ["NO_COLOR", "COLORTERM"] {
            shell.env_remove(name);
        }
        shell.env("TERM", "xterm-256color");
        shell.env("NORMFREE_CACHE", place.path("cache"));
        environment.iter().for_each(|(name, value)| shell.env(name, value));
        let child = pair.slave.spawn_command(shell).unwrap();
        // The master reads to the end only if nobody else holds the other side.
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(24), cells(80), 1000)));
        let (mut out, parser) = (pair.master.try_clone_reader().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..count]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { screen, keys, master: pair.master, shell: child }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen shows the text.
    #[track_caller]
    fn wait(&self, what: &str) {
        let began = Instant::now();
        while !self.text().contains(what) {
            assert!(began.elapsed() < Duration::from_secs(120), "`{what}` does not come:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the alternate screen is shown, and whether the cursor is hidden.
    fn taken(&self) -> (bool, bool) {
        let parser = self.screen.lock().unwrap();
        (parser.screen().alternate_screen(), parser.screen().hide_cursor())
    }

    /// Sets its window's size.
    fn resize(&self, rows: u16, columns: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(PtySize { rows, cols: columns, ..PtySize::default() }).unwrap();
    }

    fn press(&mut self, key: &[u8]) {
        self.keys.write_all(key).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for the end, checks that the terminal is restored, and returns what is on it.
    #[track_caller]
    fn end(mut self, place: &Place) -> String {
        self.wait("code ");
        self.shell.wait().unwrap();
        assert_eq!(self.taken(), (false, false), "{}", self.text());
        let settings = |name: &str| fs::read_to_string(place.path(name)).unwrap();
        assert_eq!(settings("before"), settings("after"));
        assert!(settings("before").contains("rows 24"), "{}", settings("before"));
        self.text()
    }
}

/// Rows or columns.
fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

const LONG: &str = "train tiny.toml --run r --set train.steps=1000000 --set train.eval_every=40 \
                    --set model.activation_function=learnable_lrelu";

fn resume() -> String {
    "train --resume --run r".to_owned()
}

#[test]
fn a_person_sees_it_and_presses_q() {
    let place = Place::with_data();
    let mut terminal = Terminal::run(&place, LONG, &[]);
    terminal.wait("entropy of heads");
    terminal.wait("held-out loss");
    assert_eq!(terminal.taken(), (true, true), "{}", terminal.text());
    for part in ["/1,000,000", "loss, nats per token", "tokens/s", "learning rate", "slopes, layer by layer"]
    {
        terminal.wait(part);
    }
    // Its parts, on the whole screen.
    terminal.press(b"\t");
    let without = |terminal: &Terminal, what: &str| {
        let began = Instant::now();
        while terminal.text().contains(what) {
            assert!(began.elapsed() < Duration::from_secs(60), "`{what}` stays:\n{}", terminal.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    without(&terminal, "entropy of heads");
    terminal.press(b"4");
    terminal.wait("layers, as last measured");
    terminal.press(b"1");
    terminal.wait("entropy of heads");
    // A head's cell has a colour of the 256; the text of the numbers has none.
    let coloured = |terminal: &Terminal| {
        let parser = terminal.screen.lock().unwrap();
        let cells = (0..24).flat_map(|y| (0..80).map(move |x| (y, x)));
        cells
            .filter(|&(y, x)| {
                parser
                    .screen()
                    .cell(y, x)
                    .is_some_and(|cell| matches!(cell.bgcolor(), vt100::Color::Idx(16..)))
            })
            .count()
    };
    assert!(coloured(&terminal) > 8, "{}", terminal.text());
    // It follows the size of its window.
    terminal.resize(40, 120);
    let began = Instant::now();
    let wide = |text: &str| text.lines().any(|line| line.chars().count() > 100 && line.contains("q: stop"));
    while !wide(&terminal.text()) {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", terminal.text());
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.resize(24, 80);
    // Whoever presses a key sees the current window: if a key arrives at the same moment as a new size, crossterm delivers it
    // only with the next key.
    let narrow = |text: &str| text.lines().any(|line| line.contains("q: stop, with a checkpoint"));
    let began = Instant::now();
    while !narrow(&terminal.text()) || wide(&terminal.text()) {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", terminal.text());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    terminal.press(b"q");
    let told = terminal.end(&place);
    for part in ["held-out loss", "interrupted after step", "code 130"] {
        assert!(told.contains(part), "`{part}` is missing in\n{told}");
    }

    // Ctrl-C is read as a key; SIGTERM arrives as a signal.
    let mut terminal = Terminal::run(&place, &resume(), &[("NO_COLOR", "1")]);
    terminal.wait("ceiling ");
    terminal.press(b"\x03");
    let told = terminal.end(&place);
    assert!(told.contains("interrupted after step") && told.contains("code 130"), "{told}");
    let terminal = Terminal::run(&place, &resume(), &[("COLORTERM", "truecolor")]);
    terminal.wait("entropy of heads");
    let lock = fs::read_to_string(place.path("r/run.lock")).unwrap();
    assert!(Command::new("kill").args(["-TERM", lock.trim()]).status().unwrap().success());
    let told = terminal.end(&place);
    assert!(told.contains("interrupted after step") && told.contains("code 130"), "{told}");
}

#[test]
fn lines_replace_the_view_if_it_is_unwanted_or_impossible() {
    let place = Place::with_data();
    let cases: [(&str, &[(&str, &str)]); 4] = [
        ("train tiny.toml --run a --plain", &[]),
        ("train tiny.toml --run b", &[("TERM", "dumb")]),
        ("train tiny.toml --run c < /dev/null", &[]),
        ("train tiny.toml --run d --quiet", &[]),
    ];
    for (arguments, environment) in cases {
        let terminal = Terminal::run(&place, arguments, environment);
        let told = terminal.end(&place);
        assert!(told.contains("12 steps done") && told.contains("code 0"), "{told}");
        let lines = told.contains("12/12  smoothed loss") && told.contains("step 6: held-out loss");
        assert_eq!(lines, !arguments.contains("quiet"), "{arguments}: {told}");
    }
    // A view that has ended leaves its notes and the result.
    let told = Terminal::run(&place, "train tiny.toml --run e", &[]).end(&place);
    for part in ["step 6: held-out loss", "12/12  smoothed loss", "12 steps done", "code 0"] {
        assert!(told.contains(part), "`{part}` is missing in\n{told}");
    }
}

/// A view shows one run, and leaves only its last step.
#[test]
fn several_jobs_print_lines() {
    let place = Place::with_data();
    let study =
        "[study]\nname = \"two\"\nbaseline = \"r\"\nseeds = [1, 2]\n\n[[configuration]]\nname = \"r\"\n\n";
    let model = fs::read_to_string(place.path("tiny.toml")).unwrap();
    fs::write(place.path("two.toml"), format!("{study}{model}")).unwrap();
    let study = "study two.toml --out s --set train.steps=2 --device cpu --threads 2 --jobs 2";
    let told = Terminal::run(&place, study, &[]).end(&place);
    for part in
        ["1/2 r-seed1  1/2  smoothed loss", "2/2 r-seed2  1/2  smoothed loss", "2 of 2 runs done", "code 0"]
    {
        assert!(told.contains(part), "`{part}` is missing in\n{told}");
    }
}
