//! Requests that ask for more than DICOMweb, or in another form.

use google_emulator::Emulator;
use reqwest::Method;
use serde_json::Value;

use crate::far_store::FarStore;
use crate::{
    door::{of_store, raw},
    stage::{SECRET, Stage, block_on},
};

/// The status and the cause of a refusal, and the answer's header field `named`.
fn refusal(request: reqwest::RequestBuilder, named: &str) -> (u16, String, Option<String>) {
    block_on(async {
        let answer = request.send().await.unwrap();
        let (status, named) = (answer.status().as_u16(), answer.headers().get(named).cloned());
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
        assert!(status < 400 || body["error"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
        let cause = body["error"]["message"].as_str().unwrap_or_default().to_owned();
        (status, cause, named.map(|value| value.to_str().unwrap().to_owned()))
    })
}

#[test]
fn parameters_that_steer_google_are_refused() {
    let stage = Stage::new();
    for query in [
        "$httpMethod=DELETE",
        "%24httpMethod=DELETE",
        "$callback=steal",
        "%2524ct=text/html",
        "Access_Token=x",
        "limit=1&%61lt=media",
        "key=x",
        "accept=application/dicom%2Bjson&fields=x",
        "userProject=other",
        "uploadType=multipart",
    ] {
        let (status, cause, _) = refusal(stage.request(Method::GET, &format!("studies?{query}")), "x");
        assert_eq!(status, 400, "{query}");
        assert!(cause.contains("steers Google's servers") && !cause.contains("steal"), "{cause}");
    }
    assert_eq!(of_store(&stage).len(), 0);
    let query =
        "studies?PatientName=key&00100020=$x&limit=1&includefield=all&accept=application/dicom%2Bjson";
    assert!(refusal(stage.request(Method::GET, query), "x").0 < 300);
    let seen = of_store(&stage).pop().unwrap();
    assert_eq!(seen.header("accept"), Some("application/dicom+json"));
}

#[test]
fn header_fields_that_steer_google_are_refused() {
    let stage = Stage::new();
    for field in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Goog-Api-Key",
        "X-Goog-FieldMask",
        "X-Goog-Upload-Protocol",
    ] {
        let request = stage.request(Method::GET, "studies").header(field, "DELETE");
        let (status, cause, _) = refusal(request, "x");
        assert_eq!(status, 400, "{field}");
        assert!(cause.contains(&field.to_lowercase()), "{cause}");
    }
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let form = stage.request(Method::POST, "studies").header("content-type", form);
    assert_eq!(refusal(form.body("$httpMethod=DELETE"), "x").0, 415);
    assert_eq!(of_store(&stage).len(), 0);
}

#[test]
fn compressed_upload_is_refused_with_words() {
    let stage = Stage::new();
    // More than lies in the buffers of a connection.
    let body = vec![31_u8; 20 << 20];
    for coding in ["gzip", "x-gzip", "identity, br", "deflate"] {
        let request = stage
            .request(Method::POST, "studies")
            .header("content-type", "multipart/related; type=\"application/dicom\"; boundary=b")
            .header("content-encoding", coding)
            .body(body.clone());
        let (status, cause, accepted) = refusal(request, "accept-encoding");
        assert_eq!((status, accepted.as_deref()), (415, Some("identity")), "{coding}");
        assert!(cause.contains("Content-Encoding"), "{cause}");
    }
    let part = stage
        .request(Method::POST, "studies")
        .header("content-type", "multipart/related; boundary=b")
        .header("content-range", "bytes 0-1/2")
        .body("--b--");
    assert_eq!(refusal(part, "x").0, 400);
    let lines = format!("Host: x\r\nAuthorization: Bearer {SECRET}\r\nConnection: close");
    let encoded = "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let answer = raw(&stage, &format!("POST /my%20store/studies HTTP/1.1\r\n{lines}\r\n{encoded}"));
    assert!(answer.starts_with("HTTP/1.1 501 ") && answer.contains("Transfer-Encoding"), "{answer}");
    assert_eq!(of_store(&stage).len(), 0);
}

#[test]
fn slash_at_the_end_of_a_path_is_left_out() {
    let stage = Stage::new();
    assert!(refusal(stage.request(Method::GET, "studies/?limit=1"), "x").0 < 300);
    let seen = of_store(&stage).pop().unwrap();
    assert!(seen.path.ends_with("/dicomWeb/studies"), "{}", seen.path);
    assert_eq!(refusal(stage.request(Method::GET, "studies//"), "x").0, 400);
}

#[test]
fn many_header_fields_are_taken_and_too_many_counted() {
    let stage = Stage::new();
    let ask = |fields: usize| {
        let fields: String = (0..fields)
            .flat_map(|number| ["X-".to_owned(), number.to_string(), ": 1\r\n".to_owned()])
            .collect();
        let lines = format!("Host: x\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n{fields}");
        raw(&stage, &format!("GET /my%20store/studies HTTP/1.1\r\n{lines}\r\n"))
    };
    for fields in [97, 98, 120, 1_000, 4_990] {
        assert!(ask(fields).starts_with("HTTP/1.1 20"), "{fields}");
    }
    let answer = ask(6_000);
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("6003 header fields"), "{answer}");
    assert!(ask(9_000).starts_with("HTTP/1.1 431 "));
    assert_eq!(of_store(&stage).len(), 5);
    let seen = of_store(&stage).pop().unwrap();
    assert!(seen.headers.len() < 20, "{:?}", seen.headers);
}

