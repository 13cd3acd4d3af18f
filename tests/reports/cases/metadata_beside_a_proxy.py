"""Link-local addresses are never asked through a proxy.

Source: Azure/azure-sdk-for-net#18967, certbot-dns-azure#54
"""

import json

from support import Reply


def run(site):
    proxy = site.server(lambda _: Reply(502, [], b"this is the proxy"))
    where = f"http://127.0.0.1:{proxy.port}"
    tokens = site.server()
    for host in ("169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "[fe80::1]"):
        credential = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": tokens.url("/sts"),
            "credential_source": {"url": f"http://{host}/metadata/identity/oauth2/token?resource=x"},
        }
        account = {"CredentialsFile": site.write("federated.json", json.dumps(credential))}
        section = {"TokenUri": tokens.url("/sts"), "Timeout": 3}
        for name, top, env in (
            ("HttpProxy", {"HttpProxy": where}, {}),
            ("http_proxy", {}, {"http_proxy": where}),
            ("all_proxy", {}, {"all_proxy": where}),
        ):
            proxy.requests.clear()
            site.token(site.configuration(account, section, top), env)
            asked = [request.target for request in proxy.requests if host in request.target]
            site.expect(not asked, f"{name}: the proxy was asked for {asked}")
