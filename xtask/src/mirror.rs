//! Which Debian mirror the machine uses: what its administrator chose is right for chroots too.

use std::{fs, path::Path};

use anyhow::{Result, bail};

/// The mirror of the machine's own release.
pub(crate) fn of_this_machine() -> Result<String> {
    let folder = Path::new("/etc/apt");
    let mut files = vec![folder.join("sources.list")];
    if let Ok(entries) = fs::read_dir(folder.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => in_lines(&text),
            Some("sources") => in_stanzas(&text),
            _ => None,
        };
        if let Some(mirror) = found {
            return Ok(mirror);
        }
    }
    bail!("/etc/apt/sources.list and sources.list.d name no Debian mirror (`deb http… SUITE main`)")
}

/// The one-line format of sources.list(5): `deb [options] uri suite component…`.
fn in_lines(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        choose(&[uri], &[suite], &words.collect::<Vec<_>>())
    })
}

/// The deb822 format of sources.list(5): stanzas of `Field: values`, continued on indented lines.
fn in_stanzas(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let values = |field: &str| -> Vec<&str> {
            let mut inside = false;
            let mut values = Vec::new();
            for line in stanza {
                let value = if line.starts_with([' ', '\t']) {
                    line
                } else {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    inside = name.eq_ignore_ascii_case(field);
                    value
                };
                if inside {
                    values.extend(value.split_whitespace());
                }
            }
            values
        };
        let enabled = !values("Enabled").first().is_some_and(|value| value.eq_ignore_ascii_case("no"));
        (enabled && values("Types").contains(&"deb"))
            .then(|| choose(&values("URIs"), &values("Suites"), &values("Components")))
            .flatten()
    })
}

/// Debian's own archive has the component `main` and, among its suites, one without a dash: not
/// `bookworm-security`, nor `bookworm-updates` alone.
fn choose(uris: &[&str], suites: &[&str], components: &[&str]) -> Option<String> {
    let whole = suites.iter().any(|suite| !suite.contains(['-', '/']));
    let http = |uri: &&&str| uri.starts_with("http://") || uri.starts_with("https://");
    let uri = uris.iter().find(http)?;
    (whole && components.contains(&"main")).then(|| uri.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_format() {
        let text = "# deb http://no.example/debian bookworm main\n\
                    deb-src http://no.example/debian bookworm main\n\
                    deb http://security.example/ bookworm-security main\n\
                    deb [arch=amd64 signed-by=/a/b.gpg] http://mirror.example/debian/ bookworm main contrib # x\n";
        assert_eq!(in_lines(text).unwrap(), "http://mirror.example/debian");
        assert_eq!(in_lines("deb http://other.example/apt stable contrib"), None);
        assert_eq!(in_lines("deb cdrom:[Debian]/ bookworm main"), None);
    }

    #[test]
    fn deb822_format() {
        let text = "Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n\
                    \n\
                    types: deb deb-src\n# comment\nURIs:\n http://mirror.example/debian\n http://two.example/\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/x.gpg\n";
        assert_eq!(in_stanzas(text).unwrap(), "http://mirror.example/debian");
        let security = "Types: deb\nURIs: http://x.example/\nSuites: bookworm-security\nComponents: main\n";
        assert_eq!(in_stanzas(security), None);
    }
}
