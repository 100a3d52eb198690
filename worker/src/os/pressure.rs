//! Pressure: a descriptor that is ready when memory runs short, by the kernel's own measure of stalled time.

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use std::io;

/// Tasks that stood still for memory for 200 ms within two seconds, which is the window that anybody may ask for.
const TRIGGER: &[u8] = b"some 200000 2000000\0";

/// Ready once for each window of two seconds in which memory was short.
///
/// The kernel's file always counts as readable; only what is urgent is news, so it is waited for by a set that asks for that.
#[derive(Debug)]
pub struct Pressure {
    file: OwnedFd,
    set: OwnedFd,
}

impl Pressure {
    /// Of this process's control group, or else of the machine.
    ///
    /// # Errors
    /// What the kernel said: it does not measure pressure, or does not tell everybody.
    pub fn open() -> io::Result<Self> {
        let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = file_of(&group).and_then(|path| Self::open_at(&path).ok());
        own.map_or_else(|| Self::open_at("/proc/pressure/memory"), Ok)
    }

    fn open_at(path: &str) -> io::Result<Self> {
        let file = open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, TRIGGER)?;
        Self::of(file)
    }

    fn of(file: OwnedFd) -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&set, &file, epoll::EventData::new_u64(0), epoll::EventFlags::PRI)?;
        Ok(Self { file, set })
    }

    /// True if it will never say anything again: its control group is gone.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let mut polled = [PollFd::new(&self.file, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        poll(&mut polled, Some(&now)).is_err() || polled[0].revents().intersects(broken)
    }
}

impl AsFd for Pressure {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

/// The file of the control group that `/proc/self/cgroup` names, of the second version.
fn file_of(group: &str) -> Option<String> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{}/memory.pressure", path.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::poll;
    use rustix::net::{SendFlags, send};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_is_urgent_wakes_the_sleeper_and_what_is_gone_is_broken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        // A socket's urgent byte is told as the kernel tells of pressure: neither is there to be read.
        let pressure = Pressure::of(receiver.into()).unwrap();
        assert_eq!(poll::wait(&[pressure.as_fd()], Some(0)).unwrap(), [false]);
        send(&sender, b"!", SendFlags::OOB).unwrap();
        assert_eq!(poll::wait(&[pressure.as_fd()], Some(10_000)).unwrap(), [true]);
        assert!(!pressure.is_broken());
        // Both directions are shut: nothing can come any more.
        sender.shutdown(std::net::Shutdown::Both).unwrap();
        drop(sender);
        rustix::net::shutdown(&pressure.file, rustix::net::Shutdown::Both).unwrap();
        assert!(pressure.is_broken());
    }

    #[test]
    fn the_own_group_is_asked_first() {
        let file = "/sys/fs/cgroup/user.slice/a/memory.pressure";
        assert_eq!(file_of("4:memory:/x\n0::/user.slice/a\n").as_deref(), Some(file));
        assert_eq!(file_of("0::/\n").as_deref(), Some("/sys/fs/cgroup/memory.pressure"));
        assert_eq!(file_of("4:memory:/x\n"), None);
        // Where the kernel measures pressure and tells it, there is one.
        match Pressure::open() {
            Ok(pressure) => {
                assert!(!pressure.is_broken());
                // Ready for every look would keep a reactor busy; a window with pressure in it is told once.
                let looks = (0..100).filter(|_| poll::wait(&[pressure.as_fd()], Some(0)).unwrap()[0]);
                assert!(looks.count() <= 2);
            }
            Err(error) => println!("no pressure is told here: {error}"),
        }
    }
}
