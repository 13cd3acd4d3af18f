//! Ready-made files: credentials as Google's tools write them, and an Orthanc configuration that uses them.

use crate::{archive::StoreName, world::World};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where [`Emulator::write_files`](crate::Emulator::write_files) put what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenFiles {
    /// The emulator's certificate authority, PEM.
    pub ca: PathBuf,
    /// A service-account key, `private_key` in PKCS#8.
    pub service_account: PathBuf,
    /// The same key in PKCS#1.
    pub service_account_pkcs1: PathBuf,
    /// What `gcloud auth application-default login` writes.
    pub authorized_user: PathBuf,
    /// An Orthanc configuration with one account for the store.
    pub orthanc: PathBuf,
}

/// Writes all files into `folder`, which is made if need be.
pub(crate) fn write_all(
    world: &World,
    base_url: &str,
    store: &StoreName,
    folder: &Path,
    plugins: &[PathBuf],
) -> io::Result<WrittenFiles> {
    fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let files = WrittenFiles {
        ca: folder.join("ca.pem"),
        service_account: folder.join("service-account.json"),
        service_account_pkcs1: folder.join("service-account-pkcs1.json"),
        authorized_user: folder.join("authorized-user.json"),
        orthanc: folder.join("orthanc.json"),
    };
    let token_url = world.token_urls().pop().unwrap_or_default();
    {
        let identity = world.identity();
        fs::write(&files.ca, &identity.ca_certificate_pem)?;
        let key = |pem| identity.service_account_key(&token_url, pem);
        write_private(&files.service_account, &key(&identity.key.pkcs8_pem))?;
        write_private(&files.service_account_pkcs1, &key(&identity.key.pkcs1_pem))?;
        write_private(&files.authorized_user, &identity.authorized_user_file())?;
    }
    let [project, location, dataset, dicom_store] = store.ids();
    let configuration = json!({
        "Name": "google-emulator",
        "Plugins": plugins,
        "StorageDirectory": folder.join("orthanc-storage"),
        "IndexDirectory": folder.join("orthanc-storage"),
        "RemoteAccessAllowed": false,
        "AuthenticationEnabled": false,
        "HttpsCACertificates": files.ca,
        "DicomWeb": { "Enable": true },
        "GoogleCloudPlatform": {
            "BaseUrl": base_url,
            "TokenUri": token_url,
            "Accounts": {
                "my-google": {
                    "Project": project,
                    "Location": location,
                    "Dataset": dataset,
                    "DicomStore": dicom_store,
                    "ServiceAccountFile": files.service_account,
                }
            }
        }
    });
    fs::write(&files.orthanc, format!("{configuration:#}\n"))?;
    Ok(files)
}

/// Writes a credential that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &Value) -> io::Result<()> {
    write_private_text(path, &format!("{content:#}\n"), 0o600)
}

/// The same for any text and mode.
pub(crate) fn write_private_text(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    // An existing file keeps its mode when it is opened.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content.as_bytes())
}
