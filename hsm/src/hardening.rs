//! Hardening of a process that handles a PIN.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Disables core dumps, inspection by other processes of the same user, and new privileges by `execve`. Children
/// inherit the limit on core dumps and the ban on new privileges.
///
/// To be called before there is a second thread: an existing thread could still gain privileges. Afterwards the files
/// in `/proc/self` belong to root. Unless it runs as root, not even this process can then read the files that only
/// their owner may read, such as `environ`.
///
/// # Errors
/// The kernel refuses one of the three.
pub fn harden() -> io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    // Needed also because the limit does not apply when the core dump is piped to a program (core(5)).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::{
        process::{DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit},
        thread::no_new_privs,
    };

    use super::harden;

    /// Hardens this test's own process, which does not affect the other tests in it.
    #[test]
    fn a_hardened_process_has_no_core_dump_no_reader_and_no_new_privileges() {
        harden().unwrap();
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        assert_eq!(getrlimit(Resource::Core), none);
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert!(no_new_privs().unwrap());
    }
}
