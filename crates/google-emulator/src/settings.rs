//! What can be changed while the emulator runs.

use serde::{Deserialize, Serialize};

/// Switches for what differs between Google's services, or what is not documented. `PATCH /emulator/settings` sets them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// How many polls of a delete operation are answered `done: false` before the one that says `done: true`.
    pub pending_polls: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock_offset_seconds: 0,
            token_lifetime_seconds: 3_599,
            expires_in_as_string: false,
            id_token: false,
            empty_search: EmptySearch::NoContent,
            pending_polls: 0,
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
