//! What `plinth dev` says once it serves.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail};
use storage_node::{Address, Answer, Command, StorageNode, VolumeSummary};

use crate::dev::absolute;
use crate::output::{size, table};

/// The volumes, how to reach them, and what to try.
pub async fn of(node: &StorageNode, volumes: &[VolumeSummary], pool: &Path) -> Result<String> {
    let space = match node.control().command(Command::PoolSpace).await? {
        Answer::PoolSpace(space) => space,
        other => bail!("the node answered {other:?} when it was asked for its space"),
    };
    let mut text = format!(
        "plinth {} serves {} from {} ({} for data, {} free)\n\n",
        env!("CARGO_PKG_VERSION"),
        plural(volumes.len(), "volume"),
        pool.display(),
        size::show(space.capacity_bytes),
        size::show(space.free_bytes),
    );
    for line in table(volumes, &node.addresses().nbd).lines() {
        writeln!(text, "  {line}")?;
    }
    if let Some(http) = node.addresses().http {
        write!(text, "\nMetrics http://{http}/metrics, health http://{http}/healthz\n")?;
    }
    let promised: u64 = volumes.iter().map(|volume| volume.size_bytes).sum();
    if promised > space.capacity_bytes {
        let (promised, room) = (size::show(promised), size::show(space.capacity_bytes));
        write!(
            text,
            "\nThe volumes promise {promised} together and the pool has room for {room}: writes fail when it is full.\n"
        )?;
    }
    if let (Some(volume), Some(Address::Tcp(address))) = (volumes.first(), node.addresses().nbd.first()) {
        text.push_str(&suggestions(&volume.name, *address));
    }
    text.push_str("\nCtrl-C stops; volumes and their data stay.\n");
    Ok(text)
}

fn table(volumes: &[VolumeSummary], addresses: &[Address]) -> String {
    let mut table = table::new(&["VOLUME", "SIZE", "NBD"]);
    for volume in volumes {
        let mut label = [volume.name.clone(), size::show(volume.size_bytes)];
        for address in addresses {
            let [name, size] = std::mem::take(&mut label);
            table.add_row([name, size, uri(&volume.name, address)]);
        }
    }
    table::lines(table)
}

/// Where NBD clients find a volume.
pub fn uri(volume: &str, address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("nbd://{address}/{volume}"),
        Address::Unix(path) => format!("nbd+unix:///{volume}?socket={}", absolute(path).display()),
    }
}

fn suggestions(volume: &str, address: std::net::SocketAddr) -> String {
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
    use storage_node::Address;

    use super::{plural, uri};

    #[test]
    fn a_volume_has_a_uri_at_every_address() {
        assert_eq!(uri("v", &Address::Tcp(([127, 0, 0, 1], 10809).into())), "nbd://127.0.0.1:10809/v");
        assert_eq!(uri("v", &Address::Unix("/d/nbd.sock".into())), "nbd+unix:///v?socket=/d/nbd.sock");
        assert_eq!((plural(1, "volume").as_str(), plural(2, "volume").as_str()), ("1 volume", "2 volumes"));
    }
}
