//! What a jailed worker finds in itself: descriptors, mappings, memory to be had, and its own segment to scribble on.
// UNSAFETY: hostile code makes raw system calls.
#![expect(unsafe_code, reason = "what hostile code does is what is tried")]

use super::expected::{Attempt, Outcome};
use gorun_shm::sync::{AtomicU64, Ordering};

/// Attempts on memory.
#[must_use]
pub fn all() -> Vec<Attempt> {
    vec![
        Attempt {
            outcome: Outcome::Errno(libc::ENOMEM),
            ..Attempt::denied("10 GB, asked for politely", |_| {
                let mut bytes = Vec::<u8>::new();
                bytes.try_reserve_exact(10 << 30).map_or(libc::ENOMEM, |()| 0)
            })
        },
        Attempt {
            outcome: Outcome::Signal(libc::SIGABRT),
            ..Attempt::denied("10 GB", |_| {
                std::hint::black_box(vec![1_u8; 10 << 30]);
                0
            })
        },
        Attempt {
            outcome: Outcome::Signal(libc::SIGABRT),
            ..Attempt::denied("ever more", |_| {
                loop {
                    std::mem::forget(std::hint::black_box(vec![1_u8; 16 << 20]));
                }
            })
        },
        Attempt::denied("executable memory", |_| map(libc::PROT_READ | libc::PROT_EXEC)),
        Attempt::denied("writable and executable memory", |_| {
            map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)
        }),
        Attempt {
            outcome: Outcome::Signal(libc::SIGSEGV),
            ..Attempt::denied("a stack without end", |depth| deeper(u64::from(depth.cast_unsigned())))
        },
    ]
}

/// Maps a page with this protection; gives 0 or the error number.
#[must_use]
pub fn map(protection: i32) -> i32 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh page wherever the kernel likes, of which nobody knows.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED { std::io::Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}

#[expect(unconditional_recursion, reason = "a stack that ends is what is tested")]
fn deeper(depth: u64) -> i32 {
    let frame = std::hint::black_box([depth; 64]);
    deeper(depth + 1) + i32::try_from(frame[7] % 2).unwrap_or(0)
}

/// Numbers of the open descriptors, and of those which are the null device.
#[must_use]
pub fn descriptors() -> (Vec<i32>, Vec<i32>) {
    // SAFETY: the call only asks whether a number is in use.
    let open = (0..4096).filter(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } != -1);
    let open: Vec<i32> = open.collect();
    let null = open.iter().copied().filter(|number| is_null(*number)).collect();
    (open, null)
}

fn is_null(number: i32) -> bool {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // Not the C library's: that asks by path, which a jail denies.
    // SAFETY: room for one record; the number is open or the call fails.
    let code = unsafe { libc::syscall(libc::SYS_fstat, number, stat.as_mut_ptr()) };
    // SAFETY: zeroed bytes are a valid record, and the call may have filled it.
    let stat = unsafe { stat.assume_init() };
    code == 0 && stat.st_rdev == libc::makedev(1, 3)
}

/// Every shared mapping of this process, as the kernel lists it: where it begins and ends, and its name. Only where the
/// jail allows reading of `/proc/self/maps`.
#[must_use]
pub fn shared_mappings() -> Vec<(usize, usize, String)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let shared = maps
        .lines()
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|rights| rights.ends_with('s')));
    shared
        .filter_map(|line| {
            let (start, end) = line.split_whitespace().next()?.split_once('-')?;
            let name = line.split_whitespace().nth(5).unwrap_or("").to_owned();
            Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?, name))
        })
        .collect()
}

/// Writes nonsense over the first megabytes of every shared mapping, for as long as nobody stops it.
pub fn scribble(seed: u64) -> u64 {
    const MOST: usize = 2 << 20;
    let mut number = seed | 1;
    let mappings = shared_mappings();
    loop {
        for (start, end, _) in &mappings {
            let words = (end - start).min(MOST) / 8;
            for _ in 0..1000 {
                number ^= number << 13;
                number ^= number >> 7;
                number ^= number << 17;
                let place = start + usize::try_from(number).unwrap_or(0) % words * 8;
                let word = std::ptr::with_exposed_provenance::<AtomicU64>(place);
                // SAFETY: an aligned word of a mapping of this process, which other processes read as atomics too.
                let word = unsafe { &*word };
                word.store(number % 5, Ordering::Relaxed); // Relaxed: nonsense needs no order.
            }
        }
    }
}
