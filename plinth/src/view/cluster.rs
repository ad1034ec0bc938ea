//! The cluster as a whole.

use proto::v1;
use serde::Serialize;

use crate::output::{Detail, facts, size, table};

/// A voter that the leader has not heard for longer is called silent.
const HEARD_MS_MAX: u64 = 3000;

/// How a cluster is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    cluster: String,
    /// The voters and learners.
    pub voters: Vec<Voter>,
    leader: u64,
    term: u64,
    revision: u64,
    nodes: u64,
    nodes_up: u64,
    volumes: u64,
    volumes_ready: u64,
    attachments: u64,
    operations_running: u64,
    capacity_bytes: u64,
    used_bytes: u64,
    promised_bytes: u64,
    tombstones: u64,
    snapshots: u64,
    volumes_retired: u64,
    snapshot_deletions: u64,
    settings: Settings,
    /// The worst first.
    pub problems: Vec<Problem>,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: String,
    /// What is wrong and what to do.
    pub sentence: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Something is degraded.
    Warning,
    /// Data cannot be reached.
    Critical,
}

/// A voter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Voter {
    id: u64,
    address: String,
    role: Role,
    heard_ms: Option<u64>,
    lag: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Leader,
    Voter,
    /// It gets the log and has no vote.
    Learner,
}

/// What holds for the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Settings {
    overcommit_percent: u64,
    full_percent: u64,
    replace_after_ms: u64,
}

impl From<v1::StatusReply> for Status {
    fn from(status: v1::StatusReply) -> Self {
        Self {
            cluster: status.cluster,
            voters: Voter::all(status.voters, status.leader),
            leader: status.leader,
            term: status.term,
            revision: status.revision,
            nodes: status.nodes,
            nodes_up: status.nodes_up,
            volumes: status.volumes,
            volumes_ready: status.volumes_ready,
            attachments: status.attachments,
            operations_running: status.operations_running,
            capacity_bytes: status.capacity_bytes,
            used_bytes: status.used_bytes,
            promised_bytes: status.promised_bytes,
            tombstones: status.tombstones,
            snapshots: status.snapshots,
            volumes_retired: status.volumes_retired,
            snapshot_deletions: status.snapshot_deletions,
            settings: status.settings.unwrap_or_default().into(),
            problems: status.problems.into_iter().map(Problem::from).collect(),
        }
    }
}

impl From<v1::Problem> for Problem {
    fn from(problem: v1::Problem) -> Self {
        let severity = match problem.severity() {
            v1::problem::Severity::Notice => Severity::Notice,
            // What a later version calls otherwise is not to be overlooked.
            v1::problem::Severity::Unspecified | v1::problem::Severity::Warning => Severity::Warning,
            v1::problem::Severity::Critical => Severity::Critical,
        };
        Self { severity, subject: problem.subject, sentence: problem.sentence }
    }
}

impl From<v1::Settings> for Settings {
    fn from(settings: v1::Settings) -> Self {
        let v1::Settings { overcommit_percent, full_percent, replace_after_ms } = settings;
        Self { overcommit_percent, full_percent, replace_after_ms }
    }
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
        }
    }
}

impl Voter {
    /// Those of an answer that names no leader have none.
    pub fn all(voters: Vec<v1::Voter>, leader: u64) -> Vec<Self> {
        voters.into_iter().map(|voter| Self::of(voter, leader)).collect()
    }

    fn of(voter: v1::Voter, leader: u64) -> Self {
        let role = match (voter.id == leader, voter.votes) {
            (true, _) => Role::Leader,
            (false, true) => Role::Voter,
            (false, false) => Role::Learner,
        };
        Self { id: voter.id, address: voter.address, role, heard_ms: voter.heard_ms, lag: voter.lag }
    }

    fn is_heard(&self) -> bool {
        self.role == Role::Leader || self.heard_ms.is_some_and(|heard| heard <= HEARD_MS_MAX)
    }

