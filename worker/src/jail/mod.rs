//! Jail: what a worker for hostile code or hostile input may still do, and why it cannot have a jail.
//!
//! A profile is data. It travels to the zygote with the order to fork, and the worker puts it on itself, after
//! the fork, before any thread, before its first task: `os::jail`. What it maps and holds by then is its own
//! segment and nothing of another worker's.
//!
//! | what a task tries | `compute` | `read_only(paths)` | how it is denied |
//! |---|---|---|---|
//! | open a file | denied | inside of the paths, for reading | filter: EPERM; Landlock: EACCES |
//! | make, change, remove a file | denied | denied | filter: EPERM; with `allow_write` Landlock: EACCES |
//! | name, size and age of a file (`stat`) | denied | **allowed, everywhere** | filter: EPERM |
//! | socket, connect, bind, datagrams | denied | denied | filter: EPERM |
//! | fork, a process of its own | denied | denied | filter: EPERM |
//! | a thread | denied | denied | filter: EPERM; allowed by `allow_threads` |
//! | execute a program | denied | denied | filter: the worker dies by SIGSYS |
//! | ptrace, another process's memory | denied | denied | filter: the worker dies by SIGSYS |
//! | signal another process | denied | denied | filter: EPERM, also by way of `fcntl(F_SETOWN)` |
//! | mount, namespaces, modules, keys, bpf | denied | denied | filter: the worker dies by SIGSYS |
//! | `io_uring`, userfaultfd, perf events | denied | denied | filter: EPERM |
//! | shared memory, message queues, memfd | denied | denied | filter: EPERM |
//! | memory that is writable and then executable | denied | denied | filter: EPERM |
//! | descriptors of the host's | denied | denied | closed; standard ones are `/dev/null` |
//! | the host's environment | denied | denied | not passed on, but for what the loader and locales need |
//! | a core file, more than 1 GiB of memory, 64 descriptors | denied | denied | limits of the process |
//!
//! Any other system call that is not on the list in `os::jail::calls` is denied with EPERM too: a library that
//! tries something sees an error and can go on without. Only calls that no library makes by the way end the
//! worker; the evidence of that death names the filter and the call's number. The handler of SIGSYS cannot be
//! replaced inside a jail.
//!
//! **Not protected against**: flaws of the kernel in the calls that are left; what can be learned from timing and
//! shared caches; a processor kept busy, unless the task has a deadline or the profile a `cpu_time`; nonsense as a
//! result, which is decoded with the same checks as any other but means what the task wanted it to mean; a worker
//! that served a hostile task and serves the next, whose input it then sees, or that says it has ended a task and runs
//! on in vain until the next one's deadline: that is what `fresh` is for. All workers
//! of one runtime's jail share one layout of addresses.

mod profile;
mod refusal;

pub use profile::Jail;
pub(crate) use profile::PROFILE_BYTES_MAX;
pub use refusal::{JailPart, JailRefusal};
