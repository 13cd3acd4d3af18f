//! When an account's server has to be given to the DICOMweb plugin again: pure decisions.
//!
//! The DICOMweb plugin empties its list, once a start, in its own `OrthancStarted` callback. Whoever was loaded before it
//! has published by then: at once, or seconds later where a third plugin's callback in between is slow. So what was
//! accepted is looked for in the list, and given again until it is there. If that wipe is still to come, the looks go on:
//! a server that was seen and is gone was wiped, and is given again. In every other case, and after the wipe, whatever is
//! gone was deleted by a user, and stays so until the account's next token.

use std::time::Duration;

/// The DICOMweb plugin's wipe, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wipe {
    /// The DICOMweb plugin was loaded before us, so that its callback came before ours; or the wipe was seen.
    Over,
    /// It was loaded after us, or nobody knows.
    ToCome,
}

/// How long after our own `OrthancStarted` the wipe is waited for.
pub(crate) const STARTING: Duration = Duration::from_secs(60);
/// The shortest pause between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two looks while a wipe is waited for.
const LONGEST_PAUSE_AT_START: Duration = Duration::from_secs(1);
/// The longest pause before a server that was refused, or is not listed, is given again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where an account's server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No token yet, or a user has deleted it.
    Absent,
    /// To be given: a new token, a wipe, or a refusal that is over.
    Wanted,
    /// Accepted, but not yet seen in the list.
    Accepted,
    /// Seen in the list.
    Listed,
}

/// The servers of all accounts, by index.
#[derive(Debug)]
pub struct Publication {
    standings: Vec<Standing>,
    wipe: Wipe,
    /// Pauses in a row that were taken because something was left to do.
    troubled_pauses: u32,
}

/// What a look into the list has shown of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It holds: listed for the first time since it was given.
    Holds,
    /// It was wiped or never kept; it is wanted again.
    Gone,
    /// A user has deleted it; it stays away until the next token.
    Deleted,
}

impl Publication {
    /// Nothing is published, and Orthanc has just started.
    pub fn new(accounts: usize, wipe: Wipe) -> Self {
        Self { standings: vec![Standing::Absent; accounts], wipe, troubled_pauses: 0 }
    }

    /// The account has a new token.
    pub fn token(&mut self, account: usize) {
        self.troubled_pauses = 0;
        self.set(account, Standing::Wanted);
    }

    /// The account's token has expired, which its server has to show; what a user has deleted stays away.
    pub fn expired(&mut self, account: usize) {
        if self.standings.get(account).is_some_and(|standing| *standing != Standing::Absent) {
            self.set(account, Standing::Wanted);
        }
    }

    /// The accounts whose server has to be given now.
    pub fn wanted(&self) -> Vec<usize> {
        self.at(Standing::Wanted)
    }

    /// The DICOMweb plugin took the server.
    pub fn accepted(&mut self, account: usize) {
        self.set(account, Standing::Accepted);
    }

    /// What the list, asked for `elapsed` after `OrthancStarted`, means for each account where something has changed.
    pub fn looked(&mut self, elapsed: Duration, listed: impl Fn(usize) -> bool) -> Vec<(usize, Seen)> {
        let waiting = self.waits_for_the_wipe(elapsed);
        let mut changes = Vec::new();
        let mut wiped = false;
        for (account, standing) in self.standings.iter_mut().enumerate() {
            let (after, seen) = match (*standing, listed(account)) {
                (Standing::Accepted, true) => (Standing::Listed, Seen::Holds),
                (Standing::Accepted, false) => {
                    // Nothing else but the wipe is known to lose what was accepted.
                    wiped = true;
                    (Standing::Wanted, Seen::Gone)
                }
                (Standing::Listed, false) if waiting => {
                    wiped = true;
                    (Standing::Wanted, Seen::Gone)
                }
                (Standing::Listed, false) => (Standing::Absent, Seen::Deleted),
                _ => continue,
            };
            *standing = after;
            changes.push((account, seen));
        }
        if wiped {
            self.wipe = Wipe::Over;
        }
        changes
    }

