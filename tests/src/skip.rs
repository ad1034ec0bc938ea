//! Tests that a machine cannot run say so, and where every skip was to be expected an unexpected one fails.

use std::io::Write as _;

/// Says that `test` does not run and why.
///
/// # Panics
/// When `PLINTH_EXPECT_SKIPS` is set (names with commas between) and does not name the test.
pub fn skip(test: &str, why: &str) {
    // Written past the test harness, which would swallow what a passing test prints.
    let line = format!("\nSKIPPED {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is there");
    if let Ok(expected) = std::env::var("PLINTH_EXPECT_SKIPS") {
        assert!(expected.split(',').any(|name| name == test), "{test} may not be skipped here: {why}");
    }
}
