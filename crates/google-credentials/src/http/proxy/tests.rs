//! The table of what curl does: `curl 7.88.1 -s URL` with these variables. Only with addresses of version 6 that version
//! compares texts; here as in later ones.

use super::*;

#[test]
fn values_are_read_as_libcurl_reads_them() {
    for (text, address, user) in [
        ("192.168.0.1:3128", "http://192.168.0.1:3128", None),
        ("http://proxy:80/", "http://proxy:80", None),
        ("HTTP://proxy:80/path?x", "http://proxy:80", None),
        ("proxy", "http://proxy:1080", None),
        ("https://proxy", "https://proxy:443", None),
        ("[::1]:3128", "http://[::1]:3128", None),
        ("socks5://proxy", "socks5://proxy:1080", None),
        ("SOCKS5h://proxy:9050", "socks5h://proxy:9050", None),
        ("socks://proxy", "socks4://proxy:1080", None),
        ("socks4a://proxy", "socks4a://proxy:1080", None),
        ("my_proxy:1", "http://my_proxy:1", None),
        ("u:p@proxy:3128", "http://proxy:3128", Some(("u", "p"))),
        ("u%5C1:p%40ss%3Aw@proxy:3128", "http://proxy:3128", Some(("u\\1", "p@ss:w"))),
        ("u:p@ss:w@proxy:3128", "http://proxy:3128", Some(("u", "p@ss:w"))),
        ("https://u@proxy", "https://proxy:443", Some(("u", ""))),
        ("user:hunter2://x@proxy:1", "http://proxy:1", Some(("user", "hunter2://x"))),
        ("socks5://u:p%40ss@proxy:1", "socks5://proxy:1", Some(("u", "p@ss"))),
    ] {
        let proxy = Proxy::parse(text).unwrap();
        assert_eq!((proxy.address.as_str(), proxy.problem()), (address, None), "{text}");
        let shown = proxy.user.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
        assert_eq!(shown, user);
        assert!(!format!("{proxy:?}").contains("p@ss"));
    }
    assert_eq!(Proxy::parse(" "), None);
    let socks = Proxy::parse("socks5://u:p%40ss@proxy:1").unwrap().url().unwrap();
    assert_eq!(socks.as_str(), "socks5://u:p%40ss@proxy:1");
    assert_eq!(Proxy::parse("u:p@proxy:1").unwrap().url().unwrap().as_str(), "http://proxy:1/");
}

#[test]
fn a_value_that_is_not_understood_is_a_proxy_that_cannot_be_used() {
    use ProxyProblem::{Address, Scheme};
    for (text, problem) in [
        ("ftp://127.0.0.1:21", Scheme),
        ("quic://proxy:1", Scheme),
        ("socks6://proxy:1", Scheme),
        ("http://ward 7:x/", Address),
        ("http://proxy:99999", Address),
        ("proxy:0", Address),
        ("http:proxy:3128", Address),
        ("http://", Address),
        ("u:hunter2hunter2@", Address),
        ("//proxy:3128", Address),
        (":3128", Address),
    ] {
        let proxy = Proxy::parse(text).unwrap();
        assert_eq!(proxy.problem(), Some(problem), "{text}");
        assert_eq!((proxy.address.as_str(), proxy.url()), ("", None));
        for set_by in ["HttpProxy", "https_proxy"] {
            let refused = ProxyBefore { proxy: &proxy, set_by }.check().unwrap_err();
            assert!(refused.cause.starts_with(&format!("{set_by}: ")), "{refused}");
            assert!(!refused.cause.contains("hunter2"), "{refused}");
        }
    }
}

/// What sets the proxy before `url`.
fn set_by(configured: &str, environment: &[(&str, &str)], url: &str) -> Option<&'static str> {
    let env = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let proxies = Proxies::read(Proxy::parse(configured).as_ref(), env);
    proxies.before(&Url::parse(url).unwrap()).map(|before| before.set_by)
}

#[test]
fn variables_in_the_order_of_libcurl() {
    const HTTP: &str = "http://store.example/";
    const HTTPS: &str = "https://store.example/";
    for (configured, environment, http, https) in [
        ("", &[][..], None, None),
        ("p:1", &[], Some("HttpProxy"), Some("HttpProxy")),
        ("p:1", &[("https_proxy", "q:1"), ("http_proxy", "q:1")], Some("HttpProxy"), Some("HttpProxy")),
        ("", &[("http_proxy", "p:1")], Some("http_proxy"), None),
        ("", &[("HTTP_PROXY", "p:1")], None, None),
        ("", &[("https_proxy", "p:1")], None, Some("https_proxy")),
        ("", &[("HTTPS_PROXY", "p:1")], None, Some("HTTPS_PROXY")),
        ("", &[("HTTPS_PROXY", "p:1"), ("https_proxy", "q:1")], None, Some("https_proxy")),
        ("", &[("HTTPS_PROXY", "p:1"), ("https_proxy", "")], None, Some("HTTPS_PROXY")),
        ("", &[("all_proxy", "p:1")], Some("all_proxy"), Some("all_proxy")),
        ("", &[("ALL_PROXY", "p:1")], Some("ALL_PROXY"), Some("ALL_PROXY")),
        ("", &[("ALL_PROXY", "p:1"), ("all_proxy", "q:1")], Some("all_proxy"), Some("all_proxy")),
        ("", &[("ALL_PROXY", "p:1"), ("http_proxy", "q:1")], Some("http_proxy"), Some("ALL_PROXY")),
        ("", &[("https_proxy", " ")], None, Some("https_proxy")),
        ("", &[("https_proxy", "ftp://p:1")], None, Some("https_proxy")),
        // Small letters first, also where they name another host.
        ("p:1", &[("no_proxy", "store.example")], None, None),
        ("p:1", &[("NO_PROXY", "store.example")], None, None),
        ("p:1", &[("no_proxy", "x"), ("NO_PROXY", "store.example")], Some("HttpProxy"), Some("HttpProxy")),
        ("p:1", &[("no_proxy", ""), ("NO_PROXY", "store.example")], None, None),
    ] {
        let found = (set_by(configured, environment, HTTP), set_by(configured, environment, HTTPS));
        assert_eq!(found, (http, https), "{configured} {environment:?}");
    }
}

