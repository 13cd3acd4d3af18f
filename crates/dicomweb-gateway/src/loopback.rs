//! Whether libcurl, with which the DICOMweb plugin sends its requests, reaches this machine's own address.

use google_credentials::{HttpSettings, Proxies, World};
use reqwest::Url;

/// What the DICOMweb plugin asks of the gateway begins like this.
const LOOPBACK: &str = "http://127.0.0.1/";

/// The proxy through which the DICOMweb plugin's libcurl would go even to 127.0.0.1, in words. A gateway there cannot be
/// reached by it.
pub fn proxy_before_loopback(world: &dyn World, http: &HttpSettings) -> Option<&'static str> {
    let proxies = Proxies::read(http.proxy.as_ref(), |name| world.env(name));
    let before = proxies.before(&Url::parse(LOOPBACK).ok()?)?;
    Some(match before.set_by {
        "HttpProxy" => "Orthanc's HttpProxy",
        _ => "the proxy of the environment",
    })
}
