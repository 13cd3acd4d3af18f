//! What the pretend Orthanc gives away, and gets back.

use super::lock;
use std::ffi::c_void;
use std::sync::Mutex;

/// Of all sessions: `OrthancPluginFree` is not told which one it works for.
static BOOKS: Mutex<Books> = Mutex::new(Books { given: Vec::new(), wrong_frees: 0 });

struct Books {
    given: Vec<Given>,
    wrong_frees: usize,
}

struct Given(*mut [u8]);

// SAFETY: it owns the memory as a box would.
unsafe impl Send for Given {}

impl Drop for Given {
    fn drop(&mut self) {
        // SAFETY: it came from `Box::into_raw` in `give`, and this is its only owner.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Memory for the plugin, which has to give it to [`free`].
pub(super) fn give(bytes: Vec<u8>) -> *mut c_void {
    let memory = Box::into_raw(bytes.into_boxed_slice());
    lock(&BOOKS).given.push(Given(memory));
    memory.cast()
}

/// `OrthancPluginFree`.
pub(super) unsafe extern "C" fn free(memory: *mut c_void) {
    if memory.is_null() {
        return;
    }
    let mut books = lock(&BOOKS);
    match books.given.iter().position(|given| given.0.cast::<c_void>() == memory) {
        Some(index) => drop(books.given.swap_remove(index)),
        None => books.wrong_frees = books.wrong_frees.saturating_add(1),
    }
}

pub(super) fn in_use() -> usize {
    lock(&BOOKS).given.len()
}

pub(super) fn wrong_frees() -> usize {
    lock(&BOOKS).wrong_frees
}

/// A new page.
pub(super) fn clear() {
    *lock(&BOOKS) = Books { given: Vec::new(), wrong_frees: 0 };
}
