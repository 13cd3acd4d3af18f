//! The pretend Google as a program: its options, and what it does. `google-emulator` is one, and so is a subcommand of
//! `orthanc-gcp`.

use crate::{CLOUD_PLATFORM, EmptySearch, Emulator, Keep, StoreName, WrittenFiles};
use clap::Args;
use std::{io, io::Write, net::IpAddr, path::PathBuf, time::Duration};

/// A strict pretend Google: token endpoint, security token service, impersonation, metadata server, and the DICOMweb side of
/// the Cloud Healthcare API.
///
/// It prints its URLs and writes ready-made credential files and an Orthanc configuration. It runs until Ctrl-C or SIGTERM.
/// It is for tests and demonstrations: its control routes under /emulator show every secret to whoever can connect.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind: IpAddr,

    /// Port for HTTP; 0 is a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    http_port: u16,

    /// Port for HTTPS; 0 is a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    https_port: u16,

    /// Port for the metadata server, HTTP; 0 is a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    metadata_port: u16,

    /// Keep instances, tokens, keys and certificates in this folder; without it everything is gone at the end
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,

    /// Where instances are kept. digests remembers sizes and SHA-256 alone, nothing sizes alone: for measuring
    #[arg(long, value_name = "disk|memory|digests|nothing", default_value = "disk", value_parser = keep)]
    keep: Keep,

    /// Bytes that a client may send over HTTP/2 before they are taken, for each request and for all of a connection; Google's
    /// servers begin with 1048576
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    http2_window: u32,

    /// Write credentials, ca.pem and orthanc.json into this folder; the default is `files` in the data folder
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,

    /// A DICOM store, projects/P/locations/L/datasets/D/dicomStores/S; may be repeated. The default is
    /// projects/demo/locations/us-central1/datasets/ds/dicomStores/store
    #[arg(long, value_name = "NAME", value_parser = store_name)]
    store: Vec<StoreName>,

    /// A plugin that the written orthanc.json loads; may be repeated
    #[arg(long, value_name = "PATH")]
    plugin: Vec<PathBuf>,

    /// Life of access tokens, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3599)]
    token_lifetime: u64,

    /// Seconds by which the emulator's clock is ahead; negative is behind
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    clock_offset: i64,

    /// Answer `expires_in` as a JSON string
    #[arg(long)]
    expires_in_as_string: bool,

    /// Answer a search that finds nothing with 200 and [], instead of 204
    #[arg(long)]
    empty_search_as_array: bool,

    /// Print a line for each request: neither query nor header fields, so neither patients nor tokens
    #[arg(long, short)]
    verbose: bool,
}

/// Examples for the end of the help, with the program's name before the options.
pub fn examples(program: &str) -> String {
    EXAMPLES.replace("PROGRAM", program)
}

const EXAMPLES: &str = "\
Examples:
  PROGRAM
      Free ports, nothing kept.
  PROGRAM --data /tmp/google --http-port 8080 --https-port 8443 --verbose
      Fixed ports; instances and keys are still there at the next start.
  PROGRAM --plugin target/release/libOrthancGoogleCloudPlatform.so --plugin /usr/share/orthanc/plugins
      The orthanc.json that it writes is ready for: Orthanc orthanc.json
  GCE_METADATA_HOST=127.0.0.1:8081 …
      What a client on a virtual machine sees, after --metadata-port 8081.
  curl -d '{\"on\":\"stow\",\"when\":{\"every\":5},\"effect\":{\"answer\":{\"status\":503}}}' http://127.0.0.1:8080/emulator/faults
      Every fifth STOW fails from now on. The README lists all faults, switches and control routes.";

fn keep(text: &str) -> Result<Keep, String> {
    match text {
        "disk" => Ok(Keep::Disk),
        "memory" => Ok(Keep::Memory),
        "digests" => Ok(Keep::Digests),
        "nothing" => Ok(Keep::Nothing),
        _ => Err("expected disk, memory, digests or nothing".to_owned()),
    }
}

