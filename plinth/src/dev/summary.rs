//! What `plinth dev` says once it serves.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use storage_node::{Address, Answer, Command, StorageNode};

use super::plan::Plan;
use super::volumes::Found;
use crate::output::{size, table, uri};
use crate::view::{Phase, Volume};

/// Where the other commands look for the API unless told otherwise.
const USUAL_CONTROL: &str = "127.0.0.1:10700";
const COMMANDS: &str = "  plinth status
  plinth volume create more --size 1GiB --open
  plinth volume list -o wide
";

/// All that serves.
pub struct Summary<'a> {
    /// What was to be started.
    pub plan: &'a Plan,
    /// What was.
    pub nodes: &'a [StorageNode],
    /// Where the API is.
    pub control: SocketAddr,
    /// What there is.
    pub found: &'a Found,
}

/// Of all pools together.
#[derive(Clone, Copy, Default)]
struct Space {
    capacity_bytes: u64,
    free_bytes: u64,
}

impl Summary<'_> {
    /// The volumes, how to reach them, and what to try.
    pub async fn text(&self) -> Result<String> {
        let space = self.space().await?;
        let volumes = &self.found.volumes;
        let mut text = format!(
            "plinth {} serves {} from {} ({} for data, {} free)\n\n",
            env!("CARGO_PKG_VERSION"),
            plural(volumes.len(), "volume"),
            self.pools(),
            size::show(space.capacity_bytes),
            size::show(space.free_bytes),
        );
        for line in self.table().lines() {
            writeln!(text, "  {line}")?;
        }
        for http in self.nodes.iter().filter_map(|node| node.addresses().http) {
            write!(text, "\nMetrics http://{http}/metrics, health http://{http}/healthz")?;
        }
        text += "\n";
        text += &self.warnings(space);
        text += &self.suggestions();
        text += "\nCtrl-C stops; volumes and their data stay.\n";
        Ok(text)
    }

    async fn space(&self) -> Result<Space> {
        let mut sum = Space::default();
        for node in self.nodes {
            match node.control().command(Command::PoolSpace).await? {
                Answer::PoolSpace(space) => {
                    sum.capacity_bytes += space.capacity_bytes;
                    sum.free_bytes += space.free_bytes;
                }
                other => bail!("the node answered {other:?} when it was asked for its space"),
            }
        }
        Ok(sum)
    }

    fn pools(&self) -> String {
        match &self.plan.nodes[..] {
            [only] => only.pool.path.display().to_string(),
            several => format!("{} nodes in {}", several.len(), self.plan.data.display()),
        }
    }

    fn table(&self) -> String {
        let mut table = table::new(&["VOLUME", "SIZE", "NBD"]);
        for volume in &self.found.volumes {
            let mut label = [volume.name.clone(), size::show(volume.size_bytes)];
            for address in self.addresses(volume) {
                let [name, size] = std::mem::take(&mut label);
                table.add_row([name, size, uri::volume(&volume.name, address)]);
            }
        }
        table::lines(table)
    }

    /// Where to go for a volume: to its own node, and to the unix socket, from where it is relayed.
    fn addresses(&self, volume: &Volume) -> Vec<&Address> {
        let names = self.plan.names();
        let of = |name: &str| names.iter().position(|found| found == name).and_then(|index| self.nodes.get(index));
        let own = volume.replicas.iter().find_map(|replica| of(&replica.node)).or(self.nodes.first());
        let own = own.into_iter().flat_map(|node| &node.addresses().nbd);
        let sockets = self.nodes.iter().flat_map(|node| &node.addresses().nbd);
        let sockets = sockets.filter(|address| matches!(address, Address::Unix(_)));
        own.filter(|address| matches!(address, Address::Tcp(_))).chain(sockets).collect()
    }

    fn warnings(&self, space: Space) -> String {
        let mut text = String::new();
        let promised: u64 = self.found.volumes.iter().map(|volume| volume.size_bytes).sum();
        if promised > space.capacity_bytes {
            let (promised, room) = (size::show(promised), size::show(space.capacity_bytes));
            text += &format!(
                "\nThe volumes promise {promised} together and the pool has room for {room}: writes fail when it is full.\n"
            );
        }
        // The voter takes a node that was not started again for one that is about to come back.
        let names = self.plan.names();
        let is_ready = |volume: &Volume| volume.phase == Phase::Ready && volume.is_on(&names);
        let unready = self.found.volumes.iter().filter(|volume| !is_ready(volume));
        for volume in unready {
            let name = &volume.name;
            text += &format!("\nVolume {name} is not ready: `plinth explain volume {name}` says why.\n");
        }
        let orphans: usize = self.found.pools.iter().map(|pool| pool.orphans.len()).sum();
        if orphans > 0 {
            text += &format!(
                "\n{} in the pool belong to no volume of this cluster: they are kept, take space, and are not served.\n",
                plural(orphans, "replica"),
            );
        }
        text
    }

    fn suggestions(&self) -> String {
        let Some(volume) = self.found.volumes.first() else { return String::new() };
        let tcp = self.addresses(volume).into_iter().find_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        });
        let clients = tcp.map(|address| clients(&volume.name, address)).unwrap_or_default();
        let control = match self.control.to_string() {
            usual if usual == USUAL_CONTROL => String::new(),
            other => format!("  export PLINTH_CONTROL={other}\n"),
        };
        format!("{clients}\nThe cluster\n{control}{COMMANDS}")
    }
}

fn clients(volume: &str, address: SocketAddr) -> String {
    let uri = format!("nbd://{address}/{volume}");
    let (ip, port) = (address.ip(), address.port());
    format!(
        "\nTry
  nbdinfo {uri}
  nbdcopy disk.img {uri}
  fio --name=try --ioengine=nbd --uri={uri} --rw=randwrite --bs=4k --iodepth=32 --size=256m
  qemu-system-x86_64 -drive file={uri},format=raw,if=virtio
  nbd-client -N {volume} {ip} {port} /dev/nbd0
"
    )
}

fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::plural;

    #[test]
    fn one_is_not_many() {
        assert_eq!((plural(1, "volume").as_str(), plural(2, "volume").as_str()), ("1 volume", "2 volumes"));
    }
}
