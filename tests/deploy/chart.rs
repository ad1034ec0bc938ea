//! The chart, rendered with every example and held against Kubernetes' schemas: once for all tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use tests::skip::skip;
use tests::tool::{self, tool};

use crate::assert_none;
use crate::objects::read;

/// Examples, and the versions of Kubernetes that they are for.
const EXAMPLES: [(&str, &str); 3] = [
    ("minimal", "1.29,1.30,1.32,1.33,1.34,1.35,1.36,1.37"),
    ("production", "1.34,1.35,1.36,1.37"),
    ("single", "1.29,1.33,1.37"),
];
/// The version that the chart is told it is rendered for; it does not go by it.
const VERSION: &str = "1.35.0";
/// For compiling helm, once: longer than other tools may run.
const INSTALL_SECONDS: &str = "1200";

/// An example, rendered.
pub(crate) struct Rendered {
    /// Its name.
    pub name: &'static str,
    /// All it makes.
    pub objects: Vec<Value>,
}

/// What was rendered, and what Kubernetes would complain of.
struct Chart {
    rendered: Vec<Rendered>,
    complaints: Vec<String>,
}

/// Programs that are installed for these tests.
pub(crate) struct Tools {
    /// The program helm.
    pub helm: PathBuf,
    /// Where Python finds what `requirements.txt` names.
    pub python: PathBuf,
}

static TOOLS: LazyLock<Result<Tools, String>> = LazyLock::new(|| {
    let helm = install(&[".ci/helm"])?.join("helm");
    let python = install(&[".ci/python", "tests/deploy/requirements.txt"])?;
    Ok(Tools { helm, python })
});

static CHART: LazyLock<Option<Chart>> = LazyLock::new(|| TOOLS.as_ref().ok().map(render_all));

/// The tools, or a skip that says what is missing.
pub(crate) fn tools(test: &str) -> Option<&'static Tools> {
    TOOLS.as_ref().map_err(|why| skip(test, why)).ok()
}

/// Every example, rendered.
pub(crate) fn rendered(test: &str) -> Option<&'static [Rendered]> {
    tools(test)?;
    CHART.as_ref().map(|chart| chart.rendered.as_slice())
}

/// The example that exercises everything.
pub(crate) fn production(test: &str) -> Option<&'static [Value]> {
    rendered(test)?.iter().find(|one| one.name == "production").map(|one| one.objects.as_slice())
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie below the root")
}

/// `helm template` with more arguments.
pub(crate) fn template(tools: &Tools, arguments: &[&str]) -> Command {
    let mut command = tool(tools.helm.to_str().expect("the cache's path is UTF-8"));
    command.args(["template", "plinth", "deploy/helm/plinth", "--namespace", "plinth", "--kube-version", VERSION]);
    command.args(arguments).current_dir(root());
    command
}

fn install(command: &[&str]) -> Result<PathBuf, String> {
    let output = Command::new("timeout").arg(INSTALL_SECONDS).args(command).current_dir(root()).output();
    let output = output.map_err(|error| format!("{}: {error}", command[0]))?;
    if !output.status.success() {
        return Err(format!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn values(name: &str) -> String {
    format!("deploy/helm/examples/{name}.yaml")
}

fn render_all(tools: &Tools) -> Chart {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name).with_extension("yaml");
    for (name, _) in EXAMPLES {
        let text = tool::run(&mut template(tools, &["--values", &values(name)]));
        fs::write(file(name), text).expect("a file in it");
    }
    let files: Vec<(PathBuf, &str)> = EXAMPLES.iter().map(|(name, versions)| (file(name), *versions)).collect();
    let mut answer = read(tools, &files);
    let rendered = EXAMPLES.iter().zip(&files).map(|((name, _), (path, _))| Rendered {
        name,
        objects: answer.objects.remove(path).expect("every file is read"),
    });
    Chart { rendered: rendered.collect(), complaints: answer.complaints }
}

#[test]
fn kubernetes_would_take_every_object() {
    if rendered("kubernetes_would_take_every_object").is_none() {
        return;
    }
    let chart = CHART.as_ref().expect("it was rendered");
    assert_none("these objects are not as Kubernetes' schemas have them", &chart.complaints);
    for one in &chart.rendered {
        assert!(one.objects.len() > 20, "{} has {} objects only", one.name, one.objects.len());
    }
}

#[test]
fn helm_has_nothing_to_complain_of() {
    let Some(tools) = tools("helm_has_nothing_to_complain_of") else { return };
    for (name, _) in EXAMPLES {
        let mut lint = tool(tools.helm.to_str().expect("the cache's path is UTF-8"));
        lint.args(["lint", "--strict", "--quiet", "--kube-version", VERSION, "deploy/helm/plinth", "--values"]);
        tool::run(lint.arg(values(name)).current_dir(root()));
    }
}

#[test]
fn a_planted_mistake_in_an_object_is_found() {
    let test = "a_planted_mistake_in_an_object_is_found";
    let Some(tools) = tools(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("planted.yaml");
    let plant = |text: &str| {
        fs::write(&file, text).unwrap();
        read(tools, &[(file.clone(), "1.30")]).complaints
    };
    let class = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: x}\nprovisioner: y\n";
    assert_none("this one is right", &plant(class));
    let rows = [
        ("reclaimPolice: Delete\n", "reclaimPolice"),
        ("allowVolumeExpansion: maybe\n", "maybe"),
        ("provisioner: z\n", "provisioner given twice"),
        ("---\napiVersion: v1\nkind: Pood\nmetadata: {name: x}\n", "Pood"),
        (
            "---\napiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotClass\nmetadata: {name: x}\ndriver: y\n\
             deletionPolicy: Forget\n",
            "Forget",
        ),
    ];
    for (text, words) in rows {
        crate::assert_found(&plant(&format!("{class}{text}")), words);
    }
}
