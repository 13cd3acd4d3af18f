"""A name that /etc/hosts holds needs no name server, whichever family its address has.

Source: systemd/systemd#4801, hickory-dns/hickory-dns#3778
"""


def run(site):
    silent = site.name_server()
    tokens = site.server()
    resolv_conf = f"nameserver {silent.address}\n"
    local = b"127.0.0.1 localhost\n::1 localhost\n"
    for name, host, lines in (
        ("plain", "pacs.hospital.test", b"127.0.0.1 pacs.hospital.test\n"),
        ("alias", "pacs", b"127.0.0.1 pacs.hospital.test pacs\n"),
        ("other letter case", "PACS.hospital.test", b"127.0.0.1 pacs.Hospital.test\n"),
        ("comment in Latin-1", "pacs.hospital.test", "# für\n".encode("latin-1") + b"127.0.0.1 pacs.hospital.test\n"),
        ("tabs and a comment behind", "pacs.hospital.test", b"127.0.0.1\t\tpacs.hospital.test # ours\n"),
    ):
        said = site.token(
            site.user_account(tokens.url("/token", host)), wrap=site.mounted(resolv_conf, local + lines)
        )
        site.expect(said.code == 0, f"{name}: {said.text}")
        site.expect(not silent.asked, f"{name}: the name server was asked for {silent.asked}")
