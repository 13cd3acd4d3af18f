"""A proxy that is not understood is an error, and never bypassed.

Source: sbstp/attohttpc#129; curl: "Unsupported proxy scheme"
"""


def run(site):
    tokens = site.server()
    for proxy in ("ftp://127.0.0.1:21", "quic://127.0.0.1:1", "http://", "http://127.0.0.1:99999", "127.0.0.1:port"):
        said = site.token(site.user_account(tokens.url("/token"), {"HttpProxy": proxy}))
        site.expect(said.code != 0 and not tokens.requests, f"HttpProxy {proxy}: the request went out directly")
        site.expect("HttpProxy" in said.text, f"HttpProxy {proxy}: {said.text}")
    for variable in ("http_proxy", "all_proxy"):
        said = site.token(site.user_account(tokens.url("/token")), {variable: "ftp://127.0.0.1:21"})
        site.expect(said.code != 0 and not tokens.requests, f"{variable}: the request went out directly")
        site.expect(variable in said.text, f"{variable}: {said.text}")
