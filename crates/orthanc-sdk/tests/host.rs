//! Each service, on hosts old and new.

#[cfg(test)]
mod scripted;

use orthanc_sdk::fake_host::{FakeHost, LogLine, Property};
use orthanc_sdk::{Error, Host, Level, Method, MetricType, RestAnswer, error_code};
use scripted::Scripted;

/// Runs `test` inside a plugin's life, and checks that nothing was left behind.
#[cfg(test)]
fn on(version: &str, configuration: &[u8], test: impl FnOnce(&FakeHost, &Host)) {
    let orthanc = FakeHost::builder()
        .version(version)
        .configuration(configuration)
        .rest(|method, uri, body| match (method, uri) {
            (Method::Get, "/system") => Ok(b"{}".to_vec()),
            (Method::Get, "/empty") | (Method::Delete, "/servers/a") => Ok(Vec::new()),
            (Method::Put | Method::Post, "/servers/a") => Ok([b"got ", body].concat()),
            (Method::Put, "/servers/bad") => Err(error_code::BAD_FILE_FORMAT),
            _ => Err(error_code::UNKNOWN_RESOURCE),
        })
        .build();
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    let host = orthanc.host().unwrap();
    test(&orthanc, &host);
    orthanc.finalize();
    orthanc.assert_clean();
}

