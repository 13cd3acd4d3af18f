//! The DICOM stores: an index in memory, the instances in files.
//!
//! ```text
//! {folder}/dicom/{project}/{location}/{dataset}/{store}/{study}/{series}/{instance}.dcm   the bytes as they came
//!                                                                      {instance}.json  what is known of them
//! {folder}/incoming/                                                   parts of requests still arriving
//! ```

mod contents;
mod header;
mod incoming;
mod limits;
mod scan;
mod store_name;

pub use contents::Keep;
pub(crate) use contents::{Contents, Reader};
pub(crate) use header::{first_text, is_uid};
pub(crate) use incoming::{Incoming, Received};
pub use store_name::StoreName;

use crate::world::lock;
use header::Header;
use scan::{Notes, read_notes, scan};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

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
    /// Its length in bytes.
    pub(crate) bytes: u64,
    pub(crate) contents: Contents,
    /// Where it was computed when the instance came.
    sha256: Option<String>,
}

impl Instance {
    /// The whole data set before the pixel data, in the DICOM JSON model. Blocking where it is a file.
    pub(crate) fn metadata(&self) -> io::Result<Map<String, Value>> {
        if let Contents::File(path) = &self.contents {
            return read_notes(path).map(|notes| notes.header.metadata);
        }
        Header::read(self.contents.open()?).map(|header| header.metadata).map_err(io::Error::other)
    }

    /// Whether what came under the same UIDs has the same bytes. What was not remembered counts as the same.
    fn is_the_same_as(&self, new: &Received) -> bool {
        match (&self.contents, &new.contents, &self.sha256, &new.sha256) {
            (Contents::Memory(present), Contents::Memory(new), ..) => contents::same_bytes(present, new),
            (.., Some(present), Some(new)) => present == new,
            _ => true,
        }
    }
}

/// One instance of the archive, for tests that compare it with what they sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StoredInstance {
    /// The store's resource name.
    pub store: String,
    /// Study Instance UID.
    pub study: String,
    /// Series Instance UID.
    pub series: String,
    /// SOP Instance UID.
    pub instance: String,
    /// Transfer Syntax UID.
    pub transfer_syntax: String,
    /// Length in bytes, preamble and file meta information included.
    pub bytes: u64,
    /// SHA-256 of these bytes in hexadecimal digits; none with [`Keep::Nothing`].
    pub sha256: Option<String>,
}

/// What became of a new instance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Insertion {
    Stored,
    IdenticalDuplicate,
    DifferentDuplicate,
}

/// What happens to an instance whose UIDs are taken by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnConflict {
    Refuse,
    Replace,
}

/// study → series → instance.
pub(crate) type Index = BTreeMap<String, BTreeMap<String, BTreeMap<String, Arc<Instance>>>>;

/// All stores.
pub(crate) struct Archive {
    folder: PathBuf,
    keep: Keep,
    stores: Mutex<BTreeMap<StoreName, Index>>,
    incoming: AtomicU64,
}

impl Archive {
    /// Opens `folder` with the given stores, and whatever an earlier run left in them. Blocking.
    pub(crate) fn open(folder: &Path, keep: Keep, names: &[StoreName]) -> io::Result<Self> {
        let incoming = folder.join("incoming");
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir_all(&incoming)?;
        let (stores, incoming) = (Mutex::default(), AtomicU64::default());
        let archive = Self { folder: folder.to_owned(), keep, stores, incoming };
        for name in names {
            let index = if keep == Keep::Disk { scan(&archive.store_folder(name))? } else { Index::new() };
            lock(&archive.stores).insert(name.clone(), index);
        }
        Ok(archive)
    }

