//! The program `pkcs11-issuer`: parses the command line, runs the command, and says in its exit code how it went.

use std::{
    panic,
    process::{self, ExitCode},
};

use anyhow::Context as _;
use clap::Parser as _;
use pkcs11_issuer::{
    args::{Args, Command},
    cli,
    telemetry::Chain,
};

fn main() -> ExitCode {
    end_on_panic();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(told) => {
            // Nobody is left to tell when even this cannot be printed.
            drop(told.print());
            // clap would say 2; here every failure is 1, so that scripts know a refusal (3) for certain.
            return match told.use_stderr() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            };
        }
    };
    execute(args).unwrap_or_else(|error| {
        eprintln!("error: {}", Chain(error.as_ref()));
        ExitCode::FAILURE
    })
}

/// A panic is a bug of ours, and what it leaves behind nobody has thought of: nothing is signed after it. The process
/// ends, and its successor begins with what is stored. It does not abort, which might leave PINs in a core file.
fn end_on_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        process::exit(101);
    }));
}

fn execute(args: Args) -> anyhow::Result<ExitCode> {
    // Before the runtime: a thread that is there already would keep its rights.
    hsm::harden().context("failed to give up core dumps and new privileges")?;
    match args.command {
        Command::Run(run) => block_on(cli::run(*run))?,
        Command::Sign(sign) => return block_on(cli::sign(*sign)),
        Command::Crds => print!("{}", cli::crds(&pkcs11_issuer::api::crds())?),
        Command::Version => print!("{}", cli::version()),
    }
    Ok(ExitCode::SUCCESS)
}

/// One thread: the API server is the limit long before it, and waking a second one costs more than it does.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(command);
    // The look-up of a name may hang in a thread of its own; nobody waits for that one.
    runtime.shutdown_background();
    done
}
