//! One pretend Orthanc at a time.

use super::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::ThreadId;

static HOLDER: Mutex<Option<ThreadId>> = Mutex::new(None);
static FREED: Condvar = Condvar::new();

/// Held by the one [`FakeHost`](super::FakeHost) there is.
pub(super) struct Turn(());

impl Turn {
    pub(super) fn take() -> Self {
        let me = std::thread::current().id();
        let mut holder = lock(&HOLDER);
        while holder.is_some() {
            assert_ne!(*holder, Some(me), "this thread has a FakeHost already: drop it first");
            holder = FREED.wait(holder).unwrap_or_else(PoisonError::into_inner);
        }
        *holder = Some(me);
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&HOLDER) = None;
        FREED.notify_all();
    }
}