    /// How long until the next look, `elapsed` after `OrthancStarted`. `look_every` is the pause when there is nothing
    /// to do but to notice what users do.
    pub fn pause(&self, elapsed: Duration, look_every: Duration) -> Duration {
        let mut pause = look_every;
        if self.waits_for_the_wipe(elapsed) {
            pause = pause.min(elapsed.clamp(SHORTEST_PAUSE, LONGEST_PAUSE_AT_START));
        }
        if self.has_unsettled() {
            let doubled = SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(self.troubled_pauses));
            pause = pause.min(doubled).min(LONGEST_PAUSE);
        }
        pause
    }

    /// Such a pause is over, not cut short by a new token, and the look is done.
    pub fn paused(&mut self) {
        self.troubled_pauses = if self.has_unsettled() { self.troubled_pauses.saturating_add(1) } else { 0 };
    }

    /// The accounts that the DICOMweb plugin may hold a server for.
    pub fn held(&self) -> Vec<usize> {
        let mut held = self.at(Standing::Accepted);
        held.extend(self.at(Standing::Listed));
        held
    }

    fn waits_for_the_wipe(&self, elapsed: Duration) -> bool {
        self.wipe == Wipe::ToCome && elapsed < STARTING
    }

    /// Whether a server is still to be given, or to be seen in the list.
    fn has_unsettled(&self) -> bool {
        self.standings.iter().any(|at| matches!(at, Standing::Wanted | Standing::Accepted))
    }

    fn at(&self, standing: Standing) -> Vec<usize> {
        let here = |(account, at): (usize, &Standing)| (*at == standing).then_some(account);
        self.standings.iter().enumerate().filter_map(here).collect()
    }

    fn set(&mut self, account: usize, standing: Standing) {
        if let Some(at) = self.standings.get_mut(account) {
            *at = standing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const AT_ONCE: Duration = Duration::from_millis(20);

    fn give_all(publication: &mut Publication) -> Vec<usize> {
        let wanted = publication.wanted();
        for account in &wanted {
            publication.accepted(*account);
        }
        wanted
    }

    #[test]
    fn what_is_wiped_at_the_start_is_given_again_once() {
        let mut publication = Publication::new(2, Wipe::ToCome);
        publication.token(0);
        publication.token(1);
        assert_eq!(give_all(&mut publication), [0, 1]);
        assert_eq!(publication.looked(AT_ONCE, |_| true), [(0, Seen::Holds), (1, Seen::Holds)]);
        assert_eq!(publication.looked(AT_ONCE, |_| false), [(0, Seen::Gone), (1, Seen::Gone)]);
        assert_eq!(give_all(&mut publication), [0, 1]);
        assert_eq!(publication.looked(AT_ONCE, |_| true), [(0, Seen::Holds), (1, Seen::Holds)]);
        // The plugin wipes once: this is a user.
        assert_eq!(publication.looked(AT_ONCE, |account| account == 1), [(0, Seen::Deleted)]);
        assert!(publication.wanted().is_empty());
    }

    #[test]
    fn a_late_wipe_is_seen_and_a_user_before_it_is_not_told_from_it() {
        let mut publication = Publication::new(1, Wipe::ToCome);
        publication.token(0);
        give_all(&mut publication);
        publication.looked(AT_ONCE, |_| true);
        assert_eq!(publication.looked(Duration::from_secs(40), |_| false), [(0, Seen::Gone)]);
        give_all(&mut publication);
        publication.looked(Duration::from_secs(41), |_| true);
        assert_eq!(publication.looked(Duration::from_secs(42), |_| false), [(0, Seen::Deleted)]);
    }

    #[test]
    fn without_a_wipe_to_come_a_deletion_is_a_users_from_the_start() {
        let mut publication = Publication::new(1, Wipe::Over);
        publication.token(0);
        give_all(&mut publication);
        publication.looked(AT_ONCE, |_| true);
        assert_eq!(publication.looked(AT_ONCE, |_| false), [(0, Seen::Deleted)]);
        assert_eq!(publication.pause(AT_ONCE, MINUTE), MINUTE);
    }

    #[test]
    fn what_vanishes_before_it_was_seen_is_given_until_it_holds() {
        let mut publication = Publication::new(1, Wipe::Over);
        publication.token(0);
        for _ in 0..20 {
            assert_eq!(give_all(&mut publication), [0]);
            assert_eq!(publication.looked(AT_ONCE, |_| false), [(0, Seen::Gone)]);
        }
        assert_eq!(give_all(&mut publication), [0]);
        assert_eq!(publication.looked(AT_ONCE, |_| true), [(0, Seen::Holds)]);
    }

    #[test]
    fn what_a_user_deletes_stays_deleted_until_the_next_token() {
        let mut publication = Publication::new(1, Wipe::Over);
        publication.token(0);
        give_all(&mut publication);
        publication.looked(AT_ONCE, |_| true);
        assert_eq!(publication.looked(MINUTE, |_| false), [(0, Seen::Deleted)]);
        assert_eq!(publication.looked(MINUTE, |_| false), []);
        assert!(publication.wanted().is_empty() && publication.held().is_empty());
        publication.token(0);
        assert_eq!(give_all(&mut publication), [0]);
    }

    #[test]
    fn pauses_grow_while_there_is_trouble_and_end_with_it() {
        let mut publication = Publication::new(1, Wipe::ToCome);
        assert_eq!(publication.pause(Duration::ZERO, MINUTE), SHORTEST_PAUSE);
        assert_eq!(publication.pause(Duration::from_secs(30), MINUTE), LONGEST_PAUSE_AT_START);
        assert_eq!(publication.pause(STARTING, MINUTE), MINUTE);
        publication.token(0);
        let mut pause = || {
            let pause = publication.pause(MINUTE, MINUTE);
            publication.paused();
            pause.as_millis()
        };
        let pauses: Vec<u128> = (0..14).map(|_| pause()).collect();
        let expected = [20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 20_480, 40_960, 60_000, 60_000];
        assert_eq!(pauses, expected);
        give_all(&mut publication);
        publication.looked(MINUTE, |_| true);
        assert_eq!(publication.pause(MINUTE, MINUTE), MINUTE);
    }

    #[test]
    fn tokens_that_come_one_by_one_are_no_trouble() {
        let mut publication = Publication::new(100, Wipe::Over);
        for account in 0..100 {
            publication.token(account);
            give_all(&mut publication);
            assert_eq!(publication.pause(AT_ONCE, MINUTE), SHORTEST_PAUSE, "{account}");
        }
        publication.paused();
        publication.token(0);
        assert_eq!(publication.pause(AT_ONCE, MINUTE), SHORTEST_PAUSE);
    }
}
