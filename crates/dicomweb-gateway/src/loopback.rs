//! Whether libcurl, with which the DICOMweb plugin sends its requests, reaches this machine's own address.

use google_credentials::{HttpSettings, World};

/// The proxy through which the DICOMweb plugin's libcurl would go even to 127.0.0.1, in words. A gateway there cannot be
/// reached by it.
pub fn proxy_before_loopback(world: &dyn World, http: &HttpSettings) -> Option<&'static str> {
    let env = |name: &str| world.env(name).filter(|value| !value.is_empty());
    let proxy = if http.proxy.is_some() {
        "Orthanc's HttpProxy"
    } else if env("http_proxy").or_else(|| env("all_proxy")).or_else(|| env("ALL_PROXY")).is_some() {
        "the proxy of the environment"
    } else {
        return None;
    };
    let exceptions = env("no_proxy").or_else(|| env("NO_PROXY")).unwrap_or_default();
    (!excepts_loopback(&exceptions)).then_some(proxy)
}

/// Whether `NO_PROXY`, as libcurl reads it, has 127.0.0.1.
fn excepts_loopback(exceptions: &str) -> bool {
    let mut names = exceptions.split([',', ' ', '\t']).filter(|name| !name.is_empty());
    exceptions.trim() == "*" || names.any(|name| matches!(name, "127.0.0.1" | "127.0.0.1/32" | "127.0.0.0/8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_as_libcurl_reads_it() {
        for (exceptions, covered) in [
            ("", false),
            ("localhost", false),
            ("127.0.0.1", true),
            ("localhost,127.0.0.1", true),
            ("localhost, 127.0.0.1 ,::1", true),
            ("127.0.0.0/8", true),
            ("*", true),
            ("*.hospital.example", false),
            ("10.127.0.0.1", false),
        ] {
            assert_eq!(excepts_loopback(exceptions), covered, "{exceptions}");
        }
    }
}
