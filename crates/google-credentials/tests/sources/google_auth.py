"""google-auth asks for one token after the other, each from a credential that the test has made; what the pretend Google saw
of it goes to the test.

Called by differential.rs with one argument, a JSON object: http, token_url, ca, target, cases. Prints a JSON object with an answer for each
case. It holds secrets.
"""

import json
import os
import pathlib
import sys
import time

PLACE = json.loads(sys.argv[1])
os.environ["GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"] = "1"
# Else it would ask Google for the project's name, which is part of no credential.
os.environ["GOOGLE_CLOUD_PROJECT"] = "demo"

import google.auth
import google.auth.aws
import google.auth.compute_engine
import google.auth.external_account_authorized_user
import google.auth.identity_pool
import google.auth.impersonated_credentials
import google.auth.pluggable
import google.auth.transport.requests
import google.oauth2.credentials
import google.oauth2.service_account
import requests

SESSION = requests.Session()
SESSION.trust_env = False
SESSION.verify = PLACE["ca"]


def control(method):
    answer = SESSION.request(method, PLACE["http"] + "/emulator/requests")
    answer.raise_for_status()
    return answer.json() if answer.content else None


def user(info, scopes=None):
    # google-auth ignores the token_uri of a user's file, so the parts are given.
    return google.oauth2.credentials.Credentials(
        None,
        refresh_token=info["refresh_token"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        token_uri=PLACE["token_url"],
        scopes=scopes,
        quota_project_id=info.get("quota_project_id"),
    )


def impersonated(info, scopes):
    kind = google.auth.impersonated_credentials.Credentials
    url = info["service_account_impersonation_url"]
    source = info["source_credentials"]
    if source["type"] == "authorized_user":
        return kind(user(source), PLACE["target"], scopes, delegates=info.get("delegates"), iam_endpoint_override=url)
    # google-auth takes only the account from the file's URL, and the universe's host.
    credentials = kind.from_impersonated_service_account_info(info, scopes)
    credentials._iam_endpoint_override = url
    return credentials


def load(case):
    info = json.loads(pathlib.Path(case["file"]).read_text()) if case["file"] else None
    scopes = case["scopes"]
    match case["kind"]:
        case "service_account":
            return google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=scopes)
        case "user":
            return user(info, scopes)
        case "identity_pool":
            return google.auth.identity_pool.Credentials.from_info(info, scopes=scopes)
        case "pluggable":
            return google.auth.pluggable.Credentials.from_info(info, scopes=scopes)
        case "aws":
            return google.auth.aws.Credentials.from_info(info, scopes=scopes)
        case "workforce_user":
            return google.auth.external_account_authorized_user.Credentials.from_info(info)
        case "impersonated":
            return impersonated(info, scopes)
        case "metadata":
            account = case["account"] or "default"
            return google.auth.compute_engine.Credentials(service_account_email=account, scopes=scopes)
        case "impersonating_machine":
            url = f"{PLACE['https']}/v1/projects/-/serviceAccounts/{PLACE['target']}:generateAccessToken"
            source = google.auth.compute_engine.Credentials()
            kind = google.auth.impersonated_credentials.Credentials
            return kind(source, PLACE["target"], scopes, iam_endpoint_override=url)
        case "default":
            credentials, _ = google.auth.default(scopes=scopes, request=google.auth.transport.requests.Request(SESSION))
            return credentials
    raise ValueError(case["kind"])


def answer(case):
    os.environ.update(case["env"])
    try:
        control("DELETE")
        before = int(time.time())
        credentials = load(case)
        credentials.refresh(google.auth.transport.requests.Request(SESSION))
        after = int(time.time())
        return {"seen": control("GET"), "token": credentials.token, "before": before, "after": after}
    finally:
        for name in case["env"]:
            del os.environ[name]


if __name__ == "__main__":
    print(json.dumps({case["name"]: answer(case) for case in PLACE["cases"]}))
