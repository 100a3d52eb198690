//! The cheap clock of the hot path: the processor's own counter, calibrated once against the system clock.
//!
//! The counter is assumed to run at one rate on all cores (constant, synchronised TSC on x86-64, the
//! generic timer on aarch64). Where neither exists, the system clock in nanoseconds stands in.
// UNSAFETY: reading the counter is an intrinsic (x86-64) or one instruction (aarch64).
#![expect(unsafe_code, reason = "the cycle counter has no safe reader")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The counter now, in ticks since an arbitrary start.
#[inline]
#[must_use]
pub fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: RDTSC exists on every x86-64 processor and user mode may run it on Linux by default.
    let ticks = unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(target_arch = "aarch64")]
    let ticks = {
        let ticks: u64;
        // SAFETY: Linux lets user mode read CNTVCT_EL0; the instruction has no other effect.
        unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        ticks
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let ticks = system_ns();
    ticks
}

/// How ticks relate to time: measured once for the machine, then shared through the segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Ticks in a second.
    pub hz: u64,
}

impl Rate {
    /// The rate on this machine, to about a percent: good for spin budgets. Reports divide two readings that
    /// lie far apart instead, see [`Rate::between`].
    ///
    /// # Blocking
    /// The first call of a process spins for about twenty microseconds.
    #[must_use]
    pub fn measured() -> Self {
        static RATE: OnceLock<Rate> = OnceLock::new();
        *RATE.get_or_init(measure)
    }

    /// The rate that two readings of both clocks give; more exact the farther apart they lie.
    ///
    /// `ticks` and `nanos` are what passed on either clock between the readings.
    #[must_use]
    pub fn between(ticks: u64, nanos: u64) -> Self {
        let hz = u128::from(ticks) * 1_000_000_000 / u128::from(nanos.max(1));
        Self { hz: u64::try_from(hz).unwrap_or(u64::MAX).max(1) }
    }

    /// `ticks` as time.
    #[must_use]
    pub fn duration(self, ticks: u64) -> Duration {
        Duration::from_nanos(self.nanos(ticks))
    }

    /// `ticks` in nanoseconds.
    #[must_use]
    pub fn nanos(self, ticks: u64) -> u64 {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.hz.max(1));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// `nanos` in ticks.
    #[must_use]
    pub fn ticks(self, nanos: u64) -> u64 {
        let ticks = u128::from(nanos) * u128::from(self.hz) / 1_000_000_000;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "this room is the clock the ban points to")]
fn measure() -> Rate {
    const SPAN: Duration = Duration::from_micros(20);
    let (start, start_ticks) = (Instant::now(), now());
    let mut elapsed = start.elapsed();
    while elapsed < SPAN {
        std::hint::spin_loop();
        elapsed = start.elapsed();
    }
    let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    Rate::between(now().wrapping_sub(start_ticks), nanos)
}

/// Nanoseconds of the system's monotonic clock: comparable between processes, exact, dearer than [`now`].
#[must_use]
pub fn system_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
