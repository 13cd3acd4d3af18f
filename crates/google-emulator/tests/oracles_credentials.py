"""google-auth's credentials of every kind against the emulator's metadata server, STS, IAM, subject-token URL and AWS.

Called by oracles.rs with one argument, a JSON object: http, https, store, ca, metadata_host, files, and what the environment needs.
"""

import json
import os
import pathlib
import sys

PLACE = json.loads(sys.argv[1])
for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "GCE_"))]:
    del os.environ[name]
# google-auth reads these when it is imported.
os.environ["GCE_METADATA_HOST"] = os.environ["GCE_METADATA_IP"] = PLACE["metadata_host"]
os.environ["GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"] = "1"

import google.auth.aws
import google.auth.compute_engine
import google.auth.compute_engine._metadata
import google.auth.exceptions
import google.auth.external_account_authorized_user
import google.auth.identity_pool
import google.auth.impersonated_credentials
import google.auth.pluggable
import google.auth.transport.requests
import google.oauth2.credentials
import requests

CONTROL = PLACE["http"] + "/emulator"
PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
HEALTHCARE = "https://www.googleapis.com/auth/cloud-healthcare"
FILES = PLACE["files"]

SESSION = requests.Session()
SESSION.trust_env = False
SESSION.verify = PLACE["ca"]
TRANSPORT = google.auth.transport.requests.Request(SESSION)


def control(method, path, body=None):
    answer = SESSION.request(method, CONTROL + path, json=body)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def routes():
    return [seen["route"] for seen in control("GET", "/requests")]


def works(credentials, expected):
    """Refreshes; the routes seen are `expected`, each answered with 200; the token opens the store."""
    control("DELETE", "/requests")
    credentials.refresh(TRANSPORT)
    assert credentials.valid and len(credentials.token) > 1000
    seen = control("GET", "/requests")
    assert all(request["status"] == 200 for request in seen), seen
    assert [request["route"] for request in seen] == expected, [request["route"] for request in seen]
    url = f"{PLACE['https']}/v1/{PLACE['store']}/dicomWeb/studies"
    answer = SESSION.get(url, headers={"Authorization": f"Bearer {credentials.token}"})
    assert answer.status_code == 204, answer.text
    return seen


def refused(credentials, words):
    try:
        credentials.refresh(TRANSPORT)
    except google.auth.exceptions.GoogleAuthError as error:
        said = " ".join(map(str, error.args))
        assert words in said, f"expected {words!r} in {said}"
    else:
        raise AssertionError(f"granted, expected {words!r}")


def held(name):
    return json.loads(pathlib.Path(FILES[name]).read_text())


def loaded(kind, name):
    return kind.from_info(held(name), scopes=[PLATFORM])


def identity_pools_exchange_from_file_and_url():
    kind = google.auth.identity_pool.Credentials
    for name in ("text_file", "json_file", "saml_file", "workforce_file"):
        (sts,) = works(loaded(kind, name), ["sts"])
        assert sts["tls"] and sts["fields"]["scope"] == PLATFORM
    for name in ("text_url", "json_url"):
        works(loaded(kind, name), ["subject", "sts"])
    (_, iam) = works(loaded(kind, "text_file_impersonating"), ["sts", "iam"])
    assert iam["fields"]["lifetime"] == "1800s" and json.loads(iam["fields"]["scope"]) == [PLATFORM]
    works(loaded(kind, "text_url_impersonating"), ["subject", "sts", "iam"])


def google_auth_says_why_an_exchange_is_refused():
    kind = google.auth.identity_pool.Credentials
    pathlib.Path(held("text_file")["credential_source"]["file"]).write_text("a.b.c")
    refused(loaded(kind, "text_file"), "invalid_grant")
    wrong = held("text_url") | {"audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b"}
    refused(kind.from_info(wrong, scopes=[PLATFORM]), "invalid_target")
    wrong = held("text_url")
    wrong["credential_source"]["headers"] = {}
    refused(kind.from_info(wrong, scopes=[PLATFORM]), "Required metadata header not specified")
    refused(kind.from_info(held("text_url"), scopes=["https://example.com/scope"]), "invalid_scope")
    wrong = held("text_url") | {"client_id": "nobody", "client_secret": "wrong"}
    refused(kind.from_info(wrong, scopes=[PLATFORM]), "invalid_client")


def executables_give_subject_tokens():
    kind = google.auth.pluggable.Credentials
    for name in ("executable", "executable_output", "executable_impersonating"):
        works(loaded(kind, name), ["sts", "iam"] if "impersonating" in name else ["sts"])


