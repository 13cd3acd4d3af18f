"""A CA file is read as OpenSSL reads it, and none of its certificates is dropped silently.

Source: rust-lang/rustup#4305, NLnetLabs/routinator#264
"""

from support import certificate, token_reply


def run(site):
    context = certificate(site, "ours")
    certificate(site, "other")
    site.shell("openssl x509 -in ours-root.pem -trustout -out trusted.pem")
    ours = (site.folder / "ours-root.pem").read_bytes()
    other = (site.folder / "other-root.pem").read_bytes()
    forms = {
        "plain": ours,
        "TRUSTED CERTIFICATE": (site.folder / "trusted.pem").read_bytes(),
        "X509 CERTIFICATE": ours.replace(b" CERTIFICATE", b" X509 CERTIFICATE"),
        "byte order mark": b"\xef\xbb\xbf" + ours,
        "byte order mark, two": b"\xef\xbb\xbf" + ours + other,
        "the second of two": other + ours,
        "CRLF": ours.replace(b"\n", b"\r\n"),
        "text around": b"subject=CN = Root\n\n" + ours + b"\nend of the list\n",
        "Latin-1 text around": "# gehört dem Netz\n".encode("latin-1") + ours,
        "no line end": ours.rstrip(),
    }
    server = site.server(token_reply, context)
    for name, content in forms.items():
        roots = {"HttpsCACertificates": site.write("roots.pem", content)}
        said = site.token(site.user_account(server.url("/token", "localhost"), roots))
        site.expect(said.code == 0, f"{name}: {said.text}")
