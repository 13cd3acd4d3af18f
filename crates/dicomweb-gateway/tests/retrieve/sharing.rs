//! Memory is bounded, and nobody waits for ever for it.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

use futures_util::future::join_all;

use crate::{
    stage::block_on,
    support::{ANY, Got, Scene, got},
};

/// Retrieves the study so many times at once. The most memory that was in use.
fn at_once(scene: &Scene, times: usize) -> usize {
    let path = format!("studies/{}", scene.study);
    let (over, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    let all: Vec<Got> = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                most.fetch_max(scene.stage.gateway.memory_in_use(), Relaxed);
                thread::yield_now();
            }
        });
        let all = block_on(join_all((0..times).map(|_| got(&scene.stage, &path, ANY))));
        over.store(true, Relaxed);
        all
    });
    for got in &all {
        scene.assert_whole(got);
    }
    scene.ended();
    most.into_inner()
}

#[test]
fn many_retrieves_share_little_memory() {
    let cap = 256 << 10;
    // As streams, and one by one.
    for (series, instances) in [(4, 6), (1, 24)] {
        let scene = Scene::with(series, instances, 200, |settings| settings.memory = cap);
        let most = at_once(&scene, 6);
        assert!(most > 0 && most <= cap, "{most}");
    }
}

#[test]
fn instances_larger_than_all_memory_pass_through() {
    let cap = 512 << 10;
    for (series, instances) in [(1, 3), (3, 1)] {
        let scene = Scene::with(series, instances, 1200, |settings| {
            settings.memory = cap;
            settings.spool_over = 256 << 10;
        });
        assert!(scene.files.values().all(|file| file.len() > 2 * cap));
        let most = at_once(&scene, 3);
        assert!(most > 0 && most <= cap, "{most}");
    }
}

#[test]
fn a_client_that_does_not_read_leaves_memory_to_others() {
    let cap = 4 << 20;
    let scene = Scene::with(1, 40, 500, |settings| settings.memory = cap);
    let path = format!("studies/{}", scene.study);
    block_on(async {
        let slow =
            scene.stage.request(reqwest::Method::GET, &path).header("Accept", ANY).send().await.unwrap();
        // It has all that it may have.
        crate::support::until("the slow one's share is full", || {
            scene.stage.gateway.memory_in_use() > cap / 8
        });
        scene.assert_whole(&got(&scene.stage, &path, ANY).await);
        assert!(scene.stage.gateway.memory_in_use() <= cap / 2);
        let kind = slow.headers()["content-type"].to_str().unwrap().to_owned();
        let body = slow.bytes().await.unwrap();
        scene.assert_whole(&Got::Parts(crate::support::parts(&kind, &body)));
    });
    scene.ended();
}
