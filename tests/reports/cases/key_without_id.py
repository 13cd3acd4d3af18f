"""A service account's key without `private_key_id` works: `kid` is optional (RFC 7515 section 4.1.4).

Source: keys put together from variables, which Google's Python and Go libraries accept
"""

import base64
import json
import urllib.parse


def run(site):
    tokens = site.server()
    minimal = {
        "type": "service_account",
        "private_key": site.private_key(),
        "client_email": "sender@project-1.iam.gserviceaccount.com",
        "token_uri": tokens.url("/token"),
    }
    for more in ({}, {"private_key_id": ""}, {"private_key_id": None}, {"private_key_id": "abc"}):
        tokens.requests.clear()
        path = site.write("key.json", json.dumps({**minimal, **more}))
        said = site.token(site.configuration({"ServiceAccountFile": path}, {"TokenUri": tokens.url("/token")}))
        site.expect(said.code == 0 and tokens.requests, f"{more}: {said.text}")
        if tokens.requests:
            assertion = urllib.parse.parse_qs(tokens.requests[0].body.decode())["assertion"][0]
            head = assertion.split(".")[0]
            kid = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))).get("kid")
            site.expect(kid == (more.get("private_key_id") or None), f"{more}: `kid` is {kid}")
