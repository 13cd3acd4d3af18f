//! The configuration with everything that is wrong with it, each at its place.

use std::path::PathBuf;

use dicomweb_gateway::proxy_before_loopback;
use google_credentials::{PeerVerification, World};
use orthanc_gcp_configuration::{
    Account, Configuration, DicomWebSettings, GatewayUse, KeyPath, SECTION, Severity,
};
use serde_json::Value;

use crate::{
    Error,
    files::{self, Files, Place},
};

/// What was read.
pub(crate) struct Reading {
    /// What it means.
    pub(crate) configuration: Configuration,
    /// What is wrong with it.
    pub(crate) mistakes: Vec<Mistake>,
    /// What Orthanc's part in it is: nothing to programs that do without it.
    pub(crate) of_orthanc: Vec<Mistake>,
    /// Every account that is named, whether it can be used or not.
    pub(crate) names: Vec<String>,
}

/// Something wrong in the configuration.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// What it costs.
    pub(crate) severity: Severity,
    /// Where; `None` for what stands nowhere.
    pub(crate) place: Option<Place>,
    /// Of which key it speaks, if it does.
    pub(crate) path: Option<KeyPath>,
    /// What is wrong, and what to do.
    pub(crate) text: String,
}

/// Reads the configuration below `paths`.
pub(crate) fn read(paths: &[PathBuf], world: &dyn World) -> Result<Reading, Error> {
    let files = files::read(paths, |name| world.env(name)).map_err(Error::Read)?;
    let (configuration, findings) =
        orthanc_gcp_configuration::read_document(&files.document, &|name| world.env(name));
    let odd = files.oddities(SECTION).into_iter().map(|odd| Mistake {
        severity: Severity::Warning,
        place: Some(odd.place),
        path: None,
        text: odd.text,
    });
    let found = findings.into_iter().map(|finding| Mistake {
        severity: finding.severity,
        place: files.place(&finding.path),
        path: Some(finding.path),
        text: finding.text,
    });
    let mut mistakes: Vec<Mistake> = odd.chain(found).collect();
    let mut of_orthanc = of_dicomweb(&configuration, &files);
    of_orthanc.extend(of_gateway(&configuration, &files, world));
    of_orthanc.extend(of_direct(&configuration, &files));
    let names = names(&files);
    if names.is_empty() && mistakes.iter().all(|mistake| mistake.severity != Severity::Error) {
        let path = KeyPath::of([SECTION, "Accounts"]);
        mistakes.push(Mistake {
            severity: Severity::Error,
            place: files.place(&path),
            path: Some(path),
            text: "names no account; add one as in the README's examples, or name the files that hold it"
                .to_owned(),
        });
    }
    Ok(Reading { configuration, mistakes, of_orthanc, names })
}

impl Reading {
    /// The account of that name, if it can be used.
    pub(crate) fn account(&self, name: &str) -> Option<&Account> {
        self.configuration.accounts.iter().find(|account| account.name == name)
    }

    /// That there is such an account, whether it can be used or not.
    pub(crate) fn expect(&self, name: &str) -> Result<(), Error> {
        if self.names.iter().any(|known| known == name) {
            return Ok(());
        }
        let known = match self.names.as_slice() {
            [] => "there is none at all".to_owned(),
            names => format!("use one of: {}", names.join(", ")),
        };
        Err(Error::Usage(format!("there is no account `{name}`; {known}")))
    }
}

impl Mistake {
    /// Whether it has to do with one of these accounts: it is theirs, or everybody's.
    pub(crate) fn concerns(&self, names: &[String]) -> bool {
        let Some([section, accounts, name, ..]) = self.path.as_ref().map(KeyPath::keys) else { return true };
        section != SECTION || accounts != "Accounts" || names.contains(name)
    }

    /// The key and what is wrong with it.
    pub(crate) fn words(&self) -> String {
        match &self.path {
            Some(path) => format!("{path}: {}", self.text),
            None => self.text.clone(),
        }
    }
}

