"""Real clients against the emulator: google-auth asks for tokens, dicomweb-client stores, searches, retrieves and deletes,
pydicom says what its test files contain. Each must work, and each must be refused when it should be.

Called by oracles.rs with one argument, a JSON object: http, https, store, ca, service_account, pkcs1, user.
"""

import io
import json
import pathlib
import sys
import warnings

import google.auth.exceptions
import google.auth.transport.requests
import google.oauth2.credentials
import google.oauth2.service_account
import pydicom
import pydicom.data
import requests
from dicomweb_client import DICOMwebClient

PLACE = json.loads(sys.argv[1])
CONTROL = PLACE["http"] + "/emulator"
PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
STORE = f"{PLACE['https']}/v1/{PLACE['store']}/dicomWeb"
ANY_SYNTAX = (("application/dicom", "*"),)

SESSION = requests.Session()
SESSION.trust_env = False
SESSION.verify = PLACE["ca"]
TRANSPORT = google.auth.transport.requests.Request(SESSION)


def control(method, path, body=None):
    answer = SESSION.request(method, CONTROL + path, json=body)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def service_account(path="service_account", scopes=(PLATFORM,)):
    return google.oauth2.service_account.Credentials.from_service_account_file(PLACE[path], scopes=list(scopes))


def user():
    # google-auth ignores the token_uri of a file, so the parts are given.
    held = json.loads(pathlib.Path(PLACE["user"]).read_text())
    return google.oauth2.credentials.Credentials(
        None,
        refresh_token=held["refresh_token"],
        client_id=held["client_id"],
        client_secret=held["client_secret"],
        token_uri=PLACE["https"] + "/token",
    )


def refused_token(credentials, words):
    try:
        credentials.refresh(TRANSPORT)
    except google.auth.exceptions.RefreshError as error:
        assert words in str(error), f"expected {words!r} in {error}"
        assert not credentials.token
    else:
        raise AssertionError(f"granted, expected {words!r}")


def client(token=None, credentials=None):
    if credentials:
        session = google.auth.transport.requests.AuthorizedSession(credentials, auth_request=TRANSPORT)
    else:
        session = requests.Session()
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
    session.trust_env = False
    session.verify = PLACE["ca"]
    return DICOMwebClient(url=STORE, session=session)


def refused(status, call):
    try:
        call()
    except requests.HTTPError as error:
        assert error.response.status_code == status, f"{error.response.status_code}, expected {status}"
        return error.response
    raise AssertionError(f"succeeded, expected {status}")


def mint(scope=PLATFORM, lifetime=600):
    return control("POST", "/tokens", {"scope": scope, "lifetime_seconds": lifetime})["access_token"]


def tokens_are_granted():
    for credentials in (service_account(), service_account("pkcs1"), user()):
        control("DELETE", "/requests")
        credentials.refresh(TRANSPORT)
        assert credentials.valid and len(credentials.token) > 1000
        (seen,) = control("GET", "/requests")
        assert seen["route"] == "token" and seen["tls"] and seen["status"] == 200, seen
        assert client(credentials.token).search_for_studies() == []


def google_auth_retries_what_google_says_is_transient():
    control("DELETE", "/requests")
    fault = {"on": "token", "effect": {"answer": {"status": 503, "body": '{"error": "temporarily_unavailable"}'}}}
    control("POST", "/faults", fault)
    service_account().refresh(TRANSPORT)
    assert [seen["status"] for seen in control("GET", "/requests")] == [503, 200]


def tokens_are_refused():
    refused_token(service_account(scopes=["https://example.com/scope"]), "invalid_scope")
    for offset in (7200, -7200):
        control("PATCH", "/settings", {"clock_offset_seconds": offset})
        refused_token(service_account(), "Token must be a short-lived token (60 minutes) and in a reasonable timeframe")
    control("PATCH", "/settings", {"clock_offset_seconds": 0})
    wrong = user()
    wrong._client_secret = "wrong"
    refused_token(wrong, "invalid_client")
    control("POST", "/service-account-key")
    refused_token(service_account(), "Invalid JWT Signature.")
    pathlib.Path(PLACE["service_account"]).write_text(json.dumps(control("GET", "/service-account-key")))
    service_account().refresh(TRANSPORT)
    control("DELETE", "/refresh-token")
    refused_token(user(), "Token has been expired or revoked.")


def encoded(dataset):
    with io.BytesIO() as buffer:
        pydicom.dcmwrite(buffer, dataset)
        return buffer.getvalue()


