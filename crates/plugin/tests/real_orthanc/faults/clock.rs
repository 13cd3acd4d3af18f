//! The machine's clock: hours that go by quickly, and steps in both directions.
//!
//! The emulator's clock is moved along, except where Orthanc's alone is wrong. The monotonic clock is never touched, so that
//! the plugin has nothing but its looks to notice a step by.

use std::{thread, time::Duration};

use serde_json::json;

use super::{ACCOUNTS, answered, google, live_searches, lives, refused, start, while_asking};
use crate::stage::{Scene, Stage, lines_at};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// No timer is longer than a minute; a busy machine gets more.
const A_LOOK: Duration = Duration::from_secs(150);

/// Moves both clocks. The emulator's first: an assertion must not come from its future.
fn set_clocks(stage: &Stage, seconds: i64) {
    stage.scene.emulator.set_clock_offset(seconds);
    stage.orthanc.set_clock_offset(seconds).unwrap();
}

/// Hours of tokens that live `life` seconds, a minute of it at each search.
fn go_by(life: u64, minutes: i64, lives_wanted: usize) {
    let stage =
        start(google(Duration::from_secs(life)), &json!({"GoogleCloudPlatform": {"RefreshInterval": 1}}));
    for minute in 1..=minutes {
        set_clocks(&stage, 60 * minute);
        thread::sleep(Duration::from_secs(1));
        for account in ACCOUNTS {
            stage.search(account);
        }
    }
    assert_eq!(refused(&stage), [""; 0]);
    assert!(lives(&stage) >= lives_wanted, "{}", lives(&stage));
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

#[test]
fn an_hour_of_ten_minute_tokens() {
    go_by(620, 60, 8);
}

#[test]
fn an_hour_and_a_bit_of_googles_own_tokens() {
    go_by(3600, 75, 2);
}

#[test]
fn a_day_of_sleep() {
    let stage = start(google(Duration::from_secs(3600)), &json!({}));
    while_asking(&stage, &ACCOUNTS, || {
        thread::sleep(Duration::from_secs(3));
        assert_eq!(refused(&stage), [""; 0]);
        set_clocks(&stage, DAY);
        stage.orthanc.wait_until("every account works again", A_LOOK, || Ok(live_searches(&stage))).unwrap();
        stage.scene.emulator.clear_requests();
        thread::sleep(Duration::from_secs(5));
    });
    assert_eq!(refused(&stage), [""; 0]);
    assert!(answered(&stage) > ACCOUNTS.len());
    stage.stop();
}

#[test]
fn a_clock_put_back_by_an_hour() {
    let stage = start(google(Duration::from_secs(3600)), &json!({}));
    while_asking(&stage, &ACCOUNTS, || {
        thread::sleep(Duration::from_secs(3));
        set_clocks(&stage, -HOUR);
        // Nobody knows how much of the tokens' lives is over: there are new ones at the next look.
        stage.orthanc.wait_until("new tokens", A_LOOK, || Ok(lives(&stage) >= 2)).unwrap();
        thread::sleep(Duration::from_secs(5));
    });
    assert_eq!(refused(&stage), [""; 0]);
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

#[test]
fn steps_of_a_minute_and_a_half_both_ways() {
    let life = Duration::from_secs(200);
    let stage = start(google(life), &json!({"GoogleCloudPlatform": {"RefreshInterval": 3}}));
    while_asking(&stage, &ACCOUNTS, || {
        for offset in [90, 0, -90, 0, 90] {
            set_clocks(&stage, offset);
            thread::sleep(Duration::from_secs(8));
        }
    });
    assert_eq!(refused(&stage), [""; 0]);
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

/// Orthanc alone is wrong by so many seconds when it starts, and is set right after a while.
fn wrong_at_boot(seconds: i64, said: &str) {
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"key": scene.service_account(), "login": scene.user_strings()}))
        .clock_of_its_own_ahead_by(seconds)
        .unwrap();
    let stage = scene.start(orthanc);
    stage.wait_for(&["\"key\"", "Invalid JWT", "reasonable timeframe", said, "NTP"]);
    // A login is not bound to a time.
    stage.wait_until_ready("login");
    while_asking(&stage, &["login"], || {
        thread::sleep(Duration::from_secs(10));
        stage.orthanc.set_clock_offset(0).unwrap();
        let ready = |line: &str| line.contains("Account \"key\": ready");
        stage.orthanc.wait_for_log(ready, A_LOOK).unwrap();
    });
    assert_eq!(stage.search("key").0, 200);
    assert_eq!(refused(&stage), [""; 0]);
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E').len(), 1, "{log}");
}

#[test]
fn a_clock_that_is_ahead_at_boot() {
    wrong_at_boot(2 * HOUR + 30, "clock is 2 h 0 min ahead of the token server's");
}

#[test]
fn a_clock_that_is_behind_at_boot() {
    wrong_at_boot(-DAY - 30, "clock is 1 d 0 h behind the token server's");
}