fn store_name(text: &str) -> Result<StoreName, String> {
    StoreName::parse(text)
        .ok_or_else(|| "expected projects/P/locations/L/datasets/D/dicomStores/S".to_owned())
}

/// Starts the emulator, prints how to reach it, and runs until Ctrl-C or SIGTERM.
///
/// # Errors
///
/// What stood in the way: a port, a folder, a file that could not be written, or standard output.
pub fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Emulator::builder()
        .bind(arguments.bind)
        .http_port(arguments.http_port)
        .https_port(arguments.https_port)
        .metadata_port(arguments.metadata_port)
        .keep(arguments.keep)
        .http2_windows(arguments.http2_window, arguments.http2_window)
        .token_lifetime(Duration::from_secs(arguments.token_lifetime));
    if let Some(folder) = arguments.data {
        builder = builder.data_dir(folder);
    }
    for store in arguments.store {
        builder = builder.store(store);
    }
    if arguments.empty_search_as_array {
        builder = builder.empty_search(EmptySearch::EmptyArray);
    }
    if arguments.verbose {
        builder = builder.verbose();
    }
    // Signals are caught before anything exists that would have to be cleaned up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = {
        let _entered = runtime.enter();
        Signals::catch()?
    };
    let emulator = builder.start()?;
    emulator.change_settings(|settings| {
        settings.clock_offset_seconds = arguments.clock_offset;
        settings.expires_in_as_string = arguments.expires_in_as_string;
    });
    let folder = arguments.files.unwrap_or_else(|| emulator.data_dir().join("files"));
    let files = emulator.write_files(&folder, &arguments.plugin)?;
    introduce(&emulator, &files)?;
    runtime.block_on(ended.wait());
    emulator.stop();
    Ok(())
}

fn introduce(emulator: &Emulator, files: &WrittenFiles) -> io::Result<()> {
    let (http, https, store) = (emulator.http_url(), emulator.https_url(), emulator.store());
    let mut out = io::stdout().lock();
    writeln!(out, "HTTP             {http}")?;
    writeln!(out, "HTTPS            {https}")?;
    writeln!(out, "token endpoint   {}", emulator.token_url())?;
    writeln!(out, "BaseUrl          {}", emulator.healthcare_base_url("v1beta1"))?;
    writeln!(out, "DICOMweb         {}", emulator.dicom_web_url())?;
    writeln!(out, "CA               {}", files.ca.display())?;
    writeln!(out, "service account  {}", files.service_account.display())?;
    writeln!(out, "  in PKCS#1      {}", files.service_account_pkcs1.display())?;
    writeln!(out, "authorized user  {}", files.authorized_user.display())?;
    let more = &files.more;
    writeln!(out, "external account {}", more.external_account_url.display())?;
    for (words, path) in [
        ("from a file", &more.external_account_file),
        ("a program", &more.external_account_executable),
        ("AWS", &more.external_account_aws),
        ("impersonating", &more.external_account_impersonating),
        ("a user", &more.external_account_authorized_user),
    ] {
        writeln!(out, "  {words:<14} {}", path.display())?;
    }
    writeln!(out, "impersonated     {}", more.impersonated_service_account.display())?;
    writeln!(out, "metadata server  GCE_METADATA_HOST={}", emulator.metadata_host())?;
    writeln!(out, "Orthanc          {}", files.orthanc.display())?;
    writeln!(out, "\nTry it, with a token that needs no credential:")?;
    writeln!(
        out,
        "  TOKEN=$(curl -s -d '{{\"scope\":\"{CLOUD_PLATFORM}\",\"lifetime_seconds\":3600}}' {http}/emulator/tokens | cut -d '\"' -f 4)"
    )?;
    writeln!(out, "  curl -i -H \"Authorization: Bearer $TOKEN\" {http}/v1/{store}/dicomWeb/studies")?;
    writeln!(out, "What was asked so far: curl {http}/emulator/requests\nCtrl-C ends it.")?;
    out.flush()
}

/// The two signals that end the program.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
