//! Child processes that never outlive their owner.
//!
//! * Dropping a [`Process`] kills it and everything that it started, and waits until it is gone.
//! * When the owner itself is killed, the kernel kills the child, because the child is started through util-linux's
//!   `setpriv --pdeathsig KILL`. That signal is sent when the *thread* that started the child ends, so all children are
//!   started by one thread that lives as long as this process. A thread of a tokio runtime may end earlier.
//!
//! Each child leads its own process group, so that it does not get the terminal's Ctrl-C and its own children can be
//! killed with it.

use std::ffi::OsString;

use parking_lot::{Mutex, MutexGuard};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::poll::until;

/// Number of lines of a log that an error message quotes.
const TAIL: usize = 30;

/// A program with its arguments and environment.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    separate_stdout: bool,
}

impl Program {
    /// Names a program without arguments. A bare name is looked up in `PATH`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            envs: Vec::new(),
            separate_stdout: false,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds or replaces an environment variable; the others are inherited.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Keeps standard output apart from the log; see [`Process::stdout`].
    #[must_use]
    pub fn separate_stdout(mut self) -> Self {
        self.separate_stdout = true;
        self
    }
}

/// A child process, which can be started again after its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: Program,
    log: PathBuf,
    stdout: PathBuf,
    run: Mutex<Run>,
}

/// One run of the program, with the lengths of its files when it began.
#[derive(Debug)]
struct Run {
    child: Child,
    log_start: usize,
    stdout_start: usize,
}

impl Process {
    /// Starts a program. It appends its output to `folder/name.log`, and with [`Program::separate_stdout`] its standard
    /// output to `folder/name.out`.
    ///
    /// # Errors
    ///
    /// When a file cannot be opened, or `setpriv` cannot be started. A program that does not exist is reported by
    /// `setpriv` in the log, with exit code 127.
    pub fn start(name: &str, program: Program, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let stdout = if program.separate_stdout {
            folder.join(format!("{name}.out"))
        } else {
            log.clone()
        };
        let run = Mutex::new(Run::start(name, &program, &log, &stdout)?);
        Ok(Self {
            name: name.to_owned(),
            program,
            log,
            stdout,
            run,
        })
    }

