//! The figures in the text format of OpenMetrics, which Prometheus reads.
//!
//! Every name starts with `plinth_` and carries its unit; what counts up ends in `_total`.

use std::fmt;

use node::{CopyObservation, RotCounters};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use crate::clock;
use crate::cluster::ClusterFigures;
use crate::figures::{Figures, Meter, ReplicaLinks};
use crate::machine::ObservedPool;

/// What a scraper is told it gets.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures.
pub(crate) fn encode(figures: Box<Figures>, cluster: Option<ClusterFigures>) -> String {
    let mut registry = Registry::with_prefix("plinth");
    registry.register_collector(Box::new(Sheet(figures, cluster)));
    let mut text = String::new();
    encode_text(&mut text, &registry).expect("a string takes everything");
    text
}

#[derive(Debug)]
struct Sheet(Box<Figures>, Option<ClusterFigures>);

type Label<'a> = (&'static str, &'a str);
type NoExemplar<'a> = Option<&'a Exemplar<[(&'static str, &'static str); 0], f64>>;

impl Collector for Sheet {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        volumes(&mut out, &self.0)?;
        operations(&mut out, &self.0)?;
        replicas(&mut out, &self.0)?;
        if let Some(pool) = &self.0.machine.pool {
            space(&mut out, pool)?;
            work(&mut out, pool)?;
            rot(&mut out, &self.0)?;
        }
        device(&mut out, &self.0)?;
        if let Some(cluster) = &self.1 {
            neighbours(&mut out, cluster)?;
            links(&mut out, &self.0.replicas)?;
        }
        node(&mut out, &self.0)
    }
}

fn volumes(out: &mut Out<'_>, figures: &Figures) -> fmt::Result {
    let volumes = || figures.machine.volumes.iter().map(|volume| ([("volume", volume.name.as_str())], volume));
    let rows = volumes().map(|(labels, volume)| (labels, volume.size_bytes));
    out.gauges("volume_size", Some(&Unit::Bytes), "Size of the volume as clients see it", rows)?;
    let rows = volumes().map(|(labels, volume)| (labels, volume.clients.into()));
    out.gauges("volume_clients", None, "Connections that have the volume open", rows)?;
    let rows = volumes().map(|(labels, volume)| (labels, volume.counters.in_flight.into()));
    out.gauges("volume_requests_in_flight", None, "Requests taken and not answered yet", rows)
}

