//! The DICOM stores: an index in memory, the instances in files.
//!
//! ```text
//! {folder}/dicom/{project}/{location}/{dataset}/{store}/{study}/{series}/{instance}.dcm   the bytes as they came
//!                                                                      {instance}.json  what is known of them
//! {folder}/incoming/                                                   parts of requests still arriving
//! ```

mod header;

pub(crate) use header::{Header, first_text, is_uid, read};

use crate::world::lock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// A DICOM store's resource name, `projects/P/locations/L/datasets/D/dicomStores/S`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreName {
    ids: [String; 4],
}

const COLLECTIONS: [&str; 4] = ["projects", "locations", "datasets", "dicomStores"];

impl StoreName {
    /// Reads a resource name; `None` when it has another form. Identifiers consist of letters, digits, `-`, `_` and,
    /// in datasets and stores, `.`.
    pub fn parse(name: &str) -> Option<Self> {
        let segments: Vec<&str> = name.split('/').collect();
        let [p, project, l, location, d, dataset, s, store] = segments.as_slice() else { return None };
        let word = |id: &str, dots: bool| {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (dots && c == '.');
            !id.is_empty() && id != "." && id != ".." && id.len() <= 256 && id.chars().all(legal)
        };
        let legal = word(project, false) && word(location, false) && word(dataset, true) && word(store, true);
        let named = [*p, *l, *d, *s] == COLLECTIONS;
        (legal && named).then(|| Self { ids: [project, location, dataset, store].map(|id| (*id).to_owned()) })
    }

    /// The dataset's resource name, to which operations belong.
    pub(crate) fn dataset(&self) -> String {
        let [project, location, dataset, _] = &self.ids;
        format!("projects/{project}/locations/{location}/datasets/{dataset}")
    }

    /// Project, location, dataset and store.
    pub fn ids(&self) -> &[String; 4] {
        &self.ids
    }
}

impl Default for StoreName {
    /// The store that exists when none is asked for.
    fn default() -> Self {
        Self { ids: ["demo", "us-central1", "ds", "store"].map(str::to_owned) }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [.., store] = &self.ids;
        write!(formatter, "{}/dicomStores/{store}", self.dataset())
    }
}

/// One stored instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) study: String,
    pub(crate) series: String,
    /// The SOP Instance UID.
    pub(crate) uid: String,
    pub(crate) transfer_syntax: String,
    /// The few attributes that searches match and return by default; the others are in the file beside the instance.
    pub(crate) attributes: Map<String, Value>,
    sha256: String,
    path: PathBuf,
}

impl Instance {
    /// The file with the instance's bytes as they came.
    pub(crate) fn file(&self) -> &Path {
        &self.path
    }

    /// The whole data set before the pixel data, in the DICOM JSON model. Blocking.
    pub(crate) fn metadata(&self) -> io::Result<Map<String, Value>> {
        read_notes(&self.path.with_extension("json")).map(|notes| notes.header.metadata)
    }
}

/// The file beside an instance.
#[derive(Serialize, Deserialize)]
struct Notes {
    sha256: String,
    header: Header,
}

/// What became of a new instance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Insertion {
    Stored,
    IdenticalDuplicate,
    DifferentDuplicate,
}

/// study → series → instance.
pub(crate) type Index = BTreeMap<String, BTreeMap<String, BTreeMap<String, Arc<Instance>>>>;

/// All stores.
pub(crate) struct Archive {
    folder: PathBuf,
    stores: Mutex<BTreeMap<StoreName, Index>>,
    incoming: AtomicU64,
}

impl Archive {
    /// Opens `folder` with the given stores, and whatever an earlier run left in them. Blocking.
    pub(crate) fn open(folder: &Path, names: &[StoreName]) -> io::Result<Self> {
        let incoming = folder.join("incoming");
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir_all(&incoming)?;
        let archive =
            Self { folder: folder.to_owned(), stores: Mutex::default(), incoming: AtomicU64::default() };
        for name in names {
            let index = scan(&archive.store_folder(name))?;
            lock(&archive.stores).insert(name.clone(), index);
        }
        Ok(archive)
    }

    /// The resource names of all stores.
    pub(crate) fn stores(&self) -> Vec<String> {
        lock(&self.stores).keys().map(ToString::to_string).collect()
    }

    pub(crate) fn has_store(&self, name: &StoreName) -> bool {
        lock(&self.stores).contains_key(name)
    }

    /// A path for a part that arrives; the caller creates the file and removes it, or gives it to [`Archive::insert`].
    pub(crate) fn incoming_file(&self) -> PathBuf {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        self.folder.join("incoming").join(format!("{number}.part"))
    }

