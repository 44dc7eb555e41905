//! The program `pkcs11-issuer`: parses the command line, runs the command, and reports the outcome in its exit code.

use std::{
    env, panic,
    process::{self, ExitCode},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use pkcs11_issuer::{
    args::{Args, Command},
    cli, telemetry,
};

/// mimalloc, because glibc's allocator cannot return a third of the heap after a start with 1 000 issuers: live blocks lie
/// between the freed ones.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time for the last lines on stderr.
const TELL_WITHIN: Duration = Duration::from_millis(100);

/// Exit code after a panic.
const PANICKED: i32 = 101;

fn main() -> ExitCode {
    end_on_panic();
    let args = match Args::parse_as_called(env::args_os().collect()) {
        Ok(args) => args,
        Err(told) => {
            // If even this cannot be printed, there is no other place to report it.
            drop(told.print());
            // clap's own code is 2. Here every failure is 1, so that scripts can tell it from a refusal (3).
            return match told.use_stderr() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            };
        }
    };
    let executed = execute(args);
    telemetry::flush(TELL_WITHIN);
    executed.unwrap_or_else(|error| {
        telemetry::print_error(error.as_ref());
        ExitCode::FAILURE
    })
}

/// Makes every panic end the process. A panic is a bug and leaves unknown state behind, so nothing may be signed after it.
/// The next process starts from the stored state. This one exits and does not abort: an abort might leave PINs in a core
/// file.
fn end_on_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // Nobody may read stderr.
        thread::spawn(|| {
            thread::sleep(TELL_WITHIN);
            process::exit(PANICKED);
        });
        tell(panic);
        process::exit(PANICKED);
    }));
}

fn execute(args: Args) -> anyhow::Result<ExitCode> {
    // Call this before the runtime starts: an existing thread would keep its rights.
    hsm::harden().context("failed to disable core dumps and new privileges")?;
    match args.command {
        Command::Run(run) => block_on(cli::run(*run))?,
        Command::Sign(sign) => return block_on(cli::sign(*sign)),
        Command::Audit(audit) => return block_on(async { cli::audit(&audit).await }),
        Command::Crl(crl) => block_on(async { cli::crl(&crl).await })?,
        Command::Doctor(args) => return block_on(async { cli::doctor(&args).await }),
        Command::Token(asked) => block_on(async { cli::token(&asked).await })?,
        Command::Certificate(asked) => {
            return block_on(async { cli::certificate(&asked).await });
        }
        Command::Key(asked) => block_on(async { cli::key(&asked).await })?,
        Command::Kubectl(command) => {
            return block_on(async { cli::kubectl(&command).await });
        }
        Command::RevokeProof(args) => print!("{}", cli::revoke_proof(&args)?),
        Command::Dev(args) => block_on(async { cli::dev(&args).await })?,
        Command::Crds => print!("{}", cli::crds(&pkcs11_issuer::api::crds())?),
        Command::Completions(args) => print!("{}", args.script()),
        Command::Man(args) => cli::man(&args)?,
        Command::Version => print!("{}", cli::version()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the command on one thread. The API server limits the throughput long before one thread does, and waking a second
/// thread costs more than it gains.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(command);
    // A name look-up may hang on its own thread; do not wait for it.
    runtime.shutdown_background();
    done
}
