//! Noticing that a client has gone while nothing is read from it.
//!
//! An upload that waits for the DICOM store does not read. The end of the connection then lies behind what was not read, and
//! hyper sees it only when it comes there. The kernel knows it at once, as long as it has room for what comes before the end.
//! Where it has none, the end waits with the client's kernel: on this machine that is the same one, and it can be asked. A
//! client on another machine is then noticed when reading goes on.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use google_credentials::World;
use tokio::{io::Interest, net::TcpStream, sync::watch};

use crate::connection_table;

/// How often it is looked whether something has changed, where something does: data arrives much more often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// When nothing has changed for so long, and there is something to read, the kernel may have no room for more.
const QUIET: Duration = Duration::from_secs(1);

/// In the extensions of every request: whether whoever sent it has closed the connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientGone(watch::Receiver<bool>);

/// Watches over a connection.
pub(crate) struct Watch {
    /// Another descriptor of the connection, since nobody else may look at one that hyper reads.
    stream: Option<TcpStream>,
    gone: watch::Sender<bool>,
}

impl ClientGone {
    /// Waits until the client has gone; for ever, if it does not go before the answer.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|gone| *gone).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Watch {
    /// Of `stream`, which is given back. Where there is no descriptor left, the client's end is noticed later.
    pub(crate) fn over(stream: TcpStream) -> io::Result<(TcpStream, Self, ClientGone)> {
        let stream = stream.into_std()?;
        let second = stream.try_clone().and_then(TcpStream::from_std);
        let (gone, receiver) = watch::channel(false);
        Ok((TcpStream::from_std(stream)?, Self { stream: second.ok(), gone }, ClientGone(receiver)))
    }

    /// Tells when the client has gone.
    pub(crate) async fn run(self, world: Arc<dyn World>) -> Infallible {
        if let Some(stream) = &self.stream {
            loop {
                tokio::select! {
                    // An error means that it has gone as well.
                    ready = stream.ready(Interest::READABLE) => {
                        if ready.is_ok_and(|ready| !ready.is_read_closed()) {
                            // What can be read is not for us: ready again when more comes.
                            drop(stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into())));
                            world.sleep(LOOK_EVERY).await;
                        } else {
                            break;
                        }
                    }
                    () = world.sleep(QUIET) => if is_end_held_back(stream) {
                        break;
                    },
                }
            }
            self.gone.send_replace(true);
        }
        std::future::pending().await
    }
}

/// Whether the client has closed the connection, and its kernel waits for room before it says so.
fn is_end_held_back(stream: &TcpStream) -> bool {
    let Ok((own, other)) = stream.local_addr().and_then(|own| Ok((own, stream.peer_addr()?))) else {
        return false;
    };
    // Reading the table takes milliseconds on a busy machine: only where it can tell something.
    rustix::io::ioctl_fionread(stream).is_ok_and(|unread| unread > 0)
        && connection_table::is_ending(other, own)
}