#[test]
fn no_proxy_as_curl_reads_it() {
    const NAME: &str = "h.ward.example";
    for (host, no_proxy, direct) in [
        (NAME, "", false),
        (NAME, "*", true),
        (NAME, " *", false),
        (NAME, "* ", false),
        (NAME, "*,x", false),
        (NAME, "x,*", false),
        (NAME, "*.ward.example", false),
        (NAME, "ward.example", true),
        (NAME, ".ward.example", true),
        ("ward.example", ".ward.example", true),
        ("ward.example", "..ward.example", false),
        ("hward.example", "ward.example", false),
        ("ward.example", "h.ward.example", false),
        (NAME, "WARD.example", true),
        ("h.ward.example.", "ward.example", true),
        (NAME, "ward.example.", true),
        (NAME, "ward.example:9", false),
        (NAME, "x,ward.example", true),
        (NAME, "x, ward.example ,y", true),
        (NAME, "x ward.example", true),
        (NAME, "x\tward.example", true),
        (NAME, ",,ward.example,", true),
        (NAME, "x;ward.example", false),
        (NAME, ".", false),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.1", "127.0.0.1", true),
        ("127.0.0.1", "*", true),
        ("127.0.0.1", "127.0.0.0/8", true),
        ("127.0.0.1", "127.0.0.1/8", true),
        ("127.0.0.1", "127.0.0.1/32", true),
        ("127.0.0.1", "127.0.0.1/0", true),
        ("127.0.0.1", "0.0.0.0/0", false),
        ("127.0.0.1", "127.0.0.1/33", false),
        ("127.0.0.1", "127.0.0.0/", false),
        ("127.0.0.1", "127.0.0.0/x", false),
        ("127.0.0.1", "127.0.0.1:9", false),
        ("127.0.0.1", "127.0.0", false),
        ("127.0.0.1", "0.0.1", false),
        ("127.0.0.1", ".0.0.1", false),
        ("127.0.0.1", "127.*", false),
        ("127.0.0.1", "localhost", false),
        ("localhost", "127.0.0.1", false),
        ("localhost", "localhost", true),
        ("10.1.2.3", "192.168.0.0/16, 10.0.0.0/8", true),
        ("[::1]", "::1", true),
        ("[0:0::1]", "::1", true),
        ("[::1]", "[::1]", true),
        ("[::1]", "::/64", true),
        ("[::1]", "[::]/64", true),
        ("[::1]", "::1/129", false),
        ("[2001:db8::1]", "2001:db8::/33", true),
        ("[2001:db8:8000::1]", "2001:db8::/33", false),
        ("[::1]", "[::1]:9", false),
        ("[::1]", "127.0.0.1", false),
    ] {
        let found = set_by("p:1", &[("no_proxy", no_proxy)], &format!("http://{host}:9/"));
        assert_eq!(found.is_none(), direct, "{host} {no_proxy:?}");
    }
}

#[test]
fn what_is_there_for_this_machine_alone_is_never_behind_a_proxy() {
    for (host, direct) in [
        ("169.254.169.254", true),
        ("169.254.170.2", true),
        ("2852039166", true),
        ("0xa9.254.169.254", true),
        ("[::ffff:169.254.169.254]", true),
        ("[fe80::1]", true),
        ("[fd00:ec2::254]", true),
        ("[fd00:ec2::23]", true),
        ("[fd20:ce::254]", true),
        ("100.100.100.200", true),
        ("168.63.129.16", true),
        ("metadata.google.internal", true),
        ("METADATA.google.internal.", true),
        ("metadata.goog", true),
        ("instance-data.ec2.internal", true),
        ("instance-data", true),
        ("169.253.1.1", false),
        ("100.100.100.201", false),
        ("[fd00::1]", false),
        ("x.metadata.google.internal", false),
        // As libcurl.
        ("127.0.0.1", false),
        ("localhost", false),
    ] {
        for configured in ["p:1", "ftp://p:1"] {
            let found = set_by(configured, &[], &format!("http://{host}/"));
            assert_eq!(found.is_none(), direct, "{host}");
        }
    }
}
