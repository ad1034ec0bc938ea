//! Objects of Kubernetes as JSON, and what tests look up in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use tests::tool::{self, PYTHON, tool};

use crate::chart::{Tools, root};

/// What was read.
pub(crate) struct Answer {
    /// The objects of each file.
    pub objects: BTreeMap<PathBuf, Vec<Value>>,
    /// What is not as the schemas have it.
    pub complaints: Vec<String>,
}

/// Reads YAML files, and holds what is in them against schemas of the versions beside them.
pub(crate) fn read(tools: &Tools, files: &[(PathBuf, &str)]) -> Answer {
    let mut command = tool(PYTHON);
    command.arg("tests/deploy/objects.py").env("PYTHONPATH", &tools.python).current_dir(root());
    command.args(files.iter().map(|(path, versions)| format!("{}:{versions}", path.display())));
    let mut answer: Value = serde_json::from_str(&tool::run(&mut command)).expect("it prints JSON");
    let Value::Object(objects) = answer["objects"].take() else { panic!("objects by file") };
    let list = |found: Value| found.as_array().expect("a list").clone();
    Answer {
        objects: objects.into_iter().map(|(path, found)| (path.into(), list(found))).collect(),
        complaints: texts(&answer["complaints"]),
    }
}

/// A list of texts; none when there is no list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// Kind and name, for complaints.
pub(crate) fn title(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// A text, or nothing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// What runs pods.
pub(crate) fn workloads(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| object["spec"]["template"]["spec"]["containers"].is_array())
}

/// All containers of a workload, those that run before the others included.
pub(crate) fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    let pod = &workload["spec"]["template"]["spec"];
    ["initContainers", "containers"].into_iter().flat_map(|list| pod[list].as_array().into_iter().flatten())
}

/// Whether a container runs our program.
pub(crate) fn is_ours(container: &Value) -> bool {
    let image = text(&container["image"]);
    let name = image.rsplit('/').next().and_then(|name| name.split(':').next());
    name == Some("plinth")
}
