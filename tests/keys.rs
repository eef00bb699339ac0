//! The tables of keys in docs/configuration.md are what the program prints.

use normfree::config::keys;

#[test]
fn documentation_has_the_tables_that_the_program_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- keys -->\n").expect("the file marks where the tables begin");
    let (shown, after) = rest.split_once("<!-- /keys -->").expect("the file marks where they end");
    let printed = keys();
    if crate::support::renews() {
        std::fs::write(path, format!("{before}<!-- keys -->\n{printed}<!-- /keys -->{after}")).unwrap();
        return;
    }
    assert!(
        shown == printed,
        "the tables of keys in docs/configuration.md are not what `normfree keys` prints; \
         NORMFREE_RENEW=1 cargo test --test suite keys:: renews them"
    );
}

/// Only readers would notice a cell without its text, or a text that ends its cell.
#[test]
fn every_key_has_its_documentation_in_one_cell() {
    let tables = keys();
    let rows: Vec<&str> =
        tables.lines().filter(|line| line.starts_with("| `") && !line.contains("`[")).collect();
    assert!(rows.len() > 50, "the search finds nothing any more");
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        assert!(!cells[4].is_empty() && !cells[4].ends_with(": "), "{row}");
        assert!(!row.contains(": ;") && !row.ends_with(":  |"), "{row}");
    }
}
