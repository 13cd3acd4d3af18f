//! A large instance passes through in both directions without entering memory. Alone in its process, whose memory it reads.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use crate::support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, made};
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

    /// The head of an instance, up to and including the pixel data's length.
    fn head(number: u32) -> Vec<u8> {
        let mut head = made(1, 1, number).file(EXPLICIT_LITTLE);
        let tag = [0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0];
        let at = memchr::memmem::find(&head, &tag).unwrap();
        head.truncate(at + tag.len());
        head.extend_from_slice(&u32::try_from(PIXELS).unwrap().to_le_bytes());
        head
    }

    #[test]
    fn a_large_instance_never_enters_memory() {
        let google = Google::start();
        let before = peak_memory();
        for (number, is_multipart) in [(1, false), (2, true)] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let instance = Digested {
                inner: Cursor::new(head(number)).chain(Noise { state: number.into() }.take(PIXELS)),
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
            let mut digest = Context::new(&SHA256);
            let mut response = google.get(&path, "application/dicom; transfer-syntax=*");
            assert_eq!(response.content_length(), Some(what_was_sent.0));
            let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
            loop {
                let read = response.read(&mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                digest.update(&buffer[..read]);
                total += read as u64;
            }
            assert_eq!((total, digest.finish().as_ref().to_vec()), what_was_sent);
        }
        // Both at once, as one study.
        let study = format!("studies/{}", made(1, 1, 1).study_uid());
        let copied = io::copy(&mut google.get(&study, ANY_SYNTAX), &mut io::sink()).unwrap();
        assert!(copied > 2 * PIXELS);
        let growth = peak_memory() - before;
        assert!(growth < ALLOWED_GROWTH, "{growth} bytes more for instances of {PIXELS}");
    }
}
