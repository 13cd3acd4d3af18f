"""A token answer that was compressed unasked is decoded, or named as compressed.

Source: RFC 9110 section 12.5.3; GoogleCloudPlatform/healthcare-api-dicom-viewer#10
"""

import gzip
import json
import zlib

from support import JSON, TOKEN, Reply


def run(site):
    plain = json.dumps(TOKEN).encode()
    for coding, body in (
        ("gzip", gzip.compress(plain)),
        ("x-gzip", gzip.compress(plain)),
        ("deflate", zlib.compress(plain)),
        ("br", b"\x0b\x02\x80{}\x03"),
    ):
        server = site.server(lambda _: Reply(200, [*JSON, ("Content-Encoding", coding)], body))
        said = site.token(site.user_account(server.url("/token")))
        named = "compress" in said.text or coding in said.text
        site.expect(said.code == 0 or named, f"{coding}: {said.text}")
        site.expect("\ufffd" not in said.text, f"{coding}: bytes are quoted: {said.text}")
