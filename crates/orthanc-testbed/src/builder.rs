//! What an Orthanc shall be started with.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Error, Orthanc, Release, clock, merge, name_servers, parse,
    process::{Launch, PATH, Process},
};

/// How often a start is repeated when another program takes the free port between our look and Orthanc's.
const STARTS: usize = 5;

/// An Orthanc to be started. Made by [`Orthanc::builder`].
#[derive(Debug)]
pub struct Builder {
    release: Release,
    work: TempDir,
    configuration: Value,
    texts: Vec<(String, String)>,
    plugins: Vec<Plugin>,
    in_folder: bool,
    bound_by_permissions: bool,
    environment: Vec<(OsString, OsString)>,
    arguments: Vec<OsString>,
    folder: Option<PathBuf>,
    resolv_conf: Option<String>,
    secrets: Vec<String>,
}

#[derive(Debug)]
enum Plugin {
    DicomWeb,
    File(PathBuf),
}

impl Builder {
    #[expect(clippy::expect_used, reason = "without a temporary folder no test can run")]
    pub(crate) fn new() -> Self {
        let work = TempDir::with_prefix("orthanc-").expect("a temporary folder can be made");
        Self {
            release: Release::from_environment(),
            environment: vec![
                ("PATH".into(), PATH.into()),
                ("HOME".into(), work.path().into()),
                ("LANG".into(), "C.UTF-8".into()),
                ("RUST_BACKTRACE".into(), "1".into()),
            ],
            work,
            configuration: json!({
                "Name": "testbed",
                "RemoteAccessAllowed": false,
                "AuthenticationEnabled": false,
                "DicomServerEnabled": false,
                // Seconds; the default of 60 would have every test of stable studies wait a minute.
                "StableAge": 1,
            }),
            texts: Vec::new(),
            plugins: Vec::new(),
            in_folder: false,
            bound_by_permissions: false,
            arguments: Vec::new(),
            folder: None,
            resolv_conf: None,
            secrets: Vec::new(),
        }
    }

    /// Runs this release instead of the one that `ORTHANC_RELEASE` names.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// The folder that this Orthanc lives in, removed with it. It holds its storage, and is its working directory.
    /// Key files written here (or anywhere below the machine's folder for temporary files) have the same path for
    /// Orthanc, in a chroot too.
    pub fn work_dir(&self) -> &Path {
        self.work.path()
    }

    /// Lays `patch` over the configuration so far: objects are merged, `null` removes a key. Without
    /// `HttpPort`, a free port is taken; without `Plugins`, those named to the builder are loaded, in their order.
    #[must_use]
    pub fn configuration(mut self, patch: &Value) -> Self {
        merge(&mut self.configuration, patch);
        self
    }

