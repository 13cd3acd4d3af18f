//! Requests for routes of the plugin: what it hears, and what who has asked gets.

use orthanc_sdk::fake_host::{FakeHost, HttpAnswer};
use orthanc_sdk::{Change, Error, Host, Level, Method, Plugin, Refusal, RestReply, RestRequest, Version};
use std::ffi::CStr;
use std::sync::{Arc, Mutex, Weak, mpsc};

/// A plugin that does what its paths tell it to.
struct Routed {
    host: Host,
}

#[cfg(test)]
impl Plugin for Routed {
    const NAME: &'static CStr = c"routed";
    const VERSION: &'static CStr = c"1";
    const OLDEST_HOST: Version = Version::new(0, 9, 0);

    fn initialize(host: &Host) -> Result<Self, Refusal> {
        Ok(Self { host: host.clone() })
    }

    fn on_change(&self, _: Change) {}

    fn routes(&self) -> Vec<String> {
        assert!(!self.host.configuration().unwrap().contains("panic-in-routes"), "as told");
        vec![String::from("/people/([^/]+)/(first)?(last)?"), String::from("/routed/(.*)")]
    }

    fn on_rest(&self, request: &RestRequest<'_>) -> RestReply {
        let RestRequest { method, path, groups, query, headers, body } = request;
        let Some(word) = path.strip_prefix("/routed/") else {
            return RestReply::json(
                200,
                format!("{method:?} {path} {groups:?} {query:?} {headers:?} {body:?}"),
            );
        };
        assert_ne!(word, "panic", "as told");
        match word {
            "echo" => RestReply::new(200, "application/dicom", *body),
            "only-get" => RestReply::method_not_allowed("GET, DELETE"),
            "forge" => RestReply::json(200, "{}").with_header("X-Text\r\n", "a\r\nSet-Cookie: b\0"),
            "recurse" => match self.host.rest_get("/outer") {
                Ok(inner) => RestReply::new(200, "text/plain", inner),
                Err(error) => RestReply::new(503, "text/plain", error.to_string()),
            },
            _ => RestReply::json(word.parse().unwrap(), "{}").with_header("X-Kind", "test"),
        }
    }
}

#[cfg(test)]
fn running(version: &str) -> FakeHost {
    let orthanc = FakeHost::builder().version(version).build();
    assert_eq!(orthanc.initialize::<Routed>(), 0);
    orthanc
}

#[cfg(test)]
fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HttpAnswer { status, headers, body: body.to_vec() }
}

#[cfg(test)]
fn errors(orthanc: &FakeHost) -> Vec<String> {
    orthanc.log().into_iter().filter(|line| line.level == Level::Error).map(|line| line.text).collect()
}