def aws_requests_are_signed_and_verified():
    kind = google.auth.aws.Credentials
    # Session, zone; session, role, credentials; exchange.
    works(loaded(kind, "aws"), ["imds"] * 5 + ["sts"])
    works(loaded(kind, "aws_impersonating"), ["imds"] * 5 + ["sts", "iam"])
    os.environ.update(PLACE["aws_environment"])
    works(loaded(kind, "aws"), ["sts"])
    os.environ["AWS_SECRET_ACCESS_KEY"] = "wrong"
    refused(loaded(kind, "aws"), "SignatureDoesNotMatch")
    for name in PLACE["aws_environment"]:
        del os.environ[name]
    old = held("aws")
    del old["credential_source"]["imdsv2_session_token_url"]
    refused(kind.from_info(old, scopes=[PLATFORM]), "Unable to retrieve AWS")
    control("PATCH", "/settings", {"imds_v2_required": False})
    works(kind.from_info(old, scopes=[PLATFORM]), ["imds"] * 3 + ["sts"])
    control("PATCH", "/settings", {"imds_v2_required": True})


def workforce_sessions_are_refreshed():
    kind = google.auth.external_account_authorized_user.Credentials
    credentials = kind.from_info(held("external_account_authorized_user"))
    works(credentials, ["sts"])
    control("PATCH", "/settings", {"rotate_refresh_tokens": True})
    before = credentials.refresh_token
    works(credentials, ["sts"])
    assert credentials.refresh_token != before
    works(credentials, ["sts"])
    refused(kind.from_info(held("external_account_authorized_user")), "invalid_grant")
    control("PATCH", "/settings", {"rotate_refresh_tokens": False})
    wrong = held("external_account_authorized_user") | {"client_secret": "wrong", "refresh_token": credentials.refresh_token}
    refused(kind.from_info(wrong), "invalid_client")


def service_accounts_are_impersonated():
    kind = google.auth.impersonated_credentials.Credentials

    def load(info, scopes):
        # google-auth takes only the account from the file's URL, and the universe's host.
        credentials = kind.from_impersonated_service_account_info(info, scopes)
        credentials._iam_endpoint_override = info["service_account_impersonation_url"]
        return credentials

    (_, iam) = works(load(held("impersonated_by_service_account"), [PLATFORM]), ["token", "iam"])
    assert iam["fields"]["delegates"] in ("null", "[]"), iam["fields"]
    (_, iam) = works(load(held("impersonated_with_delegates"), [HEALTHCARE]), ["token", "iam"])
    assert json.loads(iam["fields"]["scope"]) == [HEALTHCARE]
    assert len(json.loads(iam["fields"]["delegates"])) == 1
    # google-auth ignores the token_uri of a user's file, so the source is given.
    user = held("impersonated_by_user")["source_credentials"]
    source = google.oauth2.credentials.Credentials(
        None,
        refresh_token=user["refresh_token"],
        client_id=user["client_id"],
        client_secret=user["client_secret"],
        token_uri=PLACE["https"] + "/token",
    )
    url = held("impersonated_by_user")["service_account_impersonation_url"]
    make = lambda target, **more: kind(source, target, [PLATFORM], iam_endpoint_override=url.replace(PLACE["target"], target), **more)
    works(make(PLACE["target"]), ["token", "iam"])
    refused(make("nobody@demo.iam.gserviceaccount.com"), "Permission 'iam.serviceAccounts.getAccessToken' denied on resource")
    refused(make(PLACE["target"], delegates=["projects/-/serviceAccounts/nobody@x"]), "iam.serviceAccounts.getAccessToken")
    refused(make(PLACE["target"], lifetime=7200), "INVALID_ARGUMENT")
    control("PATCH", "/settings", {"extended_lifetime_accounts": [PLACE["target"]]})
    works(make(PLACE["target"], lifetime=43200), ["token", "iam"])
    control("PATCH", "/settings", {"disabled_apis": ["iamcredentials.googleapis.com"]})
    refused(make(PLACE["target"]), "SERVICE_DISABLED")
    control("PATCH", "/settings", {"disabled_apis": []})


def virtual_machines_have_tokens():
    kind = google.auth.compute_engine.Credentials
    control("DELETE", "/requests")
    assert google.auth.compute_engine._metadata.ping(TRANSPORT)
    assert google.auth.compute_engine._metadata.get_project_id(TRANSPORT) == "demo"
    assert google.auth.compute_engine._metadata.get_universe_domain(TRANSPORT) == "googleapis.com"
    assert routes() == ["metadata"] * 3
    first, second = kind(), kind()
    works(first, ["metadata"] * 2)
    works(second, ["metadata"] * 2)
    assert first.token == second.token and first.service_account_email == PLACE["machine"]
    works(kind(scopes=[HEALTHCARE]), ["metadata"] * 2)
    control("PATCH", "/settings", {"metadata_service_account_attached": False})
    refused(kind(), "404")
    control("PATCH", "/settings", {"metadata_service_account_attached": True})


if __name__ == "__main__":
    for check in (
        identity_pools_exchange_from_file_and_url,
        executables_give_subject_tokens,
        aws_requests_are_signed_and_verified,
        workforce_sessions_are_refreshed,
        service_accounts_are_impersonated,
        virtual_machines_have_tokens,
        google_auth_says_why_an_exchange_is_refused,
    ):
        check()
        print("ok", check.__name__, flush=True)
