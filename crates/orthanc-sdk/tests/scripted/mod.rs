//! A plugin that does what Orthanc's configuration tells it to.

use orthanc_sdk::{Change, Host, Level, Method, Plugin, Refusal, Version};
use std::ffi::CStr;

/// The configuration is a list of words: the misdeeds to commit.
pub(crate) struct Scripted {
    host: Host,
    script: String,
}

/// Panics even while it is thrown away.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb");
    }
}

impl Plugin for Scripted {
    const NAME: &'static CStr = c"scripted";
    const VERSION: &'static CStr = c"1.2.3";
    const OLDEST_HOST: Version = Version::new(1, 5, 4);

    fn initialize(host: &Host) -> Result<Self, Refusal> {
        let plugin = Self { host: host.clone(), script: host.configuration().unwrap() };
        plugin.log("initialized");
        if plugin.told_to("call-rest-in-initialize") {
            plugin.log(&format!("{:?}", host.rest_get("/system")));
        }
        if plugin.told_to("refuse") {
            return Err(Refusal(String::from("the script says so")));
        }
        assert!(!plugin.told_to("panic-in-initialize"), "as told, {}", 1);
        Ok(plugin)
    }

    fn on_change(&self, change: Change) {
        self.log(&format!("{change:?}"));
        assert!(!self.told_to("panic-in-change"), "as told, in change");
        if self.told_to("throw-a-number") {
            std::panic::panic_any(42);
        }
        if self.told_to("throw-a-bomb") {
            std::panic::panic_any(Bomb);
        }
        if self.told_to("call-rest-in-change") && change == Change::Other(3) {
            let answer = self.host.rest_call(Method::Get, "/inner", b"");
            self.log(&format!("inner: {}", String::from_utf8(answer.unwrap().body).unwrap()));
        }
    }
}

impl Scripted {
    fn told_to(&self, misdeed: &str) -> bool {
        self.script.split_whitespace().any(|word| word == misdeed)
    }

    fn log(&self, text: &str) {
        self.host.log(Level::Info, text);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.log(&format!("dropped, {:?}", self.host.rest_get("/system")));
        assert!(!self.told_to("panic-in-drop"), "as told, in drop");
    }
}
