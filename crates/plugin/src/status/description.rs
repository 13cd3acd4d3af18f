//! What each credential is, in words: read again whenever an attempt may have found another.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use google_credentials::World;

use super::{LiveAccount, locked};

/// Describes the account's credential for ever.
pub(crate) async fn describe(world: Arc<dyn World>, account: Arc<LiveAccount>) {
    let Some(source) = &account.account.source else { return };
    let mut health = account.handle.health();
    loop {
        let attempts = health.borrow_and_update().attempts();
        let mut description = source.described(&*world);
        {
            let mut known = locked(&account.description);
            // Only the metadata server could tell, and has.
            if let Some(known) = known.take().filter(|known| known.kind == description.kind) {
                description.principal = description.principal.or(known.principal);
            }
            *known = Some(description);
        }
        if health.wait_for(|health| health.attempts() != attempts).await.is_err() {
            return;
        }
    }
}

/// Describes it once, and asks the metadata server for what it alone knows.
pub(super) async fn describe_fully(world: Arc<dyn World>, account: Arc<LiveAccount>) {
    if let Some(source) = &account.account.source {
        let description = source.described_fully(&*world).await;
        *locked(&account.description) = Some(description);
    }
    account.is_being_described.store(false, SeqCst);
}
