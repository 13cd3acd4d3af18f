//! Asks the store once, a moment after the account is ready, whether it lets the account in.
//!
//! The DICOMweb plugin makes "Bad credentials" of every refusal and keeps Google's words to itself, so that a missing role
//! would be found out by the first user, and its name by nobody. Nothing depends on the outcome but a line in the log.

use std::{sync::Arc, time::Duration};

use google_credentials::{Failure, FailureKind, Grant, Kept, Method, Request, World, remedy};
use orthanc_gcp_configuration::Account;

use crate::status::LiveAccount;

/// The start belongs to the tokens: the check comes so much later, and up to twice so much.
const AFTER_READY: Duration = Duration::from_secs(3);
/// While the store refuses, it is asked again as often, and at each new token: roles take minutes to come into force.
const LOOKS_BETWEEN: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A search that finds nothing (PS3.18 section 10.6): no patient's data is sent for a question about a role.
const SEARCH: &str = "studies?StudyInstanceUID=2.25.0&limit=1";

/// Asks until the store lets the account in.
pub(crate) async fn check_store(world: Arc<dyn World>, live: Arc<LiveAccount>) {
    let account = &live.account;
    let mut kept = live.handle.kept();
    if kept.wait_for(|kept| matches!(kept, Kept::Token(_))).await.is_err() {
        return;
    }
    world.sleep(AFTER_READY.mul_f64(1.0 + world.dice())).await;
    let mut told: Option<Failure> = None;
    loop {
        let newest = kept.borrow_and_update().clone();
        if let Kept::Token(grant) = newest {
            let title = account.title();
            match ask(&*world, account, &grant).await {
                Ok(()) if told.is_some() => {
                    live.store_accepts();
                    tracing::warn!("{title}: Google lets it use the DICOM store now");
                    return;
                }
                Ok(()) => {
                    tracing::info!("{title}: Google lets it use the DICOM store");
                    return;
                }
                Err(failure) => {
                    if failure.kind == FailureKind::NeedsPerson {
                        live.store_refuses(failure.clone(), world.now());
                    }
                    let repeated = told.as_ref().is_some_and(|told| told.remedy == failure.remedy);
                    if failure.kind == FailureKind::NeedsPerson && !repeated {
                        tracing::error!("{title}: Google refuses the DICOM store: {failure}");
                        told = Some(failure);
                    } else {
                        tracing::info!("{title}: the DICOM store could not be asked: {failure}");
                    }
                }
            }
        }
        for _ in 0..LOOKS_BETWEEN {
            tokio::select! {
                () = world.sleep(LOOK_EVERY) => {}
                changed = kept.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

/// One search, with the account's token.
async fn ask(world: &dyn World, account: &Account, grant: &Grant) -> Result<(), Failure> {
    let url = format!("{}{SEARCH}", account.url(&grant.universe_domain));
    let mut request = Request::new(Method::Get, &url)
        .header("Accept", "application/dicom+json")
        .secret_header("Authorization", format!("Bearer {}", grant.token.value.expose()));
    if let Some(project) = &grant.quota_project {
        request = request.header("X-Goog-User-Project", project);
    }
    let sent_at = world.now();
    let response = world.send(&request).await.map_err(|error| remedy::of_transport(&url, &error))?;
    if matches!(response.status, 200 | 204) {
        return Ok(());
    }
    Err(remedy::of_store(&url, &response, sent_at, grant.principal.as_deref()))
}
