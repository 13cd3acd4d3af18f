//! Google's own client library and a DICOMweb client, neither written here, against the emulator. Needs Python 3 with `venv`
//! and pip; without them it fails.

use google_emulator::{Emulator, SourceCredentials, SubjectForm, SubjectSource};
use orthanc_testbed::Interpreter;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

const REQUIREMENTS: &str = include_str!("requirements.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_clients_work_and_are_refused_when_they_should_be() {
        let python = python();
        let emulator = Emulator::builder().start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = emulator.write_files(folder.path(), &[]).unwrap();
        let place = json!({
            "http": emulator.http_url(),
            "https": emulator.https_url(),
            "store": emulator.store().to_string(),
            "ca": files.ca,
            "service_account": files.service_account,
            "pkcs1": files.service_account_pkcs1,
            "user": files.authorized_user,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles.py");
        python.run(&script, &place.to_string()).unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn google_auth_gets_tokens_from_every_source() {
        let python = python();
        let emulator = Emulator::builder().start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let place = json!({
            "http": emulator.http_url(),
            "https": emulator.https_url(),
            "store": emulator.store().to_string(),
            "ca": emulator.ca_file(),
            "metadata_host": emulator.metadata_host(),
            "machine": emulator.metadata_service_account(),
            "target": emulator.impersonation_target(),
            "files": credential_files(&emulator, folder.path()),
            "aws_environment": {
                "AWS_ACCESS_KEY_ID": emulator.aws_user_credentials().access_key_id,
                "AWS_SECRET_ACCESS_KEY": emulator.aws_user_credentials().secret_access_key,
                "AWS_REGION": emulator.aws_region(),
            },
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles_credentials.py");
        python.run(&script, &place.to_string()).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A credential file of every kind, by name.
    fn credential_files(emulator: &Emulator, folder: &Path) -> Value {
        let hour = Duration::from_secs(3_600);
        let subject = |form, name: &str| {
            let path = folder.join(name);
            emulator.write_subject_token(form, &path, hour).unwrap();
            path
        };
        let text = SubjectSource::TextFile(subject(SubjectForm::Text, "subject.txt"));
        let program = subject(SubjectForm::Executable, "subject.sh").display().to_string();
        let program = SubjectSource::Executable { command: program, output_file: None };
        let output = Some(subject(SubjectForm::ExecutableOutput, "output.json"));
        let output = SubjectSource::Executable { command: "/bin/false".to_owned(), output_file: output };
        let workforce = SubjectSource::WorkforceFile(subject(SubjectForm::Workforce, "workforce.txt"));
        let account = |source: &SubjectSource| emulator.external_account(source);
        let impersonated = |source| emulator.impersonated_service_account(source);
        let delegate = emulator.impersonation_delegate();
        let files = [
            ("text_file", account(&text)),
            ("json_file", account(&SubjectSource::JsonFile(subject(SubjectForm::Json, "subject.json")))),
            ("saml_file", account(&SubjectSource::SamlFile(subject(SubjectForm::Saml, "subject.saml")))),
            ("workforce_file", account(&workforce)),
            ("text_url", account(&SubjectSource::TextUrl)),
            ("json_url", account(&SubjectSource::JsonUrl)),
            ("executable", account(&program)),
            ("executable_output", account(&output)),
            ("aws", account(&SubjectSource::Aws)),
            ("text_file_impersonating", account(&text).impersonating().token_lifetime_seconds(1_800)),
            ("text_url_impersonating", account(&SubjectSource::TextUrl).impersonating()),
            ("executable_impersonating", account(&program).impersonating()),
            ("aws_impersonating", account(&SubjectSource::Aws).impersonating()),
            ("external_account_authorized_user", emulator.external_account_authorized_user()),
            ("impersonated_by_user", impersonated(SourceCredentials::AuthorizedUser)),
            ("impersonated_by_service_account", impersonated(SourceCredentials::ServiceAccount)),
            (
                "impersonated_with_delegates",
                impersonated(SourceCredentials::ServiceAccount).delegates(&[&delegate]),
            ),
        ];
        let written = files.map(|(name, file)| {
            let path = folder.join(format!("{name}.json"));
            file.write(&path).unwrap();
            (name.to_owned(), json!(path))
        });
        Value::Object(written.into_iter().collect())
    }

    /// Python with the pinned packages, which the tests of `orthanc-gcp` use too.
    fn python() -> Interpreter {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dicomweb-client-python");
        Interpreter::python(&folder, REQUIREMENTS).unwrap()
    }
}
