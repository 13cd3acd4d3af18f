"""HEAD /health is answered as GET is, without a body (RFC 9110 section 9.1).

Source: RFC 9110 section 9.3.2; probes of load balancers
"""

from support import store


def run(site):
    gateway = site.gateway_before(store)
    for target in ("/health", "/health?from=probe"):
        head, get = gateway.ask("HEAD", target), gateway.ask("GET", target)
        site.expect(head.status == get.status == 200, f"{target}: HEAD {head.status}, GET {get.status}")
        site.expect(not head.body, f"{target}: HEAD has a body: {head.body}")
    refused = gateway.ask("POST", "/health", body=b"x").status
    site.expect(refused in (404, 405), f"POST /health: {refused}")
