//! Who imports whom. The table in ARCHITECTURE.md is the rule, and it is exact: a dependency that is not in it is
//! refused, and so is a line of it that is not true any more.

use std::collections::BTreeMap;

use crate::workspace::{Member, SourceFile, assert_none, members};

/// Every crate may use it, so the table does not say so.
const EVERYWHERE: &str = "thiserror";
/// They may import anything, and nothing imports them.
const LEAVES: [&str; 2] = ["benches", "tests"];

struct Row {
    workspace: Vec<String>,
    external: Vec<String>,
}

#[test]
fn crates_import_what_the_table_says() {
    let table = table();
    let mut places = Vec::new();
    for member in members().iter().filter(|member| !LEAVES.contains(&member.name.as_str())) {
        match table.get(&member.name) {
            Some(row) => places.extend(differences(member, row)),
            None => places.push(format!("{} has no row", member.name)),
        }
    }
    assert_none("the import table of ARCHITECTURE.md and cargo metadata differ", &places);
}

#[test]
fn the_table_names_no_crate_that_is_gone() {
    let members = members();
    let gone = |name: &&String| !members.iter().any(|member| &&member.name == name);
    let places: Vec<_> = table().keys().filter(gone).cloned().collect();
    assert_none("rows of ARCHITECTURE.md without a crate", &places);
}

#[test]
fn nothing_imports_the_tests_or_the_benches() {
    let members = members();
    let imports_leaf = |member: &&Member| member.workspace.iter().any(|name| LEAVES.contains(&name.as_str()));
    let places: Vec<_> = members.iter().filter(imports_leaf).map(|member| member.name.clone()).collect();
    assert_none("tests and benches are leaves", &places);
}

#[test]
fn every_dependency_has_its_sentence() {
    let architecture = SourceFile::read("ARCHITECTURE.md");
    let explained = |name: &str| architecture.text.lines().any(|line| line.starts_with(&format!("- `{name}`")));
    let shipped = members().into_iter().filter(|member| !LEAVES.contains(&member.name.as_str()));
    let mut names: Vec<_> = shipped.flat_map(|member| member.external).collect();
    names.sort();
    names.dedup();
    let places: Vec<_> = names.into_iter().filter(|name| !explained(name)).collect();
    assert_none("a dependency is a decision: give it a line \"- `name`: why\" in ARCHITECTURE.md", &places);
}

fn differences(member: &Member, row: &Row) -> Vec<String> {
    let external: Vec<_> = member.external.iter().filter(|name| *name != EVERYWHERE).cloned().collect();
    let mut found = compare(&member.name, &member.workspace, &row.workspace);
    found.extend(compare(&member.name, &external, &row.external));
    found
}

fn compare(name: &str, used: &[String], allowed: &[String]) -> Vec<String> {
    let refused = used.iter().filter(|one| !allowed.contains(one)).map(|one| format!("{name} may not import {one}"));
    let stale = allowed.iter().filter(|one| !used.contains(one)).map(|one| format!("{name} does not import {one}"));
    refused.chain(stale).collect()
}

/// Rows `| crate | workspace | external |`, names in backticks.
fn table() -> BTreeMap<String, Row> {
    let architecture = SourceFile::read("ARCHITECTURE.md");
    let heading = "| crate | workspace | external |";
    let rows = architecture.text.lines().skip_while(|line| *line != heading).skip(2);
    let table: BTreeMap<_, _> = rows.take_while(|line| line.starts_with('|')).map(row).collect();
    assert!(!table.is_empty(), "ARCHITECTURE.md has a table that begins with {heading:?}");
    table
}

fn row(line: &str) -> (String, Row) {
    let cells: Vec<Vec<String>> = line.split('|').map(quoted).collect();
    let [_, name, workspace, external, _] = &cells[..] else { panic!("not a row of three cells: {line}") };
    let [name] = &name[..] else { panic!("a row is about one crate: {line}") };
    (name.clone(), Row { workspace: workspace.clone(), external: external.clone() })
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
