//! The body of the answer, which owns everything that makes it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use bytes::Bytes;
use http_body::Frame;
use tokio::{sync::mpsc, task::JoinSet};

use super::output::Message;
use crate::{body::Broken, refusal::Refusal};

/// What is written to it, as it comes. Dropped, it ends all that is under way for it.
pub(super) struct AnswerBody {
    receiver: mpsc::UnboundedReceiver<Message>,
    given: vec::IntoIter<Bytes>,
    is_over: bool,
    /// What is being retrieved, for the log.
    what: String,
    _task: JoinSet<()>,
}

impl AnswerBody {
    pub(super) fn new(what: String, receiver: mpsc::UnboundedReceiver<Message>, task: JoinSet<()>) -> Self {
        Self { receiver, given: Vec::new().into_iter(), is_over: false, what, _task: task }
    }

    /// Waits until there is something to answer with, or a refusal.
    pub(super) async fn begun(&mut self) -> Result<(), Option<Refusal>> {
        let message = self.receiver.recv().await;
        match message {
            Some(Message::Failed(refusal)) => {
                self.is_over = true;
                Err(Some(refusal))
            }
            Some(message) => {
                self.take(message);
                Ok(())
            }
            None => {
                self.is_over = true;
                Err(None)
            }
        }
    }

    /// Takes what is no failure.
    fn take(&mut self, message: Message) {
        match message {
            Message::Bytes(bytes) => self.given = bytes.into_iter(),
            Message::End(bytes, when_taken) => {
                self.is_over = true;
                self.given = vec![bytes].into_iter();
                when_taken();
            }
            Message::Failed(_) => {}
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(bytes) = self.given.next() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match ready!(self.receiver.poll_recv(context)) {
                Some(Message::Failed(refusal)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(Broken(refusal.in_words()))));
                }
                Some(message) => self.take(message),
                None => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(Broken("the gateway ended it early".to_owned()))));
                }
            }
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if !self.is_over {
            tracing::info!("{}: whoever asked went away before the end", self.what);
        }
    }
}
