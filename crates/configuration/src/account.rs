//! One account: which store, which credential, and the DICOMweb server that it becomes.

use google_credentials::{Secret, Source, quoted};
use serde_json::{Map, Value};

use crate::{
    Findings, GatewayUse, KeyPath, LONGEST, OnConflict, SECTION, Shared, conflict,
    credential::{source, universe_domain},
    gateway,
    section::{Section, Wrong},
    server_name, store_name,
};

/// An account's keys; the README's table holds the same ones.
pub const KEYS: [&str; 22] = [
    "AccessToken",
    "ApplicationDefaultCredentials",
    "AuthorizedUserClientId",
    "AuthorizedUserClientSecret",
    "AuthorizedUserFile",
    "AuthorizedUserRefreshToken",
    "CredentialsFile",
    "Dataset",
    "DicomStore",
    "Gateway",
    "HttpTimeout",
    "IamUri",
    "ImpersonateServiceAccount",
    "Location",
    "MetadataServer",
    "OnConflict",
    "Project",
    "QuotaProject",
    "Scopes",
    "ServiceAccountFile",
    "TokenUri",
    "UniverseDomain",
];
/// Published unless something else is configured: without it every transfer ends after Orthanc's 60 s.
const HTTP_TIMEOUT: u64 = 3600;
/// Orthanc's own default, which Debian's configuration writes out: too short for studies, so that it is warned about.
const SHORT_TIMEOUT: u64 = 60;

/// A DICOM store with the credential to reach it.
#[derive(Debug, Clone)]
pub struct Account {
    /// The account's name, which is the DICOMweb server's.
    pub name: String,
    /// The store's DICOMweb root, with its last slash: below `BaseUrl`, or the Healthcare API of the account's universe.
    url: String,
    /// Where its tokens come from; `None` for `AccessToken: "none"`.
    pub source: Option<Source>,
    /// The time limit of whole transfers, in seconds.
    pub http_timeout: u64,
    /// The same, where the user has set it for this account.
    pub own_timeout: Option<u64>,
    /// The limit is Orthanc's own and too short for studies.
    pub cut_by_orthanc: bool,
    /// Whether its transfers go through the gateway.
    pub gateway: GatewayUse,
    /// What the gateway does where the store holds a different instance under the same UIDs.
    pub on_conflict: OnConflict,
    /// What the user set for the same server in `DicomWeb.Servers`.
    pub options: Map<String, Value>,
}

impl Account {
    /// The names of the header fields that the user has set for its server in `DicomWeb.Servers`.
    pub fn header_fields(&self) -> impl Iterator<Item = &str> {
        let fields = self.options.get("HttpHeaders").and_then(Value::as_object);
        fields.into_iter().flat_map(|fields| fields.keys().map(String::as_str))
    }

    /// How the log calls it.
    pub fn title(&self) -> String {
        format!("Account \"{}\"", self.name)
    }

    /// The name as a segment of a path (RFC 3986 section 3.3).
    pub fn encoded_name(&self) -> String {
        url::form_urlencoded::byte_serialize(self.name.as_bytes()).collect::<String>().replace('+', "%20")
    }

    /// `Authorization` that the user has set for the server, where the account has no credential: for a proxy or an emulator.
    pub fn own_authorization(&self) -> Option<Secret> {
        let headers = self.options.get("HttpHeaders")?.as_object().filter(|_| self.source.is_none())?;
        let mut of_user = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Authorization"));
        of_user.find_map(|(_, value)| value.as_str()).map(Secret::new)
    }

    /// Where it stands in the configuration.
    pub fn option_path(&self) -> String {
        path(&self.name).to_string()
    }

