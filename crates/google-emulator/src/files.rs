//! Ready-made files: credentials as Google's tools write them, and an Orthanc configuration that uses them.

use crate::{
    archive::StoreName,
    credential_file::{
        CredentialFile, SourceCredentials, SubjectForm, SubjectSource, external_account,
        external_account_authorized_user, gdch_service_account, impersonated_service_account, write_subject,
    },
    federation::delegate_account,
    world::World,
};
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
    /// Credentials of the newer kinds, each a file of its own, and the subject tokens that some of them name.
    pub more: MoreFiles,
    /// An Orthanc configuration with one account for the store.
    pub orthanc: PathBuf,
}

/// Credential files whose tokens come by way of token exchange, impersonation or a workforce login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoreFiles {
    /// `external_account` with a subject token in a file, good for a day.
    pub external_account_file: PathBuf,
    /// `external_account` with the emulator's URL.
    pub external_account_url: PathBuf,
    /// `external_account` with a program; its answer is good for a day.
    pub external_account_executable: PathBuf,
    /// `external_account` with the emulator's AWS instance metadata service.
    pub external_account_aws: PathBuf,
    /// `external_account` with the emulator's URL, and impersonation.
    pub external_account_impersonating: PathBuf,
    /// `external_account_authorized_user`.
    pub external_account_authorized_user: PathBuf,
    /// `impersonated_service_account` with the service account's key inside, and a delegate.
    pub impersonated_service_account: PathBuf,
    /// `gdch_service_account`, which nothing here takes.
    pub gdch_service_account: PathBuf,
}

impl MoreFiles {
    fn write(world: &World, folder: &Path) -> io::Result<Self> {
        const DAY: u64 = 24 * 3_600;
        let subject = |form, name: &str| {
            let path = folder.join(name);
            write_subject(world, form, &path, DAY).map_err(io::Error::other)?;
            io::Result::Ok(path)
        };
        let put = |name: &str, file: &CredentialFile| {
            let path = folder.join(name);
            file.write(&path)?;
            io::Result::Ok(path)
        };
        let account = |source: &SubjectSource| external_account(world, source);
        let text = SubjectSource::TextFile(subject(SubjectForm::Text, "subject-token.txt")?);
        let program = subject(SubjectForm::Executable, "subject-token.sh")?;
        let program = SubjectSource::Executable { command: program.display().to_string(), output_file: None };
        let delegate = delegate_account();
        let impersonated =
            impersonated_service_account(world, SourceCredentials::ServiceAccount).delegates(&[&delegate]);
        let user = external_account_authorized_user(world);
        let url = SubjectSource::TextUrl;
        Ok(Self {
            external_account_file: put("external-account-file.json", &account(&text))?,
            external_account_url: put("external-account-url.json", &account(&url))?,
            external_account_executable: put("external-account-executable.json", &account(&program))?,
            external_account_aws: put("external-account-aws.json", &account(&SubjectSource::Aws))?,
            external_account_impersonating: put(
                "external-account-impersonating.json",
                &account(&url).impersonating(),
            )?,
            external_account_authorized_user: put("external-account-authorized-user.json", &user)?,
            impersonated_service_account: put("impersonated-service-account.json", &impersonated)?,
            gdch_service_account: put("gdch-service-account.json", &gdch_service_account(world))?,
        })
    }
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
        more: MoreFiles::write(world, &folder)?,
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
