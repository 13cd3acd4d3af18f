//! What can go wrong between the plugin and Orthanc.

use crate::Version;

/// A call into Orthanc that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plugin is being finalised or was: Orthanc can no longer be asked. Stop, do not retry.
    #[error("Orthanc is stopping and answers plugins no more")]
    Gone,

    /// Orthanc answered with one of its error codes (`OrthancPluginErrorCode`; see [`error_code`]).
    #[error("{service}: Orthanc error {code} ({})", words(*code))]
    Host {
        /// The service asked, by the name it has in `OrthancCPlugin.h`.
        service: &'static str,
        /// Orthanc's error code.
        code: i32,
    },

    /// Orthanc reported success and gave nothing.
    #[error("{service}: Orthanc reported success but gave no answer")]
    NoAnswer {
        /// The service asked.
        service: &'static str,
    },

    /// This Orthanc does not have the service; it was not asked.
    #[error("{service} exists since Orthanc {since}, this is {version}")]
    HostTooOld {
        /// The service wanted.
        service: &'static str,
        /// The first version of Orthanc that has it.
        since: Version,
        /// The version of this Orthanc.
        version: Version,
    },

    /// A URI with a NUL byte: C strings cannot carry it.
    #[error("a URI must not contain a NUL byte")]
    NulInUri,

    /// A body of 4 GiB or more: the C interface counts its bytes in 32 bits.
    #[error("a body of {0} bytes is too large for Orthanc's plugin interface, which takes less than 4 GiB")]
    BodyTooLarge(usize),
}

impl Error {
    /// Orthanc's error code, if it was Orthanc that refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Host { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// The codes of `OrthancPluginErrorCode` that plugins meet most.
pub mod error_code {
    /// `InternalError`.
    pub const INTERNAL_ERROR: i32 = -1;
    /// `Success`.
    pub const SUCCESS: i32 = 0;
    /// `Plugin`: a plugin failed while it served the request.
    pub const PLUGIN: i32 = 1;
    /// `ParameterOutOfRange`: among others, an HTTP status that Orthanc does not know.
    pub const PARAMETER_OUT_OF_RANGE: i32 = 3;
    /// `InexistentItem`: DICOMweb answers so for a server that it does not know.
    pub const INEXISTENT_ITEM: i32 = 7;
    /// `BadRequest`.
    pub const BAD_REQUEST: i32 = 8;
    /// `NetworkProtocol`: what every HTTP failure but 401, 403 and 404 becomes.
    pub const NETWORK_PROTOCOL: i32 = 9;
    /// `BadFileFormat`: DICOMweb answers so for a body that it cannot use.
    pub const BAD_FILE_FORMAT: i32 = 15;
    /// `Timeout`.
    pub const TIMEOUT: i32 = 16;
    /// `UnknownResource`: HTTP 404.
    pub const UNKNOWN_RESOURCE: i32 = 17;
    /// `UnknownPluginService`: the host is older than the service.
    pub const UNKNOWN_PLUGIN_SERVICE: i32 = 26;
    /// `BadJson`.
    pub const BAD_JSON: i32 = 28;
    /// `Unauthorized`: HTTP 401 or 403.
    pub const UNAUTHORIZED: i32 = 29;
    /// `DatabaseNotInitialized`: REST was called before Orthanc has started or after it has stopped.
    pub const DATABASE_NOT_INITIALIZED: i32 = 2038;

    /// Those above, by the name that each has after `OrthancPluginErrorCode_`.
    #[cfg(test)]
    pub(crate) const NAMED: &[(&str, i32)] = &[
        ("InternalError", INTERNAL_ERROR),
        ("Success", SUCCESS),
        ("Plugin", PLUGIN),
        ("ParameterOutOfRange", PARAMETER_OUT_OF_RANGE),
        ("InexistentItem", INEXISTENT_ITEM),
        ("BadRequest", BAD_REQUEST),
        ("NetworkProtocol", NETWORK_PROTOCOL),
        ("BadFileFormat", BAD_FILE_FORMAT),
        ("Timeout", TIMEOUT),
        ("UnknownResource", UNKNOWN_RESOURCE),
        ("UnknownPluginService", UNKNOWN_PLUGIN_SERVICE),
        ("BadJson", BAD_JSON),
        ("Unauthorized", UNAUTHORIZED),
        ("DatabaseNotInitialized", DATABASE_NOT_INITIALIZED),
    ];
}

fn words(code: i32) -> &'static str {
    match code {
        error_code::INTERNAL_ERROR => "internal error",
        error_code::PLUGIN => "a plugin failed while serving the request; Orthanc's log says more",
        error_code::PARAMETER_OUT_OF_RANGE => "a parameter is out of range",
        error_code::INEXISTENT_ITEM => "no such item",
        error_code::BAD_REQUEST => "bad request",
        error_code::NETWORK_PROTOCOL => "error in the network protocol",
        error_code::BAD_FILE_FORMAT => "bad file format: the body was not understood",
        error_code::TIMEOUT => "timeout",
        error_code::UNKNOWN_RESOURCE => "unknown resource: nothing answers at this URI",
        error_code::UNKNOWN_PLUGIN_SERVICE => "unknown plugin service: this Orthanc is too old for it",
        error_code::BAD_JSON => "not JSON",
        error_code::UNAUTHORIZED => "bad credentials",
        error_code::DATABASE_NOT_INITIALIZED => "the REST API is not available while Orthanc starts or stops",
        _ => "see OrthancPluginErrorCode in OrthancCPlugin.h",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_codes_in_words() {
        let error = Error::Host { service: "RestApiGetAfterPlugins", code: 2038 };
        assert_eq!(
            error.to_string(),
            "RestApiGetAfterPlugins: Orthanc error 2038 (the REST API is not available while Orthanc starts or stops)"
        );
        assert_eq!(error.code(), Some(2038));
        assert_eq!(Error::Gone.code(), None);
        let unknown = Error::Host { service: "GetConfiguration", code: 4711 }.to_string();
        assert!(unknown.contains("4711"), "{unknown}");
    }
}
