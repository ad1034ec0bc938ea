//! Counters of the data thread: changed there without locks or allocation, copied when somebody asks.

use std::collections::BTreeMap;
use std::time::Duration;

use block::VolumeId;
use node::Operation;

use crate::dial::DialFigures;
use crate::disk::DiskFigures;
use crate::machine::Observed;
use crate::sockets::Traffic;

/// Everything that is counted, at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The machine's own state.
    pub machine: Observed,
    /// Operations of clients.
    pub meters: Meters,
    /// The pool's device.
    pub disk: DiskFigures,
    /// Client connections.
    pub connections: usize,
    /// With other nodes' replicas.
    pub replicas: ReplicaLinks,
    /// The reactor itself.
    pub turns: Turns,
}

/// Connections with other nodes' replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplicaLinks {
    /// Those there are.
    pub open: usize,
    /// What went over all there were.
    pub traffic: Traffic,
    /// How they came about, as far as this node made them.
    pub dials: DialFigures,
}

/// What the reactor cost.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Turns of its loop.
    pub turns: u64,
    /// io_uring_enter calls.
    pub enters: u64,
    /// CPU time of the data thread.
    pub cpu_seconds: f64,
}

/// Client operations by volume and kind.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    volumes: BTreeMap<VolumeId, [Meter; OPERATIONS.len()]>,
}

/// Kinds of operations, in the order of their slots, with the names metrics know them by.
pub const OPERATIONS: [(Operation, &str); 7] = [
    (Operation::Read, "read"),
    (Operation::Write, "write"),
    (Operation::Flush, "flush"),
    (Operation::Discard, "discard"),
    (Operation::WriteZeroes, "write_zeroes"),
    (Operation::BlockStatus, "block_status"),
    (Operation::Cache, "cache"),
];

/// Operations of one kind on one volume.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// Bytes transferred.
    pub bytes: u64,
    /// Operations that failed; part of the latencies too.
    pub errors: u64,
    /// How long they took.
    pub latencies: Latencies,
}

/// A histogram of durations: the bounds are powers of two microseconds, from 8 us to 33 s.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    counts: [u64; Self::BOUNDS + 1],
    sum: Duration,
}

impl Latencies {
    const BOUNDS: usize = 23;
    /// log2 of the first bound in microseconds.
    const FIRST_SHIFT: u32 = 3;

    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        self.counts[Self::bucket(took)] += 1;
        self.sum += took;
    }

    /// Sum of all durations, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bounds in seconds, the last one `f64::MAX`, and how many fell between each and the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = (Self::FIRST_SHIFT..).take(Self::BOUNDS).map(|shift| f64::from(1_u32 << shift) / 1e6);
        bounds.chain([f64::MAX]).zip(self.counts)
    }

    fn bucket(took: Duration) -> usize {
        // The first bound that is not below: log2 rounded up, of microseconds rounded up.
        let microseconds = took.as_nanos().div_ceil(1000).max(1);
        let shift = u128::BITS - (microseconds - 1).leading_zeros();
        (shift.saturating_sub(Self::FIRST_SHIFT) as usize).min(Self::BOUNDS)
    }
}

impl Meters {
    /// Counts an operation that ended.
    pub fn record(&mut self, volume: VolumeId, operation: Operation, bytes: u32, took: Duration, failed: bool) {
        let meters = self.volumes.entry(volume).or_default();
        let meter = &mut meters[slot(operation)];
        meter.errors += u64::from(failed);
        meter.bytes += if failed { 0 } else { u64::from(bytes) };
        meter.latencies.record(took);
    }

    /// Forgets the volumes that are not `kept`.
    pub fn retain(&mut self, mut kept: impl FnMut(VolumeId) -> bool) {
        self.volumes.retain(|volume, _| kept(*volume));
    }

    /// A volume's meters with the names of their operations; none when nobody used it yet.
    pub fn of(&self, volume: VolumeId) -> impl Iterator<Item = (&'static str, &Meter)> {
        let meters = self.volumes.get(&volume).into_iter().flatten();
        OPERATIONS.iter().map(|(_, name)| *name).zip(meters)
    }
}

fn slot(operation: Operation) -> usize {
    match operation {
        Operation::Read => 0,
        Operation::Write => 1,
        Operation::Flush => 2,
        Operation::Discard => 3,
        Operation::WriteZeroes => 4,
        Operation::BlockStatus => 5,
        Operation::Cache => 6,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Latencies, OPERATIONS, slot};

    #[test]
    fn operations_stand_at_their_slots() {
        for (index, (operation, _)) in OPERATIONS.iter().enumerate() {
            assert_eq!(slot(*operation), index);
        }
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        let rows = [
            (0, 8e-6),
            (8_000, 8e-6),
            (8_001, 16e-6),
            (16_000, 16e-6),
            (1_000_000, 1.024e-3),
            (33_000_000_000, 33.554_432),
        ];
        for (nanoseconds, bound) in rows {
            let mut latencies = Latencies::default();
            latencies.record(Duration::from_nanos(nanoseconds));
            let hit = latencies.buckets().find(|(_, count)| *count == 1).map(|(bound, _)| bound);
            assert_eq!(hit, Some(bound), "{nanoseconds} ns");
        }
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_secs(100));
        assert_eq!(latencies.buckets().last().map(|(_, count)| count), Some(1));
        assert!((latencies.sum_seconds() - 100.0).abs() < 1e-9);
    }
}
