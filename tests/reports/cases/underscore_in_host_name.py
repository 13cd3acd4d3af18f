"""A host name with an underscore is looked up as it is (RFC 2181 section 11).

Source: docker/compose#229, weaveworks/weave#961, moby/moby#26298
"""


def run(site):
    name = "token_server.hospital.test"
    server = site.name_server(name)
    tokens = site.server()
    resolv_conf = f"nameserver {server.address}\n"
    hosts = "127.0.0.1 localhost token_server _x.y_ a-_b\n"
    for host in (name, "token_server", "_x.y_", "a-_b"):
        said = site.token(site.user_account(tokens.url("/token", host)), wrap=site.mounted(resolv_conf, hosts))
        site.expect(said.code == 0, f"{host}: {said.text}")
