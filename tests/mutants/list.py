"""Planted bugs: (name, file, exact old text, new text). Each must make the store's tests fail."""

STORE = "core/store/src/"
LAYOUT = "core/layout/src/"

MUTANTS = [
    ("reuse-before-durable", STORE + "segments.rs", "entry.pins == 0 && entry.emptied <= durable && ", "entry.pins == 0 && entry.emptied.0 <= durable.0 + (1 << 40) && "),
    ("reuse-before-checkpoint", STORE + "segments.rs", " && entry.last_lsn < replay_from;", " && entry.last_lsn.0 < replay_from.0 + (1 << 40);"),
    ("reuse-live-map", STORE + "segments.rs", "entry.state == State::Closed && entry.live == 0 && entry.live_map == 0", "entry.state == State::Closed && entry.live == 0"),
    ("reuse-before-summary", STORE + "append.rs", "self.contents.segments.pin(closed.segment);", "self.contents.segments.pin(closed.segment);\n        self.contents.segments.unpin(closed.segment);"),
    ("lose-replay-segment", STORE + "append.rs", "let next = self.log.current_lsn();", "let next = self.log.last_lsn();"),
    ("no-space-check", STORE + "space.rs", "if new == 0 || new + 2 * WRITE_GROWTH <= free {", "if new == 0 || new + 2 * WRITE_GROWTH <= free + (1 << 40) {"),
    ("ack-out-of-order", STORE + "log.rs", "if self.pending.front()?.stage != Stage::Ended {", "if self.pending.iter().all(|batch| batch.stage != Stage::Ended) {"),
    ("fua-without-sync", STORE + "drive.rs", "if waiter.durable {", "if waiter.durable && lsn.0 == u64::MAX {"),
    ("flush-at-once", STORE + "requests.rs", "if self.durability.durable() >= persisted {", "if self.durability.durable() >= persisted || persisted.0 > 0 {"),
    ("sync-covers-submitted", STORE + "append.rs", "Purpose::Sync { covers: persisted }", "Purpose::Sync { covers: self.log.last_lsn() }"),
    ("header-checksum-ignored", LAYOUT + "batch.rs", "if computed != stored {", "if computed != stored && entries == usize::MAX {"),
    ("read-not-verified", STORE + "drive.rs", "block::Checksum::of(state.buffer.page(page)) != state.checksums[page]", "block::Checksum::of(state.buffer.page(page)) != state.checksums[page] && page == usize::MAX"),
    ("batches-not-verified", STORE + "replay.rs", "(lsn > trusted && !is_whole(media, geometry, batch))", "(lsn > trusted && !is_whole(media, geometry, batch) && lsn.0 == 0)"),
    ("cuts-ignored", STORE + "replay.rs", "let past_end = end.is_some_and(|end| lsn > end);", "let past_end = end.is_some_and(|end| lsn.0 > end.0 + (1 << 40));"),
    ("cold-trusts-persisted", STORE + "replay.rs", "let trusted = if warm {", "let trusted = if warm || durable.0 < u64::MAX {"),
    ("generation-without-run", STORE + "open.rs", "(incarnation << 32).max(replayed.generation + 1)", "(incarnation >> 32).max(replayed.generation + 1)"),
    ("superblock-before-roots", STORE + "checkpoint.rs", "if self.durability.durable() < last {", "if self.durability.durable() < last && last.0 == 0 {"),
    ("retired-freed-at-once", STORE + "checkpoint.rs", "        Phase::Nodes { frozen: Box::new(frozen), version: 0, walk: Walk::default() }\n    }", "        let mut frozen = frozen;\n        for disk in std::mem::take(&mut frozen.retiring) {\n            self.contents.segments.remove_live_map(disk.at, disk.pages.into(), Lsn(0));\n        }\n        Phase::Nodes { frozen: Box::new(frozen), version: 0, walk: Walk::default() }\n    }"),
    ("unfinished-checkpoint-kept", STORE + "replay.rs", "matches!(entry.kind, EntryKind::Map | EntryKind::Root)", "matches!(entry.kind, EntryKind::Root)"),
    ("reclaim-takes-the-last-segment", STORE + "append.rs", "            && self.contents.segments.free_count() > self.reclaim_floor()\n    }", "            && self.contents.segments.free_count() > 0\n    }"),
    ("discards-grow-the-map", STORE + "space.rs", "if fits(all) ||", "if fits(0) || fits(all) ||"),
    ("superblock-before-sync", STORE + "checkpoint.rs", "Phase::FirstCopy { frozen, superblock, sync: Some(sync) } if self.durability.has_ended(sync) => {", "Phase::FirstCopy { frozen, superblock, sync: Some(_) } => {"),
    ("ahead-not-verified", STORE + "ahead.rs", "Checksum::of(page) == *checksum)", "Checksum::of(page).0 != checksum.0 + 1 || page.is_empty())"),
    ("rot-in-the-map-ignored", STORE + "reclaim.rs", "Content::Node { .. } | Content::Roots { .. } => self.rewrite(run.volume, run.content),", "Content::Node { .. } | Content::Roots { .. } => {}"),
    ("checkpoint-does-not-seal", STORE + "checkpoint.rs", "        self.log.seal(self.durability.durable());\n        let contents = &mut self.contents;", "        let contents = &mut self.contents;"),
    ("replayed-deletion-unfinished", STORE + "contents.rs", "        while self.delete_step(usize::MAX, lsn).1 == Progress::More {}", "        let _ = lsn;"),
    ("relocate-not-replayed", STORE + "contents.rs", "EntryKind::Reclaim => self.replay_reclaim(entry, location, lsn),", "EntryKind::Reclaim if lsn.0 == 0 => self.replay_reclaim(entry, location, lsn),\n            EntryKind::Reclaim => {}"),
    ("torn-superblock-accepted", LAYOUT + "superblock.rs", "if computed != stored {", "if computed != stored && raw.extents.get() > 9999 {"),
    ("older-superblock-wins", STORE + "open.rs", "first.number >= second.number", "first.number <= second.number"),
]
