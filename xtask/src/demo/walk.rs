//! The steps of the demonstration, each a REST call that a user could make.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use orthanc_testbed::{Answer, Instance, Orthanc, Study};
use serde_json::{Value, json};

use super::{google::Google, interrupt::Interrupt};

/// Google deletes a small study within seconds; this is how long we believe in it.
const DELETED_DEADLINE: Duration = Duration::from_secs(120);

/// A study on its way to Google and back.
pub(crate) struct Walk<'a> {
    orthanc: &'a Orthanc,
    google: &'a Google,
    study: &'a Study,
    /// Orthanc's own identifiers, which follow from the DICOM ones: they are the same when a study returns.
    ids: BTreeMap<&'a str, String>,
    study_id: String,
    stored: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(orthanc: &'a Orthanc, google: &'a Google, study: &'a Study) -> Self {
        Self { orthanc, google, study, ids: BTreeMap::new(), study_id: String::new(), stored: false }
    }

    /// Whether the study may be in the store.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored
    }

    /// All steps, one after the other.
    pub(crate) fn all(&mut self, interrupt: &Interrupt) -> Result<()> {
        self.load()?;
        interrupt.check()?;
        self.store()?;
        interrupt.check()?;
        self.search()?;
        interrupt.check()?;
        self.empty()?;
        self.retrieve()?;
        self.compare()?;
        interrupt.check()?;
        self.delete()?;
        self.search_in_vain()
    }

    /// Puts the study there once more, for the user to look at.
    pub(crate) fn store_again(&mut self) -> Result<()> {
        println!("\n== Once more STOW-RS, so that there is something to look at");
        self.stow()
    }

    pub(crate) fn tell_where_things_are(&self) {
        let url = self.orthanc.url();
        println!("\n== Look around");
        println!("   Orthanc Explorer       {url}/app/explorer.html");
        println!("   DICOMweb client        {url}/dicom-web/app/client/index.html");
        for (name, place) in &self.google.places {
            println!("   {name:<22} {place}");
        }
    }

    fn load(&mut self) -> Result<()> {
        println!("\n== A generated CT study is loaded into Orthanc");
        for instance in &self.study.instances {
            let answer = good(self.orthanc.post("/instances", &instance.bytes)?, "POST /instances")?;
            let answer = answer.json()?;
            self.ids.insert(&instance.uid, text(&answer, "ID")?);
            self.study_id = text(&answer, "ParentStudy")?;
        }
        println!("   {} series, {}", self.study.series.len(), amount(&self.study.instances));
        println!("   $ curl {}/instances --data-binary @FILE", self.orthanc.url());
        Ok(())
    }

    fn store(&mut self) -> Result<()> {
        println!("\n== STOW-RS: Orthanc sends the study to Google");
        self.stow()
    }

    fn stow(&mut self) -> Result<()> {
        // Even a request that fails may have stored something.
        self.stored = true;
        let start = Instant::now();
        self.ask("stow", &json!({ "Resources": [self.study_id] }))?;
        println!("   {} sent in {:.1} s", amount(&self.study.instances), start.elapsed().as_secs_f64());
        Ok(())
    }

    fn search(&self) -> Result<()> {
        println!("\n== QIDO-RS: the study is found at Google");
        let found = self.ask("qido", &self.query())?.json()?;
        let found = found.as_array().context("QIDO-RS answered no list")?;
        let uid = &self.study.uid;
        let right = found.iter().filter(|study| study.to_string().contains(uid.as_str())).count();
        println!("   {} found", count(found.len(), "study", "studies"));
        ensure!(
            (found.len(), right) == (1, 1),
            "one study with the Study Instance UID {uid} expected: {found:?}"
        );
        Ok(())
    }

    /// Google answers a search without results with 204 and no body, or with an empty list. The first is an error to
    /// the route `qido` of the DICOMweb plugin, so the same search goes through its route `get`.
    fn search_in_vain(&self) -> Result<()> {
        println!("\n== QIDO-RS: the study is no longer at Google");
        let start = Instant::now();
        let mut answer = self.ask("get", &self.query())?;
        loop {
            let found = if answer.body.is_empty() { json!([]) } else { answer.json()? };
            if found == json!([]) {
                break;
            }
            ensure!(start.elapsed() < DELETED_DEADLINE, "the study was deleted, but is still found: {found}");
            // DELETE has only begun an operation on Google's side.
            std::thread::sleep(Duration::from_secs(1));
            answer = self.post("get", &self.query())?;
        }
        println!("   0 studies found");
        Ok(())
    }

    fn query(&self) -> Value {
        json!({
            "Uri": "/studies",
            "Arguments": { "StudyInstanceUID": self.study.uid },
            "HttpHeaders": { "Accept": "application/dicom+json" },
        })
    }

    fn empty(&self) -> Result<()> {
        println!("\n== Orthanc is emptied");
        let path = format!("/studies/{}", self.study_id);
        good(self.orthanc.delete(&path)?, "DELETE /studies/…")?;
        let left = self.orthanc.get("/instances")?.json()?;
        println!(
            "   {} left in Orthanc",
            count(left.as_array().map_or(0, Vec::len), "instance", "instances")
        );
        println!("   $ curl -X DELETE {}{path}", self.orthanc.url());
        ensure!(left == json!([]), "Orthanc still holds {left}");
        Ok(())
    }

    fn retrieve(&self) -> Result<()> {
        println!("\n== WADO-RS: Orthanc gets the study back from Google");
        let start = Instant::now();
        self.ask("retrieve", &json!({ "Resources": [{ "Study": self.study.uid }] }))?;
        println!("   done in {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    fn compare(&self) -> Result<()> {
        println!("\n== Every instance is compared with the one that was sent");
        let mut same_file = 0;
        for instance in &self.study.instances {
            let id = self.ids.get(instance.uid.as_str()).context("an instance without identifier")?;
            let path = format!("/instances/{id}/file");
            let back = good(self.orthanc.get(&path)?, &format!("GET {path}"))?.body;
            if back == instance.bytes {
                same_file += 1;
                continue;
            }
            // A real store may write a file header of its own; what counts is the data set.
            let same = self.google.is_real()
                && data_set(&back).is_some_and(|back| Some(back) == data_set(&instance.bytes));
            ensure!(same, "instance {} came back with other bytes", instance.uid);
        }
        let total = self.study.instances.len();
        println!("   {same_file} of {total} files equal, byte for byte");
        if same_file < total {
            println!("   {} with another file header around the same data set", total - same_file);
        }
        let id = self.ids.values().next().map_or("ID", String::as_str);
        println!("   $ curl {}/instances/{id}/file | sha256sum", self.orthanc.url());
        Ok(())
    }

    /// Deletes the study at Google.
    pub(crate) fn delete(&mut self) -> Result<()> {
        println!("\n== DELETE: the study is deleted at Google");
        self.ask("delete", &json!({ "Level": "Study", "StudyInstanceUID": self.study.uid }))?;
        self.stored = false;
        println!("   deleted");
        Ok(())
    }

    /// Has the DICOMweb plugin do something with our server, and shows how to do so by hand.
    fn ask(&self, operation: &str, body: &Value) -> Result<Answer> {
        let path = self.path(operation);
        println!("   $ curl {}{path} -d '{}'", self.orthanc.url(), body.to_string().replace('\'', r"'\''"));
        self.post(operation, body)
    }

    fn post(&self, operation: &str, body: &Value) -> Result<Answer> {
        let path = self.path(operation);
        let answer = self.orthanc.post(&path, body.to_string())?;
        good(answer, &format!("POST {path}")).with_context(|| {
            format!(
                "{operation} failed. The DICOMweb plugin keeps Google's reason to itself: the usual ones are an account \
                 without the right to do this (roles/healthcare.dicomEditor), or a wrong project, location, data set \
                 or DICOM store in the configuration"
            )
        })
    }

    fn path(&self, operation: &str) -> String {
        format!("/dicom-web/servers/{}/{operation}", percent_encoded(&self.google.account))
    }
}

