//! A DICOM store, as the gateway serves it.

use std::{fmt, sync::Arc};

use google_credentials::{Secret, TokenHandle};
use tokio::sync::Notify;

/// What becomes of an instance if the store holds a different one with the same UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It counts as failed, as at Google. An identical one is success.
    #[default]
    Fail,
    /// The stored one stays, and the answer has a warning.
    Keep,
    /// The new one takes its place.
    Overwrite,
}

/// A DICOM store of an account.
#[derive(Clone)]
pub struct Store {
    /// The account's name, which is the first segment of the path.
    pub name: String,
    /// What whoever sends requests has to show as `Authorization: Bearer …`; `None` to serve everybody who can connect.
    pub secret: Option<Secret>,
    /// The store's DICOMweb root, with its last slash.
    pub root: String,
    /// Its tokens; `None` where the server takes requests without one.
    pub tokens: Option<TokenHandle>,
    /// `Authorization` of the requests to a server that takes none of Google's tokens; `None` for none.
    pub authorization: Option<Secret>,
    /// What becomes of different instances with the same UIDs.
    pub on_conflict: OnConflict,
    /// Header fields of requests that are passed on besides those of DICOMweb, because the administrator has named them.
    pub passed_fields: Vec<String>,
    /// Notified when a request has failed in vain for a reason that may concern all of them: whoever wants to know how the store
    /// takes the account may look.
    pub in_trouble: Arc<Notify>,
}

impl Store {
    /// How the log calls it.
    pub(crate) fn title(&self) -> String {
        format!("Account \"{}\"", self.name)
    }

    /// The URL of what lies at `path` below the root.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.name)
            .field("on_conflict", &self.on_conflict)
            .finish_non_exhaustive()
    }
}
