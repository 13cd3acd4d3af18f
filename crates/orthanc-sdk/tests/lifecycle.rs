//! From Initialize to Finalize, in every order that a host may choose, and with every misdeed of a plugin.

#[cfg(test)]
mod scripted;

use orthanc_sdk::fake_host::FakeHost;
use orthanc_sdk::{Change, Error, Level};
use scripted::Scripted;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};

fn orthanc(script: &str) -> FakeHost {
    FakeHost::builder().configuration(script).build()
}

fn texts(orthanc: &FakeHost, level: Level) -> Vec<String> {
    orthanc.log().into_iter().filter(|line| line.level == level).map(|line| line.text).collect()
}

#[test]
fn lives_and_ends() {
    let orthanc = orthanc("");
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    assert_eq!(orthanc.change(Change::OrthancStarted), Some(0));
    assert_eq!(orthanc.change(Change::Other(3)), Some(0));
    assert_eq!(orthanc.change(Change::OrthancStopped), Some(0));
    orthanc.finalize();
    assert_eq!(
        texts(&orthanc, Level::Info),
        ["initialized", "OrthancStarted", "Other(3)", "OrthancStopped", "dropped, Err(Gone)"]
    );
    assert_eq!(texts(&orthanc, Level::Error), [""; 0]);
    orthanc.assert_clean();
}

#[test]
fn finalize_comes_without_orthanc_stopped() {
    let orthanc = orthanc("");
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    orthanc.finalize();
    assert_eq!(texts(&orthanc, Level::Info), ["initialized", "dropped, Err(Gone)"]);
    orthanc.assert_clean();
}

#[test]
fn finalize_without_initialize_and_twice() {
    let orthanc = orthanc("");
    orthanc.finalize();
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    orthanc.finalize();
    orthanc.finalize();
    assert_eq!(texts(&orthanc, Level::Info), ["initialized", "dropped, Err(Gone)"]);
    orthanc.assert_clean();
}

#[test]
fn initialize_twice_gives_up_the_first_without_touching_its_context() {
    let orthanc = orthanc("");
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    let first = orthanc.host().unwrap();
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    assert_eq!(first.configuration(), Err(Error::Gone));
    assert_eq!(orthanc.change(Change::OrthancStarted), Some(0));
    orthanc.finalize();
    // The first was dropped as well, but had no log any more.
    assert_eq!(
        texts(&orthanc, Level::Info),
        ["initialized", "initialized", "OrthancStarted", "dropped, Err(Gone)"]
    );
    orthanc.assert_clean();
}

#[test]
fn ten_resets_in_one_process() {
    let orthanc = orthanc("panic-in-change");
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    let mut former = vec![orthanc.host().unwrap()];
    for _ in 0..10 {
        assert_eq!(orthanc.reset::<Scripted>(), 0);
        for host in &former {
            assert_eq!(host.rest_get("/system"), Err(Error::Gone));
            host.log(Level::Error, "from the grave");
        }
        former.push(orthanc.host().unwrap());
    }
    orthanc.finalize();
    let count = |wanted: &str| texts(&orthanc, Level::Info).iter().filter(|text| *text == wanted).count();
    assert_eq!(count("initialized"), 11);
    assert_eq!(count("dropped, Err(Gone)"), 11);
    assert_eq!(count("OrthancStarted"), 10);
    // One line a panic: the hook was installed once, not once an Initialize.
    assert_eq!(texts(&orthanc, Level::Error).len(), 20);
    orthanc.assert_clean();
}

#[test]
fn a_refusal_is_one_error_line() {
    let orthanc = orthanc("refuse");
    assert_eq!(orthanc.initialize::<Scripted>(), -1);
    assert!(orthanc.host().is_none());
    assert_eq!(texts(&orthanc, Level::Error), ["the script says so"]);
    assert_eq!(orthanc.change(Change::OrthancStarted), None);
    orthanc.assert_clean();
}

#[test]
fn a_host_too_old_is_refused_with_one_error_line() {
    for (version, works) in [
        ("1.5.3", false),
        ("0.9.6", false),
        ("", false),
        ("unknown", false),
        ("1.5.4", true),
        ("1.12.7+dfsg", true),
        ("mainline", true),
    ] {
        let orthanc = FakeHost::builder().version(version).build();
        let code = orthanc.initialize::<Scripted>();
        let errors = texts(&orthanc, Level::Error);
        if works {
            assert_eq!((code, errors.len()), (0, 0), "{version:?}: {errors:?}");
        } else {
            assert_eq!((code, errors.len()), (-1, 1), "{version:?}: {errors:?}");
            assert!(errors[0].contains("1.5.4") && errors[0].contains(version), "{errors:?}");
            assert!(texts(&orthanc, Level::Info).is_empty(), "initialize of the plugin has run");
        }
        orthanc.finalize();
        orthanc.assert_clean();
    }
}

#[test]
fn a_panic_in_initialize_is_a_refusal_that_tells_where() {
    let orthanc = orthanc("panic-in-initialize");
    for round in 1..=2 {
        assert_eq!(orthanc.initialize::<Scripted>(), -1);
        let errors = texts(&orthanc, Level::Error);
        assert_eq!(errors.len(), round);
        assert!(errors[0].contains("as told, 1"), "{errors:?}");
        assert!(errors[0].contains("scripted/mod.rs:"), "{errors:?}");
        assert!(orthanc.host().is_none());
    }
    orthanc.assert_clean();
}

