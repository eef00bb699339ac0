//! Which of a folder's files are its data. A folder may be a collection of texts, such as a project's sources, or a data
//! set with its card beside it, as hubs keep them; of the second, the card must not become training text.

use std::fs;
use std::path::{Path, PathBuf};

use super::kinds::{Format, ends};
use super::listing::{Listing, Looked};
use crate::fault::{Fault, Kind, Result};
use crate::numbers::counted;

/// Files about data, not of them, by the beginning of their names.
const PAPERS: [&str; 7] = ["readme", "license", "licence", "copying", "notice", "citation", "changelog"];
/// Files that `datasets` and hubs write about data, which other programs do not.
const MARKS: [&str; 3] = ["dataset_info.json", "dataset_infos.json", "dataset_dict.json"];
/// Others beside data, whose names other programs use as well.
const ABOUT: [&str; 2] = ["state.json", "metadata.json"];

/// Adds what a folder holds to the listing. `extensions` says whether the user chose by the ends of names.
///
/// # Errors
/// [`Kind::Data`] for data that are not read, or have no column of documents.
pub fn add(looked: Vec<Looked>, source: &str, extensions: bool, listing: &mut Listing) -> Result<()> {
    let foreign: Vec<&Looked> = looked.iter().filter(|one| one.foreign.is_some_and(|f| f.is_data)).collect();
    if let Some(first) = foreign.first() {
        return Err(refused(first, foreign.len(), looked.len() == foreign.len(), extensions));
    }
    if is_data_set(&looked) {
        let (data, beside): (Vec<Looked>, Vec<Looked>) = looked.into_iter().partition(is_data);
        if let Some(first) = beside.first() {
            let others = match beside.len() - 1 {
                0 => String::new(),
                more => format!(" and {}", counted(more as u64, "more file")),
            };
            listing.notes.push(format!(
                "{source} is a data set: {}{others} beside its data {} left out",
                first.entry.relative,
                if beside.len() == 1 { "is" } else { "are" }
            ));
        }
        listing.entries.extend(data.into_iter().map(|one| one.entry));
        return Ok(());
    }
    listing.entries.extend(looked.into_iter().map(Looked::into_entry));
    Ok(())
}

/// Whether a folder is a data set: it holds rows, and nothing else but papers about them; or its own files say that it is one.
fn is_data_set(looked: &[Looked]) -> bool {
    let has_rows = looked.iter().any(|one| is_data(one) && one.entry.format.has_rows());
    let has_card =
        || looked.iter().any(|one| one.entry.relative == "README.md" && begins_with_fields(&one.entry.path));
    let is_marked = || looked.iter().any(|one| MARKS.contains(&name(one).as_str()));
    let nothing_else =
        || looked.iter().any(is_data) && looked.iter().all(|one| is_data(one) || is_paper(one));
    match has_rows {
        true => is_marked() || has_card() || nothing_else(),
        false => has_card() && nothing_else(),
    }
}

fn is_data(one: &Looked) -> bool {
    (one.entry.format.has_rows() || is_text(one)) && !is_paper(one)
}

/// Whether it is a text by its name, as those of data sets are.
fn is_text(one: &Looked) -> bool {
    one.foreign.is_none() && one.entry.format == Format::Text && ends(&one.entry.name, &["txt", "text"])
}

fn is_paper(one: &Looked) -> bool {
    let name = name(one);
    let about = [&MARKS[..], &ABOUT[..]].concat().contains(&name.as_str());
    let is_row = matches!(one.entry.format, Format::Parquet | Format::Arrow);
    one.foreign.is_some() || about || (!is_row && PAPERS.iter().any(|paper| name.starts_with(paper)))
}

fn name(one: &Looked) -> String {
    one.entry.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Whether a card begins with fields, as those of hubs do.
fn begins_with_fields(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 4];
    fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok()) && head == *b"---\n"
}

/// Data that are not read: alone, or beside text, which must not be taken for the data.
fn refused(first: &Looked, count: usize, alone: bool, extensions: bool) -> Fault {
    let foreign = first.foreign.expect("only such files are refused");
    let what = match alone {
        true => "the source holds data that this program does not read",
        false => "data that this program does not read are beside what it reads",
    };
    let found = match count {
        1 => foreign.name.to_owned(),
        2 => format!("{}, and 1 more file that is not read", foreign.name),
        _ => format!("{}, and {} more files that are not read", foreign.name, count - 1),
    };
    let fault = Fault::new(Kind::Data, what).at(first.entry.path.display()).found(found);
    let fault = match foreign.remedy {
        Some(remedy) => fault.remedy(remedy),
        None => fault.remedy("give the files to read"),
    };
    match extensions || alone {
        true => fault,
        false => fault.also("or choose what is read by --extensions"),
    }
}

/// Refuses a single file that is not read, or a JSON file without rows.
///
/// # Errors
/// [`Kind::Data`].
pub fn check_single(one: &Looked) -> Result<()> {
    if one.foreign.is_some() {
        return Err(refused(one, 1, true, true));
    }
    if one.entry.format == Format::Text && one.entry.bytes > 0 && ends(&one.entry.name, &["json"]) {
        return Err(Fault::new(Kind::Data, "a JSON file holds no rows")
            .at(one.entry.path.display())
            .found("neither an array of objects nor an object on each line")
            .remedy("write its documents as JSON lines, or rename it to .txt to train on its characters"));
    }
    Ok(())
}

/// Where the files of a folder are, if it is a hub's copy of a repository, which keeps files as links to others: of the
/// whole repository, its only snapshot.
///
/// # Errors
/// [`Kind::Data`] if there are several snapshots.
pub fn hub_snapshot(folder: &Path) -> Result<Option<PathBuf>> {
    let is_snapshot = folder.canonicalize().is_ok_and(|path| {
        let parent = path.parent();
        parent.is_some_and(|p| p.ends_with("snapshots") && p.with_file_name("blobs").is_dir())
    });
    if is_snapshot {
        return Ok(Some(folder.to_owned()));
    }
    let snapshots = folder.join("snapshots");
    if !snapshots.is_dir() || !folder.join("blobs").is_dir() {
        return Ok(None);
    }
    let listed = fs::read_dir(&snapshots).map_err(|e| Fault::io("list a folder", &snapshots, &e))?;
    let mut found: Vec<PathBuf> =
        listed.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    match found.as_slice() {
        [one] => Ok(Some(one.clone())),
        _ => Err(Fault::new(Kind::Data, "a repository of a hub has not one snapshot")
            .at(snapshots.display())
            .found(format!("{} of them", found.len()))
            .remedy("give the folder of one snapshot")),
    }
}
