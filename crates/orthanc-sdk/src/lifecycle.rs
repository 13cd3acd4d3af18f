//! From Initialize to Finalize, and over again: `POST /tools/reset` does it in the same image.

use crate::ffi::Service;
use crate::turnstile::Turnstile;
use crate::{
    Change, Error, Host, Level, Plugin, RestReply, RestRequest, Version, error_code, ffi, panic, route,
};
use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What Orthanc is told when the plugin will not live in it.
pub(crate) const REFUSED: i32 = -1;

/// The plugin between Initialize and Finalize; whoever is inside is a callback of Orthanc's.
static RUNNING: Turnstile<Arc<dyn Running>> = Turnstile::closed();

/// The host from the first line of Initialize to the last of Finalize.
static HOST: Mutex<Option<Host>> = Mutex::new(None);

/// A [`Plugin`] of whatever type.
trait Running: Send + Sync {
    fn on_change(&self, change: Change);
    fn on_rest(&self, request: &RestRequest<'_>) -> RestReply;
    fn refresh_metrics(&self);
}

impl<P: Plugin> Running for P {
    fn on_change(&self, change: Change) {
        Plugin::on_change(self, change);
    }

    fn on_rest(&self, request: &RestRequest<'_>) -> RestReply {
        Plugin::on_rest(self, request)
    }

    fn refresh_metrics(&self) {
        Plugin::refresh_metrics(self);
    }
}

/// `OrthancPluginInitialize`.
///
/// # Safety
/// `context` is null or a context that stays valid until [`finalize`] returns (or this, if it returns not 0).
pub(crate) unsafe fn initialize<P: Plugin>(context: *mut ffi::Context) -> i32 {
    panic::caught(|| {
        panic::install_hook();
        abandon();
        // SAFETY: by this function's contract; every way out of the plugin's life goes through `Host::leave`.
        let Some((host, version)) = (unsafe { Host::attach(context, P::NAME) }) else { return REFUSED };
        *lock() = Some(host.clone());
        match start::<P>(&host, version) {
            Ok(()) => 0,
            Err(reason) => {
                if let Some(reason) = reason {
                    host.log(Level::Error, &reason);
                }
                leave(&host);
                REFUSED
            }
        }
    })
    .unwrap_or(REFUSED)
}

/// `OrthancPluginFinalize`: drops the plugin, then lets the host go.
pub(crate) fn finalize() {
    let outcome = panic::caught(|| {
        let Some(host) = current_host() else { return };
        host.stopping();
        drop_plugin();
        leave(&host);
    });
    // The hook has told about it.
    drop(outcome);
}

/// `OrthancPluginOnChangeCallback`. Always 0: at `OrthancStarted` anything else kills Orthanc (1.13.0 by a
/// segmentation fault), and later it keeps the change from the plugins behind us.
pub(crate) extern "C" fn on_change(change: i32, _resource: i32, _identifier: *const c_char) -> i32 {
    let outcome = panic::caught(|| {
        if let Some(plugin) = RUNNING.enter() {
            plugin.value().on_change(Change::from_id(change));
        }
    });
    // The hook has told about it.
    drop(outcome);
    0
}

/// `OrthancPluginRestCallback`. Not 0 means that Orthanc shall answer, as it does for that error code.
///
/// Who is in here has been let in by `RUNNING`, and Finalize waits for that: the host is there until the answer is sent.
///
/// # Safety
/// What Orthanc promises: all three are valid until this returns.
pub(crate) unsafe extern "C" fn on_rest(
    output: *mut ffi::RestOutput,
    path: *const c_char,
    request: *const ffi::HttpRequest,
) -> i32 {
    let outcome = panic::caught(|| {
        let (Some(plugin), Some(host)) = (RUNNING.enter(), current_host()) else {
            return error_code::DATABASE_NOT_INITIALIZED;
        };
        // SAFETY: by this function's contract; what is read does not outlive this call.
        let Some(request) = (unsafe { route::read(path, request) }) else { return error_code::BAD_REQUEST };
        // The hook has told about a panic.
        let reply =
            panic::caught(|| plugin.value().on_rest(&request)).unwrap_or_else(|_| RestReply::defect());
        // SAFETY: by this function's contract; this is the only answer.
        match unsafe { reply.send(&host, output) } {
            Ok(()) => error_code::SUCCESS,
            Err(Error::Host { code, .. }) => code,
            Err(error) => {
                host.log(Level::Error, &format!("The answer for {} was not sent: {error}", request.path));
                error_code::INTERNAL_ERROR
            }
        }
    });
    outcome.unwrap_or(error_code::INTERNAL_ERROR)
}

/// `OrthancPluginRefreshMetricsCallback`.
pub(crate) extern "C" fn on_refresh_metrics() {
    let outcome = panic::caught(|| {
        if let Some(plugin) = RUNNING.enter() {
            plugin.value().refresh_metrics();
        }
    });
    // The hook has told about it.
    drop(outcome);
}

/// The host that the plugin lives in now.
pub(crate) fn current_host() -> Option<Host> {
    lock().clone()
}

/// An error is what remains to be logged; none after a panic, which the hook has logged.
fn start<P: Plugin>(host: &Host, version: Result<Version, String>) -> Result<(), Option<String>> {
    refuse_old::<P>(version).map_err(Some)?;
    let plugin = match panic::caught(|| P::initialize(host)) {
        Ok(Ok(plugin)) => plugin,
        Ok(Err(refusal)) => return Err(Some(refusal.0)),
        Err(panic::Panicked) => return Err(None),
    };
    // The hook has told about a panic; the plugin lives on without routes.
    let routes = panic::caught(|| plugin.routes()).unwrap_or_default();
    RUNNING.open(Arc::new(plugin));
    if let Err(error) = host.register_on_change(on_change) {
        report_deaf(host, &error);
    }
    for route in routes {
        host.report(host.register_route(&route, on_rest));
    }
    if host.has(Service::RegisterRefreshMetricsCallback) {
        host.report(host.register_refresh_metrics(on_refresh_metrics));
    }
    Ok(())
}

fn refuse_old<P: Plugin>(version: Result<Version, String>) -> Result<(), String> {
    let (name, oldest) = (P::NAME.to_string_lossy(), P::OLDEST_HOST);
    match version {
        Ok(version) if version >= oldest => Ok(()),
        Ok(version) => Err(format!(
            "The plugin {name} needs Orthanc {oldest} or newer, this is {version}: upgrade Orthanc, or remove the \
             plugin from \"Plugins\" in its configuration."
        )),
        Err(text) => Err(format!(
            "The plugin {name} needs Orthanc {oldest} or newer, and cannot tell what version `{text}` is: use a \
             release of Orthanc, or remove the plugin from \"Plugins\" in its configuration."
        )),
    }
}

/// Orthanc matters more than this plugin: it goes on, without us.
fn report_deaf(host: &Host, error: &Error) {
    host.log(
        Level::Error,
        &format!("This plugin will do nothing: Orthanc does not tell it about its start. Cause: {error}"),
    );
}

/// Initialize without a Finalize before it: the former context may be freed already, so nothing may touch it.
fn abandon() {
    let former = lock().take();
    if let Some(host) = former {
        host.leave();
        drop_plugin();
    }
}

fn drop_plugin() {
    let plugin = RUNNING.close();
    let outcome = panic::caught(|| drop(plugin));
    // The hook has told about it.
    drop(outcome);
}

fn leave(host: &Host) {
    host.leave();
    *lock() = None;
}

fn lock() -> MutexGuard<'static, Option<Host>> {
    HOST.lock().unwrap_or_else(PoisonError::into_inner)
}
