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
    Row { status: (404, 404), error: "NOT_FOUND", words: "requested URL", kind: NeedsPerson,
        remedy: "there is no DICOMweb at this address: compare BaseUrl with Google's documentation, and Project, Location, Dataset and DicomStore with the console" },
    Row { status: (404, 404), error: "NOT_FOUND", words: "", kind: NeedsPerson,
        remedy: "the store has no such study, series or instance: check the UIDs, whether it was deleted, and whether it is in another store" },
    Row { status: (404, 404), error: "", words: "", kind: NeedsPerson,
        remedy: "there is no such store: compare Project, Location, Dataset, DicomStore and BaseUrl with the console" },
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
    // What lies in a store is not found below `studies/` alone; a search of all studies is missing only with its store.
    let (path, _) = url.split_once('?').unwrap_or((url, ""));
    let is_in_store = path.split_once("/studies/").is_some_and(|(_, below)| !below.is_empty());
    let rows =
        STORE_REFUSALS.iter().filter(|row| is_in_store || row.error != "NOT_FOUND" || !row.words.is_empty());
    of_table(rows, url, response, sent_at, Parties { principal, target: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_study_is_told_from_a_missing_store() {
        let google = r#"{"error":{"code":404,"message":"DICOM study or series does not exist.","status":"NOT_FOUND"}}"#;
        let array = format!("[{google}]");
        let no_url = r#"{"error":{"code":404,"message":"The requested URL was not found on this server.","status":"NOT_FOUND"}}"#;
        let root = "https://h/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb";
        for (path, body, said) in [
            ("/studies/1.2", google, "has no such study, series or instance"),
            ("/studies/1.2", &array, "has no such study, series or instance"),
            ("/studies/1.2/series/1.3/instances/1.4?x=y", google, "has no such study"),
            ("/studies/1.2/metadata", google, "has no such study"),
            ("/studies", google, "there is no such store: compare Project"),
            ("/studies/?limit=1", google, "there is no such store: compare Project"),
            ("/studies?StudyInstanceUID=/studies/1", google, "there is no such store: compare Project"),
            ("/instances", google, "there is no such store: compare Project"),
            ("/studies/1.2", no_url, "no DICOMweb at this address"),
            ("/studies", no_url, "no DICOMweb at this address"),
            ("/studies/1.2", "<html>", "there is no such store: compare Project"),
        ] {
            let response = Response { status: 404, body: body.as_bytes().to_vec(), ..Response::default() };
            let failure = of_store(&format!("{root}{path}"), &response, SystemTime::UNIX_EPOCH, None);
            assert!(failure.remedy.contains(said), "{path} {body}: {failure}");
        }
    }

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
