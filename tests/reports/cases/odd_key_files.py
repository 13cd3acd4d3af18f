"""A key file that is encoded, encrypted or of the wrong kind is named as that, or read.

Source: hashicorp/terraform-provider-google#400, hashicorp/terraform-provider-google#1047, box/box-node-sdk#259
"""

import base64
import json
import pathlib


def run(site):
    pem = site.private_key()
    site.write("plain.pem", pem)
    locked = site.shell("openssl pkcs8 -topk8 -passout pass:x -in plain.pem")
    elliptic = site.shell("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 2>/dev/null")
    tokens = site.server()

    def key(private_key):
        document = {
            "type": "service_account",
            "project_id": "project-1",
            "private_key_id": "0" * 40,
            "private_key": private_key,
            "client_email": "sender@project-1.iam.gserviceaccount.com",
            "token_uri": tokens.url("/token"),
        }
        return json.dumps(document)

    for name, content, words in (
        ("UTF-16", key(pem).encode("utf-16"), ("utf-16",)),
        ("UTF-16BE", key(pem).encode("utf-16-be"), ("utf-16",)),
        ("UTF-8 with a mark", b"\xef\xbb\xbf" + key(pem).encode(), ("byte order mark", "bom")),
        ("base64", base64.b64encode(key(pem).encode()), ("base64",)),
        ("base64 in lines", base64.encodebytes(key(pem).encode()), ("base64",)),
        ("encrypted", key(locked), ("encrypt", "password", "passphrase")),
        ("elliptic", key(elliptic), ("rsa",)),
        ("literal \\n", key(pem.replace("\n", "\\n")), ("\\n",)),
    ):
        path = pathlib.Path(site.write("key.json", content))
        said = site.token(site.configuration({"ServiceAccountFile": str(path)}, {"TokenUri": tokens.url("/token")}))
        named = any(word in said.text.lower() for word in words)
        site.expect(said.code == 0 or named, f"{name}: {said.text}")
        site.expect(pem.splitlines()[2] not in said.text, f"{name}: the key is shown")
