//! Misbehaviour on request, the record of what was asked, and the control routes.

#[cfg(test)]
mod support;

use google_emulator::{CLOUD_PLATFORM, Effect, Fault, Route};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, made, until};

#[test]
fn status_codes_strike_when_and_where_they_should() {
    let google = Google::start();
    let busy = || Fault::answer(Route::Qido, 503, "{\"error\":1}").header("Retry-After", "7");
    let statuses = |count: usize| -> Vec<u16> {
        (0..count).map(|_| google.search().unwrap().status().as_u16()).collect()
    };

    google.emulator.faults().add(busy());
    let response = google.search().unwrap();
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.headers()["content-type"], "application/json; charset=UTF-8");
    assert_eq!(response.text().unwrap(), "{\"error\":1}");
    assert_eq!(statuses(2), [204, 204]);

    google.emulator.faults().add(busy().times(2));
    assert_eq!(statuses(3), [503, 503, 204]);
    assert!(google.emulator.faults().list().is_empty());
    google.emulator.faults().add(busy().every(3));
    assert_eq!(statuses(6), [204, 204, 503, 204, 204, 503]);
    google.emulator.faults().clear();
    google.emulator.faults().add(busy().until_cleared());
    assert_eq!(statuses(3), [503, 503, 503]);
    assert_eq!(google.ask(&[]).0, 400, "the token endpoint was not aimed at");
    google.emulator.faults().clear();
    assert_eq!(statuses(1), [204]);
    google.emulator.faults().add(busy().on_path("/dicomStores/other/"));
    assert_eq!(statuses(1), [204]);
}

#[test]
fn a_lost_answer_is_not_a_lost_instance() {
    let google = Google::start();
    let file = made(1, 1, 1).file(EXPLICIT_LITTLE);
    google.emulator.faults().add(Fault::answer(Route::Stow, 503, ""));
    assert_eq!(google.store("studies", std::slice::from_ref(&file)).status(), 503);
    assert_eq!(google.search().unwrap().status(), 204, "nothing was stored");
    google.emulator.faults().add(Fault::answer(Route::Stow, 503, "").after_handling());
    assert_eq!(google.store("studies", std::slice::from_ref(&file)).status(), 503);
    assert_eq!(google.search().unwrap().status(), 200, "stored, but the answer was lost");
    let seen = google.emulator.requests();
    assert!(
        seen.iter().filter(|seen| seen.route == Route::Stow).all(|seen| seen.body_bytes > file.len() as u64)
    );
}

#[test]
fn token_answers_can_be_anything() {
    let google = Google::start();
    let ask = || {
        let request = google.client.post(google.emulator.token_url()).body("");
        request.send().unwrap()
    };
    for body in [
        "",
        "<html>Sorry</html>",
        "{\"access_token\":\"ya29",
        "{\"expires_in\":3599,\"token_type\":\"Bearer\"}",
    ] {
        google
            .emulator
            .faults()
            .add(Fault::answer(Route::Token, 200, body).header("Content-Type", "text/html"));
        let response = ask();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/html".parse().unwrap())
        );
        assert_eq!(response.text().unwrap(), body);
    }
}

#[test]
fn bodies_are_cut_where_they_should() {
    let google = Google::start();
    let one = made(1, 1, 1);
    let file = one.file(EXPLICIT_LITTLE);
    assert_eq!(google.store("studies", std::slice::from_ref(&file)).status(), 200);
    let get = |accept: &str| {
        let mut response = google.get(&one.path(), accept);
        let announced = response.content_length();
        let mut body = Vec::new();
        let end = response.read_to_end(&mut body);
        (announced, body, end)
    };
    // A body of known length announces more than it sends.
    google.emulator.faults().add(Fault::cut_body(Route::Wado, 100).times(1));
    let (announced, body, end) = get("application/dicom; transfer-syntax=*");
    assert_eq!(announced, Some(file.len() as u64));
    assert_eq!(body, file[..100]);
    assert!(end.is_err());
    // A chunked one has no last chunk.
    google.emulator.faults().add(Fault::cut_body(Route::Wado, 200).times(1));
    let (announced, body, end) = get(ANY_SYNTAX);
    assert_eq!((announced, body.len(), end.is_err()), (None, 200, true));
    assert!(get(ANY_SYNTAX).2.is_ok());
    // So is one that would have been complete.
    google.emulator.faults().add(Fault::cut_body(Route::Token, 10_000));
    let response = google.client.post(google.emulator.token_url()).body("").send().unwrap();
    assert!(response.text().is_err());
}

