//! Every command line of ours in what is installed is one that the program understands, and so is every config file.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::node::program;
use tests::skip::skip;
use tests::tool::{self, Running, tool};
use tests::wait;

use crate::assert_none;
use crate::chart::rendered;
use crate::objects::{containers, is_ours, of_kind, text, texts, title, workloads};

/// What Kubernetes would put in for what it knows only when a pod has a place.
const SAMPLES: [(&str, &str); 5] = [
    ("NODE_NAME", "ip-10-0-0-1.example.net"),
    ("HOST_IP", "10.0.0.1"),
    ("POD_NAME", "plinth-control-0"),
    ("ZONE", "north-a"),
    ("REGION", "north"),
];

/// The arguments of a container as Kubernetes passes them; a variable that the container does not have stays as it is.
pub(crate) fn arguments(container: &Value, samples: &[(&str, &str)]) -> Vec<String> {
    let variables: Vec<&str> =
        container["env"].as_array().into_iter().flatten().map(|variable| text(&variable["name"])).collect();
    let samples = samples.iter().filter(|(name, _)| variables.contains(name));
    let fill = |argument: String| {
        samples.clone().fold(argument, |text, (name, value)| text.replace(&format!("$({name})"), value))
    };
    texts(&container["args"]).into_iter().map(fill).collect()
}

/// Why the program would not take these arguments. With `--help` behind them it parses them and does nothing.
pub(crate) fn refusal(arguments: &[String]) -> Option<String> {
    if let Some(unknown) = arguments.iter().find(|argument| argument.contains("$(")) {
        return Some(format!("{unknown}: a variable that the container does not have"));
    }
    let output = tool::output(tool(&program().to_string_lossy()).args(arguments).arg("--help"));
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Whether the program has the plugin that Kubernetes calls.
pub(crate) fn has_plugin() -> bool {
    Command::new(program()).args(["csi", "--help"]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_program_understands_every_command_line() {
    let test = "the_program_understands_every_command_line";
    let Some(rendered) = rendered(test) else { return };
    let has_plugin = has_plugin();
    if !has_plugin {
        skip("csi_command_lines", "the program has no command csi");
    }
    let mut lines = BTreeMap::new();
    for workload in rendered.iter().flat_map(|one| workloads(&one.objects)) {
        for container in containers(workload).filter(|container| is_ours(container)) {
            lines.insert(arguments(container, &SAMPLES), title(workload));
        }
    }
    assert!(lines.len() > 10, "there are too few command lines: {lines:?}");
    let all = lines.into_iter().filter(|(arguments, _)| has_plugin || arguments[0] != "csi");
    let refused = all.filter_map(|(arguments, title)| Some(format!("{title}: {}", refusal(&arguments)?)));
    assert_none("the program refuses these command lines", &refused.collect::<Vec<_>>());
}

#[test]
fn a_planted_mistake_in_a_command_line_is_found() {
    let rows = [
        "storage --nob 10.0.0.1:10809",
        "storage --nbd=$(HOST_IP):10809",
        "storage --nbd=10.0.0.1",
        "storage --pool=/var/lib/pool:12Zorb",
        "storage --label=zone",
        "control --id 0",
        "cluster add-voter two c2:10700",
        "cluster add-voter 2 c2",
        "kontrol",
    ];
    for line in rows {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert!(refusal(&arguments).is_some(), "{line}");
    }
}

/// Starts a voter with a config file, as far as that can be done outside a cluster; answers what it says first.
fn first_words(config: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("voter.toml"), config).expect("a file in it");
    let options = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--advertise", "localhost"];
    let mut arguments: Vec<String> = ["control", "--config"].map(str::to_owned).to_vec();
    arguments.push(path("voter.toml").display().to_string());
    arguments.extend(["--data".to_owned(), path("data").display().to_string()]);
    arguments.extend(options.map(str::to_owned));
    let _voter = Running::start(&program(), &arguments, &path("log"));
    wait::until("the voter says something", || {
        let log = fs::read_to_string(path("log")).unwrap_or_default();
        log.lines().find(|line| line.contains("voter ") || line.starts_with("plinth: ")).map(str::to_owned)
    })
}

#[test]
fn every_voter_starts_with_its_config_file() {
    let Some(rendered) = rendered("every_voter_starts_with_its_config_file") else { return };
    let files = rendered.iter().flat_map(|one| of_kind(&one.objects, "ConfigMap"));
    let files = files.filter(|one| one["metadata"]["name"] == "plinth-control");
    let mut seen = BTreeMap::new();
    for (name, text) in files.flat_map(|one| one["data"].as_object().expect("files")) {
        seen.insert(text.as_str().expect("a text"), name);
    }
    assert_eq!(seen.len(), 4, "three voters, and one alone: {seen:?}");
    for (config, name) in seen {
        let said = first_words(config);
        let alone = !config.contains("others = [\"");
        let expected = if alone { " is at " } else { "founds no cluster before plinth-control-1." };
        assert!(said.contains(expected), "{name}: {said}");
        assert_eq!(config.contains("bootstrap = true"), name == "plinth-control-0.toml", "one voter founds: {config}");
    }
    let planted = first_words("id = 1\nlisen = '127.0.0.1:1'\n");
    assert!(planted.contains("unknown field `lisen`"), "{planted}");
}
