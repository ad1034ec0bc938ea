//! `plinth attachments`.

use std::process::ExitCode;

use anyhow::Result;

use super::{Device, host};
use crate::args::AttachmentsArgs;
use crate::output::{self, size, table};

/// Shows what is attached to this host.
pub fn run(args: &AttachmentsArgs) -> Result<ExitCode> {
    let devices: Vec<Device> = host(&args.folder)?.list()?.into_iter().map(Device::from).collect();
    output::show(args.output, &devices, |_| text(&devices))?;
    Ok(ExitCode::SUCCESS)
}

fn text(devices: &[Device]) -> String {
    let mut table = table::new(&["VOLUME", "DEVICE", "SIZE", "METHOD", "MODE", "CLIENT", "STATE"]);
    for device in devices {
        let method = match device.method {
            attach::Method::Nbd => "nbd",
            attach::Method::Fuse => "fuse",
        };
        table.add_row([
            device.volume.clone(),
            device.device.clone().unwrap_or_default(),
            size::show(device.size_bytes),
            method.to_owned(),
            if device.read_only { "read-only" } else { "read-write" }.to_owned(),
            device.client.clone(),
            state(device),
        ]);
    }
    table::align_right(&mut table, &[2]);
    table::lines(table)
}

fn state(device: &Device) -> String {
    match (device.detaching, device.keeper) {
        (true, _) => "detaching".to_owned(),
        (false, Some(id)) => format!("kept by process {id}"),
        (false, None) => "nobody keeps it: attach it again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Device, text};

    #[test]
    fn a_device_that_nobody_keeps_is_told() {
        let device = Device {
            volume: "db".to_owned(),
            device: Some("/dev/nbd0".to_owned()),
            method: attach::Method::Nbd,
            size_bytes: 1 << 30,
            read_only: false,
            client: "host1".to_owned(),
            keeper: None,
            detaching: false,
        };
        let kept = Device { keeper: Some(7), ..device.clone() };
        let detaching = Device { detaching: true, ..kept.clone() };
        let text = text(&[device, kept, detaching]);
        for words in ["/dev/nbd0", "read-write", "attach it again", "kept by process 7", "detaching"] {
            assert!(text.contains(words), "{text}");
        }
    }
}