    fn heard(&self) -> String {
        match (self.role, self.heard_ms) {
            (Role::Leader, _) => "-".to_owned(),
            (Role::Voter | Role::Learner, None) => "never".to_owned(),
            (Role::Voter | Role::Learner, Some(ms)) if ms < 1000 => format!("{ms}ms ago"),
            (Role::Voter | Role::Learner, Some(ms)) => format!("{}s ago", ms / 1000),
        }
    }

    /// A row each.
    pub fn table(voters: &[Self]) -> String {
        let mut table = table::new(&["ID", "ADDRESS", "ROLE", "HEARD", "LAG"]);
        for voter in voters {
            table.add_row([
                voter.id.to_string(),
                voter.address.clone(),
                voter.role.word().to_owned(),
                voter.heard(),
                voter.lag.to_string(),
            ]);
        }
        table::lines(table)
    }
}

impl Settings {
    /// In full.
    pub fn facts(self) -> String {
        facts([
            ("overcommit percent", self.overcommit_percent.to_string()),
            ("full percent", self.full_percent.to_string()),
            ("replace after", format!("{} s", self.replace_after_ms / 1000)),
        ])
    }
}

impl Status {
    /// A line for each thing that there is, and one for each that is wrong.
    pub fn text(&self, detail: Detail) -> String {
        let mut text = facts([
            ("voters", self.voters_line()),
            ("nodes", format!("{} of {} up", self.nodes_up, self.nodes)),
            ("volumes", self.volumes_line()),
            ("snapshots", self.snapshots_line()),
            ("space", self.space_line()),
        ]);
        if detail == Detail::Wide {
            text += &facts([("cluster", format!("{}, revision {}", self.cluster, self.revision))]);
            text += &format!("\n{}\n{}", Voter::table(&self.voters), self.settings.facts());
        }
        text + "\n" + &self.problems_text()
    }

    fn problems_text(&self) -> String {
        if self.problems.is_empty() {
            return "All is well.\n".to_owned();
        }
        let mut table = table::bare();
        for problem in &self.problems {
            table.add_row([problem.severity.word(), problem.subject.as_str(), problem.sentence.as_str()]);
        }
        table::lines(table)
    }

    fn voters_line(&self) -> String {
        let (voters, learners): (Vec<&Voter>, Vec<&Voter>) =
            self.voters.iter().partition(|voter| voter.role != Role::Learner);
        let heard = voters.iter().filter(|voter| voter.is_heard()).count();
        let mut line = format!("{heard} of {} heard, {} leads in term {}", voters.len(), self.leader, self.term);
        if !learners.is_empty() {
            line += &format!(", {} learning", learners.len());
        }
        line
    }

    fn volumes_line(&self) -> String {
        let mut line = format!("{} of {} ready, {} attached", self.volumes_ready, self.volumes, self.attachments);
        if self.operations_running > 0 {
            line += &format!(", {} operations running", self.operations_running);
        }
        if self.tombstones > 0 {
            line += &format!(", {} deleted whose space is not free yet", self.tombstones);
        }
        line
    }

    fn snapshots_line(&self) -> String {
        let mut line = self.snapshots.to_string();
        if self.volumes_retired > 0 {
            line += &format!(", and for them {} deleted volumes", self.volumes_retired);
        }
        if self.snapshot_deletions > 0 {
            line += &format!(", {} deleted whose space is not free yet", self.snapshot_deletions);
        }
        line
    }

    fn space_line(&self) -> String {
        let Self { used_bytes, capacity_bytes, promised_bytes, .. } = self;
        let (used, capacity, promised) =
            (size::show(*used_bytes), size::show(*capacity_bytes), size::show(*promised_bytes));
        let percent = percent(*used_bytes, *capacity_bytes);
        format!("{used} of {capacity} used ({percent}%), {promised} promised")
    }

    /// One line, for those who watch.
    pub fn line(&self) -> String {
        let worst = self.problems.first().map_or_else(
            || "all is well".to_owned(),
            |problem| format!("{} {}: {}", problem.severity.word(), problem.subject, problem.sentence),
        );
        format!(
            "revision {}  nodes {}/{}  volumes {}/{}  operations {}  used {}%  {worst}\n",
            self.revision,
            self.nodes_up,
            self.nodes,
            self.volumes_ready,
            self.volumes,
            self.operations_running,
            percent(self.used_bytes, self.capacity_bytes),
        )
    }
}

