//! Ctrl-C: ask to end, so that what was started can be ended properly.

use std::sync::{
    Arc, Condvar, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail};

/// Whether Ctrl-C (or SIGTERM, or SIGHUP) came.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    came: Arc<AtomicBool>,
    wake: Arc<(Mutex<()>, Condvar)>,
}

impl Interrupt {
    /// Listens from now on. The second time, the program ends at once (and the kernel ends Orthanc with it).
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let heard = interrupt.clone();
        ctrlc::set_handler(move || {
            if heard.came.swap(true, Ordering::SeqCst) {
                // Whoever asks twice does not want to wait.
                std::process::exit(130);
            }
            println!("\nEnding; press Ctrl-C again to end at once.");
            let _guard = heard.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.wake.1.notify_all();
        })?;
        Ok(interrupt)
    }

    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }

    /// Fails if it came.
    pub(crate) fn check(&self) -> Result<()> {
        if self.came() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Waits until it comes.
    pub(crate) fn wait(&self) {
        let guard = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.wake.1.wait_while(guard, |()| !self.came()));
    }
}
