//! The token endpoint at its HTTP boundary: what it grants, and what it says against everything else.

#[cfg(test)]
mod support;

use google_emulator::{CLOUD_HEALTHCARE, CLOUD_PLATFORM, Emulator};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Google, now, sign};

const UNREASONABLE: &str = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check \
                            your iat and exp values in the JWT claim.";

#[test]
fn good_assertions_are_granted() {
    let google = Google::start();
    let http_url = format!("{}/token", google.emulator.http_url());
    let none = json!({});
    for (header, claims) in [
        (&none, json!({})),
        (&none, json!({ "aud": http_url })),
        (&none, json!({ "aud": "https://oauth2.googleapis.com/token" })),
        (&none, json!({ "aud": "https://accounts.google.com/o/oauth2/token" })),
        (&none, json!({ "aud": "https://www.googleapis.com/oauth2/v4/token" })),
        (&none, json!({ "scope": CLOUD_HEALTHCARE })),
        (&none, json!({ "scope": format!("{CLOUD_PLATFORM} {CLOUD_HEALTHCARE}") })),
        (&none, json!({ "iat": now() - 10, "exp": now() + 60 })),
        (&none, json!({ "sub": google.key()["client_email"] })),
        (&json!({ "kid": null }), json!({})),
        (&json!({ "typ": null }), json!({})),
    ] {
        let (status, answer) = google.ask_with_assertion(&google.assertion(header, &claims));
        assert_eq!(status, 200, "{header} {claims} {answer}");
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(answer["expires_in"], 3599);
        assert_eq!(answer.as_object().unwrap().len(), 3, "no scope, id_token or refresh_token");
        let token = answer["access_token"].as_str().unwrap();
        assert!(token.starts_with("ya29.c.") && (1_000..2_048).contains(&token.len()));
        assert_eq!(google.emulator.tokens_issued().last().unwrap(), token);
    }
}

#[test]
fn each_wrong_claim_is_refused_in_googles_words() {
    let google = Google::start();
    let (past, future) = (now() - 7_200, now() + 7_200);
    let none = json!({});
    for (header, claims, status, error, description) in [
        (json!({ "alg": "none" }), &none, 400, "invalid_grant", "Invalid JWT: alg must be RS256."),
        (json!({ "alg": "HS256" }), &none, 400, "invalid_grant", "Invalid JWT: alg must be RS256."),
        (json!({ "typ": "JWS" }), &none, 400, "invalid_grant", "Invalid JWT: typ must be JWT."),
        (json!({ "kid": "0123" }), &none, 400, "invalid_grant", "Invalid JWT Signature."),
        (none.clone(), &json!({ "iss": null }), 400, "invalid_grant", "Invalid JWT: iss field missing."),
        (none.clone(), &json!({ "iss": "x@y" }), 400, "invalid_grant", "Invalid grant: account not found"),
        (none.clone(), &json!({ "iat": past, "exp": past + 3_600 }), 400, "invalid_grant", UNREASONABLE),
        (none.clone(), &json!({ "iat": future, "exp": future + 3_600 }), 400, "invalid_grant", UNREASONABLE),
        (none.clone(), &json!({ "exp": now() + 3_700 }), 400, "invalid_grant", UNREASONABLE),
        (none.clone(), &json!({ "iat": null }), 400, "invalid_grant", UNREASONABLE),
        (none.clone(), &json!({ "exp": null }), 400, "invalid_grant", UNREASONABLE),
        (none.clone(), &json!({ "exp": "soon" }), 400, "invalid_grant", UNREASONABLE),
        (none.clone(), &json!({ "iat": now() - 5, "exp": now() - 15 }), 400, "invalid_grant", UNREASONABLE),
        (
            none.clone(),
            &json!({ "aud": "https://example.com/token" }),
            400,
            "invalid_grant",
            "Invalid JWT: Failed audience check. The right audience is https://oauth2.googleapis.com/token",
        ),
        (
            none.clone(),
            &json!({ "sub": "somebody@example.com" }),
            401,
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the \
             scopes requested.",
        ),
        (
            none.clone(),
            &json!({ "scope": null }),
            400,
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        ),
        (
            none.clone(),
            &json!({ "scope": " " }),
            400,
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        ),
        (
            none.clone(),
            &json!({ "scope": format!("{CLOUD_PLATFORM},{CLOUD_HEALTHCARE}") }),
            400,
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        ),
    ] {
        let answer = google.ask_with_assertion(&google.assertion(&header, claims));
        let expected = json!({ "error": error, "error_description": description });
        assert_eq!(answer, (status, expected), "{header} {claims}");
    }
    assert!(google.emulator.tokens_issued().is_empty());
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let (google, other) = (Google::start(), Google::start());
    let key = google.key();
    let claims = json!({
        "iss": key["client_email"], "scope": CLOUD_PLATFORM, "aud": key["token_uri"], "iat": now(), "exp": now() + 60,
    });
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key["private_key_id"] });
    let forged = sign(&header, &claims, other.key()["private_key"].as_str().unwrap());
    let refused = json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
    assert_eq!(google.ask_with_assertion(&forged), (400, refused.clone()));

    let pkcs1: Value = serde_json::from_str(&google.emulator.service_account_key_pkcs1_json()).unwrap();
    let pkcs1_pem = pkcs1["private_key"].as_str().unwrap();
    assert!(pkcs1_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    let genuine = sign(&header, &claims, pkcs1_pem);
    assert_eq!(google.ask_with_assertion(&genuine).0, 200);

    google.emulator.rotate_service_account_key().unwrap();
    assert_eq!(google.ask_with_assertion(&genuine), (400, refused));
    assert_eq!(google.ask_with_assertion(&google.assertion(&json!({}), &json!({}))).0, 200);
    assert!(
        google.emulator.secrets().iter().any(|secret| key["private_key"].as_str().unwrap().contains(secret))
    );
}

