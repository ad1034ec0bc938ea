//! Shuts out clients that the control plane does not let in any more, and says when that is done: when nothing that
//! they asked for can change anything any more, however late their bytes arrive.
//!
//! A client that is shut out is not parsed from the same moment on: what lies in its inbox is thrown away, and so is
//! the part of a write that has not arrived as a whole. What was admitted runs to its end, for nobody. When the last of
//! it has ended, the generation of attachments that does without the client is confirmed.

use block::{Instant, VolumeId};

use crate::connection::Stage;
use crate::event::{ConnId, Effect, Report, Why};
use crate::node::{Node, Offer};
use crate::pass::{Grant, Pass, parts_of};

impl Node {
    /// Ends every connection that is not let in any more.
    pub(crate) fn shut_out(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let wishes = &self.wishes;
        let doomed = self.connections.iter().filter(|one| one.pass().is_some_and(|pass| !wishes.covers(pass)));
        let doomed: Vec<ConnId> = doomed.map(|one| one.id).collect();
        for id in doomed {
            self.close(now, id, Why::ShutOut, effects);
        }
    }

    /// Confirms the generations for which nothing is under way any more of clients that they shut out.
    pub(crate) fn confirm(&mut self) {
        let mut unconfirmed = std::mem::take(&mut self.unconfirmed);
        unconfirmed.retain(|&id| !self.try_confirm(id));
        self.unconfirmed = unconfirmed;
    }

    /// Whether there is nothing to wait for.
    fn try_confirm(&mut self, id: VolumeId) -> bool {
        // What is not there yet is looked at when it is.
        let (Some(replica), Some(volume)) = (self.wishes.replica(id), self.pipeline.volumes.get_mut(&id)) else {
            return true;
        };
        if volume.copy.as_ref().is_some_and(|copy| !copy.is_serving()) {
            // Whoever serves says so; what this replica knows of clients is of the past.
            self.observation_changed |= volume.confirmed != 0;
            volume.confirmed = 0;
            return true;
        }
        if volume.admissions.any_but(|grant| replica.covers(grant)) {
            return false;
        }
        volume.admissions.tidy();
        self.observation_changed |= volume.confirmed != replica.generation;
        volume.confirmed = replica.generation;
        true
    }

    /// A client named an export, and was let in.
    pub(crate) fn opened(&mut self, now: Instant, id: ConnId, handle: u128, effects: &mut Vec<Effect>) {
        let (volume, number) = parts_of(handle);
        let grant = match self.config.offer {
            Offer::Every => Some(Grant::Open),
            Offer::Intended => self.wishes.replica(volume).and_then(|replica| replica.grant(number)),
        };
        let (Some(grant), Some(opened)) = (grant, self.pipeline.volumes.get_mut(&volume)) else {
            return self.drain(now, id, Why::VolumeDeleted);
        };
        if opened.copy.as_ref().is_some_and(|copy| !copy.is_serving()) {
            return self.drain(now, id, Why::Deposed);
        }
        opened.clients += 1;
        let pass = Pass { volume, grant };
        self.reports.push(now, Report::Opened { conn: id, volume }, effects);
        self.set_stage(id, Stage::Succeeding { pass });
        if grant.is_writers() {
            self.supersede(now, id, pass, effects);
        }
        if !self.try_succeed(id) {
            self.successors.push(id);
        }
    }

    /// Ends the older connections of a writer: bytes that lie in one of them must not be parsed after what the writer
    /// asks for on the new one.
    fn supersede(&mut self, now: Instant, id: ConnId, pass: Pass, effects: &mut Vec<Effect>) {
        let older = self.connections.iter().filter(|one| one.id != id && one.pass() == Some(pass));
        let older: Vec<ConnId> = older.map(|one| one.id).collect();
        for one in older {
            self.close(now, one, Why::Superseded, effects);
        }
    }

    /// Serves new connections when nothing is under way any more that must not come after what is asked for on them:
    /// of clients that were shut out, and of a writer's older connection.
    pub(crate) fn succeed(&mut self) {
        let mut waiting = std::mem::take(&mut self.successors);
        waiting.retain(|&id| !self.try_succeed(id));
        self.successors = waiting;
    }

    /// Whether the connection waits no longer.
    fn try_succeed(&mut self, id: ConnId) -> bool {
        let Some(Stage::Succeeding { pass }) = self.connections.get(id).map(|one| &one.stage) else { return true };
        let pass = *pass;
        if self.is_preceded(pass) {
            return false;
        }
        self.set_stage(id, Stage::Open { pass });
        self.queue(id);
        true
    }

    /// Whether requests are under way that must have ended before a new client of this pass is served.
    fn is_preceded(&self, pass: Pass) -> bool {
        let Some(volume) = self.pipeline.volumes.get(&pass.volume) else { return false };
        let own = pass.grant.is_writers() && volume.admissions.of(pass.grant) > 0;
        let stays = |grant| self.wishes.covers(Pass { grant, ..pass });
        let others = self.config.offer == Offer::Intended && volume.admissions.any_but(stays);
        own || others
    }

    fn set_stage(&mut self, id: ConnId, stage: Stage) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.stage = stage;
        }
    }
}
