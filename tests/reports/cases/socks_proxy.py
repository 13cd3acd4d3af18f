"""A SOCKS proxy, which Orthanc's libcurl accepts, works or is rejected in words of its own.

Source: libcurl, CURLOPT_PROXY
"""


def run(site):
    tokens = site.server()
    for scheme in ("socks5", "socks5h", "socks4", "socks4a"):
        said = site.token(site.user_account(tokens.url("/token"), {"HttpProxy": f"{scheme}://127.0.0.1:1"}))
        site.expect(said.code != 0 and not tokens.requests, f"{scheme}: the request went out directly")
        site.expect("or set HttpProxy" not in said.text, f"{scheme}: {said.text}")
        words = ("socks", "HttpProxy")
        site.expect(all(word.lower() in said.text.lower() for word in words), f"{scheme}: {said.text}")
