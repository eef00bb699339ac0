//! The table of keys.

mod data;
mod model;
mod observe;
mod row;
mod train;

use super::schema::Row;

/// All keys, table by table. The largest sizes keep every product of them within 64 bits.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    [model::ROWS, data::ROWS, train::ROWS, observe::ROWS].into_iter().flatten()
}

/// The row of a full key.
pub(super) fn find(key: &str) -> Option<&'static Row> {
    all().find(|row| row.key == key)
}

/// The rows of a table, each with its key without the table's name.
pub(super) fn of_table(table: &str) -> impl Iterator<Item = (&'static str, &'static Row)> {
    all().filter_map(move |row| Some((row.key.strip_prefix(table)?.strip_prefix('.')?, row)))
}