#[test]
fn requests_are_reset_while_they_arrive() {
    let google = Google::start();
    google.emulator.faults().add(Fault::reset(Route::Stow, 10));
    let send = || {
        let request = google.dicom_web("POST", "studies").header("Content-Type", "application/dicom");
        request.body(made(1, 1, 1).file(EXPLICIT_LITTLE)).send()
    };
    assert!(send().is_err());
    assert_eq!(google.emulator.requests()[0].status, None);
    assert_eq!(google.search().unwrap().status(), 204);
    assert_eq!(send().unwrap().status(), 200);
}

#[test]
fn hanging_ends_with_the_emulator() {
    let google = Google::start();
    google.emulator.faults().add(Fault::hang(Route::Token));
    google.emulator.faults().add(Fault::hang_before_tls().times(2));
    let (client, token_url) = (google.impatient(), google.emulator.token_url());
    // The first two connections never get to TLS, nor to HTTP; the third is answered by silence.
    assert!(client.post(&token_url).body("").send().unwrap_err().is_timeout());
    let address = google.emulator.http_url().strip_prefix("http://").unwrap().to_owned();
    let mut plain = TcpStream::connect(&address).unwrap();
    plain.write_all(b"GET /emulator HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    until(|| google.emulator.faults().list().len() == 1);
    assert!(google.emulator.requests().is_empty());
    let mut asked = TcpStream::connect(&address).unwrap();
    asked.write_all(b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nx=y").unwrap();
    until(|| google.emulator.requests().first().is_some_and(|seen| seen.body_bytes == 3));
    assert_eq!(google.emulator.requests()[0].status, None);
    // Later requests are answered while that one hangs.
    assert_eq!(google.search().unwrap().status(), 204);
    drop(google);
    for mut stream in [plain, asked] {
        let mut answer = Vec::new();
        // Closed or reset, either way at an end: a stop that left it open would block here.
        drop(stream.read_to_end(&mut answer));
        assert!(answer.is_empty());
    }
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn latency_delays_and_the_rest_still_applies() {
    let google = Google::start();
    google.emulator.faults().add(Fault::latency(Route::Qido, Duration::from_secs(60)));
    let url = format!("{}/studies", google.emulator.dicom_web_url());
    let error = google.impatient().get(url).bearer_auth(google.token()).send().unwrap_err();
    assert!(error.is_timeout());
    google.emulator.faults().add(Fault::latency(Route::Qido, Duration::from_millis(1)));
    google.emulator.faults().add(Fault::answer(Route::Qido, 429, ""));
    assert_eq!(google.search().unwrap().status(), 429);
}

#[test]
fn a_mixture_of_faults_comes_in_turn_and_where_it_is_aimed() {
    let google = Google::start();
    let one = made(1, 1, 1);
    let files = [one.file(EXPLICIT_LITTLE)];
    let answer = |status| Fault::answer(Route::Stow, status, "");
    let effects = [
        answer(503).effect,
        answer(429).header("Retry-After", "1").effect,
        Fault::reset(Route::Stow, 10).effect,
        Fault::cut_body(Route::Stow, 20).effect,
    ];
    google.emulator.faults().add(Fault::in_turn(Route::Stow, effects).on_method("POST").every(2));
    let send = || {
        let request = google.dicom_web("POST", "studies").header("Content-Type", "application/dicom");
        let response = request.body(files[0].clone()).send().map_err(|_| "reset".to_owned())?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        response.text().map_err(|_| format!("cut {status}"))?;
        Ok::<_, String>((status, retry_after))
    };
    let good = || Ok((200, None));
    for _ in 0..2 {
        assert_eq!([send(), send()], [good(), Ok((503, None))]);
        assert_eq!([send(), send()], [good(), Ok((429, Some("1".to_owned())))]);
        assert_eq!([send(), send()], [good(), Err("reset".to_owned())]);
        assert_eq!([send(), send()], [good(), Err("cut 200".to_owned())]);
        assert_eq!(google.search().unwrap().status(), 200, "searches are not aimed at");
    }

    google.emulator.faults().clear();
    google.emulator.faults().add(Fault::answer(Route::WadoInstance, 503, "").until_cleared());
    google.emulator.faults().add(Fault::cut_body(Route::WadoSeries, 10).until_cleared());
    let get = |path: &str| google.get(path, "*/*").bytes().map_or(0, |body| body.len());
    let status = |path: &str| google.get(path, "*/*").status();
    let series = format!("studies/{}/series/{}", one.study_uid(), one.series_uid());
    assert_eq!(status(&one.path()), 503);
    assert_eq!((status(&series).as_u16(), get(&series)), (200, 0), "cut");
    assert_eq!(status(&format!("{}/metadata", one.path())), 200);
    assert!(get(&format!("studies/{}", one.study_uid())) > files[0].len());
    assert!(google.emulator.requests().iter().any(|seen| seen.route == Route::Wado));
    assert!(google.emulator.requests().iter().all(|seen| seen.route != Route::WadoInstance));
}

#[test]
fn one_instance_can_be_refused_while_the_others_are_stored() {
    let google = Google::start();
    let [one, two, three] = [1, 2, 3].map(|number| made(1, 1, number));
    let files = [one, two, three].map(|instance| instance.file(EXPLICIT_LITTLE));
    let uid = two.instance_uid();
    let mut fault = Fault::refuse_instance(&uid, "not this one").on_path("/dicomWeb/studies").times(2);
    if let Effect::RefuseInstance(refusal) = &mut fault.effect {
        refusal.reason = 0xA700;
    }
    google.emulator.faults().add(fault);
    assert_eq!(google.store("studies", &files[..1]).status(), 200, "another instance does not count");
    for _ in 0..2 {
        let response = google.store("studies", &files);
        assert_eq!(response.status(), 409);
        let body: Value = response.json().unwrap();
        let failed = body["00081198"]["Value"].as_array().unwrap();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["00081155"]["Value"][0], uid);
        assert_eq!(failed[0]["00081197"]["Value"][0], 0xA700);
        assert_eq!(failed[0]["00091097"]["Value"][0], "not this one");
        assert_eq!(body["00081199"]["Value"].as_array().unwrap().len(), 2);
    }
    let stored: Vec<String> = google.emulator.instances().into_iter().map(|stored| stored.instance).collect();
    assert_eq!(stored, [one.instance_uid(), three.instance_uid()]);
    assert_eq!(google.store("studies", &files).status(), 200);
}

#[test]
fn every_request_is_on_record() {
    let google = Google::start();
    let token = google.token();
    let url = format!("{}/studies?PatientID=%41", google.emulator.dicom_web_url());
    let request = google.client.get(&url).bearer_auth(&token).header("X-Goog-User-Project", "quota");
    assert_eq!(request.send().unwrap().status(), 204);
    let plain = format!("{}/nowhere", google.emulator.http_url());
    assert_eq!(google.client.post(plain).body("12345").send().unwrap().status(), 404);
    let seen = google.emulator.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].method.as_str(), seen[0].route, seen[0].tls), ("GET", Route::Qido, true));
    assert_eq!((seen[0].query.as_deref(), seen[0].status), (Some("PatientID=%41"), Some(204)));
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {token}").as_str()));
    assert_eq!(seen[0].header("x-goog-user-project"), Some("quota"));
    assert_eq!((seen[1].route, seen[1].tls, seen[1].body_bytes), (Route::Any, false, 5));
    assert_ne!(seen[0].connection, seen[1].connection);
    google.emulator.clear_requests();
    assert!(google.emulator.requests().is_empty());
}

