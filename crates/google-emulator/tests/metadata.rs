//! The metadata server at its HTTP boundary.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use super::support::Google;
    use google_emulator::{CLOUD_HEALTHCARE, CLOUD_PLATFORM, Fault, Route};
    use reqwest::blocking::Response;
    use serde_json::{Value, json};
    use std::{
        io::{Read, Write},
        net::TcpStream,
        time::Duration,
    };

    const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

    fn ask(google: &Google, path: &str, headers: &[(&str, &str)]) -> Response {
        let url = format!("http://{}{path}", google.emulator.metadata_host());
        let request = headers
            .iter()
            .fold(google.client.get(url), |request, (name, value)| request.header(*name, *value));
        request.send().unwrap()
    }

    fn get(google: &Google, path: &str) -> Response {
        ask(google, path, &[("Metadata-Flavor", "Google")])
    }

    fn text(google: &Google, path: &str) -> (u16, String) {
        let response = get(google, path);
        (response.status().as_u16(), response.text().unwrap())
    }

    fn token(google: &Google, path: &str) -> (String, i64) {
        let answer: Value = get(google, path).json().unwrap();
        assert_eq!(answer["token_type"], "Bearer");
        (answer["access_token"].as_str().unwrap().to_owned(), answer["expires_in"].as_i64().unwrap())
    }

    #[test]
    fn everything_a_machine_asks_is_answered_and_recorded() {
        let google = Google::start();
        let account = google.emulator.metadata_service_account();
        let base = "/computeMetadata/v1/instance/service-accounts";
        for (path, expected) in [
            ("/computeMetadata/v1/project/project-id".to_owned(), "demo".to_owned()),
            ("/computeMetadata/v1/universe/universe-domain".to_owned(), "googleapis.com".to_owned()),
            (format!("{base}/default/email"), account.clone()),
            (format!("{base}/{account}/email"), account.clone()),
            (format!("{base}/default/scopes"), format!("{CLOUD_PLATFORM}\n")),
            (format!("{base}/"), format!("default/\n{account}/\n")),
        ] {
            assert_eq!(text(&google, &path), (200, expected), "{path}");
        }
        let about: Value = get(&google, &format!("{base}/default/?recursive=true")).json().unwrap();
        assert_eq!(about, json!({ "aliases": ["default"], "email": account, "scopes": [CLOUD_PLATFORM] }));
        let all: Value = get(&google, &format!("{base}/?recursive=true")).json().unwrap();
        assert_eq!((&all["default"], &all[&account]), (&about, &about));

        let response = get(&google, TOKEN);
        assert_eq!(response.headers()["metadata-flavor"], "Google");
        assert_eq!(response.headers()["content-type"], "application/json");
        let answer: Value = response.json().unwrap();
        assert_eq!(answer.as_object().unwrap().len(), 3);
        let seen = google.emulator.requests();
        assert!(
            seen.iter().all(|seen| seen.route == Route::Metadata && !seen.tls && seen.status == Some(200))
        );
        assert!(google.emulator.secrets().contains(&answer["access_token"].as_str().unwrap().to_owned()));
    }

    #[test]
    fn what_lacks_the_flavour_or_came_through_a_proxy_is_refused() {
        let google = Google::start();
        let flavour = ("Metadata-Flavor", "Google");
        for (headers, status) in [
            (vec![], 403),
            (vec![("Metadata-Flavor", "google")], 403),
            (vec![flavour, ("X-Forwarded-For", "10.0.0.1")], 403),
            (vec![flavour, ("Forwarded", "for=10.0.0.1")], 403),
            (vec![flavour, ("Via", "1.1 proxy")], 403),
            (vec![flavour], 200),
        ] {
            assert_eq!(ask(&google, TOKEN, &headers).status(), status, "{headers:?}");
        }
        assert!(ask(&google, TOKEN, &[]).text().unwrap().contains("Missing Metadata-Flavor:Google header."));
        // Detection needs no header, and is no way through a proxy either.
        assert_eq!(ask(&google, "/", &[]).headers()["metadata-flavor"], "Google");
        assert_eq!(ask(&google, "/", &[("Via", "1.1 proxy")]).status(), 403);

        let host = google.emulator.metadata_host();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
        stream,
        "GET http://{host}{TOKEN} HTTP/1.1\r\nHost: {host}\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "a request line for a proxy: {answer}");
        let post =
            google.client.post(format!("http://{host}{TOKEN}")).header("Metadata-Flavor", "Google").send();
        assert_eq!(post.unwrap().status(), 405);
    }

    #[test]
    fn unknown_accounts_and_machines_without_one_have_no_token() {
        let google = Google::start();
        let base = "/computeMetadata/v1/instance/service-accounts";
        for path in
            [format!("{base}/x@y/token"), format!("{base}/default/nothing"), "/computeMetadata/v2".to_owned()]
        {
            assert_eq!(text(&google, &path).0, 404, "{path}");
        }
        google.emulator.change_settings(|settings| settings.metadata_service_account_attached = false);
        assert_eq!(text(&google, TOKEN).0, 404);
        assert_eq!(text(&google, &format!("{base}/default/?recursive=true")).0, 404);
        assert_eq!(text(&google, "/computeMetadata/v1/project/project-id").0, 200);
        google.emulator.change_settings(|settings| settings.universe_domain = "example.goog".to_owned());
        let universe = text(&google, "/computeMetadata/v1/universe/universe-domain");
        assert_eq!(universe, (200, "example.goog".to_owned()));
    }

    #[test]
    fn the_same_token_comes_until_five_minutes_before_its_end() {
        let google = Google::start();
        let (first, lasting) = token(&google, TOKEN);
        assert!((3_598..=3_599).contains(&lasting), "{lasting}");
        google.emulator.set_clock_offset(3_200);
        let (same, lasting) = token(&google, TOKEN);
        assert_eq!(same, first);
        assert!((390..=399).contains(&lasting), "{lasting}");
        google.emulator.set_clock_offset(3_310);
        let (second, lasting) = token(&google, TOKEN);
        assert_ne!(second, first);
        assert!(lasting > 3_590);

        // Serverless: four minutes.
        google.emulator.change_settings(|settings| settings.metadata_cache_margin_seconds = 240);
        google.emulator.set_clock_offset(3_310 + 3_320);
        assert_eq!(token(&google, TOKEN).0, second);
        // A life shorter than the margin: a new one each time.
        google.emulator.set_clock_offset(20_000);
        google.emulator.set_token_lifetime(Duration::from_secs(30));
        assert_ne!(token(&google, TOKEN).0, token(&google, TOKEN).0);
        // One that was revoked is not given out again.
        google.emulator.set_token_lifetime(Duration::from_secs(3_599));
        let (before, _) = token(&google, TOKEN);
        google.emulator.revoke_tokens();
        assert_ne!(token(&google, TOKEN).0, before);
    }

    #[test]
    fn scopes_are_the_machines_narrowed_to_those_asked_for() {
        let google = Google::start();
        let opens = |token: &str| {
            let url = format!("{}/studies", google.emulator.dicom_web_url());
            google.client.get(url).bearer_auth(token).send().unwrap().status().as_u16()
        };
        let asking = |scopes: &str| token(&google, &format!("{TOKEN}?scopes={scopes}")).0;
        assert_eq!(opens(&asking(CLOUD_HEALTHCARE)), 204);
        assert_eq!(asking(CLOUD_PLATFORM), token(&google, TOKEN).0, "one token for the same scopes");
        assert_eq!(asking(&format!("openid,{CLOUD_HEALTHCARE}")), asking(CLOUD_HEALTHCARE));
        google.emulator.change_settings(|settings| {
            settings.metadata_scopes =
                vec!["https://www.googleapis.com/auth/devstorage.read_only".to_owned()];
        });
        assert_eq!(opens(&asking(CLOUD_HEALTHCARE)), 403);
        assert_eq!(opens(&token(&google, TOKEN).0), 403);
    }

    #[test]
    fn faults_aim_at_the_metadata_server_alone() {
        let google = Google::start();
        google.emulator.faults().add(Fault::answer(Route::Metadata, 503, "").times(2));
        assert_eq!(google.search().unwrap().status(), 204);
        let statuses = [(); 3].map(|()| get(&google, TOKEN).status().as_u16());
        assert_eq!(statuses, [503, 503, 200]);
    }
}
