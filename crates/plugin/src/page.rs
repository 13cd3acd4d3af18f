//! The page at `/google-cloud-platform/app/`, and its button in Orthanc Explorer: files of the folder `page`, in the library.
//!
//! The page asks the same routes as everybody else, and nothing but itself is allowed to it.

use orthanc_sdk::{Host, Method, RestReply, RestRequest};
use ring::digest::{SHA256, digest};

/// Below the plugin's own routes, whose path this is relative to.
const FOLDER: &str = "app";
/// Where the page is, relative to Orthanc Explorer, so that it works behind a path prefix.
const ROOT_URI: &str = "../google-cloud-platform/app/index.html";
const BUTTON: &str = include_str!("../page/explorer.js");

/// Only itself, and only in a frame of itself. Without `unsafe-inline`, text that got in as HTML could not run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

struct File {
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

macro_rules! files {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        [$(File { name: $name, content_type: $content_type, content: include_bytes!(concat!("../page/", $name)) }),*]
    };
}

const FILES: [File; 13] = files![
    "index.html": HTML,
    "page.css": CSS,
    "icon.svg": SVG,
    "page.js": JAVASCRIPT,
    "accounts.js": JAVASCRIPT,
    "check.js": JAVASCRIPT,
    "element.js": JAVASCRIPT,
    "icons.js": JAVASCRIPT,
    "orthanc.js": JAVASCRIPT,
    "plot.js": JAVASCRIPT,
    "rest.js": JAVASCRIPT,
    "transfers.js": JAVASCRIPT,
    "words.js": JAVASCRIPT,
];

/// Makes the page known to Orthanc Explorer: its list of plugins links to it, and its start page has a button.
pub(crate) fn announce(host: &Host) {
    host.set_root_uri(ROOT_URI);
    host.extend_orthanc_explorer(BUTTON);
}

/// The answer to `parts`, a path below `/google-cloud-platform/`; `None` where it is not the page's.
pub(crate) fn answer(parts: &[&str], request: &RestRequest<'_>) -> Option<RestReply> {
    let reply = match parts {
        // Orthanc hides a slash at the end, and a relative address leads elsewhere with one than without. Each of these
        // is right with one of the two, and what the other makes of it is redirected in turn.
        [] => redirect("google-cloud-platform/app/index.html"),
        ["google-cloud-platform", FOLDER, "index.html"] => redirect("../../app/index.html"),
        [FOLDER] => redirect("index.html"),
        ["index.html"] => redirect("app/index.html"),
        [FOLDER, name] => file(FILES.iter().find(|file| file.name == *name)?, request),
        _ => return None,
    };
    Some(if request.method == Method::Get { reply } else { RestReply::method_not_allowed("GET") })
}

/// Relative (RFC 9110 section 10.2.2): only the browser knows a reverse proxy's path prefix.
fn redirect(location: &str) -> RestReply {
    RestReply::new(302, "text/plain", "")
        .with_header("Location", location)
        .with_header("Cache-Control", "no-cache")
}

fn file(file: &File, request: &RestRequest<'_>) -> RestReply {
    let tag = tag(file.content);
    let is_known = request.header("if-none-match").is_some_and(|known| known.contains(&tag));
    let (status, body) = if is_known { (304, &[][..]) } else { (200, file.content) };
    RestReply::new(status, file.content_type, body)
        .with_header("ETag", tag)
        // Kept, and asked for every time: another version of the plugin has other files under the same names.
        .with_header("Cache-Control", "no-cache")
        .with_header("Content-Security-Policy", POLICY)
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Referrer-Policy", "same-origin")
}

/// A weak one (RFC 9110 section 8.8.1): Orthanc may compress the content.
fn tag(content: &[u8]) -> String {
    let hash = digest(&SHA256, content);
    let half = hash.as_ref().iter().take(16).fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
    format!("W/\"{half:032x}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, path: &str, known: Option<&str>) -> Option<RestReply> {
        let headers = known.map(|tag| ("if-none-match".to_owned(), tag.to_owned())).into_iter().collect();
        let request = RestRequest {
            method,
            path: String::new(),
            groups: Vec::new(),
            query: Vec::new(),
            headers,
            body: &[],
        };
        answer(&path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>(), &request)
    }

    fn header<'a>(reply: &'a RestReply, wanted: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_file_of_the_folder_is_served_but_the_button() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let reply = ask(Method::Get, &format!("app/{name}"), None);
            assert_eq!(reply.is_some(), name != "explorer.js", "{name}");
            assert!(reply.is_none_or(|reply| header(&reply, "Content-Security-Policy") == Some(POLICY)));
        }
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let first = ask(Method::Get, "app/index.html", None).unwrap();
        assert_eq!((first.status, &*first.content_type), (200, HTML));
        let tag = header(&first, "ETag").unwrap();
        let again = ask(Method::Get, "app/index.html", Some(tag)).unwrap();
        assert_eq!((again.status, again.body.len(), header(&again, "ETag")), (304, 0, Some(tag)));
        let other = ask(Method::Get, "app/page.css", Some(tag)).unwrap();
        assert_eq!(other.status, 200);
    }

    #[test]
    fn typed_addresses_lead_to_the_page_with_and_without_a_slash_at_the_end() {
        const PAGE: &str = "https://hospital.example/prefix/google-cloud-platform/app/index.html";
        let root = url::Url::parse("https://hospital.example/prefix/").unwrap();
        for (typed, most_redirects) in [
            ("google-cloud-platform", 1),
            ("google-cloud-platform/", 2),
            ("google-cloud-platform/app", 2),
            ("google-cloud-platform/app/", 1),
            ("google-cloud-platform/app/index.html", 0),
        ] {
            let mut address = root.join(typed).unwrap();
            let mut redirects = 0;
            loop {
                let path = address.path().strip_prefix("/prefix/google-cloud-platform").unwrap();
                let reply = ask(Method::Get, path.trim_matches('/'), None).unwrap();
                let Some(location) = header(&reply, "Location") else { break };
                assert_eq!(reply.status, 302, "{address}");
                address = address.join(location).unwrap();
                redirects += 1;
                assert!(redirects <= most_redirects, "{typed}: {address}");
            }
            assert_eq!(address.as_str(), PAGE, "{typed}");
        }
    }

    #[test]
    fn the_rest_is_not_there() {
        for path in
            ["app/nothing.js", "app/app", "app/app/index.html", "app/index.html/more", "accounts", "page.js"]
        {
            assert_eq!(ask(Method::Get, path, None), None, "{path}");
        }
        assert_eq!(ask(Method::Post, "app/index.html", None), Some(RestReply::method_not_allowed("GET")));
    }

    /// Text from DICOM and Google must never be read as HTML or code, and nothing comes from elsewhere.
    #[test]
    fn the_page_makes_no_html_of_text_and_needs_nothing_from_elsewhere() {
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "createContextualFragment",
            "DOMParser",
            "srcdoc",
            "setHTML",
            "eval(",
            "new Function",
            "style=",
            "onclick=",
            "onerror=",
            "javascript:",
            "//fonts",
            "https://",
        ];
        for file in &FILES {
            let text = std::str::from_utf8(file.content).unwrap();
            for word in banned {
                assert!(!text.contains(word), "{}: {word}", file.name);
            }
            // The namespace of SVG is a name, and no address.
            assert_eq!(text.matches("http://").count(), text.matches("http://www.w3.org/2000/svg").count());
            assert!(text.lines().count() < 400, "{} is long", file.name);
        }
        assert!(!BUTTON.contains(".html("));
    }
}
