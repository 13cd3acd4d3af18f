//! The testbed itself, with the Orthanc that `ORTHANC_RELEASE` names.

use std::{path::Path, time::Duration};

use orthanc_testbed::{Ct, Error, Orthanc, study};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_study_goes_in_and_comes_out() {
    let orthanc = Orthanc::builder().dicomweb().start().unwrap();
    let study = study::ct(&Ct::default()).unwrap();
    for instance in &study.instances {
        let answer = orthanc.post("/instances", &instance.bytes).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.json().unwrap()["ID"].as_str().unwrap().to_owned();
        let file = orthanc.get(&format!("/instances/{id}/file")).unwrap();
        assert!(file.body == instance.bytes, "Orthanc gives back other bytes");
    }
    let counts = orthanc.get("/statistics").unwrap().json().unwrap();
    assert_eq!((&counts["CountStudies"], &counts["CountSeries"]), (&json!(1), &json!(2)));
    assert_eq!(counts["CountInstances"], 6);

    assert_eq!(orthanc.get("/plugins/dicom-web").unwrap().json().unwrap()["ID"], "dicom-web");
    assert_eq!(orthanc.get("/dicom-web/servers").unwrap().json().unwrap(), json!([]));
    assert_eq!(orthanc.get("/nonsense").unwrap().status, 404);
}

#[test]
fn stopping_gives_exit_code_and_whole_log() {
    let orthanc = Orthanc::builder().argument("--verbose").start().unwrap();
    assert!(orthanc.is_running());
    assert!(orthanc.threads().unwrap().len() > 1);
    let stopped = orthanc.stop().unwrap();
    assert_eq!((stopped.code(), stopped.signal()), (Some(0), None));
    assert!(!orthanc.is_running());
    assert!(orthanc.log().contains("Orthanc has stopped"), "{}", orthanc.log());
}

#[test]
fn dropping_kills_and_removes_everything() {
    let orthanc = Orthanc::builder().start().unwrap();
    let process = format!("/proc/{}", orthanc.pid());
    let folder = orthanc.work_dir().to_owned();
    assert!(Path::new(&process).exists() && folder.join("storage").exists());
    drop(orthanc);
    assert!(!Path::new(&process).exists() && !folder.exists());
}

#[test]
fn an_orthanc_outlives_the_thread_that_started_it_but_not_its_owner() {
    let orthanc = std::thread::spawn(|| Orthanc::builder().start().unwrap()).join().unwrap();
    assert_eq!(orthanc.get("/system").unwrap().status, 200);
}

#[test]
fn its_clock_steps_while_it_runs() {
    let orthanc = Orthanc::builder().clock_of_its_own().unwrap().start().unwrap();
    // As `20260228T235959`.
    let year = || orthanc.get("/tools/now").unwrap().text().get(..4).unwrap().parse::<i64>().unwrap();
    let before = year();
    for days in [400, -400] {
        orthanc.set_clock_offset(days * 86_400).unwrap();
        assert_eq!((year() - before).signum(), days.signum());
    }
    // Waits that are under way are not lengthened by it.
    assert_eq!(orthanc.stop().unwrap().code(), Some(0));
}

#[test]
fn its_name_servers_are_its_own() {
    let machine = std::fs::read("/etc/resolv.conf").ok();
    let orthanc = Orthanc::builder().resolv_conf("nameserver 192.0.2.1\n").start().unwrap();
    // As the process sees it.
    let its_root = Path::new("/proc").join(orthanc.pid().to_string()).join("root");
    let seen = || std::fs::read_to_string(its_root.join("etc/resolv.conf")).unwrap();
    assert_eq!(seen(), "nameserver 192.0.2.1\n");
    for text in ["nameserver 192.0.2.2\noptions ndots:1\n", "#\n", ""] {
        orthanc.set_resolv_conf(text).unwrap();
        assert_eq!(seen(), text);
    }
    assert_eq!(std::fs::read("/etc/resolv.conf").ok(), machine);
    assert_eq!(orthanc.stop().unwrap().code(), Some(0));

    let other = Orthanc::builder().start().unwrap();
    assert!(matches!(other.set_resolv_conf(""), Err(Error::Io { .. })));
}

