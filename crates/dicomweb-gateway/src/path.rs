//! Which path of a request is let through: one that stays below an account's DICOMweb root.

use percent_encoding::percent_decode_str;

/// A request's target: the account that is meant, and what is wanted below its root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The name of the account, decoded.
    pub(crate) account: String,
    /// The path below the root, without a slash before it, as it came: `studies/1.2.3/instances`.
    pub(crate) path: &'a str,
    /// The query, without its question mark.
    pub(crate) query: Option<&'a str>,
}

/// Why a target is refused, in words for whoever sent it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Outside(&'static str);

/// Takes a target of the form `/account/path?query` apart (RFC 9112 section 3.2.1).
///
/// The paths of DICOMweb (PS3.18 section 10) are made of words, UIDs and numbers. So whatever could be read as a way out, by
/// anybody on the way to Google, is refused rather than resolved: dot segments, empty ones, and encoded characters that
/// divide paths.
pub(crate) fn take_apart(target: &str) -> Result<Target<'_>, Outside> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = path.strip_prefix('/').ok_or(Outside("the target is no absolute path"))?;
    let (account, path) = path.split_once('/').unwrap_or((path, ""));
    let account = percent_decode_str(account).decode_utf8();
    let account = account.map_err(|_| Outside("the account's name is not UTF-8"))?.into_owned();
    // Google takes one slash at the end as well (`studies/`), and it leads nowhere else.
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    if !path.is_empty() {
        path.split('/').try_for_each(check)?;
    }
    Ok(Target { account, path, query })
}

/// Whether a segment can only be read as a name.
fn check(segment: &str) -> Result<(), Outside> {
    let decoded: Vec<u8> = percent_decode_str(segment).collect();
    if decoded.is_empty() {
        return Err(Outside("the path has an empty segment (a doubled slash)"));
    }
    if decoded == b"." || decoded.starts_with(b"..") {
        return Err(Outside("the path has a dot segment"));
    }
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~,:;=@!$&'()*+".contains(byte);
    if !decoded.iter().all(fits) {
        return Err(Outside("the path has a character that no DICOMweb path has"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_an_account_passes() {
        for (target, account, path, query) in [
            ("/hospital/studies", "hospital", "studies", None),
            ("/hospital/", "hospital", "", None),
            ("/hospital", "hospital", "", None),
            ("/hospital/studies/", "hospital", "studies", None),
            ("/hospital/studies/1.2/?limit=1", "hospital", "studies/1.2", Some("limit=1")),
            ("/my%20store/studies?limit=1&x=..%2F", "my store", "studies", Some("limit=1&x=..%2F")),
            (
                "/h/studies/1.2/series/3/instances/4/frames/1%2C2",
                "h",
                "studies/1.2/series/3/instances/4/frames/1%2C2",
                None,
            ),
        ] {
            assert_eq!(take_apart(target), Ok(Target { account: account.to_owned(), path, query }));
        }
    }

    #[test]
    fn every_way_out_is_refused() {
        for target in [
            "studies",
            "http://elsewhere/x",
            "*",
            "/h/../x",
            "/h/studies/../../x",
            "/h/./studies",
            "/h/%2e%2e/x",
            "/h/%2E./x",
            "/h/..;/x",
            "/h/..%2fx",
            "/h/..%5cx",
            "/h/..\\x",
            "/h//studies",
            "/h/studies//",
            "/h//",
            "/h/studies/%2F",
            "/h/studies/1%2F",
            "/h/studies/../",
            "/h/studies//1",
            "/h/%252e%252e/x",
            "/h/a%00b",
            "/h/a%0d%0ab",
            "/h/a#b",
            "/h/a b",
            "/h/%c0%ae%c0%ae/x",
            "/h/\u{ff0e}\u{ff0e}/x",
            "/%ff/studies",
        ] {
            assert!(take_apart(target).is_err(), "{target}");
        }
    }
}
