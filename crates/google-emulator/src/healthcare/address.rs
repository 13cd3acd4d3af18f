//! From method and path to what is wanted: the URL forms of the Cloud Healthcare API.

use crate::{
    archive::{StoreName, is_uid},
    fault::Route,
};
use axum::http::Method;

/// What a URL under `/v1` or `/v1beta1` names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A DICOMweb transaction on a store.
    Dicom { store: StoreName, action: Action },
    /// `GET …/datasets/D/operations/ID`, the name without the version.
    Operation(String),
}

/// A DICOMweb transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Store {
        study: Option<String>,
    },
    /// `updateInstances`, which v1 does not have.
    Update {
        study: Option<String>,
    },
    Search(Level, Scope),
    Retrieve(Scope),
    Metadata(Scope),
    Delete(Scope),
}

/// The level a search answers at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Study,
    Series,
    Instance,
}

/// The UIDs in the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) study: Option<String>,
    pub(crate) series: Option<String>,
    pub(crate) instance: Option<String>,
}

impl Action {
    /// The method's name in Google's errors and operations.
    pub(crate) fn method_name(&self) -> &'static str {
        match self {
            Self::Store { .. } => "StoreInstances",
            Self::Update { .. } => "UpdateInstances",
            Self::Search(Level::Study, _) => "SearchForStudies",
            Self::Search(Level::Series, _) => "SearchForSeries",
            Self::Search(Level::Instance, _) => "SearchForInstances",
            Self::Retrieve(scope) => scope.name("RetrieveStudy", "RetrieveSeries", "RetrieveInstance"),
            Self::Metadata(scope) => {
                scope.name("RetrieveStudyMetadata", "RetrieveSeriesMetadata", "RetrieveInstanceMetadata")
            }
            Self::Delete(scope) => scope.name("DeleteStudy", "DeleteSeries", "DeleteInstance"),
        }
    }

    /// The permission that it needs.
    pub(crate) fn permission(&self) -> &'static str {
        match self {
            Self::Store { .. } => "healthcare.dicomStores.dicomWebWrite",
            Self::Update { .. } => "healthcare.dicomStores.dicomWebUpdate",
            Self::Delete(_) => "healthcare.dicomStores.dicomWebDelete",
            _ => "healthcare.dicomStores.dicomWebRead",
        }
    }

    /// Whether Google streams the answer, and so wraps errors into an array.
    pub(crate) fn streams(&self) -> bool {
        !matches!(self, Self::Delete(_))
    }

    fn route(&self) -> Route {
        match self {
            Self::Store { .. } => Route::Stow,
            Self::Search(..) => Route::Qido,
            Self::Update { .. } => Route::Update,
            Self::Retrieve(scope) if scope.instance.is_some() => Route::WadoInstance,
            Self::Retrieve(scope) if scope.series.is_some() => Route::WadoSeries,
            Self::Retrieve(_) => Route::WadoStudy,
            Self::Metadata(_) => Route::WadoMetadata,
            Self::Delete(_) => Route::Delete,
        }
    }
}

impl Scope {
    fn name(&self, study: &'static str, series: &'static str, instance: &'static str) -> &'static str {
        match (&self.series, &self.instance) {
            (_, Some(_)) => instance,
            (Some(_), None) => series,
            (None, None) => study,
        }
    }
}

/// Why a URL leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Nowhere {
    /// No such URL at Google: 404.
    Unknown,
    /// Google has it, the emulator has not: 501.
    NotOffered,
}

/// What `method` on `path` means. No identifier that Google allows needs percent-encoding, so none is undone.
pub(crate) fn parse(method: &Method, path: &str) -> Result<Address, Nowhere> {
    let (version, rest) = path
        .strip_prefix("/v1/")
        .map(|rest| (Version::V1, rest))
        .or_else(|| path.strip_prefix("/v1beta1/").map(|rest| (Version::V1Beta1, rest)))
        .ok_or(Nowhere::Unknown)?;
    if let Some((dataset, id)) = rest.split_once("/operations/") {
        let known = dataset.starts_with("projects/") && !id.is_empty() && method == Method::GET;
        return if known { Ok(Address::Operation(rest.to_owned())) } else { Err(Nowhere::Unknown) };
    }
    let (store, dicom_web) = rest.split_once("/dicomWeb/").ok_or(Nowhere::NotOffered)?;
    let store = StoreName::parse(store).ok_or(Nowhere::Unknown)?;
    let segments: Vec<&str> = dicom_web.split('/').collect();
    Ok(Address::Dicom { store, action: action(version, method, &segments)? })
}

