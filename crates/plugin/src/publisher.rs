//! Gives the DICOMweb plugin a server for each account, as [`publication`](crate::publication) decides.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use google_credentials::{Kept, World};
use tokio::sync::{mpsc, watch};

use crate::{
    dicomweb::DicomWeb,
    gateway::Transport,
    publication::{Publication, STARTING, Seen, Wipe},
    server::server,
    status::{LiveAccount, ServerState},
};

/// The accounts, their newest tokens, and what the DICOMweb plugin holds of them.
pub(crate) struct Publisher {
    dicomweb: DicomWeb,
    world: Arc<dyn World>,
    started_at: SystemTime,
    look_every: Duration,
    accounts: Vec<Entry>,
    publication: Publication,
    list_trouble: Option<String>,
}

struct Entry {
    live: Arc<LiveAccount>,
    kept: watch::Receiver<Kept>,
    /// The last refusal told to the log.
    trouble: Option<String>,
    announced: bool,
}

impl Publisher {
    /// Nothing is published yet, and `OrthancStarted` was just now.
    pub(crate) fn new(
        dicomweb: DicomWeb,
        world: Arc<dyn World>,
        look_every: Duration,
        wipe: Wipe,
        accounts: Vec<Arc<LiveAccount>>,
    ) -> Self {
        let entry = |live: Arc<LiveAccount>| Entry {
            kept: live.handle.kept(),
            live,
            trouble: None,
            announced: false,
        };
        Self {
            dicomweb,
            started_at: world.now(),
            world,
            look_every,
            publication: Publication::new(accounts.len(), wipe),
            accounts: accounts.into_iter().map(entry).collect(),
            list_trouble: None,
        }
    }

    /// Publishes for ever. `tokens` brings the index of each account that has a new token.
    pub(crate) async fn run(&mut self, tokens: &mut mpsc::UnboundedReceiver<usize>) {
        if self.accounts.iter().any(Entry::is_blocked)
            && let Ok(listed) = self.dicomweb.servers()
        {
            self.withdraw_blocked(&listed);
        }
        loop {
            let pause = self.publication.pause(self.elapsed(), self.look_every);
            tokio::select! {
                token = tokens.recv() => match token {
                    Some(account) => {
                        self.changed(account);
                        while let Ok(account) = tokens.try_recv() {
                            self.changed(account);
                        }
                    }
                    // The keepers are gone, so the plugin is stopping.
                    None => return,
                },
                () = self.world.sleep(pause) => {
                    self.look();
                    self.publication.paused();
                }
            }
            for account in self.publication.wanted() {
                self.give(account);
            }
        }
    }

    /// Takes away what was given. Needed where the DICOMweb plugin writes its servers into Orthanc's database.
    pub(crate) fn withdraw_all(&self) {
        // What a user has deleted since the last look needs no withdrawing. If nobody can tell, all of them do.
        let listed = self.dicomweb.servers().ok();
        for account in self.publication.held() {
            let Some(entry) = self.accounts.get(account) else { continue };
            let account = &entry.live.account;
            if listed.as_ref().is_some_and(|listed| !listed.contains(&account.name)) {
                continue;
            }
            if let Err(trouble) = self.dicomweb.withdraw(&account.name) {
                tracing::warn!(
                    "{}: its server could not be taken out of Orthanc's database, which now holds its last token: {trouble}",
                    account.title()
                );
            }
        }
    }

    /// Takes away the servers that are there under the names of accounts whose gateway does not work: those of the configuration
    /// and of an earlier start lead past it, or to whatever listens at its port now. After Orthanc's start a user may add one.
    fn withdraw_blocked(&self, listed: &BTreeSet<String>) {
        if self.elapsed() > STARTING {
            return;
        }
        for Entry { live, .. } in self.accounts.iter().filter(|entry| entry.is_blocked()) {
            if !listed.contains(&live.account.name) {
                continue;
            }
            let title = live.account.title();
            match self.dicomweb.withdraw(&live.account.name) {
                Ok(()) => tracing::warn!(
                    "{title}: removed the DICOMweb server of the same name, because it does not lead through the gateway; the gateway's error is above"
                ),
                Err(trouble) => tracing::error!(
                    "{title}: the DICOMweb server of the same name does not lead through the gateway and could not be removed: {trouble}; remove it from DicomWeb.Servers, and restart Orthanc"
                ),
            }
        }
    }

