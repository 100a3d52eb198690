//! How an attempt ended, as it stands in a slot, and what marks a descriptor may carry.

/// The status byte of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The payload is the encoded result.
    Finished = 0,
    /// The payload is an encoded [`PanicReport`].
    Panicked = 1,
    /// The worker could not decode the input.
    InputUndecodable = 2,
    /// The result is larger than the limit; payload word 1 holds its size in bytes.
    ResultTooLarge = 3,
    /// Cancelled before it started.
    Cancelled = 4,
    /// Its worker died.
    Lost = 5,
    /// The runtime went away.
    Closed = 6,
    /// The code id names no function of the worker's image.
    UnknownFunction = 7,
    /// The worker found no shared memory for the result; payload word 1 holds its size in bytes.
    NoMemory = 8,
    /// A range stopped before its end because its result block was full; payload word 0 counts what is done.
    RangePartial = 9,
    /// The result could not be encoded: its `Serialize` implementation refused.
    ResultUnencodable = 10,
    /// Its time was over; payload word 2 holds how much it had, in nanoseconds.
    TimedOut = 11,
    /// Its worker grew over the limit; payload word 2 holds the limit in bytes.
    OutOfMemory = 12,
    /// Refused while it stood in line: its function has killed too many workers with this input. Payload word 0 counts
    /// them, words 2 and 3 hold the last death.
    Quarantined = 13,
}

impl Status {
    /// A byte that is no status.
    pub const UNKNOWN: u8 = u8::MAX;

    /// The status with this number, if there is one: the byte comes from another process.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Status; 14] = [
            Status::Finished,
            Status::Panicked,
            Status::InputUndecodable,
            Status::ResultTooLarge,
            Status::Cancelled,
            Status::Lost,
            Status::Closed,
            Status::UnknownFunction,
            Status::NoMemory,
            Status::RangePartial,
            Status::ResultUnencodable,
            Status::TimedOut,
            Status::OutOfMemory,
            Status::Quarantined,
        ];
        ALL.get(usize::from(byte)).copied()
    }
}

/// The payload is a block handle, not the bytes themselves.
pub const MARK_IN_BLOCK: u8 = gorun_shm::slots::Descriptor::IN_BLOCK;
/// The task is a range of items: its payload is an input handle and an output handle.
pub const MARK_RANGE: u8 = 2;
/// Block handles travel behind the encoded bytes, their count in the last four bytes.
pub const MARK_HANDLES: u8 = 4;

/// The task may be killed while it runs: its worker notes when it began.
pub const MARK_MORTAL: u8 = 8;

/// What a panic left behind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PanicReport {
    /// The panic's message.
    pub message: String,
    /// `file:line:column` of the panic, if known.
    pub location: Option<String>,
}
