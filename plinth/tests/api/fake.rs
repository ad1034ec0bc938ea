//! A server with the API. It keeps volumes and operations in memory, notes every call, does a change once however often
//! it is asked for, and fails when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use proto::v1;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is refused, and nothing is done.
    Unavailable,
    /// It is done, and nobody hears of it.
    Lost,
    /// It is answered as usual.
    None,
}

/// A call that was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub method: &'static str,
    pub request_id: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct State {
    /// For the calls that come next, one each.
    pub faults: VecDeque<Fault>,
    pub seen: Vec<Seen>,
    /// Changes that were made, by request id: the answers.
    pub done: BTreeMap<Vec<u8>, v1::VolumeChange>,
    pub volumes: BTreeMap<String, v1::Volume>,
    pub snapshots: BTreeMap<String, v1::Snapshot>,
    pub operations: BTreeMap<u64, v1::Operation>,
    /// How many waits an operation takes.
    pub waits: u64,
    /// What the last request of an attach had.
    pub token: Vec<u8>,
    /// What a verification finds.
    pub ranges: Vec<v1::VerifiedRange>,
    /// What the pages of a list hold at most, whatever was asked for.
    pub page: usize,
}

pub struct Fake {
    pub address: SocketAddr,
    state: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<State>>);

impl Fake {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let state = Shared::default();
        state.lock().page = usize::MAX;
        let served = state.clone();
        let thread = std::thread::spawn(move || serve(listener, served, stopped));
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    pub fn control(&self) -> String {
        self.address.to_string()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Volumes of these names, ready.
    pub fn with_volumes(self, names: impl IntoIterator<Item = String>) -> Self {
        self.state().volumes.extend(names.into_iter().map(|name| (name.clone(), volume(&name, 1 << 30))));
        self
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().expect("it is joined once").join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server failed");
    }
}

fn serve(listener: TcpListener, state: Shared, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("taken over");
        let server = tonic::transport::Server::builder()
            .add_service(v1::volume_service_server::VolumeServiceServer::new(state.clone()))
            .add_service(v1::snapshot_service_server::SnapshotServiceServer::new(state.clone()))
            .add_service(v1::operation_service_server::OperationServiceServer::new(state.clone()))
            .add_service(v1::cluster_service_server::ClusterServiceServer::new(state))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::select! {
            ended = server => ended.expect("it serves"),
            _ = stopped => {}
        }
    });
}

pub fn volume(name: &str, size_bytes: u64) -> v1::Volume {
    let phase = v1::volume::Phase::Ready.into();
    v1::Volume { id: 1, name: name.into(), size_bytes, phase, ..v1::Volume::default() }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panicked")
    }

    /// Notes a call; says whether its answer is to be lost.
    pub fn enter(&self, method: &'static str, request_id: &[u8]) -> Result<Fault, Status> {
        let mut state = self.lock();
        state.seen.push(Seen { method, request_id: request_id.to_vec() });
        match state.faults.pop_front().unwrap_or(Fault::None) {
            Fault::Unavailable => Err(Status::unavailable("there is no leader")),
            fault @ (Fault::Lost | Fault::None) => Ok(fault),
        }
    }

    fn change(
        &self,
        method: &'static str,
        request_id: Vec<u8>,
        change: impl FnOnce(&mut State) -> Result<v1::VolumeChange, Status>,
    ) -> Result<v1::VolumeChange, Status> {
        let fault = self.enter(method, &request_id)?;
        let mut state = self.lock();
        let answer = match state.done.get(&request_id) {
            Some(answer) => answer.clone(),
            None => change(&mut state)?,
        };
        state.done.insert(request_id, answer.clone());
        if fault == Fault::Lost { Err(Status::unavailable("the leader is gone")) } else { Ok(answer) }
    }
}

impl State {
    pub fn operation(&mut self, kind: v1::operation::Kind, volume: &str) -> v1::Operation {
        let id = 1 + self.operations.len() as u64;
        let waits_for = "node n1 is not heard; it goes on when the node is back".to_owned();
        let ended_ms = (self.waits == 0).then_some(1);
        let operation = v1::Operation {
            id,
            kind: kind.into(),
            volume: volume.to_owned(),
            since_ms: 1,
            ended_ms,
            waits_for,
            ..v1::Operation::default()
        };
        self.operations.insert(id, operation.clone());
        operation
    }