#[test]
fn page_of_another_site_is_refused_without_origin() {
    let stage = Stage::without_secret("https://viewer.example");
    let ask = |field: Option<(&str, &str)>| {
        let mut request = stage.request(Method::GET, "studies?PatientID=7&limit=1");
        if let Some((name, value)) = field {
            request = request.header(name, value);
        }
        let embedding = "cross-origin-resource-policy";
        let (status, _, embedding) = refusal(request, embedding);
        assert_eq!(embedding.as_deref(), Some("same-origin"));
        status
    };
    for site in ["cross-site", "same-site", "other"] {
        assert_eq!(ask(Some(("Sec-Fetch-Site", site))), 403, "{site}");
    }
    assert_eq!(ask(Some(("Origin", "https://evil.example"))), 403);
    assert_eq!(ask(Some(("Origin", "null"))), 403);
    assert_eq!(of_store(&stage).len(), 0);
    for allowed in [
        None,
        Some(("Sec-Fetch-Site", "none")),
        Some(("Sec-Fetch-Site", "same-origin")),
        Some(("Origin", "https://viewer.example")),
    ] {
        assert!(ask(allowed) < 300, "{allowed:?}");
    }
}

#[test]
fn every_answer_forbids_embedding() {
    let stage = Stage::without_secret("https://viewer.example");
    for (request, status) in [
        ("GET /health HTTP/1.1\r\n", 200),
        ("POST /health HTTP/1.1\r\n", 405),
        ("GET /nobody/studies HTTP/1.1\r\n", 404),
        ("GET /my%20store/../x HTTP/1.1\r\n", 400),
        ("GET /my%20store/studies?key=1 HTTP/1.1\r\n", 400),
        ("LINK /my%20store/studies HTTP/1.1\r\n", 405),
        ("GET /my%20store/studies HTTP/1.1\r\nOrigin: https://evil.example\r\n", 403),
        ("GET /my%20store/nothing HTTP/1.1\r\n", 404),
        (
            "OPTIONS /my%20store/studies HTTP/1.1\r\nOrigin: https://viewer.example\r\nAccess-Control-Request-Method: GET\r\n",
            204,
        ),
    ] {
        let answer = raw(&stage, &format!("{request}Host: 127.0.0.1\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        for field in [
            "cross-origin-resource-policy: same-origin",
            "x-frame-options: DENY",
            "x-content-type-options: nosniff",
        ] {
            assert!(answer.contains(field), "{request}: {answer}");
        }
    }
}

#[test]
fn permissions_of_the_store_are_not_the_gateways() {
    use google_emulator::{Fault, Route};
    for status in [200, 400] {
        let stage =
            Stage::with(FarStore::start(Emulator::builder()), dicomweb_gateway::OnConflict::Fail, |_| {});
        let answer = Fault::answer(Route::Qido, status, "[]")
            .header("access-control-allow-origin", "*")
            .header("set-cookie", "a=b")
            .header("x-frame-options", "ALLOWALL")
            .header("warning", "299 - \"more\"");
        stage.emulator.faults().add(answer.until_cleared());
        let answer = block_on(stage.request(Method::GET, "studies").send()).unwrap();
        let field = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!((field("access-control-allow-origin"), field("set-cookie")), (None, None));
        assert_eq!((field("x-frame-options"), field("warning")), (Some("DENY"), Some("299 - \"more\"")));
    }
}
