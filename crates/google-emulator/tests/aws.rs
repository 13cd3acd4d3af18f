//! AWS as a source of subject tokens: the instance metadata service, and signed `GetCallerIdentity` requests.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use super::support::{
        Google, now,
        signing::{Signing, audience, stamp},
    };
    use google_emulator::{AwsCredentials, CLOUD_PLATFORM, Route, SubjectSource};
    use reqwest::blocking::RequestBuilder;
    use serde_json::{Value, json};

    const ROLES: &str = "/latest/meta-data/iam/security-credentials";

    fn imds(google: &Google, method: &str, path: &str) -> RequestBuilder {
        google.client.request(method.parse().unwrap(), format!("{}{path}", google.emulator.http_url()))
    }

    fn status(request: RequestBuilder) -> u16 {
        request.send().unwrap().status().as_u16()
    }

    fn session(google: &Google, seconds: &str) -> String {
        let request =
            imds(google, "PUT", "/latest/api/token").header("X-aws-ec2-metadata-token-ttl-seconds", seconds);
        request.send().unwrap().error_for_status().unwrap().text().unwrap()
    }

    fn percent_encoded(text: &str) -> String {
        form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
    }

    fn exchange(google: &Google, subject_token: &str) -> (u16, Value) {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("audience", &audience(google)),
                ("scope", CLOUD_PLATFORM),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token", subject_token),
                ("subject_token_type", "urn:ietf:params:aws:token-type:aws4_request"),
            ])
            .finish();
        let request = google.client.post(format!("{}/v1/token", google.emulator.https_url())).body(body);
        let response = request.header("Content-Type", "application/x-www-form-urlencoded").send().unwrap();
        (response.status().as_u16(), response.json().unwrap())
    }

    #[test]
    fn sessions_come_first_in_version_2() {
        let google = Google::start();
        let token = session(&google, "300");
        let get = |path: &str| {
            imds(&google, "GET", path).header("X-aws-ec2-metadata-token", &token).send().unwrap()
        };
        let zone = get("/latest/meta-data/placement/availability-zone").text().unwrap();
        assert_eq!(zone, format!("{}a", google.emulator.aws_region()));
        let role = get(ROLES).text().unwrap();
        let credentials: Value = get(&format!("{ROLES}/{role}")).json().unwrap();
        let known = google.emulator.aws_role_credentials();
        assert_eq!(credentials["Code"], "Success");
        assert_eq!(credentials["AccessKeyId"], known.access_key_id);
        assert_eq!(credentials["SecretAccessKey"], known.secret_access_key);
        assert_eq!(credentials["Token"], known.session_token.clone().unwrap());
        let secrets = google.emulator.secrets();
        assert!(
            [&token, &known.secret_access_key, &known.session_token.unwrap()]
                .iter()
                .all(|secret| secrets.contains(secret))
        );
        assert!(
            google
                .emulator
                .requests()
                .iter()
                .all(|seen| seen.route == Route::Imds && seen.status == Some(200))
        );

        assert_eq!(get(&format!("{ROLES}/nobody")).status(), 404);
        assert_eq!(status(imds(&google, "GET", ROLES)), 401, "version 1");
        assert_eq!(status(imds(&google, "GET", ROLES).header("X-aws-ec2-metadata-token", "wrong")), 401);
        google.emulator.set_clock_offset(301);
        assert_eq!(get(ROLES).status(), 401, "the session is over");
        google.emulator.change_settings(|settings| settings.imds_v2_required = false);
        assert_eq!(status(imds(&google, "GET", ROLES)), 200, "version 1 where it is allowed");
    }

    #[test]
    fn sessions_are_opened_by_put_with_a_time_to_live() {
        let google = Google::start();
        let put = || imds(&google, "PUT", "/latest/api/token");
        let ttl = "X-aws-ec2-metadata-token-ttl-seconds";
        assert_eq!(status(put()), 400);
        for (seconds, expected) in [("0", 400), ("21601", 400), ("x", 400), ("1", 200), ("21600", 200)] {
            assert_eq!(status(put().header(ttl, seconds)), expected, "{seconds}");
        }
        assert_eq!(status(put().header(ttl, "300").header("X-Forwarded-For", "10.0.0.1")), 403);
        assert_eq!(status(imds(&google, "GET", "/latest/api/token").header(ttl, "300")), 405);
    }

    #[test]
    fn the_subject_tokens_url_asks_for_its_header() {
        let google = Google::start();
        for (source, is_json) in [(SubjectSource::TextUrl, false), (SubjectSource::JsonUrl, true)] {
            let source = google.emulator.external_account(&source).json()["credential_source"].clone();
            let (name, value) = source["headers"].as_object().unwrap().iter().next().unwrap();
            let get = || google.client.get(source["url"].as_str().unwrap());
            let text = get().header(name, value.as_str().unwrap()).send().unwrap().text().unwrap();
            let token = if is_json {
                let field = source["format"]["subject_token_field_name"].as_str().unwrap();
                serde_json::from_str::<Value>(&text).unwrap()[field].as_str().unwrap().to_owned()
            } else {
                text
            };
            assert_eq!(token.split('.').count(), 3);
            let secrets = google.emulator.secrets();
            assert!(secrets.contains(&token) && secrets.contains(&value.as_str().unwrap().to_owned()));
            assert_eq!(status(get()), 400);
            assert_eq!(status(get().header(name, "wrong")), 401);
        }
        assert!(google.emulator.requests().iter().all(|seen| seen.route == Route::Subject));
    }

    #[test]
    fn good_signatures_are_exchanged() {
        let google = Google::start();
        let (role, user) = (google.emulator.aws_role_credentials(), google.emulator.aws_user_credentials());
        let make = |credentials: &AwsCredentials| Signing::new(&google, credentials.clone());
        let slash = |mut signing: Signing| {
            signing.url = signing.url.replace(".com?", ".com/?");
            signing
        };
        let unsigned_target = |mut signing: Signing| {
            let target = signing.signed.remove("x-goog-cloud-target-resource").unwrap();
            // As google-auth does: with the name of the resource outside the signature, here with the scheme.
            signing.unsigned.push(("x-goog-cloud-target-resource", format!("https:{target}")));
            signing
        };
        for signing in [make(&role), make(&user), slash(make(&role)), unsigned_target(make(&user))] {
            let (status, answer) = exchange(&google, &percent_encoded(&signing.serialize()));
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// What can be wrong: its name, words of the refusal, and how it comes about.
    type Flaw = (&'static str, &'static str, fn(&mut Signing));

    fn flaws() -> Vec<Flaw> {
        vec![
            ("secret", "SignatureDoesNotMatch", |signing| signing.credentials.secret_access_key.push('x')),
            ("key id", "InvalidClientTokenId", |signing| signing.credentials.access_key_id.push('X')),
            ("no session", "InvalidClientTokenId", |signing| signing.credentials.session_token = None),
            ("unsigned session", "SignedHeader", |signing| {
                let token = signing.credentials.session_token.take().unwrap();
                signing.unsigned.push(("x-amz-security-token", token));
            }),
            ("old", "SignatureDoesNotMatch", |signing| signing.date = stamp(now() - 1_000)),
            ("early", "SignatureDoesNotMatch", |signing| signing.date = stamp(now() + 1_000)),
            ("redated", "does not match", |signing| {
                // Within the day to which the credential is scoped.
                let others = [now() - 60, now() + 60].map(stamp);
                let other = others.into_iter().find(|other| other.get(..8) == signing.date.get(..8)).unwrap();
                signing.unsigned.push(("x-amz-date", other));
            }),
            ("region", "Credential should be scoped", |signing| signing.region = "us-east-1".to_owned()),
            ("method", "not a POST", |signing| signing.method = "GET"),
            ("http", "not one of AWS", |signing| signing.url = signing.url.replace("https:", "http:")),
            ("host", "not a regional host", |signing| {
                signing.url = signing.url.replace("amazonaws", "example");
            }),
            ("action", "not GetCallerIdentity", |signing| signing.url = signing.url.replace("Get", "Set")),
            ("other host", "not a POST to the host's root", |signing| {
                signing.unsigned.push(("host", "sts.example.com".to_owned()));
            }),
            ("target", "is not the audience", |signing| {
                signing.unsigned.push(("x-goog-cloud-target-resource", "//iam.googleapis.com/x".to_owned()));
            }),
            ("no target", "x-goog-cloud-target-resource is missing", |signing| {
                signing.unsigned.push(("x-goog-cloud-target-resource", String::new()));
            }),
            ("no date", "x-amz-date is missing", |signing| {
                signing.unsigned.push(("x-amz-date", String::new()));
            }),
            ("no signature", "authorization is missing", |signing| {
                signing.unsigned.push(("Authorization", String::new()));
            }),
            ("another algorithm", "Authorization header is malformed", |signing| {
                signing.unsigned.push(("Authorization", "AWS4-ECDSA-P256-SHA256 x".to_owned()));
            }),
            ("unsigned x-amz header", "SignedHeader", |signing| {
                signing.unsigned.push(("x-amz-target", "x".to_owned()));
            }),
        ]
    }

    #[test]
    fn every_flaw_of_a_signed_request_is_seen() {
        let google = Google::start();
        let role = google.emulator.aws_role_credentials();
        for (name, words, flaw) in flaws() {
            let mut signing = Signing::new(&google, role.clone());
            flaw(&mut signing);
            let (status, answer) = exchange(&google, &percent_encoded(&signing.serialize()));
            assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")), "{name}");
            let said = answer["error_description"].as_str().unwrap();
            assert!(said.contains(words), "{name}: {said}");
        }
        let plain = Signing::new(&google, role.clone()).serialize();
        let (status, answer) = exchange(&google, &plain);
        assert_eq!(
            (status, &answer["error_description"]),
            (400, &json!("the subject token is not URL-encoded"))
        );
        let extended = plain.replacen('{', "{\"body\":\"x\",", 1);
        assert_eq!(exchange(&google, &percent_encoded(&extended)).0, 400);
        let twice = plain.replacen("\"headers\":[", "\"headers\":[{\"key\":\"Host\",\"value\":\"x\"},", 1);
        let (_, answer) = exchange(&google, &percent_encoded(&twice));
        assert!(answer["error_description"].as_str().unwrap().contains("twice"), "{answer}");
        assert!(google.emulator.requests().iter().all(|seen| seen.route == Route::Sts));
    }
}