fn operations(out: &mut Out<'_>, figures: &Figures) -> fmt::Result {
    let meters = || {
        figures.machine.volumes.iter().flat_map(|volume| {
            let labels = |operation| [("volume", volume.name.as_str()), ("operation", operation)];
            figures.meters.of(volume.id).map(move |(operation, meter)| (labels(operation), meter))
        })
    };
    let of = |value: fn(&Meter) -> u64| meters().map(move |(labels, meter)| (labels, value(meter)));
    let answered = of(|meter| meter.latencies.count());
    out.counters("volume_operations", None, "Requests answered, with or without success", answered)?;
    out.counters("volume_errors", None, "Requests answered with an error", of(|meter| meter.errors))?;
    let bytes = of(|meter| meter.bytes);
    out.counters("volume_operation", Some(&Unit::Bytes), "Bytes that successful requests named", bytes)?;
    let help = "Time from a request's last byte received to its reply handed to the socket";
    let mut family = out.family("volume_operation_duration", Some(&Unit::Seconds), help, MetricType::Histogram)?;
    for (labels, meter) in meters().filter(|(_, meter)| meter.latencies.count() > 0) {
        let buckets: Vec<_> = meter.latencies.buckets().collect();
        let (sum, count) = (meter.latencies.sum_seconds(), meter.latencies.count());
        family.encode_family(&labels)?.encode_histogram::<[Label<'_>; 0]>(sum, count, &buckets, None)?;
    }
    Ok(())
}

fn replicas(out: &mut Out<'_>, figures: &Figures) -> fmt::Result {
    let copies = || {
        figures.machine.copies.iter().filter_map(|(id, copy)| {
            let volume = figures.machine.volumes.iter().find(|volume| volume.id == *id)?;
            Some((volume.name.as_str(), copy))
        })
    };
    let of = |value: fn(&CopyObservation) -> u64| copies().map(move |(name, copy)| ([("volume", name)], value(copy)));
    let rows = copies().map(|(name, copy)| ([("volume", name), ("role", copy.role)], 1));
    out.gauges("replica_role", None, "1, with what this node's replica of the volume is", rows)?;
    let rows = of(|copy| u64::from(copy.epoch.0));
    out.gauges("replica_epoch", None, "Number of the configuration that the replica goes by, 0 if by none", rows)?;
    let rows = of(|copy| copy.is_serving.into());
    out.gauges("replica_serving", None, "1 while the replica is primary and lets clients in", rows)?;
    let rows = of(|copy| copy.is_able.into());
    out.gauges("replica_able", None, "1 while the replica's store takes changes", rows)?;
    let help = "As primary: groups of 64 blocks that other replicas are still to be given";
    out.gauges("replica_groups_to_teach", None, help, of(|copy| copy.groups_to_teach))
}

fn links(out: &mut Out<'_>, links: &ReplicaLinks) -> fmt::Result {
    let ReplicaLinks { open, traffic, dials } = links;
    out.gauge("replica_connections", None, "Connections with other nodes' replicas that this node made", *open as u64)?;
    out.counter("replica_received_bytes", "Bytes that came over them", traffic.received_bytes)?;
    out.counter("replica_sent_bytes", "Bytes that went over them", traffic.sent_bytes)?;
    out.counter("replica_connects", "Connections that this node made to others", dials.made)?;
    out.counter("replica_connect_failures", "Connections that it could not make", dials.failed)
}

fn space(out: &mut Out<'_>, pool: &ObservedPool) -> fmt::Result {
    let space = pool.space;
    let bytes = Some(&Unit::Bytes);
    out.gauge("pool_capacity", bytes, "What data of volumes and snapshots may take", space.capacity_bytes)?;
    out.gauge("pool_live", bytes, "What data of volumes and snapshots takes", space.live_bytes)?;
    out.gauge("pool_free", bytes, "What is left for data", space.free_bytes)?;
    out.gauge("pool_map", bytes, "What the block map takes on the device", space.map_bytes)?;
    out.gauge("pool_segment", bytes, "Size of a segment", space.segment_bytes)?;
    out.gauge("pool_segments", None, "Segments of the pool", space.segments.into())?;
    out.gauge("pool_free_segments", None, "Segments that may be written at once", space.free_segments.into())?;
    let help = "1 when a device error ended all writing: the pool must be opened anew";
    out.gauge("pool_poisoned", None, help, pool.poisoned.is_some().into())
}

fn work(out: &mut Out<'_>, pool: &ObservedPool) -> fmt::Result {
    let stats = pool.stats;
    out.counter("pool_batches", "Batches appended to the log", stats.batches)?;
    out.counter("pool_batch_entries", "Entries in them", stats.entries)?;
    out.counter("pool_written_blocks", "Blocks of 4096 bytes that clients wrote", stats.written_blocks)?;
    out.counter("pool_read_blocks", "Blocks that clients read from the device", stats.device_read_blocks)?;
    out.counter("pool_reclaimed_blocks", "Blocks that reclaim moved", stats.reclaimed_blocks)?;
    out.counter("pool_reclaimed_segments", "Segments that reclaim went through", stats.reclaimed_segments)?;
    out.counter("pool_freed_segments", "Segments that became free", stats.freed_segments)?;
    out.counter("pool_checkpoints", "Completed checkpoints", stats.checkpoints)?;
    out.counter("pool_map_pages", "Map pages written for checkpoints", stats.map_pages)?;
    out.counter("pool_scrubs", "Completed scrub passes", stats.scrubs)?;
    let help = "Blocks that did not match their checksum or could not be read";
    out.counter("pool_bad_blocks", help, stats.bad_blocks)
}

fn rot(out: &mut Out<'_>, figures: &Figures) -> fmt::Result {
    let RotCounters { found, repaired, lost } = figures.machine.node.rot;
    out.counter("rotten_blocks_found", "Blocks of volumes that were not what was written", found)?;
    out.counter("rotten_blocks_repaired", "Of those: written again from another replica", repaired)?;
    out.counter("rotten_blocks_lost", "Of those: no replica had them when they were asked for", lost)?;
    let lost = figures.machine.lost_blocks.iter().filter_map(|(id, lost)| {
        let volume = figures.machine.volumes.iter().find(|volume| volume.id == *id)?;
        Some(([("volume", volume.name.as_str())], *lost))
    });
    out.gauges("volume_lost_blocks", None, "Blocks of the volume that no replica has: reading them fails", lost)
}

fn device(out: &mut Out<'_>, figures: &Figures) -> fmt::Result {
    let disk = figures.disk;
    out.counter("device_writes", "Writes to the pool's device", disk.writes)?;
    out.counter("device_written_bytes", "Bytes of them", disk.written_bytes)?;
    out.counter("device_reads", "Reads from it on the data path", disk.reads)?;
    out.counter("device_read_bytes", "Bytes of them", disk.read_bytes)?;
    out.counter("device_syncs", "Completed fdatasyncs", disk.syncs)?;
    out.counter("device_failures", "Writes, reads and syncs that the device failed", disk.failures)
}

fn neighbours(out: &mut Out<'_>, cluster: &ClusterFigures) -> fmt::Result {
    let ClusterFigures { link, relays } = cluster;
    let help = "1 while the control plane's leader hears what this node holds and says what it should be";
    out.gauge("link_connected", None, help, link.connected.into())?;
    out.counter("link_reconnects", "Streams to the control plane after the first one", link.reconnects)?;
    out.gauge("link_intent_revision", None, "Revision of the last intent that came", link.revision)?;
    out.gauge("relays", None, "Clients connected through to other nodes", relays.open)?;
    out.counter("relayed_bytes", "Bytes passed on for them, both ways", relays.bytes)?;
    out.counter("relay_failures", "Relayed clients that were disconnected for a fault", relays.failures)
}

fn node(out: &mut Out<'_>, figures: &Figures) -> fmt::Result {
    let stats = figures.machine.node;
    out.gauge("connections", None, "Client connections", figures.connections as u64)?;
    out.counter("connections_accepted", "Client connections since the start", stats.accepted)?;
    out.counter("connections_rejected", "Connections closed because there were too many", stats.rejected)?;
    out.gauge("requests_in_flight", None, "Requests of all volumes taken and not answered", stats.requests)?;
    out.gauge("requests_held", Some(&Unit::Bytes), "Memory held for them", stats.in_flight_bytes)?;
    out.gauge("replies_backlog", Some(&Unit::Bytes), "Replies that clients have not taken yet", stats.backlog_bytes)?;
    out.counter("reactor_turns", "Turns of the data thread's loop", figures.turns.turns)?;
    out.counter("reactor_enters", "System calls io_uring_enter of the data thread", figures.turns.enters)?;
    out.seconds("reactor_cpu", "CPU time of the data thread", figures.turns.cpu_seconds)?;
    out.seconds("process_cpu", "CPU time of the process", clock::process_cpu_seconds())?;
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    out.gauges("build_info", None, "1, with the version of the program", [(labels, 1)].into_iter())
}

/// Writes families of metrics.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        unit: Option<&'s Unit>,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        mut rows: impl Iterator<Item = ([Label<'l>; N], u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, unit, help, MetricType::Gauge)?;
        rows.try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        mut rows: impl Iterator<Item = ([Label<'l>; N], u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, unit, help, MetricType::Counter)?;
        rows.try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter(&value, None as NoExemplar<'_>)
        })
    }

    fn gauge(&mut self, name: &str, unit: Option<&Unit>, help: &str, value: u64) -> fmt::Result {
        self.family(name, unit, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, None, help, MetricType::Counter)?.encode_counter(&value, None as NoExemplar<'_>)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let unit = Unit::Seconds;
        self.family(name, Some(&unit), help, MetricType::Counter)?.encode_counter(&value, None as NoExemplar<'_>)
    }
}
