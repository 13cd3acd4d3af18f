//! The page in a real browser, as an administrator sees it.

mod axe;
mod browser;
mod changes;
mod prefix;
mod showcase;

use std::time::Duration;

use google_emulator::{Fault, Route};
use orthanc_testbed::Ct;
use serde_json::{Value, json};

use crate::stage::{Scene, Stage};
use browser::Browser;
use prefix::Prefixed;

const PAGE: &str = "/google-cloud-platform/app/index.html";
/// What would take over the page if it were read as HTML.
const HOSTILE: &str =
    r#"<img src=x onerror="document.title='taken over'"><script>document.title='taken over'</script>"#;

/// A browser on the page of an Orthanc.
struct Visit {
    browser: Browser,
    stage: Stage,
}

impl Visit {
    fn of(stage: Stage) -> Self {
        let browser = Browser::start();
        browser.open(&format!("{}{PAGE}", stage.orthanc.url()));
        browser.wait_for("document.getElementById('summary').textContent !== 'Asking Orthanc …'");
        Self { browser, stage }
    }

    /// The page has asked nobody else, and the console has complained about nothing but what contains one of `known`.
    #[track_caller]
    fn end(self, known: &[&str]) -> Stage {
        let origin = format!("{}/", self.stage.orthanc.url());
        for url in self.browser.requests() {
            assert!(url.starts_with(&origin) || url == "about:blank", "{url}");
        }
        let is_known = |complaint: &String| known.iter().any(|part| complaint.contains(part));
        let complaints: Vec<String> =
            self.browser.complaints().into_iter().filter(|c| !is_known(c)).collect();
        assert_eq!(complaints, [""; 0]);
        self.stage
    }
}

/// A card's button.
fn button(account: &str, nth: u8) -> String {
    format!("[aria-labelledby='account-{account}'] .buttons button:nth-child({nth})")
}

/// A card.
fn card(account: &str) -> String {
    format!("[aria-labelledby='account-{account}']")
}

/// Keeps what is announced from now on: the page takes it away after a while.
fn listen(browser: &Browser) {
    browser.value(
        "heard = ''; new MutationObserver((changes) => changes.forEach(({ addedNodes }) => \
         addedNodes.forEach((node) => { heard += node.textContent }))) \
         .observe(document.getElementById('announcements'), { childList: true })",
    );
}

#[test]
fn an_account_is_checked_and_refreshed() {
    let visit = Visit::of(Stage::ready("hospital"));
    let (browser, card) = (&visit.browser, card("hospital"));
    browser.wait_for_text(&card, "OK");
    // It had 59 minutes when it was new; a browser may take its time to start.
    browser.wait_for(r"/good for 5\d min/.test(document.querySelector('dl.facts').innerText)");
    let countdown = |browser: &Browser| browser.text("dl.facts dd");
    let first = countdown(browser);
    browser.wait_for(&format!("document.querySelector('dl.facts dd').innerText !== {}", json!(first)));
    assert_eq!(browser.text("#summary"), "1 OK");

    // A search that takes its time shows that steps come as they finish.
    visit
        .stage
        .scene
        .emulator
        .faults()
        .add(Fault::latency(Route::Qido, Duration::from_secs(15)).until_cleared());
    listen(browser);
    browser.click(&button("hospital", 1));
    browser.wait_for_text(&card, "Checking …");
    browser.wait_for(
        "document.querySelectorAll('.step-ok').length > 2 && document.querySelector('.step-waiting')",
    );
    assert!(!browser.text(".steps").contains("DICOM store"));
    visit.stage.scene.emulator.faults().clear();
    browser.wait_for_text(&card, "Check passed");
    assert!(browser.text(".steps").contains("DICOM store"));
    browser.wait_for("document.querySelector('.buttons button').getAttribute('aria-disabled') === 'false'");
    let heard = browser.value("heard");
    assert_eq!(heard.as_str().unwrap().matches("Check of hospital: passed").count(), 1, "{heard}");

    let before = visit.stage.token_requests().len();
    browser.click(&button("hospital", 2));
    browser.wait_for_text(".outcome", "New token, good until");
    assert_eq!(visit.stage.token_requests().len(), before + 1);

    browser.wait_for_text(&card, "Search and retrieve");
    let client = browser.value("document.querySelector('.buttons a').href");
    let path = client.as_str().unwrap().strip_prefix(&visit.stage.orthanc.url()).unwrap().to_owned();
    assert_eq!(path, "/dicom-web/app/client/index.html");
    assert_eq!(visit.stage.orthanc.get(&path).unwrap().status, 200);
    visit.end(&[]).stop();
}