/// The kind of request, for faults and the record.
pub(crate) fn kind(method: &Method, path: &str) -> Route {
    match parse(method, path) {
        Ok(Address::Dicom { action, .. }) => action.route(),
        Ok(Address::Operation(_)) => Route::Delete,
        Err(_) => Route::Any,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V1Beta1,
}

fn action(version: Version, method: &Method, segments: &[&str]) -> Result<Action, Nowhere> {
    // `studies/1.2/series/3.4/instances`: collections and UIDs in turn, from the outside in.
    let (scope, rest) = scope(segments)?;
    match (method.as_str(), rest) {
        ("POST", ["studies"]) if scope == Scope::default() => Ok(Action::Store { study: None }),
        ("POST", []) if scope.series.is_none() => Ok(Action::Store { study: scope.study }),
        // Both are v1beta1's alone.
        ("PUT" | "PATCH", _) if version == Version::V1 => Err(Nowhere::Unknown),
        ("PUT", ["studies"]) if scope == Scope::default() => Ok(Action::Update { study: None }),
        ("PUT", []) if scope.study.is_some() && scope.series.is_none() => {
            Ok(Action::Update { study: scope.study })
        }
        ("PATCH", ["metadata"]) if scope.study.is_some() => Err(Nowhere::NotOffered),
        ("GET", ["studies"]) if scope == Scope::default() => Ok(Action::Search(Level::Study, scope)),
        ("GET", ["series"]) if scope.series.is_none() => Ok(Action::Search(Level::Series, scope)),
        ("GET", ["instances"]) if scope.instance.is_none() => Ok(Action::Search(Level::Instance, scope)),
        ("GET", []) => Ok(Action::Retrieve(scope)),
        ("GET", ["metadata"]) if scope.study.is_some() => Ok(Action::Metadata(scope)),
        ("DELETE", []) => Ok(Action::Delete(scope)),
        ("GET", ["rendered" | "frames" | "bulkdata", ..]) => Err(Nowhere::NotOffered),
        _ => Err(Nowhere::Unknown),
    }
}

fn scope<'a>(segments: &'a [&'a str]) -> Result<(Scope, &'a [&'a str]), Nowhere> {
    let uid = |text: &str| if is_uid(text) { Ok(Some(text.to_owned())) } else { Err(Nowhere::Unknown) };
    match segments {
        ["studies", study, "series", series, "instances", instance, rest @ ..] => {
            let (study, series, instance) = (uid(study)?, uid(series)?, uid(instance)?);
            Ok((Scope { study, series, instance }, rest))
        }
        ["studies", study, "series", series, rest @ ..] => {
            Ok((Scope { study: uid(study)?, series: uid(series)?, instance: None }, rest))
        }
        ["studies", study, rest @ ..] => Ok((Scope { study: uid(study)?, ..Scope::default() }, rest)),
        rest => Ok((Scope::default(), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_mean_what_google_says() {
        let base = "/v1beta1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb/";
        for (method, path, expected) in [
            ("POST", "studies", "StoreInstances"),
            ("POST", "studies/1.2", "StoreInstances"),
            ("PUT", "studies", "UpdateInstances"),
            ("PUT", "studies/1.2", "UpdateInstances"),
            ("GET", "studies", "SearchForStudies"),
            ("GET", "series", "SearchForSeries"),
            ("GET", "instances", "SearchForInstances"),
            ("GET", "studies/1.2/series", "SearchForSeries"),
            ("GET", "studies/1.2/instances", "SearchForInstances"),
            ("GET", "studies/1.2/series/3/instances", "SearchForInstances"),
            ("GET", "studies/1.2", "RetrieveStudy"),
            ("GET", "studies/1.2/series/3", "RetrieveSeries"),
            ("GET", "studies/1.2/series/3/instances/4", "RetrieveInstance"),
            ("GET", "studies/1.2/metadata", "RetrieveStudyMetadata"),
            ("GET", "studies/1.2/series/3/metadata", "RetrieveSeriesMetadata"),
            ("GET", "studies/1.2/series/3/instances/4/metadata", "RetrieveInstanceMetadata"),
            ("DELETE", "studies/1.2", "DeleteStudy"),
            ("DELETE", "studies/1.2/series/3", "DeleteSeries"),
            ("DELETE", "studies/1.2/series/3/instances/4", "DeleteInstance"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let Ok(Address::Dicom { action, .. }) = parse(&method, &format!("{base}{path}")) else {
                panic!("{method} {path}")
            };
            assert_eq!(action.method_name(), expected, "{method} {path}");
        }
        for (method, path, expected) in [
            ("GET", "studies/1.2/", Nowhere::Unknown),
            ("GET", "studies/../x", Nowhere::Unknown),
            ("GET", "studies/%2e%2e", Nowhere::Unknown),
            ("GET", "studies/1.2/series/3/instances/4/instances", Nowhere::Unknown),
            ("POST", "studies/1.2/series/3", Nowhere::Unknown),
            ("DELETE", "studies", Nowhere::Unknown),
            ("PUT", "studies/1.2/series/3", Nowhere::Unknown),
            ("PUT", "studies/1.2/metadata", Nowhere::Unknown),
            ("PATCH", "studies/1.2/metadata", Nowhere::NotOffered),
            ("GET", "studies/1.2/rendered", Nowhere::NotOffered),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(parse(&method, &format!("{base}{path}")), Err(expected), "{method} {path}");
        }
        let v1 = base.replace("v1beta1", "v1");
        for (method, path) in [(Method::PUT, "studies"), (Method::PATCH, "studies/1.2/metadata")] {
            assert_eq!(parse(&method, &format!("{v1}{path}")), Err(Nowhere::Unknown), "{method} {path}");
        }
        let operation = "/v1/projects/p/locations/l/datasets/d/operations/7";
        assert!(matches!(parse(&Method::GET, operation), Ok(Address::Operation(_))));
        assert_eq!(parse(&Method::GET, "/v2/projects"), Err(Nowhere::Unknown));
    }
}
