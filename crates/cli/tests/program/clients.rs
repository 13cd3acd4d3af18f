//! DICOMweb clients that were not written here, through `orthanc-gcp gateway`: whatever Google does, they get what they sent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use google_emulator::{Answer, Effect, Fault, Route};
use orthanc_testbed::{Ct, Instance, Interpreter, Study, Syntax, assert_no_secret, study};
use serde_json::{Value, json};

use crate::{serving::Serving, stage::Stage};

const REQUIREMENTS: &str = include_str!("../../../google-emulator/tests/requirements.txt");
const PACKAGE: &str = include_str!("clients/package.json");
const LOCK: &str = include_str!("clients/package-lock.json");

#[test]
fn dicomweb_client_of_python() {
    let stage = Stage::new();
    python(&stage);
}

#[test]
fn dicomweb_client_of_python_while_google_fails() {
    let stage = Stage::new();
    misbehave(&stage);
    python(&stage);
    assert_struck(&stage, &[Route::Stow, Route::Qido, Route::Wado, Route::Delete]);
}

#[test]
fn dicomweb_client_of_javascript() {
    let stage = Stage::new();
    javascript(&stage);
}

#[test]
fn dicomweb_client_of_javascript_while_google_fails() {
    let stage = Stage::new();
    misbehave(&stage);
    javascript(&stage);
    assert_struck(&stage, &[Route::Qido, Route::Wado]);
}

/// Every fifth request of each kind fails, each time in another way.
fn misbehave(stage: &Stage) {
    let busy = |after_handling| {
        let headers = [("Retry-After".to_owned(), "0".to_owned())].into();
        Effect::Answer(Answer { status: 503, headers, body: "{}".to_owned(), after_handling })
    };
    let reset = |after_bytes| Effect::Reset { after_bytes };
    let faults = stage.emulator.faults();
    faults.add(Fault::in_turn(Route::Stow, [busy(false), reset(0), busy(true), reset(5_000)]).every(5));
    faults.add(Fault::in_turn(Route::Delete, [busy(true), reset(0), busy(false)]).every(2));
    for route in [Route::Qido, Route::Wado] {
        faults.add(Fault::in_turn(route, [reset(0), busy(false)]).every(5));
    }
}

/// Some requests of each kind got no answer, or a bad one.
fn assert_struck(stage: &Stage, routes: &[Route]) {
    let seen = stage.emulator.requests();
    for route in routes {
        let of = seen.iter().filter(|request| request.route == *route);
        let struck = of.filter(|request| request.status.is_none_or(|status| status == 503)).count();
        assert_ne!(struck, 0, "{route:?}");
    }
}

fn python(stage: &Stage) {
    let python = Interpreter::python(&made("dicomweb-client-python"), REQUIREMENTS).unwrap();
    // Compressed and not; what the default transfer syntax changes; one that is more than a batch; small ones.
    let mixed = study::ct(&Ct::default()).unwrap();
    let mixed = (0..).zip(&mixed.instances).map(|(position, instance)| {
        let syntaxes = [Syntax::Explicit, Syntax::Implicit, Syntax::Jpeg];
        instance.in_syntax(syntaxes[position % syntaxes.len()]).unwrap()
    });
    let implicit = study::ct(&Ct { seed: 2, ..Ct::default() }).unwrap();
    let implicit = implicit.instances.iter().map(|instance| instance.in_syntax(Syntax::Implicit).unwrap());
    let large = study::ct(&Ct { seed: 3, instances: 6, rows: 512, columns: 512, ..Ct::default() }).unwrap();
    let small = |seed| study::ct(&Ct { seed, ..Ct::default() }).unwrap().instances;
    let studies = [mixed.collect(), implicit.collect(), large.instances, small(4), small(5)];
    let folders = (0..).zip(&studies).map(|(number, instances): (u8, &Vec<Instance>)| {
        let folder = stage.path(&format!("study-{number}"));
        write(&folder, instances);
        folder
    });
    let folders: Vec<PathBuf> = folders.collect();
    serve(
        stage,
        &python,
        "client.py",
        |gateway| json!({"gateway": gateway, "emulator": stage.emulator.http_url(), "studies": folders}),
    );
}

fn javascript(stage: &Stage) {
    let node = Interpreter::node(&made("dicomweb-client-javascript"), PACKAGE, LOCK).unwrap();
    let Study { uid, instances, .. } = study::ct(&Ct::default()).unwrap();
    let paths = write(&stage.path("study"), &instances);
    let files: Vec<Value> = paths
        .iter()
        .zip(&instances)
        .map(|(path, instance)| {
            json!({"path": path, "study": uid, "series": instance.series_uid, "instance": instance.uid})
        })
        .collect();
    serve(stage, &node, "client.js", |gateway| json!({"gateway": gateway, "files": files}));
    assert_eq!(stage.emulator.instances().len(), instances.len());
}

/// Runs a script against the gateway, which then ends well.
fn serve(stage: &Stage, interpreter: &Interpreter, script: &str, argument: impl FnOnce(&str) -> Value) {
    let serving = Serving::start(&stage.configuration(), &["--verbose"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/clients").join(script);
    let argument = argument(&format!("http://{}/my-google", serving.address)).to_string();
    let ran = interpreter.run(&script, &argument);
    let (code, said) = serving.end();
    ran.unwrap_or_else(|error| panic!("{error}\nThe gateway said:\n{said}"));
    assert_eq!(code, Some(0), "{said}");
    assert_no_secret(&said, &stage.emulator.secrets());
}

/// Writes each instance into a file, named in their order.
fn write(folder: &Path, instances: &[Instance]) -> Vec<PathBuf> {
    fs::create_dir(folder).unwrap();
    let write = |(number, instance): (u32, &Instance)| {
        let path = folder.join(format!("{number:04}.dcm"));
        fs::write(&path, &instance.bytes).unwrap();
        path
    };
    (0..).zip(instances).map(write).collect()
}

/// A folder that outlives the test.
fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
