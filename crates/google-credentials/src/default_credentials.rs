//! Application default credentials: where Google's own programs look (AIP-4110).

use std::path::PathBuf;

use crate::World;

/// What is found, in the order of AIP-4110.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// `GOOGLE_APPLICATION_CREDENTIALS` names a file, and so nothing else is looked at.
    Named(PathBuf),
    /// gcloud's file is there.
    WellKnown(PathBuf),
    /// Neither; the metadata server is left. With the path that gcloud's file would have.
    Nothing(Option<PathBuf>),
}

/// Looks into the environment and for gcloud's file.
pub(crate) fn find(world: &dyn World) -> Found {
    if let Some(path) = env(world, "GOOGLE_APPLICATION_CREDENTIALS") {
        return Found::Named(PathBuf::from(path));
    }
    match well_known(world) {
        // Whether it can be read is seen when it is read: a file that is there and wrong must not be passed over.
        Some(path)
            if world
                .stamp(&path)
                .map_or_else(|error| error.kind() != std::io::ErrorKind::NotFound, |_| true) =>
        {
            Found::WellKnown(path)
        }
        path => Found::Nothing(path),
    }
}

/// The files whose content decides what is found.
pub(crate) fn candidates(world: &dyn World) -> Vec<PathBuf> {
    match env(world, "GOOGLE_APPLICATION_CREDENTIALS") {
        Some(path) => vec![PathBuf::from(path)],
        None => well_known(world).into_iter().collect(),
    }
}

/// The file of `gcloud auth application-default login`.
fn well_known(world: &dyn World) -> Option<PathBuf> {
    let folder = env(world, "CLOUDSDK_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env(world, "APPDATA").map(|data| PathBuf::from(data).join("gcloud")))
        .or_else(|| env(world, "HOME").map(|home| PathBuf::from(home).join(".config/gcloud")))?;
    Some(folder.join("application_default_credentials.json"))
}

fn env(world: &dyn World, name: &str) -> Option<String> {
    world.env(name).filter(|value| !value.is_empty())
}
