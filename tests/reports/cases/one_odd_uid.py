"""One odd UID in a study's listing does not keep the other instances from being retrieved.

Source: fo-dicom/fo-dicom#1160, fo-dicom/fo-dicom#859
"""

import json

from support import DICOM_JSON, Reply, dicom, uid

STUDY, SERIES = "1.2.9", "1.2.9.1"


def run(site):
    for odd in ("1.2.9.34.", "1.2.9.034", "1.2.9.x34", "1.2.9." + "3" * 70, ".1.2.9.34"):
        gateway = site.gateway_before(lambda request: answer(request, ["1.2.9.33", odd, "1.2.9.35"]))
        wanted = [("Accept", 'multipart/related; type="application/dicom"; transfer-syntax=*')]
        said = gateway.ask("GET", f"/a/studies/{STUDY}", wanted)
        others = all(f"1.2.9.{number}".encode() in said.body for number in (33, 35))
        named = odd in gateway.log() or odd.encode() in said.body
        site.expect(others, f"{odd}: the others are missing: {said.status} {said.body[:200]}")
        site.expect(said.body.count(b"DICM") == 3 or named, f"{odd}: not retrieved and not named: {gateway.log()}")


def answer(request, instances):
    path, _, query = request.target.partition("?")
    if path.endswith("/instances") or path.endswith("/series"):
        first = "offset" not in query or "offset=0" in query
        rows = [
            {"0020000D": uid(STUDY), "0020000E": uid(SERIES), "00080018": uid(instance)}
            for instance in (instances if first else [])
        ]
        if path.endswith("/series"):
            rows = rows[:1]
        return Reply(200, DICOM_JSON, json.dumps(rows).encode())
    instance = path.rsplit("/", 1)[1]
    return Reply(200, [("Content-Type", "application/dicom")], dicom(STUDY, SERIES, instance))