    /// Starts the program again with the same arguments and files. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    pub fn restart(&self) -> Result<()> {
        self.restart_with(&[])
    }

    /// Starts the program again, with further arguments for this run only. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    pub fn restart_with(&self, more: &[&str]) -> Result<()> {
        self.kill();
        let program = self.program.clone().args(more.iter().copied());
        *self.run() = Run::start(&self.name, &program, &self.log, &self.stdout)?;
        Ok(())
    }

    /// Returns the process id. `setpriv` executes the program in its own place, so the program has the same id.
    pub fn id(&self) -> u32 {
        self.run().child.id()
    }

    /// Returns the path of the log: standard error, and standard output unless it is kept apart.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Returns the whole log since the last start.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String> {
        let start = self.run().log_start;
        read_from(&self.log, start)
    }

    /// Returns the whole standard output since the last start.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn stdout(&self) -> Result<String> {
        let start = self.run().stdout_start;
        read_from(&self.stdout, start)
    }

    /// Waits until a complete line of the log or of standard output since the last start contains `text`, and returns the
    /// first such line.
    ///
    /// # Errors
    ///
    /// When the process ends first, or after the timeout; the message quotes the end of the log.
    pub async fn line(&self, text: &str, timeout: Duration) -> Result<String> {
        let what = format!("a line with {text:?} in the output of {}", self.name);
        until(&what, timeout, async || {
            // Check the exit status before reading the files, so that the last line is not missed.
            let ended = self.exit_status()?;
            for written in [self.log()?, self.stdout()?] {
                let whole = written.rsplit_once('\n').map_or("", |(whole, _)| whole);
                if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                    return Ok(Some(line.to_owned()));
                }
            }
            if let Some(status) = ended {
                bail!(
                    "{} ended with {status} before it wrote a line with {text:?}",
                    self.name
                );
            }
            Ok(None)
        })
        .await
        .map_err(|error| anyhow!("{error:#}; {}", self.tail()))
    }

    /// Returns the exit status, or `None` while the process runs.
    ///
    /// # Errors
    ///
    /// When the kernel does not return the status.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        self.run()
            .child
            .try_wait()
            .with_context(|| format!("ask for the exit status of {}", self.name))
    }

    /// Fails if the process has ended; the message quotes the end of its log.
    ///
    /// # Errors
    ///
    /// When the process has ended.
    pub fn check_running(&self) -> Result<()> {
        if let Some(status) = self.exit_status()? {
            bail!("{} ended with {status}; {}", self.name, self.tail());
        }
        Ok(())
    }

    /// Waits until the process ends and returns its exit status.
    ///
    /// # Errors
    ///
    /// After the timeout.
    pub async fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        until(&format!("the end of {}", self.name), timeout, async || {
            self.exit_status()
        })
        .await
        .map_err(|error| anyhow!("{error:#}; {}", self.tail()))
    }

    /// Sends a signal to the process but not to its children. `Signal::STOP` freezes it, `Signal::CONT` resumes it.
    ///
    /// # Errors
    ///
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // The child is not reaped while the lock is held, so the id still belongs to it.
        let mut run = self.run();
        if let Some(status) = run.child.try_wait()? {
            bail!(
                "{} has ended with {status} and cannot be sent a signal",
                self.name
            );
        }
        let pid = Pid::from_child(&run.child);
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to {}", self.name))?;
        // SIGSTOP takes a moment to stop every thread.
        while signal == Signal::STOP && runs(pid) {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Sends SIGTERM and waits until the process ends.
    ///
    /// # Errors
    ///
    /// When the process has already ended, or does not end in time.
    pub async fn terminate(&self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(timeout).await
    }

    /// Kills the process and everything that it has started, and waits until it is gone. Does nothing if it has ended.
    pub fn kill(&self) {
        let mut run = self.run();
        if matches!(run.child.try_wait(), Ok(None)) {
            let group = Pid::from_child(&run.child);
            if kill_process_group(group, Signal::KILL).is_ok() || run.child.kill().is_ok() {
                // The child has been killed and is not yet reaped, so this returns; its status does not matter.
                drop(run.child.wait());
            }
        }
    }

    fn tail(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(TAIL)..)
            .unwrap_or_default();
        format!(
            "its log {} ends with:\n{}",
            self.log.display(),
            tail.join("\n")
        )
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Run {
    fn start(name: &str, program: &Program, log: &Path, stdout: &Path) -> Result<Self> {
        let append = |path: &Path| -> Result<(File, usize)> {
            let file = File::options().create(true).append(true).open(path);
            let file = file.with_context(|| format!("open {}", path.display()))?;
            let length = file
                .metadata()?
                .len()
                .try_into()
                .context("the file is too long")?;
            Ok((file, length))
        };
        let (log, log_start) = append(log)?;
        let (stdout, stdout_start) = append(stdout)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program.path)
            .args(&program.args)
            .envs(program.envs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            .process_group(0);
        let child = spawn_from_lasting_thread(command)
            .with_context(|| format!("start {name} through setpriv, of the package util-linux"))?;
        Ok(Self {
            child,
            log_start,
            stdout_start,
        })
    }
}

fn read_from(path: &Path, start: usize) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned())
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts the command from the one thread that lives as long as this process.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                // The send fails only if the caller is gone; kill the child then.
                if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
                    drop(child.kill());
                    drop(child.wait());
                }
            }
        });
        orders
    });
    let gone = |_| io::Error::other("the thread that starts child processes has ended");
    let (reply, answer) = mpsc::channel();
    STARTER.send((command, reply)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}

/// Whether any thread of the process still runs, which means that it is neither stopped nor gone (proc_pid_stat(5)).
fn runs(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    threads.into_iter().flatten().flatten().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with(['T', 'Z', 'X']))
    })
}
