//! The metadata server: how it is found, that no proxy is ever in between, and what its refusals mean.

use std::{io::ErrorKind, net::TcpListener, time::Duration};

use google_credentials::{
    Credential,
    FailureKind::{NeedsPerson, Transient},
    Source,
};
use google_emulator::{Fault, Route::Metadata};

use crate::stage::{Stage, routes};

fn source() -> Source {
    Source::of(Credential::MetadataServer(None))
}

#[test]
fn the_environment_says_where_it_is() {
    let mut stage = Stage::new();
    let host = stage.emulator.metadata_host().to_owned();
    let nobody = "127.0.0.1:1";
    for (set, expected) in [
        (&[("GCE_METADATA_HOST", host.as_str())][..], true),
        (&[("GCE_METADATA_ROOT", &host)], true),
        (&[("GCE_METADATA_IP", &host)], true),
        (&[("GCE_METADATA_HOST", &host), ("GCE_METADATA_ROOT", nobody), ("GCE_METADATA_IP", nobody)], true),
        (&[("GCE_METADATA_ROOT", &host), ("GCE_METADATA_IP", nobody)], true),
        (&[("GCE_METADATA_HOST", nobody), ("GCE_METADATA_IP", &host)], false),
    ] {
        for (name, value) in set {
            stage.set_env(name, *value);
        }
        let outcome = stage.fetch(&source());
        assert_eq!(outcome.is_ok(), expected, "{set:?}: {outcome:?}");
        if let Err(failure) = outcome {
            assert_eq!(failure.kind, Transient);
            assert!(failure.cause.contains("http://127.0.0.1:1/"), "{failure}");
            assert!(failure.remedy.contains("Google's machines have a metadata server"), "{failure}");
        }
        for (name, _) in set {
            stage.set_env(name, "");
        }
    }
}

#[test]
fn the_request_is_the_documented_one() {
    let stage = Stage::new().on_google();
    let email = stage.emulator.metadata_service_account();
    let scopes = ["https://www.googleapis.com/auth/cloud-healthcare", "openid"].map(str::to_owned);
    for (account, scopes, name, query) in [
        (None, None, "default", None),
        (Some(email.clone()), None, email.as_str(), None),
        (None, Some(scopes.to_vec()), "default", Some(format!("scopes={}", scopes.join(",")))),
    ] {
        let source = Source { scopes, ..Source::of(Credential::MetadataServer(account)) };
        let (_, seen) = stage.granted(&source);
        assert_eq!(routes(&seen), [Metadata]);
        assert_eq!(seen[0].method, "GET");
        assert_eq!(seen[0].path, format!("/computeMetadata/v1/instance/service-accounts/{name}/token"));
        assert_eq!(seen[0].query, query);
        assert_eq!(seen[0].header("metadata-flavor"), Some("Google"));
        assert_eq!(seen[0].header("host"), Some(stage.emulator.metadata_host()));
    }
}

#[test]
fn it_is_never_asked_through_the_proxy() {
    // A proxy that answers nobody: whoever comes stays in its queue.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let stage = Stage::new().on_google().with_proxy(&address, Duration::from_secs(5));
    let grant = stage.fetch(&source()).unwrap();
    assert_eq!(proxy.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it was asked through the proxy");
    assert_eq!(grant.token.value.expose(), stage.emulator.tokens_issued().last().unwrap());
    // The AWS machine's service is as local.
    let aws = stage.file(&stage.emulator.external_account(&google_emulator::SubjectSource::Aws));
    let failure = stage.refused(&aws);
    assert_eq!(stage.emulator.requests().len(), 4, "the session, region, role and credentials");
    assert!(failure.cause.contains("/v1/token") && failure.cause.contains("within 5 s"), "{failure}");
    proxy.accept().expect("the token exchange goes through the proxy, and so this test can fail");
}

/// Stand-ins in Kubernetes answer without the header; where the configuration wants the server, a token is proof enough.
#[test]
fn a_configured_server_need_not_say_that_it_is_google_s() {
    let stage = Stage::new().on_google();
    let token = r#"{"access_token":"ya29.of-a-stand-in","expires_in":3599,"token_type":"Bearer"}"#;
    // Faults strike before the server adds its own header.
    let of_stand_in =
        |stage: &Stage| stage.emulator.faults().add(Fault::answer(Metadata, 200, token).times(1));
    for source in [source(), Source::of(Credential::ApplicationDefault)] {
        of_stand_in(&stage);
        assert_eq!(stage.fetch(&source).unwrap().token.value.expose(), "ya29.of-a-stand-in");
    }
    // Neither a token nor Google's.
    for (status, answer) in [(200, "<html>Welcome</html>"), (200, "{}"), (404, token), (502, token)] {
        stage.emulator.faults().add(Fault::answer(Metadata, status, answer).times(1));
        let failure = stage.refused(&source());
        assert_eq!(failure.kind, Transient);
        let said = format!("answered {status} without the header `Metadata-Flavor: Google`");
        assert!(failure.cause.contains(&said) && failure.remedy.contains("GCE_METADATA_HOST"), "{failure}");
    }
    stage.granted(&source());
}

#[test]
fn refusals_say_what_to_do() {
    let stage = Stage::new().on_google();
    let nobody =
        Source::of(Credential::MetadataServer(Some("nobody@demo.iam.gserviceaccount.com".to_owned())));
    let failure = stage.refused(&nobody);
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.cause.contains("/nobody@demo.iam.gserviceaccount.com/token answered 404"), "{failure}");
    assert!(failure.remedy.contains("that MetadataServer names"), "{failure}");
    stage.emulator.change_settings(|settings| settings.metadata_service_account_attached = false);
    let failure = stage.refused(&source());
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.remedy.contains("attach a service account to this machine"), "{failure}");
    stage.emulator.change_settings(|settings| settings.metadata_service_account_attached = true);
    let busy =
        Fault::answer(Metadata, 503, "").header("Metadata-Flavor", "Google").header("Retry-After", "7");
    stage.emulator.faults().add(busy.times(1));
    let failure = stage.refused(&source());
    assert_eq!((failure.kind, failure.retry_after), (Transient, Some(Duration::from_secs(7))));
}

#[test]
fn one_that_hangs_is_given_three_seconds() {
    let stage = Stage::new().on_google();
    stage.emulator.faults().add(Fault::hang(Metadata).times(1));
    let failure = stage.refused(&source());
    assert!(failure.cause.ends_with("no whole answer within 3 s"), "{failure}");
    stage.granted(&source());
}

#[test]
fn the_same_token_is_given_until_it_is_nearly_over() {
    let stage = Stage::new().on_google();
    let token = || stage.granted(&source()).0.token;
    let first = token();
    stage.emulator.set_clock_offset(3_000);
    let second = token();
    assert_eq!(second.value, first.value);
    assert!(second.lifetime() < Duration::from_secs(600), "what is left of it: {:?}", second.lifetime());
    stage.emulator.set_clock_offset(3_300);
    assert_ne!(token().value, first.value);
}
