//! The program `pkcs11-issuer`: parses the command line, runs the command, and says in its exit code how it went.

use std::process::ExitCode;

use clap::Parser as _;
use pkcs11_issuer::{
    args::{Args, Command},
    cli,
    telemetry::Chain,
};

fn main() -> ExitCode {
    match execute(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn execute(args: Args) -> anyhow::Result<()> {
    match args.command {
        // One thread: the API server is the limit long before it, and waking a second one costs more than it does.
        Command::Run(run) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(cli::run(*run)),
        Command::Crds => {
            print!("{}", cli::crds(&pkcs11_issuer::api::crds())?);
            Ok(())
        }
        Command::Version => {
            print!("{}", cli::version());
            Ok(())
        }
    }
}