/// What the plugin says of the DICOMweb plugin's options when it starts.
fn of_dicomweb(configuration: &Configuration, files: &Files) -> Vec<Mistake> {
    let DicomWebSettings { enabled, servers_in_database, .. } = &configuration.dicomweb;
    let mistake = |key: &str, severity, text: &str| {
        let path = KeyPath::of(["DicomWeb", key]);
        Mistake { severity, place: files.place(&path), path: Some(path), text: text.to_owned() }
    };
    let disabled = (!enabled).then(|| {
        mistake("Enable", Severity::Error, "is false, so that no account can be used; set it to true")
    });
    // In the gateway's place stands a secret that is worth nothing after this start.
    let is_direct = configuration.accounts.iter().any(|account| account.gateway == GatewayUse::Off);
    let in_database = (*servers_in_database && is_direct).then(|| {
        let text = "is true: the DICOMweb plugin writes every token in clear into Orthanc's database; set it to false";
        mistake("ServersInDatabase", Severity::Warning, text)
    });
    disabled.into_iter().chain(in_database).collect()
}

/// Why the plugin could not use the gateway, and which accounts could not be used then.
fn of_gateway(configuration: &Configuration, files: &Files, world: &dyn World) -> Vec<Mistake> {
    let of = |wanted| configuration.accounts.iter().filter(move |account| account.gateway == wanted);
    if configuration.accounts.iter().all(|account| !account.gateway.is_on()) {
        return Vec::new();
    }
    let Some(proxy) = proxy_before_loopback(world, &configuration.http) else { return Vec::new() };
    let mistake = |severity, consequence: &str| {
        let path = KeyPath::of([SECTION, "Gateway"]);
        Mistake {
            severity,
            place: files.place(&path),
            path: Some(path),
            text: format!(
                "{proxy} would get the requests that are for the gateway on 127.0.0.1, so that {consequence}; set the environment variable NO_PROXY=127.0.0.1 for Orthanc, and here"
            ),
        }
    };
    let required = quoted(of(GatewayUse::Required))
        .map(|names| mistake(Severity::Error, &format!("{names} cannot be used")));
    let preferred = quoted(of(GatewayUse::Preferred)).map(|names| {
        let consequence = format!("the DICOMweb plugin sends the requests of {names} directly to Google");
        mistake(Severity::Warning, &consequence)
    });
    required.into_iter().chain(preferred).collect()
}

/// What direct transfers cost, and what keeps them from working: the steps of the examination do not use the DICOMweb plugin's
/// connection.
fn of_direct(configuration: &Configuration, files: &Files) -> Vec<Mistake> {
    let direct = || configuration.accounts.iter().filter(|account| account.gateway == GatewayUse::Off);
    let mistake = |path: KeyPath, severity, text| Mistake {
        severity,
        place: files.place(&path),
        path: Some(path),
        text,
    };
    let open = quoted(direct().filter(|account| account.source.is_some())).map(|names| {
        let text = format!(
            "is false for {names}: every user of Orthanc's REST API can read and delete whatever the account may, outside its DICOM store as well; set it to true, or grant the account a role on this store alone"
        );
        mistake(KeyPath::of([SECTION, "Gateway"]), Severity::Warning, text)
    });
    let http = &configuration.http;
    let verifies = http.verify_peers == PeerVerification::Required && http.ca_certificates.is_none();
    let is_tls = |account: &&Account| {
        account.url().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    };
    let without_ca = quoted(direct().filter(is_tls)).filter(|_| verifies).map(|names| {
        let text = format!(
            "is empty, and Gateway is false for {names}: Orthanc before 1.12.6 opens no TLS connection then, and every transfer fails; set it to /etc/ssl/certs/ca-certificates.crt (Debian's package ca-certificates), or Gateway to true"
        );
        mistake(KeyPath::of(["HttpsCACertificates"]), Severity::Error, text)
    });
    open.into_iter().chain(without_ca).collect()
}

/// The names of accounts in words; `None` where there is none.
fn quoted<'a>(accounts: impl Iterator<Item = &'a Account>) -> Option<String> {
    let names: Vec<String> = accounts.map(|account| format!("\"{}\"", account.name)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The names in `GoogleCloudPlatform.Accounts`, in any letter case, as the plugin finds them.
fn names(files: &Files) -> Vec<String> {
    fn member<'v>(object: &'v serde_json::Map<String, Value>, key: &str) -> Option<&'v Value> {
        let of_any_case = || object.iter().find(|(written, _)| written.eq_ignore_ascii_case(key));
        object.get(key).or_else(|| of_any_case().map(|(_, value)| value))
    }
    let section = member(&files.document, SECTION).and_then(Value::as_object);
    let accounts = section.and_then(|section| member(section, "Accounts")).and_then(Value::as_object);
    accounts.map(|accounts| accounts.keys().cloned().collect()).unwrap_or_default()
}
