//! Each step of an examination, as it should be and as it can fail, with what to do about it.

use std::{
    fs,
    net::SocketAddr,
    os::{fd::IntoRawFd, unix::fs::PermissionsExt},
    process::{Command, Stdio},
    time::Duration,
};

use google_emulator::{Fault, Route};
use serde_json::{Value, json};

use crate::stage::{Stage, steps};

/// The step `name` ends so, with both texts said; no other fails, and the exit code is as it says.
#[track_caller]
fn expect(stage: &Stage, arguments: &[&str], [name, outcome, words, remedy]: [&str; 4]) -> Value {
    let (code, document) = stage.check_json(arguments);
    let steps = steps(&document);
    let [_, found, said, advised] = steps
        .iter()
        .find(|step| step[0] == name && step[1] != "skipped" && step[1] != "ok")
        .unwrap_or_else(|| panic!("{name} is well: {steps:#?}"));
    assert_eq!(found, outcome, "{steps:#?}");
    assert!(said.contains(words), "{said}\n  does not hold\n{words}");
    assert!(advised.contains(remedy) && !remedy.is_empty(), "{advised}\n  does not hold\n{remedy}");
    let failed: Vec<_> =
        steps.iter().filter(|step| step[1] == "failed").map(|step| step[0].as_str()).collect();
    let expected: &[&str] = if outcome == "failed" { &[name] } else { &[] };
    assert_eq!(failed, expected, "{steps:#?}");
    assert_eq!(code, i32::from(outcome == "failed"), "{document}");
    assert_eq!(document["ok"], outcome != "failed");
    assert_eq!(document["accounts"][0]["ok"], outcome != "failed");
    document
}

/// An address where nobody listens, and nobody can, as long as this process lives: the port is taken.
pub(crate) fn nobody() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    let _never_closed = socket.into_raw_fd();
    address
}

