//! The command line. Help, manual pages and completions come from it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Checks and serves what joins Orthanc to DICOM stores of the Google Cloud Healthcare API.
///
/// It reads the configuration of an Orthanc with the plugin libOrthancGoogleCloudPlatform.so, and needs no Orthanc that runs.
///
/// Exit code: 0 where all is well, 1 where something is wrong, 2 where the command itself could not run, and 141 where whoever
/// reads the output goes away before its end.
#[derive(Parser, Debug)]
#[command(name = "orthanc-gcp", version)]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Check(CheckOptions),
    Token(TokenOptions),
    Gateway(GatewayOptions),
    /// Start a strict pretend Google, for tests and demonstrations
    #[command(after_help = google_emulator::program::examples("orthanc-gcp emulator"))]
    Emulator(google_emulator::program::Arguments),
    /// Print what completes this program's commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, as `man -l -` shows it
    Man {
        /// The page of this command; without it, the page of the whole
        command: Option<String>,
    },
}

/// Say everything that is wrong with a configuration, and try each account step by step
///
/// The configuration is read as Orthanc reads it: comments, several files, and variables of the environment. Mistakes come
/// with file, line and column. Then each account is tried: its credential, proxy, names, connections, certificates and
/// clock, a token, the store, and how fast it is. Each step that fails says what to do.
///
/// Run it as the user and with the environment that Orthanc runs with.
///
/// Exit code: 0 where all is well, perhaps with warnings; 1 where something is wrong, and was said; 2 where the command itself
/// could not run, with an unknown option or account, or a configuration that Orthanc could not read either; 141 where whoever
/// reads the output goes away before its end.
#[derive(Args, Debug)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckOptions {
    /// The file or folder that Orthanc is started with
    #[arg(value_name = "PATH", default_value = DEFAULT_PATH)]
    pub(crate) paths: Vec<PathBuf>,

    /// Try this account alone; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Vec<String>,

    /// Also store a generated instance under new UIDs (2.25.…), retrieve it, and delete it
    #[arg(long)]
    pub(crate) write: bool,

    /// Print one JSON document at the end, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print an access token of an account, and nothing else
///
/// The token goes to standard output, and to standard error whose it is and how long it is good. It opens the store for
/// whoever holds it: give it to programs, and write it nowhere.
#[derive(Args, Debug)]
#[command(after_help = TOKEN_EXAMPLES)]
pub(crate) struct TokenOptions {
    /// The account, as GoogleCloudPlatform.Accounts names it
    pub(crate) name: String,

    /// The file or folder that Orthanc is started with; may be repeated
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub(crate) config: Vec<PathBuf>,
}

/// Serve DICOM stores to any DICOMweb client, without Orthanc
///
/// Each account is a DICOMweb root at ADDRESS/NAME/: requests to it are sent on to Google with the account's token, in
/// parallel and again where they fail. `GET /health` answers `ok` while it serves. SIGTERM and Ctrl-C let what is under way
/// end; the second one does not.
#[derive(Args, Debug)]
#[command(after_help = GATEWAY_EXAMPLES)]
pub(crate) struct GatewayOptions {
    /// The file or folder that Orthanc is started with; may be repeated
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    pub(crate) config: Vec<PathBuf>,

    /// Where to listen; anything but this machine's own address wants a secret
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8043")]
    pub(crate) listen: SocketAddr,

    /// Serve this account alone; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Vec<String>,

    /// A file with the word that clients have to send as `Authorization: Bearer WORD`
    #[arg(long, value_name = "PATH")]
    pub(crate) secret_file: Option<PathBuf>,

    /// Serve everybody who can connect: something in front of it decides who may
    #[arg(long, conflicts_with = "secret_file")]
    pub(crate) without_secret: bool,

    /// Let web pages of this origin ask, such as `https://viewer.example`; may be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = dicomweb_gateway::origin)]
    pub(crate) allow_origin: Vec<String>,

    /// What temporary files leave free on their disk; instead of `GatewayDiskReserve`, else 1024 or a twentieth of the disk
    #[arg(long, value_name = "MIB")]
    pub(crate) disk_reserve: Option<u64>,

    /// Say more: each request and each renewal
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

impl GatewayOptions {
    /// What is worth a line, of what the program is made of.
    pub(crate) fn level(&self) -> tracing::Level {
        if self.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN }
    }
}

const GATEWAY_EXAMPLES: &str = "\
Examples:
  orthanc-gcp gateway --config /etc/orthanc/
      http://127.0.0.1:8043/hospital/studies and so on, for programs on this machine.
  orthanc-gcp gateway --config orthanc.json --allow-origin http://localhost:3000
      For OHIF in a browser on this machine.";

/// Where Debian's package keeps it.
const DEFAULT_PATH: &str = "/etc/orthanc";

const CHECK_EXAMPLES: &str = "\
Examples:
  sudo -u orthanc orthanc-gcp check /etc/orthanc/
      Everything, as the user that Orthanc runs as.
  orthanc-gcp check orthanc.json --account hospital --write
      One account, with an instance that is stored and deleted.
  HEALTHCHECK CMD orthanc-gcp check --json /etc/orthanc/ || exit 1
      In a container's Dockerfile.";

const TOKEN_EXAMPLES: &str = "\
Example:
  curl -H \"Authorization: Bearer $(orthanc-gcp token hospital)\" \"${ADDRESS}studies?limit=1\"";
