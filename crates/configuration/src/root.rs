//! The root of Orthanc's configuration: where the plugin's section stands, or what stands there in its place.

use serde_json::{Map, Value};

use crate::{Findings, KeyPath, SECTION};

/// What is wrong where a credential file is part of Orthanc's configuration, and what to do. It quotes nothing.
pub const CREDENTIAL_AS_CONFIGURATION: &str = "belongs to a Google credential file, which Orthanc has read as a part of its configuration, because it reads every file *.json in its configuration folder; move the credential file to another folder, such as /etc/orthanc-gcp, and name its new path in the account";

/// Members that only credential files have: Orthanc's own keys are written in another way.
const OF_CREDENTIALS: [&str; 9] = [
    "private_key",
    "private_key_id",
    "client_secret",
    "refresh_token",
    "credential_source",
    "subject_token_type",
    "source_credentials",
    "service_account_impersonation_url",
    "client_email",
];
/// What `type` says in such files.
const TYPES: [&str; 6] = [
    "service_account",
    "authorized_user",
    "external_account",
    "external_account_authorized_user",
    "impersonated_service_account",
    "gdch_service_account",
];
/// What a section may be called that was meant for ours, as the likeness of the names.
const ALIKE: f64 = 0.85;

/// Whether an object, such as the outermost one of a file, is a credential of Google's; with the member that says so.
pub fn is_credential(members: &Map<String, Value>) -> Option<&str> {
    let of_type = || {
        let kind = members.get("type").and_then(Value::as_str)?;
        TYPES.contains(&kind).then_some("type")
    };
    // An OAuth client's file: one member, which holds the client.
    let of_client = || {
        ["installed", "web"]
            .into_iter()
            .find(|key| members.get(*key).is_some_and(|client| client.get("client_secret").is_some()))
    };
    let of_members = || OF_CREDENTIALS.into_iter().find(|member| members.contains_key(*member));
    of_members().or_else(of_type).or_else(of_client)
}

/// Notes what does not belong at the root.
pub(super) fn check(document: &Map<String, Value>, findings: &mut Findings) {
    if let Some(member) = is_credential(document) {
        findings.error(KeyPath::of([member]), CREDENTIAL_AS_CONFIGURATION);
    }
    let is_there = document.keys().any(|key| key.eq_ignore_ascii_case(SECTION));
    if let Some(key) = nearest(document).filter(|_| is_there) {
        let text = format!("is not read, because {SECTION} is there too; move its members there");
        findings.warning(KeyPath::of([key]), &text);
    }
}

/// The plugin's own section, in whatever letter case it is written.
pub(super) fn plugin_section(document: &Map<String, Value>, findings: &mut Findings) -> Map<String, Value> {
    let written = document.keys().find(|key| *key == SECTION);
    let written = written.or_else(|| document.keys().find(|key| key.eq_ignore_ascii_case(SECTION)));
    let Some(written) = written else {
        misplaced(document, findings);
        return Map::new();
    };
    if written != SECTION {
        findings.warning(KeyPath::of([written.as_str()]), &format!("is taken for {SECTION}; write it so"));
    }
    let section = document.get(written).and_then(Value::as_object).cloned();
    section.unwrap_or_else(|| {
        findings.error(KeyPath::of([SECTION]), "is not an object; use { \"Accounts\": { … } }");
        Map::new()
    })
}

/// Notes what was probably meant to be the plugin's section: one of another name, or in another place.
fn misplaced(document: &Map<String, Value>, findings: &mut Findings) {
    if let Some(key) = nearest(document) {
        let text =
            format!("is not a section that anything reads; write {SECTION} if it is meant for this plugin");
        return findings.error(KeyPath::of([key]), &text);
    }
    let accounts =
        |value: &Value| value.as_object().is_some_and(|accounts| accounts.values().any(is_account));
    for (key, value) in document {
        if key.eq_ignore_ascii_case("Accounts") && accounts(value) {
            let text = format!(
                "stands at the root of the configuration, where nothing reads it; put it into a section {SECTION}"
            );
            return findings.error(KeyPath::of([key.as_str()]), &text);
        }
        let Some(members) = value.as_object() else { continue };
        for (inner, value) in members {
            if inner.eq_ignore_ascii_case(SECTION) {
                let text = format!(
                    "stands in another section, where nothing reads it; put it at the root of the configuration, beside {key}"
                );
                return findings.error(KeyPath::of([key.as_str(), inner.as_str()]), &text);
            }
            if inner.eq_ignore_ascii_case("Accounts") && accounts(value) {
                let text = format!(
                    "holds accounts with a DICOM store, but only {SECTION} is read for them; write that name"
                );
                return findings.error(KeyPath::of([key.as_str()]), &text);
            }
        }
    }
}

