//! In which format a store returns a single instance.
//!
//! The instance as the body itself (`application/dicom`) states its length and needs no parsing, and Google returns it. PS3.18
//! (section 8.7.3.1) requires that format of newer editions only; stores of older editions, such as Orthanc's DICOMweb plugin
//! 1.7, return one instance as the only part of a multipart body. Which of the two a store returns is found out once.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::{HeaderValue, StatusCode};

use crate::{accept::TransferSyntaxes, refusal::Refusal, store::Store};

/// How a single instance is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/dicom`
    Body,
    /// `multipart/related; type="application/dicom"`
    OnlyPart,
}

/// The accounts whose stores refuse [`Format::Body`].
#[derive(Debug, Default)]
pub(crate) struct InstanceFormats {
    refusing: Mutex<HashSet<String>>,
}

impl InstanceFormats {
    /// The format to request of `store`.
    pub(crate) fn of(&self, store: &Store) -> Format {
        if self.refusing().contains(&store.name) { Format::OnlyPart } else { Format::Body }
    }

    /// The store has returned an instance in this format. [`Format::OnlyPart`] is requested only after the other one was
    /// refused, so from now on it is the one to begin with.
    pub(crate) fn worked(&self, store: &Store, format: Format) {
        if format == Format::OnlyPart && self.refusing().insert(store.name.clone()) {
            tracing::info!(
                "{}: the store refuses `Accept: application/dicom` for single instances; multipart/related is requested from \
                 now on",
                store.title()
            );
        }
    }

    fn refusing(&self) -> MutexGuard<'_, HashSet<String>> {
        self.refusing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Format {
    /// The format to request after `refusal`; `None` if the refusal is not about the format, or both were requested.
    pub(crate) fn after(self, refusal: &Refusal) -> Option<Self> {
        let may_be_about_it = matches!(
            refusal.status(),
            StatusCode::BAD_REQUEST | StatusCode::NOT_ACCEPTABLE | StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
        let is_of_store = refusal.google_body().is_some();
        (self == Self::Body && is_of_store && may_be_about_it).then_some(Self::OnlyPart)
    }

    /// The `Accept` field that requests it in the transfer syntax in which it is stored.
    pub(crate) fn accept_as_stored(self) -> &'static str {
        match self {
            Self::Body => "application/dicom; transfer-syntax=*",
            Self::OnlyPart => "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
        }
    }

    /// The `Accept` field that requests it.
    pub(crate) fn accept(self, syntaxes: &TransferSyntaxes) -> HeaderValue {
        match self {
            Self::Body => syntaxes.accept_single(),
            Self::OnlyPart => syntaxes.accept_multipart(),
        }
    }
}
