//! An instance on its way, and what becomes of it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::spool::Spool;
use crate::{
    dicom_identity::{Identity, Uid},
    memory::Share,
};

/// SHA-256 of an instance.
pub(crate) type Digest = [u8; 32];

/// Which instance it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) class: Uid,
    pub(crate) instance: Uid,
    pub(crate) study: Uid,
    pub(crate) series: Uid,
}

impl Name {
    /// `None` where not all of it is known: then only the store can tell.
    pub(crate) fn of(identity: &Identity) -> Option<Self> {
        Some(Self {
            class: identity.sop_class_uid.clone()?,
            instance: identity.sop_instance_uid.clone()?,
            study: identity.study_instance_uid.clone()?,
            series: identity.series_instance_uid.clone()?,
        })
    }

    /// Where it is below a DICOMweb root (PS3.18 table 10.1-1).
    pub(crate) fn path(&self) -> String {
        format!("studies/{}/series/{}/instances/{}", self.study, self.series, self.instance)
    }
}

/// An instance that was read, or is being read.
pub(crate) struct Held {
    /// Its number in order of arrival.
    pub(crate) index: usize,
    pub(crate) name: Option<Arc<Name>>,
    /// Of its part.
    pub(crate) content_type: HeaderValue,
    pub(crate) kept: Kept,
    /// Length and digest, where all of it has been read.
    pub(crate) whole: Option<(u64, Digest)>,
}

/// Where its bytes are.
pub(crate) enum Kept {
    /// In memory, of which it has a share.
    Memory(Vec<Bytes>, #[expect(dead_code, reason = "given back when it is dropped")] Share),
    Spool(Arc<Spool>),
}

impl Held {
    /// Bytes; of what is not yet whole, none.
    pub(crate) fn length(&self) -> u64 {
        self.whole.map_or(0, |(length, _)| length)
    }
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Stored {
        /// `WarningReason` (0008,1196).
        warning: Option<u16>,
        /// What the store calls it, where only the store could tell.
        name: Option<Arc<Name>>,
    },
    Failed {
        /// `FailureReason` (0008,1197).
        reason: u16,
        /// In Google's words, or ours.
        detail: String,
    },
}

impl Outcome {
    pub(crate) const STORED: Self = Self::Stored { warning: None, name: None };

    pub(crate) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored { .. })
    }

    /// Why it is not stored.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Self::Failed { detail, .. } => Some(detail),
            Self::Stored { .. } => None,
        }
    }

    /// "Processing failure" (PS3.18 table I.2-2), as Google says for everything.
    pub(crate) fn failed(detail: impl Into<String>) -> Self {
        Self::Failed { reason: PROCESSING_FAILURE, detail: detail.into() }
    }
}

/// "Processing failure" (PS3.18 table I.2-2).
pub(crate) const PROCESSING_FAILURE: u16 = 0x0110;
/// "Refused: Out of resources" (PS3.18 table I.2-2).
pub(crate) const OUT_OF_RESOURCES: u16 = 0xA700;
