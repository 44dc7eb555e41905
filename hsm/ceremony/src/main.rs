//! Makes CA keys and certificates on a token as an approved plan says. The only program here that can write to a token.

mod approvals;
mod approve;
mod args;
mod ceremony;
mod execute;
mod hash;
mod minutes;
mod output;
mod pin;
mod plan;
mod prepared;
mod token;
mod transcript;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use pkcs11_issuer::telemetry::print_error;

use args::{Cli, Command, Files};
use ceremony::{Ceremony, Failure};
use execute::Outcome;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // If even this cannot be printed, there is no other place to report it.
            drop(told.print());
            // As in the controller's program, every failure is 1.
            return match told.use_stderr() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            };
        }
    };
    run(cli).unwrap_or_else(|error| {
        print_error(error.as_ref());
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // The PIN must reach neither a core file nor a debugger.
    hsm::harden()?;
    match cli.command {
        Command::Plan(files) => read(files)?.show()?,
        Command::Approve(approve) => read(approve.files)?.approve(&approve.key)?,
        Command::Execute(execute) => {
            let ceremony = read(execute.files)?;
            let pin = || pin::read(execute.pin_file.as_deref(), execute.pin_fd);
            match ceremony.execute(&execute.module, pin)? {
                Outcome::Finished => println!("finished: every step of the plan is done"),
                Outcome::WaitsForPlanB(hash) => {
                    println!(
                        "the keys are made; plan B waits for approvals\nSHA-256 {}\n{}",
                        hash.hex(),
                        hash.words()
                    );
                    return Ok(ExitCode::from(3));
                }
                Outcome::WaitsForAttestations(files) => {
                    println!(
                        "the keys are made; put the vendor's attestations into the folder of --out, and run the same command again: {}",
                        files.join(", ")
                    );
                    return Ok(ExitCode::from(3));
                }
            }
        }
        Command::Verify(files) => {
            let verified = read(files)?.verify()?;
            println!(
                "verified: {} lines of transcript, approvals of both plans, and every output",
                verified.lines.len()
            );
        }
        Command::Minutes(minutes) => {
            let ceremony = read(minutes.files)?;
            let verified = ceremony.verify()?;
            print!("{}", ceremony.minutes(&verified, minutes.format));
        }
        Command::Completions(asked) => print!("{}", asked.script_of(Cli::command())),
        Command::Man(asked) => asked.pages_of(Cli::command())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(files: Files) -> Result<Ceremony, Failure> {
    Ceremony::read(&files.plan, &files.approvers, files.out)
}