#[test]
fn control_routes_do_what_the_readme_says() {
    let google = Google::start();
    let root = google.emulator.http_url().to_owned();
    let control = |method: &str, path: &str, body: Option<Value>| {
        let mut request = google.client.request(method.parse().unwrap(), format!("{root}/emulator{path}"));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().unwrap_or_default())
    };
    let about = control("GET", "", None).1;
    assert_eq!(about["stores"][0], google.emulator.store().to_string());
    let fault = json!({ "on": "qido", "when": { "times": 2 }, "effect": { "answer": { "status": 500 } } });
    assert_eq!(control("POST", "/faults", Some(fault)).0, 204);
    assert_eq!(google.search().unwrap().status(), 500);
    assert_eq!(control("GET", "/faults", None).1.as_array().unwrap().len(), 1);
    assert_eq!(control("DELETE", "/faults", None).0, 204);
    assert_eq!(google.search().unwrap().status(), 204);
    assert_eq!(control("POST", "/faults", Some(json!({ "on": "qido" }))).0, 400);

    let seen = control("GET", "/requests", None).1;
    assert_eq!((seen.as_array().unwrap().len(), &seen[0]["status"]), (2, &json!(500)));
    assert_eq!(control("DELETE", "/requests", None).0, 204);
    assert_eq!(control("GET", "/requests", None).1, json!([]), "control requests are not recorded");

    let changed = control("PATCH", "/settings", Some(json!({ "clock_offset_seconds": -5 })));
    assert_eq!((changed.0, &changed.1["clock_offset_seconds"]), (200, &json!(-5)));
    assert_eq!(google.emulator.settings().clock_offset_seconds, -5);
    assert_eq!(control("PATCH", "/settings", Some(json!({ "clock": 1 }))).0, 400);

    let minted =
        control("POST", "/tokens", Some(json!({ "scope": CLOUD_PLATFORM, "lifetime_seconds": 60 }))).1;
    let url = format!("{}/studies", google.emulator.dicom_web_url());
    let get = || {
        google.client.get(&url).bearer_auth(minted["access_token"].as_str().unwrap()).send().unwrap().status()
    };
    assert_eq!(get(), 204);
    assert_eq!(control("DELETE", "/tokens", None).0, 204);
    assert_eq!(get(), 401);

    let old = control("GET", "/service-account-key", None).1;
    let new = control("POST", "/service-account-key", None).1;
    assert_ne!(old["private_key_id"], new["private_key_id"]);
    assert_eq!(about["metadata_host"], google.emulator.metadata_host());
    let subject = control("POST", "/subject-token", Some(json!({ "lifetime_seconds": 60 }))).1;
    let subject = subject["subject_token"].as_str().unwrap().to_owned();
    assert!(google.emulator.secrets().contains(&subject));
    let pair =
        json!({ "from": google.emulator.service_account(), "to": google.emulator.impersonation_target() });
    let generate = || {
        let target = google.emulator.impersonation_target();
        let url = format!("{root}/v1/projects/-/serviceAccounts/{target}:generateAccessToken");
        let request =
            google.client.post(url).bearer_auth(google.token()).json(&json!({ "scope": [CLOUD_PLATFORM] }));
        request.send().unwrap().status().as_u16()
    };
    assert_eq!(control("DELETE", "/impersonation", Some(pair.clone())).0, 204);
    assert_eq!(generate(), 403);
    assert_eq!(control("POST", "/impersonation", Some(pair)).0, 204);
    assert_eq!(generate(), 200);
    assert_eq!(control("POST", "/impersonation", Some(json!({ "from": "x" }))).0, 400);
    assert_eq!(control("DELETE", "/refresh-token", None).0, 204);
}

