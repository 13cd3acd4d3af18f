"""A refused instance whose reason is a number alone: the log has the number in hexadecimal, and what it means.

dcm4che/dcm4chee-arc-light#740; PS3.18 table 10.5.3-2, PS3.4 table B.2-1.
"""

import json

import support


def run(site):
    meanings = {0xA900: "data set does not match SOP class", 0xC122: "transfer syntax", 0x0110: "processing failure"}
    for reason, meaning in meanings.items():
        for detail in (None, "", " "):

            def store(request):
                item = {"00081155": {"vr": "UI", "Value": ["1.2.3.1.13"]}, "00081197": {"vr": "US", "Value": [reason]}}
                if detail is not None:
                    item["00091097"] = {"vr": "LT", "Value": [detail]}
                body = {"00081198": {"vr": "SQ", "Value": [item]}}
                return support.Reply(409, support.DICOM_JSON, json.dumps(body).encode())

            gateway = site.gateway_before(store)
            body = support.multipart(support.dicom("1.2.3", "1.2.3.1", "1.2.3.1.13"))
            gateway.ask("POST", "/a/studies", support.STOW, body)
            support.until(lambda: "could not be stored" in gateway.log(), "the log tells of the failure")
            line = next(line for line in gateway.log().splitlines() if "could not be stored" in line)
            expected = f"0x{reason:04X} ({meaning}"
            site.expect(expected in line, f"{detail!r}: {line}")
