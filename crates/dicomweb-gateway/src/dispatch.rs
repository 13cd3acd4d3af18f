//! What a request becomes: an upload or a retrieval that the gateway takes apart, or one that it passes on.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::{
    accept::{self, Retrieval, TransferSyntaxes},
    admission,
    body::ResponseBody,
    forward,
    gateway::Shared,
    multipart,
    path::Target,
    refusal::Refusal,
    retrieve,
    store::Store,
    stow,
};

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    /// STOW-RS (PS3.18 section 10.5) of DICOM files: to the store, or to one study.
    Store { study: Option<&'a str> },
    /// WADO-RS (PS3.18 section 10.4) of the DICOM files of a study or of one of its series.
    Retrieve { study: &'a str, series: Option<&'a str>, syntaxes: TransferSyntaxes },
    /// WADO-RS of one instance, which the client takes as the body itself alone.
    Instance(TransferSyntaxes),
    /// Anything else.
    Other,
}

/// Answers a request for an account.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    store: &Store,
    target: &Target<'_>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    match wanted(request.method(), target, request.headers()) {
        Wanted::Store { study } => match unreadable(request.headers()) {
            None => stow::answer(shared, store, study, request).await,
            Some(refusal) => {
                admission::drain(request).await;
                refusal
            }
        },
        Wanted::Retrieve { study, series, syntaxes } => {
            retrieve::answer(shared, store, study, series, syntaxes, request.headers()).await
        }
        Wanted::Instance(syntaxes) => forward::answer(shared, store, target, request, Some(&syntaxes)).await,
        Wanted::Other => forward::answer(shared, store, target, request, None).await,
    }
}

/// What is answered to an upload whose body is another one than it seems: compressed, or a part of it.
fn unreadable(headers: &HeaderMap) -> Option<Response<ResponseBody>> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let mut codings = codings.flat_map(|codings| codings.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    if codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")) {
        let cause = "the upload is compressed as a whole (Content-Encoding)";
        let remedy = "send it without Content-Encoding; the instances in it may have any transfer syntax";
        let refusal = Refusal::own(StatusCode::UNSUPPORTED_MEDIA_TYPE, cause, remedy);
        let mut response = refusal.into_response();
        // RFC 9110 section 12.5.3: what would have been taken.
        response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return Some(response);
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        // RFC 9110 section 14.4
        let cause = "the request has Content-Range, which an upload of instances does not have";
        let refusal = Refusal::own(StatusCode::BAD_REQUEST, cause, "send each instance whole");
        return Some(refusal.into_response());
    }
    None
}

fn wanted<'a>(method: &Method, target: &Target<'a>, headers: &HeaderMap) -> Wanted<'a> {
    let segments: Vec<&str> = target.path.split('/').collect();
    let (is_upload, is_retrieval) = (*method == Method::POST, *method == Method::GET);
    match *segments.as_slice() {
        ["studies"] if is_upload && has_dicom_files(headers) => Wanted::Store { study: None },
        ["studies", study] if is_upload && has_dicom_files(headers) => Wanted::Store { study: Some(study) },
        ["studies", study] if is_retrieval => retrieval(study, None, headers),
        ["studies", study, "series", series] if is_retrieval => retrieval(study, Some(series), headers),
        ["studies", _, "series", _, "instances", _] if is_retrieval => {
            accept::single_instance(headers).map_or(Wanted::Other, Wanted::Instance)
        }
        _ => Wanted::Other,
    }
}

fn has_dicom_files(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let related = content_type.and_then(|value| multipart::boundary_of(value).ok());
    related.is_some_and(|related| related.root_type.is_none_or(|root| root == "application/dicom"))
}

fn retrieval<'a>(study: &'a str, series: Option<&'a str>, headers: &HeaderMap) -> Wanted<'a> {
    match accept::retrieval(headers) {
        Retrieval::Instances(syntaxes) => Wanted::Retrieve { study, series, syntaxes },
        Retrieval::Other => Wanted::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        method: &Method,
        path: &'static str,
        field: (header::HeaderName, &'static str),
    ) -> Wanted<'static> {
        let headers = HeaderMap::from_iter([(field.0, HeaderValue::from_static(field.1))]);
        wanted(method, &Target { account: String::new(), path, query: None }, &headers)
    }

    #[test]
    fn uploads_of_dicom_files_are_taken_apart() {
        let of = |path, content_type| check(&Method::POST, path, (header::CONTENT_TYPE, content_type));
        let files = r#"multipart/related; type="application/dicom"; boundary=b"#;
        assert_eq!(of("studies", files), Wanted::Store { study: None });
        assert_eq!(of("studies/1.2", files), Wanted::Store { study: Some("1.2") });
        assert_eq!(of("studies/1.2/series", files), Wanted::Other);
        assert_eq!(of("studies", "application/dicom"), Wanted::Other);
        let metadata = r#"multipart/related; type="application/dicom+json"; boundary=b"#;
        assert_eq!(of("studies", metadata), Wanted::Other);
    }

    #[test]
    fn retrievals_of_dicom_files_are_taken_apart() {
        let of = |path, accept| check(&Method::GET, path, (header::ACCEPT, accept));
        let files = r#"multipart/related; type="application/dicom"; transfer-syntax=*"#;
        assert!(matches!(of("studies/1.2", files), Wanted::Retrieve { study: "1.2", series: None, .. }));
        assert!(matches!(
            of("studies/1.2/series/3", files),
            Wanted::Retrieve { study: "1.2", series: Some("3"), .. }
        ));
        assert_eq!(of("studies/1.2/series/3/instances/4", files), Wanted::Other);
        let single = "application/dicom; transfer-syntax=*";
        assert!(matches!(of("studies/1.2/series/3/instances/4", single), Wanted::Instance(_)));
        assert_eq!(of("studies/1.2/series/3/instances/4/frames/1", single), Wanted::Other);
        assert_eq!(of("studies/1.2", "application/zip"), Wanted::Other);
        assert_eq!(of("studies", files), Wanted::Other);
    }
}
