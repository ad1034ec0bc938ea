//! How commands change the state. Everything is checked before anything is changed: a refused command leaves no trace.

mod clones;
mod configurations;
mod graves;
mod groups;
mod hosts;
mod nodes;
mod plan;
mod pools;
mod recover;
mod retire;
mod schedules;
mod snapshots;
mod volumes;

use crate::command::{Answer, Change, Command, RequestId, Revision, Time};
use crate::operation::{Operation, OperationId, OperationKind};
use crate::refusal::Refusal;
use crate::state::{ClusterId, REQUESTS_KEPT, Settings, State};
use volumes::{Asked, Wish};

impl State {
    /// Applies a command. A request that was answered before gets the same answer again and changes nothing.
    ///
    /// # Errors
    /// Why nothing was changed. The next attempt is looked at anew.
    pub fn apply(&mut self, command: Command) -> Result<Answer, Refusal> {
        let Command { at, request, change } = command;
        if let Some(answer) = request.and_then(|request| self.contents.requests.get(&request)) {
            return Ok(answer.clone());
        }
        // Leaders' clocks differ; what is shown as a time never goes back.
        let now = self.contents.now.max(at);
        if self.is_listening() && !recover::is_listened_to(&change) {
            return Err(Refusal::Listening);
        }
        let answer = self.change(now, change)?;
        let decides = !self.is_listening();
        if decides {
            self.plan(now);
        }
        self.contents.now = now;
        self.contents.revision = self.next_revision();
        if decides {
            self.settle_operations(now);
        }
        if let Some(request) = request {
            self.remember(request, answer.clone());
        }
        Ok(answer)
    }

    fn change(&mut self, now: Time, change: Change) -> Result<Answer, Refusal> {
        match change {
            Change::Found { cluster } => self.found(cluster),
            Change::Register { node, addresses, labels } => self.register(now, node, addresses, labels),
            Change::Lose { node } => self.lose(now, &node),
            Change::Report { node, report } => self.report(now, &node, report),
            Change::Administer { node, admin } => self.administer(&node, admin),
            Change::RemoveNode { node } => self.remove_node(now, &node),
            Change::RemovePool { pool, force } => self.remove_pool(now, pool, force),
            Change::CreateVolume { name, size_bytes, spec, source } => {
                self.create_volume(now, Wish { name, size_bytes, spec, source })
            }
            Change::ResizeVolume { volume, size_bytes } => self.resize_volume(now, volume, size_bytes),
            Change::ModifyVolume { volume, modification } => self.modify_volume(now, &volume, modification),
            Change::DeleteVolume { volume, force } => self.delete_volume(now, &volume, force),
            Change::Attach { volume, client, mode, token, claim } => {
                self.attach(now, &volume, &Asked { client, mode, token, claim })
            }
            Change::Detach { volume, client } => self.detach(now, &volume, client.as_ref()),
            Change::Set(settings) => self.set(settings),
            Change::Configure { volume, proposal } => self.configure(volume, &proposal),
            Change::ForcePromote { volume, pool } => self.force_promote(&volume, pool),
            Change::HandOver { volume, pool } => self.hand_over(&volume, pool),
            Change::CreateSnapshot { name, volume, labels } => self.create_snapshot(now, name, volume, labels),
            Change::DeleteSnapshot { snapshot } => self.delete_snapshot(now, &snapshot),
            Change::CreateGroup { name, volumes, labels } => self.create_group(now, name, &volumes, labels),
            Change::DeleteGroup { group } => self.delete_group(now, &group),
            Change::SetSchedule { volume, schedule, cron, keep } => {
                self.set_schedule(now, &volume, schedule, cron, keep)
            }
            Change::RemoveSchedule { volume, schedule } => self.remove_schedule(&volume, &schedule),
            Change::RegisterHost { host, labels } => self.register_host(now, host, labels),
            Change::RemoveHost { host } => self.remove_host(&host),
            Change::Tick => Ok(self.tick(now)),
            Change::Recover => self.recover_state(now),
            Change::Resume { without } => self.resume(&without),
        }
    }

    /// The revision that the command being applied leads to.
    fn next_revision(&self) -> Revision {
        Revision(self.contents.revision.0 + 1)
    }

    fn remember(&mut self, request: RequestId, answer: Answer) {
        let contents = &mut self.contents;
        contents.requests.insert(request, answer);
        contents.request_order.push_back(request);
        if contents.request_order.len() > REQUESTS_KEPT {
            let oldest = contents.request_order.pop_front().expect("there are many");
            contents.requests.remove(&oldest);
        }
    }

    fn start(&mut self, now: Time, kind: OperationKind) -> OperationId {
        self.contents.last_operation += 1;
        let id = OperationId(self.contents.last_operation);
        self.contents.operations.insert(id, Operation { kind, since: now, ended: None, failed: None });
        self.index.started(id, kind.volume());
        id
    }

    fn found(&mut self, cluster: ClusterId) -> Result<Answer, Refusal> {
        match self.contents.cluster {
            Some(founded) if founded != cluster => Err(Refusal::Founded(founded)),
            Some(_) | None => {
                self.contents.cluster = Some(cluster);
                Ok(Answer::Done)
            }
        }
    }

    fn set(&mut self, settings: Settings) -> Result<Answer, Refusal> {
        let Settings { overcommit_percent, full_percent, replace_after_ms } = settings;
        if !(1..=100_000).contains(&overcommit_percent) {
            let expected = "1 to 100000 percent";
            return Err(Refusal::Setting { what: "the overcommit limit", found: overcommit_percent, expected });
        }
        if !(1..=100).contains(&full_percent) {
            let expected = "1 to 100 percent";
            return Err(Refusal::Setting { what: "the limit for new volumes", found: full_percent, expected });
        }
        if !(10_000..=30 * 86_400_000).contains(&replace_after_ms) {
            let expected = "10000 ms to 30 days";
            let what = "the time after which a silent replica is replaced";
            return Err(Refusal::Setting { what, found: replace_after_ms, expected });
        }
        self.contents.settings = settings;
        Ok(Answer::Done)
    }
}
