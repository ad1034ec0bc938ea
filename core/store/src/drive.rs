//! The store's turn: events come in, what they make possible goes out.

use block::{BlockIndex, Instant, Lsn, PAGE_BYTES};

use crate::Store;
use crate::effect::{DiskError, Effect, Event, IoId, JobId, Outcome, Report, VersionSpace};
use crate::geometry::offset_of;
use crate::io::Purpose;
use crate::job::{Findings, JobOutput, Work};
use crate::map::Progress;
use crate::read::ReadId;

/// Map nodes taken apart in one turn after a deletion or a checkpoint.
const NODES_PER_TURN: usize = 32;

/// Segments that are neither free nor full: the open one, its successor, one being emptied.
const OPEN_SEGMENTS: u64 = 3;

impl Store {
    /// Takes note of what happened; what follows comes out of [`Store::turn_ended`] at the latest.
    pub fn handle(&mut self, _now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Written { io, result } => self.written(io, result),
            Event::ReadEnded { io, result } => self.read_ended(io, result),
            Event::Synced { io, result } => self.synced(io, result),
            Event::JobEnded { job, output } => self.job_ended(job, output),
        }
        effects.append(&mut self.effects);
    }

    /// The owner handled every event it had: time to send what gathered, and to do a bounded piece of the work that
    /// goes on in the background. Hands out everything queued by requests as well.
    pub fn turn_ended(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.poisoned.is_none() {
            self.reclaim.start_clock(now);
            self.take_apart();
            self.step_checkpoint(now);
            if !self.stopping {
                self.balance_space();
                self.step_reclaim(now);
                self.zero_ahead();
            }
            self.submit_batches();
            self.start_sync();
        }
        effects.append(&mut self.effects);
    }

    /// Whether reclaim or scrub would find something to do in the next turn.
    pub(crate) fn reclaims_on(&self) -> bool {
        !self.stopping && self.reclaim.has_work(self.can_reclaim())
    }

    /// When [`Store::turn_ended`] should run at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.poisoned.is_some() {
            return None;
        }
        let busy = self.deleting
            || self.releasing
            || !self.effects.is_empty()
            || (self.checkpoint.has_work() && self.can_checkpoint())
            || self.reclaims_on();
        if busy {
            return Some(Instant(0));
        }
        let timers = [self.checkpoint.deadline(), self.reclaim.deadline()];
        timers.into_iter().flatten().min()
    }

    /// Finish what is in flight, write a last checkpoint and mark the pool clean. No more requests are taken.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.checkpoint.want_final();
    }

    /// Whether everything that [`Store::stop`] began is done.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let settled = self.io.count() == 0 && self.jobs_running == 0;
        let closed = self.checkpoint.is_idle() && self.checkpoint.is_clean();
        self.stopping && settled && (closed || self.poisoned.is_some())
    }

    /// The bytes of an [`Effect::Write`], and the number they are registered under.
    #[must_use]
    pub fn write_source(&self, io: IoId) -> (&[u8], Option<u16>) {
        match self.io.get(io) {
            Purpose::Batch { lsn } => self.log.batch_source(*lsn),
            Purpose::Summary { pages, .. } | Purpose::Superblock { pages } => (pages.bytes(), pages.fixed()),
            Purpose::Read { .. } | Purpose::Ahead { .. } | Purpose::Sync { .. } => unreachable!("it is no write"),
        }
    }

    /// The buffer of an [`Effect::Read`], and the number it is registered under.
    pub fn read_target(&mut self, io: IoId) -> (&mut [u8], Option<u16>) {
        let (read, first_page, pages) = match *self.io.get(io) {
            Purpose::Read { read, first_page, pages, .. } => (read, first_page, pages),
            Purpose::Ahead { span } => return self.ahead.target(span),
            Purpose::Batch { .. } | Purpose::Summary { .. } | Purpose::Superblock { .. } | Purpose::Sync { .. } => {
                unreachable!("it is no read")
            }
        };
        let buffer = &mut self.reads.get(read).buffer;
        let fixed = buffer.fixed();
        (&mut buffer.bytes_mut()[first_page as usize * PAGE_BYTES..(first_page + pages) as usize * PAGE_BYTES], fixed)
    }

    fn written(&mut self, io: IoId, result: Result<(), DiskError>) {
        let purpose = self.io.end(io);
        if let Err(error) = result {
            return self.poison(error, "writing");
        }
        match purpose {
            Purpose::Batch { lsn } => {
                self.log.ended(lsn);
                self.advance_persisted();
            }
            Purpose::Summary { segment, .. } => self.contents.segments.unpin(segment),
            Purpose::Superblock { .. } if self.poisoned.is_some() => {}
            Purpose::Superblock { .. } => self.superblock_written(),
            Purpose::Read { .. } | Purpose::Ahead { .. } | Purpose::Sync { .. } => unreachable!("it is no write"),
        }
    }

    fn advance_persisted(&mut self) {
        if self.poisoned.is_some() {
            return;
        }
        let (effects, durability) = (&mut self.effects, &mut self.durability);
        let mut wake = |lsn: Lsn, waiter: crate::log::Waiter| {
            if waiter.durable {
                durability.wait(lsn, waiter.token);
            } else {
                effects.push(Effect::Completed { token: waiter.token, outcome: Outcome::Done });
            }
        };
        let mut advanced = false;
        while let Some(persisted) = self.log.pop_persisted(&mut wake) {
            self.buffers.give_batch(persisted.buffer, persisted.payload);
            advanced = true;
        }
        if advanced && self.reads.has_waiting() {
            for read in self.reads.take_waiting() {
                self.finish_read(read);
            }
        }
    }

    fn read_ended(&mut self, io: IoId, result: Result<(), DiskError>) {
        let (read, first_page, pages, at) = match self.io.end(io) {
            Purpose::Read { read, first_page, pages, at } => (read, first_page, pages, at),
            Purpose::Ahead { span } => return self.ahead_ended(span, result),
            Purpose::Batch { .. } | Purpose::Summary { .. } | Purpose::Superblock { .. } | Purpose::Sync { .. } => {
                unreachable!("it is a read")
            }
        };
        if result.is_err() && pages > 1 {
            self.read_singly(read, first_page, pages, at);
        }
        self.contents.segments.unpin(self.geometry.segment_of(at));
        let state = self.reads.get(read);
        state.outstanding -= 1;
        let is_bad = |page: u32| match &result {
            Err(_) => pages == 1,
            Ok(()) => block::Checksum::of(state.buffer.page(page as usize)) != state.checksums[page as usize],
        };
        let bad: Vec<u32> = (first_page..first_page + pages).filter(|page| is_bad(*page)).collect();
        let of = state.of;
        let told: Vec<u32> = bad.into_iter().filter(|page| state.note_bad(*page)).collect();
        for page in told {
            let block = of.map(|(source, first)| (source, BlockIndex(first.0 + u64::from(page))));
            self.stats.bad_blocks += 1;
            let (at, mismatch) = (offset_of(at.plus(page - first_page)), result.is_ok());
            self.report(Report::BadBlock { at, block, mismatch });
        }
        self.finish_read(read);
    }

    pub(crate) fn finish_read(&mut self, read: ReadId) {
        let poisoned = self.poisoned.is_some();
        let persisted = self.log.persisted();
        let state = self.reads.get(read);
        state.failed |= poisoned && state.depends_on > persisted;
        if let Some((token, outcome, spare)) = self.reads.try_finish(read, persisted) {
            if let Some(buffer) = spare {
                self.buffers.give_read(buffer);
            }
            self.complete(token, outcome);
        }
    }

    fn synced(&mut self, io: IoId, result: Result<(), DiskError>) {
        let Purpose::Sync { covers } = self.io.end(io) else { unreachable!("it is a sync") };
        if let Err(error) = result {
            return self.poison(error, "making writes durable");
        }
        if self.poisoned.is_some() {
            return;
        }
        self.stats.syncs += 1;
        let effects = &mut self.effects;
        self.durability.ended(covers, &mut |token| {
            effects.push(Effect::Completed { token, outcome: Outcome::Done });
        });
        self.free_segments();
    }

    /// The device failed: what it holds is unknown, so nothing is retried. Everything that waits fails.
    fn poison(&mut self, error: DiskError, during: &'static str) {
        if self.poisoned.is_some() {
            return;
        }
        self.poisoned = Some(error);
        self.report(Report::Poisoned { error, during });
        self.log.abandon();
        let mut tokens: Vec<_> = self.log.take_waiters().iter().map(|waiter| waiter.token).collect();
        tokens.extend(self.durability.take_waiters());
        tokens.into_iter().for_each(|token| self.fail(token));
        for read in self.reads.take_waiting() {
            self.finish_read(read);
        }
    }

    fn job_ended(&mut self, job: JobId, output: JobOutput) {
        self.jobs_running -= 1;
        match output.0 {
            Findings::Surveyed { batches } => self.surveyed(batches),
            Findings::Fetched { pages, bad } => self.fetched(pages, bad),
            Findings::Zeroed => {
                let segment = self.zeroing.end();
                self.contents.segments.end_zeroing(segment);
            }
            Findings::Accounted { query, space } => {
                self.contents.map.release(query.into_trees());
                self.releasing = true;
                let asked = self.space_requests.iter().position(|(id, _)| *id == job);
                let (_, token) = self.space_requests.swap_remove(asked.expect("asked once"));
                self.complete(token, Outcome::Space(VersionSpace::of(space)));
            }
        }
    }

    fn take_apart(&mut self) {
        if self.deleting {
            let lsn = self.log.last_lsn();
            let (freed, progress) = self.contents.delete_step(NODES_PER_TURN, lsn);
            self.freed_blocks += freed;
            self.deleting = progress == Progress::More;
            if !self.deleting {
                let blocks = std::mem::take(&mut self.freed_blocks);
                self.report(Report::Freed { blocks });
            }
        }
        if self.releasing {
            self.releasing = self.contents.map.release_step(NODES_PER_TURN) == Progress::More;
        }
    }

    pub(crate) fn free_segments(&mut self) {
        let (durable, replay_from) = (self.durability.durable(), self.checkpoint.replay_from());
        self.stats.freed_segments += u64::from(self.contents.segments.free_empty(durable, replay_from));
    }

    /// Sees to it that empty segments become free in time, and that reclaim has segments it may empty.
    fn balance_space(&mut self) {
        if !self.is_short_of_space() {
            return;
        }
        self.drop_dead_spans();
        let (durable, replay_from) = (self.durability.durable(), self.checkpoint.replay_from());
        self.free_segments();
        let segments = &self.contents.segments;
        if segments.waiting_for_sync(durable, replay_from) > 0 {
            self.durability.want(self.log.last_lsn());
        }
        let waiting = segments.waiting_for_checkpoint(replay_from);
        let floor = self.reclaim_floor();
        let urgent = segments.free_count() <= floor + 4;
        let worth_it = waiting > 0 && (urgent || waiting >= self.limits.worth_a_checkpoint);
        // A checkpoint makes young segments old enough to be emptied, and leaves less for the next one to write.
        let stalled = self.reclaim.is_idle() && self.reclaim.found_nothing() || segments.free_count() <= floor;
        if worth_it || stalled {
            self.checkpoint.want_if_changed();
        }
    }

    /// Free segments below which reclaim runs: no more than there would be if all others were filled as far as is
    /// worth the moving, or it would go on for ever in a full pool.
    pub(crate) fn reclaim_below(&self) -> u32 {
        let segments = &self.contents.segments;
        let used = segments.live_blocks() + segments.live_map_pages();
        let filled = used.div_ceil(u64::from(self.worth_moving_below()));
        let possible = u64::from(self.geometry.segments).saturating_sub(filled + OPEN_SEGMENTS);
        let wanted = self.limits.reclaim_below.max(self.reclaim_floor() + 12);
        wanted.min(u32::try_from(possible).unwrap_or(u32::MAX))
    }

    /// Live pages below which emptying a segment is worth its cost.
    pub(crate) fn worth_moving_below(&self) -> u32 {
        self.geometry.data_pages() * 15 / 16
    }

    /// Whether free segments are so few that reclaim must hurry.
    pub(crate) fn is_short_of_space(&self) -> bool {
        self.contents.segments.free_count() < self.reclaim_below()
    }

    fn zero_ahead(&mut self) {
        let successor = self.log.cursor().successor;
        if let Some(segment) = self.zeroing.wanted(successor) {
            if !self.contents.segments.begin_zeroing(segment) {
                return self.zeroing.skip();
            }
            self.zeroing.start();
            let at = self.geometry.segment_offset(segment);
            self.run(Work::Zero { at, len_bytes: self.geometry.segment_bytes() });
        }
    }
}