    /// Where instances are kept.
    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }

    /// Every instance of every store, those included that were not kept.
    pub(crate) fn instances(&self) -> Vec<StoredInstance> {
        let found: Vec<(String, Vec<Arc<Instance>>)> = lock(&self.stores)
            .iter()
            .map(|(name, index)| (name.to_string(), instances(index).map(Arc::clone).collect()))
            .collect();
        let listed = |store: &str, instance: &Instance| StoredInstance {
            store: store.to_owned(),
            study: instance.study.clone(),
            series: instance.series.clone(),
            instance: instance.uid.clone(),
            transfer_syntax: instance.transfer_syntax.clone(),
            bytes: instance.bytes,
            sha256: instance.sha256.clone().or_else(|| instance.contents.sha256()),
        };
        let each = found.iter().flat_map(|(store, all)| all.iter().map(|instance| listed(store, instance)));
        each.collect()
    }

    /// The resource names of all stores.
    pub(crate) fn stores(&self) -> Vec<String> {
        lock(&self.stores).keys().map(ToString::to_string).collect()
    }

    pub(crate) fn has_store(&self, name: &StoreName) -> bool {
        lock(&self.stores).contains_key(name)
    }

    /// A path for an instance that arrives.
    fn incoming_file(&self) -> PathBuf {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        self.folder.join("incoming").join(format!("{number}.part"))
    }

    /// Takes an instance, whose header was read, into the store. Blocking where it is a file.
    pub(crate) fn insert(
        &self,
        store: &StoreName,
        mut new: Received,
        header: Header,
        on_conflict: OnConflict,
    ) -> io::Result<Insertion> {
        // Compared outside the lock, since instances can be long. One that is there can be gone afterwards or be replaced:
        // that is then decided anew.
        let mut compared: Option<(Arc<Instance>, bool)> = None;
        loop {
            let mut stores = lock(&self.stores);
            let Some(index) = stores.get_mut(store) else { return Err(io::ErrorKind::NotFound.into()) };
            let series =
                index.entry(header.study.clone()).or_default().entry(header.series.clone()).or_default();
            if let Some(present) = series.get(&header.instance) {
                match &compared {
                    Some((known, true)) if Arc::ptr_eq(known, present) => {
                        return Ok(Insertion::IdenticalDuplicate);
                    }
                    Some((known, false)) if Arc::ptr_eq(known, present) => {
                        if on_conflict == OnConflict::Refuse {
                            return Ok(Insertion::DifferentDuplicate);
                        }
                    }
                    _ => {
                        let present = Arc::clone(present);
                        drop(stores);
                        let same = present.is_the_same_as(&new);
                        compared = Some((present, same));
                        continue;
                    }
                }
            }
            let instance = self.keep_for_good(store, &mut new, header)?;
            series.insert(instance.uid.clone(), Arc::new(instance));
            return Ok(Insertion::Stored);
        }
    }

    fn keep_for_good(&self, store: &StoreName, new: &mut Received, header: Header) -> io::Result<Instance> {
        let (bytes, sha256) = (new.bytes, new.sha256.clone());
        let Contents::File(part) = &new.contents else {
            let contents = std::mem::replace(&mut new.contents, Contents::Forgotten);
            return Ok(instance(Notes { sha256, bytes: Some(bytes), header }, bytes, contents));
        };
        let folder = self.store_folder(store).join(&header.study).join(&header.series);
        let path = folder.join(format!("{}.dcm", header.instance));
        fs::create_dir_all(&folder)?;
        let notes = Notes { sha256, bytes: Some(bytes), header };
        // An end in the middle leaves an instance without notes, which the next start writes again, never one with false
        // ones.
        scan::remove_notes(&path)?;
        fs::rename(part, &path)?;
        scan::write_notes(&path, &notes)?;
        Ok(instance(notes, bytes, Contents::File(path)))
    }

    /// The instances of a study, a series, or one instance, ordered by UID.
    pub(crate) fn select(
        &self,
        store: &StoreName,
        study: Option<&str>,
        series: Option<&str>,
        instance: Option<&str>,
    ) -> Vec<Arc<Instance>> {
        let mut found = self.find(store, study, series, instance);
        found.retain(|instance| !matches!(instance.contents, Contents::Forgotten));
        found
    }

    /// The same with those that were not kept.
    fn find(
        &self,
        store: &StoreName,
        study: Option<&str>,
        series: Option<&str>,
        instance: Option<&str>,
    ) -> Vec<Arc<Instance>> {
        let stores = lock(&self.stores);
        let Some(index) = stores.get(store) else { return Vec::new() };
        let studies = entries_of(index, study);
        let all_series = studies.flat_map(|all| entries_of(all, series));
        all_series.flat_map(|all| entries_of(all, instance)).map(Arc::clone).collect()
    }

    /// Removes a study, a series, or one instance, and says how many instances that were. Blocking.
    pub(crate) fn remove(
        &self,
        store: &StoreName,
        study: &str,
        series: Option<&str>,
        instance: Option<&str>,
    ) -> io::Result<usize> {
        let doomed = self.find(store, Some(study), series, instance);
        let mut stores = lock(&self.stores);
        let Some(index) = stores.get_mut(store) else { return Ok(0) };
        for instance in &doomed {
            if let Some(all_series) = index.get_mut(&instance.study) {
                if let Some(instances) = all_series.get_mut(&instance.series) {
                    instances.remove(&instance.uid);
                }
                all_series.retain(|_, instances| !instances.is_empty());
            }
            if let Contents::File(path) = &instance.contents {
                fs::remove_file(path)?;
                scan::remove_notes(path)?;
            }
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

fn instance(notes: Notes, bytes: u64, contents: Contents) -> Instance {
    let Header { study, series, instance, transfer_syntax, mut metadata, .. } = notes.header;
    metadata.retain(|tag, _| INDEXED.contains(&tag.as_str()));
    let sha256 = notes.sha256;
    Instance { study, series, uid: instance, transfer_syntax, attributes: metadata, bytes, contents, sha256 }
}

fn instances(index: &Index) -> impl Iterator<Item = &Arc<Instance>> {
    index.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
}

/// The one entry with the key `wanted`, or all.
fn entries_of<'a, T>(map: &'a BTreeMap<String, T>, wanted: Option<&str>) -> impl Iterator<Item = &'a T> {
    let one = wanted.map(|wanted| map.get(wanted));
    let all = one.is_none().then(|| map.values());
    one.flatten().into_iter().chain(all.into_iter().flatten())
}
