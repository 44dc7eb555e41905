//! Child processes that are gone when their owner is, whatever happens.
//!
//! * Dropping a [`Process`] kills it, with all that it started, and waits until it is gone.
//! * When the owner itself is killed, the kernel kills the child: it is started through util-linux's
//!   `setpriv --pdeathsig KILL`. That signal is sent when the *thread* that started the child ends, so one thread
//!   that lives as long as this process starts all of them. A thread of a tokio runtime may end earlier.
//!
//! Each child leads a process group of its own, so that it does not get the Ctrl-C of the terminal and its own
//! children can be killed with it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::poll::until;

/// Lines of a log that an error message quotes.
const TAIL: usize = 30;

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    separate_stdout: bool,
}

impl Program {
    /// A program without arguments. A bare name is looked up in `PATH`.
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

    /// Keeps standard output apart from the log, see [`Process::stdout`].
    #[must_use]
    pub fn separate_stdout(mut self) -> Self {
        self.separate_stdout = true;
        self
    }
}

/// A child process. It is started with the value and can be started again after its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: Program,
    log: PathBuf,
    stdout: PathBuf,
    run: Mutex<Run>,
}

/// One run of the program, and what the files had when it began.
#[derive(Debug)]
struct Run {
    child: Child,
    log_start: usize,
    stdout_start: usize,
}

impl Process {
    /// Starts a program. It writes to `folder/name.log`, and with [`Program::separate_stdout`] to `folder/name.out`;
    /// both are appended to when they exist.
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

    /// Starts the program again, with the same arguments and files. Kills it first when it runs.
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    pub fn restart(&self) -> Result<()> {
        self.kill();
        *self.run() = Run::start(&self.name, &self.program, &self.log, &self.stdout)?;
        Ok(())
    }

    /// The process id, which `setpriv` hands on to the program.
    pub fn id(&self) -> u32 {
        self.run().child.id()
    }

    /// The file that has standard error, and standard output unless it is kept apart.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All of the log since the last start.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String> {
        let start = self.run().log_start;
        read_from(&self.log, start)
    }

    /// All of standard output since the last start.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn stdout(&self) -> Result<String> {
        let start = self.run().stdout_start;
        read_from(&self.stdout, start)
    }

    /// Waits until a whole line of the log or of standard output, since the last start, contains `text`, and returns
    /// the first such line.
    ///
    /// # Errors
    ///
    /// When the process ends before, or the time is over; the message has the end of the log.
    pub async fn line(&self, text: &str, timeout: Duration) -> Result<String> {
        let what = format!("a line of {} with {text:?}", self.name);
        until(&what, timeout, async || {
            // Asked before the files are read, so that what it wrote last is not missed.
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

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to tell.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        self.run()
            .child
            .try_wait()
            .with_context(|| format!("ask for the exit status of {}", self.name))
    }

    /// Fails when the process has ended; the message has the end of its log.
    ///
    /// # Errors
    ///
    /// As said.
    pub fn check_running(&self) -> Result<()> {
        if let Some(status) = self.exit_status()? {
            bail!("{} ended with {status}; {}", self.name, self.tail());
        }
        Ok(())
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    ///
    /// When the time is over.
    pub async fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        until(&format!("the end of {}", self.name), timeout, async || {
            self.exit_status()
        })
        .await
        .map_err(|error| anyhow!("{error:#}; {}", self.tail()))
    }

    /// Sends a signal to the process alone. `Signal::STOP` freezes it, `Signal::CONT` lets it go on.
    ///
    /// # Errors
    ///
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // While the lock is held the child is not reaped, so the id is still its own.
        let mut run = self.run();
        if let Some(status) = run.child.try_wait()? {
            bail!(
                "{} has ended with {status} and cannot be sent a signal",
                self.name
            );
        }
        let pid = Pid::from_child(&run.child);
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to {}", self.name))?;
        // A thread goes on until the kernel gets round to it.
        while signal == Signal::STOP && runs(pid) {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    ///
    /// When the process has ended already, or does not end in time.
    pub async fn terminate(&self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(timeout).await
    }

    /// Kills the process and what it has started, and waits until it is gone. Does nothing when it has ended.
    pub fn kill(&self) {
        let mut run = self.run();
        if matches!(run.child.try_wait(), Ok(None)) {
            let group = Pid::from_child(&run.child);
            if kill_process_group(group, Signal::KILL).is_ok() || run.child.kill().is_ok() {
                // It has been killed and is not yet reaped, so this returns, and there is nothing to learn from it.
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
            "its log, {}, ends:\n{}",
            self.log.display(),
            tail.join("\n")
        )
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Starts the command from the one thread that ends with this process and not before.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                // Nobody waits for the reply only when the caller is gone; its child is then killed below.
                if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
                    drop(child.kill());
                    drop(child.wait());
                }
            }
        });
        orders
    });
    let gone = |_| io::Error::other("the thread that starts child processes is gone");
    let (reply, answer) = mpsc::channel();
    STARTER.send((command, reply)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}

/// Whether a thread of the process is neither stopped nor gone (proc_pid_stat(5)).
fn runs(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    threads.into_iter().flatten().flatten().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with(['T', 'Z', 'X']))
    })
}
