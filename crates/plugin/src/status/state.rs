//! How it stands with an account and its server, in one word each.

/// How it stands with an account, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing has gone wrong yet, and the first token is not there.
    Starting,
    /// It works.
    Ok,
    /// The token is good, but could not be renewed.
    Expiring,
    /// There is no good token, or the store cannot be used.
    Failing,
    /// The configuration does not let it be used.
    Misconfigured,
}

impl State {
    pub(crate) const ALL: [Self; 5] =
        [Self::Starting, Self::Ok, Self::Expiring, Self::Failing, Self::Misconfigured];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Expiring => "expiring",
            Self::Failing => "failing",
            Self::Misconfigured => "misconfigured",
        }
    }
}

/// What the DICOMweb plugin holds of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// Nothing yet, or it was given and not yet seen in the list.
    Awaited,
    /// Our server.
    Held,
    /// Nothing, because it refuses it.
    Refused,
    /// Nothing, because somebody has deleted it.
    Deleted,
    /// Nothing, because the gateway to which it has to lead does not work.
    Withheld,
}

impl ServerState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Deleted => "deleted",
            Self::Withheld => "withheld",
        }
    }
}