    fn changed(&mut self, account: usize) {
        if self.accounts.get(account).is_some_and(Entry::is_blocked) {
            return;
        }
        let expired = |entry: &Entry| matches!(*entry.kept.borrow(), Kept::Expired(_));
        if self.accounts.get(account).is_some_and(expired) {
            self.publication.expired(account);
        } else {
            self.publication.token(account);
        }
    }

    fn give(&mut self, account: usize) {
        let Some(entry) = self.accounts.get_mut(account) else { return };
        let LiveAccount { account: owner, transport, .. } = &*entry.live;
        let Some(server) = server(owner, transport, &entry.kept.borrow()) else { return };
        match self.dicomweb.publish(&owner.name, &server) {
            Ok(()) => {
                entry.trouble = None;
                entry.live.server_is(ServerState::Awaited);
                self.publication.accepted(account);
            }
            Err(trouble) => {
                entry.live.server_is(ServerState::Refused);
                if entry.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(
                        "{}: the DICOMweb plugin refuses the server: {trouble}; check DicomWeb.Root, DicomWeb.Enable and the options of the same server in DicomWeb.Servers (it is tried again)",
                        owner.title()
                    );
                }
                entry.trouble = Some(trouble);
            }
        }
    }

    fn look(&mut self) {
        let listed = match self.dicomweb.servers() {
            Ok(listed) => listed,
            Err(trouble) => {
                if self.list_trouble.as_ref() != Some(&trouble) {
                    tracing::error!(
                        "the DICOMweb plugin does not list its servers: {trouble}; check DicomWeb.Root and DicomWeb.Enable (it is asked again)"
                    );
                }
                self.list_trouble = Some(trouble);
                return;
            }
        };
        self.list_trouble = None;
        self.withdraw_blocked(&listed);
        for (account, seen) in self.changes(&listed) {
            if let Some(entry) = self.accounts.get_mut(account) {
                entry.tell(seen);
            }
        }
    }

    fn changes(&mut self, listed: &BTreeSet<String>) -> Vec<(usize, Seen)> {
        let accounts = &self.accounts;
        let is_listed = |account: usize| {
            accounts.get(account).is_some_and(|entry| listed.contains(&entry.live.account.name))
        };
        let elapsed = self.elapsed();
        self.publication.looked(elapsed, is_listed)
    }

    fn elapsed(&self) -> Duration {
        // A clock that fell back says nothing about how long Orthanc has been up: it is no longer starting.
        self.world.now().duration_since(self.started_at).unwrap_or(Duration::MAX)
    }
}

impl Entry {
    /// Whether no server may be there, because the gateway does not work.
    fn is_blocked(&self) -> bool {
        matches!(self.live.transport, Transport::Blocked(_))
    }

    /// Whether Google gave a token, where one is needed, and transfers can succeed. Behind the gateway a server is there before
    /// that.
    fn can_be_used(&self) -> bool {
        let has_token = self.live.account.source.is_none() || self.kept.borrow().grant().is_some();
        has_token && self.live.transport_failure.is_none()
    }

    fn tell(&mut self, seen: Seen) {
        let LiveAccount { account, transport, .. } = &*self.live;
        let (name, title) = (&account.name, account.title());
        match seen {
            Seen::Holds => self.live.server_is(ServerState::Held),
            Seen::Gone => self.live.server_is_gone(),
            Seen::Deleted => self.live.server_is(ServerState::Deleted),
        }
        match seen {
            Seen::Holds if !self.announced && self.can_be_used() => {
                self.announced = true;
                let url = account.url();
                let way = match transport {
                    Transport::Gateway { .. } => ", through the gateway",
                    Transport::Direct | Transport::FallenBack(_) | Transport::Blocked(_) => "",
                };
                tracing::warn!("{title}: ready, as DICOMweb server \"{name}\" for {url}{way}");
            }
            // The gateway has the tokens; its server stays the same.
            Seen::Holds if matches!(transport, Transport::Gateway { .. }) => {}
            Seen::Holds if matches!(*self.kept.borrow(), Kept::Expired(_)) => {
                tracing::info!("{title}: its server holds no token now");
            }
            Seen::Holds => tracing::info!("{title}: its server has the new token"),
            Seen::Gone => tracing::info!(
                "{title}: the DICOMweb plugin dropped its server while starting; it is given again"
            ),
            Seen::Deleted => tracing::warn!(
                "{title}: somebody deleted its DICOMweb server \"{name}\"; it comes back with the next token, or when Orthanc restarts"
            ),
        }
    }
}
