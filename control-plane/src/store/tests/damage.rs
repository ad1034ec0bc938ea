//! Flipped bytes and cut files. Whatever is done to a store, it is refused in words, or holds what it held.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Held, fill, held};

/// Positions tried in each file, spread over it; the last bytes of it besides.
const POSITIONS: usize = 24;

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|file| file.unwrap()) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// Files below a folder that hold what a store holds.
fn files(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder.join("store")).unwrap().map(|file| file.unwrap().file_name());
    let ours = names.map(|name| PathBuf::from("store").join(name)).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".log") || name.ends_with(".sst") || name.starts_with("MANIFEST") || name == "CURRENT"
    });
    ours.chain([PathBuf::from("witness")]).collect()
}

/// Damages one file of a copy; answers whether the store is refused.
fn is_refused(folder: &Path, whole: &Held, file: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    copy(folder, scratch.path());
    let path = scratch.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    match held(scratch.path()) {
        Ok(found) => {
            assert_eq!(found, *whole, "{} was damaged, and the store says otherwise now", file.display());
            false
        }
        Err(error) => {
            assert!(error.to_string().len() > 40, "{error} says what is wrong");
            true
        }
    }
}

fn positions(len: usize) -> BTreeSet<usize> {
    let spread = (0..POSITIONS).map(|step| step * len / POSITIONS);
    spread.chain(len.saturating_sub(8)..len).filter(|position| *position < len).collect()
}

fn damage_everywhere(folder: &Path) {
    // To be opened is to write tables of what is in the log: a copy is opened.
    let scratch = tempfile::tempdir().unwrap();
    copy(folder, scratch.path());
    let whole = held(scratch.path()).unwrap();
    for file in files(folder) {
        let len = fs::read(folder.join(&file)).unwrap().len();
        let holds_records = file.extension().is_some_and(|ending| ending == "log" || ending == "sst");
        for position in positions(len) {
            is_refused(folder, &whole, &file, |bytes| bytes[position] ^= 0x10);
            let cut = is_refused(folder, &whole, &file, |bytes| bytes.truncate(position));
            assert!(cut || !holds_records, "{} cut to {position} of {len} went unnoticed", file.display());
        }
    }
}

#[test]
fn what_is_damaged_in_the_log_of_the_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    damage_everywhere(folder.path());
}

#[test]
fn what_is_damaged_in_the_tables_of_the_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    held(folder.path()).unwrap();
    assert!(files(folder.path()).iter().any(|file| file.extension().is_some_and(|ending| ending == "sst")));
    damage_everywhere(folder.path());
}

/// A copy from yesterday knows less than the others were promised.
#[test]
fn an_older_copy_of_the_database_is_refused() {
    let (folder, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    super::Store::open(folder.path(), super::VOTER).unwrap();
    copy(&folder.path().join("store"), older.path());
    fill(folder.path());
    fs::remove_dir_all(folder.path().join("store")).unwrap();
    copy(older.path(), &folder.path().join("store"));
    let error = held(folder.path()).err().unwrap();
    assert!(error.to_string().contains("it ends at"), "{error}");
}