/// The DICOMweb plugin's page begins with the first of its servers, whichever account it was opened from.
#[test]
fn only_the_only_server_is_led_to() {
    let scene = Scene::new();
    let accounts = json!({"archive": scene.service_account(), "radiology": scene.service_account()});
    let orthanc = scene.orthanc(&accounts);
    let stage = scene.start(orthanc);
    stage.wait_until_ready("archive");
    stage.wait_until_ready("radiology");
    let visit = Visit::of(stage);
    let browser = &visit.browser;
    for name in ["archive", "radiology"] {
        let says = format!("To search and retrieve, choose the server {name} in the DICOMweb client.");
        browser.wait_for_text(&card(name), &says);
    }
    let shown = "[...document.querySelectorAll('.buttons a')].filter((link) => !link.hidden).length";
    assert_eq!(browser.value(shown), 0);
    // Another one is gone: the page follows.
    assert_eq!(visit.stage.orthanc.delete("/dicom-web/servers/archive").unwrap().status, 200);
    browser.wait_for(&format!("{shown} === 1"));
    browser.wait_for_text(&card("radiology"), "Search and retrieve");
    visit.end(&[]);
}

#[test]
fn googles_words_are_never_html() {
    let scene = Scene::new();
    let orthanc = scene.orthanc(&json!({"hospital": scene.service_account()}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("hospital");
    let visit = Visit::of(stage);
    let (browser, faults) = (&visit.browser, visit.stage.scene.emulator.faults());
    let refusal = json!({"error": "invalid_grant", "error_description": HOSTILE}).to_string();
    faults.add(Fault::answer(Route::Token, 400, refusal).until_cleared());
    browser.click(&button("hospital", 2));
    browser.wait_for_text(".outcome", "<img src=x onerror=");
    browser.wait_for_text(".error", "<img src=x onerror=");
    // The token is still good.
    browser.wait_for_text(".state", "Expiring");
    assert!(browser.text(".error .remedy").len() > 20, "{}", browser.text(".error"));
    faults.clear();
    browser.wait_for("document.querySelector('button').getAttribute('aria-disabled') !== 'true'");

    let refusal =
        json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": HOSTILE}}).to_string();
    faults.add(Fault::answer(Route::Qido, 403, refusal).until_cleared());
    browser.click(&button("hospital", 1));
    browser.wait_for_text(".check", "Check failed");
    assert!(browser.text(".step-failed").contains("<img src=x onerror="), "{}", browser.text(".steps"));
    faults.clear();

    let study = showcase::bring(&visit.stage, &Ct::default());
    faults.add(Fault::refuse_instance(&study.instances[0].uid, HOSTILE));
    assert_ne!(showcase::send(showcase::stow(&visit.stage, "hospital", &study)), 200);
    // What may hold a patient's name does not even reach the page.
    browser.wait_for_text(".ended-failed .failures", "0x0110 (processing failure)");
    assert!(!browser.text(".ended-failed .failures").contains("onerror"));
    assert_eq!(browser.value("document.querySelectorAll('main img, main script').length"), 0);
    assert!(browser.value("document.title").as_str().unwrap().starts_with("Google Cloud Platform"));
    // The refresh was answered with 502, which the console tells.
    visit.end(&["status of 502"]);
}

#[test]
fn no_account_at_all() {
    let scene = Scene::new();
    let orthanc = scene.orthanc(&json!({}));
    let visit = Visit::of(scene.start(orthanc));
    visit.browser.wait_for_text("#notices", "No account is configured");
    assert_eq!(visit.browser.text("#summary"), "None");
    let example: Value = serde_json::from_str(&visit.browser.text("pre")).unwrap();
    // What is shown as an example has to be one.
    let (configuration, _) = orthanc_gcp_configuration::read(&example.to_string());
    assert_eq!(configuration.accounts.len(), 1);
    assert!(visit.browser.text("#transfers").contains("\"Gateway\": true"));
    axe::assert_accessible(&visit.browser, "no account");
    visit.end(&[]);
}

#[test]
fn every_mistake_of_an_account() {
    let scene = Scene::new();
    let mut account = scene.service_account();
    let fields = account.as_object_mut().unwrap();
    fields.remove("Project");
    fields.insert("Datset".to_owned(), json!("misspelt"));
    fields.insert("HttpTimeout".to_owned(), json!("long"));
    let orthanc = scene.orthanc(&json!({"typed": account, "right": scene.service_account()}));
    let visit = Visit::of(scene.start(orthanc));
    let card = card("typed");
    visit.browser.wait_for_text(&card, "Misconfigured");
    for part in ["Project", "Datset", "HttpTimeout"] {
        visit.browser.wait_for_text(&format!("{card} .mistakes"), part);
    }
    assert_eq!(visit.browser.value(&format!("document.querySelector(\"{card} .actions\").hidden")), true);
    visit.browser.wait_for_text("#summary", "1 OK · 1 misconfigured");
    visit.end(&[]);
}

#[test]
fn below_a_prefix_and_from_orthanc_explorer() {
    let stage = Stage::ready("hospital");
    let proxy = Prefixed::start(stage.orthanc.port());
    let browser = Browser::start();
    browser.open(&format!("{}/app/explorer.html", proxy.url()));
    browser.click("#open-google-cloud-platform a");
    browser.wait_for("location.pathname.endsWith('/google-cloud-platform/app/index.html')");
    browser.wait_for_text(&card("hospital"), "OK");
    browser.open(&format!("{}/app/explorer.html#plugins", proxy.url()));
    let link = "[...document.querySelectorAll('#plugins li a')].find((a) => a.innerText.includes('google-cloud-platform'))";
    browser.wait_for(link);
    // It would open another tab.
    browser.value(&format!("window.open = (uri) => {{ location.href = uri }}; {link}.click()"));
    browser.wait_for("location.pathname.endsWith('/google-cloud-platform/app/index.html')");
    browser.wait_for_text(&card("hospital"), "OK");
    // However the address is typed.
    for folder in [
        "/google-cloud-platform",
        "/google-cloud-platform/",
        "/google-cloud-platform/app",
        "/google-cloud-platform/app/",
    ] {
        browser.open(&format!("{}{folder}", proxy.url()));
        browser.wait_for_text(&card("hospital"), "OK");
        let here = browser.value("location.href");
        assert_eq!(here.as_str().unwrap(), format!("{}{PAGE}", proxy.url()));
    }
    browser.click(&button("hospital", 2));
    browser.wait_for_text(".outcome", "New token");
    browser.wait_for_text("nav", "DICOMweb client");
    for link in ["nav a:nth-child(1)", "nav a:nth-child(2)", ".buttons a"] {
        let address = browser.value(&format!("document.querySelector('{link}').href"));
        let below = address.as_str().unwrap().strip_prefix(&proxy.url()).unwrap().to_owned();
        assert_eq!(stage.orthanc.get(&below).unwrap().status, 200, "{below}");
    }
    assert_eq!(proxy.escaped(), [""; 0]);
}

#[test]
fn orthanc_goes_away_and_comes_back() {
    let stage = Stage::ready("hospital");
    let proxy = Prefixed::start(stage.orthanc.port());
    let browser = Browser::start();
    browser.open(&format!("{}{PAGE}", proxy.url()));
    browser.wait_for_text(&card("hospital"), "OK");
    proxy.cut(true);
    browser.wait_for_text("#connection", "Orthanc cannot be reached. Trying again");
    // What was seen last stays.
    assert!(browser.text(&card("hospital")).contains("OK"));
    assert!(browser.text("#connection").contains("What you see is from"));
    listen(&browser);
    proxy.cut(false);
    browser.wait_for("document.getElementById('connection').hidden");
    browser.wait_for("heard.includes('Orthanc answers again')");
}

#[test]
fn nobody_is_asked_while_nobody_looks() {
    let visit = Visit::of(Stage::ready("hospital"));
    let browser = &visit.browser;
    let looks = || browser.requests().iter().filter(|url| url.ends_with("/accounts")).count();
    let hide = |is_hidden: bool| {
        browser.value(&format!(
            "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {is_hidden} }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        ));
    };
    hide(true);
    // What is under way may end.
    std::thread::sleep(Duration::from_secs(1));
    let before = looks();
    // Longer than the longest pause between two looks.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(looks(), before);
    hide(false);
    visit.stage.wait_until("the page asks again", || looks() > before);
    visit.end(&[]);
}

#[test]
fn by_keyboard_alone() {
    let visit = Visit::of(Stage::ready("hospital"));
    let browser = &visit.browser;
    browser.wait_for_text(&card("hospital"), "Search and retrieve");
    // The page has been looked at for a while: what is shown anew must not take the focus away.
    let mut walked = Vec::new();
    for _ in 0..7 {
        browser.press("Tab");
        let here = browser.value(
            "(() => { const e = document.activeElement, s = getComputedStyle(e); \
             return [e.textContent.trim().replace(/\\s+/g, ' ') , s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2]; })()",
        );
        assert_eq!(here[1], true, "the focus cannot be seen at {}", here[0]);
        walked.push(here[0].as_str().unwrap().to_owned());
    }
    let expected = [
        "Skip to the accounts",
        "Orthanc Explorer",
        "DICOMweb client",
        "Check hospital",
        "Refresh hospital",
        "Search and retrieve",
        "Details of hospital",
    ];
    assert_eq!(walked, expected);
    browser.value(&format!("document.querySelector(\"{}\").focus()", button("hospital", 1)));
    browser.press("Enter");
    browser.wait_for_text(&card("hospital"), "Check passed");
    browser.wait_for("document.activeElement.textContent === 'Check hospital'");
    browser.value("document.querySelector('details summary').focus()");
    browser.press("Space");
    browser.wait_for_text(&card("hospital"), "Principal");
    visit.end(&[]);
}