#[test]
fn a_failed_start_tells_the_log() {
    let error = Orthanc::builder().configuration_text("broken.json", "{ nonsense").start().unwrap_err();
    assert!(matches!(&error, Error::Ended { log, .. } if log.contains("broken.json")), "{error}");
}

#[test]
fn configuration_files_are_used_as_they_stand() {
    let texts = [
        ("a.json", "// A comment\n{ \"Name\" : \"Own\", /* more */ \"Dictionary\" : {}, }"),
        ("b.json", "{ \"HttpVerbose\" : false, \"DicomWeb\" : { \"Root\" : \"/web/\" } // end\n}"),
    ];
    let mut builder =
        Orthanc::builder().dicomweb().configuration(&json!({"Name": "Not this", "HttpTimeout": 9}));
    for (name, text) in texts {
        builder = builder.configuration_text(name, text);
    }
    let orthanc = builder.start().unwrap();
    assert_eq!(orthanc.get("/system").unwrap().json().unwrap()["Name"], "Own");
    assert_eq!(orthanc.get("/web/servers").unwrap().status, 200);
    for (name, text) in texts {
        assert_eq!(
            std::fs::read_to_string(orthanc.work_dir().join("configuration").join(name)).unwrap(),
            text
        );
    }
}

#[test]
fn plugins_are_found_in_a_folder() {
    let orthanc = Orthanc::builder().dicomweb().plugins_in_folder().start().unwrap();
    assert_eq!(orthanc.get("/plugins/dicom-web").unwrap().status, 200);
    assert!(orthanc.log().contains("Loading plugin(s) from: "), "{}", orthanc.log());
}

#[test]
fn the_environment_is_that_of_the_test_alone() {
    let orthanc = Orthanc::builder()
        .environment("TESTBED_NAME", "From the environment")
        .configuration(&json!({"Name": "${TESTBED_NAME}"}))
        .start()
        .unwrap();
    assert_eq!(orthanc.get("/system").unwrap().json().unwrap()["Name"], "From the environment");
    let environment = std::fs::read(format!("/proc/{}/environ", orthanc.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CARGO"));
}

#[test]
fn a_log_line_can_be_waited_for() {
    let orthanc = Orthanc::builder().argument("--verbose").start().unwrap();
    let before = orthanc.log_lines().len();
    orthanc.get("/statistics").unwrap();
    orthanc.wait_for_log_after(before, |line| line.contains("/statistics"), DEADLINE).unwrap();
    let error = orthanc.wait_for_log(|line| line.contains("never"), Duration::from_millis(10)).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
}

#[test]
#[should_panic(expected = "secret number 0")]
fn a_secret_in_the_log_fails_the_test() {
    let orthanc = Orthanc::builder().argument("--verbose").forbid_in_log(["/statistics"]).start().unwrap();
    orthanc.get("/statistics").unwrap();
    orthanc.wait_for_log(|line| line.contains("/statistics"), DEADLINE).unwrap();
}

#[test]
fn hanging_up_restarts_inside_the_process() {
    let orthanc = Orthanc::builder().start().unwrap();
    let (before, pid) = (orthanc.log_lines().len(), orthanc.pid());
    // Orthanc restarts only if its configuration is another than before.
    std::fs::write(orthanc.work_dir().join("configuration/more.json"), "{\"HttpTimeout\": 77}").unwrap();
    orthanc.hang_up().unwrap();
    orthanc.wait_for_log_after(before, |line| line.contains("Orthanc has started"), DEADLINE).unwrap();
    assert_eq!((orthanc.pid(), orthanc.is_running()), (pid, true));
}
