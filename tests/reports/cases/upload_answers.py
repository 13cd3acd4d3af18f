"""An upload is answered for its own instance, also after another one of the study was refused (PS3.18 section 10.5.3).

Reported about servers that keep what failed for a whole study. It hits scripts that send one instance a request: the third is refused,
and those behind it are answered 409 although they are stored. Every kind of boundary is tried, also the DICOMweb plugin's.
"""

import support


def run(site):
    refused = "1.2.3.1.13"

    def store(request):
        return support.stow_answer(request.body, {refused}) if request.method == "POST" else support.store(request)

    gateway = site.gateway_before(store)
    uuid = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1"
    for boundary in ("cut", uuid, f"{uuid}-{uuid}"):
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        for number in (11, 12, 13, 14, 15):
            uid = f"1.2.3.1.{number}"
            part = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            body = part + support.dicom("1.2.3", "1.2.3.1", uid) + f"\r\n--{boundary}--\r\n".encode()
            headers = [("Content-Type", kind), ("Accept", "application/dicom+json")]
            reply = gateway.ask("POST", "/a/studies", headers, body)
            expected = 409 if uid == refused else 200
            site.expect(reply.status == expected, f"{boundary}: {uid} is answered {reply.status}")
            others = [other for other in (11, 12, 13, 14, 15) if other != number]
            named = [other for other in others if f'"1.2.3.1.{other}"'.encode() in reply.body]
            site.expect(not named, f"{boundary}: the answer about {uid} names {named}")
