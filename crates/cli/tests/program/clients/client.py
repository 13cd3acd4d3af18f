"""dicomweb-client (Python) through the gateway: it stores, searches, retrieves and deletes. Every byte is compared.

Called by clients.rs with one argument, a JSON object: gateway (an account's DICOMweb root), emulator (its HTTP address),
studies (folders of DICOM files, a study each).
"""

import concurrent.futures
import hashlib
import io
import json
import pathlib
import sys

import pydicom
import requests
from dicomweb_client import DICOMwebClient

PLACE = json.loads(sys.argv[1])
ANY_SYNTAX = (("application/dicom", "*"),)


def client():
    session = requests.Session()
    session.trust_env = False
    web = DICOMwebClient(url=PLACE["gateway"], session=session)
    # What fails in between is the gateway's to repeat.
    web.set_http_retry_params(retry=False)
    return web


def refused(status, call):
    try:
        call()
    except requests.HTTPError as error:
        assert error.response.status_code == status, f"{error.response.status_code}, expected {status}"
    else:
        raise AssertionError(f"succeeded, expected {status}")


def encoded(dataset):
    with io.BytesIO() as buffer:
        pydicom.dcmwrite(buffer, dataset)
        return buffer.getvalue()


def study(folder):
    """The instances of a study, and their bytes by SOP Instance UID."""
    paths = sorted(pathlib.Path(folder).iterdir())
    datasets = [pydicom.dcmread(path) for path in paths]
    files = {dataset.SOPInstanceUID: path.read_bytes() for dataset, path in zip(datasets, paths)}
    # So that what is compared below is what was sent.
    assert all(encoded(dataset) == files[dataset.SOPInstanceUID] for dataset in datasets)
    return datasets, files


def held():
    """What the store holds: SHA-256 by SOP Instance UID."""
    session = requests.Session()
    session.trust_env = False
    return {one["instance"]: one["sha256"] for one in session.get(PLACE["emulator"] + "/emulator/instances").json()}


def hashes(files):
    return {uid: hashlib.sha256(sent).hexdigest() for uid, sent in files.items()}


def by_uid(datasets):
    datasets = list(datasets)
    found = {dataset.SOPInstanceUID: encoded(dataset) for dataset in datasets}
    assert len(found) == len(datasets), "one came twice"
    return found


def stored(web, datasets):
    answer = web.store_instances(datasets)
    assert "FailedSOPSequence" not in answer, answer
    references = answer.ReferencedSOPSequence
    # In the order in which they were sent.
    assert [one.ReferencedSOPInstanceUID for one in references] == [one.SOPInstanceUID for one in datasets]
    assert all(one.RetrieveURL.endswith(one.ReferencedSOPInstanceUID) for one in references)


