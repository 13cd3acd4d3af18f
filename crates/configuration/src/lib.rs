//! What Orthanc's configuration asks for, in two stages: `section` reads it and finds every mistake, and the types here
//! are what it means.
//!
//! Nothing here fails: a mistake costs an account or an option, and is a [`Finding`] for whoever can correct it. The plugin
//! and the program `orthanc-gcp` read the same; neither Orthanc's interface nor a file is known here.
#![forbid(unsafe_code)]

mod account;
mod conflict;
mod credential;
mod finding;
mod gateway;
mod root;
mod section;
mod server_name;
mod store_name;

use std::{path::PathBuf, time::Duration};

use google_credentials::{
    DEFAULT_UNIVERSE_DOMAIN, HttpSettings, PeerVerification, Proxy, UNIVERSE_DOMAIN_VARIABLE, Verbosity,
    quoted,
};
use serde_json::{Map, Value};

pub use account::{Account, KEYS as ACCOUNT_KEYS};
pub use dicomweb_gateway::{DiskReserve, OnConflict};
use finding::Findings;
pub use finding::{Finding, KeyPath, Severity, printable};
pub use gateway::GatewayUse;
pub use root::{CREDENTIAL_AS_CONFIGURATION, is_credential};
use section::{Section, Wrong};

/// The plugin's section of Orthanc's configuration.
pub const SECTION: &str = "GoogleCloudPlatform";
/// Its keys; the README's table holds the same ones.
pub const KEYS: [&str; 10] = [
    "Accounts",
    "BaseUrl",
    "Gateway",
    "GatewayDiskReserve",
    "GatewayPort",
    "IamUri",
    "OnConflict",
    "RefreshInterval",
    "Timeout",
    "TokenUri",
];

/// The Healthcare API that the C++ plugin used: what worked goes on to work.
const BASE_URL: &str = "https://healthcare.googleapis.com/v1beta1/";
/// A token request takes a fraction of a second; a minute of silence is an outage.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A minute bounds how long a jump of the clock stays unnoticed.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// Longer limits are taken for this one: a day.
const LONGEST: u64 = 86_400;

/// Everything the plugin needs to know.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The accounts that can be used.
    pub accounts: Vec<Account>,
    /// The names of all accounts there are, also of those that cannot be used.
    pub account_names: Vec<String>,
    /// The DICOMweb plugin's options.
    pub dicomweb: DicomWebSettings,
    /// How token requests are sent.
    pub http: HttpSettings,
    /// `RefreshInterval`: the longest pause between two looks at an account.
    pub look_every: Duration,
    /// `GatewayPort`: where the gateway listens on 127.0.0.1; 0 for a free port.
    pub gateway_port: u16,
    /// `GatewayDiskReserve`: what the gateway's temporary files leave free on their disk.
    pub disk_reserve: DiskReserve,
}

/// `DicomWeb`: the options of the DICOMweb plugin that matter here.
#[derive(Debug, Clone)]
pub struct DicomWebSettings {
    /// `Root`, with a slash at both ends.
    pub root: String,
    /// `Enable`.
    pub enabled: bool,
    /// `ServersInDatabase`.
    pub servers_in_database: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        read("{}").0
    }
}

/// Gives the value of a variable of the environment.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What the accounts share.
struct Shared {
    base_url: Result<Option<String>, Wrong>,
    /// That of accounts without a `UniverseDomain`.
    universe_domain: Result<String, Wrong>,
    token_uri: Result<Option<String>, Wrong>,
    iam_uri: Result<Option<String>, Wrong>,
    gateway: GatewayUse,
    on_conflict: OnConflict,
    /// Orthanc's `HttpTimeout`.
    http_timeout: Option<u64>,
    /// `DicomWeb.Servers`.
    servers: Map<String, Value>,
}

/// Reads Orthanc's whole configuration in an environment without variables: one JSON document without comments, as Orthanc gives it
/// to its plugins.
pub fn read(text: &str) -> (Configuration, Vec<Finding>) {
    read_in(text, &|_| None)
}

/// Reads Orthanc's whole configuration in an environment, which gives the values of its variables.
pub fn read_in(text: &str, environment: &Environment<'_>) -> (Configuration, Vec<Finding>) {
    if let Ok(Value::Object(document)) = serde_json::from_str(text) {
        return read_document(&document, environment);
    }
    let mut findings = Findings::default();
    findings.error(
        KeyPath::of([SECTION]),
        "Orthanc's configuration is not a JSON object, so no account can be used; correct its files",
    );
    let (configuration, _) = read_document(&Map::new(), environment);
    (configuration, findings.into_vec())
}