#[test]
fn all_is_well() {
    let stage = Stage::new();
    let run = stage.check(&["--write"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let marks: Vec<_> = run.out.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let names: Vec<_> = marks.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(
        names,
        ["credential", "proxy", "dns", "tcp", "tls", "clock", "token", "store", "write", "speed"],
        "{}",
        run.out
    );
    assert!(marks.iter().all(|line| line.starts_with('✓') || line.starts_with("- proxy")), "{}", run.out);
    assert!(run.out.starts_with("\nmy-google  https://127.0.0.1:"), "{}", run.out);
    assert!(run.out.ends_with("\nAll is well.\n"), "{}", run.out);
    assert!(run.out.contains("for orthanc@demo.iam.gserviceaccount.com, good for 59 min"), "{}", run.out);
    assert!(
        run.out.contains("credential  service account key of orthanc@demo.iam.gserviceaccount.com: "),
        "{}",
        run.out
    );
    let trusted =
        format!("127.0.0.1 is trusted by HttpsCACertificates: {} (issued by ", stage.files.ca.display());
    assert!(run.out.contains(&trusted), "{}", run.out);
    assert!(!run.out.contains('\x1b'), "colours without a terminal: {}", run.out);
}

#[test]
fn colours_are_for_terminals_whose_user_wants_them() {
    let stage = Stage::new();
    let configuration = stage.configuration();
    let green = "\x1b[32m✓\x1b[0m";
    for (variables, coloured) in [
        (&[("TERM", "xterm")][..], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (&[("TERM", "xterm"), ("NO_COLOR", "")], true),
        (&[("TERM", "dumb")], false),
    ] {
        // `script` gives its child a terminal (util-linux).
        let command = format!("{} check {}", env!("CARGO_BIN_EXE_orthanc-gcp"), configuration.display());
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin");
        let output = script.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert_eq!(text.contains(green), coloured, "{variables:?}: {text}");
        assert_eq!(text.contains('\x1b'), coloured, "{variables:?}: {text}");
    }
}

#[test]
fn nothing_is_written_unless_it_is_wanted_and_nothing_stays() {
    let stage = Stage::new();
    let (code, document) = stage.check_json(&[]);
    assert_eq!(code, 0, "{document}");
    let stored = |stage: &Stage| {
        stage.emulator.requests().iter().any(|seen| seen.method != "GET" && seen.route != Route::Token)
    };
    assert!(!stored(&stage));
    let write = steps(&document).into_iter().find(|step| step[0] == "write").unwrap();
    assert_eq!(write[1], "skipped");

    let (code, document) = stage.check_json(&["--write"]);
    assert_eq!(code, 0, "{document}");
    let methods: Vec<_> = stage
        .emulator
        .requests()
        .iter()
        .filter(|seen| seen.path.contains("/studies/2.25."))
        .map(|seen| seen.method.clone())
        .collect();
    assert_eq!(methods, ["POST", "GET", "DELETE"]);
    assert_eq!(stage.emulator.instances().len(), 0);
    let speed = steps(&document).into_iter().find(|step| step[0] == "speed").unwrap();
    assert!(speed[2].contains(" MB/s up and ") && speed[2].contains(" MB/s down"), "{speed:?}");
}

#[test]
fn the_credential() {
    let stage = Stage::new().with_account(&json!({"ServiceAccountFile": "/nowhere/key.json"}));
    let words = "GoogleCloudPlatform.Accounts.my-google.ServiceAccountFile: /nowhere/key.json cannot be read";
    let document =
        expect(&stage, &[], ["credential", "failed", words, "put the file there, or correct the path"]);
    let token = steps(&document).into_iter().find(|step| step[0] == "token").unwrap();
    assert_eq!(token[1], "skipped", "a token without a credential");

    let stage = Stage::new();
    let key = stage.files.service_account.clone();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    expect(&stage, &[], ["credential", "warning", "every user of this machine can read it", "`chmod 600 "]);

    let whole: Value = serde_json::from_str(&fs::read_to_string(&key).unwrap()).unwrap();
    for (member, value, words) in [
        ("private_key", json!("no PEM"), "`private_key`"),
        ("client_email", Value::Null, "lacks `client_email`"),
        ("type", json!("authorized_user"), "authorized_user"),
    ] {
        let mut damaged = whole.clone();
        damaged[member] = value;
        fs::write(&key, damaged.to_string()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let (code, document) = stage.check_json(&[]);
        let [_, outcome, said, remedy] = steps(&document).swap_remove(0);
        assert_eq!((code, outcome.as_str()), (1, "failed"), "{member}");
        assert!(said.contains(words) && !remedy.is_empty(), "{member}: {said}; {remedy}");
    }
}

#[test]
fn the_way() {
    let nobody = nobody();
    let of_base = |url: &str| Stage::new().with(&json!({"GoogleCloudPlatform": {"BaseUrl": url}}));

    let stage = of_base(&format!("https://{nobody}/v1/"));
    let (code, document) = stage.check_json(&[]);
    let found = steps(&document);
    let outcomes: Vec<_> = found.iter().map(|step| format!("{} {}", step[0], step[1])).collect();
    // First the server that gives tokens, then the store's: the token is there, the store is not.
    assert_eq!(
        outcomes,
        [
            "credential ok",
            "proxy skipped",
            "dns ok",
            "tcp ok",
            "tls ok",
            "dns ok",
            "tcp failed",
            "tls skipped",
            "clock ok",
            "token ok",
            "store skipped",
            "write skipped",
            "speed skipped"
        ]
    );
    assert_eq!(code, 1);
    assert!(
        found[6][3].contains("check the port (in BaseUrl") && found[6][3].contains("the firewall"),
        "{found:?}"
    );

    let stage = of_base("https://no-such-host.invalid/v1/");
    let (_, document) = stage.check_json(&[]);
    let dns = steps(&document).into_iter().find(|step| step[0] == "dns" && step[1] == "failed").unwrap();
    assert!(dns[3].contains("DNS"), "{dns:?}");

    // What answers there is the emulator's HTTP, without TLS.
    let stage = Stage::new();
    let plain = stage.emulator.http_url().replace("http://", "https://");
    let stage = stage.with(&json!({"GoogleCloudPlatform": {"BaseUrl": format!("{plain}/v1/")}}));
    let (_, document) = stage.check_json(&[]);
    let tls = steps(&document).into_iter().find(|step| step[0] == "tls" && step[1] == "failed").unwrap();
    assert!(
        tls[2].contains("does not speak TLS") && tls[3].contains("check that the address is right"),
        "{tls:?}"
    );
}

#[test]
fn the_certificate() {
    let stranger = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).unwrap();
    let stage = Stage::new();
    let ca = stage.path("other.pem");
    fs::write(&ca, stranger.cert.pem()).unwrap();
    for (file, words, remedy) in [
        (
            ca.to_str().unwrap(),
            "issued by a CA that is not trusted here",
            "add its CA to the file of HttpsCACertificates",
        ),
        ("/nowhere.pem", "/nowhere.pem cannot be read", "put the file there, or correct the path"),
    ] {
        let stage = Stage::new().with(&json!({"HttpsCACertificates": file}));
        let (code, document) = stage.check_json(&[]);
        let tls = steps(&document).into_iter().find(|step| step[0] == "tls").unwrap();
        assert_eq!((code, tls[1].as_str()), (1, "failed"), "{document}");
        assert!(tls[2].contains(words) && tls[3].contains(remedy), "{tls:?}");
        // A file that cannot be read keeps everything from being sent.
        let before = if file == "/nowhere.pem" { "skipped" } else { "ok" };
        let found = steps(&document);
        for name in ["dns", "tcp"] {
            assert_eq!(found.iter().find(|step| step[0] == name).unwrap()[1], before, "{found:#?}");
        }
        // Of a CA that nobody here trusts the name is told: it may be the hospital's own proxy.
        assert_eq!(tls[2].contains("(issued by "), file == ca.to_str().unwrap(), "{tls:?}");
    }

    let stage = Stage::new().with(&json!({"HttpsVerifyPeers": false}));
    expect(&stage, &[], ["tls", "warning", "could be anybody", "set HttpsVerifyPeers to true"]);
}

#[test]
fn the_clock() {
    for (ahead, outcome) in [(45, "warning"), (-45, "warning"), (4000, "failed")] {
        let stage = Stage::new();
        stage.emulator.set_clock_offset(ahead);
        let (_, document) = stage.check_json(&[]);
        let clock = steps(&document).into_iter().find(|step| step[0] == "clock").unwrap();
        assert_eq!(clock[1], outcome, "{clock:?}");
        let direction = if ahead > 0 { "behind" } else { "ahead of" };
        assert!(clock[2].contains(direction) && clock[3].contains("NTP"), "{clock:?}");
    }
}

#[test]
fn the_token() {
    let stage = Stage::new();
    stage.emulator.rotate_service_account_key().unwrap();
    let words = "Invalid JWT Signature";
    expect(
        &stage,
        &[],
        ["token", "failed", words, "create a new one with `gcloud iam service-accounts keys create`"],
    );

    let stage = Stage::new();
    let user = stage.files.authorized_user.clone();
    let stage = stage.with_account(&json!({"ServiceAccountFile": null, "AuthorizedUserFile": user}));
    stage.emulator.revoke_refresh_token();
    expect(&stage, &[], ["token", "failed", "invalid_grant", "gcloud auth application-default login"]);

    let stage = Stage::new();
    stage.emulator.faults().add(Fault::answer(Route::Token, 503, "").until_cleared());
    expect(&stage, &[], ["token", "failed", "answered 503", "server's side and usually short"]);
}

/// What is changed of the account of a stage.
type Patch = fn(&Stage) -> Value;

#[test]
fn a_token_in_words() {
    const HEALTHCARE: &str = "https://www.googleapis.com/auth/cloud-healthcare";
    let patches: [(Patch, [&str; 2]); 4] = [
        (
            |_| json!({"ServiceAccountFile": null, "MetadataServer": true}),
            ["for machine@demo.iam.gserviceaccount.com", "with the scopes of the machine"],
        ),
        (
            |stage| json!({"ServiceAccountFile": null, "AuthorizedUserFile": stage.files.authorized_user}),
            ["good for 59 min", "with the scopes of the login"],
        ),
        (|_| json!({"Scopes": [HEALTHCARE]}), ["for orthanc@demo", HEALTHCARE]),
        (|_| json!({"QuotaProject": "billed"}), ["auth/cloud-platform", "charged to billed"]),
    ];
    for (patch, words) in patches {
        let stage = Stage::new();
        let patch = patch(&stage);
        let host = stage.emulator.metadata_host().to_owned();
        let stage = stage.with_account(&patch).with_env("GCE_METADATA_HOST", &host);
        let (code, document) = stage.check_json(&[]);
        let token = steps(&document).into_iter().find(|step| step[0] == "token").unwrap();
        assert_eq!((code, token[1].as_str()), (0, "ok"), "{document}");
        assert!(words.iter().all(|words| token[2].contains(words)), "{patch}: {token:?}");
    }
}

#[test]
fn the_store() {
    let stage = Stage::new();
    stage.emulator.change_settings(|settings| {
        settings.denied_principals = vec!["orthanc@demo.iam.gserviceaccount.com".to_owned()];
    });
    let role = "grant orthanc@demo.iam.gserviceaccount.com the role roles/healthcare.dicomEditor";
    expect(&stage, &["--write"], ["store", "failed", "answered 403", role]);

    let stage = Stage::new().with_account(&json!({"DicomStore": "another"}));
    expect(&stage, &[], ["store", "failed", "answered 40", "compare Project, Location, Dataset"]);

    let stage = Stage::new();
    stage.emulator.faults().add(Fault::answer(Route::Qido, 503, "").until_cleared());
    expect(&stage, &[], ["store", "failed", "answered 503", "Google's side"]);
}

#[test]
fn writing() {
    let stage = Stage::new();
    stage.emulator.faults().add(Fault::answer(Route::Stow, 403, "").until_cleared());
    expect(&stage, &["--write"], ["write", "failed", "answered 403", "roles/healthcare.dicomEditor"]);

    let stage = Stage::new();
    stage.emulator.faults().add(Fault::answer(Route::Wado, 503, "").until_cleared());
    expect(&stage, &["--write"], ["write", "failed", "answered 503", "usually short"]);
    assert_eq!(stage.emulator.instances().len(), 0, "what cannot be retrieved is deleted all the same");

    let stage = Stage::new();
    stage.emulator.faults().add(Fault::answer(Route::Delete, 403, "").until_cleared());
    let document =
        expect(&stage, &["--write"], ["write", "failed", "the instance stays in the store", "yourself"]);
    let write = steps(&document).into_iter().find(|step| step[0] == "write").unwrap();
    let [stored] = stage.emulator.instances().try_into().unwrap();
    assert!(write[3].contains(&format!("delete the study {} yourself", stored.study)), "{write:?}");
    assert!(stored.study.starts_with("2.25."), "{}", stored.study);
}

#[test]
fn an_instance_whose_answer_was_lost_does_not_stay() {
    let lost = || Fault::answer(Route::Stow, 503, "").after_handling();
    let stage = Stage::new();
    stage.emulator.faults().add(lost());
    expect(&stage, &["--write"], ["write", "failed", "answered 503", "usually short"]);
    assert_eq!(stage.emulator.instances().len(), 0, "it was stored, and has to be deleted");

    // Nothing was stored: that it cannot be found is well.
    let stage = Stage::new();
    stage.emulator.faults().add(Fault::reset(Route::Stow, 1000));
    let document = expect(&stage, &["--write"], ["write", "failed", "no answer from", "cuts connections"]);
    assert!(!document.to_string().contains("yourself"), "{document}");
    let asked = |stage: &Stage| stage.emulator.requests().iter().any(|seen| seen.method == "DELETE");
    assert!(asked(&stage));

    let stage = Stage::new();
    stage.emulator.faults().add(lost());
    stage.emulator.faults().add(Fault::answer(Route::Delete, 503, "").until_cleared());
    let document =
        expect(&stage, &["--write"], ["write", "failed", "the instance may be in the store", "yourself"]);
    let write = steps(&document).into_iter().find(|step| step[0] == "write").unwrap();
    let [stored] = stage.emulator.instances().try_into().unwrap();
    assert!(write[3].contains(&format!("delete the study {} yourself", stored.study)), "{write:?}");

    // What is refused is not there.
    let stage = Stage::new();
    stage.emulator.faults().add(Fault::answer(Route::Stow, 403, "").until_cleared());
    expect(&stage, &["--write"], ["write", "failed", "answered 403", "roles/healthcare.dicomEditor"]);
    assert!(!asked(&stage));
}

#[test]
fn a_store_that_hangs_is_left_after_the_time_limit() {
    let stage = Stage::new().with(&json!({"GoogleCloudPlatform": {"Timeout": 10}}));
    stage.emulator.faults().add(Fault::latency(Route::Qido, Duration::from_secs(3600)).until_cleared());
    expect(&stage, &[], ["store", "failed", "no whole answer within 10 s", "Timeout"]);
}

#[test]
fn every_credential_is_told() {
    let stage = Stage::new();
    let more = stage.files.more.clone();
    let file = more.external_account_file.clone();
    let host = stage.emulator.metadata_host().to_owned();
    // What these files name is the emulator, and no server of Google's.
    let allowed = format!("{}/", stage.emulator.https_url());
    for (account, words) in [
        (json!({"CredentialsFile": file}), format!("{} is sound", file.display())),
        (
            json!({"CredentialsFile": more.impersonated_service_account, "IamUri": allowed}),
            "impersonated-service-account.json is sound, and not for everybody".to_owned(),
        ),
        (json!({"MetadataServer": true}), "metadata server: no file is needed, this machine's".to_owned()),
        (json!({"AccessToken": "none"}), "no credential is used".to_owned()),
    ] {
        let mut patch = json!({"ServiceAccountFile": null});
        orthanc_testbed::merge(&mut patch, &account);
        let stage = Stage::new().with_account(&patch).with_env("GCE_METADATA_HOST", &host);
        let (_, document) = stage.check_json(&[]);
        let credential = steps(&document).swap_remove(0);
        assert!(credential[2].contains(&words), "{account}: {credential:?}");
        assert_ne!(credential[1], "failed", "{account}: {credential:?}");
    }

    let patch = json!({"ServiceAccountFile": null, "MetadataServer": true});
    let stage = Stage::new().with_account(&patch).with_env("GCE_METADATA_HOST", &nobody().to_string());
    let (code, document) = stage.check_json(&[]);
    assert_eq!(code, 1);
    let failed: Vec<_> = steps(&document).into_iter().filter(|step| step[1] == "failed").collect();
    let names: Vec<_> = failed.iter().map(|step| step[0].as_str()).collect();
    assert_eq!(names, ["tcp", "token"], "{document}");
    for step in failed {
        assert!(step[3].contains("Google's machines have a metadata server, others have none"), "{step:?}");
    }
}