    /// The store's DICOMweb root, with its last slash.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Reads one account; `None` where it cannot be used.
pub(super) fn read(name: &str, value: &Value, shared: &Shared, findings: &mut Findings) -> Option<Account> {
    let path = path(name);
    let Value::Object(members) = value else {
        findings.error(path, "is not an object; use { \"Project\": …, \"Location\": …, \"Dataset\": …, \"DicomStore\": …, \"ServiceAccountFile\": … }");
        return None;
    };
    let mut section = Section::new(path, members, &KEYS, findings);
    let fits = server_name::check(name, &mut section);
    let parts = store_name::PARTS.map(|part| part.read(&mut section));
    let universe_domain = universe_domain(&mut section, shared);
    let source = source(&mut section, shared, universe_domain.as_deref().unwrap_or_default());
    let http_timeout = section.seconds("HttpTimeout", "leave it out to allow an hour");
    let gateway = gateway::read(&mut section).unwrap_or(shared.gateway);
    let own_conflict = conflict::read(&mut section);
    if !gateway.is_on() && own_conflict.is_some_and(|own| own != OnConflict::Fail) {
        section.warn("OnConflict", conflict::ONLY_THE_GATEWAY);
    }
    let options = server_options(shared.servers.get(name), name, &mut section);
    for option in ["CertificateFile", "Pkcs11"] {
        let is_set = options.get(option).is_some_and(|value| !matches!(value, Value::Bool(false)));
        if is_set && gateway.is_on() {
            section.whole_warning(&format!(
                "DicomWeb.Servers.{name}.{option} is not used, because the gateway shows no client certificate; set Gateway to false for this account, or remove it"
            ));
        }
    }
    section.finish();

    let [Some(project), Some(location), Some(dataset), Some(store)] = parts else { return None };
    let (true, Ok(source), Ok(universe_domain)) = (fits, source, universe_domain) else { return None };
    let of_universe = || format!("https://healthcare.{universe_domain}/v1beta1/");
    let base_url = shared.base_url.as_ref().ok()?.clone().unwrap_or_else(of_universe);
    // 0 means 60 to most of the Orthancs there are, and not what who writes it wants: no limit. A day is one.
    let limit = |seconds: u64| if seconds == 0 { LONGEST } else { seconds.min(u64::from(u32::MAX)) };
    let of_server = options.get("Timeout").and_then(Value::as_u64).filter(|seconds| *seconds > 0).map(limit);
    let own = http_timeout.map(limit).or(of_server);
    let of_orthanc = shared.http_timeout.map(limit);
    Some(Account {
        name: name.to_owned(),
        url: format!(
            "{base_url}projects/{project}/locations/{location}/datasets/{dataset}/dicomStores/{store}/dicomWeb/"
        ),
        source,
        http_timeout: own.or(of_orthanc).unwrap_or(HTTP_TIMEOUT),
        own_timeout: own,
        // The gateway has limits of its own.
        cut_by_orthanc: !gateway.is_on()
            && own.is_none()
            && of_orthanc.is_some_and(|seconds| seconds <= SHORT_TIMEOUT),
        gateway,
        on_conflict: own_conflict.unwrap_or(shared.on_conflict),
        options,
    })
}

/// An address, `TokenUri` or `IamUri`, global or of an account; `None` where it is absent.
pub(super) fn uri(section: &mut Section<'_, '_>, key: &str) -> Result<Option<String>, Wrong> {
    let remedy = "use the address of an HTTPS server, or leave it out for Google's";
    let Some(written) = section.string(key, remedy)? else { return Ok(None) };
    let Some(url) = address(section, key, &written, remedy) else { return Err(Wrong) };
    if is_clear(&url) {
        section.warn(key, "is not https: the credential travels in clear; use https");
    }
    Ok(Some(written))
}

/// Returns whether what goes to this address can be read on the way: not over TLS, and not on this machine alone.
pub(super) fn is_clear(url: &url::Url) -> bool {
    let here = match url.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !here
}

/// An HTTP address without a user: what is none may hold a password, and is not quoted.
pub(super) fn address(
    section: &mut Section<'_, '_>,
    key: &str,
    written: &str,
    remedy: &str,
) -> Option<url::Url> {
    let url = url::Url::parse(written).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url else {
        section.error(key, &format!("{} is no address of an HTTP server; {remedy}", shown_address(written)));
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        section.error(key, &format!("holds a user or a password, which has no meaning there; {remedy}"));
        return None;
    }
    Some(url)
}

/// What stands where an address should. What a query holds or what stands before an `@` may be a password.
fn shown_address(written: &str) -> String {
    if written.contains(['@', '?', '#']) { "it".to_owned() } else { quoted(written) }
}

fn path(name: &str) -> KeyPath {
    KeyPath::of([SECTION, "Accounts", name])
}

/// What the user set for the server of the same name in `DicomWeb.Servers` and is no part of the way to Google.
fn server_options(server: Option<&Value>, name: &str, section: &mut Section<'_, '_>) -> Map<String, Value> {
    let Some(Value::Object(server)) = server else { return Map::new() };
    let mut options = Map::new();
    for (key, value) in server {
        let fits = match key.as_str() {
            "Url" | "URL" => continue,
            "Username" | "Password" => {
                section.whole_warning(&format!(
                    "DicomWeb.Servers.{name}.{key} is not used: the token stands in its place; remove it"
                ));
                continue;
            }
            "HttpHeaders" => value.as_object().is_some_and(|headers| headers.values().all(Value::is_string)),
            _ => value.is_string() || value.is_boolean() || value.is_i64() || value.is_u64(),
        };
        if fits {
            options.insert(key.clone(), value.clone());
        }
    }
    options
}
