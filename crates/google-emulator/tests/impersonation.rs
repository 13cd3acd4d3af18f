//! IAM Service Account Credentials at their HTTP boundary, and what the Healthcare API makes of whose token it is.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use super::support::{Google, error, now};
    use google_emulator::{CLOUD_HEALTHCARE, CLOUD_PLATFORM, Route, SourceCredentials};
    use serde_json::{Value, json};
    use std::time::Duration;

    const DENIED: &str =
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";

    fn generate_at(google: &Google, path: &str, token: &str, body: &str) -> (u16, Value) {
        let response = google
            .client
            .post(format!("{}{path}", google.emulator.https_url()))
            .bearer_auth(token)
            .header("Content-Type", "application/json")
            .body(body.to_owned())
            .send()
            .unwrap();
        (response.status().as_u16(), response.json().unwrap())
    }

    fn generate(google: &Google, token: &str, body: &Value) -> (u16, Value) {
        let target = google.emulator.impersonation_target();
        generate_at(
            google,
            &format!("/v1/projects/-/serviceAccounts/{target}:generateAccessToken"),
            token,
            &body.to_string(),
        )
    }

    fn users_token(google: &Google) -> String {
        let user = google.emulator.authorized_user();
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &user.client_id),
            ("client_secret", &user.client_secret),
            ("refresh_token", &user.refresh_token),
        ];
        google.ask(&form).1["access_token"].as_str().unwrap().to_owned()
    }

    fn search(google: &Google, token: &str, quota_project: Option<&str>) -> (u16, Value) {
        let request =
            google.client.get(format!("{}/studies", google.emulator.dicom_web_url())).bearer_auth(token);
        let request = quota_project
            .into_iter()
            .fold(request, |request, project| request.header("X-Goog-User-Project", project));
        let response = request.send().unwrap();
        (response.status().as_u16(), response.json().unwrap_or_default())
    }

    #[test]
    fn a_chain_that_is_granted_gives_a_token_of_the_target() {
        let google = Google::start();
        let delegate = format!("projects/-/serviceAccounts/{}", google.emulator.impersonation_delegate());
        for body in [
            json!({ "delegates": null, "scope": [CLOUD_PLATFORM], "lifetime": "3600s" }),
            json!({ "delegates": [], "scope": [CLOUD_PLATFORM], "lifetime": "3600s" }),
            json!({ "delegates": [delegate], "scope": [CLOUD_HEALTHCARE, "openid"], "lifetime": "3600s" }),
            json!({ "scope": [CLOUD_PLATFORM] }),
        ] {
            let (status, answer) = generate(&google, &google.token(), &body);
            assert_eq!(status, 200, "{body} {answer}");
            let token = answer["accessToken"].as_str().unwrap();
            let ends = answer["expireTime"].as_str().unwrap();
            assert!(ends.len() == 20 && ends.ends_with('Z'), "{ends}");
            assert_eq!(answer.as_object().unwrap().len(), 2);
            assert_eq!(search(&google, token, None).0, 204);
            assert!(google.emulator.secrets().contains(&token.to_owned()));
        }
        let seen = google.emulator.requests();
        assert_eq!((seen[0].route, seen[0].status), (Route::Iam, Some(200)));
        assert_eq!(seen[0].fields["delegates"], "null");
        assert_eq!(seen[0].fields["lifetime"], "3600s");
        assert_eq!(seen[0].fields["scope"], format!("[\"{CLOUD_PLATFORM}\"]"));
        // The @ may be encoded.
        let target = google.emulator.impersonation_target().replace('@', "%40");
        let path = format!("/v1/projects/-/serviceAccounts/{target}:generateAccessToken");
        let body = json!({ "scope": [CLOUD_PLATFORM] }).to_string();
        assert_eq!(generate_at(&google, &path, &google.token(), &body).0, 200);
    }

    #[test]
    fn each_wrong_request_is_refused() {
        let google = Google::start();
        let token = google.token();
        for body in [
            json!({}),
            json!({ "scope": [] }),
            json!({ "scope": CLOUD_PLATFORM }),
            json!({ "scope": [format!("{CLOUD_PLATFORM} {CLOUD_HEALTHCARE}")] }),
            json!({ "scope": ["https://example.com/scope"] }),
            json!({ "scope": [CLOUD_PLATFORM], "lifetime": 3_600 }),
            json!({ "scope": [CLOUD_PLATFORM], "lifetime": "3600" }),
            json!({ "scope": [CLOUD_PLATFORM], "lifetime": "3601s" }),
            json!({ "scope": [CLOUD_PLATFORM], "lifetime": "0s" }),
            json!({ "scope": [CLOUD_PLATFORM], "lifetime": "-1s" }),
            json!({ "scope": [CLOUD_PLATFORM], "lifetime": "s" }),
            json!({ "scope": [CLOUD_PLATFORM], "delegates": "" }),
            json!({ "scope": [CLOUD_PLATFORM], "delegates": [google.emulator.impersonation_delegate()] }),
            json!({ "scope": [CLOUD_PLATFORM], "delegates": ["projects/demo/serviceAccounts/a@b"] }),
            json!({ "scopes": [CLOUD_PLATFORM], "scope": [CLOUD_PLATFORM] }),
        ] {
            let (status, answer) = generate(&google, &token, &body);
            assert_eq!(
                (status, &answer["error"]["status"]),
                (400, &json!("INVALID_ARGUMENT")),
                "{body} {answer}"
            );
        }
        let good = json!({ "scope": [CLOUD_PLATFORM] }).to_string();
        let target = google.emulator.impersonation_target();
        for (path, body, expected) in [
            (format!("/v1/projects/demo/serviceAccounts/{target}:generateAccessToken"), good.as_str(), 400),
            (format!("/v1/projects/-/serviceAccounts/{target}:generateAccessToken"), "[", 400),
            (format!("/v1/projects/-/serviceAccounts/{target}:generateIdToken"), &good, 404),
            (format!("/v1/projects/-/serviceAccounts/{target}"), &good, 404),
        ] {
            assert_eq!(generate_at(&google, &path, &token, body).0, expected, "{path}");
        }
        assert!(google.emulator.requests().iter().all(|seen| seen.route == Route::Iam));

        for (token, status, reason) in [
            ("ya29.nonsense".to_owned(), 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
            (
                google.emulator.mint_token(CLOUD_PLATFORM, Duration::ZERO).unwrap(),
                401,
                "ACCESS_TOKEN_EXPIRED",
            ),
            (
                google.emulator.mint_token(CLOUD_HEALTHCARE, Duration::from_secs(60)).unwrap(),
                403,
                "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            ),
        ] {
            let (seen, answer) = generate(&google, &token, &json!({ "scope": [CLOUD_PLATFORM] }));
            let detail = &answer["error"]["details"][0];
            assert_eq!((seen, &detail["reason"]), (status, &json!(reason)));
            assert_eq!(detail["metadata"]["service"], "iamcredentials.googleapis.com");
        }
        let iam = "https://www.googleapis.com/auth/iam";
        let token = google.emulator.mint_token(iam, Duration::from_secs(60)).unwrap();
        assert_eq!(
            generate(&google, &token, &json!({ "scope": [CLOUD_PLATFORM] })).0,
            200,
            "the narrower scope does"
        );
    }

    #[test]
    fn every_link_of_the_chain_must_be_granted() {
        let google = Google::start();
        let emulator = &google.emulator;
        let [account, delegate, target] =
            [emulator.service_account(), emulator.impersonation_delegate(), emulator.impersonation_target()];
        let direct = json!({ "scope": [CLOUD_PLATFORM] });
        let by_way = |email: &str| json!({ "scope": [CLOUD_PLATFORM], "delegates": [format!("projects/-/serviceAccounts/{email}")] });
        let status = |body: &Value| generate(&google, &google.token(), body).0;
        assert_eq!(status(&by_way("nobody@x")), 403);
        emulator.deny_impersonation(&account, &target);
        let (denied, answer) = generate(&google, &google.token(), &direct);
        assert_eq!((denied, &answer["error"]["message"]), (403, &json!(DENIED)));
        assert_eq!(answer["error"]["status"], "PERMISSION_DENIED");
        assert_eq!(
            answer["error"]["details"][0]["metadata"]["permission"],
            "iam.serviceAccounts.getAccessToken"
        );
        assert_eq!(status(&by_way(&delegate)), 200);
        emulator.deny_impersonation(&delegate, &target);
        assert_eq!(status(&by_way(&delegate)), 403);
        emulator.allow_impersonation(&account, &target);
        assert_eq!((status(&direct), status(&by_way(&delegate))), (200, 403));
        // The user was not meant.
        assert_eq!(generate(&google, &users_token(&google), &direct).0, 200);
        emulator.deny_impersonation(emulator.user(), &target);
        assert_eq!(generate(&google, &users_token(&google), &direct).0, 403);
    }

    #[test]
    fn lives_are_those_asked_for_within_what_is_allowed() {
        let google = Google::start();
        let ask = |lifetime: &str| {
            generate(&google, &google.token(), &json!({ "scope": [CLOUD_PLATFORM], "lifetime": lifetime }))
        };
        google.emulator.set_clock_offset(-now());
        let ends = ask("3600s").1["expireTime"].as_str().unwrap().to_owned();
        assert!(ends.starts_with("1970-01-01T01:0"), "{ends}");
        google.emulator.set_clock_offset(0);
        assert_eq!(ask("43200s").0, 400);
        let target = google.emulator.impersonation_target();
        google.emulator.change_settings(|settings| settings.extended_lifetime_accounts = vec![target]);
        assert_eq!((ask("43200s").0, ask("43201s").0), (200, 400));
        google.emulator.set_token_lifetime(Duration::from_secs(30));
        let token = ask("3600s").1["accessToken"].as_str().unwrap().to_owned();
        google.emulator.set_clock_offset(40);
        assert_eq!(search(&google, &token, None).0, 401);
    }

    #[test]
    fn an_api_that_is_not_enabled_says_where_to_enable_it() {
        let google = Google::start();
        let check = |answer: &Value, api: &str| {
            assert_eq!(answer["error"]["details"][0]["reason"], "SERVICE_DISABLED");
            let link = &answer["error"]["details"][0]["metadata"]["activationUrl"];
            let expected =
                format!("https://console.developers.google.com/apis/api/{api}/overview?project=123456789012");
            assert_eq!(*link, expected);
            assert!(answer["error"]["message"].as_str().unwrap().contains(&expected));
        };
        let disable = |api: &str| {
            google.emulator.change_settings(|settings| settings.disabled_apis = vec![api.to_owned()]);
        };
        disable("iamcredentials.googleapis.com");
        let (status, answer) = generate(&google, &google.token(), &json!({ "scope": [CLOUD_PLATFORM] }));
        assert_eq!(status, 403);
        check(&answer, "iamcredentials.googleapis.com");
        assert_eq!(search(&google, &google.token(), None).0, 204);
        disable("healthcare.googleapis.com");
        let (status, answer) = search(&google, &google.token(), None);
        assert_eq!(status, 403);
        check(&answer[0], "healthcare.googleapis.com");
    }

    #[test]
    fn a_principal_without_a_role_is_denied_whoever_else_is_not() {
        let google = Google::start();
        let (_, answer) = generate(&google, &google.token(), &json!({ "scope": [CLOUD_PLATFORM] }));
        let targets = answer["accessToken"].as_str().unwrap();
        let user = users_token(&google);
        let machine = format!(
            "http://{}/computeMetadata/v1/instance/service-accounts/default/token",
            google.emulator.metadata_host()
        );
        let machine: Value =
            google.client.get(machine).header("Metadata-Flavor", "Google").send().unwrap().json().unwrap();
        let machine = machine["access_token"].as_str().unwrap();
        let emulator = &google.emulator;
        for (principal, statuses) in [
            (emulator.service_account(), [403, 204, 204, 204]),
            (emulator.impersonation_target(), [204, 403, 204, 204]),
            (emulator.user().to_owned(), [204, 204, 403, 204]),
            (emulator.metadata_service_account(), [204, 204, 204, 403]),
        ] {
            emulator.change_settings(|settings| settings.denied_principals = vec![principal.clone()]);
            let seen = [&google.token(), targets, &user, machine].map(|token| search(&google, token, None).0);
            assert_eq!(seen, statuses, "{principal}");
        }
        emulator.change_settings(|settings| settings.denied_principals = vec![emulator.service_account()]);
        let (_, answer) = search(&google, &google.token(), None);
        let expected = format!(
            "Permission healthcare.dicomStores.dicomWebRead denied on resource '{}' (or it may not exist).",
            emulator.store()
        );
        assert_eq!(error(&answer)["message"], expected);
    }

    #[test]
    fn users_must_name_the_quota_project_where_one_is_required() {
        let google = Google::start();
        let user = users_token(&google);
        assert_eq!(search(&google, &user, None).0, 204);
        google.emulator.change_settings(|settings| settings.required_quota_project = Some("demo".to_owned()));
        let (status, answer) = search(&google, &user, None);
        assert_eq!(status, 403);
        let message = error(&answer)["message"].as_str().unwrap();
        assert!(
            message.starts_with(
                "Cloud Healthcare API has not been used in project 32555940559 before or it is disabled."
            ),
            "{message}"
        );
        assert_eq!(search(&google, &user, Some("demo")).0, 204);
        let (status, answer) = search(&google, &user, Some("other"));
        assert_eq!((status, &error(&answer)["details"][0]["reason"]), (403, &json!("USER_PROJECT_DENIED")));
        assert_eq!(search(&google, &google.token(), None).0, 204, "service accounts have a project");
    }

    #[test]
    fn files_have_the_members_that_googles_tools_write() {
        let google = Google::start();
        let file = google
            .emulator
            .impersonated_service_account(SourceCredentials::AuthorizedUser)
            .delegates(&["a@b"]);
        let content = file.json();
        assert_eq!(content["type"], "impersonated_service_account");
        assert_eq!(content["delegates"], json!(["projects/-/serviceAccounts/a@b"]));
        assert_eq!(content["source_credentials"]["type"], "authorized_user");
        let url = content["service_account_impersonation_url"].as_str().unwrap();
        assert!(url.ends_with(&format!("{}:generateAccessToken", google.emulator.impersonation_target())));
        let source =
            google.emulator.impersonated_service_account(SourceCredentials::ExternalAccountAuthorizedUser);
        assert_eq!(source.json()["source_credentials"]["type"], "external_account_authorized_user");
        let distributed = google.emulator.gdch_service_account().json();
        assert_eq!(
            (&distributed["type"], &distributed["format_version"]),
            (&json!("gdch_service_account"), &json!("1"))
        );
        let secrets = google.emulator.secrets();
        let key = distributed["private_key"].as_str().unwrap();
        assert!(
            key.lines().filter(|line| !line.starts_with('-')).all(|line| secrets.contains(&line.to_owned()))
        );
        assert_eq!(source.set("universe_domain", Value::Null).json().get("universe_domain"), None);
    }
}
