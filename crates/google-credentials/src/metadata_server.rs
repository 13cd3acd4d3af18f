//! The metadata server of GCE, GKE workload identity and Cloud Run (AIP-4115).

use crate::{
    AccessToken, Failure, FailureKind, Request, Response, World,
    asking::Asking,
    http::{Method, shown_url},
    token,
};

/// The name that only machines of Google know.
const HOST: &str = "metadata.google.internal";
/// The header that shows the server that no web page has made the request, and us that no router answers.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

/// Asks for a token of the service account attached to this machine: the default one, or the one of that e-mail address.
///
/// `scopes` is sent where the configuration names scopes; GCE itself knows those of the machine alone.
pub(crate) async fn token(
    asking: &Asking<'_>,
    service_account: Option<&str>,
    scopes: Option<&[String]>,
) -> Result<AccessToken, Failure> {
    let account = service_account.unwrap_or("default");
    let mut url = format!("{}instance/service-accounts/{account}/token", root(asking.world));
    if let Some(scopes) = scopes {
        url = format!("{url}?scopes={}", scopes.join(","));
    }
    let request = Request::new(Method::Get, &url).header(FLAVOR.0, FLAVOR.1).to_metadata_server();
    let sent_at = asking.world.now();
    let response = asking.send(&request).await.map_err(|failure| Failure {
        remedy: "Google's machines have a metadata server, others have none: use ServiceAccountFile or CredentialsFile there; on a machine that has just started it is tried again".to_owned(),
        ..failure
    })?;
    check(&url, &response, service_account)?;
    token::read_answer(&url, &response, sent_at)
}

/// The e-mail address of this machine's default service account; `None` where that is not told.
pub(crate) async fn email(asking: &Asking<'_>) -> Option<String> {
    let url = format!("{}instance/service-accounts/default/email", root(asking.world));
    let request = Request::new(Method::Get, &url).header(FLAVOR.0, FLAVOR.1).to_metadata_server();
    let response = asking.send(&request).await.ok()?;
    let ours = response.status == 200 && response.header("metadata-flavor") == Some(FLAVOR.1);
    let email = String::from_utf8(response.body).ok().filter(|_| ours)?;
    let email = email.trim();
    // On Kubernetes it may be a workload identity pool, `project.svc.id.goog`.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._@:".contains(c);
    (!email.is_empty() && email.chars().all(plain)).then(|| email.to_owned())
}

fn check(url: &str, response: &Response, service_account: Option<&str>) -> Result<(), Failure> {
    if response.header("metadata-flavor") != Some(FLAVOR.1) {
        let cause = format!(
            "{} answered {} without the header `Metadata-Flavor: Google`",
            shown_url(url),
            response.status
        );
        let remedy = "this is not Google's metadata server: check GCE_METADATA_HOST, and whether a proxy or router answers";
        return Err(Failure::new(FailureKind::Transient, cause, remedy));
    }
    if response.status != 404 {
        return Ok(());
    }
    let cause = format!("{} answered 404: \"{}\"", shown_url(url), response.quoted().trim());
    let remedy = match service_account {
        None => {
            "attach a service account to this machine (or bind one to the Kubernetes service account), with the scope cloud-platform"
        }
        Some(_) => {
            "attach the service account that MetadataServer names to this machine, or name none to use its default one"
        }
    };
    Err(Failure::new(FailureKind::NeedsPerson, cause, remedy))
}

/// The server's root, ending with a slash. The environment may name another host (`GCE_METADATA_HOST`, formerly
/// `GCE_METADATA_ROOT`) or only its address (`GCE_METADATA_IP`).
fn root(world: &dyn World) -> String {
    let named = ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"];
    let host = named.into_iter().find_map(|name| world.env(name).filter(|host| !host.is_empty()));
    format!("http://{}/computeMetadata/v1/", host.as_deref().unwrap_or(HOST))
}
