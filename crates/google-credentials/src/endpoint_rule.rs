//! Which servers a credential's file may send a credential to.
//!
//! Who writes the file must not decide where the credential goes: Google's own token servers are known, and any other is named
//! by the configuration.

use url::{Host, Url};

use crate::{source::Source, universe::DEFAULT_UNIVERSE_DOMAIN};

/// Google's services that give tokens. Others, under the same domain, store what they are sent.
const SERVICES: [&str; 3] = ["oauth2", "sts", "iamcredentials"];

/// What the configuration says about where a credential may go.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndpointRule {
    /// The account's universe.
    pub(crate) universe_domain: String,
    token_uri: Option<Url>,
    iam_uri: Option<Url>,
}

impl EndpointRule {
    /// That of an account.
    pub(crate) fn of(source: &Source) -> Self {
        let parsed = |uri: &Option<String>| uri.as_deref().and_then(|uri| Url::parse(uri).ok());
        Self {
            universe_domain: source.universe_domain.clone(),
            token_uri: parsed(&source.token_uri),
            iam_uri: parsed(&source.iam_uri),
        }
    }

    /// Whether `TokenUri` takes the place of every token endpoint that a file names.
    pub(crate) fn has_token_uri(&self) -> bool {
        self.token_uri.is_some()
    }

    /// Whether a credential may be sent to `url`: one of Google's token servers over TLS, or a server that `TokenUri` or `IamUri`
    /// names.
    pub(crate) fn allows(&self, url: &Url) -> bool {
        let is_named = |named: &Url| named.origin() == url.origin();
        if self.token_uri.iter().chain(&self.iam_uri).any(is_named) {
            return true;
        }
        let Some(Host::Domain(host)) = url.host() else { return false };
        let www = format!("www.{DEFAULT_UNIVERSE_DOMAIN}");
        url.scheme() == "https"
            && (host == "accounts.google.com"
                || host == www && url.path().starts_with("/oauth2/")
                || is_token_server(host, &self.universe_domain)
                || is_token_server(host, DEFAULT_UNIVERSE_DOMAIN))
    }
}

/// Whether `host` is one of Google's token services below `universe`: also a regional, mTLS or Private Service Connect one, whose
/// forms are those that Google's libraries knew.
fn is_token_server(host: &str, universe: &str) -> bool {
    let Some(labels) = host.strip_suffix(universe).and_then(|labels| labels.strip_suffix('.')) else {
        return false;
    };
    let labels = labels.strip_suffix(".mtls").unwrap_or(labels);
    let labels: Vec<&str> = labels.split('.').collect();
    SERVICES.iter().any(|service| match labels.as_slice() {
        [one] => {
            one == service
                || one.strip_suffix(service).is_some_and(|region| region.len() > 1 && region.ends_with('-'))
        }
        [name, "p"] => name.strip_prefix(service).is_some_and(|rest| rest.len() > 1 && rest.starts_with('-')),
        [one, two] => one == service || two == service,
        [one, _, "rep"] => one == service,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Credential;

    fn allowed(source: &Source, url: &str) -> bool {
        EndpointRule::of(source).allows(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_credential_goes_to_google_or_where_the_configuration_says() {
        let google = Source::of(Credential::ApplicationDefault);
        for url in [
            "https://oauth2.googleapis.com/token",
            "https://OAUTH2.googleapis.com:443/token",
            "https://accounts.google.com/o/oauth2/token",
            "https://www.googleapis.com/oauth2/v4/token",
            "https://sts.googleapis.com/v1/token",
            "https://sts.mtls.googleapis.com/v1/token",
            "https://us-east1-sts.googleapis.com/v1/token",
            "https://sts.us-east1.googleapis.com/v1/token",
            "https://sts.us-east1.rep.googleapis.com/v1/token",
            "https://sts-hospital.p.googleapis.com/v1/token",
            "https://iamcredentials.googleapis.com/v1/x",
        ] {
            assert!(allowed(&google, url), "{url}");
        }
        for url in [
            "http://oauth2.googleapis.com/token",
            "https://attacker.example/token",
            "https://oauth2.googleapis.com.attacker.example/token",
            "https://oauth2googleapis.com/token",
            "https://evilgoogleapis.com/token",
            "https://googleapis.com/token",
            "https://oauth2.googleapis.com@attacker.example/token",
            "https://accounts.google.com.attacker.example/",
            "https://storage.googleapis.com/upload/storage/v1/b/attackers/o",
            "https://www.googleapis.com/upload/storage/v1/b/attackers/o",
            "https://-sts.googleapis.com/",
            "https://127.0.0.1/token",
            "https://sts.apis-berlin.example/v1/token",
        ] {
            assert!(!allowed(&google, url), "{url}");
        }
        let berlin = Source { universe_domain: "apis-berlin.example".to_owned(), ..google.clone() };
        assert!(allowed(&berlin, "https://sts.apis-berlin.example/v1/token"));
        let own = Source { iam_uri: Some("http://127.0.0.1:7/iam/".to_owned()), ..google };
        assert!(allowed(&own, "http://127.0.0.1:7/token"));
        for url in ["https://127.0.0.1:7/token", "http://127.0.0.1:8/token", "http://127.0.0.2:7/token"] {
            assert!(!allowed(&own, url), "{url}");
        }
    }
}
