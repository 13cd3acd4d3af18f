//! What a DICOM store's refusal means (Cloud Healthcare API; AIP-193 for the form).

use std::time::SystemTime;

use super::{Parties, Row, of_table};
use crate::{
    Failure,
    FailureKind::{NeedsPerson, Transient},
    Response,
};

/// The refusals of a DICOM store, the most particular first. `error` is Google's status or the reason of its
/// `ErrorInfo`; `{principal}` stands for whose token was sent.
#[rustfmt::skip]
pub const STORE_REFUSALS: &[Row] = &[
    Row { status: (401, 401), error: "CREDENTIALS_MISSING", words: "", kind: NeedsPerson,
        remedy: "there is no valid token now: the log says why. With `AccessToken: \"none\"` the address has to be an emulator's or a proxy's, not Google's" },
    Row { status: (401, 401), error: "", words: "", kind: Transient,
        remedy: "the token ended, or was revoked, since the request began: do it again. If it lasts, set this machine's clock (NTP)" },
    Row { status: (403, 403), error: "ACCESS_TOKEN_SCOPE_INSUFFICIENT", words: "", kind: NeedsPerson,
        remedy: "with Scopes: add https://www.googleapis.com/auth/cloud-healthcare, or leave it out. On Compute Engine: give the machine the access scope cloud-platform, while it is stopped. For a login: log in again with `gcloud auth application-default login`" },
    Row { status: (403, 403), error: "SERVICE_DISABLED", words: "", kind: NeedsPerson,
        remedy: "if it is your project: enable the Cloud Healthcare API at the address that Google names, or with `gcloud services enable healthcare.googleapis.com`, and wait some minutes. If it is 32555940559, which is gcloud's own: a login needs QuotaProject" },
    Row { status: (403, 403), error: "USER_PROJECT_DENIED", words: "", kind: NeedsPerson,
        remedy: "grant {principal} the role roles/serviceusage.serviceUsageConsumer in the quota project, or name another QuotaProject" },
    Row { status: (403, 403), error: "", words: "", kind: NeedsPerson,
        remedy: "compare Project, Location, Dataset and DicomStore with the store's full name in the console, and grant {principal} the role roles/healthcare.dicomEditor (`gcloud healthcare dicom-stores add-iam-policy-binding`), or roles/healthcare.dicomViewer to search and retrieve alone; it takes some minutes to come into force" },
    Row { status: (404, 404), error: "", words: "", kind: NeedsPerson,
        remedy: "there is no such store, study, series or instance: compare Project, Location, Dataset, DicomStore and BaseUrl with the console" },
    Row { status: (409, 409), error: "", words: "", kind: NeedsPerson,
        remedy: "a different instance is stored under the same UIDs; it stays as it is" },
    Row { status: (429, 429), error: "", words: "", kind: Transient,
        remedy: "the project's quota for this region is used up: send less at once, or ask for more in the console" },
    Row { status: (501, 501), error: "", words: "", kind: NeedsPerson,
        remedy: "this part of DICOMweb is not offered there: search, retrieve or store in another way, or set BaseUrl to the other version of the API (`…/v1/` or `…/v1beta1/`)" },
    Row { status: (500, 599), error: "", words: "", kind: Transient,
        remedy: "the trouble is on Google's side and usually short" },
    Row { status: (0, 999), error: "", words: "", kind: Transient,
        remedy: "this is no answer of the Healthcare API: check BaseUrl, and whether a proxy or captive portal answers in Google's place" },
];

/// What the DICOM store at `url` meant by refusing a request that was sent at `sent_at` with the token of `principal`.
pub fn of_store(url: &str, response: &Response, sent_at: SystemTime, principal: Option<&str>) -> Failure {
    of_table(STORE_REFUSALS.iter(), url, response, sent_at, Parties { principal, target: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_remedy() {
        let denied = r#"[{"error":{"code":403,"message":"Permission 'healthcare.dicomStores.dicomWebRead' denied on resource '//x' (or it may not exist).","status":"PERMISSION_DENIED"}}]"#;
        let scope = r#"{"error":{"code":403,"message":"Request had insufficient authentication scopes.","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}"#;
        let disabled = r#"{"error":{"code":403,"message":"Cloud Healthcare API has not been used in project 7 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/healthcare.googleapis.com/overview?project=7 then retry.","status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}"#;
        for (status, body, kind, said) in [
            (403, denied, NeedsPerson, "grant a@b.c the role roles/healthcare.dicomEditor"),
            (403, scope, NeedsPerson, "auth/cloud-healthcare"),
            (
                403,
                disabled,
                NeedsPerson,
                "https://console.developers.google.com/apis/api/healthcare.googleapis.com/overview?project=7",
            ),
            (501, "", NeedsPerson, "not offered"),
            (503, "", Transient, "Google's side"),
            (302, "", Transient, "check BaseUrl"),
        ] {
            let response = Response { status, body: body.as_bytes().to_vec(), ..Response::default() };
            let failure = of_store("https://h/x?y=z", &response, SystemTime::UNIX_EPOCH, Some("a@b.c"));
            assert_eq!(failure.kind, kind, "{failure}");
            assert!(failure.to_string().contains(said), "{failure}");
            assert!(failure.cause.starts_with("https://h/x answered"), "{failure}");
        }
    }
}
