//! The systemd units: systemd understands them, and the program the command lines in them.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::node::program;
use tests::skip::skip;
use tests::tool::{output, run, tool};

/// What units call the program.
const INSTALLED: &str = "/usr/local/bin/plinth";

/// Names and texts of all units.
fn units() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let units = files.filter(|path| path.extension().is_some_and(|extension| extension == "service"));
    let found: Vec<_> = units
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(found.len() >= 3, "{found:?}");
    found
}

#[test]
fn the_program_understands_the_command_lines_of_its_units() {
    for (name, unit) in units() {
        let lines = unit.lines().filter_map(|line| {
            ["ExecStart=", "ExecStop=", "ExecStartPre="].iter().find_map(|key| line.strip_prefix(key))
        });
        let mut seen = 0;
        for line in lines {
            let mut words = line.split_whitespace().map(|word| word.replace("%i", "db"));
            assert_eq!(words.next().as_deref(), Some(INSTALLED), "{name}: {line}");
            // What is wrong is told before the help that stands behind it.
            let understood = output(Command::new(program()).args(words).arg("--help"));
            assert!(understood.status.success(), "{name}: {line}: {}", String::from_utf8_lossy(&understood.stderr));
            seen += 1;
        }
        assert!(seen > 0, "{name} starts nothing");
    }
    let misspelt = output(Command::new(program()).args(["attach", "db", "--foregound", "--help"]));
    assert!(!misspelt.status.success(), "a wrong option would not be noticed");
}

#[test]
fn systemd_understands_the_units() {
    if !output(Command::new("sh").args(["-c", "command -v systemd-analyze"])).status.success() {
        return skip("systemd_understands_the_units", "there is no systemd-analyze");
    }
    let folder = tempfile::Builder::new().prefix("plinth-").tempdir().unwrap();
    for (name, unit) in units() {
        let name = name.replace("@.", "@db.");
        let path = folder.path().join(name);
        // The program and its account are there when it is installed.
        let program = program();
        let lines = unit.lines().filter(|line| !line.starts_with("User=") && !line.starts_with("Group="));
        let unit: String = lines.map(|line| line.replace(INSTALLED, program.to_str().unwrap()) + "\n").collect();
        fs::write(&path, unit).unwrap();
        let said = run(tool("sh").args(["-c", "systemd-analyze verify --man=no \"$0\" 2>&1"]).arg(&path));
        let file = path.file_name().unwrap().to_str().unwrap();
        let complaints: Vec<&str> = said.lines().filter(|line| line.contains(file)).collect();
        assert_eq!(complaints, [""; 0], "{said}");
    }
}
