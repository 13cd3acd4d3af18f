//! Panics end here: none crosses into Orthanc, and each is told in Orthanc's log.

use crate::{Level, lifecycle};
use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
#[cfg(feature = "fake-host")]
use std::sync::atomic::{AtomicBool, Ordering};

/// A panic was caught, and the hook has told it.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Runs `work`, which Orthanc has called: no panic leaves it.
///
/// Nothing that a panic leaves behind is looked at again: what `work` captures is either the plugin, whose own
/// locks poison, or a turnstile, which tolerates it.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(discard)
}

/// Panics of this image go to Orthanc's log, or, while there is no Orthanc, where they went before.
///
/// Once for the life of the image, since hooks pile up: `POST /tools/reset` initialises the plugin again in the
/// same image. So the hook looks for the host anew each time.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !tell(info) || echoes() {
                previous(info);
            }
        }));
    });
}

fn tell(info: &PanicHookInfo<'_>) -> bool {
    let Some(host) = lifecycle::current_host() else { return false };
    let (file, line, column) =
        info.location().map_or(("(unknown)", 0, 0), |place| (place.file(), place.line(), place.column()));
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without name");
    let message = message(info.payload());
    let text = format!(
        "Defect in this plugin (panic) at {file}:{line}:{column}, thread {name}: {message}. Please report it."
    );
    host.try_log(Level::Error, &text, file, line)
}

fn message(payload: &dyn Any) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// Drops what was thrown, whose own drop may throw again.
fn discard(mut payload: Box<dyn Any + Send>) -> Panicked {
    while let Err(next) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        payload = next;
    }
    Panicked
}

#[cfg(not(feature = "fake-host"))]
const fn echoes() -> bool {
    false
}

#[cfg(feature = "fake-host")]
fn echoes() -> bool {
    ECHO.load(Ordering::SeqCst)
}

/// Set by the pretend host: a failing assertion of a test must be seen by who runs the tests.
#[cfg(feature = "fake-host")]
pub(crate) static ECHO: AtomicBool = AtomicBool::new(false);
