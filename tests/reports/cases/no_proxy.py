"""NO_PROXY and no_proxy are obeyed as libcurl does: `*`, and the small letters first.

Source: request/request#2500; curl(1), ENVIRONMENT
"""

from support import Reply


def run(site):
    proxy = site.server(lambda _: Reply(502, [], b"this is the proxy"))
    tokens = site.server()
    where = f"http://127.0.0.1:{proxy.port}"
    table = [
        # what the environment holds, and whether the request goes through the proxy
        ({}, True),
        ({"NO_PROXY": "*"}, False),
        ({"no_proxy": "*"}, False),
        ({"NO_PROXY": "127.0.0.1"}, False),
        ({"NO_PROXY": " example.org , 127.0.0.1 "}, False),
        ({"NO_PROXY": "example.org"}, True),
        ({"NO_PROXY": "127.0.0.0/8"}, False),
        ({"NO_PROXY": "10.0.0.0/8"}, True),
        ({"NO_PROXY": "example.org", "no_proxy": "127.0.0.1"}, False),
        ({"NO_PROXY": "127.0.0.1", "no_proxy": "example.org"}, True),
    ]
    for environment, through in table:
        for name, top, env in (("http_proxy", {}, {"http_proxy": where}), ("HttpProxy", {"HttpProxy": where}, {})):
            proxy.requests.clear()
            said = site.token(site.user_account(tokens.url("/token"), top), {**env, **environment})
            asked = bool(proxy.requests)
            site.expect(asked == through and (said.code != 0) == through, f"{name}, {environment}: proxy {asked}")
