"""More than 100 header fields are accepted, or their number is named.

Source: hyperium/hyper, the limit of 100 header fields; curl accepts 5,000
"""

import json

from support import JSON, TOKEN, Reply, store


def run(site):
    for count in (90, 120, 250):
        extra = [(f"X-Proxy-{number}", "1") for number in range(count)]
        server = site.server(lambda _: Reply(200, JSON + extra, json.dumps(TOKEN).encode()))
        said = site.token(site.user_account(server.url("/token")))
        site.expect(said.code == 0 or "header" in said.text, f"{count} in an answer: {said.text}")
    gateway = site.gateway_before(store)
    for count in (90, 120, 250):
        said = gateway.ask("GET", "/a/studies", [(f"X-Proxy-{number}", "1") for number in range(count)])
        good = said.status in (200, 204) or (said.status == 431 and b"header" in said.body)
        site.expect(good, f"{count} in a request: {said.status} {said.body[:200]}")
