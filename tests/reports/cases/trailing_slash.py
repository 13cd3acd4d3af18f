"""A slash at the end of a path makes no difference, and an empty segment elsewhere still does.

Source: GoogleCloudPlatform/healthcare-api-dicom-fuse#20
"""

from support import STOW, dicom, multipart, store


def run(site):
    seen = []

    def noting(request):
        seen.append(request.target)
        return store(request)

    gateway = site.gateway_before(noting)
    body = multipart(dicom("1.2", "1.2.3", "1.2.3.4"))
    for method, target, headers, content in (
        ("POST", "/a/studies/", STOW, body),
        ("POST", "/a/studies/1.2/", STOW, body),
        ("GET", "/a/studies/", [], b""),
        ("GET", "/a/studies/?limit=1", [], b""),
        ("GET", "/a/studies/1.2/series/", [], b""),
    ):
        seen.clear()
        said = gateway.ask(method, target, headers, content)
        site.expect(said.status in (200, 204), f"{method} {target}: {said.status} {said.body[:200]}")
        site.expect(seen and not any(path.split("?")[0].endswith("/") for path in seen), f"{target}: {seen}")
    for target in ("/a//studies", "/a/studies//1.2", "/a/studies/../../other/studies/"):
        seen.clear()
        said = gateway.ask("GET", target)
        site.expect(400 <= said.status < 500 and not seen, f"{target}: {said.status}, {seen}")