    /// Takes the file at `part`, whose SHA-256 and header are given, into the store. Blocking. The part is gone
    /// afterwards unless an error is returned.
    pub(crate) fn insert(
        &self,
        store: &StoreName,
        part: &Path,
        sha256: String,
        header: Header,
    ) -> io::Result<Insertion> {
        let folder = self.store_folder(store).join(&header.study).join(&header.series);
        let path = folder.join(format!("{}.dcm", header.instance));
        let mut stores = lock(&self.stores);
        let Some(index) = stores.get_mut(store) else { return Err(io::ErrorKind::NotFound.into()) };
        let series = index.entry(header.study.clone()).or_default().entry(header.series.clone()).or_default();
        if let Some(present) = series.get(&header.instance) {
            fs::remove_file(part)?;
            let identical = present.sha256 == sha256;
            return Ok(if identical { Insertion::IdenticalDuplicate } else { Insertion::DifferentDuplicate });
        }
        fs::create_dir_all(&folder)?;
        let notes = Notes { sha256, header };
        // Notes first: an instance without notes, after a crash, would be one that nobody knows.
        fs::write(path.with_extension("json"), serde_json::to_vec(&notes)?)?;
        fs::rename(part, &path)?;
        series.insert(notes.header.instance.clone(), Arc::new(instance(notes, path)));
        Ok(Insertion::Stored)
    }

    /// The instances of a study, a series, or one instance, ordered by UID.
    pub(crate) fn select(
        &self,
        store: &StoreName,
        study: Option<&str>,
        series: Option<&str>,
        instance: Option<&str>,
    ) -> Vec<Arc<Instance>> {
        let matches = |wanted: Option<&str>, uid: &str| wanted.is_none_or(|wanted| wanted == uid);
        let stores = lock(&self.stores);
        let studies = stores.get(store).into_iter().flatten().filter(|(uid, _)| matches(study, uid));
        let all_series = studies.flat_map(|(_, all)| all).filter(|(uid, _)| matches(series, uid));
        let instances = all_series.flat_map(|(_, all)| all).filter(|(uid, _)| matches(instance, uid));
        instances.map(|(_, instance)| Arc::clone(instance)).collect()
    }

    /// Removes a study, a series, or one instance, and says how many instances that were. Blocking.
    pub(crate) fn remove(
        &self,
        store: &StoreName,
        study: &str,
        series: Option<&str>,
        instance: Option<&str>,
    ) -> io::Result<usize> {
        let doomed = self.select(store, Some(study), series, instance);
        let mut stores = lock(&self.stores);
        let Some(index) = stores.get_mut(store) else { return Ok(0) };
        for instance in &doomed {
            if let Some(all_series) = index.get_mut(&instance.study) {
                if let Some(instances) = all_series.get_mut(&instance.series) {
                    instances.remove(&instance.uid);
                }
                all_series.retain(|_, instances| !instances.is_empty());
            }
            fs::remove_file(&instance.path)?;
            fs::remove_file(instance.path.with_extension("json"))?;
        }
        index.retain(|_, all_series| !all_series.is_empty());
        Ok(doomed.len())
    }

    fn store_folder(&self, name: &StoreName) -> PathBuf {
        name.ids.iter().fold(self.folder.join("dicom"), |path, id| path.join(id))
    }
}

/// Attributes kept in memory: what Google's searches match, and what they return by default.
pub(crate) const INDEXED: [&str; 24] = [
    "00080005", "00080016", "00080018", "00080020", "00080030", "00080050", "00080060", "00080090",
    "00080201", "0008103E", "00100010", "00100020", "00100030", "00100040", "0020000D", "0020000E",
    "00200010", "00200011", "00200013", "00280008", "00280010", "00280011", "00280100", "00400244",
];

fn instance(notes: Notes, path: PathBuf) -> Instance {
    let Header { study, series, instance, transfer_syntax, mut metadata, .. } = notes.header;
    metadata.retain(|tag, _| INDEXED.contains(&tag.as_str()));
    let sha256 = notes.sha256;
    Instance { study, series, uid: instance, transfer_syntax, attributes: metadata, sha256, path }
}

fn read_notes(path: &Path) -> io::Result<Notes> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn scan(store: &Path) -> io::Result<Index> {
    let mut index = Index::new();
    for study in entries(store)? {
        for series in entries(&study)? {
            for path in entries(&series)? {
                if path.extension().is_some_and(|extension| extension == "dcm") {
                    let found = instance(read_notes(&path.with_extension("json"))?, path);
                    let series = index
                        .entry(found.study.clone())
                        .or_default()
                        .entry(found.series.clone())
                        .or_default();
                    series.insert(found.uid.clone(), Arc::new(found));
                }
            }
        }
    }
    Ok(index)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_names_have_googles_form() {
        let name = "projects/p-1/locations/us/datasets/d.s/dicomStores/a_b";
        assert_eq!(StoreName::parse(name).unwrap().to_string(), name);
        for wrong in [
            "projects/p/locations/l/datasets/d",
            "projects/p.q/locations/l/datasets/d/dicomStores/s",
            "projects/p/locations/l/datasets/../dicomStores/s",
            "projects/p/locations/l/datasets/d/dicomStores/",
            "projects/p/locations/l/datasets/d/fhirStores/s",
        ] {
            assert_eq!(StoreName::parse(wrong), None, "{wrong}");
        }
    }
}