#[test]
fn a_panic_in_a_change_is_told_and_orthanc_hears_success() {
    for (script, expected) in [
        ("panic-in-change", "as told, in change"),
        ("throw-a-number", "(no message)"),
        ("throw-a-bomb", "(no message)"),
    ] {
        let orthanc = orthanc(script);
        assert_eq!(orthanc.initialize::<Scripted>(), 0);
        assert_eq!(orthanc.change(Change::OrthancStarted), Some(0));
        assert_eq!(orthanc.change(Change::OrthancStopped), Some(0));
        orthanc.finalize();
        let errors = texts(&orthanc, Level::Error);
        assert_eq!(errors.iter().filter(|text| text.contains(expected)).count(), 2, "{errors:?}");
        assert_eq!(texts(&orthanc, Level::Info).len(), 4, "the plugin has not lived on");
        orthanc.assert_clean();
    }
}

#[test]
fn a_panic_in_drop_ends_clean() {
    let orthanc = orthanc("panic-in-drop");
    for round in 1..=2 {
        assert_eq!(orthanc.initialize::<Scripted>(), 0);
        let host = orthanc.host().unwrap();
        orthanc.finalize();
        assert_eq!(host.configuration(), Err(Error::Gone));
        assert!(orthanc.host().is_none());
        let errors = texts(&orthanc, Level::Error);
        assert_eq!(errors.len(), round);
        assert!(errors[0].contains("as told, in drop"), "{errors:?}");
    }
    orthanc.assert_clean();
}

#[test]
fn a_panic_in_a_thread_of_the_plugin_is_told() {
    let orthanc = orthanc("");
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    std::thread::scope(|threads| {
        assert!(threads.spawn(|| panic!("in a thread")).join().is_err());
    });
    let errors = texts(&orthanc, Level::Error);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("in a thread") && errors[0].contains("lifecycle.rs:"), "{errors:?}");
    orthanc.finalize();
    orthanc.assert_clean();
}

#[test]
fn rest_is_refused_during_initialize() {
    let orthanc = orthanc("call-rest-in-initialize");
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    assert!(texts(&orthanc, Level::Info)[1].contains("2038"), "{:?}", orthanc.log());
}

#[test]
fn other_threads_find_the_host_gone() {
    let orthanc = orthanc("");
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    let host = orthanc.host().unwrap();
    let calling = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while host.configuration() != Err(Error::Gone) {
                    calling.store(true, Ordering::SeqCst);
                }
                host.log(Level::Error, "from the grave");
            });
        }
        while !calling.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        orthanc.finalize();
    });
    // Lines written between the plugin's drop and the closing of the door reach a living host; later ones none.
    orthanc.assert_clean();
}

#[test]
fn finalize_waits_for_calls_under_way() {
    let (entered, wait_entered) = mpsc::channel();
    let (release, wait_release) = mpsc::channel();
    let (entered, wait_release) = (Mutex::new(entered), Mutex::new(wait_release));
    let left = Arc::new(AtomicBool::new(false));
    let leaving = Arc::clone(&left);
    let orthanc = FakeHost::builder()
        .rest(move |_, uri, _| {
            if uri == "/slow" {
                entered.lock().unwrap().send(()).unwrap();
                wait_release.lock().unwrap().recv().unwrap();
                for _ in 0..1000 {
                    std::thread::yield_now();
                }
                leaving.store(true, Ordering::SeqCst);
            }
            Ok(b"answer".to_vec())
        })
        .build();
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    let host = orthanc.host().unwrap();
    std::thread::scope(|threads| {
        let slow = threads.spawn(|| host.rest_get("/slow"));
        wait_entered.recv().unwrap();
        threads.spawn(|| {
            // Finalize has begun when newcomers are turned away.
            while host.rest_get("/fast") != Err(Error::Gone) {
                std::thread::yield_now();
            }
            release.send(()).unwrap();
        });
        orthanc.finalize();
        assert!(left.load(Ordering::SeqCst), "Finalize has returned while a call was under way");
        assert_eq!(slow.join().unwrap(), Ok(b"answer".to_vec()));
    });
    orthanc.assert_clean();
}

#[test]
fn orthanc_may_call_back_on_the_thread_that_called_it() {
    let back: Arc<Mutex<Weak<FakeHost>>> = Arc::default();
    let way_back = Arc::clone(&back);
    let orthanc = FakeHost::builder()
        .configuration("call-rest-in-change")
        .rest(move |_, uri, _| {
            if uri == "/outer" {
                let orthanc = way_back.lock().unwrap().upgrade().unwrap();
                assert_eq!(orthanc.change(Change::Other(3)), Some(0));
            }
            Ok(uri.as_bytes().to_vec())
        })
        .build();
    let orthanc = Arc::new(orthanc);
    *back.lock().unwrap() = Arc::downgrade(&orthanc);
    assert_eq!(orthanc.initialize::<Scripted>(), 0);
    assert_eq!(orthanc.host().unwrap().rest_get("/outer"), Ok(b"/outer".to_vec()));
    assert!(texts(&orthanc, Level::Info).contains(&String::from("inner: /inner")), "{:?}", orthanc.log());
    orthanc.finalize();
    orthanc.assert_clean();
}