#[test]
fn configuration_comes_whole_and_is_freed() {
    let huge = format!("{{\"text\": \"{}\"}}", "Zürich ".repeat(if cfg!(miri) { 100 } else { 1_000_000 }));
    for (given, expected) in [
        (huge.as_bytes(), huge.as_str()),
        (b"", ""),
        (br#"{"nul": "\u0000", "line": "\n"}"#, r#"{"nul": "\u0000", "line": "\n"}"#),
        // C strings end at a NUL byte.
        (b"{}\0rest", "{}"),
        (b"{\"name\": \"Z\xFCrich\"}", "{\"name\": \"Z\u{FFFD}rich\"}"),
    ] {
        on("1.10.1", given, |orthanc, host| {
            assert_eq!(host.configuration().as_deref(), Ok(expected));
            assert_eq!(orthanc.buffers_in_use(), 0);
        });
    }
}

#[test]
fn log_lines_carry_the_plugin_where_orthanc_can() {
    let levels = [Level::Error, Level::Warning, Level::Info, Level::Trace];
    for (version, plugin, last, expected_services) in [
        ("1.5.4", None, Level::Info, [3, 2, 1, 1]),
        ("1.12.3", None, Level::Info, [3, 2, 1, 1]),
        // What `--verbose-plugins` shows comes by the old service still.
        ("1.12.4", Some("scripted"), Level::Trace, [45, 45, 1, 45]),
        ("mainline", Some("scripted"), Level::Trace, [45, 45, 1, 45]),
    ] {
        on(version, b"", |orthanc, host| {
            let before = (orthanc.log().len(), orthanc.services().len());
            for level in levels {
                host.log(level, "two\nlines, and a \0");
            }
            let line = |level| LogLine {
                level,
                text: String::from("two | lines, and a \u{FFFD}"),
                plugin: plugin.filter(|_| level != Level::Info).map(str::to_owned),
            };
            let expected = [Level::Error, Level::Warning, Level::Info, last].map(line);
            assert_eq!(orthanc.log()[before.0..], expected, "{version}");
            assert_eq!(orthanc.services()[before.1..], expected_services, "{version}");
        });
    }
}

#[test]
fn no_service_is_asked_of_a_host_that_lacks_it() {
    for version in
        ["1.5.4", "1.9.1", "1.9.2", "1.10.1", "1.12.1", "1.12.2", "1.12.4", "1.12.7", "1.13.0", "mainline"]
    {
        on(version, b"", |orthanc, host| {
            host.set_description("description");
            host.set_root_uri("/root");
            host.extend_orthanc_explorer("// nothing");
            host.set_metric("float", 1.0, MetricType::Default);
            host.set_integer_metric("integer", 1, MetricType::Default);
            host.name_current_thread("GCP");
            host.clear_current_thread_name();
            host.log(Level::Trace, "line");
            for method in [Method::Get, Method::Post, Method::Put, Method::Delete] {
                host.rest_call(method, "/nowhere", b"").unwrap();
            }
            assert_eq!(orthanc.unknown_services(), [0; 0], "{version}");
            assert!(orthanc.log().iter().all(|line| line.level > Level::Warning), "{:?}", orthanc.log());
        });
    }
}

#[test]
fn threads_are_named_where_orthanc_can() {
    for (version, names) in [
        ("1.12.1", vec![]),
        ("1.12.2", vec![Some("google-cloud-pla")]),
        ("1.13.0", vec![Some("google-cloud-pla"), None]),
    ] {
        on(version, b"", |orthanc, host| {
            host.name_current_thread("google-cloud-platform");
            host.clear_current_thread_name();
            let seen = orthanc.thread_names();
            assert_eq!(seen.iter().map(Option::as_deref).collect::<Vec<_>>(), names, "{version}");
        });
    }
}

#[test]
fn properties_reach_orthanc() {
    on("1.10.1", b"", |orthanc, host| {
        host.set_description("Joins\0 things");
        host.set_root_uri("/google/app");
        host.extend_orthanc_explorer("alert('Zürich')");
        let expected = [
            Property::Description(String::from("Joins\u{FFFD} things")),
            Property::RootUri(String::from("/google/app")),
            Property::OrthancExplorer(String::from("alert('Zürich')")),
        ];
        assert_eq!(orthanc.properties(), expected);
    });
}

#[test]
fn rest_by_the_services_of_every_orthanc() {
    on("1.5.4", b"", |orthanc, host| {
        let before = orthanc.services().len();
        assert_eq!(host.rest_get("/system"), Ok(b"{}".to_vec()));
        assert_eq!(host.rest_get("/empty"), Ok(Vec::new()));
        assert_eq!(host.rest_put("/servers/a", b"body"), Ok(b"got body".to_vec()));
        assert_eq!(host.rest_put("/servers/a", b""), Ok(b"got ".to_vec()));
        assert_eq!(host.rest_post("/servers/a", b"\0\xFF"), Ok(b"got \0\xFF".to_vec()));
        assert_eq!(host.rest_delete("/servers/a"), Ok(()));
        assert_eq!(orthanc.services()[before..], [3010, 3010, 3013, 3013, 3011, 3012]);
        let missing = host.rest_get("/missing").unwrap_err();
        assert_eq!(missing, Error::Host { service: "RestApiGetAfterPlugins", code: 17 });
        assert_eq!(host.rest_delete("/missing").unwrap_err().code(), Some(17));
        assert_eq!(host.rest_put("/servers/bad", b"").unwrap_err().code(), Some(15));
        assert_eq!(host.rest_get("/\0"), Err(Error::NulInUri));
        assert_eq!(host.rest_delete("/\0"), Err(Error::NulInUri));
        assert_eq!(host.rest_put("/\0", b""), Err(Error::NulInUri));
        assert_eq!(host.rest_call(Method::Get, "/\0", b""), Err(Error::NulInUri));
    });
}

#[test]
fn rest_with_a_status_is_the_same_on_old_and_new() {
    for (version, services) in [("1.9.1", [3010, 3010, 3013, 3011, 3012, 3012, 3013]), ("1.9.2", [3016; 7])] {
        on(version, b"", |orthanc, host| {
            let answer = |status, body: &[u8]| Ok(RestAnswer { status, body: body.to_vec() });
            let before = orthanc.services().len();
            assert_eq!(host.rest_call(Method::Get, "/system", b""), answer(200, b"{}"));
            assert_eq!(host.rest_call(Method::Get, "/missing", b""), answer(404, b""));
            assert_eq!(host.rest_call(Method::Put, "/servers/a", b"body"), answer(200, b"got body"));
            assert_eq!(host.rest_call(Method::Post, "/servers/a", b"body"), answer(200, b"got body"));
            assert_eq!(host.rest_call(Method::Delete, "/servers/a", b""), answer(200, b""));
            assert_eq!(host.rest_call(Method::Delete, "/missing", b""), answer(404, b""));
            let failure = host.rest_call(Method::Put, "/servers/bad", b"").unwrap_err();
            assert_eq!(failure.code(), Some(error_code::BAD_FILE_FORMAT));
            assert_eq!(orthanc.services()[before..], services, "{version}");
        });
    }
}

#[test]
fn every_call_answers_gone_after_finalize() {
    for version in ["1.5.4", "1.13.0"] {
        let orthanc = FakeHost::builder().version(version).build();
        assert_eq!(orthanc.initialize::<Scripted>(), 0);
        let host = orthanc.host().unwrap();
        orthanc.finalize();
        let services = orthanc.services();
        assert_eq!(host.configuration(), Err(Error::Gone));
        assert_eq!(host.rest_get("/"), Err(Error::Gone));
        assert_eq!(host.rest_put("/", b""), Err(Error::Gone));
        assert_eq!(host.rest_post("/", b""), Err(Error::Gone));
        assert_eq!(host.rest_delete("/"), Err(Error::Gone));
        assert_eq!(host.rest_call(Method::Get, "/", b""), Err(Error::Gone));
        host.log(Level::Error, "gone");
        host.set_description("gone");
        host.set_root_uri("/gone");
        host.extend_orthanc_explorer("gone");
        host.set_metric("gone", 1.0, MetricType::Default);
        host.set_integer_metric("gone", 1, MetricType::Default);
        host.name_current_thread("gone");
        host.clear_current_thread_name();
        assert_eq!(host.version().to_string(), version);
        assert_eq!(orthanc.services(), services, "a context was used after its end");
        orthanc.assert_clean();
    }
}
