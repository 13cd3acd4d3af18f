//! The metadata server of GCE, GKE workload identity and Cloud Run (AIP-4115).

use crate::{
    AccessToken, Failure, FailureKind, Request, Response, World,
    asking::Asking,
    http::{Method, shown_url},
    quoted::{is_harmless, quoted},
    token,
};

/// The name that only machines of Google know.
const HOST: &str = "metadata.google.internal";
/// The header that shows the server that no web page has made the request, and us that no router answers.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");
const FLAVOR_LOWER: &str = "metadata-flavor";

/// Which server is asked, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server<'a> {
    /// The one that may be there, for the machine's default account: whatever answers has to show that it is Google's.
    Detected,
    /// The one that the configuration wants, for an account of that e-mail address or the default one. That it gives tokens is
    /// proof enough: stand-ins in Kubernetes answer without the header.
    Configured(Option<&'a str>),
}

impl<'a> Server<'a> {
    /// The service account that was named.
    pub(crate) fn account(self) -> Option<&'a str> {
        match self {
            Self::Detected => None,
            Self::Configured(account) => account,
        }
    }

    /// Whether an answer has to have the header.
    fn must_show_itself(self, world: &dyn World) -> bool {
        matches!(self, Self::Detected) && named_host(world).is_none()
    }
}

/// Asks for a token of the service account attached to this machine: the default one, or the one of that e-mail address.
///
/// `scopes` is sent where the configuration names scopes; GCE itself knows those of the machine alone.
pub(crate) async fn token(
    asking: &Asking<'_>,
    server: Server<'_>,
    scopes: Option<&[String]>,
) -> Result<AccessToken, Failure> {
    let account = server.account().unwrap_or("default");
    let mut url = format!("{}instance/service-accounts/{account}/token", root(asking.world)?);
    if let Some(scopes) = scopes {
        url = format!("{url}?scopes={}", scopes.join(","));
    }
    let request = Request::new(Method::Get, &url).header(FLAVOR.0, FLAVOR.1).to_metadata_server();
    let sent_at = asking.world.now();
    let response = asking.send(&request).await.map_err(|failure| Failure {
        remedy: "Google's machines have a metadata server, others have none: use ServiceAccountFile or CredentialsFile there; on a machine that has just started it is tried again".to_owned(),
        ..failure
    })?;
    let read = || token::read_answer(&url, &response, sent_at);
    let is_google = response.header(FLAVOR_LOWER) == Some(FLAVOR.1);
    if !is_google && (server.must_show_itself(asking.world) || read().is_err()) {
        return Err(not_google(&url, &response));
    }
    check(&url, &response, server.account())?;
    read()
}

/// The e-mail address of this machine's default service account; `None` where that is not told.
pub(crate) async fn email(asking: &Asking<'_>, server: Server<'_>) -> Option<String> {
    let url = format!("{}instance/service-accounts/default/email", root(asking.world).ok()?);
    let request = Request::new(Method::Get, &url).header(FLAVOR.0, FLAVOR.1).to_metadata_server();
    let response = asking.send(&request).await.ok()?;
    let is_google = response.header(FLAVOR_LOWER) == Some(FLAVOR.1);
    let ours = response.status == 200 && (is_google || !server.must_show_itself(asking.world));
    let email = String::from_utf8(response.body).ok().filter(|_| ours)?;
    let email = email.trim();
    // On Kubernetes it may be a workload identity pool, `project.svc.id.goog`.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._@:".contains(c);
    (!email.is_empty() && email.chars().all(plain)).then(|| email.to_owned())
}

fn not_google(url: &str, response: &Response) -> Failure {
    let cause = format!(
        "{} answered {} without the header `Metadata-Flavor: Google`",
        shown_url(url),
        response.status
    );
    let remedy = "this is not Google's metadata server: check GCE_METADATA_HOST, and whether a proxy or router answers";
    Failure::new(FailureKind::Transient, cause, remedy)
}

fn check(url: &str, response: &Response, service_account: Option<&str>) -> Result<(), Failure> {
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

/// The server's root, ending with a slash.
fn root(world: &dyn World) -> Result<String, Failure> {
    let Some((name, host)) = named_host(world) else {
        return Ok(format!("http://{HOST}/computeMetadata/v1/"));
    };
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
    // A credential that stands there by mistake is no host to be looked up and named.
    if host.chars().all(fits) && is_harmless(&host) {
        return Ok(format!("http://{host}/computeMetadata/v1/"));
    }
    let cause = format!("the environment variable {name} is {}, which is no host", quoted(&host));
    let remedy = "set it to a host's name or address, with `:PORT` after it if need be, or remove it";
    Err(Failure::new(FailureKind::Configuration, cause, remedy))
}

/// The host that the environment names instead of Google's (`GCE_METADATA_HOST`, formerly `GCE_METADATA_ROOT`), or its address
/// (`GCE_METADATA_IP`); with the variable.
fn named_host(world: &dyn World) -> Option<(&'static str, String)> {
    let names = ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"];
    names.into_iter().find_map(|name| Some((name, world.env(name).filter(|host| !host.is_empty())?)))
}
