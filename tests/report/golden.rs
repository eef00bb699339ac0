//! Figures and tables that are text, compared with committed ones, so that a review shows the effect of a change in
//! drawing.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the committed files.
const FOLDER: &str = "tests/report/golden";
/// The command that updates them.
const RENEW: &str = "NORMFREE_RENEW=1 cargo test --test suite report::a_comparison";

/// Compares every text file with the committed file of the same name.
pub fn hold(written: &[PathBuf]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let mut held = 0;
    for path in written {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let name = path.file_name().unwrap().to_str().unwrap();
        let golden = folder.join(name);
        if crate::support::renews() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&golden, &text).unwrap();
        }
        let wanted = fs::read_to_string(&golden)
            .unwrap_or_else(|error| panic!("{FOLDER}/{name}: {error}; `{RENEW}` makes it"));
        // A checkout on Windows may have other line ends.
        let at = text.lines().zip(wanted.lines()).take_while(|(now, before)| now == before).count();
        let [now, before] = [&text, &wanted].map(|text| text.lines().nth(at));
        assert_eq!(
            now,
            before,
            "{name} differs from {FOLDER}/{name} at line {}; `{RENEW}` takes it over, if that is meant",
            at + 1
        );
        held += 1;
    }
    assert!(held >= 6, "only {held} files of text among {written:?}");
}
