//! Which uploads continue one another: the requests of one job of the DICOMweb plugin.

/// A job of the DICOMweb plugin, told by the boundary of its requests.
///
/// The plugin makes the boundary once per job, a UUID written twice. A job that is resubmitted, or resumed, sends the instances
/// that it has not read yet under the same boundary. No other job and no other client does, so nobody is answered for the
/// instances of another request (PS3.18 section 10.5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job(Box<str>);

impl Job {
    /// `None` where the boundary is not one of the DICOMweb plugin's.
    pub(crate) fn of_boundary(boundary: &str) -> Option<Self> {
        let (first, second) = (boundary.get(..UUID)?, boundary.get(UUID..)?);
        (is_uuid(first) && second.strip_prefix('-') == Some(first)).then(|| Self(first.into()))
    }
}

/// Characters of a UUID (RFC 9562 section 4).
const UUID: usize = 36;

fn is_uuid(text: &str) -> bool {
    text.len() == UUID
        && text.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_written_twice_is_a_job() {
        let (one, other) = ("0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1", "1f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1");
        assert_eq!(Job::of_boundary(&format!("{one}-{one}")), Some(Job(one.into())));
        assert_ne!(Job::of_boundary(&format!("{one}-{one}")), Job::of_boundary(&format!("{other}-{other}")));
        let not_hexadecimal = one.replace('f', "g");
        for boundary in [
            one,
            "cut",
            "",
            "-",
            &format!("{one}-{other}"),
            &format!("{one}{one}"),
            &format!("{one}-{one}-"),
            &format!("{not_hexadecimal}-{not_hexadecimal}"),
            &"ä".repeat(37),
        ] {
            assert_eq!(Job::of_boundary(boundary), None, "{boundary}");
        }
    }
}