#[test]
fn a_request_comes_whole() {
    let orthanc = running("1.10.1");
    let headers = [("X-One", "1"), ("Accept", "*/*")];
    for (method, uri, body, expected) in [
        (
            Method::Get,
            "//people/Zürich/last/?a=1&b&a=2",
            &b""[..],
            r#"Get /people/Zürich/last ["Zürich", "", "last"] [("a", "1"), ("b", ""), ("a", "2")] HEADERS []"#,
        ),
        (
            Method::Post,
            "/people/x/first?a=1",
            &[0, 255][..],
            r#"Post /people/x/first ["x", "first", ""] [] HEADERS [0, 255]"#,
        ),
        (
            Method::Put,
            "/people/x/first",
            &[1][..],
            r#"Put /people/x/first ["x", "first", ""] [] HEADERS [1]"#,
        ),
        (
            Method::Delete,
            "/people/x/first",
            &[][..],
            r#"Delete /people/x/first ["x", "first", ""] [] HEADERS []"#,
        ),
    ] {
        let seen = orthanc.request(method, uri, &headers, body).unwrap();
        let expected = expected.replace("HEADERS", r#"[("x-one", "1"), ("accept", "*/*")]"#);
        assert_eq!((seen.status, String::from_utf8(seen.body).unwrap()), (200, expected));
    }
    assert_eq!(orthanc.request(Method::Get, "/people/x/first/more", &[], b""), None);
    assert_eq!(orthanc.request(Method::Get, "/", &[], b""), None);
    orthanc.assert_clean();
}

#[test]
fn a_large_body_comes_and_goes_unchanged() {
    let orthanc = running("1.13.0");
    let body: Vec<u8> =
        (0..if cfg!(miri) { 1000 } else { 3_000_000_u32 }).map(|n| n.to_le_bytes()[0]).collect();
    let seen = orthanc.request(Method::Put, "/routed/echo", &[], &body).unwrap();
    assert_eq!(seen, answer(200, &[("Content-Type", "application/dicom")], &body));
    orthanc.assert_clean();
}

#[test]
fn each_status_goes_the_way_that_orthanc_has_for_it() {
    let (kind, json) = (("X-Kind", "test"), ("Content-Type", "application/json"));
    for (version, of_errors) in
        [("1.5.4", json), ("1.12.1", json), ("1.12.2", ("Content-Type", "text/plain"))]
    {
        let orthanc = running(version);
        let ask = |uri: &str| orthanc.request(Method::Get, uri, &[], b"").unwrap();
        assert_eq!(ask("/routed/200"), answer(200, &[kind, json], b"{}"));
        for status in [202, 404, 409, 500, 503] {
            let expected = answer(status, &[kind, of_errors], b"{}");
            assert_eq!(ask(&format!("/routed/{status}")), expected, "{version}");
        }
        for status in [204, 304] {
            assert_eq!(ask(&format!("/routed/{status}")), answer(status, &[kind], b""), "{version}");
        }
        // Orthanc does not know these.
        for (status, instead) in [(429, 400), (451, 400), (301, 500), (599, 500), (0, 500), (999, 500)] {
            let expected = answer(instead, &[kind, of_errors], b"{}");
            assert_eq!(ask(&format!("/routed/{status}")), expected, "{version}");
        }
        assert_eq!(ask("/routed/only-get"), answer(405, &[("Allow", "GET, DELETE")], b""));
        assert_eq!(ask("/routed/405"), answer(405, &[("Allow", "")], b""));
        orthanc.finalize();
        orthanc.assert_clean();
    }
}

#[test]
fn a_header_field_stays_one() {
    let orthanc = running("1.10.1");
    let seen = orthanc.request(Method::Get, "/routed/forge", &[], b"").unwrap();
    assert_eq!(seen.headers[0], (String::from("X-Text  "), String::from("a  Set-Cookie: b ")));
    assert_eq!(seen.header("content-TYPE"), Some("application/json"));
    orthanc.assert_clean();
}

#[test]
fn a_panic_is_told_and_answered() {
    let orthanc = running("1.10.1");
    for round in 1..=2 {
        let seen = orthanc.request(Method::Get, "/routed/panic", &[], b"").unwrap();
        assert_eq!((seen.status, seen.header("Content-Type")), (500, Some("application/json")));
        assert!(String::from_utf8(seen.body).unwrap().starts_with(r#"{"status":500,"message":""#));
        let errors = errors(&orthanc);
        assert_eq!(errors.len(), round);
        assert!(errors[0].contains("as told") && errors[0].contains("routes.rs:"), "{errors:?}");
    }
    assert_eq!(orthanc.request(Method::Get, "/routed/200", &[], b"").unwrap().status, 200);
    orthanc.finalize();
    orthanc.assert_clean();
}

#[test]
fn a_panic_over_the_routes_leaves_a_plugin_without() {
    let orthanc = FakeHost::builder().configuration("panic-in-routes").build();
    assert_eq!(orthanc.initialize::<Routed>(), 0);
    assert_eq!(orthanc.request(Method::Get, "/routed/200", &[], b""), None);
    assert_eq!(errors(&orthanc).len(), 1);
    assert_eq!(orthanc.change(Change::OrthancStarted), Some(0));
    orthanc.finalize();
    orthanc.assert_clean();
}

#[test]
fn routes_live_on_after_orthanc_stopped_and_again_after_a_reset() {
    let orthanc = running("1.10.1");
    for _ in 0..3 {
        orthanc.change(Change::OrthancStopped);
        assert_eq!(orthanc.request(Method::Get, "/routed/200", &[], b"").unwrap().status, 200);
        assert_eq!(orthanc.reset::<Routed>(), 0);
        assert_eq!(orthanc.request(Method::Get, "/routed/200", &[], b"").unwrap().status, 200);
    }
    assert_eq!(orthanc.services().iter().filter(|service| **service == 1004).count(), 8);
    orthanc.assert_clean();
}

#[test]
fn many_threads_ask_at_once() {
    let orthanc = running("1.13.0");
    std::thread::scope(|threads| {
        for thread in 0..8_u8 {
            let orthanc = &orthanc;
            threads.spawn(move || {
                for round in 0..if cfg!(miri) { 2 } else { 200_u8 } {
                    let seen = orthanc.request(Method::Post, "/routed/echo", &[], &[thread, round]).unwrap();
                    assert_eq!(seen.body, [thread, round]);
                }
            });
        }
    });
    orthanc.finalize();
    orthanc.assert_clean();
}

#[test]
fn a_route_may_ask_orthanc_for_another() {
    let back: Arc<Mutex<Weak<FakeHost>>> = Arc::default();
    let way_back = Arc::clone(&back);
    let rest = move |_: Method, _: &str, _: &[u8]| {
        let orthanc = way_back.lock().unwrap().upgrade().unwrap();
        Ok(orthanc.request(Method::Put, "/routed/echo", &[], b"inner").unwrap().body)
    };
    let orthanc = Arc::new(FakeHost::builder().rest(rest).build());
    *back.lock().unwrap() = Arc::downgrade(&orthanc);
    assert_eq!(orthanc.initialize::<Routed>(), 0);
    let seen = orthanc.request(Method::Get, "/routed/recurse", &[], b"").unwrap();
    assert_eq!(seen, answer(200, &[("Content-Type", "text/plain")], b"inner"));
    orthanc.finalize();
    orthanc.assert_clean();
}

#[test]
fn finalize_waits_for_requests_which_are_still_answered() {
    let (entered, wait_entered) = mpsc::channel();
    let (release, wait_release) = mpsc::channel();
    let (entered, wait_release) = (Mutex::new(entered), Mutex::new(wait_release));
    let rest = move |_: Method, _: &str, _: &[u8]| {
        entered.lock().unwrap().send(()).unwrap();
        wait_release.lock().unwrap().recv().unwrap();
        Ok(b"late".to_vec())
    };
    let orthanc = FakeHost::builder().rest(rest).build();
    assert_eq!(orthanc.initialize::<Routed>(), 0);
    let host = orthanc.host().unwrap();
    std::thread::scope(|threads| {
        let slow = threads.spawn(|| orthanc.request(Method::Get, "/routed/recurse", &[], b""));
        wait_entered.recv().unwrap();
        threads.spawn(|| {
            // Finalize has begun when services are refused; the answer is sent thereafter.
            while host.configuration() != Err(Error::Gone) {
                std::thread::yield_now();
            }
            release.send(()).unwrap();
        });
        orthanc.finalize();
        assert_eq!(slow.join().unwrap().unwrap(), answer(200, &[("Content-Type", "text/plain")], b"late"));
    });
    assert_eq!(orthanc.request(Method::Get, "/routed/200", &[], b""), None);
    orthanc.assert_clean();
}
