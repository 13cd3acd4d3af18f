//! The gateway's port, which stays the plugin's until Orthanc unloads it.
//!
//! Orthanc goes on with its jobs for some seconds after it has told the plugins to stop, and these jobs send images and
//! the account's secret to the address that they know. Another program must not be able to listen there meanwhile.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::net::{Shutdown, shutdown, sockopt::set_socket_reuseaddr};

/// How often a free port is looked for: between finding one and binding to it, another program may take it.
const ATTEMPTS: u32 = 16;

/// A port of the loopback address. It is given back when the last clone is dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Port {
    held: Arc<Mutex<Option<TcpListener>>>,
}

impl Port {
    /// Listens on `port` of the loopback address alone, or on a free one for 0: to other machines the gateway does not
    /// exist.
    ///
    /// # Errors
    /// The port cannot be bound to.
    pub(crate) fn listen(&self, port: u16) -> io::Result<(TcpListener, u16)> {
        self.release();
        let listener = if port == 0 { on_free_port()? } else { bind(port)? };
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        *self.locked() = Some(listener.try_clone()?);
        Ok((listener, port))
    }

    /// Refuses every connection from now on, those that wait included, and keeps the port.
    ///
    /// A listening socket that is shut down goes back to being bound only (Linux, `tcp_disconnect`).
    pub(crate) fn refuse(&self) {
        if let Some(listener) = &*self.locked() {
            // Two sockets that both allow reuse may share a port while neither listens. std allows it to each.
            let is_refused =
                set_socket_reuseaddr(listener, false).and_then(|()| shutdown(listener, Shutdown::Read));
            if let Err(error) = is_refused {
                tracing::debug!("connections to the gateway's port cannot be refused ({error})");
            }
        }
    }

    /// Gives the port back.
    pub(crate) fn release(&self) {
        drop(self.locked().take());
    }

    fn locked(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// Binds to a free port by its number: the kernel gives back a port that it has chosen itself as soon as its socket no
/// longer listens.
fn on_free_port() -> io::Result<TcpListener> {
    let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let free = bind(0)?.local_addr()?.port();
        match bind(free) {
            Ok(listener) => return Ok(listener),
            Err(error) => taken = error,
        }
    }
    Err(taken)
}

/// Refuses connections when it is dropped.
#[derive(Debug)]
pub(crate) struct RefuseAtEnd(pub(crate) Port);

impl Drop for RefuseAtEnd {
    fn drop(&mut self) {
        self.0.refuse();
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpStream};

    use super::*;

    #[test]
    fn refused_port_stays_taken_until_release() {
        let free = || bind(0).unwrap().local_addr().unwrap().port();
        for chosen in [0, free()] {
            let held = Port::default();
            let (listener, port) = held.listen(chosen).unwrap();
            assert!(listener.local_addr().unwrap().ip().is_loopback());
            let mut waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
            drop(listener);
            held.refuse();
            // Neither an answer nor a wait for one.
            let refused = waiting.read(&mut [0]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionReset);
            let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            for address in ["127.0.0.1", "0.0.0.0"] {
                let other = TcpListener::bind((address, port)).unwrap_err();
                assert_eq!(other.kind(), io::ErrorKind::AddrInUse, "{address}");
            }
            held.release();
            drop(bind(port).unwrap());
        }
    }

    #[test]
    fn port_is_listened_on_again_after_refusal() {
        let held = Port::default();
        let (listener, port) = held.listen(0).unwrap();
        drop(listener);
        held.refuse();
        let (listener, again) = held.listen(port).unwrap();
        assert_eq!(again, port);
        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
        drop((listener, held));
        drop(bind(port).unwrap());
    }
}
