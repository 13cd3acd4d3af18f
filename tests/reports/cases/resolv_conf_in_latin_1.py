"""Bytes of /etc/resolv.conf that are not UTF-8 do not keep its name servers from being asked.

Source: tailhook/resolv-conf#25, tailhook/resolv-conf#41
"""

NAME = "tokens.hospital.test"


def run(site):
    server = site.name_server(NAME)
    tokens = site.server()
    line = f"nameserver {server.address}\n".encode()
    hosts = "127.0.0.1 localhost\n"
    for name, content in {
        "plain": line,
        "comment": "# gehört zum Netz\n".encode("latin-1") + line,
        "comment behind": line + "; für alle\n".encode("latin-1"),
        "unknown word": b"\xff\xfe nonsense\n" + line,
        "CRLF": line.replace(b"\n", b"\r\n"),
        "no line end": line.rstrip(),
        "unknown option": b"options edns0 trust-ad single-request-reopen no-such-option\n" + line,
    }.items():
        configuration = site.user_account(tokens.url("/token", NAME))
        said = site.token(configuration, wrap=site.mounted(content, hosts))
        site.expect(said.code == 0, f"{name}: {said.text}")
