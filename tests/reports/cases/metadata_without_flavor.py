"""A configured metadata server whose token answer lacks `Metadata-Flavor` is accepted.

Source: googleapis/gcp-metadata#215
"""

import json

from support import JSON, TOKEN, Reply


def run(site):
    bare = Reply(200, JSON, json.dumps(TOKEN).encode())
    server = site.server(lambda request: bare if request.target.split("?")[0].endswith("/token") else Reply(404))
    for account in ({"MetadataServer": True}, {"MetadataServer": "other@project-1.iam.gserviceaccount.com"}):
        said = site.token(site.configuration(account), {"GCE_METADATA_HOST": f"127.0.0.1:{server.port}"})
        site.expect(said.code == 0, f"{account}: {said.text}")
    # A portal's page is still not a token.
    page = site.server(lambda _: Reply(200, [("Content-Type", "text/html")], b"<html>Log in</html>"))
    said = site.token(site.configuration({"MetadataServer": True}), {"GCE_METADATA_HOST": f"127.0.0.1:{page.port}"})
    site.expect(said.code != 0, f"a page was accepted as a token: {said.text}")
