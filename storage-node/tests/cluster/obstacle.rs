//! A proxy for one TCP service that can stop passing anything on, as if its machine had stopped.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Its threads end with the connections they carry, or when it is dropped.
pub struct Obstacle {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    blocked: AtomicBool,
    gone: AtomicBool,
}

impl Obstacle {
    pub fn before(target: &str) -> Self {
        let target: SocketAddr = target.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if shared.gone.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(far) = TcpStream::connect(target) else { continue };
                for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || pass(from, to, &shared));
                }
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on nothing passes, and nobody is told.
    pub fn block(&self) {
        self.state.blocked.store(true, Ordering::SeqCst);
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        self.state.gone.store(true, Ordering::SeqCst);
        // The listener looks only when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &State) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = [0; 4096];
    while !state.gone.load(Ordering::SeqCst) {
        match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) if state.blocked.load(Ordering::SeqCst) => {}
            Ok(len_bytes) => {
                if to.write_all(&bytes[..len_bytes]).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
