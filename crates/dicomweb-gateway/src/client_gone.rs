//! Noticing that a client has gone while nothing is read from it.
//!
//! An upload that waits for the DICOM store does not read. The end of the connection then lies behind what was not read, and
//! hyper sees it only when it comes there. The kernel knows it at once.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use google_credentials::World;
use tokio::{io::Interest, net::TcpStream, sync::watch};

/// How often it is looked whether something has changed, where something does: data arrives much more often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
            // An error means that it has gone as well.
            while stream.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed()) {
                // What can be read is not for us: ready again when more comes.
                drop(stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into())));
                world.sleep(LOOK_EVERY).await;
            }
            self.gone.send_replace(true);
        }
        std::future::pending().await
    }
}
