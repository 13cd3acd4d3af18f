//! Python and JavaScript clients that were not written here, with the packages that a test pins.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// An interpreter with packages, in a folder of its own that is made once and used again.
#[derive(Clone, Debug)]
pub struct Interpreter {
    program: PathBuf,
    /// A variable of its environment: where its packages are, if it has to be told.
    variable: Option<(&'static str, PathBuf)>,
}

impl Interpreter {
    /// Python 3 in a virtual environment at `folder` with the packages of a requirements file, which is given as text.
    /// Whatever else is in the folder goes; so one folder belongs to one file.
    ///
    /// # Errors
    /// [`Error::Io`] for the folder, [`Error::Client`] if Python, its `venv` or a package cannot be had.
    pub fn python(folder: &Path, requirements: &str) -> Result<Self, Error> {
        let program = folder.join("bin/python");
        once(folder, requirements, || {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
            let wanted = write(folder, "requirements.txt", requirements)?;
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
            run(Command::new(&program).args(pip).arg(wanted)).map(drop)
        })?;
        Ok(Self { program, variable: None })
    }

    /// Node.js with the packages of a `package.json` and its `package-lock.json`, given as text, installed at `folder`, which
    /// belongs to them. No script of a package runs.
    ///
    /// # Errors
    /// [`Error::Io`] for the folder, [`Error::Client`] if Node.js, npm or a package cannot be had.
    pub fn node(folder: &Path, package: &str, lock: &str) -> Result<Self, Error> {
        once(folder, &[package, lock].concat(), || {
            fs::create_dir_all(folder).map_err(Error::io(format!("cannot make {}", folder.display())))?;
            write(folder, "package.json", package)?;
            write(folder, "package-lock.json", lock)?;
            let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"];
            run(Command::new("npm").args(npm).current_dir(folder)).map(drop)
        })?;
        Ok(Self { program: "node".into(), variable: Some(("NODE_PATH", folder.join("node_modules"))) })
    }

    /// Runs a script with one argument to its end, and gives what it printed.
    ///
    /// # Errors
    /// [`Error::Client`] with all that it printed, if it fails.
    pub fn run(&self, script: &Path, argument: &str) -> Result<String, Error> {
        let mut command = Command::new(&self.program);
        command.envs(self.variable.clone());
        run(command.arg(script).arg(argument))
    }
}

/// Lets `make` fill `folder` unless that was done already for the same `wanted`. Of several processes one does, and the others
/// wait for it.
fn once(folder: &Path, wanted: &str, make: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let path = folder.with_extension("lock");
    let failed = |source| Error::io(format!("cannot lock {}", path.display()))(source);
    // Locked until it is closed, also by a process that dies.
    let lock = File::create(&path).map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    // What is there from now on is neither the old nor the new.
    match fs::remove_file(&stamp) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(format!("cannot remove {}", stamp.display()))(error));
        }
        _ => {}
    }
    make()?;
    // Last, and at once or not at all, so that an interrupted installation is begun again.
    let unfinished = write(folder, "unfinished.txt", wanted)?;
    fs::rename(unfinished, &stamp).map_err(Error::io(format!("cannot write {}", stamp.display())))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(Error::io(format!("cannot write {}", path.display())))?;
    Ok(path)
}

fn run(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| Error::Client {
        program: program.clone(),
        said: format!("{error}; install python3, python3-venv, nodejs and npm"),
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    Err(Error::Client { program, said })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn one_makes_it_and_the_others_wait() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("made");
        let (at_it, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let make = |wanted: &str| {
            once(&folder, wanted, || {
                assert_eq!(at_it.fetch_add(1, Ordering::SeqCst), 0);
                fs::create_dir_all(&folder).unwrap();
                thread::yield_now();
                done.fetch_add(1, Ordering::SeqCst);
                at_it.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            })
            .unwrap();
        };
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| make("one")))));
        assert_eq!(done.load(Ordering::SeqCst), 1);
        make("another");
        make("another");
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_was_interrupted_is_begun_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("made");
        let interrupted = once(&folder, "one", || {
            fs::create_dir_all(&folder).unwrap();
            Err(Error::Dicom("interrupted".to_owned()))
        });
        assert!(interrupted.is_err());
        let mut begun = false;
        once(&folder, "one", || {
            begun = true;
            Ok(())
        })
        .unwrap();
        assert!(begun);
    }

    #[test]
    fn what_fails_says_why() {
        let error = run(Command::new("sh").args(["-c", "echo first; echo second >&2; exit 3"])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("first") && error.contains("second") && error.contains('3'), "{error}");
        assert!(run(&mut Command::new("no-such-program")).unwrap_err().to_string().contains("install"));
    }
}