def dicomweb_client_stores_finds_retrieves_and_deletes():
    web = client(credentials=service_account())
    ct = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    mr = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small_implicit.dcm"))
    stored = web.store_instances([ct, mr])
    assert {item.ReferencedSOPInstanceUID for item in stored.ReferencedSOPSequence} == {ct.SOPInstanceUID, mr.SOPInstanceUID}
    assert "FailedSOPSequence" not in stored

    where = (ct.StudyInstanceUID, ct.SeriesInstanceUID, ct.SOPInstanceUID)
    assert len(web.search_for_studies()) == 2
    (study,) = web.search_for_studies(search_filters={"PatientID": ct.PatientID}, fields=["StudyDescription"])
    assert study["0020000D"]["Value"] == [ct.StudyInstanceUID]
    assert study["00081030"]["Value"] == [ct.StudyDescription]
    (study,) = web.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "compressed ct"})
    assert study["00100010"]["Value"][0]["Alphabetic"] == str(ct.PatientName)
    assert len(web.search_for_studies(limit=1, get_remaining=True)) == 2
    assert len(web.search_for_series(ct.StudyInstanceUID, search_filters={"Modality": "CT"})) == 1
    assert len(web.search_for_instances(*where[:2], search_filters={"SOPInstanceUID": ct.SOPInstanceUID})) == 1
    assert web.search_for_instances("1.2.3") == []
    refused(400, lambda: web.search_for_studies(limit=5001))
    refused(400, lambda: web.search_for_studies(search_filters={"ModalitiesInStudy": "CT"}))

    for dataset in (ct, mr):
        uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
        for retrieved in (
            web.retrieve_study(uids[0], media_types=ANY_SYNTAX)[0],
            web.retrieve_series(*uids[:2], media_types=ANY_SYNTAX)[0],
            web.retrieve_instance(*uids, media_types=ANY_SYNTAX),
        ):
            assert encoded(retrieved) == encoded(dataset)
        # Without `*` Explicit VR Little Endian comes, with the same pixels.
        plain = web.retrieve_instance(*uids, media_types=("application/dicom",))
        assert plain.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert plain.PixelData == dataset.PixelData and plain.PatientName == dataset.PatientName
    (metadata,) = web.retrieve_study_metadata(where[0])
    assert metadata["00280010"]["Value"] == [ct.Rows]
    assert metadata == web.retrieve_series_metadata(*where[:2])[0] == web.retrieve_instance_metadata(*where)

    assert "FailedSOPSequence" not in web.store_instances([ct])
    ct.PatientComments = "different"
    assert "checksum mismatch" in refused(409, lambda: web.store_instances([ct])).text
    refused(409, lambda: web.store_instances([mr], study_instance_uid=ct.StudyInstanceUID))

    web.delete_instance(*where)
    refused(404, lambda: web.retrieve_instance(*where, media_types=ANY_SYNTAX))
    web.delete_study(mr.StudyInstanceUID)
    refused(404, lambda: web.retrieve_study(mr.StudyInstanceUID, media_types=ANY_SYNTAX))
    assert web.search_for_studies() == []


def dicomweb_client_is_refused():
    for token, status, reason in (
        (None, 401, "CREDENTIALS_MISSING"),
        ("ya29.nonsense", 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        (mint(lifetime=0), 401, "ACCESS_TOKEN_EXPIRED"),
        (mint(scope="openid"), 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    ):
        web = client(token)
        ct = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
        for call in (
            web.search_for_studies,
            lambda: web.store_instances([ct]),
            lambda: web.retrieve_study("1.2", media_types=ANY_SYNTAX),
        ):
            (body,) = refused(status, call).json()
            assert body["error"]["details"][0]["reason"] == reason, body


def every_test_file_of_pydicom_comes_back_byte_for_byte():
    session = requests.Session()
    session.trust_env, session.verify = False, PLACE["ca"]
    session.headers["Authorization"] = f"Bearer {mint()}"
    # A file whose data set is not encoded as it says is none that a store must take.
    warnings.filterwarnings("error", message="Expected explicit VR")
    warnings.filterwarnings("ignore", category=UserWarning, message="Invalid value|The value|.*character set")
    present, syntaxes = {}, set()
    for path in sorted(pathlib.Path(pydicom.data.__file__).parent.joinpath("test_files").glob("*.dcm")):
        sent = path.read_bytes()
        try:
            dataset = pydicom.dcmread(path)
            dataset.decode()
            uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
            syntax = dataset.file_meta.TransferSyntaxUID
        except Exception:  # No DICOM file, or none that a store must take.
            continue
        if not all(uids) or not dataset.get("SOPClassUID"):
            continue
        stored = session.post(f"{STORE}/studies", data=sent, headers={"Content-Type": "application/dicom"})
        expected = 200 if present.setdefault(uids, sent) == sent else 409
        assert stored.status_code == expected, f"{path.name}: {stored.status_code} {stored.text}"
        if expected == 409:
            continue
        syntaxes.add(syntax)
        url = "{}/studies/{}/series/{}/instances/{}".format(STORE, *uids)
        back = session.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"})
        assert back.content == sent and syntax in back.headers["Content-Type"], path.name
        (metadata,) = session.get(f"{url}/metadata").json()
        found = session.get(f"{STORE}/instances", params={"SOPInstanceUID": uids[2], "StudyInstanceUID": uids[0]}).json()[0]
        for keyword in ("PatientName", "PatientID", "PatientSex", "StudyDate", "StudyID", "Modality", "InstanceNumber"):
            tag = pydicom.tag.Tag(keyword)
            values = [] if dataset.get(tag) is None else dataset[tag].to_json_dict(None, 1024).get("Value", [])
            for attributes in (metadata, found):
                known = attributes.get(f"{tag:08X}", {}).get("Value", [])
                # Empty values in between are null with one and absent with the other.
                assert [value for value in known if value] == [value for value in values if value], (path.name, keyword, known, values)
    assert len(present) > 25 and len(syntaxes) > 8, (len(present), len(syntaxes))


if __name__ == "__main__":
    for check in (
        tokens_are_granted,
        google_auth_retries_what_google_says_is_transient,
        dicomweb_client_stores_finds_retrieves_and_deletes,
        dicomweb_client_is_refused,
        every_test_file_of_pydicom_comes_back_byte_for_byte,
        tokens_are_refused,
    ):
        check()
        print("ok", check.__name__, flush=True)