    fn find(&self, name: &str) -> Result<v1::Volume, Status> {
        let found = self.volumes.get(name).cloned();
        found.ok_or_else(|| Status::not_found(format!("there is no volume \"{name}\"")))
    }
}

#[tonic::async_trait]
impl v1::volume_service_server::VolumeService for Shared {
    type VerifyStream = Ranges;

    async fn create(&self, request: Request<v1::CreateVolumeRequest>) -> Result<Response<v1::VolumeChange>, Status> {
        let v1::CreateVolumeRequest { request_id, name, size_bytes, spec, source } = request.into_inner();
        let change = self.change("create", request_id, |state| {
            if size_bytes % 4096 != 0 {
                return Err(Status::invalid_argument(format!("{size_bytes} bytes are no size of a volume")));
            }
            if state.volumes.get(&name).is_some_and(|volume| volume.size_bytes != size_bytes) {
                return Err(Status::already_exists(format!("there is a volume \"{name}\" already")));
            }
            let volume = v1::Volume { spec, source, ..volume(&name, size_bytes) };
            state.volumes.insert(name.clone(), volume.clone());
            let operation = Some(state.operation(v1::operation::Kind::Create, &name));
            Ok(v1::VolumeChange { volume: Some(volume), operation })
        });
        change.map(Response::new)
    }

    async fn get(&self, request: Request<v1::GetVolumeRequest>) -> Result<Response<v1::Volume>, Status> {
        self.enter("get", &[])?;
        self.lock().find(&request.into_inner().name).map(Response::new)
    }

    async fn list(&self, request: Request<v1::ListVolumesRequest>) -> Result<Response<v1::ListVolumesReply>, Status> {
        self.enter("list", &[])?;
        let v1::ListVolumesRequest { page_size, page_token, retired: _ } = request.into_inner();
        let state = self.lock();
        let size = state.page.min(usize::try_from(page_size).expect("it fits"));
        let rest: Vec<_> = state.volumes.values().filter(|volume| volume.name > page_token).collect();
        let volumes: Vec<_> = rest.iter().take(size).map(|volume| (*volume).clone()).collect();
        let more = rest.len() > volumes.len();
        // Pages of nothing follow themselves.
        let last = volumes.last().map_or("0", |last| last.name.as_str());
        let next_page_token = if more { last.to_owned() } else { String::new() };
        Ok(Response::new(v1::ListVolumesReply { volumes, next_page_token }))
    }

    async fn resize(&self, request: Request<v1::ResizeVolumeRequest>) -> Result<Response<v1::VolumeChange>, Status> {
        let v1::ResizeVolumeRequest { request_id, name, size_bytes } = request.into_inner();
        let change = self.change("resize", request_id, |state| {
            let volume = v1::Volume { size_bytes, ..state.find(&name)? };
            state.volumes.insert(name.clone(), volume.clone());
            let operation = Some(state.operation(v1::operation::Kind::Resize, &name));
            Ok(v1::VolumeChange { volume: Some(volume), operation })
        });
        change.map(Response::new)
    }

    async fn modify(&self, request: Request<v1::ModifyVolumeRequest>) -> Result<Response<v1::Volume>, Status> {
        let v1::ModifyVolumeRequest { request_id, name, description, labels, open, .. } = request.into_inner();
        let change = self.change("modify", request_id, |state| {
            let mut volume = state.find(&name)?;
            let spec = volume.spec.get_or_insert_default();
            spec.description = description.unwrap_or_else(|| std::mem::take(&mut spec.description));
            spec.labels = labels.map_or_else(|| std::mem::take(&mut spec.labels), |labels| labels.labels);
            spec.open = open.unwrap_or(spec.open);
            state.volumes.insert(name.clone(), volume.clone());
            Ok(v1::VolumeChange { volume: Some(volume), operation: None })
        });
        change.map(|change| Response::new(change.volume.expect("just made")))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteVolumeRequest>,
    ) -> Result<Response<v1::DeleteVolumeReply>, Status> {
        let v1::DeleteVolumeRequest { request_id, name, force } = request.into_inner();
        let change = self.change("delete", request_id, |state| {
            if !force && !state.find(&name)?.attachments.is_empty() {
                return Err(Status::failed_precondition(format!("volume \"{name}\" is attached: detach it")));
            }
            state.volumes.remove(&name);
            let operation = Some(state.operation(v1::operation::Kind::Delete, &name));
            Ok(v1::VolumeChange { volume: None, operation })
        });
        change.map(|change| Response::new(v1::DeleteVolumeReply { operation: change.operation }))
    }

