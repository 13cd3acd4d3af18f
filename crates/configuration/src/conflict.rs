//! `OnConflict`: what becomes of an instance where the store holds a different one under the same UIDs.

use dicomweb_gateway::OnConflict;
use google_credentials::quoted;

use crate::section::{Section, Wrong};

/// Where it is set for nothing.
pub(super) const ONLY_THE_GATEWAY: &str = "has no effect, because only the gateway obeys it, and Gateway is false; set Gateway to true, or remove it";

/// `OnConflict`, global or of an account; `None` where it is absent or wrong.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<OnConflict> {
    const REMEDY: &str = "use \"Fail\", \"Keep\" or \"Overwrite\"";
    match section.string("OnConflict", REMEDY) {
        Ok(None) | Err(Wrong) => None,
        Ok(Some(text)) => match text.as_str() {
            "Fail" => Some(OnConflict::Fail),
            "Keep" => Some(OnConflict::Keep),
            "Overwrite" => Some(OnConflict::Overwrite),
            _ => {
                section.error(
                    "OnConflict",
                    &format!("{} is unknown, and Fail is used; {REMEDY}", quoted(&text)),
                );
                None
            }
        },
    }
}
