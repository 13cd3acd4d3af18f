"""A CA or a server with a key on P-521 is accepted, or its curve is named.

Source: vercel/turborepo#13036, rustls/rustls#2536, rustls/rustls#933
"""

from support import certificate, token_reply


def run(site):
    for name, root, leaf in (
        ("a", "ec:secp521r1", "rsa:2048"),
        ("b", "ec:secp521r1", "ec:prime256v1"),
        ("c", "ec:secp521r1", "ec:secp384r1"),
        ("d", "rsa:2048", "ec:secp384r1"),
    ):
        server = site.server(token_reply, certificate(site, name, root, leaf))
        url = server.url("/token", "localhost")
        said = site.token(site.user_account(url, {"HttpsCACertificates": str(site.folder / f"{name}-root.pem")}))
        site.expect(said.code == 0 or "P-521" in said.text, f"{root}, {leaf}: {said.text}")
        site.expect("add its CA" not in said.text and "add that CA" not in said.text, said.text)
