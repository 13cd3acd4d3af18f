//! What can be changed while the emulator runs.

use crate::tokens::CLOUD_PLATFORM;
use serde::{Deserialize, Serialize};

/// What Google answers for a token of one hour, in seconds.
pub(crate) const DEFAULT_TOKEN_LIFETIME: u64 = 3_599;

/// Switches for what differs between Google's services, or what is not documented. `PATCH /emulator/settings` sets them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Seconds by which the emulator's clock is ahead of the machine's (negative: behind).
    pub clock_offset_seconds: i64,
    /// Life of tokens issued from now on, in seconds. Google's live one hour, and it answers 3599.
    pub token_lifetime_seconds: u64,
    /// Answer `expires_in` as a JSON string instead of a number, as some token servers do.
    pub expires_in_as_string: bool,
    /// Add an `id_token` to token answers. Google does so only when it was asked for `openid`.
    pub id_token: bool,
    /// What a search that finds nothing is answered: both have been seen at Google.
    pub empty_search: EmptySearch,
    /// No page of a search holds more results than this, whatever `limit` says; without a value Google's numbers hold. It
    /// makes clients turn pages that at Google they would turn for thousands of results only.
    pub largest_page: Option<usize>,
    /// The status that refuses `Accept: application/dicom` for a single instance: 400 at Orthanc's DICOMweb plugin 1.7, which
    /// knows multipart bodies alone. Without a value it is accepted, as at Google.
    pub single_part_refused_with: Option<u16>,
    /// How many polls of a delete operation are answered `done: false` before the one that says `done: true`.
    pub pending_polls: u32,
    /// Seconds before a token's end from which on the metadata server gives a new one instead of the one it has. 300 on
    /// Compute Engine, 240 on serverless.
    pub metadata_cache_margin_seconds: u64,
    /// The scopes of the virtual machine.
    pub metadata_scopes: Vec<String>,
    /// Whether the virtual machine has a service account.
    pub metadata_service_account_attached: bool,
    /// What the metadata server says of the universe, Google's word for a sovereign cloud.
    pub universe_domain: String,
    /// Answer the refresh of a workforce session with a new refresh token; the old one is refused from then on.
    pub rotate_refresh_tokens: bool,
    /// Service accounts whose tokens may live up to 12 hours instead of one, when impersonated.
    pub extended_lifetime_accounts: Vec<String>,
    /// APIs not enabled in the project, by host: `iamcredentials.googleapis.com`, `healthcare.googleapis.com`.
    pub disabled_apis: Vec<String>,
    /// Principals (e-mail addresses, `principal://…`) without any role on the DICOM stores.
    pub denied_principals: Vec<String>,
    /// The quota project that a user's requests to the Healthcare API must name in `X-Goog-User-Project`. Without a value
    /// none is needed.
    pub required_quota_project: Option<String>,
    /// Refuse requests to the pretend AWS instance metadata service that have no session token (version 1).
    pub imds_v2_required: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock_offset_seconds: 0,
            token_lifetime_seconds: DEFAULT_TOKEN_LIFETIME,
            expires_in_as_string: false,
            id_token: false,
            empty_search: EmptySearch::NoContent,
            largest_page: None,
            single_part_refused_with: None,
            pending_polls: 0,
            metadata_cache_margin_seconds: 300,
            metadata_scopes: vec![CLOUD_PLATFORM.to_owned()],
            metadata_service_account_attached: true,
            universe_domain: "googleapis.com".to_owned(),
            rotate_refresh_tokens: false,
            extended_lifetime_accounts: Vec::new(),
            disabled_apis: Vec::new(),
            denied_principals: Vec::new(),
            required_quota_project: None,
            imds_v2_required: true,
        }
    }
}

/// The answer to a search without results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptySearch {
    /// 204 without a body (PS3.18 section 10.6.3.1 of the older editions).
    NoContent,
    /// 200 with `[]`.
    EmptyArray,
}
