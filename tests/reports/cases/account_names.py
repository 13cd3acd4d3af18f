"""An account whose name Orthanc cannot route is an error at the start, and every other name works.

Source: Orthanc's web server drops backslashes of a path
"""

import urllib.parse

from support import FOUR_NAMES, ask, store, until

REJECTED = ["a\\b", "\\a", "a\\", "...", "..", ".", "a/b", "a\tb", ""]
WORKING = ["a", "a b", "Übersee", "a%41", "%2e%2e", "..a", "a+b", "a?b", "a#b", "a;b", "a&b=c", "(a)", "a:b@c", "*"]


def run(site):
    server = site.server(store)
    names = REJECTED + WORKING
    accounts = {name: {**FOUR_NAMES, "AccessToken": "none"} for name in names}
    document = {"GoogleCloudPlatform": {"BaseUrl": server.url("/v1/"), "Accounts": accounts}}
    port, log = site.orthanc(document)
    until(lambda: all(f'Account "{name}": ready' in log() for name in WORKING), "the accounts are ready")
    for name in WORKING:
        path = f"/dicom-web/servers/{urllib.parse.quote(name, safe='')}/get"
        said = ask(port, "POST", path, [("Content-Type", "application/json")], b'{"Uri": "/studies"}')
        site.expect(said.status == 200, f"`{name}`: {said.status} {said.body[:200]}")
    for name in REJECTED:
        site.expect(f'Account "{name}": ready' not in log(), f"`{name}` is said to be ready")
    lines = [line for line in log().splitlines() if "cannot be the name of a DICOMweb server" in line]
    site.expect(len(lines) == len(REJECTED), lines)

    configuration = site.configuration({"AccessToken": "none"}, {"BaseUrl": server.url("/v1/")}, name="a\\b")
    said = site.check(configuration)
    site.expect(said.code == 1 and "cannot be the name" in said.text, f"check: {said.text}")