fn percent(part: u64, whole: u64) -> u128 {
    u128::from(part) * 100 / u128::from(whole.max(1))
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::Status;
    use crate::output::Detail;

    fn status() -> v1::StatusReply {
        let voter =
            |id: u64, votes, heard_ms| v1::Voter { id, address: format!("c{id}:10700"), votes, heard_ms, lag: id };
        v1::StatusReply {
            cluster: "00ff".into(),
            voters: vec![
                voter(1, true, None),
                voter(2, true, Some(120)),
                voter(3, true, Some(9000)),
                voter(4, false, None),
            ],
            leader: 1,
            term: 4,
            revision: 99,
            nodes: 3,
            nodes_up: 2,
            volumes: 12,
            volumes_ready: 11,
            attachments: 4,
            operations_running: 1,
            capacity_bytes: 4 << 40,
            used_bytes: 1 << 40,
            promised_bytes: 3 << 40,
            tombstones: 2,
            snapshots: 7,
            volumes_retired: 1,
            snapshot_deletions: 3,
            settings: Some(v1::Settings { overcommit_percent: 150, full_percent: 90, replace_after_ms: 600_000 }),
            problems: vec![
                v1::Problem { severity: 3, subject: "volume db".into(), sentence: "It cannot be reached.".into() },
                v1::Problem { severity: 1, subject: "node n2".into(), sentence: "It is cordoned.".into() },
            ],
        }
    }

    #[test]
    fn the_status_tells_at_a_glance_what_is_wrong() {
        let expected = "\
voters     2 of 3 heard, 1 leads in term 4, 1 learning
nodes      2 of 3 up
volumes    11 of 12 ready, 4 attached, 1 operations running, 2 deleted whose space is not free yet
snapshots  7, and for them 1 deleted volumes, 3 deleted whose space is not free yet
space      1TiB of 4TiB used (25%), 3TiB promised

CRITICAL  volume db  It cannot be reached.
notice    node n2    It is cordoned.
";
        assert_eq!(Status::from(status()).text(Detail::Usual), expected);
    }

    #[test]
    fn a_cluster_without_problems_is_well() {
        let healthy = v1::StatusReply { problems: vec![], tombstones: 0, operations_running: 0, ..status() };
        let text = Status::from(healthy).text(Detail::Usual);
        assert!(text.ends_with("\n\nAll is well.\n"), "{text}");
        assert!(text.contains("11 of 12 ready, 4 attached\n"), "{text}");
        assert!(Status::from(v1::StatusReply::default()).text(Detail::Usual).contains("0B of 0B used (0%)"));
    }

    #[test]
    fn wide_adds_the_voters_and_the_settings() {
        let text = Status::from(status()).text(Detail::Wide);
        let expected = "
ID  ADDRESS   ROLE     HEARD      LAG
1   c1:10700  leader   -          1
2   c2:10700  voter    120ms ago  2
3   c3:10700  voter    9s ago     3
4   c4:10700  learner  never      4

overcommit percent  150
full percent        90
replace after       600 s
";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_watcher_gets_a_line() {
        let expected = "revision 99  nodes 2/3  volumes 11/12  operations 1  used 25%  CRITICAL volume db: It cannot be reached.\n";
        assert_eq!(Status::from(status()).line(), expected);
    }

    #[test]
    fn programs_see_stable_names() {
        let json = serde_json::to_value(Status::from(status())).unwrap();
        assert_eq!(
            json["voters"][3],
            serde_json::json!({
                "id": 4, "address": "c4:10700", "role": "learner", "heard_ms": null, "lag": 4,
            })
        );
        assert_eq!(json["problems"][0]["severity"], "critical");
        assert_eq!(json["settings"]["overcommit_percent"], 150);
        assert_eq!(json["capacity_bytes"], 4_u64 << 40);
    }
}
