//! A value that many threads may use until the door is closed, and a closing that waits for them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lends a value to any number of threads at once, and counts them.
///
/// Unlike a read-write lock it never blocks who enters: a thread that is inside may enter again (Orthanc calls
/// back on the thread that called it), also while another thread waits in [`close`](Self::close).
pub(crate) struct Turnstile<T> {
    state: Mutex<State<T>>,
    emptied: Condvar,
}

struct State<T> {
    value: Option<T>,
    inside: usize,
}

/// Somebody is inside: [`Turnstile::close`] does not return before this is dropped.
pub(crate) struct Pass<'a, T> {
    // The order matters: fields drop from top to bottom, so the value is given back before the ticket is.
    value: T,
    _ticket: Ticket<'a, T>,
}

struct Ticket<'a, T>(&'a Turnstile<T>);

impl<T> Turnstile<T> {
    /// A door that is closed.
    pub(crate) const fn closed() -> Self {
        Self { state: Mutex::new(State { value: None, inside: 0 }), emptied: Condvar::new() }
    }

    /// A door that is open.
    pub(crate) const fn opened(value: T) -> Self {
        Self { state: Mutex::new(State { value: Some(value), inside: 0 }), emptied: Condvar::new() }
    }

    /// Lends `value` from now on; gives back the one lent before, if the door was not closed.
    pub(crate) fn open(&self, value: T) -> Option<T> {
        self.lock().value.replace(value)
    }

    /// Turns newcomers away, waits until nobody is inside, and gives back the value: the only one left.
    ///
    /// Never call this from inside: it would wait for itself.
    pub(crate) fn close(&self) -> Option<T> {
        let mut state = self.lock();
        let value = state.value.take();
        while state.inside > 0 {
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        value
    }

    // A panic of somebody else, on a thread that held the lock, says nothing about these two numbers.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Turnstile<T> {
    /// Goes in, unless the door is closed.
    pub(crate) fn enter(&self) -> Option<Pass<'_, T>> {
        let mut state = self.lock();
        let value = state.value.clone()?;
        state.inside = state.inside.saturating_add(1);
        Some(Pass { value, _ticket: Ticket(self) })
    }
}

impl<T> Pass<'_, T> {
    pub(crate) fn value(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.inside = state.inside.saturating_sub(1);
        if state.inside == 0 {
            self.0.emptied.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    #[test]
    fn closes_and_opens_again() {
        let door = Turnstile::closed();
        assert!(door.enter().is_none());
        assert_eq!(door.close(), None);
        for number in 0..3 {
            assert_eq!(door.open(number), None);
            assert_eq!(door.enter().map(|pass| *pass.value()), Some(number));
            assert_eq!(door.close(), Some(number));
            assert!(door.enter().is_none());
        }
    }

    #[test]
    fn one_thread_goes_in_twice() {
        let door = Turnstile::opened(());
        let outer = door.enter();
        let inner = door.enter();
        assert!(outer.is_some() && inner.is_some());
    }

    #[test]
    fn closing_waits_and_turns_newcomers_away() {
        let door = Turnstile::opened(());
        let left = AtomicBool::new(false);
        let (inside, wait_inside) = mpsc::channel();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let pass = door.enter().unwrap();
                inside.send(()).unwrap();
                // Closing has begun when newcomers, this thread among them, are turned away.
                while door.enter().is_some() {
                    std::thread::yield_now();
                }
                left.store(true, Ordering::SeqCst);
                drop(pass);
            });
            wait_inside.recv().unwrap();
            assert_eq!(door.close(), Some(()));
            assert!(left.load(Ordering::SeqCst), "closed while somebody was inside");
        });
    }

    #[test]
    fn the_value_given_back_is_the_last_one() {
        let door = Turnstile::opened(Arc::new(()));
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| while door.enter().is_some() {});
            }
            let value = door.close().unwrap();
            assert_eq!(Arc::strong_count(&value), 1);
        });
    }

    #[test]
    fn a_panic_inside_leaves_the_door_usable() {
        let door = Turnstile::opened(());
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _pass = door.enter();
            panic!("inside");
        }));
        assert!(result.is_err());
        assert_eq!(door.close(), Some(()));
    }
}