    /// A configuration file, written exactly as given (comments included) under `name`, for example
    /// `google.json`. Its top-level keys win over those of [`Self::configuration`]. May be called several
    /// times: Orthanc is given the folder of all files.
    #[must_use]
    pub fn configuration_text(mut self, name: &str, text: &str) -> Self {
        self.texts.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Loads the DICOMweb plugin of the release.
    #[must_use]
    pub fn dicomweb(mut self) -> Self {
        self.plugins.push(Plugin::DicomWeb);
        self
    }

    /// Loads the plugin at `path`.
    #[must_use]
    pub fn plugin(mut self, path: impl Into<PathBuf>) -> Self {
        self.plugins.push(Plugin::File(path.into()));
        self
    }

    /// Puts all plugins into one folder and gives Orthanc that: `"Plugins": ["."]`. The order in which Orthanc
    /// then loads them is that of the file system.
    #[must_use]
    pub fn plugins_in_folder(mut self) -> Self {
        self.in_folder = true;
        self
    }

    /// Sets an environment variable. Apart from those set here, Orthanc gets `PATH`, `HOME` (the work folder),
    /// `LANG` and `RUST_BACKTRACE` alone: the developer's proxies and credentials stay outside.
    #[must_use]
    pub fn environment(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives Orthanc the environment of this process too.
    #[must_use]
    pub fn inherit_environment(mut self) -> Self {
        self.environment.splice(0..0, env::vars_os());
        self
    }

    /// Adds a word to Orthanc's command line, before the configuration, such as `--verbose`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Lets the permissions of files bind this Orthanc, as they bind the user `orthanc`, also where root runs the tests.
    #[must_use]
    pub fn bound_by_permissions(mut self) -> Self {
        self.bound_by_permissions = true;
        self
    }

    /// Lets the test set this Orthanc's wall clock: see [`Orthanc::set_clock_offset`].
    ///
    /// # Errors
    /// Debian's package `libfaketime` is missing, or the work folder cannot be written.
    pub fn clock_of_its_own(self) -> Result<Self, Error> {
        self.clock_of_its_own_ahead_by(0)
    }

    /// The same, wrong by so many seconds from the start; negative is behind.
    ///
    /// # Errors
    /// Debian's package `libfaketime` is missing, or the work folder cannot be written.
    pub fn clock_of_its_own_ahead_by(mut self, seconds: i64) -> Result<Self, Error> {
        for (name, value) in clock::install(self.work.path(), seconds)? {
            self = self.environment(name, value);
        }
        Ok(self)
    }

    /// Gives this Orthanc an `/etc/resolv.conf` of its own (resolv.conf(5)), which [`Orthanc::set_resolv_conf`] changes
    /// while it runs. The machine's stays as it is: this one is mounted over it in a namespace that vanishes with the
    /// process. Name servers are asked at port 53.
    #[must_use]
    pub fn resolv_conf(mut self, text: &str) -> Self {
        self.resolv_conf = Some(text.to_owned());
        self
    }

    /// Orthanc's working directory, in place of the work folder. It must lie below the machine's folder for
    /// temporary files.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Texts that must not be in the log, in any form [`crate::find_secret`] knows: it is searched when this
    /// Orthanc is dropped, and the test fails if one is found.
    #[must_use]
    pub fn forbid_in_log(mut self, secrets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.secrets.extend(secrets.into_iter().map(Into::into));
        self
    }

    /// Starts Orthanc and waits until it says that it has started and answers by HTTP. Plugins hear of the start
    /// at about that time, so what they do then may still be going on.
    ///
    /// # Errors
    /// The release is missing, a file cannot be written, or Orthanc ended or hangs, with its log.
    pub fn start(mut self) -> Result<Orthanc, Error> {
        let fixed_port = self.effective("HttpPort").is_some();
        for start in 1.. {
            let orthanc = self.spawn()?;
            match orthanc.wait_until_started() {
                Ok(()) => return Ok(orthanc),
                Err(Error::Ended { log, .. })
                    if !fixed_port
                        && start < STARTS
                        && log.contains("HTTP server is privileged or already in use") =>
                {
                    self = orthanc.into_builder();
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::io("start Orthanc")(io::Error::from(io::ErrorKind::AddrInUse)))
    }

    /// Starts Orthanc without waiting for it: for those who look at how a start fails.
    ///
    /// # Errors
    /// The release is missing, or a file cannot be written.
    pub fn spawn(self) -> Result<Orthanc, Error> {
        self.release.check()?;
        let port = match self.effective("HttpPort").and_then(|port| port.as_u64()) {
            Some(port) => u16::try_from(port).unwrap_or_default(),
            None => free_port().map_err(Error::io("find a free port"))?,
        };
        let folder = self.work.path().join("configuration");
        self.write_configuration(&folder, port).map_err(Error::io("write Orthanc's configuration"))?;
        let resolv_conf = self
            .resolv_conf
            .as_ref()
            .map(|text| name_servers::install(self.work.path(), text))
            .transpose()?;
        let mut arguments = self.arguments.clone();
        arguments.push(folder.into_os_string());
        let process = Process::start(&Launch {
            release: self.release,
            bound_by_permissions: self.bound_by_permissions,
            folder: self.folder.as_deref().unwrap_or(self.work.path()),
            resolv_conf: resolv_conf.as_deref(),
            environment: &self.environment,
            arguments: &arguments,
        })
        .map_err(Error::io("start Orthanc"))?;
        Ok(Orthanc::new(self, process, port))
    }

    pub(crate) fn release_in_use(&self) -> Release {
        self.release
    }

    pub(crate) fn forbidden(&self) -> &[String] {
        &self.secrets
    }

    /// What the written configuration will say about a top-level key.
    fn effective(&self, key: &str) -> Option<Value> {
        let texts = self.texts.iter().filter_map(|(_, text)| parse(text).ok());
        texts.chain([self.configuration.clone()]).find_map(|value| value.get(key).cloned())
    }

    /// Orthanc refuses a key that stands in two of its files, so ours leaves out what the given texts have.
    fn write_configuration(&self, folder: &Path, port: u16) -> io::Result<()> {
        // A former start may have left its files.
        fs::remove_dir_all(folder).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        fs::create_dir(folder)?;
        let storage = self.work.path().join("storage");
        let mut own = json!({
            "HttpPort": port,
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "Plugins": self.place_plugins(folder)?,
        });
        merge(&mut own, &self.configuration);
        for (name, text) in &self.texts {
            if let (Ok(Value::Object(theirs)), Some(own)) = (parse(text), own.as_object_mut()) {
                own.retain(|key, _| !theirs.contains_key(key));
            }
            fs::write(folder.join(name), text)?;
        }
        fs::write(folder.join("testbed.json"), format!("{own:#}"))
    }

    /// Brings the plugins' files to where Orthanc sees them, and gives the value of `Plugins`.
    fn place_plugins(&self, configuration: &Path) -> io::Result<Vec<PathBuf>> {
        // Orthanc takes a relative path in `Plugins` from the folder of its configuration.
        let folder = if self.in_folder { configuration.to_owned() } else { self.work.path().join("plugins") };
        fs::create_dir_all(&folder)?;
        let mut paths = Vec::new();
        for plugin in &self.plugins {
            let inside = match plugin {
                Plugin::DicomWeb if !self.in_folder => self.release.dicomweb_plugin().to_owned(),
                Plugin::DicomWeb => {
                    let name = self.release.dicomweb_plugin();
                    let link = folder.join(name.file_name().unwrap_or_default());
                    std::os::unix::fs::symlink(name, &link)?;
                    link
                }
                Plugin::File(path) => place(path, &folder)?,
            };
            paths.push(inside);
        }
        Ok(if self.in_folder { vec![".".into()] } else { paths })
    }
}

/// Makes the plugin visible in `folder`, which the chroots share. A missing one stays missing: Orthanc shall
/// say so.
fn place(path: &Path, folder: &Path) -> io::Result<PathBuf> {
    let placed = folder.join(path.file_name().unwrap_or_default());
    if path.exists() && !placed.exists() {
        fs::hard_link(path, &placed).or_else(|_| fs::copy(path, &placed).map(drop))?;
    }
    Ok(placed)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
