"""A compressed request body is decoded, or rejected with 415 and words about the coding.

Source: RFC 9110 sections 8.4 and 15.5.16
"""

import gzip
import zlib

from support import STOW, dicom, multipart, store


def run(site):
    gateway = site.gateway_before(store)
    plain = multipart(dicom("1.2", "1.2.3", "1.2.3.4"))
    for coding, body in (
        ("gzip", gzip.compress(plain)),
        ("GZIP", gzip.compress(plain)),
        ("x-gzip", gzip.compress(plain)),
        ("deflate", zlib.compress(plain)),
        ("br", b"\x0b\x02\x80"),
    ):
        said = gateway.ask("POST", "/a/studies", [*STOW, ("Content-Encoding", coding)], body)
        if said.status != 200:
            site.expect(said.status == 415, f"{coding}: {said.status} {said.body[:200]}")
            named = coding.lower().encode() in said.body.lower() or b"ncoding" in said.body or b"compress" in said.body
            site.expect(named, f"{coding}: {said.body[:200]}")
    said = gateway.ask("POST", "/a/studies", [*STOW, ("Content-Encoding", "identity")], plain)
    site.expect(said.status == 200, f"identity: {said.status} {said.body[:200]}")
