//! `orthanc-gcp gateway`: the gateway without Orthanc, for any DICOMweb client.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use dicomweb_gateway::{Gateway, Settings, Store};
use google_credentials::{
    Keeping, Outside, Secret, World, keep_for_ever, shown_path, token_channel, watch_files,
};
use orthanc_gcp_configuration::Account;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinSet,
};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{End, Error, arguments::GatewayOptions, check::line, reading, terminal::Colours};

/// This program, as its lines are marked.
const PROGRAM: &str = "orthanc_gcp";
/// The crates whose lines are meant for people as well.
const ROOMS: [&str; 2] = ["dicomweb_gateway", "google_credentials"];
/// A secret that is shorter could be guessed by trying.
const SHORTEST_SECRET: usize = 16;
/// More than any secret needs; what is larger is another file.
const LARGEST_SECRET_FILE: usize = 16 << 10;

/// Serves until it is told to end.
pub(crate) fn run(options: &GatewayOptions) -> Result<End, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    // Libraries below ours may say what must not be seen.
    let ours = Targets::new()
        .with_target(PROGRAM, tracing::Level::INFO)
        .with_targets(ROOMS.map(|room| (room, options.level())));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    tracing_subscriber::registry().with(lines).with(ours).init();
    let environment = Outside::new(orthanc_gcp_configuration::Configuration::default().http);
    let reading = reading::read(&options.config, &environment)?;
    for name in &options.account {
        reading.expect(name)?;
    }
    let mut errors = io::stderr().lock();
    for mistake in &reading.mistakes {
        writeln!(errors, "{}", line(mistake, Colours::Off))?;
    }
    drop(errors);
    let wanted = |account: &Account| options.account.is_empty() || options.account.contains(&account.name);
    let configuration = reading.configuration;
    let accounts: Vec<Account> = configuration.accounts.into_iter().filter(wanted).collect();
    if accounts.is_empty() {
        return Err(Error::Usage("no account can be used; correct what is wrong above".to_owned()));
    }
    let secret = secret(options)?;
    let mut settings = Settings::new(configuration.http.clone());
    settings.allowed_origins.clone_from(&options.allow_origin);
    settings.serves_others = options.without_secret;
    settings.disk_reserve = configuration.disk_reserve;
    if let Some(mebibytes) = options.disk_reserve {
        settings.disk_reserve.bytes = Some(mebibytes.saturating_mul(1 << 20));
    }
    let world: Arc<dyn World> = Arc::new(Outside::new(configuration.http));
    let served = serve(options.listen, world, settings, accounts, secret.as_ref(), configuration.look_every);
    runtime.block_on(served)?;
    Ok(End::Well)
}

/// What clients have to show; none where only this machine can connect, or where the user wants it so.
fn secret(options: &GatewayOptions) -> Result<Option<Secret>, Error> {
    let Some(path) = &options.secret_file else {
        if options.listen.ip().is_loopback() || options.without_secret {
            return Ok(None);
        }
        return Err(Error::Usage(format!(
            "whoever can connect to {} could read, change and delete what is in the DICOM stores: write a secret into a file and name it with --secret-file, or listen on 127.0.0.1",
            options.listen
        )));
    };
    let shown = shown_path(path);
    let text = read_secret(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => Error::Usage(format!(
            "--secret-file: {shown} cannot be read ({error}); give the path of a file that the user who runs this program can read"
        )),
        _ => Error::Usage(format!(
            "--secret-file: {shown} cannot be read ({error}); give the path of a text file that holds the secret"
        )),
    })?;
    if text.writable_by_others {
        return Err(Error::Usage(format!(
            "--secret-file: {shown} is writable by its group or by every user of this machine, who could replace the secret; run `chmod go-w {shown}`"
        )));
    }
    if text.readable_by_others {
        tracing::warn!(
            "--secret-file: {shown} is readable by every user of this machine, who can use the accounts; run `chmod o-rwx {shown}`"
        );
    }
    let text = text.secret.expose();
    let text = text.trim();
    if text.len() < SHORTEST_SECRET || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Usage(format!(
            "--secret-file: {shown} has to hold one word of at least {SHORTEST_SECRET} characters; `openssl rand -hex 32` makes one"
        )));
    }
    Ok(Some(Secret::new(text)))
}

/// The content of the secret's file, and who else has rights to it.
struct SecretFile {
    secret: Secret,
    readable_by_others: bool,
    writable_by_others: bool,
}

/// Reads the secret's file, which may be a pipe. The rights are those of the file that is open.
fn read_secret(path: &Path) -> io::Result<SecretFile> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    // The buffer does not grow: what it left behind would not be overwritten.
    let mut text = String::with_capacity(LARGEST_SECRET_FILE);
    let limit = u64::try_from(LARGEST_SECRET_FILE).unwrap_or(u64::MAX);
    let outcome = file.take(limit).read_to_string(&mut text);
    let secret = Secret::new(text);
    outcome?;
    Ok(SecretFile { secret, readable_by_others: mode & 0o004 != 0, writable_by_others: mode & 0o022 != 0 })
}

async fn serve(
    listen: SocketAddr,
    world: Arc<dyn World>,
    settings: Settings,
    accounts: Vec<Account>,
    secret: Option<&Secret>,
    look_every: Duration,
) -> Result<(), Error> {
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| {
        Error::Usage(format!("--listen: {listen} cannot be listened on ({error}); choose another port"))
    })?;
    let mut end = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;

    let mut keepers = JoinSet::new();
    let mut watched = Vec::new();
    let mut stores = Vec::new();
    let at = listener.local_addr().map_err(Error::Runtime)?;
    for account in accounts {
        let (sender, tokens) = token_channel(world.now());
        let with_tokens = account.source.is_some();
        if let Some(source) = &account.source {
            let changed = Arc::new(Notify::new());
            watched.push((source.clone(), Arc::clone(&changed)));
            let keeping = Keeping {
                source: source.clone(),
                look_every,
                name: account.title(),
                option_path: account.option_path(),
                changed,
            };
            keepers.spawn(keep_for_ever(Arc::clone(&world), keeping, sender));
        }
        tracing::info!("{}: served at http://{at}/{}/", account.title(), account.encoded_name());
        stores.push(Store {
            name: account.name.clone(),
            secret: secret.cloned(),
            tokens: with_tokens.then_some(tokens),
            authorization: account.own_authorization(),
            on_conflict: account.on_conflict,
            passed_fields: account.header_fields().map(str::to_owned).collect(),
            in_trouble: Arc::default(),
            root: account.url().to_owned(),
        });
    }
    keepers.spawn(watch_files(Arc::clone(&world), watched));

    let gateway = Gateway::new(settings, world, stores);
    let told = async {
        tokio::select! {
            _ = end.recv() => {}
            _ = interrupt.recv() => {}
        }
        let under_way = gateway.transfers_under_way();
        tracing::info!(
            "ending when what is under way is done ({under_way} transfers); a second signal ends at once"
        );
    };
    let mut again = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let served = gateway.serve(listener, told);
    let at_once = async {
        tokio::select! {
            () = twice(&mut again) => {}
            () = twice(&mut interrupted) => {}
        }
    };
    tokio::select! {
        () = served => {}
        () = at_once => {}
    }
    keepers.shutdown().await;
    Ok(())
}

/// Waits for the second signal of a kind.
async fn twice(signal: &mut tokio::signal::unix::Signal) {
    signal.recv().await;
    signal.recv().await;
}
