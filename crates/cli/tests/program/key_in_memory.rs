//! What is left of a private key in the memory of `orthanc-gcp gateway`.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    thread,
    time::{Duration, Instant},
};

use google_emulator::Route;

use crate::{serving::Serving, stage::Stage};

/// Any 40 bytes of the key contain one of these pieces whole.
const PIECE: usize = 20;
/// The beginning of every RSA key of this size is the same.
const COMMON: usize = 2 * PIECE;
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
#[expect(clippy::disallowed_methods, reason = "a test that waits by looking, with a generous limit")]
fn private_key_is_not_in_memory_between_token_requests() {
    let stage = Stage::new();
    let path = &stage.files.service_account;
    let content = fs::read_to_string(path).unwrap();
    let key = base64_of_key(&content);
    let serving = Serving::start(&stage.configuration(), &[]);
    let search = || serving.ask("GET", "/my-google/studies", "");
    assert!(search().starts_with("HTTP/1.1 20"));
    // Two looks of the watch, each of which reads the file: it is written again with the same key.
    for round in 1..=2 {
        let before = token_requests(&stage);
        fs::write(path, format!("{content}{}", "\n".repeat(round))).unwrap();
        let until = Instant::now() + PATIENCE;
        while token_requests(&stage) == before {
            assert!(Instant::now() < until, "the changed file led to no token request");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(search().starts_with("HTTP/1.1 20"));
    }
    let memory = Memory::of(serving.process());
    // The account's name stays in memory: the test finds what is there.
    assert!(memory.count(&[b"my-google"]) > 0, "the memory was not read");
    let pieces: Vec<&[u8]> = key.as_bytes()[COMMON..].chunks_exact(PIECE).collect();
    assert!(pieces.len() > 50, "the key is short");
    assert_eq!(memory.count(&pieces), 0, "pieces of the private key are in memory");
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
}

fn token_requests(stage: &Stage) -> usize {
    stage.emulator.requests().iter().filter(|request| request.route == Route::Token).count()
}

/// The key's base64 without line ends. Its pieces that go over a line's end are in memory where the key is decoded, the others
/// wherever its text is.
fn base64_of_key(file: &str) -> String {
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let pem = file["private_key"].as_str().unwrap();
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// All that a process can read of its own memory.
struct Memory(Vec<Vec<u8>>);

impl Memory {
    fn of(process: u32) -> Self {
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        let readable = maps.lines().filter(|line| {
            let rights = line.split(' ').nth(1).unwrap();
            rights.starts_with('r') && !line.ends_with("[vvar]") && !line.ends_with("[vvar_vclock]")
        });
        let regions = readable.filter_map(|line| {
            let (begin, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [begin, end] = [begin, end].map(|address| u64::from_str_radix(address, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(end - begin).unwrap()];
            // A region may be gone since the list was read.
            memory.read_exact_at(&mut bytes, begin).ok().map(|()| bytes)
        });
        Self(regions.collect())
    }

    /// How many places hold one of the pieces.
    fn count(&self, pieces: &[&[u8]]) -> usize {
        let mut begins = vec![false; 1 << 16];
        let index = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        for piece in pieces {
            begins[index(piece)] = true;
        }
        let places = self.0.iter().flat_map(|region| (0..region.len() - 1).map(move |at| &region[at..]));
        places
            .filter(|place| begins[index(place)] && pieces.iter().any(|piece| place.starts_with(piece)))
            .count()
    }
}
