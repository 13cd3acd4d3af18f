"""The answer to an upload speaks of the instances of that upload alone (PS3.18 section 10.5.3).

Source: UMEssen/DICOM-RST#56, ImagingDataCommons/dicomweb-client `store_instances`
"""

import json

from support import STOW, dicom, multipart, stow_answer


def run(site):
    refused = "1.2.3.1.13"
    gateway = site.gateway_before(
        lambda request: stow_answer(request.body, refused=(refused,))
    )
    for round_ in range(2):
        for number in (11, 12, 13, 14, 15):
            instance = f"1.2.3.1.{number}"
            said = send(gateway, [instance])
            expected = 409 if instance == refused else 200
            site.expect(said.status == expected, f"{instance} alone, round {round_}: {said.status}")
            listed = uids(said.body)
            site.expect(listed == {instance}, f"{instance} alone: the answer lists {sorted(listed)}")
    # Another study, another series, and two at once.
    for study, series in (("1.2.4", "1.2.4.1"), ("1.2.3", "1.2.3.2")):
        said = send(gateway, ["1.2.9.1", "1.2.9.2"], study, series)
        site.expect(said.status == 200 and uids(said.body) == {"1.2.9.1", "1.2.9.2"}, f"{study}: {said}")


def send(gateway, instances, study="1.2.3", series="1.2.3.1"):
    headers = [*STOW, ("Accept", "application/dicom+json")]
    return gateway.ask("POST", "/a/studies", headers, multipart(*(dicom(study, series, i) for i in instances)))


def uids(body):
    document = json.loads(body)
    items = [item for tag in ("00081198", "00081199") for item in document.get(tag, {}).get("Value", [])]
    return {item["00081155"]["Value"][0] for item in items}
