"""A server with old TLS 1.2 cipher suites alone is rejected with words about the suites.

Source: rustls/rustls#731, rustls/rustls#512
"""

import ssl

from support import certificate, token_reply


def run(site):
    for number, suites in enumerate(("AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "AES256-SHA")):
        context = certificate(site, f"old{number}")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suites)
        server = site.server(token_reply, context)
        roots = {"HttpsCACertificates": str(site.folder / f"old{number}-root.pem")}
        said = site.token(site.user_account(server.url("/token", "localhost"), roots))
        site.expect(said.code != 0, f"{suites} was accepted")
        words = ("cipher", "suite", "key exchange")
        site.expect(any(word in said.text for word in words), f"{suites}: {said.text}")
