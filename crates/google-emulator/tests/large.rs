//! A large instance passes through in both directions without entering memory. Alone in its process, whose memory it reads.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use crate::support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, IMPLICIT_LITTLE, made};
    use dicom_dictionary_std::tags;
    use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
    use ring::digest::{Context, SHA256};
    use std::io::{self, Cursor, Read};

    /// Bytes of pixel data.
    const PIXELS: u64 = 300 << 20;
    /// What the process may grow by: client and emulator together, buffers and queues included.
    const ALLOWED_GROWTH: u64 = 64 << 20;

    /// An endless, cheap, unrepetitive sequence of bytes.
    struct Noise {
        state: u64,
    }

    impl Read for Noise {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for chunk in buffer.chunks_mut(8) {
                self.state = self
                    .state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                chunk.copy_from_slice(&self.state.to_be_bytes()[..chunk.len()]);
            }
            Ok(buffer.len())
        }
    }

    /// Digests what is read through it.
    struct Digested<R> {
        inner: R,
        sender: Option<std::sync::mpsc::Sender<(u64, Vec<u8>)>>,
        digest: Context,
        bytes: u64,
    }

    impl<R: Read> Read for Digested<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.inner.read(buffer)?;
            self.digest.update(&buffer[..read]);
            self.bytes += read as u64;
            if read == 0
                && let Some(sender) = self.sender.take()
            {
                sender.send((self.bytes, self.digest.clone().finish().as_ref().to_vec())).unwrap();
            }
            Ok(read)
        }
    }

    /// The highest resident memory of this process so far, in bytes.
    fn peak_memory() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The head of an instance of Explicit VR Little Endian, up to and including the pixel data's length.
    fn head(number: u32) -> Vec<u8> {
        let tag = [0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0];
        with_large_pixels(made(1, 1, number).file(EXPLICIT_LITTLE), &tag)
    }

    /// Cuts `file` after the tag of its pixel data, and announces large ones.
    fn with_large_pixels(mut file: Vec<u8>, tag: &[u8]) -> Vec<u8> {
        let at = memchr::memmem::find(&file, tag).unwrap();
        file.truncate(at + tag.len());
        file.extend_from_slice(&u32::try_from(PIXELS).unwrap().to_le_bytes());
        file
    }

    fn pixels(number: u32) -> impl Read {
        Noise { state: number.into() }.take(PIXELS)
    }

    /// Length and SHA-256 of all that comes.
    fn digest(mut from: impl Read) -> (u64, Vec<u8>) {
        let mut digest = Context::new(&SHA256);
        let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
        loop {
            let read = from.read(&mut buffer).unwrap();
            if read == 0 {
                return (total, digest.finish().as_ref().to_vec());
            }
            digest.update(&buffer[..read]);
            total += read as u64;
        }
    }

    /// An instance of Implicit VR Little Endian comes back in Explicit VR Little Endian: what `dicom-object` makes of the
    /// same one with small pixels, and those sent.
    fn default_transfer_syntax(google: &Google) {
        /// Data Set Trailing Padding (PS3.10 section 7.2).
        const TRAILER: [&[u8]; 2] =
            [b"\xfc\xff\xfc\xff\x04\0\0\0\0\0\0\0", b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0"];
        let instance = made(2, 1, 1);
        let small = instance.file(IMPLICIT_LITTLE);
        let mut object = dicom_object::from_reader(small.as_slice()).unwrap();
        object.update_meta(|meta| meta.set_transfer_syntax(&EXPLICIT_VR_LITTLE_ENDIAN));
        assert!(object.element(tags::PIXEL_DATA).is_ok());
        let mut explicit = Vec::new();
        object.write_all(&mut explicit).unwrap();
        let explicit = with_large_pixels(explicit, &[0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0]);
        let expected = digest(explicit.as_slice().chain(pixels(7)).chain(TRAILER[1]));

        let head = with_large_pixels(small, &[0xe0, 0x7f, 0x10, 0]);
        let body = Cursor::new(head).chain(pixels(7)).chain(TRAILER[0]);
        let request = google.dicom_web("POST", "studies").header("Content-Type", "application/dicom");
        assert_eq!(request.body(reqwest::blocking::Body::new(body)).send().unwrap().status(), 200);

        let response = google.get(&instance.path(), "application/dicom");
        assert_eq!(response.status(), 200);
        assert_eq!(response.content_length(), Some(expected.0));
        assert_eq!(digest(response), expected);
        // As the only part of its study: what stands around the part is short.
        let accept = "multipart/related; type=\"application/dicom\"";
        let mut response = google.get(&format!("studies/{}", instance.study_uid()), accept);
        assert_eq!(response.content_length(), None);
        let mut around = Vec::new();
        while !around.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            response.read_exact(&mut byte).unwrap();
            around.push(byte[0]);
        }
        let head = String::from_utf8(around).unwrap();
        assert!(head.contains(&format!("transfer-syntax={EXPLICIT_LITTLE}\r\n")), "{head}");
        assert_eq!(digest((&mut response).take(expected.0)), expected);
        let mut end = String::new();
        response.read_to_string(&mut end).unwrap();
        let boundary = head.trim_start().lines().next().unwrap();
        assert_eq!(end, format!("\r\n{boundary}--\r\n"));
    }

    #[test]
    fn a_large_instance_never_enters_memory() {
        let google = Google::start();
        let before = peak_memory();
        for (number, is_multipart) in [(1, false), (2, true)] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let instance = Digested {
                inner: Cursor::new(head(number)).chain(pixels(number)),
                sender: Some(sender),
                digest: Context::new(&SHA256),
                bytes: 0,
            };
            let request = google.dicom_web("POST", "studies");
            let request = if is_multipart {
                let begin = Cursor::new(b"--B\r\nContent-Type: application/dicom\r\n\r\n");
                let body = begin.chain(instance).chain(Cursor::new(b"\r\n--B--\r\n"));
                let kind = "multipart/related; type=\"application/dicom\"; boundary=B";
                request.header("Content-Type", kind).body(reqwest::blocking::Body::new(body))
            } else {
                request
                    .header("Content-Type", "application/dicom")
                    .body(reqwest::blocking::Body::new(instance))
            };
            assert_eq!(request.send().unwrap().status(), 200);
            let what_was_sent = receiver.recv().unwrap();
            assert!(what_was_sent.0 > PIXELS);

            let path = made(1, 1, number).path();
            let response = google.get(&path, "application/dicom; transfer-syntax=*");
            assert_eq!(response.content_length(), Some(what_was_sent.0));
            assert_eq!(digest(response), what_was_sent);
        }
        // Both at once, as one study.
        let study = format!("studies/{}", made(1, 1, 1).study_uid());
        let copied = io::copy(&mut google.get(&study, ANY_SYNTAX), &mut io::sink()).unwrap();
        assert!(copied > 2 * PIXELS);
        default_transfer_syntax(&google);
        let growth = peak_memory() - before;
        assert!(growth < ALLOWED_GROWTH, "{growth} bytes more for instances of {PIXELS}");
    }
}
