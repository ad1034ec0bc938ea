//! Some nodes with a replica of one volume each, and clients that come again when they are sent away.

use std::io;

use block::PoolId;
use tempfile::TempDir;

use crate::client::{Client, Replies};
use crate::copies::plane::{Plane, Seat, World};
use crate::intents::export;
use crate::member::{Member, cluster, eventually};

/// Where no control plane is: that of these tests calls the nodes itself.
const NOBODY: &str = "127.0.0.1:1";

pub struct Group {
    /// First, so that nobody is told anything when nodes stop.
    pub plane: Plane,
    pub members: Vec<Node>,
}

pub struct Node {
    pub pool: PoolId,
    /// None while it is down.
    pub member: Option<Member>,
    directory: Option<TempDir>,
}

impl Group {
    /// Nodes whose replicas are all in sync.
    pub fn new(nodes: usize, members_min: usize) -> Self {
        let mut group = Self::apart(nodes, members_min);
        group.members.iter_mut().for_each(|node| node.join(&group.plane));
        group.until("all are in sync", World::is_whole);
        group
    }

    /// Nodes that the control plane does not know yet.
    pub fn apart(nodes: usize, members_min: usize) -> Self {
        let members = (0..nodes).map(|_| Node::new()).collect();
        Self { plane: Plane::new(nodes, members_min), members }
    }

    pub fn until(&self, what: &str, holds: impl Fn(&World) -> bool) {
        eventually(what, || holds(&self.plane.world()));
    }

    /// The node that serves.
    pub fn primary(&self) -> usize {
        self.until("somebody serves", |world| world.primary().is_some());
        let primary = self.plane.world().primary();
        self.members.iter().position(|node| Some(node.pool) == primary).expect("it stays for a while")
    }

    /// A node that does not serve.
    pub fn backup(&self) -> usize {
        let primary = self.primary();
        (0..self.members.len()).find(|node| *node != primary).unwrap()
    }

    pub fn member(&self, node: usize) -> &Member {
        self.members[node].member.as_ref().expect("it is up")
    }

    /// A client at whoever serves.
    pub fn client(&self) -> Client {
        let mut client = None;
        eventually("a client is let in", || {
            client = self.try_client();
            client.is_some()
        });
        client.unwrap()
    }

    fn try_client(&self) -> Option<Client> {
        let primary = self.plane.world().primary()?;
        let node = self.members.iter().find(|node| node.pool == primary)?;
        Client::open(node.member.as_ref()?.nbd(), &export(1), Replies::Structured).ok()
    }

    /// Does something with a volume, again with another connection whenever one is cut off.
    pub fn surely<T>(&self, client: &mut Client, mut work: impl FnMut(&mut Client) -> io::Result<T>) -> T {
        loop {
            match work(client) {
                Ok(done) => return done,
                Err(_) => *client = self.client(),
            }
        }
    }

    /// Stops a node; its pool stays.
    pub fn stop(&mut self, node: usize) {
        let node = &mut self.members[node];
        self.plane.world().nodes.remove(&node.pool);
        node.directory = Some(node.member.take().expect("it is up").stop());
    }

    /// It comes back, at other addresses.
    pub fn start(&mut self, node: usize) {
        let node = &mut self.members[node];
        let directory = node.directory.take().expect("it is down");
        node.member = Some(Member::start(directory, cluster("n", &[NOBODY.to_owned()])).expect("started"));
        node.join(&self.plane);
    }
}

impl Node {
    fn new() -> Self {
        let member = Member::with("n", &[NOBODY.to_owned()]);
        let pool = member.pool();
        Self { pool, member: Some(member), directory: None }
    }

    /// The control plane gets to know it, and it lets others in.
    pub fn join(&mut self, plane: &Plane) {
        let member = self.member.as_ref().expect("it is up");
        member.listen();
        let seat = Seat::new(member.control(), member.peers(), member.peers());
        plane.world().nodes.insert(self.pool, seat);
    }
}
