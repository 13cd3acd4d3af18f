//! Into Orthanc's log, at its levels.

use std::fmt::Write as _;

use orthanc_sdk::{Host, Level, Version};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};

/// The first Orthanc that writes a plugin's name before its lines, but for those of `--verbose-plugins`.
const NAMES_PLUGINS: Version = Version::new(1, 12, 4);
/// The crates whose lines are meant for an administrator. Libraries below them may say what must not be seen.
const OURS: [&str; 3] = ["dicomweb_gateway", "google_credentials", "OrthancGoogleCloudPlatform"];

/// Sends the calling thread's `tracing` events to `host` while the guard lives.
///
/// A thread's own subscriber, because a process-wide one could never be replaced: `POST /tools/reset` brings another
/// host into the same image.
pub(crate) fn into_log_of(host: &Host) -> DefaultGuard {
    tracing::subscriber::set_default(OrthancLog { host: host.clone() })
}

struct OrthancLog {
    host: Host,
}

impl Subscriber for OrthancLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && OURS.iter().any(|ours| metadata.target().starts_with(ours))
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            _ => Level::Trace,
        };
        let is_named = self.host.version() >= NAMES_PLUGINS && level != Level::Info;
        let mut line = Line(if is_named { String::new() } else { "Google Cloud Platform: ".to_owned() });
        event.record(&mut line);
        self.host.log_from(
            level,
            &line.0,
            metadata.file().unwrap_or_default(),
            metadata.line().unwrap_or_default(),
        );
    }

    // Spans are not used.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// An event's message; other fields follow it as `name=value`.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "a String takes whatever is written");
    }
}
