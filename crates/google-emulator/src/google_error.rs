//! Errors as Google's services write them: `google.rpc.Status` in JSON.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// A refusal by one of Google's APIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoogleError {
    pub(crate) code: u16,
    pub(crate) message: String,
    /// `google.rpc.ErrorInfo.reason` and the API method it is about.
    pub(crate) reason: Option<(&'static str, String)>,
    /// The API's host, for the details of `reason`.
    pub(crate) service: &'static str,
    /// Other details, instead of those of `reason`.
    pub(crate) details: Option<Box<Value>>,
    /// STOW, QIDO and WADO are streaming methods: their errors come in an array.
    pub(crate) streaming: bool,
}

impl GoogleError {
    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: None,
            service: "healthcare.googleapis.com",
            details: None,
            streaming: false,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, message)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, format!("google-emulator: {message}"))
    }

    /// The `google.rpc.Code` that belongs to the HTTP status.
    fn status(&self) -> &'static str {
        match self.code {
            400 | 406 | 411 | 413 | 415 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 | 405 => "NOT_FOUND",
            409 => "ALREADY_EXISTS",
            429 => "RESOURCE_EXHAUSTED",
            501 => "UNIMPLEMENTED",
            503 => "UNAVAILABLE",
            _ => "INTERNAL",
        }
    }

    fn body(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message, "status": self.status() });
        if let (Some((reason, method)), Some(object)) = (&self.reason, error.as_object_mut()) {
            let details = json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "googleapis.com",
                "metadata": { "service": self.service, "method": method },
            }]);
            object.insert("details".to_owned(), details);
        }
        if let (Some(details), Some(object)) = (&self.details, error.as_object_mut()) {
            object.insert("details".to_owned(), Value::clone(details));
        }
        let body = json!({ "error": error });
        if self.streaming { json!([body]) } else { body }
    }
}

impl IntoResponse for GoogleError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.body())).into_response();
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        let challenge = match self.reason {
            Some(("ACCESS_TOKEN_SCOPE_INSUFFICIENT", _))
                if self.service == "iamcredentials.googleapis.com" =>
            {
                "Bearer realm=\"https://accounts.google.com/\", error=\"insufficient_scope\", \
                 scope=\"https://www.googleapis.com/auth/iam https://www.googleapis.com/auth/cloud-platform\""
            }
            Some(("ACCESS_TOKEN_SCOPE_INSUFFICIENT", _)) => {
                "Bearer realm=\"https://accounts.google.com/\", error=\"insufficient_scope\", \
                 scope=\"https://www.googleapis.com/auth/cloud-healthcare https://www.googleapis.com/auth/cloud-platform\""
            }
            Some(("CREDENTIALS_MISSING", _)) => "Bearer realm=\"https://accounts.google.com/\"",
            Some(_) if self.code == 401 => {
                "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\""
            }
            _ => return response,
        };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        response
    }
}
