//! What the tests share: a client that trusts the emulator, made-up instances, signed assertions.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod raw;
pub(crate) mod signing;

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use google_emulator::{Builder, CLOUD_PLATFORM, Emulator};
use reqwest::blocking::{Client, RequestBuilder, Response};
use ring::{rand::SystemRandom, signature::RSA_PKCS1_SHA256, signature::RsaKeyPair};
use serde_json::{Value, json};
use std::{
    io::Cursor,
    time::{Duration, SystemTime},
};

pub(crate) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
pub(crate) const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
pub(crate) const ANY_SYNTAX: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// An emulator and a client that trusts its authority.
pub(crate) struct Google {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
}

impl Google {
    pub(crate) fn start() -> Self {
        Self::from(Emulator::builder().start().unwrap())
    }

    pub(crate) fn of(builder: Builder) -> Self {
        Self::from(builder.start().unwrap())
    }

    pub(crate) fn from(emulator: Emulator) -> Self {
        // Another test of this process may have installed it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = client(&emulator, Duration::from_secs(120));
        Self { emulator, client }
    }

    /// With two studies of two series of two instances, in Explicit VR Little Endian.
    pub(crate) fn filled() -> Self {
        let google = Self::start();
        for study in [1, 2] {
            let instances = [(1, 1), (1, 2), (2, 1), (2, 2)]
                .map(|(series, instance)| made(study, series, instance).file(EXPLICIT_LITTLE));
            assert_eq!(google.store("studies", &instances).status(), 200);
        }
        google
    }

    pub(crate) fn token(&self) -> String {
        self.emulator.mint_token(CLOUD_PLATFORM, Duration::from_secs(600)).unwrap()
    }

    /// A request to the store's DICOMweb root, with a live token.
    pub(crate) fn dicom_web(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}/{path}", self.emulator.dicom_web_url());
        self.client.request(method.parse().unwrap(), url).bearer_auth(self.token())
    }

    pub(crate) fn get(&self, path: &str, accept: &str) -> Response {
        self.dicom_web("GET", path).header("Accept", accept).send().unwrap()
    }

    /// Searches for all studies.
    pub(crate) fn search(&self) -> reqwest::Result<Response> {
        self.dicom_web("GET", "studies").send()
    }

    /// A client that gives up soon, for what never answers.
    pub(crate) fn impatient(&self) -> Client {
        client(&self.emulator, Duration::from_secs(1))
    }

    /// A client that waits until it is dropped.
    pub(crate) fn unhurried(&self) -> reqwest::Client {
        let builder = reqwest::Client::builder().tls_certs_only([authority(&self.emulator)]);
        builder.no_proxy().build().unwrap()
    }

    /// Stores instances in one multipart request, answered in JSON.
    pub(crate) fn store(&self, path: &str, instances: &[Vec<u8>]) -> Response {
        self.dicom_web("POST", path)
            .header("Accept", "application/dicom+json")
            .header("Content-Type", "multipart/related; type=\"application/dicom\"; boundary=BOUNDARY")
            .body(multipart(instances))
            .send()
            .unwrap()
    }

    /// Asks for a token with a form.
    pub(crate) fn ask(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client.post(self.emulator.token_url()).body(body);
        let response = request.header("Content-Type", "application/x-www-form-urlencoded").send().unwrap();
        (response.status().as_u16(), response.json().unwrap())
    }

    pub(crate) fn ask_with_assertion(&self, assertion: &str) -> (u16, Value) {
        self.ask(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)])
    }

    /// A service-account key as a client would read it.
    pub(crate) fn key(&self) -> Value {
        serde_json::from_str(&self.emulator.service_account_key_json()).unwrap()
    }

    /// An assertion that is accepted, with the given members of header and claims replaced, or removed where null.
    pub(crate) fn assertion(&self, header: &Value, claims: &Value) -> String {
        let key = self.key();
        let now = now();
        let mut whole_header = json!({ "alg": "RS256", "typ": "JWT", "kid": key["private_key_id"] });
        let mut whole_claims = json!({
            "iss": key["client_email"], "scope": CLOUD_PLATFORM, "aud": key["token_uri"], "iat": now, "exp": now + 3600,
        });
        merge(&mut whole_header, header);
        merge(&mut whole_claims, claims);
        sign(&whole_header, &whole_claims, key["private_key"].as_str().unwrap())
    }
}

