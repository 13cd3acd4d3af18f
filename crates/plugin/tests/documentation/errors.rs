//! `docs/errors.md` shows the tables of remedies as they are in the source.

use google_credentials::{
    FailureKind, TransportErrorKind,
    remedy::{
        EXCHANGE_REFUSALS, IMPERSONATION_REFUSALS, Row, STORE_REFUSALS, TOKEN_REFUSALS, TRANSPORT_FAILURES,
    },
};

use crate::{append_code, markdown::table_text_below, read, top};

#[test]
fn the_page_of_errors_shows_the_tables_of_the_source() {
    let page = read("docs/errors.md");
    let wanted = [
        ("## Refusals of a token endpoint", refusals(TOKEN_REFUSALS)),
        ("## Refusals of a token exchange", refusals(EXCHANGE_REFUSALS)),
        ("## Refusals of impersonation", refusals(IMPERSONATION_REFUSALS)),
        ("## Refusals of the DICOM store", refusals(STORE_REFUSALS)),
        ("## No whole answer", transport_failures()),
    ];
    for (heading, table) in wanted {
        let shown = table_text_below(&page, heading);
        assert!(shown == table, "docs/errors.md, below `{heading}`, has to hold this table:\n\n{table}");
    }
}

#[test]
fn the_page_of_errors_explains_how_failures_are_handled() {
    let page = read("docs/errors.md");
    for kind in [FailureKind::Transient, FailureKind::NeedsPerson, FailureKind::Configuration] {
        assert!(page.contains(&format!("**{}**", handled(kind))), "{}", handled(kind));
    }
}

#[test]
fn what_the_store_is_known_to_say_is_what_the_pretend_google_says() {
    let mut emulator = String::new();
    append_code(&top().join("crates/google-emulator/src"), &mut emulator);
    for row in STORE_REFUSALS {
        assert!(emulator.contains(row.error), "nobody says: {}", row.error);
    }
}

fn refusals(rows: &[Row]) -> String {
    let mut table =
        "| status | error | Google's words | handled | what to do |\n|---|---|---|---|---|\n".to_owned();
    for Row { status: (lowest, highest), error, words, kind, remedy } in rows {
        let status = match (lowest, highest) {
            (0, 999) => "any other".to_owned(),
            (lowest, highest) if lowest == highest => lowest.to_string(),
            (lowest, highest) => format!("{lowest} to {highest}"),
        };
        let error = if error.is_empty() { String::new() } else { format!("`{error}`") };
        let words = if words.is_empty() { String::new() } else { format!("*{words}*") };
        table += &row(&[&status, &error, &words, handled(*kind), remedy]);
    }
    table
}

fn transport_failures() -> String {
    let mut table = "| what is wrong | handled | what to do |\n|---|---|---|\n".to_owned();
    for failure in TRANSPORT_FAILURES {
        table += &row(&[in_words(failure.what), handled(failure.kind), failure.remedy]);
    }
    table
}

/// An empty cell is one blank wide.
fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |")
}

fn handled(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Transient => "heals by itself",
        FailureKind::NeedsPerson => "needs a person",
        FailureKind::Configuration => "needs a correction",
    }
}

fn in_words(kind: TransportErrorKind) -> &'static str {
    match kind {
        TransportErrorKind::Settings(_) => "the settings",
        TransportErrorKind::Address => "the address is none",
        TransportErrorKind::Name => "the host's name has no address",
        TransportErrorKind::Connection => "no connection",
        TransportErrorKind::Proxy(_) => "the proxy cannot be reached, or refuses",
        TransportErrorKind::UntrustedCertificate => "nobody who is trusted signed the server's certificate",
        TransportErrorKind::UnusableCertificate => {
            "the server's certificate, or its issuer's, is not one that can be trusted"
        }
        TransportErrorKind::CertificateName => "the server's certificate is for another name",
        TransportErrorKind::CertificateTime => "the server's certificate is for another time",
        TransportErrorKind::NotTls => "what answers does not speak TLS",
        TransportErrorKind::OldTls => "the server takes only what is refused here as unsafe",
        TransportErrorKind::Tls => "TLS failed in another way",
        TransportErrorKind::NotHttp => "what answers does not speak HTTP as it should",
        TransportErrorKind::Interrupted => "the connection broke off",
        TransportErrorKind::Timeout => "nothing, or not all, came in time",
    }
}
