//! A gate at which tasks wait until the test opens it: the test decides what runs when.

use gorun_shm::sync::{AtomicU32, Ordering};
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// The test's side.
#[derive(Debug)]
pub struct Gate {
    name: String,
    listener: UnixListener,
}

/// A task that stands at the gate; dropping this lets it go on.
#[derive(Debug)]
pub struct Standing(#[expect(dead_code, reason = "its end of life is the signal")] UnixStream);

impl Gate {
    /// A closed gate.
    ///
    /// # Panics
    /// If the kernel refuses a socket.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: any different number will do.
        let name = format!("gorun-test-gate-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let listener = UnixListener::bind_addr(&address(&name)).expect("listen under an abstract name");
        Self { name, listener }
    }

    /// What a task passes to [`stand_at`].
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Waits until a task stands at the gate.
    ///
    /// # Panics
    /// If the kernel refuses a descriptor.
    #[must_use]
    pub fn await_task(&self) -> Standing {
        Standing(self.listener.accept().expect("accept a task").0)
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits, in a task, until the test opens the gate or is gone.
pub fn stand_at(name: &str) {
    if let Ok(mut stream) = UnixStream::connect_addr(&address(name)) {
        // Ends at the end of file, which is the signal.
        let _ = stream.read(&mut [0_u8; 1]);
    }
}

/// Tells the test, in a task, that the task has come this far, and goes on.
pub fn pass(name: &str) {
    drop(UnixStream::connect_addr(&address(name)));
}

/// [`stand_at`] as a task's function.
pub fn wait(name: String) {
    stand_at(&name);
}

fn address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).expect("a short name")
}
