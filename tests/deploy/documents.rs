//! Every command line of ours in the documents is one that the program understands.

use std::fs;
use std::path::PathBuf;

use crate::assert_none;
use crate::chart::root;
use crate::commands::{has_plugin, refusal};

/// The README and all of docs/.
fn documents() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("docs")).expect("the documents");
    let files = folder.map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|end| end == "md")).chain([root().join("README.md")]).collect()
}

/// The command lines in a document's shell blocks, without what stands around them.
fn command_lines(text: &str) -> Vec<String> {
    let mut is_shell = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            is_shell = kind == "sh";
        }
        let code = line.split(" # ").next().unwrap_or_default();
        let commands = code.split(['|', ';', '&', '>']).map(|command| command.trim_start_matches("host1# ").trim());
        found.extend(commands.filter(|command| is_shell && command.starts_with("plinth ")).map(str::to_owned));
    }
    found
}

/// Words as a shell makes them, as far as the documents go: single quotes, and `\\` before a line's end.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('\'').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.filter(|word| word != "\\").collect()
}

fn complaints(text: &str) -> Vec<String> {
    let has_plugin = has_plugin();
    let lines = command_lines(text).into_iter().map(|line| words(&line)[1..].to_vec());
    let ours = lines.filter(|line| has_plugin || line.first().is_none_or(|word| word != "csi"));
    ours.filter_map(|line| Some(format!("plinth {}: {}", line.join(" "), refusal(&line)?))).collect()
}

#[test]
fn the_program_understands_every_command_in_the_documents() {
    let mut count = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).expect("a document");
        count += command_lines(&text).len();
        assert_none(&path.display().to_string(), &complaints(&text));
    }
    assert!(count > 60, "there are too few command lines: {count}");
}

#[test]
fn a_command_that_is_none_is_found() {
    let text = "plinth no\n```sh\nplinth volume list   # all; plinth x\nplinth volume burn db && plinth status\n```\n";
    assert_eq!(command_lines(text), ["plinth volume list", "plinth volume burn db", "plinth status"]);
    let [complaint] = &complaints(text)[..] else { panic!("one is wrong: {:?}", complaints(text)) };
    assert!(complaint.starts_with("plinth volume burn db: "), "{complaint}");
    assert_eq!(words("plinth x --cron '30 2 * * *' \\"), ["plinth", "x", "--cron", "30 2 * * *"]);
}
