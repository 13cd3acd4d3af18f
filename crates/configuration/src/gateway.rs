//! `Gateway`: whether transfers go through the gateway, and what happens where it does not work.

use serde_json::Value;

use crate::section::Section;

/// Whether an account's transfers go through the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GatewayUse {
    /// `true`, and the default: they do. An account whose gateway does not work cannot be used.
    #[default]
    Required,
    /// `"prefer"`: they do, but go directly from the DICOMweb plugin to Google if the gateway does not work.
    Preferred,
    /// `false`: the DICOMweb plugin talks to Google directly.
    Off,
}

impl GatewayUse {
    /// Whether the account is to use the gateway where that works.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }
}

/// `Gateway`, global or of an account; `None` where it is absent. A wrong value never opens the way around the gateway.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<GatewayUse> {
    match section.any("Gateway")? {
        Value::Bool(true) => Some(GatewayUse::Required),
        Value::Bool(false) => Some(GatewayUse::Off),
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) if text.trim().eq_ignore_ascii_case("prefer") => Some(GatewayUse::Preferred),
        _ => {
            section.error(
                "Gateway",
                "is neither true, false nor \"prefer\", and true is used; use one of them, true and false without quotation marks",
            );
            Some(GatewayUse::Required)
        }
    }
}
