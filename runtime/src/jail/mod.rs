//! Jail: tasks in workers that may do nothing but compute, and what a profile allows on top.
//!
//! ```text
//! host --- control socket --- jailer (a zygote that maps no segment)
//!   |  keeper thread            | fork          | fork
//!   +-- segment A ------------ cell 0           |
//!   +-- segment B ---------------------------- cell 1
//! ```
//!
//! A **cell** is one jailed worker, the segment it shares with the host and with nobody else, and their one life: when
//! the worker ends, or has to, both go. A cell is given one task at a time, so what waits behind it lies in the host's
//! own memory, in the order of arrival, where no hostile code can read or change it. Where a task stands, and how it
//! ended, is the host's own knowledge too; the segment is asked for the result only, whose bytes are copied out once
//! and decoded from the copy.
//!
//! The **keeper** (`keeper`) has one thread: it starts cells, one ahead, so that neither a death nor a profile with
//! `fresh` waits for a fork; hears of their ends from the jailer; and ends tasks whose time is over. It moves
//! waiting tasks on whether or not anybody waits for their handles. A task that has ended is taken from its cell by
//! whoever sees it first: the thread that joins it, or the keeper.
//!
//! What is denied and how stands in [`gorun_worker::jail`].

mod cell;
mod hear;
mod inmate;
mod keeper;
mod memory;
mod serve;
mod state;
mod submit;

pub use gorun_worker::jail::{Jail, JailPart, JailRefusal};
pub(crate) use keeper::{Keeper, Settings};
pub use state::JailStats;
pub(crate) use state::{Order, StockId};
pub(crate) use submit::{Sentence, admit, seal, submit};
