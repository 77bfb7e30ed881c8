//! A port that is served on a thread of its own until its value is dropped.

use axum::Router;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the end waits for answers that are under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// A port that is being served. Dropping it takes no new request, waits for the answers under way, and frees the port.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `router` on `listener`; `name` is the thread's.
    pub(super) fn start(name: &str, listener: TcpListener, router: Router) -> io::Result<Server> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(serve(listener, router, stopped));
            runtime.shutdown_timeout(Duration::ZERO);
        })?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until told to stop, and then no longer than [`PATIENCE`].
async fn serve(listener: TcpListener, router: Router, stopped: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let (begin_end, mut ending) = tokio::sync::watch::channel(false);
    let until = async move {
        // A sender that is gone means the same as one that spoke.
        let _ = stopped.await;
        begin_end.send_replace(true);
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(until);
    let too_long = async move {
        // The sender lives in `until`, which only ends after it has spoken.
        let _ = ending.wait_for(|ending| *ending).await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        _ = serving => {}
        () = too_long => {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told, and there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}