#[test]
fn refresh_tokens_are_granted_and_refused() {
    let google = Google::start();
    let user = google.emulator.authorized_user();
    let ask = |id: &str, secret: &str, token: &str, scope: &str| {
        google.ask(&[
            ("grant_type", "refresh_token"),
            ("client_id", id),
            ("client_secret", secret),
            ("refresh_token", token),
            ("scope", scope),
        ])
    };
    let (id, secret, token) = (&user.client_id, &user.client_secret, &user.refresh_token);
    let (status, answer) = ask(id, secret, token, "");
    assert_eq!(status, 200, "{answer}");
    assert!(answer["scope"].as_str().unwrap().ends_with("openid"));
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none());
    assert_eq!(ask(id, secret, token, CLOUD_HEALTHCARE).1["scope"], CLOUD_HEALTHCARE);

    let error = |error: &str, text: &str| json!({ "error": error, "error_description": text });
    assert_eq!(
        ask("x", secret, token, ""),
        (401, error("invalid_client", "The OAuth client was not found."))
    );
    assert_eq!(ask(id, "x", token, ""), (401, error("invalid_client", "Unauthorized")));
    assert_eq!(ask(id, secret, "x", ""), (400, error("invalid_grant", "Bad Request")));
    assert_eq!(
        ask(id, "", token, ""),
        (400, error("invalid_request", "Missing required parameter: client_secret"))
    );
    assert_eq!(ask(id, secret, token, "https://x").0, 400);
    google.emulator.revoke_refresh_token();
    assert_eq!(
        ask(id, secret, token, ""),
        (400, error("invalid_grant", "Token has been expired or revoked."))
    );
}

#[test]
fn bodies_may_be_json_and_nothing_else() {
    let google = Google::start();
    let user = google.emulator.authorized_user();
    let post = |kind: &str, body: String| {
        let request = google.client.post(google.emulator.token_url()).header("Content-Type", kind).body(body);
        let response = request.send().unwrap();
        (response.status().as_u16(), response.json::<Value>().unwrap()["error"].clone())
    };
    let good = json!({
        "grant_type": "refresh_token", "client_id": user.client_id, "client_secret": user.client_secret,
        "refresh_token": user.refresh_token,
    });
    assert_eq!(post("application/json", good.to_string()), (200, Value::Null));
    let seen = google.emulator.requests();
    assert_eq!(seen[0].fields["refresh_token"], user.refresh_token);
    assert_eq!((seen[0].status, seen[0].tls), (Some(200), true));

    for (kind, body, error) in [
        ("application/json", "{", "invalid_request"),
        ("text/plain", "grant_type=refresh_token", "invalid_request"),
        ("application/x-www-form-urlencoded", "", "invalid_request"),
        ("application/x-www-form-urlencoded", "grant_type=password", "unsupported_grant_type"),
        ("application/x-www-form-urlencoded", "grant_type=a&grant_type=b", "invalid_request"),
        (
            "application/x-www-form-urlencoded",
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c",
            "invalid_grant",
        ),
    ] {
        assert_eq!(post(kind, body.to_owned()), (400, json!(error)), "{kind} {body}");
    }
    assert_eq!(google.client.get(google.emulator.token_url()).send().unwrap().status(), 405);
}

#[test]
fn the_emulators_clock_decides() {
    let google = Google::start();
    let ask = || google.ask_with_assertion(&google.assertion(&json!({}), &json!({})));
    for (offset, status) in [(0, 200), (-3_700, 400), (3_700, 400), (-5, 200)] {
        google.emulator.set_clock_offset(offset);
        let (seen, answer) = ask();
        assert_eq!(seen, status, "{offset}");
        if status == 400 {
            assert_eq!(answer["error_description"], UNREASONABLE);
        }
    }
}

#[test]
fn switches_change_the_answer() {
    let emulator = Emulator::builder().token_lifetime(Duration::from_secs(7)).start().unwrap();
    let google = Google::from(emulator);
    let ask = || google.ask_with_assertion(&google.assertion(&json!({}), &json!({}))).1;
    assert_eq!(ask()["expires_in"], 7);
    google.emulator.set_token_lifetime(Duration::from_secs(30));
    google.emulator.change_settings(|settings| {
        settings.expires_in_as_string = true;
        settings.id_token = true;
    });
    let answer = ask();
    assert_eq!(answer["expires_in"], "30");
    assert_eq!(answer["id_token"].as_str().unwrap().split('.').count(), 3);
}
