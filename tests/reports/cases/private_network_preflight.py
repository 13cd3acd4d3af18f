"""A viewer on an allowed origin may reach the gateway on a private network, with the header fields it uses.

Source: JaneliaSciComp/fileglancer#395, hacdias/webdav#350; WICG Private Network Access
"""

from support import store

ALLOW = "access-control-allow-private-network"


def run(site):
    origin = "https://viewer.example"
    gateway = site.gateway_before(store, "--allow-origin", origin)

    def preflight(*more, by=origin):
        wanted = [("Origin", by), ("Access-Control-Request-Method", "GET"), *more]
        return dict(gateway.ask("OPTIONS", "/a/studies", wanted).headers)

    private = ("Access-Control-Request-Private-Network", "true")
    site.expect(preflight(private).get(ALLOW) == "true", "the private network is not allowed")
    site.expect(ALLOW not in preflight(), "the private network is allowed without a question")
    other = preflight(private, by="https://elsewhere.example")
    site.expect(ALLOW not in other and "access-control-allow-origin" not in other, f"another origin: {other}")
    for field in ("accept", "authorization", "content-type", "x-requested-with", "cache-control"):
        allowed = preflight(("Access-Control-Request-Headers", field)).get("access-control-allow-headers", "")
        site.expect(field in allowed.lower() or allowed == "*", f"{field} is not among `{allowed}`")
