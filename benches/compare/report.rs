//! Medians, ratios, and how they are shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::bar::{BARS, Bar, Figure};
use crate::fio::Run;
use crate::job::{JOBS, Job};
use crate::meter::Spent;
use crate::peer::Peer;
use crate::scene::Scene;

/// One run of one job against one peer.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What the client saw.
    pub run: Run,
    /// What it cost.
    pub spent: Spent,
}

/// All runs.
#[derive(Debug)]
pub struct Report {
    machine: String,
    peers: Vec<Peer>,
    runs: BTreeMap<(&'static str, Peer), Vec<Measured>>,
    idle_percent: Option<f64>,
}

impl Report {
    /// No runs yet.
    pub fn new(scene: &Scene, peers: &[Peer]) -> Self {
        let chosen = format!(
            "{} rounds, {} s a job, volume {} GiB",
            scene.rounds,
            scene.job_time.as_secs(),
            scene.volume_bytes >> 30
        );
        let machine = format!("{}; {chosen}", machine(scene.folder()));
        Self { machine, peers: peers.to_vec(), runs: BTreeMap::new(), idle_percent: None }
    }

    /// Adds a run.
    pub fn push(&mut self, peer: Peer, job: &'static Job, measured: Measured) {
        self.runs.entry((job.name, peer)).or_default().push(measured);
    }

    /// Adds the cost of a node without clients, a share of one core.
    pub fn set_idle(&mut self, share: f64) {
        self.idle_percent = Some(share * 100.0);
    }

    /// Whether every bar that could be measured is reached.
    pub fn passes(&self) -> bool {
        BARS.iter().filter_map(|bar| Some(bar.mark(self.value(bar)?))).all(|mark| mark != "FAIL")
    }

    /// The tables.
    pub fn text(&self) -> String {
        let mut text = format!("\n{}\n\n", self.machine);
        let heads = ["IOPS", "/raw", "p50 us", "p99 us", "CPU us/op", "dev w/op", "dev B/op", "enters/op"];
        for job in JOBS.iter().map(|job| job.name).filter(|job| self.runs.keys().any(|(name, _)| name == job)) {
            let _ = write!(text, "{job:28}");
            heads.iter().for_each(|head| _ = write!(text, "{head:>10}"));
            text.push('\n');
            for peer in &self.peers {
                self.row(job, *peer, &mut text);
            }
            text.push('\n');
        }
        let _ = writeln!(text, "{:48}{:>9}{:>8}{:>8}", "bar", "is", "must", "aim");
        for bar in &BARS {
            let value = self.value(bar);
            let shown = value.map_or("-".to_owned(), |value| format!("{value:.2}"));
            let mark = value.map_or("not measured", |value| bar.mark(value));
            let _ = writeln!(text, "{:48}{shown:>9}{:>8.2}{:>8.2}  {mark}", bar.name(), bar.must, bar.aim);
        }
        text
    }

    fn row(&self, job: &str, peer: Peer, text: &mut String) {
        let Some(iops) = self.median(job, peer, |measured| Some(measured.run.iops)) else { return };
        let per_operation = |figure: fn(&Spent) -> Option<f64>| {
            self.median(job, peer, |measured| Some(figure(&measured.spent)? / measured.run.operations))
        };
        let raw = self.median(job, Peer::Raw, |measured| Some(measured.run.iops));
        let has_server = |spent: &Spent| (spent.processor_seconds > 0.0).then_some(spent.processor_seconds * 1e6);
        let _ = write!(text, "  {:26}", peer.name());
        let columns = [
            (Some(iops), 0),
            (raw.map(|raw| iops / raw), 2),
            (self.median(job, peer, |measured| Some(measured.run.p50_us)), 1),
            (self.median(job, peer, |measured| Some(measured.run.p99_us)), 1),
            (per_operation(has_server), 2),
            (per_operation(|spent| Some(spent.device_writes)), 3),
            (per_operation(|spent| Some(spent.device_bytes)), 0),
            (per_operation(|spent| spent.enters), 3),
        ];
        for (value, digits) in columns {
            let shown = value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
            let _ = write!(text, "{shown:>10}");
        }
        text.push('\n');
    }

    /// Median over the rounds of a figure that is there in each.
    fn median(&self, job: &str, peer: Peer, figure: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let (_, runs) = self.runs.iter().find(|((name, one), _)| *name == job && *one == peer)?;
        let mut values: Vec<f64> = runs.iter().map(figure).collect::<Option<_>>()?;
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        Some(if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) })
    }

    fn value(&self, bar: &Bar) -> Option<f64> {
        let iops = |job, peer| self.median(job, peer, |measured| Some(measured.run.iops));
        match bar.figure {
            Figure::Ratio { of, to, job } => Some(iops(job, of)? / iops(job, to)?),
            Figure::Processor { peer, job } => self
                .median(job, peer, |measured| Some(measured.spent.processor_seconds * 1e6 / measured.run.operations)),
            Figure::Idle => self.idle_percent,
        }
    }

    /// Writes text and JSON into `benches/results/`, named by the time; answers the text's path.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn save(&self, text: &str) -> PathBuf {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        let path = folder.join(format!("{seconds}.txt"));
        std::fs::write(&path, text).expect("the results can be written");
        let json = serde_json::to_string_pretty(&self.json(seconds)).expect("numbers and strings");
        std::fs::write(path.with_extension("json"), json).expect("the results can be written");
        path
    }

    fn json(&self, seconds: u64) -> Value {
        let bars = BARS.iter().map(|bar| {
            let value = self.value(bar);
            let mark = value.map(|value| bar.mark(value));
            json!({ "name": bar.name(), "value": value, "must": bar.must, "aim": bar.aim, "mark": mark })
        });
        let runs = self.runs.iter().flat_map(|((job, peer), runs)| {
            runs.iter().map(move |measured| {
                let (run, spent) = (measured.run, measured.spent);
                json!({
                    "job": job, "peer": peer.name(), "iops": run.iops, "operations": run.operations,
                    "p50_us": run.p50_us, "p99_us": run.p99_us, "processor_seconds": spent.processor_seconds,
                    "device_writes": spent.device_writes, "device_bytes": spent.device_bytes, "enters": spent.enters,
                })
            })
        });
        let (bars, runs): (Vec<Value>, Vec<Value>) = (bars.collect(), runs.collect());
        json!({ "time": seconds, "machine": self.machine, "bars": bars, "runs": runs })
    }
}

/// Processor, cores, memory, kernel, filesystem, and the commit that is measured.
fn machine(folder: &Path) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let line = |path: &str, head: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(head));
        found.map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let folder = folder.to_str().expect("UTF-8");
    format!(
        "{} x {cores}, memory {}, Linux {}, {} on {}; commit {}",
        line("/proc/cpuinfo", "model name"),
        line("/proc/meminfo", "MemTotal"),
        said("uname", &["-r"]),
        said("findmnt", &["-no", "FSTYPE", "-T", folder]),
        said("findmnt", &["-no", "SOURCE", "-T", folder]),
        said("git", &["describe", "--always", "--dirty"]),
    )
}
