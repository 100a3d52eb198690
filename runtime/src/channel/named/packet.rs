//! Packets: the two that pass between who connects and who has bound a name, one in each direction.
//!
//! ```text
//! who connects                              who has bound
//!   Hello: version, schema, roles   ---->   looks at the credentials, the version, the schema, the roles
//!                                   <----   Welcome: its number, the shape of the memory; the memory's descriptor
//!                                   <----   or Welcome with the reason why not, and no descriptor
//!   joins the census of the channel
//!   JOINED                          ---->   counts it among those who are there
//!   hangs up                        ---->   recovers what it had
//! ```

use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockHandle, Limits};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const MAGIC: u64 = u64::from_le_bytes(*b"gorunnm1");
/// Version of these packets, of the memory they lead to, and of how values are encoded in it: raised with each change of
/// `codec`, `letter`, the ring of channels, the blocks, or this file. Programs of different versions refuse each other.
pub(super) const VERSION: u64 = 1;

/// Said once by who was let in, when it has joined the channel.
pub(super) const JOINED: [u8; 8] = *b"gorunin1";

/// What is asked for, as bits.
pub(super) const SEND: u32 = 1;
pub(super) const RECEIVE: u32 = 2;
pub(super) const OBSERVE: u32 = 4;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Hello {
    magic: u64,
    pub(super) version: u64,
    pub(super) schema: u64,
    pub(super) roles: u64,
}

impl Hello {
    pub(super) fn new(schema: u64, roles: u32) -> Self {
        Self { magic: MAGIC, version: VERSION, schema, roles: roles.into() }
    }

    /// None if that is no such packet.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Self::read_from_bytes(bytes).ok().filter(|hello| hello.magic == MAGIC)
    }

    /// The roles asked for; none if these are not roles that go together.
    pub(super) fn asked(&self) -> Option<u32> {
        let roles = u32::try_from(self.roles).ok()?;
        matches!(roles, SEND | RECEIVE | OBSERVE | 3).then_some(roles)
    }
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Version,
    Schema,
    User,
    Role,
    Crowded,
    /// The name is being given up.
    Leaving,
    /// The kernel gave no descriptor.
    NoDescriptor,
}

impl Refusal {
    const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Version,
        Self::Schema,
        Self::User,
        Self::Role,
        Self::Crowded,
        Self::Leaving,
        Self::NoDescriptor,
    ];
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Welcome {
    magic: u64,
    pub(super) version: u64,
    pub(super) schema: u64,
    /// 0, or 1 and more for the reasons of `Refusal::ALL`.
    refusal: u32,
    owner: u16,
    spare: u16,
    pub(super) bytes: u64,
    block: [u64; 2],
    pub(super) limits: Limits,
}

impl Welcome {
    pub(super) fn refuse(refusal: Refusal, schema: u64) -> Self {
        let number = Refusal::ALL.iter().position(|known| *known == refusal).unwrap_or(0);
        let none = Limits::FULL.cut_at(0);
        Self {
            refusal: u32::try_from(number).map_or(u32::MAX, |number| number + 1),
            ..Self::new(schema, OwnerId::NONE, 0, BlockHandle::from_words([0, 0]), none)
        }
    }

    pub(super) fn new(schema: u64, owner: OwnerId, bytes: u64, block: BlockHandle, limits: Limits) -> Self {
        let (block, owner) = (block.words(), owner.bits());
        Self { magic: MAGIC, version: VERSION, schema, refusal: 0, owner, spare: 0, bytes, block, limits }
    }

    /// None if that is no such packet.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        // A refusal by another version is understood as far as its version.
        let head = bytes.get(..16).and_then(|head| <[u64; 2]>::read_from_bytes(head).ok())?;
        if head[0] == MAGIC && head[1] != VERSION {
            return Some(Self { version: head[1], ..Self::refuse(Refusal::Version, 0) });
        }
        Self::read_from_bytes(bytes).ok().filter(|welcome| welcome.magic == MAGIC)
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        let index = usize::try_from(self.refusal.checked_sub(1)?).ok()?;
        Some(Refusal::ALL.get(index).copied().unwrap_or(Refusal::Malformed))
    }

    pub(super) fn owner(&self) -> OwnerId {
        OwnerId::from_bits(self.owner)
    }

    pub(super) fn block(&self) -> BlockHandle {
        BlockHandle::from_words(self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in() {
        let hello = Hello::read(Hello::new(7, SEND | RECEIVE).as_bytes()).unwrap();
        assert_eq!((hello.version, hello.schema, hello.asked()), (VERSION, 7, Some(3)));
        for refusal in Refusal::ALL {
            let welcome = Welcome::read(Welcome::refuse(refusal, 9).as_bytes()).unwrap();
            assert_eq!((welcome.refusal(), welcome.schema), (Some(refusal), 9));
        }
        let handle = BlockHandle::from_words([3, 4]);
        let owner = OwnerId::worker(5).unwrap();
        let welcome = Welcome::new(1, owner, 2, handle, Limits::FULL);
        let welcome = Welcome::read(welcome.as_bytes()).unwrap();
        assert_eq!((welcome.refusal(), welcome.owner(), welcome.block()), (None, owner, handle));
    }

    #[test]
    fn nonsense_is_no_packet() {
        let hello = Hello::new(7, SEND);
        for length in 0..32 {
            assert!(Hello::read(&hello.as_bytes()[..length]).is_none());
        }
        assert!(Hello::read(&[0; 32]).is_none());
        for roles in [0, 5, 6, 7, 8, u64::MAX] {
            assert_eq!(Hello { roles, ..hello }.asked(), None);
        }
        let welcome = Welcome::refuse(Refusal::User, 0);
        assert!(Welcome::read(&welcome.as_bytes()[..40]).is_none());
        assert!(Welcome::read(&[1; 80]).is_none());
        let newer = Welcome { version: 2, ..welcome };
        let newer = Welcome::read(&newer.as_bytes()[..24]).unwrap();
        assert_eq!((newer.refusal(), newer.version), (Some(Refusal::Version), 2));
    }
}
