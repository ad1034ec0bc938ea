//! What has to be reached: every line a ratio or a figure, with what it must and what it should be.

use crate::peer::Peer;

/// Where a bar's figure comes from.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    /// Operations a second in `job` of `of` over those of `to`. More is better.
    Ratio {
        /// Who is measured.
        of: Peer,
        /// Compared with.
        to: Peer,
        /// In this job.
        job: &'static str,
    },
    /// Microseconds of server CPU per operation of `job`, all nodes together. Less is better.
    Processor {
        /// Whose.
        peer: Peer,
        /// In this job.
        job: &'static str,
    },
    /// Percent of a core without clients. Less is better.
    Idle,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// What it is.
    pub figure: Figure,
    /// Below this (above, where less is better) it fails.
    pub must: f64,
    /// Where it should be.
    pub aim: f64,
}

const fn ratio(to: Peer, job: &'static str, must: f64, aim: f64) -> Bar {
    Bar { figure: Figure::Ratio { of: Peer::Plinth, to, job }, must, aim }
}

const fn replicated(job: &'static str, must: f64, aim: f64) -> Bar {
    Bar { figure: Figure::Ratio { of: Peer::Plinth3, to: Peer::Plinth, job }, must, aim }
}

const fn processor(peer: Peer, must: f64, aim: f64) -> Bar {
    Bar { figure: Figure::Processor { peer, job: "randwrite-32" }, must, aim }
}

/// All bars.
pub const BARS: [Bar; 19] = [
    ratio(Peer::Raw, "randwrite-1", 0.50, 0.65),
    ratio(Peer::Raw, "randwrite-32", 0.50, 0.65),
    ratio(Peer::Raw, "randread-1", 0.50, 0.65),
    ratio(Peer::Raw, "randread-32", 0.55, 0.80),
    ratio(Peer::Raw, "flush-1", 0.45, 0.60),
    ratio(Peer::Raw, "seqwrite-8", 0.45, 0.65),
    ratio(Peer::Raw, "seqread-8", 0.80, 1.0),
    ratio(Peer::Null, "randwrite-32", 0.85, 0.95),
    ratio(Peer::QemuDirect, "randwrite-1", 1.2, 1.4),
    ratio(Peer::QemuDirect, "randwrite-32", 2.0, 3.0),
    ratio(Peer::Nbdkit, "randwrite-32", 1.0, 1.5),
    ratio(Peer::Nbdkit, "flush-1", 4.0, 6.0),
    processor(Peer::Plinth, 9.0, 6.0),
    replicated("randwrite-1", 0.45, 0.55),
    replicated("randwrite-32", 0.50, 0.70),
    replicated("randread-1", 0.95, 1.0),
    replicated("randread-32", 0.95, 1.0),
    processor(Peer::Plinth3, 22.0, 17.0),
    Bar { figure: Figure::Idle, must: 1.0, aim: 0.2 },
];

impl Bar {
    /// What the line is about, in words.
    pub fn name(&self) -> String {
        match self.figure {
            Figure::Ratio { of, to, job } => format!("{} / {}: {job}", of.name(), to.name()),
            Figure::Processor { peer, job } => format!("{}: CPU, us per operation: {job}", peer.name()),
            Figure::Idle => "100 idle volumes, % of a core".to_owned(),
        }
    }

    /// `aim`, `must` or `FAIL`: what `value` reaches.
    pub fn mark(&self, value: f64) -> &'static str {
        let reaches = |bound: f64| match self.figure {
            Figure::Ratio { .. } => value >= bound,
            Figure::Processor { .. } | Figure::Idle => value <= bound,
        };
        match (reaches(self.aim), reaches(self.must)) {
            (true, _) => "aim",
            (false, true) => "must",
            (false, false) => "FAIL",
        }
    }
}