#[test]
fn faults_aim_at_each_kind_of_source() {
    let google = Google::start();
    let (http, metadata) =
        (google.emulator.http_url().to_owned(), google.emulator.metadata_host().to_owned());
    let routes = [
        (Route::Sts, format!("{http}/v1/token")),
        (Route::Sts, format!("{http}/v1/oauthtoken")),
        (Route::Iam, format!("{http}/v1/projects/-/serviceAccounts/a@b:generateAccessToken")),
        (Route::Subject, format!("{http}/external/subject-token")),
        (Route::Subject, format!("{http}/external/subject-token.json")),
        (Route::Imds, format!("{http}/latest/meta-data/placement/region")),
        (Route::Metadata, format!("http://{metadata}/")),
        (Route::Metadata, format!("http://{metadata}/emulator/requests")),
    ];
    for (route, _) in &routes {
        google.emulator.faults().clear();
        google.emulator.faults().add(Fault::answer(*route, 599, "").until_cleared());
        for (other, url) in &routes {
            let struck = google.client.get(url).send().unwrap().status() == 599;
            assert_eq!(struck, other == route, "{route:?} {url}");
        }
    }
    google.emulator.clear_requests();
    google.emulator.faults().clear();
    for (_, url) in &routes {
        drop(google.client.get(url).send().unwrap());
    }
    let seen: Vec<Route> = google.emulator.requests().iter().map(|seen| seen.route).collect();
    assert_eq!(seen, routes.map(|(route, _)| route));
}

#[test]
fn connections_to_the_metadata_server_hang_alone() {
    let google = Google::start();
    let hang = Fault::new(Route::Metadata, Effect::HangBeforeTls {});
    google.emulator.faults().add(hang.until_cleared());
    let url = format!("http://{}/", google.emulator.metadata_host());
    assert!(google.impatient().get(&url).send().unwrap_err().is_timeout());
    assert_eq!(google.search().unwrap().status(), 204);
    assert!(google.emulator.requests().iter().all(|seen| seen.route != Route::Metadata));
    google.emulator.faults().clear();
    assert_eq!(google.client.get(&url).send().unwrap().status(), 200);
}
