//! Free ports on the loopback address.

use super::StartError;
use std::net::TcpListener;

/// `N` different ports that nobody listens on now.
///
/// They are held together while they are chosen, so they differ; another process may still take one before the
/// service does, which shows as a failed start that names the port.
pub fn free<const N: usize>() -> Result<[u16; N], StartError> {
    let unavailable = |cause| StartError(format!("cannot find a free port on 127.0.0.1: {cause}"));
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(unavailable)?;
        *port = listener.local_addr().map_err(unavailable)?.port();
        held.push(listener);
    }
    Ok(ports)
}
