//! Instances on disk, beside it, and half.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::TryStreamExt as _;

use super::*;
use crate::{disk::DiskSpace, memory::Memory};

const NONE: DiskReserve = DiskReserve { bytes: Some(0), probe: |_| Err(io::ErrorKind::NotFound.into()) };

async fn whole(spool: &Arc<Spool>) -> io::Result<Vec<u8>> {
    spool
        .bytes()
        .try_fold(Vec::new(), |mut all, bytes| async move {
            all.extend_from_slice(&bytes);
            Ok(all)
        })
        .await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
}

#[test]
fn it_is_read_while_it_is_written_and_again_afterwards() {
    runtime().block_on(async {
        let memory = Memory::new(1 << 20);
        let mut share = memory.share();
        assert!(memory.try_grow(&mut share, 5));
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::begin(folder.path(), NONE, vec![Bytes::from_static(b"first")], share).await;
        assert_eq!(memory.in_use(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        let spool = Arc::clone(writer.spool());
        let reading = tokio::spawn({
            let spool = Arc::clone(&spool);
            async move { whole(&spool).await }
        });
        let more = vec![7; 3 * PIECE + 1];
        writer.write(&more).await;
        writer.finish().await;
        let expected = [b"first".as_slice(), &more].concat();
        assert!(reading.await.unwrap().unwrap() == expected);
        assert!(spool.is_repeatable() && spool.is_complete().await);
        assert!(whole(&spool).await.unwrap() == expected);
    });
}

#[test]
fn without_disk_it_is_read_once() {
    runtime().block_on(async {
        let memory = Memory::new(1 << 20);
        let mut share = memory.share();
        assert!(memory.try_grow(&mut share, 5));
        let mut writer =
            Writer::begin(Path::new("/nonexistent"), NONE, vec![Bytes::from_static(b"first")], share).await;
        let spool = Arc::clone(writer.spool());
        assert!(!spool.is_repeatable());
        let reading = tokio::spawn({
            let spool = Arc::clone(&spool);
            async move { whole(&spool).await }
        });
        let more = vec![7; 9 * PIECE];
        writer.write(&more).await;
        assert_eq!(memory.in_use(), 0);
        writer.finish().await;
        assert!(reading.await.unwrap().unwrap() == [b"first".as_slice(), &more].concat());
        assert!(whole(&spool).await.is_err());
    });
}

#[test]
fn a_writer_that_goes_away_is_an_error_and_never_an_end() {
    runtime().block_on(async {
        for folder in [std::env::temp_dir(), "/nonexistent".into()] {
            let share = Memory::new(1).share();
            let mut writer = Writer::begin(&folder, NONE, vec![Bytes::from_static(b"first")], share).await;
            writer.write(b"more").await;
            let spool = Arc::clone(writer.spool());
            drop(writer);
            assert!(whole(&spool).await.is_err());
            assert!(!spool.is_complete().await);
        }
    });
}

#[test]
fn the_reserve_of_the_disk_is_left_and_the_rest_goes_without_a_copy() {
    static FREE: AtomicU64 = AtomicU64::new(0);
    // As a disk that another program fills meanwhile: two pieces more, and then none.
    let probe = |_: &Path| {
        let free = FREE.fetch_sub(PIECE as u64, Ordering::Relaxed);
        Ok(DiskSpace { free, total: 1 << 40 })
    };
    runtime().block_on(async {
        let reserve = DiskReserve { bytes: Some(10 * PIECE as u64), probe };
        FREE.store(14 * PIECE as u64, Ordering::Relaxed);
        let share = Memory::new(1).share();
        let folder = tempfile::tempdir().unwrap();
        let head = vec![Bytes::from_static(b"first")];
        let mut writer = Writer::begin(folder.path(), reserve, head, share).await;
        let spool = Arc::clone(writer.spool());
        assert!(spool.is_repeatable());
        let reading = tokio::spawn({
            let spool = Arc::clone(&spool);
            async move { whole(&spool).await }
        });
        let more = vec![7; 9 * PIECE];
        writer.write(&more).await;
        writer.finish().await;
        assert!(!spool.is_repeatable());
        let written = spool.file.as_ref().unwrap().metadata().unwrap().len();
        assert!(written > 0 && written <= 3 * PIECE as u64, "{written}");
        assert!(reading.await.unwrap().unwrap() == [b"first".as_slice(), &more].concat());
        // And where it is used up before, no file is begun.
        FREE.store(PIECE as u64, Ordering::Relaxed);
        let share = Memory::new(1).share();
        let writer = Writer::begin(folder.path(), reserve, Vec::new(), share).await;
        assert!(writer.spool().file.is_none());
    });
}
