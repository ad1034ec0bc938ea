//! Where NBD clients find things.

use std::path::{Path, PathBuf};

use storage_node::Address;

/// A volume.
pub fn volume(volume: &str, address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("nbd://{address}/{volume}"),
        Address::Unix(path) => format!("nbd+unix:///{volume}?socket={}", absolute(path).display()),
    }
}

/// A server of volumes.
pub fn server(address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("nbd://{address}"),
        Address::Unix(path) => format!("nbd+unix:///?socket={}", absolute(path).display()),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use storage_node::Address;

    use super::{server, volume};

    #[test]
    fn a_volume_has_a_uri_at_every_address() {
        let (tcp, unix) = (Address::Tcp(([127, 0, 0, 1], 10809).into()), Address::Unix("/d/nbd.sock".into()));
        assert_eq!(volume("v", &tcp), "nbd://127.0.0.1:10809/v");
        assert_eq!(volume("v", &unix), "nbd+unix:///v?socket=/d/nbd.sock");
        assert_eq!(
            (server(&tcp), server(&unix)),
            ("nbd://127.0.0.1:10809".into(), "nbd+unix:///?socket=/d/nbd.sock".into())
        );
    }
}
