//! What happened in a run, summed up.

/// What happened, to see that the rare things happen at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterOutcome {
    /// Writes acknowledged.
    pub writes: u64,
    /// Reads compared.
    pub reads: u64,
    /// Requests of clients that had been shut out.
    pub zombie_requests: u64,
    /// Times that such a client was refused a connection.
    pub zombies_refused: u64,
    /// Ends of operations that shut somebody out.
    pub fences: u64,
    /// Clients passed on from one node to another.
    pub relays: u64,
    /// Nodes killed.
    pub kills: u64,
    /// Nodes that lost power.
    pub power_cuts: u64,
    /// Disks taken away.
    pub wipes: u64,
    /// Changes of leader.
    pub elections: u64,
    /// Streams begun.
    pub streams: u64,
    /// Volumes made.
    pub volumes: u64,
    /// Snapshots cut.
    pub snapshots: u64,
    /// Clones that began.
    pub clones: u64,
    /// Groups that became ready.
    pub groups: u64,
    /// Snapshots read in the end.
    pub looked_at: u64,
    /// Groups of several volumes read in the end.
    pub instants: u64,
    /// Entries of the log.
    pub entries: u64,
}

impl ClusterOutcome {
    /// The sum of two.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        let pairs = [
            (&mut self.writes, other.writes),
            (&mut self.reads, other.reads),
            (&mut self.zombie_requests, other.zombie_requests),
            (&mut self.zombies_refused, other.zombies_refused),
            (&mut self.fences, other.fences),
            (&mut self.relays, other.relays),
            (&mut self.kills, other.kills),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.wipes, other.wipes),
            (&mut self.elections, other.elections),
            (&mut self.streams, other.streams),
            (&mut self.volumes, other.volumes),
            (&mut self.snapshots, other.snapshots),
            (&mut self.clones, other.clones),
            (&mut self.groups, other.groups),
            (&mut self.looked_at, other.looked_at),
            (&mut self.instants, other.instants),
            (&mut self.entries, other.entries),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
        self
    }
}
