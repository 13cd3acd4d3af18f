//! An account's credential, and everything that says how it is used.

use std::path::PathBuf;

use google_credentials::{Credential, Impersonation, Secret, Source, quoted};
use serde_json::Value;

use crate::{
    Shared,
    account::uri,
    section::{Section, Wrong},
};

/// The three keys that are one credential together.
const STRINGS: [&str; 3] =
    ["AuthorizedUserClientId", "AuthorizedUserClientSecret", "AuthorizedUserRefreshToken"];

/// Where the account's tokens come from; `None` for `AccessToken: "none"`.
pub(super) fn source(
    section: &mut Section<'_, '_>,
    shared: &Shared,
    universe_domain: &str,
) -> Result<Option<Source>, Wrong> {
    let credential = credential(section);
    // Everything is asked for before anything is given up, so that all mistakes come at once.
    let token_uri = uri(section, "TokenUri");
    let iam_uri = uri(section, "IamUri");
    let scopes = scopes(section);
    let impersonation = impersonation(section);
    let quota_project = section.string("QuotaProject", "give the id of the project to bill");

    let Some(credential) = credential? else { return Ok(None) };
    Ok(Some(Source {
        credential,
        token_uri: or_shared(token_uri?, &shared.token_uri)?,
        scopes: scopes?,
        impersonation: impersonation?,
        iam_uri: or_shared(iam_uri?, &shared.iam_uri)?.map(with_last_slash),
        quota_project: quota_project?,
        universe_domain: universe_domain.to_owned(),
    }))
}

/// The account's own address, else that of all accounts. Where that is wrong, nothing else must get the credential.
fn or_shared(own: Option<String>, shared: &Result<Option<String>, Wrong>) -> Result<Option<String>, Wrong> {
    match (own, shared) {
        (Some(own), _) => Ok(Some(own)),
        (None, Ok(shared)) => Ok(shared.clone()),
        (None, Err(Wrong)) => Err(Wrong),
    }
}

/// The credential: the first there is, in the order of the C++ plugin and then of the table in the README; `None` for
/// `AccessToken: "none"`.
fn credential(section: &mut Section<'_, '_>) -> Result<Option<Credential>, Wrong> {
    const FILE: &str = "give the path of the credential's JSON file";
    const STRING: &str = "copy it from the JSON file that gcloud wrote";
    let service_account = section.string("ServiceAccountFile", FILE);
    let user = section.string("AuthorizedUserFile", FILE);
    let strings = STRINGS.map(|key| section.string(key, STRING));
    let file = section.string("CredentialsFile", FILE);
    let default = section.flag("ApplicationDefaultCredentials");
    let metadata_server = metadata_server(section);
    let none = no_credential(section);

    let named: Vec<&str> = [
        (service_account != Ok(None), "ServiceAccountFile"),
        (user != Ok(None), "AuthorizedUserFile"),
        (
            strings.iter().any(|text| *text != Ok(None)),
            "AuthorizedUserClientId, …ClientSecret, …RefreshToken",
        ),
        (file != Ok(None), "CredentialsFile"),
        (default != Ok(false), "ApplicationDefaultCredentials"),
        (metadata_server != Ok(None), "MetadataServer"),
        (none != Ok(false), "AccessToken"),
    ]
    .into_iter()
    .filter_map(|(there, key)| there.then_some(key))
    .collect();
    if let [first, rest @ ..] = named.as_slice()
        && !rest.is_empty()
    {
        let key = first.split(',').next().unwrap_or(first);
        section.warn(key, &format!("is used, and {} is ignored; keep one credential", rest.join(" and ")));
    }
    if let Some(path) = service_account? {
        return Ok(Some(Credential::ServiceAccountFile(PathBuf::from(path))));
    }
    if let Some(path) = user? {
        return Ok(Some(Credential::AuthorizedUserFile(PathBuf::from(path))));
    }
    match strings {
        [Ok(None), Ok(None), Ok(None)] => {}
        [Ok(Some(client_id)), Ok(Some(client_secret)), Ok(Some(refresh_token))] => {
            return Ok(Some(Credential::AuthorizedUser {
                client_id,
                client_secret: Secret::new(client_secret),
                refresh_token: Secret::new(refresh_token),
            }));
        }
        strings => {
            for (key, _) in STRINGS.iter().zip(strings).filter(|(_, text)| *text == Ok(None)) {
                section
                    .error(key, &format!("is missing or empty, but the other two strings need it; {STRING}"));
            }
            return Err(Wrong);
        }
    }
    if let Some(path) = file? {
        return Ok(Some(Credential::CredentialsFile(PathBuf::from(path))));
    }
    if default? {
        return Ok(Some(Credential::ApplicationDefault));
    }
    if let Some(credential) = metadata_server? {
        return Ok(Some(credential));
    }
    if none? {
        return Ok(None);
    }
    section.whole_error(
        "has no credential; add ServiceAccountFile, CredentialsFile, MetadataServer or another one of the README's table",
    );
    Err(Wrong)
}

