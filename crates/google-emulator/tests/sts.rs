//! The security token service at its HTTP boundary: token exchange and workforce sessions.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use super::support::Google;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use google_emulator::{CLOUD_HEALTHCARE, CLOUD_PLATFORM, CredentialFile, Route, SubjectSource};
    use serde_json::{Value, json};
    use std::time::Duration;

    const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
    const HOUR: Duration = Duration::from_secs(3_600);

    type Form = Vec<(&'static str, String)>;

    fn account(google: &Google, source: &SubjectSource) -> Value {
        google.emulator.external_account(source).json()
    }

    /// The form of an exchange that is granted.
    fn form(google: &Google) -> Form {
        let file = account(google, &SubjectSource::TextFile("unused".into()));
        vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("audience", file["audience"].as_str().unwrap().to_owned()),
            ("scope", CLOUD_PLATFORM.to_owned()),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
            ("subject_token", google.emulator.subject_token(HOUR).unwrap()),
            ("subject_token_type", JWT.to_owned()),
        ]
    }

    /// The form with some members replaced, added, or removed where empty.
    fn with(google: &Google, changes: &[(&'static str, &str)]) -> Form {
        let mut form = form(google);
        for (name, value) in changes {
            form.retain(|(known, _)| known != name);
            if !value.is_empty() {
                form.push((name, (*value).to_owned()));
            }
        }
        form
    }

    fn post(google: &Google, path: &str, form: &Form, authorization: Option<&str>) -> (u16, Value) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = google
            .client
            .post(format!("{}{path}", google.emulator.https_url()))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body);
        let request =
            authorization.into_iter().fold(request, |request, value| request.header("Authorization", value));
        let response = request.send().unwrap();
        (response.status().as_u16(), response.json().unwrap())
    }

    fn exchange(google: &Google, form: &Form) -> (u16, Value) {
        post(google, "/v1/token", form, None)
    }

    fn basic(id: &str, secret: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
    }

    fn refused(status: u16, error: &str) -> (u16, Value) {
        (status, json!(error))
    }

    #[test]
    fn a_good_subject_token_is_exchanged() {
        let google = Google::start();
        for kind in [JWT, "urn:ietf:params:oauth:token-type:id_token"] {
            let (status, answer) = exchange(&google, &with(&google, &[("subject_token_type", kind)]));
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["token_type"], "Bearer");
            assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
            assert_eq!(answer["expires_in"], 3_599);
            assert_eq!(answer.as_object().unwrap().len(), 4);
            let token = answer["access_token"].as_str().unwrap();
            let url = format!("{}/studies", google.emulator.dicom_web_url());
            assert_eq!(google.client.get(url).bearer_auth(token).send().unwrap().status(), 204);
            assert!(google.emulator.secrets().contains(&token.to_owned()));
        }
        let seen = google.emulator.requests();
        assert_eq!((seen[0].route, seen[0].status), (Route::Sts, Some(200)));
        assert_eq!(seen[0].fields["scope"], CLOUD_PLATFORM);
        assert!(google.emulator.secrets().contains(&seen[0].fields["subject_token"]));

        google.emulator.set_token_lifetime(Duration::from_secs(30));
        google.emulator.change_settings(|settings| settings.expires_in_as_string = true);
        let two = format!("{CLOUD_HEALTHCARE} openid");
        assert_eq!(exchange(&google, &with(&google, &[("scope", &two)])).1["expires_in"], "30");
    }

    #[test]
    fn what_is_no_secret_is_not_taken_for_one() {
        let google = Google::start();
        for subject_token in ["a", "wrong"] {
            assert_eq!(exchange(&google, &with(&google, &[("subject_token", subject_token)])).0, 400);
        }
        let empty = vec![("subject_token", String::new()), ("refresh_token", String::new())];
        for path in ["/v1/token", "/v1/oauthtoken"] {
            assert!(post(&google, path, &empty, Some("Basic x")).0 >= 400);
        }
        assert!(google.emulator.secrets().iter().all(|secret| secret.len() >= 12));
    }

    #[test]
    fn each_wrong_parameter_is_refused() {
        let google = Google::start();
        let saml = google.emulator.saml_assertion(HOUR).unwrap();
        let expired = google.emulator.subject_token(Duration::ZERO).unwrap();
        let other_pool = google.emulator.workforce_subject_token(HOUR).unwrap();
        let good = google.emulator.subject_token(HOUR).unwrap();
        let others = Google::start().emulator.subject_token(HOUR).unwrap();
        // The claims of one token under the signature of another.
        let second = google.emulator.subject_token(HOUR).unwrap();
        let (signed, (_, signature)) = (good.rsplit_once('.').unwrap().0, second.rsplit_once('.').unwrap());
        let tampered = format!("{signed}.{signature}");
        let saml_type = "urn:ietf:params:oauth:token-type:saml2";
        let aws_type = "urn:ietf:params:aws:token-type:aws4_request";
        let audience = account(&google, &SubjectSource::TextUrl)["audience"].as_str().unwrap().to_owned();
        for (changes, error) in [
            (vec![("grant_type", "")], "invalid_request"),
            (vec![("grant_type", "refresh_token")], "unsupported_grant_type"),
            (vec![("requested_token_type", "")], "invalid_request"),
            (
                vec![("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")],
                "invalid_request",
            ),
            (vec![("audience", "")], "invalid_request"),
            (vec![("audience", "//iam.googleapis.com/projects/1")], "invalid_target"),
            (vec![("audience", audience.trim_start_matches('/'))], "invalid_target"),
            (vec![("scope", "")], "invalid_request"),
            (vec![("scope", "https://example.com/scope")], "invalid_scope"),
            (vec![("scope", &format!("{CLOUD_PLATFORM},{CLOUD_HEALTHCARE}"))], "invalid_scope"),
            (vec![("subject_token", "")], "invalid_request"),
            (vec![("subject_token", "a.b.c")], "invalid_grant"),
            (vec![("subject_token", &tampered)], "invalid_grant"),
            (vec![("subject_token", &others)], "invalid_grant"),
            (vec![("subject_token", &expired)], "invalid_grant"),
            (vec![("subject_token", &other_pool)], "invalid_grant"),
            (vec![("subject_token", &format!("{good}\n"))], "invalid_grant"),
            (vec![("subject_token_type", "")], "invalid_request"),
            (vec![("subject_token_type", "urn:ietf:params:oauth:token-type:id-token")], "invalid_request"),
            (vec![("subject_token_type", saml_type), ("subject_token", &saml)], "invalid_request"),
            (vec![("subject_token_type", aws_type)], "invalid_request"),
            (vec![("options", "{\"userProject\":\"demo\"}")], "invalid_request"),
        ] {
            let (status, answer) = exchange(&google, &with(&google, &changes));
            assert_eq!((status, answer["error"].clone()), refused(400, error), "{changes:?} {answer}");
            assert!(!answer["error_description"].as_str().unwrap().is_empty());
        }
        let (_, answer) = exchange(&google, &with(&google, &[("subject_token", &expired)]));
        assert!(answer["error_description"].as_str().unwrap().ends_with("is stale to sign-in."), "{answer}");

        let mut twice = form(&google);
        twice.push(("scope", CLOUD_PLATFORM.to_owned()));
        assert_eq!(exchange(&google, &twice).1["error"], "invalid_request");
        let url = format!("{}/v1/token", google.emulator.https_url());
        assert_eq!(google.client.get(&url).send().unwrap().status(), 405);
        assert_eq!(google.client.post(&url).json(&json!({})).send().unwrap().status(), 400);
    }

    #[test]
    fn saml_responses_are_recognised_while_they_are_good() {
        let google = Google::start();
        let audience = account(&google, &SubjectSource::SamlFile("unused".into()))["audience"]
            .as_str()
            .unwrap()
            .to_owned();
        let ask = |assertion: &str| {
            let changes = [
                ("audience", audience.as_str()),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"),
                ("subject_token", assertion),
            ];
            exchange(&google, &with(&google, &changes))
        };
        let assertion = google.emulator.saml_assertion(HOUR).unwrap();
        assert!(STANDARD.decode(&assertion).unwrap().starts_with(b"<samlp:Response"));
        assert_eq!(ask(&assertion).0, 200);
        assert_eq!(ask(&STANDARD.encode("<samlp:Response/>")).1["error"], "invalid_grant");
        google.emulator.set_clock_offset(3_700);
        assert_eq!(ask(&assertion).1["error"], "invalid_grant");
    }

    #[test]
    fn workforce_pools_want_a_project_or_a_client() {
        let google = Google::start();
        let file = account(&google, &SubjectSource::WorkforceFile("unused".into()));
        assert_eq!(file["workforce_pool_user_project"], "demo");
        let session = google.emulator.workforce_session();
        let right = basic(&session.client_id, &session.client_secret);
        let token = google.emulator.workforce_subject_token(HOUR).unwrap();
        let ask = |options: &str, authorization: Option<&str>| {
            let changes = [
                ("audience", file["audience"].as_str().unwrap()),
                ("subject_token", &token),
                ("options", options),
            ];
            let (status, answer) = post(&google, "/v1/token", &with(&google, &changes), authorization);
            (status, answer["error"].clone())
        };
        let granted = (200, Value::Null);
        assert_eq!(ask("{\"userProject\":\"demo\"}", None), granted);
        assert_eq!(ask("%7B%22userProject%22%3A%20%22demo%22%7D", None), granted, "as google-auth sends it");
        assert_eq!(ask("", Some(&right)), granted);
        assert_eq!(ask("", None), refused(400, "invalid_request"));
        assert_eq!(ask("{\"user_project\":\"demo\"}", None), refused(400, "invalid_request"));
        assert_eq!(ask("userProject=demo", None), refused(400, "invalid_request"));
        assert_eq!(ask("{\"userProject\":\"other\"}", None), refused(403, "unauthorized_client"));
        assert_eq!(ask("", Some(&basic(&session.client_id, "wrong"))), refused(401, "invalid_client"));
        assert_eq!(ask("", Some("Bearer x")), refused(401, "invalid_client"));
    }

    #[test]
    fn workforce_sessions_are_refreshed_and_rotated() {
        let google = Google::start();
        let session = google.emulator.workforce_session();
        let right = basic(&session.client_id, &session.client_secret);
        let ask = |grant: &str, token: &str, authorization: Option<&str>| {
            let form = vec![("grant_type", grant.to_owned()), ("refresh_token", token.to_owned())];
            post(&google, "/v1/oauthtoken", &form, authorization)
        };
        let error = |(status, answer): (u16, Value)| (status, answer["error"].clone());
        let (status, answer) = ask("refresh_token", &session.refresh_token, Some(&right));
        assert_eq!((status, answer["token_type"].clone()), (200, json!("Bearer")));
        assert!(answer.get("refresh_token").is_none());
        assert_eq!(google.emulator.requests()[0].route, Route::Sts);
        assert!(google.emulator.secrets().iter().any(|secret| right.ends_with(secret.as_str())));

        assert_eq!(error(ask("refresh_token", &session.refresh_token, None)), refused(401, "invalid_client"));
        let wrong = basic("nobody", &session.client_secret);
        assert_eq!(
            error(ask("refresh_token", &session.refresh_token, Some(&wrong))),
            refused(401, "invalid_client")
        );
        assert_eq!(error(ask("refresh_token", "wrong", Some(&right))), refused(400, "invalid_grant"));
        assert_eq!(error(ask("refresh_token", "", Some(&right))), refused(400, "invalid_request"));
        assert_eq!(error(ask("password", "x", Some(&right))), refused(400, "unsupported_grant_type"));

        google.emulator.change_settings(|settings| settings.rotate_refresh_tokens = true);
        let (_, answer) = ask("refresh_token", &session.refresh_token, Some(&right));
        let new = answer["refresh_token"].as_str().unwrap();
        assert_eq!(google.emulator.workforce_session().refresh_token, new);
        assert!(google.emulator.secrets().contains(&new.to_owned()));
        assert_eq!(
            error(ask("refresh_token", &session.refresh_token, Some(&right))),
            refused(400, "invalid_grant")
        );
        let content = CredentialFile::json(&google.emulator.external_account_authorized_user());
        assert_eq!(content["refresh_token"], new);
        assert_eq!(ask("refresh_token", new, Some(&right)).0, 200);
    }
}
