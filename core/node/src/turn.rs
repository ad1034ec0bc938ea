//! The end of a turn: take requests, let the store act, reply, send.

use block::Instant;

use crate::connection::Stage;
use crate::door::Entrance;
use crate::event::{ConnId, Effect};
use crate::extents;
use crate::intake::request_bytes;
use crate::node::Node;
use crate::pipeline::{Ended, Reply};

/// How often in one turn the store acts on what followed from its own completions; the rest follows in the next.
const ROUNDS_MAX: u32 = 4;

impl Node {
    pub(crate) fn turn_ended(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.turn_requests = 0;
        self.expire(now, effects);
        self.tick_peers(now);
        self.control_again(effects);
        self.keep_holds();
        self.look_up_space(now);
        self.reconcile(now);
        self.pipeline.hand_over_postponed();
        self.wake_choked();
        for _ in 0..ROUNDS_MAX {
            self.serve(now, effects);
            self.reply_ended(now, effects);
            self.end_store_turn(now, effects);
            if !self.pipeline.is_stirred() {
                break;
            }
        }
        self.delete_idle(effects);
        self.tell_copies(effects);
        self.confirm();
        self.succeed();
        self.tell_observation(effects);
        self.stop_further(now, effects);
        self.send(now, effects);
        self.serve_peers(now, effects);
    }

    /// Replies to every request that ended.
    pub(crate) fn reply_ended(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.pipeline.copies.deposed.is_empty() {
            self.drop_deposed(effects);
        }
        while let Some(ended) = self.pipeline.pop_ended() {
            self.reply(now, ended, effects);
        }
    }

    fn reply(&mut self, now: Instant, ended: Ended, effects: &mut Vec<Effect>) {
        let Ended { asked, result } = ended;
        let failed = result.is_err();
        let listening = self.connections.get_mut(asked.conn).filter(|one| !matches!(one.stage, Stage::Closing { .. }));
        let Some(connection) = listening else {
            if let Ok(Reply::Read(found)) = result {
                self.pipeline.store.recycle(found.buffer);
            }
            return;
        };
        connection.requests -= 1;
        connection.request_bytes -= request_bytes(asked.operation, asked.range);
        match result {
            Ok(Reply::Read(found)) => {
                extents::clip(&found.extents, asked.range, &mut self.extents);
                let start = usize::try_from(asked.range.offset % block::BLOCK_BYTES as u64).expect("within a block");
                let data = nbd::ReadData { buffer: found.buffer, start, extents: &self.extents };
                connection.session.reply_read(asked.ticket, data, &mut connection.pending);
            }
            Ok(Reply::Done) => connection.session.reply(asked.ticket, Ok(()), &mut connection.pending),
            Err(error) => connection.session.reply(asked.ticket, Err(error), &mut connection.pending),
        }
        let (operation, bytes) = (asked.operation, asked.range.len_bytes);
        if let Some(volume) = self.pipeline.volumes.get_mut(&asked.volume) {
            volume.counters.count(operation, bytes, failed);
        }
        let took = now.since(asked.arrived);
        self.pipeline.copies.pace.answered(now, bytes, took);
        effects.push(Effect::Measured { volume: asked.volume, operation, bytes, took, failed });
        self.touch(asked.conn);
        self.queue(asked.conn);
    }

    /// Has the connection looked at when the turn ends.
    pub(crate) fn touch(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.touched
        {
            connection.touched = true;
            self.touched.push(id);
        }
    }

    /// A send ended.
    pub(crate) fn sent(&mut self, id: ConnId, len_bytes: usize) {
        let Some(connection) = self.connections.get_mut(id) else { return self.peer_sent(id, len_bytes) };
        connection.send_outstanding = false;
        connection.sending.advance(len_bytes);
        if connection.sending.is_empty() {
            for buffer in connection.sending.clear() {
                self.pipeline.store.recycle(buffer);
            }
        }
        self.touch(id);
        self.queue(id);
    }

    /// Whether nobody waits for memory that a send would free, nor for its end.
    fn rests(&self) -> bool {
        self.ready.is_empty() && self.choked.is_empty() && !self.phase.is_stopping()
    }

    /// Sends what each connection is owed, and ends those that are owed nothing and shall end.
    fn send(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let rests = self.rests();
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.touched = false;
            let backlog_bytes = connection.backlog_bytes();
            self.backlog_bytes += backlog_bytes;
            self.backlog_bytes -= std::mem::replace(&mut connection.noted_backlog_bytes, backlog_bytes);
            match connection.stage {
                Stage::Closing { .. } => {}
                // A node is not greeted as a client before it has said that it brings one.
                Stage::Negotiating { .. } if connection.entrance == Entrance::Silent => {}
                Stage::Leaving { .. } if !connection.send_outstanding => self.hand_over(id, effects),
                Stage::Leaving { .. } => {}
                Stage::Draining { why, .. } if connection.is_settled() => self.close(now, id, why, effects),
                Stage::Negotiating { .. }
                | Stage::Open { .. }
                | Stage::Succeeding { .. }
                | Stage::Receiving { .. }
                | Stage::Draining { .. } => {
                    if let Some(awaited) = connection.prepare_send() {
                        connection.send_outstanding = true;
                        effects.push(Effect::Send { conn: id, awaited: awaited || !rests });
                    }
                }
            }
        }
        self.touched = touched;
    }
}