/// Waits for what other threads bring about.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let deadline = SystemTime::now() + Duration::from_secs(60);
    while !condition() {
        assert!(SystemTime::now() < deadline, "it did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The error of a streaming method, which comes in an array.
pub(crate) fn error(body: &Value) -> &Value {
    &body[0]["error"]
}

fn client(emulator: &Emulator, patience: Duration) -> Client {
    Client::builder().tls_certs_only([authority(emulator)]).no_proxy().timeout(patience).build().unwrap()
}

fn authority(emulator: &Emulator) -> reqwest::Certificate {
    reqwest::Certificate::from_pem(&std::fs::read(emulator.ca_file()).unwrap()).unwrap()
}

pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn merge(whole: &mut Value, changes: &Value) {
    let whole = whole.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        whole.insert(name.clone(), value.clone());
    }
    whole.retain(|_, value| !value.is_null());
}

/// A JWT in compact form, signed with a key in PKCS#8 or PKCS#1.
pub(crate) fn sign(header: &Value, claims: &Value, pem: &str) -> String {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).unwrap();
    let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).unwrap();
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn multipart(instances: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for instance in instances {
        body.extend_from_slice(b"--BOUNDARY\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(instance);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--BOUNDARY--\r\n");
    body
}

/// The parts of a multipart answer.
pub(crate) fn parts(response: Response) -> Vec<Vec<u8>> {
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let boundary = kind.split("boundary=").nth(1).unwrap().to_owned();
    let body = response.bytes().unwrap();
    let delimiter = format!("\r\n--{boundary}");
    let finder = memchr::memmem::Finder::new(delimiter.as_bytes());
    let starts: Vec<usize> = finder.find_iter(&body).collect();
    let between = starts.windows(2).map(|pair| &body[pair[0] + delimiter.len()..pair[1]]);
    let head_ends = |part: &[u8]| memchr::memmem::find(part, b"\r\n\r\n").unwrap() + 4;
    between.map(|part| part[head_ends(part)..].to_vec()).collect()
}

/// The numbers that tell made-up instances apart.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    pub(crate) study: u32,
    pub(crate) series: u32,
    pub(crate) instance: u32,
}

impl Made {
    pub(crate) fn study_uid(self) -> String {
        format!("1.2.826.0.1.{}", self.study)
    }

    pub(crate) fn series_uid(self) -> String {
        format!("{}.{}", self.study_uid(), self.series)
    }

    pub(crate) fn instance_uid(self) -> String {
        format!("{}.{}", self.series_uid(), self.instance)
    }

    pub(crate) fn path(self) -> String {
        format!("studies/{}/series/{}/instances/{}", self.study_uid(), self.series_uid(), self.instance_uid())
    }

    /// A small CT slice.
    pub(crate) fn file(self, transfer_syntax: &str) -> Vec<u8> {
        let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let number = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
        let name = if self.study.is_multiple_of(2) { "Doe^John" } else { "Roe^Jane" };
        let first = u16::try_from(self.instance).unwrap();
        let pixels: Vec<u16> = (0..64).map(|pixel| pixel * 17 + first).collect();
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
            text(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2"),
            text(tags::SOP_INSTANCE_UID, VR::UI, &self.instance_uid()),
            text(tags::STUDY_DATE, VR::DA, &format!("202001{:02}", self.study % 28 + 1)),
            text(tags::ACCESSION_NUMBER, VR::SH, ""),
            text(tags::MODALITY, VR::CS, if self.series.is_multiple_of(2) { "CT" } else { "MR" }),
            text(tags::MANUFACTURER, VR::LO, "Größe & Söhne"),
            text(tags::PATIENT_NAME, VR::PN, name),
            text(tags::PATIENT_ID, VR::LO, &format!("P{}", self.study)),
            text(tags::STUDY_INSTANCE_UID, VR::UI, &self.study_uid()),
            text(tags::SERIES_INSTANCE_UID, VR::UI, &self.series_uid()),
            text(tags::INSTANCE_NUMBER, VR::IS, &self.instance.to_string()),
            number(tags::ROWS, 8),
            number(tags::COLUMNS, 8),
            number(tags::BITS_ALLOCATED, 16),
        ]);
        if transfer_syntax == EXPLICIT_LITTLE || transfer_syntax == IMPLICIT_LITTLE {
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
        } else {
            let fragment = vec![0xff, 0xd8, 0xff, 0xd9];
            let sequence = dicom_core::value::PixelFragmentSequence::new(vec![], vec![fragment]);
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, sequence));
        }
        let meta = FileMetaTableBuilder::new().transfer_syntax(transfer_syntax);
        let file = object.with_meta(meta).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        file.write_all(&mut bytes).unwrap();
        bytes.into_inner()
    }
}

pub(crate) fn made(study: u32, series: u32, instance: u32) -> Made {
    Made { study, series, instance }
}
