//! A way to the API server that can be cut, for a program that must not notice anything else.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on as long as the current runtime lives.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_closed: bool,
    open: usize,
}

impl Proxy {
    /// Starts one that leads to `server`, a URL without a path.
    pub(crate) async fn start(server: &str) -> Self {
        let target = server.trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, _) = watch::channel(State::default());
        let connections = state.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cut, target) = (connections.subscribe(), target.clone());
                if cut.borrow_and_update().is_closed {
                    continue;
                }
                let connections = connections.clone();
                connections.send_if_modified(|state| {
                    state.open += 1;
                    false
                });
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        tokio::select! {
                            _ = copy_bidirectional(&mut near, &mut far) => {}
                            _ = cut.changed() => {}
                        }
                    }
                    connections.send_if_modified(|state| {
                        state.open -= 1;
                        false
                    });
                });
            }
        });
        Self { address, state }
    }

    /// Where it listens, as a URL.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Breaks all connections; new ones are possible at once.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|_| {});
    }

    /// Breaks all connections and ends new ones at once, until it is opened. Returns when none is left.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| state.is_closed = true);
        crate::poll::until("the connections to end", Duration::from_secs(10), || {
            let open = self.state.borrow().open;
            if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
        })
        .unwrap();
    }

    /// Lets new connections through again.
    pub(crate) fn open(&self) {
        self.state.send_if_modified(|state| {
            state.is_closed = false;
            false
        });
    }
}
