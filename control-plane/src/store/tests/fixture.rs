//! A store folder as version 1 left it.

use std::path::Path;

use super::damage::copy;
use super::{fill, held};

/// Written with `PLINTH_WRITE_FIXTURES=1` if it is missing.
#[test]
fn a_store_of_version_1_is_opened() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1");
    if !kept.exists() && std::env::var("PLINTH_WRITE_FIXTURES").is_ok() {
        let made = tempfile::tempdir().unwrap();
        fill(made.path());
        copy(made.path(), &kept);
        let names = std::fs::read_dir(kept.join("store")).unwrap().map(|file| file.unwrap().path());
        let dispensable = |path: &std::path::PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name == "LOCK" || name == "LOG" || name.starts_with("OPTIONS")
        };
        for path in names.filter(dispensable) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let (scratch, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(&kept, scratch.path());
    fill(fresh.path());
    assert_eq!(held(scratch.path()).unwrap(), held(fresh.path()).unwrap());
}