/// `MetadataServer`: `true`, or the e-mail address of a service account of this machine.
fn metadata_server(section: &mut Section<'_, '_>) -> Result<Option<Credential>, Wrong> {
    match section.any("MetadataServer") {
        None | Some(Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(Credential::MetadataServer(None))),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) if is_service_account(text) => {
            Ok(Some(Credential::MetadataServer(Some(text.clone()))))
        }
        Some(_) => {
            section.error(
                "MetadataServer",
                "is neither true nor the e-mail address of a service account; use true for the default one",
            );
            Err(Wrong)
        }
    }
}

/// `AccessToken`: only `"none"` has a meaning.
fn no_credential(section: &mut Section<'_, '_>) -> Result<bool, Wrong> {
    match section.string("AccessToken", "use \"none\" where the server wants no token")?.as_deref() {
        None => Ok(false),
        Some("none") => Ok(true),
        Some(_) => {
            section.error(
                "AccessToken",
                "can only be \"none\", because a token would be over after an hour; name a credential instead",
            );
            Err(Wrong)
        }
    }
}

/// `Scopes`: a list, or one string with the scopes separated by spaces or commas.
fn scopes(section: &mut Section<'_, '_>) -> Result<Option<Vec<String>>, Wrong> {
    let written = match section.any("Scopes") {
        None => return Ok(None),
        Some(Value::String(text)) => Some(vec![text.as_str()]),
        Some(Value::Array(values)) => values.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    let scopes: Option<Vec<String>> = written.map(|texts| {
        let parts = texts.iter().flat_map(|text| text.split([' ', ',']));
        parts.filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
    });
    match scopes {
        Some(scopes) if scopes.is_empty() => Ok(None),
        Some(scopes) if scopes.iter().all(|scope| scope.starts_with("https://")) => Ok(Some(scopes)),
        _ => {
            section.error(
                "Scopes",
                "is no list of scopes; use [ \"https://www.googleapis.com/auth/cloud-healthcare\" ], or leave it out",
            );
            Err(Wrong)
        }
    }
}

fn impersonation(section: &mut Section<'_, '_>) -> Result<Option<Impersonation>, Wrong> {
    const REMEDY: &str =
        "use the e-mail address of a service account, with its delegates before it, separated by commas";
    let Some(written) = section.string("ImpersonateServiceAccount", REMEDY)? else { return Ok(None) };
    let parsed = Impersonation::parse(&written);
    if parsed.is_none() {
        section.error(
            "ImpersonateServiceAccount",
            &format!("{} is no e-mail address; {REMEDY}", quoted(&written)),
        );
    }
    parsed.map(Some).ok_or(Wrong)
}

/// The account's universe: its own `UniverseDomain`, else the environment's, else Google's own cloud.
pub(super) fn universe_domain(section: &mut Section<'_, '_>, shared: &Shared) -> Result<String, Wrong> {
    const REMEDY: &str = "use the domain of your Google cloud, such as googleapis.com, or leave it out";
    let Some(written) = section.string("UniverseDomain", REMEDY)? else {
        return shared.universe_domain.clone();
    };
    google_credentials::universe_domain(&written).ok_or_else(|| {
        section.error("UniverseDomain", &format!("{} is no domain; {REMEDY}", quoted(&written)));
        Wrong
    })
}

fn is_service_account(text: &str) -> bool {
    Impersonation::parse(text).is_some_and(|account| account.delegates.is_empty())
}

fn with_last_slash(uri: String) -> String {
    if uri.ends_with('/') { uri } else { format!("{uri}/") }
}
