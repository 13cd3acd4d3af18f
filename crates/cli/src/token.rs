//! `orthanc-gcp token`: one access token, for a program at the other end of a pipe.

use std::io::{self, Write};

use google_credentials::{Outside, World, remedy::in_words};
use orthanc_gcp_configuration::{Severity, printable};

use crate::{End, Error, arguments::TokenOptions, check::line, reading, terminal::Colours};

/// Prints the token.
pub(crate) fn run(options: &TokenOptions) -> Result<End, Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let environment = Outside::new(orthanc_gcp_configuration::Configuration::default().http);
    let reading = reading::read(&options.config, &environment)?;
    reading.expect(&options.name)?;
    let mut errors = io::stderr().lock();
    let Some(account) = reading.account(&options.name) else {
        let names = [options.name.clone()];
        for mistake in reading.mistakes.iter().filter(|mistake| mistake.concerns(&names)) {
            if mistake.severity == Severity::Error {
                writeln!(errors, "{}", line(mistake, Colours::Off))?;
            }
        }
        return Ok(End::Wrong);
    };
    let title = account.title();
    let Some(source) = &account.source else {
        writeln!(
            errors,
            "{title}: AccessToken is \"none\", so that there is no token; name a credential instead"
        )?;
        return Ok(End::Wrong);
    };
    let world = Outside::new(reading.configuration.http.clone());
    match runtime.block_on(source.fetch(&world)) {
        Ok(grant) => {
            let left = grant.token.expires_at.duration_since(world.now()).unwrap_or_default();
            let principal = grant.principal.as_deref().unwrap_or("whom the credential stands for");
            writeln!(errors, "{title}: a token for {}, good for {}", printable(principal), in_words(left))?;
            writeln!(io::stdout(), "{}", grant.token.value.expose())?;
            Ok(End::Well)
        }
        Err(failure) => {
            let option = failure.option.map(|option| format!("{}.{option}: ", account.option_path()));
            writeln!(errors, "{title}: {}{failure}", option.unwrap_or_default())?;
            Ok(End::Wrong)
        }
    }
}