def stores_and_retrieves(web, datasets, files):
    stored(web, datasets)
    assert held() == hashes(files)
    # Once more: identical duplicates are stored.
    stored(web, datasets)
    assert held() == hashes(files)

    uid = datasets[0].StudyInstanceUID
    assert by_uid(web.retrieve_study(uid, media_types=ANY_SYNTAX)) == files
    assert by_uid(web.iter_study(uid, media_types=ANY_SYNTAX)) == files
    series = {dataset.SeriesInstanceUID for dataset in datasets}
    for one in series:
        expected = {dataset.SOPInstanceUID for dataset in datasets if dataset.SeriesInstanceUID == one}
        assert by_uid(web.retrieve_series(uid, one, media_types=ANY_SYNTAX)) == {key: files[key] for key in expected}
    for dataset in datasets:
        where = (uid, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
        assert encoded(web.retrieve_instance(*where, media_types=ANY_SYNTAX)) == files[where[2]]
        syntax = dataset.file_meta.TransferSyntaxUID
        # dicomweb-client does not let one ask for Implicit VR Little Endian.
        if syntax != pydicom.uid.ImplicitVRLittleEndian:
            same = web.retrieve_instance(*where, media_types=(("application/dicom", str(syntax)),))
            assert encoded(same) == files[where[2]]
        metadata = web.retrieve_instance_metadata(*where)
        assert metadata["00080018"]["Value"] == [where[2]]
    assert {one["00080018"]["Value"][0] for one in web.retrieve_study_metadata(uid)} == set(files)
    assert len(web.retrieve_series_metadata(uid, datasets[0].SeriesInstanceUID)) > 0
    # The pretend Google has no frames: what it says comes through.
    refused(501, lambda: web.retrieve_instance_frames(*where, frame_numbers=[1]))
    return series


def default_syntax_is_explicit_little_endian(web, datasets):
    """Without a transfer syntax, of what is not compressed: with the same pixels."""
    uid = datasets[0].StudyInstanceUID
    plain = {one.SOPInstanceUID: one for one in web.retrieve_study(uid, media_types=("application/dicom",))}
    assert len(plain) == len(datasets)
    for dataset in datasets:
        got = plain[dataset.SOPInstanceUID]
        assert got.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert got.PixelData == dataset.PixelData and got.PatientID == dataset.PatientID


def searches_page_by_page(web, datasets, series, studies):
    uid = datasets[0].StudyInstanceUID
    for limit in (2, 3):
        found = web.search_for_studies(limit=limit, get_remaining=True)
        assert sorted(one["0020000D"]["Value"][0] for one in found) == sorted(studies)
        found = web.search_for_instances(uid, limit=limit, get_remaining=True)
        assert sorted(one["00080018"]["Value"][0] for one in found) == sorted(one.SOPInstanceUID for one in datasets)
    pages = [web.search_for_instances(uid, limit=1, offset=offset) for offset in range(len(datasets) + 1)]
    assert [len(page) for page in pages] == [1] * len(datasets) + [0]
    assert {one["0020000E"]["Value"][0] for one in web.search_for_series(uid)} == series
    (one,) = web.search_for_studies(search_filters={"PatientID": datasets[0].PatientID}, fields=["StudyDescription"])
    assert one["0020000D"]["Value"] == [uid]
    assert web.search_for_studies(search_filters={"PatientID": "nobody"}) == []


def deletes(web, datasets, rest):
    uid = datasets[0].StudyInstanceUID
    web.delete_instance(uid, datasets[0].SeriesInstanceUID, datasets[0].SOPInstanceUID)
    assert datasets[0].SOPInstanceUID not in held()
    assert len(web.retrieve_study(uid, media_types=ANY_SYNTAX)) == len(datasets) - 1
    web.delete_study(uid)
    assert held() == rest
    refused(404, lambda: web.retrieve_study(uid, media_types=ANY_SYNTAX))


def main():
    web = client()
    (mixed, mixed_files), *others = [study(folder) for folder in PLACE["studies"]]
    series = stores_and_retrieves(web, mixed, mixed_files)

    # Several uploads and downloads at once, each by a client of its own.
    with concurrent.futures.ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda other: stored(client(), other[0]), others))
        expected = {uid: sent for _, files in others for uid, sent in files.items()}
        assert held() == hashes(mixed_files | expected)

        def retrieved(other):
            datasets, files = other
            assert by_uid(client().retrieve_study(datasets[0].StudyInstanceUID, media_types=ANY_SYNTAX)) == files

        list(pool.map(retrieved, others))
    default_syntax_is_explicit_little_endian(web, others[0][0])
    studies = [datasets[0].StudyInstanceUID for datasets in [mixed] + [datasets for datasets, _ in others]]
    searches_page_by_page(web, mixed, series, studies)
    deletes(web, mixed, hashes(expected))
    for datasets, _ in others:
        web.delete_study(datasets[0].StudyInstanceUID)
    assert held() == {} and web.search_for_studies() == []


if __name__ == "__main__":
    main()