    async fn room(&self, _request: Request<v1::RoomRequest>) -> Result<Response<v1::RoomReply>, Status> {
        Err(Status::unimplemented("the fake has no pools"))
    }

    async fn attach(
        &self,
        request: Request<v1::AttachVolumeRequest>,
    ) -> Result<Response<v1::AttachVolumeReply>, Status> {
        let v1::AttachVolumeRequest { request_id, name, client, mode, token, .. } = request.into_inner();
        let change = self.change("attach", request_id, |state| {
            let mut volume = state.find(&name)?;
            volume.attachments.push(v1::Attachment { client, mode, generation: 1 });
            state.volumes.insert(name.clone(), volume.clone());
            state.token = token;
            let operation = Some(state.operation(v1::operation::Kind::Attach, &name));
            Ok(v1::VolumeChange { volume: Some(volume), operation })
        });
        change.map(|v1::VolumeChange { volume, operation }| {
            let nbd_addresses = vec!["10.0.0.1:10809".to_owned()];
            Response::new(v1::AttachVolumeReply { volume, generation: 1, operation, nbd_addresses })
        })
    }

    async fn set_schedule(&self, request: Request<v1::SetScheduleRequest>) -> Result<Response<v1::Volume>, Status> {
        let v1::SetScheduleRequest { request_id, volume: name, schedule } = request.into_inner();
        let change = self.change("set-schedule", request_id, |state| {
            let mut volume = state.find(&name)?;
            volume.schedules.extend(schedule);
            state.volumes.insert(name.clone(), volume.clone());
            Ok(v1::VolumeChange { volume: Some(volume), operation: None })
        });
        change.map(|change| Response::new(change.volume.expect("just made")))
    }

    async fn remove_schedule(
        &self,
        request: Request<v1::RemoveScheduleRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let v1::RemoveScheduleRequest { request_id, volume: name, schedule } = request.into_inner();
        let change = self.change("remove-schedule", request_id, |state| {
            let mut volume = state.find(&name)?;
            volume.schedules.retain(|found| found.name != schedule);
            state.volumes.insert(name.clone(), volume.clone());
            Ok(v1::VolumeChange { volume: Some(volume), operation: None })
        });
        change.map(|change| Response::new(change.volume.expect("just made")))
    }

    async fn detach(&self, request: Request<v1::DetachVolumeRequest>) -> Result<Response<v1::VolumeChange>, Status> {
        let v1::DetachVolumeRequest { request_id, name, client } = request.into_inner();
        let change = self.change("detach", request_id, |state| {
            let mut volume = state.find(&name)?;
            volume.attachments.retain(|attachment| !client.is_empty() && attachment.client != client);
            state.volumes.insert(name.clone(), volume.clone());
            let operation = Some(state.operation(v1::operation::Kind::Attach, &name));
            Ok(v1::VolumeChange { volume: Some(volume), operation })
        });
        change.map(Response::new)
    }

    async fn hand_over(
        &self,
        request: Request<v1::HandOverVolumeRequest>,
    ) -> Result<Response<v1::HandOverVolumeReply>, Status> {
        let v1::HandOverVolumeRequest { request_id, name, node } = request.into_inner();
        self.enter("hand-over", &request_id)?;
        let volume = self.lock().find(&name)?;
        Ok(Response::new(v1::HandOverVolumeReply { volume: Some(volume), node }))
    }

    async fn promote(&self, request: Request<v1::PromoteVolumeRequest>) -> Result<Response<v1::Volume>, Status> {
        let v1::PromoteVolumeRequest { request_id, name, .. } = request.into_inner();
        self.enter("promote", &request_id)?;
        self.lock().find(&name).map(Response::new)
    }

