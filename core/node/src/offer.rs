//! What one client finds under a name. What it may not use looks to it like what is not there.

use std::collections::BTreeMap;

use block::VolumeId;
use nbd::{Catalog, Export, Exports, Found};

use crate::door::Entrance;
use crate::intent::ReplicaIntent;
use crate::node::{NodeConfig, Offer};
use crate::pass::{Grant, Pass};
use crate::token::TokenHash;
use crate::volume::Volume;
use crate::wishes::Wishes;

/// The node's volumes, as the client of one connection sees them.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub config: &'a NodeConfig,
    pub exports: &'a Exports,
    pub wishes: &'a Wishes,
    pub volumes: &'a BTreeMap<VolumeId, Volume>,
    pub entrance: Entrance,
}

impl<'a> View<'a> {
    /// The volume's name, and the token behind it; the empty name is the default export's.
    fn split<'n>(&self, name: &'n str) -> (&'n str, Option<&'n str>)
    where
        'a: 'n,
    {
        match name.split_once('@') {
            Some((name, token)) => (name, Some(token)),
            None if name.is_empty() => (self.config.default_export.as_deref().unwrap_or_default(), None),
            None => (name, None),
        }
    }

    /// Where the volume of that export is, if it is on another node.
    pub fn route(&self, name: &str) -> Option<&'a str> {
        let (name, _) = self.split(name);
        match self.entrance {
            // No loops: whoever relays must know where the volume is.
            Entrance::Relayed { .. } | Entrance::Silent => None,
            Entrance::Client { .. }
                if self.wishes.named(name).is_some_and(|replica| !self.may_be_elsewhere(replica)) =>
            {
                None
            }
            Entrance::Client { .. } => self.wishes.route(name),
        }
    }

    /// Whether another node may serve a volume of which there is a replica here.
    fn may_be_elsewhere(&self, replica: &ReplicaIntent) -> bool {
        let is_served = self.volumes.get(&replica.volume).is_some_and(Volume::is_served_here);
        replica.copies.is_some() && !is_served
    }

    fn find_here(&self, name: &str) -> Option<(&'a str, Export)> {
        let (name, token) = self.split(name);
        let replica = self.wishes.named(name)?;
        let grant = match token {
            Some(digits) => replica.grant_by_token(TokenHash::of_text(digits)?)?,
            None => self.open_grant(replica)?,
        };
        Some((&replica.name, self.export(replica, grant)?))
    }

    fn open_grant(&self, replica: &ReplicaIntent) -> Option<Grant> {
        (replica.is_open() && self.entrance.is_trusted()).then_some(Grant::Open)
    }

    /// What a client sees of a volume, if it is served.
    fn export(&self, replica: &ReplicaIntent, grant: Grant) -> Option<Export> {
        let volume = self.volumes.get(&replica.volume).filter(|volume| volume.is_served_here())?;
        if replica.copies.is_some() && volume.copy.is_none() {
            return None;
        }
        let read_only = grant.is_read_only();
        Some(Export {
            handle: Pass { volume: volume.id, grant }.handle(),
            size_bytes: volume.size_bytes,
            read_only,
            multi_conn: read_only || (self.config.multi_conn && !grant.is_writers()),
            description: format!("volume {}", replica.volume.0),
        })
    }

    fn list_open(self) -> impl Iterator<Item = (&'a str, Export)> {
        let open = move |replica: &'a ReplicaIntent| {
            let grant = self.open_grant(replica)?;
            // Which volume it is matters to who opens it.
            Some((replica.name.as_str(), Export { description: String::new(), ..self.export(replica, grant)? }))
        };
        self.wishes.replicas().filter_map(open)
    }
}

impl Catalog for View<'_> {
    fn find(&self, name: &str) -> Found<'_> {
        match self.config.offer {
            Offer::Every => self.exports.find(name),
            Offer::Intended => match self.find_here(name) {
                Some((listed_name, export)) => Found::Here { listed_name, export },
                None if self.route(name).is_some() => Found::Elsewhere,
                None => Found::Nothing,
            },
        }
    }

    /// Who is not trusted is denied the list, and not shown an empty one: it is told the same whatever there is, and
    /// does not take it for the truth.
    fn list(&self) -> Option<impl Iterator<Item = (&str, Export)>> {
        let (every, open) = match self.config.offer {
            Offer::Every => (Some(self.exports.list()?), None),
            Offer::Intended if self.config.list_exports && self.entrance.is_trusted() => (None, Some(self.list_open())),
            Offer::Intended => return None,
        };
        Some(every.into_iter().flatten().chain(open.into_iter().flatten()))
    }
}
