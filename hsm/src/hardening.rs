//! What a process gives up that handles a PIN.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Gives up core dumps, being looked into by other processes of the same user, and privileges that a program could gain by
/// `execve`. Children inherit the first and the last.
///
/// To be called before there is a second thread, for which the last would not hold. Afterwards the files in
/// `/proc/self` belong to root, so that those which only their owner may read, such as `environ`, are closed to a process
/// of another user, itself included.
///
/// # Errors
/// When the kernel refuses one of them.
pub fn harden() -> io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    // Also where the core goes to a program, which the limit does not bind (core(5)).
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

    /// Of this test's own process, to whose other tests it makes no difference.
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
