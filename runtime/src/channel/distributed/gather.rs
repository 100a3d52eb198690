//! Gather: one value from every member, or why there is none.

use super::super::open::kind_of;
use super::super::patience::Patience;
use super::super::{Receiver, SendError, Sender};
use super::MemberId;
use super::desk::Desk;
use super::sender::with_value;
use super::wait::{Armed, wait};
use gorun_worker::codec::Portable;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use thiserror::Error;

/// Why a member has contributed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GatherError {
    /// Its process was killed before.
    #[error("the member's process died")]
    Died,
    /// It left before.
    #[error("the member left")]
    Left,
    /// It did not in time.
    #[error("the member contributed nothing in time")]
    TimedOut,
    /// It did, but no value of this type.
    #[error("what the member contributed is of another type")]
    Unreadable,
}

/// What a member contributes.
#[derive(Debug, Serialize)]
pub(super) struct Reply<R> {
    member: u64,
    /// Names the type.
    kind: u64,
    value: Option<R>,
}

/// The type under which contributions are kept, whatever theirs is; its size is that of most.
pub(super) type Pile = Reply<[u64; 4]>;

impl<R> Reply<R> {
    pub(super) fn new(member: MemberId, value: R) -> Self {
        Self { member: member.to_word(), kind: kind_of::<R>(), value: Some(value) }
    }
}

impl<'de, R: Deserialize<'de>> Deserialize<'de> for Reply<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<R>(PhantomData<R>);

        impl<'de, R: Deserialize<'de>> Visitor<'de> for Parts<R> {
            type Value = Reply<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a contribution")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Reply<R>, A::Error> {
                let missing = || A::Error::custom("a contribution without a head");
                let member = parts.next_element()?.ok_or_else(missing)?;
                let kind = parts.next_element()?.ok_or_else(missing)?;
                // Whose it is is known whatever it is.
                let value = if kind == kind_of::<R>() {
                    parts.next_element::<Option<R>>().ok().flatten()
                } else {
                    None
                };
                Ok(Reply { member, kind, value: value.flatten() })
            }
        }

        deserializer.deserialize_tuple(3, Parts(PhantomData))
    }
}

/// Sends a contribution.
pub(super) fn contribute<R: Portable>(pile: &Sender<Pile>, reply: Reply<R>) -> Result<(), SendError<R>> {
    let into_value = |reply: Reply<R>| match reply.value {
        Some(value) => value,
        None => unreachable!("made with a value, and given back as it was"),
    };
    match pile.end() {
        Ok(end) => {
            Sender::<Reply<R>>::of(Arc::clone(end)).send(reply).map_err(|error| with_value(error, into_value))
        }
        Err(reason) => Err(SendError::NoChannel { value: into_value(reply), reason }),
    }
}

/// What members contribute, until each has or cannot any more.
pub(super) fn gather<R: Portable>(
    desk: &Desk,
    pile: &Receiver<Pile>,
    patience: Patience,
) -> Vec<(MemberId, Result<R, GatherError>)> {
    let Ok(end) = pile.end() else { return Vec::new() };
    let (table, replies) = (desk.table(), Receiver::<Reply<R>>::of(Arc::clone(end)));
    let mut pending = desk.live();
    let mut gathered = Vec::new();
    let mut attempt = || {
        collect(&replies, table.places(), &mut pending, &mut gathered);
        let gone: Vec<MemberId> = pending.iter().copied().filter(|member| !table.is_live(*member)).collect();
        if !gone.is_empty() {
            // What it left, it left before it went.
            collect(&replies, table.places(), &mut pending, &mut gathered);
            // Behind one that is being written, there may be others.
            if replies.is_empty() {
                for member in gone.into_iter().filter(|member| pending.contains(member)) {
                    let reason = if table.has_died(member) { GatherError::Died } else { GatherError::Left };
                    gathered.push((member, Err(reason)));
                }
                pending.retain(|member| table.is_live(*member));
            }
        }
        let is_over = end.ring().standing().is_shut();
        (pending.is_empty() || is_over).then_some(())
    };
    let arm = || Armed::at(table.header().changed(), end.ring().header().not_empty());
    let _ = wait(patience, desk.standard().spin_ticks, &mut attempt, arm, || true);
    gathered.extend(pending.into_iter().map(|member| (member, Err(GatherError::TimedOut))));
    gathered.sort_by_key(|(member, _)| *member);
    gathered
}

fn collect<R: Portable>(
    replies: &Receiver<Reply<R>>,
    places: usize,
    pending: &mut Vec<MemberId>,
    gathered: &mut Vec<(MemberId, Result<R, GatherError>)>,
) {
    for reply in replies.drain() {
        let Some(member) = MemberId::from_word(reply.member, places) else { continue };
        pending.retain(|other| *other != member);
        gathered.push((member, reply.value.ok_or(GatherError::Unreadable)));
    }
}