    /// One range, and then the stream breaks off.
    async fn verify(&self, request: Request<v1::VerifyVolumeRequest>) -> Result<Response<Ranges>, Status> {
        self.enter("verify", &[])?;
        let v1::VerifyVolumeRequest { name, offset_bytes, .. } = request.into_inner();
        let state = self.lock();
        state.find(&name)?;
        let next = state.ranges.iter().find(|range| range.offset_bytes == offset_bytes).cloned();
        Ok(Response::new(Box::pin(tokio_stream::iter(next.map(Ok)))))
    }
}

type Ranges = Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::VerifiedRange, Status>> + Send>>;

#[tonic::async_trait]
impl v1::operation_service_server::OperationService for Shared {
    async fn get(&self, request: Request<v1::GetOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        self.enter("get-operation", &[])?;
        let found = self.lock().operations.get(&request.into_inner().id).cloned();
        found.map(Response::new).ok_or_else(|| Status::not_found("there is no such operation"))
    }

    async fn wait(&self, request: Request<v1::WaitOperationRequest>) -> Result<Response<v1::Operation>, Status> {
        self.enter("wait", &[])?;
        let v1::WaitOperationRequest { id, wait_ms } = request.into_inner();
        let (operation, ends) = {
            let mut state = self.lock();
            state.waits = state.waits.saturating_sub(1);
            let ends = state.waits == 0;
            let operation = state.operations.get_mut(&id).ok_or_else(|| Status::not_found("no such operation"))?;
            if ends {
                operation.ended_ms = Some(2);
                operation.waits_for = String::new();
            }
            (operation.clone(), ends)
        };
        if !ends {
            tokio::time::sleep(std::time::Duration::from_millis(wait_ms.into())).await;
        }
        Ok(Response::new(operation))
    }

    async fn list(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsReply>, Status> {
        self.enter("list-operations", &[])?;
        let running = request.into_inner().running;
        let state = self.lock();
        let wanted = state.operations.values().filter(|operation| !running || operation.ended_ms.is_none());
        Ok(Response::new(v1::ListOperationsReply { operations: wanted.cloned().collect() }))
    }
}

type Changes = Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::StatusReply, Status>> + Send>>;

fn status(revision: u64) -> v1::StatusReply {
    let sentence = "It is not heard.".to_owned();
    let problem = v1::Problem { severity: 2, subject: "node n2".into(), sentence };
    v1::StatusReply { revision, nodes: 2, nodes_up: 1, problems: vec![problem], ..v1::StatusReply::default() }
}

#[tonic::async_trait]
impl v1::cluster_service_server::ClusterService for Shared {
    type WatchStream = Changes;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        self.enter("status", &[])?;
        Ok(Response::new(status(7)))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Changes>, Status> {
        self.enter("watch", &[])?;
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(status(7)), Ok(status(8))]))))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        self.enter("explain", &[])?;
        let v1::ExplainRequest { kind, name } = request.into_inner();
        Ok(Response::new(v1::ExplainReply { sentences: vec![format!("This is {kind} {name}."), "It waits.".into()] }))
    }

    async fn add_voter(&self, _: Request<v1::AddVoterRequest>) -> Result<Response<v1::VotersReply>, Status> {
        self.enter("add-voter", &[])?;
        Err(Status::aborted("another change of the voters is under way"))
    }

    async fn remove_voter(&self, _: Request<v1::RemoveVoterRequest>) -> Result<Response<v1::VotersReply>, Status> {
        self.enter("remove-voter", &[])?;
        Ok(Response::new(v1::VotersReply::default()))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeReply>, Status> {
        self.enter("resume", &request.into_inner().request_id)?;
        Ok(Response::new(v1::ResumeReply::default()))
    }

    async fn set_settings(&self, request: Request<v1::SetSettingsRequest>) -> Result<Response<v1::Settings>, Status> {
        let v1::SetSettingsRequest { request_id, overcommit_percent, full_percent, replace_after_ms } =
            request.into_inner();
        self.enter("set-settings", &request_id)?;
        let overcommit_percent = overcommit_percent.unwrap_or(100);
        let full_percent = full_percent.unwrap_or(90);
        let replace_after_ms = replace_after_ms.unwrap_or(600_000);
        Ok(Response::new(v1::Settings { overcommit_percent, full_percent, replace_after_ms }))
    }
}