/// Reads Orthanc's whole configuration, already parsed.
pub fn read_document(
    document: &Map<String, Value>,
    environment: &Environment<'_>,
) -> (Configuration, Vec<Finding>) {
    let mut findings = Findings::default();
    let dicomweb = object(document.get("DicomWeb"));
    root::check(document, &mut findings);
    let shared_section = root::plugin_section(document, &mut findings);
    let mut section = Section::new(KeyPath::of([SECTION]), &shared_section, &KEYS, &mut findings);

    let timeout = match section.seconds("Timeout", "use 60") {
        Some(0) => {
            section.warn("Timeout", "0 would wait for ever; 60 is used");
            TIMEOUT
        }
        Some(seconds) => Duration::from_secs(seconds.min(LONGEST)),
        None => TIMEOUT,
    };
    let look_every = match section.seconds("RefreshInterval", "use 60, or leave it out") {
        None | Some(0) => REFRESH_INTERVAL,
        Some(seconds) => Duration::from_secs(seconds).min(REFRESH_INTERVAL),
    };
    let gateway = gateway::read(&mut section).unwrap_or_default();
    let gateway_port = section.port("GatewayPort", "leave it out for a free one").unwrap_or(0);
    let disk_reserve = section.whole("GatewayDiskReserve", "use MiB, for example 1024, or leave it out");
    let disk_reserve = DiskReserve {
        bytes: disk_reserve.map(|mebibytes| mebibytes.saturating_mul(1 << 20)),
        ..DiskReserve::default()
    };
    let on_conflict = conflict::read(&mut section).unwrap_or_default();
    let shared = Shared {
        base_url: base_url(&mut section),
        universe_domain: Ok(DEFAULT_UNIVERSE_DOMAIN.to_owned()),
        token_uri: account::uri(&mut section, "TokenUri"),
        iam_uri: account::uri(&mut section, "IamUri"),
        gateway,
        on_conflict,
        http_timeout: document.get("HttpTimeout").and_then(Value::as_u64),
        servers: object(dicomweb.get("Servers")),
    };
    let accounts = section.object("Accounts", "use { \"NAME\": { \"Project\": … } }");
    section.finish();
    let universe_domain = universe_domain(environment, &mut findings);
    let shared = Shared { universe_domain, ..shared };

    let account_names = accounts.into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let accounts: Vec<_> = accounts
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| account::read(name, value, &shared, &mut findings))
        .collect();
    if accounts.iter().any(|account| account.cut_by_orthanc) {
        findings.warning(KeyPath::of(["HttpTimeout"]), "ends every transfer with Google after a minute or less; raise it, or give the account an HttpTimeout of its own");
    }
    if on_conflict != OnConflict::Fail
        && !gateway.is_on()
        && !accounts.iter().any(|account| account.gateway.is_on())
    {
        findings.warning(KeyPath::of([SECTION, "OnConflict"]), conflict::ONLY_THE_GATEWAY);
    }
    let configuration = Configuration {
        accounts,
        account_names,
        dicomweb: DicomWebSettings {
            root: root(dicomweb.get("Root").and_then(Value::as_str).unwrap_or("/dicom-web/")),
            enabled: flag(dicomweb.get("Enable"), true),
            servers_in_database: flag(dicomweb.get("ServersInDatabase"), false),
        },
        http: http(document, timeout, &mut findings),
        look_every,
        gateway_port,
        disk_reserve,
    };
    (configuration, findings.into_vec())
}

/// The Healthcare API's root, with its last slash; where it is wrong, every account is.
fn base_url(section: &mut Section<'_, '_>) -> Result<Option<String>, Wrong> {
    let Some(written) = section.string("BaseUrl", &format!("use {BASE_URL}"))? else { return Ok(None) };
    let remedy = format!("use {BASE_URL}");
    let url = account::address(section, "BaseUrl", &written, &remedy).ok_or(Wrong)?;
    if url.query().is_some() || url.fragment().is_some() {
        section.error("BaseUrl", &format!("holds a query, which has no meaning there; {remedy}"));
        return Err(Wrong);
    }
    if account::is_clear(&url) {
        section.warn("BaseUrl", "is not https: tokens and images of patients travel in clear; use https");
    }
    if written.ends_with('/') {
        return Ok(Some(written));
    }
    section.warn("BaseUrl", &format!("lacks its last slash; {} is used", quoted(&format!("{written}/"))));
    Ok(Some(format!("{written}/")))
}

/// The universe that the environment names, as for Google's own programs.
fn universe_domain(environment: &Environment<'_>, findings: &mut Findings) -> Result<String, Wrong> {
    let written = environment(UNIVERSE_DOMAIN_VARIABLE).filter(|written| !written.trim().is_empty());
    let Some(written) = written else { return Ok(DEFAULT_UNIVERSE_DOMAIN.to_owned()) };
    google_credentials::universe_domain(written.trim()).ok_or_else(|| {
        findings.error(
            KeyPath::of([UNIVERSE_DOMAIN_VARIABLE]),
            &format!(
                "the environment variable holds {}, which is no domain; remove it, or give each account a UniverseDomain",
                quoted(written.trim())
            ),
        );
        Wrong
    })
}

fn http(document: &Map<String, Value>, timeout: Duration, findings: &mut Findings) -> HttpSettings {
    let text = |key| document.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let proxy = text("HttpProxy").and_then(Proxy::parse);
    if let Some(problem) = proxy.as_ref().and_then(Proxy::problem) {
        findings.error(
            KeyPath::of(["HttpProxy"]),
            &format!("cannot be used, and nothing is sent without it: {problem}, and restart Orthanc"),
        );
    }
    HttpSettings {
        ca_certificates: text("HttpsCACertificates").map(PathBuf::from),
        verify_peers: if flag(document.get("HttpsVerifyPeers"), true) {
            PeerVerification::Required
        } else {
            PeerVerification::Off
        },
        proxy,
        timeout,
        verbose: if flag(document.get("HttpVerbose"), false) { Verbosity::Verbose } else { Verbosity::Quiet },
    }
}

/// `DicomWeb.Root`, as the DICOMweb plugin completes it.
fn root(written: &str) -> String {
    let inner = written.trim_matches('/');
    if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") }
}

fn flag(value: Option<&Value>, default: bool) -> bool {
    value.and_then(Value::as_bool).unwrap_or(default)
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