/// The key that looks most like the section's name, and is another one.
fn nearest(document: &Map<String, Value>) -> Option<&str> {
    let others = document.keys().filter(|key| !key.eq_ignore_ascii_case(SECTION));
    let alike = others.map(|key| (key, likeness(key))).filter(|(_, likeness)| *likeness > ALIKE);
    alike.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(key, _)| key.as_str())
}

/// How much a name looks like the section's, from 0 to 1, whatever stands between its words.
fn likeness(key: &str) -> f64 {
    let letters: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    strsim::normalized_damerau_levenshtein(&letters.to_lowercase(), &SECTION.to_lowercase())
}

fn is_account(value: &Value) -> bool {
    let members = value.as_object();
    members.is_some_and(|members| members.keys().any(|key| key.eq_ignore_ascii_case("DicomStore")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Severity, read};

    /// The errors that a configuration gives, as `path: text`.
    fn errors(document: &serde_json::Value) -> Vec<String> {
        let (_, findings) = read(&document.to_string());
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelled_section_is_found() {
        let accounts = json!({"Accounts": {"a": {"DicomStore": "s"}}});
        for name in [
            "GoogleCloudPlattform",
            "GoogleCloudPlatfrom",
            "GoggleCloudPlatform",
            "Google Cloud Platform",
            "google_cloud_platform",
            "GoogleCloudPlateform",
            "GoogleCloudPlatforms",
        ] {
            for section in [&accounts, &json!({}), &json!("x")] {
                let said = errors(&json!({"Name": "site", "DicomWeb": {}, name: section}));
                let expected =
                    format!("{name}: is not a section that anything reads; write GoogleCloudPlatform");
                assert!(said.len() == 1 && said[0].starts_with(&expected), "{name}: {said:?}");
            }
        }
    }

    #[test]
    fn a_misplaced_section_is_found() {
        let accounts = json!({"a": {"Project": "p", "DicomStore": "s"}});
        for (document, expected) in [
            (json!({"GCP": {"Accounts": accounts}}), "GCP: holds accounts with a DICOM store, but only"),
            (json!({"Accounts": accounts}), "Accounts: stands at the root of the configuration"),
            (
                json!({"DicomWeb": {"GoogleCloudPlatform": {"Accounts": accounts}}}),
                "DicomWeb.GoogleCloudPlatform: stands in another section",
            ),
        ] {
            let said = errors(&document);
            assert!(said.len() == 1 && said[0].starts_with(expected), "{expected}: {said:?}");
        }
    }

    #[test]
    fn other_sections_are_left_alone() {
        for document in [
            json!({"Name": "site", "DicomWeb": {"Servers": {"a": {}}}, "PostgreSQL": {}, "GoogleCloudStorage": {}}),
            json!({"AwsS3Storage": {"Accounts": {"a": {}}}, "RegisteredUsers": {"a": "b"}}),
            json!({"GoogleCloudPlatform": {}, "GoogleCloudPlattform": {}}),
            json!({}),
        ] {
            assert_eq!(errors(&document), [""; 0], "{document}");
        }
        let (_, findings) = read(&json!({"GoogleCloudPlatform": {}, "GoogleCloudPlattform": {}}).to_string());
        let said: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(said.len() == 1 && said[0].starts_with("GoogleCloudPlattform: is not read"), "{said:?}");
    }

    #[test]
    fn a_credential_at_the_root_is_named_and_not_shown() {
        let secret = "MIIEvQIBADANBgkqhkiG9w0";
        for credential in [
            json!({"type": "service_account", "project_id": "p", "private_key": secret, "client_email": secret}),
            json!({"type": "authorized_user", "client_id": secret, "client_secret": secret, "refresh_token": secret}),
            json!({"client_id": secret, "refresh_token": secret}),
            json!({"type": "external_account", "audience": secret, "credential_source": {"file": secret}}),
            json!({"type": "external_account_authorized_user", "audience": secret}),
            json!({"type": "impersonated_service_account", "source_credentials": {"refresh_token": secret}}),
            json!({"installed": {"client_id": secret, "client_secret": secret}}),
            json!({"web": {"client_id": secret, "client_secret": secret}}),
        ] {
            let mut document = credential.clone();
            document["Name"] = json!("site");
            document["GoogleCloudPlatform"] = json!({"Accounts": {}});
            let said = errors(&document);
            assert_eq!(said.len(), 1, "{credential}: {said:?}");
            assert!(said[0].contains(": belongs to a Google credential file"), "{said:?}");
            assert!(said[0].contains("move the credential file to another folder"), "{said:?}");
            assert!(!said[0].contains(secret), "{said:?}");
        }
    }
}
