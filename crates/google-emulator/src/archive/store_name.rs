//! The resource names of DICOM stores.

use std::fmt;

/// A DICOM store's resource name, `projects/P/locations/L/datasets/D/dicomStores/S`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreName {
    pub(super) ids: [String; 4],
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
