"""A credential in the place of a path is named as that, and nothing of it is shown.

Source: spiffe/helm-charts-hardened#492, googleapis/google-cloud-java#828, googleapis/google-api-go-client#185
"""

import base64
import json
import re


def run(site):
    pem = site.private_key()
    key = {
        "type": "service_account",
        "project_id": "project-1",
        "private_key_id": "0123456789abcdef0123456789abcdef01234567",
        "private_key": pem,
        "client_email": "sender@project-1.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    texts = {
        "indented": json.dumps(key, indent=2),
        "in one line": json.dumps(key),
        "PEM alone": pem,
        "base64": base64.b64encode(json.dumps(key).encode()).decode(),
        "a refresh token": "1//0gRefreshTokenOfNobodyAtAllButLongEnough-L9IrPxQ",
    }
    for name, text in texts.items():
        variable = {"GOOGLE_APPLICATION_CREDENTIALS": text}
        tried = [
            ("variable", {"ApplicationDefaultCredentials": True}, variable),
            ("ServiceAccountFile", {"ServiceAccountFile": text}, {}),
            ("AuthorizedUserFile", {"AuthorizedUserFile": text}, {}),
            ("CredentialsFile", {"CredentialsFile": text}, {}),
        ]
        for place, account, env in tried:
            configuration = site.configuration(account)
            for said in (site.token(configuration, env), site.check(configuration, env)):
                site.expect(said.code != 0, f"{name} in {place}: taken: {said.text}")
                shown = longest_common_run(text, said.text)
                site.expect(len(shown) < 16, f"{name} in {place}: {len(shown)} characters are shown: {shown[:16]}…")


def longest_common_run(secret, text):
    """The longest run of the secret's base64 and token characters that the text holds."""
    said = re.sub(r"\\n|\s", "", text)
    plain = re.sub(r"\\n|\s", "", secret)
    harmless = ("GOOGLE_APPLICATION_CREDENTIALS", "oauth2.googleapis.com", ".googleapis.com", "BEGINPRIVATEKEY", "service_account", "privatekey", "private_key")
    for word in harmless:
        said = said.replace(word, "~")
    best = ""
    for start in range(len(plain)):
        while plain[start : start + len(best) + 1] in said and start + len(best) < len(plain):
            best = plain[start : start + len(best) + 1]
    return best
