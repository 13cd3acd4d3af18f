//! The same credentials in the hands of the crate `google-cloud-auth`, Google's own library for Rust: what the pretend Google
//! sees of both must agree in every fact, apart from a list of intended differences.
//!
//! That crate takes no CA file, and so is asked over plain HTTP. It obtains no token for a service account's key: it
//! signs one, as we do in other universes.
#![forbid(unsafe_code)]

#[cfg(test)]
#[path = "../../google-credentials/tests/sources/differential/comparison.rs"]
mod comparison;
#[cfg(test)]
#[path = "../../google-credentials/tests/sources/differential/facts.rs"]
mod facts;
#[cfg(test)]
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../google-credentials/tests/sources/stage.rs"]
mod stage;

#[cfg(test)]
mod tests {
    use std::fs;

    use google_cloud_auth::credentials::{
        AccessTokenCredentials, external_account, impersonated, mds, service_account, user_account,
    };
    use google_credentials::{Credential, Source};
    use google_emulator::{SourceCredentials, SubjectForm, SubjectSource};
    use serde_json::{Value, json};

    use crate::{
        comparison::{Comparison, Intended, intended},
        facts::Attempt,
        stage::Stage,
    };

    const PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

    #[rustfmt::skip]
    const INTENDED: &[Intended] = &[
        intended("header user-agent", concat!("orthanc-google-cloud-platform/", env!("CARGO_PKG_VERSION")), "-", "each says who it is, or not"),
        intended("header x-goog-api-client", "-", "*", "Google counts its own libraries by it"),
        intended("token claim aud", "-", "null", "a claim that is not there has no value (RFC 7519 section 4.1.3)"),
        intended("token claim exp", "\"3600 s after iat\"", "\"3620 s after iat\"", "Google's documents allow an hour"),
        intended("POST /token | header content-type", "application/x-www-form-urlencoded", "application/json", "RFC 6749 section 6 wants a form; Google takes both"),
        intended("generateAccessToken | field delegates", "[]", "-", "the same to Google's JSON"),
        intended("generateAccessToken | field lifetime", "1800s", "3600s", "the crate does not read `token_lifetime_seconds` (AIP-4117)"),
    ];

    #[test]
    fn google_cloud_auth_asks_the_same() {
        // It takes the process's provider of cryptography, and brings none with these features.
        rustls::crypto::ring::default_provider().install_default().unwrap();
        let stage = Stage::new().on_google();
        let mut comparison = Comparison::new(INTENDED);
        for (name, content) in files(&stage) {
            let path = stage.path("credential.json");
            fs::write(&path, content.to_string()).unwrap();
            let ours = Source {
                iam_uri: Some(format!("{}/", stage.emulator.http_url())),
                ..Source::of(Credential::CredentialsFile(path))
            };
            let universe_domain = content["universe_domain"].as_str().unwrap_or("googleapis.com").to_owned();
            let ours = ask_ours(&stage, &Source { universe_domain, ..ours });
            let theirs = ask_theirs(&stage, || credentials(content.clone()));
            comparison.add(name, &ours.facts(), &theirs.facts());
        }
        let ours = ask_ours(&stage, &Source::of(Credential::MetadataServer(None)));
        let endpoint = format!("http://{}", stage.emulator.metadata_host());
        let machine =
            || mds::Builder::default().with_endpoint(endpoint.clone()).build_access_token_credentials();
        comparison.add("machine", &ours.facts(), &ask_theirs(&stage, || machine().unwrap()).facts());
        comparison.assert_as_intended();
    }

    fn credentials(content: Value) -> AccessTokenCredentials {
        let built = match content["type"].as_str().unwrap() {
            "service_account" => service_account::Builder::new(content)
                .with_access_specifier(service_account::AccessSpecifier::from_scopes([PLATFORM]))
                .build_access_token_credentials(),
            "authorized_user" => user_account::Builder::new(content).build_access_token_credentials(),
            "external_account" => external_account::Builder::new(content)
                .with_scopes([PLATFORM])
                .build_access_token_credentials(),
            "impersonated_service_account" => {
                impersonated::Builder::new(content).with_scopes([PLATFORM]).build_access_token_credentials()
            }
            other => panic!("{other}"),
        };
        built.unwrap()
    }

    /// A credential of each type that both take, over plain HTTP. Not AWS: that crate gives the signed request a `body`,
    /// which the pretend Google refuses.
    fn files(stage: &Stage) -> Vec<(&'static str, Value)> {
        let emulator = &stage.emulator;
        let account = |source: &SubjectSource| emulator.external_account(source);
        let text = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
        let with = |text: String, name: &str, value: &str| {
            let mut content: Value = serde_json::from_str(&text).unwrap();
            content[name] = json!(value);
            content
        };
        let token_url = emulator.token_url();
        let user = with(emulator.authorized_user_json(), "token_uri", &token_url);
        let mut by_user = emulator.impersonated_service_account(SourceCredentials::AuthorizedUser).json();
        by_user["source_credentials"] = user.clone();
        let files = [
            (
                "key of another universe",
                with(emulator.service_account_key_json(), "universe_domain", "apis-berlin.example"),
            ),
            ("login", user),
            ("file, text", account(&text).json()),
            ("file, JSON", account(&SubjectSource::JsonFile(stage.subject(SubjectForm::Json))).json()),
            ("file, impersonating", account(&text).impersonating().token_lifetime_seconds(1800).json()),
            ("URL, text", account(&SubjectSource::TextUrl).json()),
            ("URL, JSON", account(&SubjectSource::JsonUrl).json()),
            ("impersonated by a user", by_user),
        ];
        let plain = |content: Value| content.to_string().replace(emulator.https_url(), emulator.http_url());
        files.map(|(name, content)| (name, serde_json::from_str(&plain(content)).unwrap())).to_vec()
    }

    fn ask_ours(stage: &Stage, source: &Source) -> Attempt {
        let start = stage.seconds();
        let grant = stage.fetch(source).unwrap_or_else(|failure| panic!("{failure}"));
        attempt(stage, start, grant.token.value.expose())
    }

    fn ask_theirs(stage: &Stage, credentials: impl FnOnce() -> AccessTokenCredentials) -> Attempt {
        stage.emulator.clear_requests();
        let start = stage.seconds();
        let token = stage.block_on(async { credentials().access_token().await });
        attempt(stage, start, &token.unwrap_or_else(|error| panic!("{error:?}")).token)
    }

    fn attempt(stage: &Stage, start: u64, token: &str) -> Attempt {
        let seen = stage.emulator.requests();
        let seen = seen.iter().map(|seen| serde_json::to_value(seen).unwrap()).collect();
        Attempt { seen, token: token.to_owned(), time: start..=stage.seconds() }
    }
}