fn good(answer: Answer, what: &str) -> Result<Answer> {
    if !(200..300).contains(&answer.status) {
        // Orthanc's errors are JSON over several lines.
        let body = answer.json().map_or_else(|_| answer.text(), |body| body.to_string());
        bail!("{what}: HTTP status {}: {}", answer.status, body.trim());
    }
    Ok(answer)
}

fn text(answer: &Value, key: &str) -> Result<String> {
    let text = answer.get(key).and_then(Value::as_str);
    Ok(text.with_context(|| format!("Orthanc's answer has no {key}: {answer}"))?.to_owned())
}

fn amount(instances: &[Instance]) -> String {
    let bytes: usize = instances.iter().map(|instance| instance.bytes.len()).sum();
    format!("{} ({bytes} bytes)", count(instances.len(), "instance", "instances"))
}

fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// The data set of a DICOM file: what follows the preamble (128 bytes), `DICM`, and the File Meta Information, whose
/// first element, (0002,0000) UL, says how long the rest of it is (DICOM PS3.10, section 7.1).
fn data_set(file: &[u8]) -> Option<&[u8]> {
    let length = u32::from_le_bytes(file.get(140..144)?.try_into().ok()?);
    file.get(144 + usize::try_from(length).ok()?..)
}

/// RFC 3986, section 2.1: a name may have blanks.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use orthanc_testbed::{Ct, study};

    use super::*;

    #[test]
    fn the_data_set_begins_after_the_file_meta_information() {
        let study = study::ct(&Ct::default()).unwrap();
        // The first element of the data set is (0008,0008) Image Type, CS, in Explicit VR Little Endian.
        let data_set = data_set(&study.instances[0].bytes).unwrap();
        assert_eq!(&data_set[..6], b"\x08\x00\x08\x00CS");
    }

    #[test]
    fn names_with_blanks_become_paths() {
        assert_eq!(percent_encoded("my google/ü"), "my%20google%2F%C3%BC");
    }
}
