"""A failure is blamed on a proxy only where there is a proxy.

Source: knopkem/dicomweb-proxy, GoogleCloudPlatform/cloud-sql-proxy: addresses that contain the word
"""


def run(site):
    for address in (
        "http://dicomweb-proxy.invalid/token",
        "https://proxy-tokens.invalid/token",
        "http://tunnel.invalid/token",
        "http://127.0.0.1:1/proxy/token",
        "https://127.0.0.1:1/tunnel/unsuccessful",
        "http://user-socks-proxy.invalid/407",
    ):
        said = site.token(site.user_account(address))
        site.expect(said.code != 0, f"{address} gave a token")
        site.expect("the proxy" not in said.text, f"{address}: {said.text}")
