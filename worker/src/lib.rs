//! Everything inside a worker process, the zygote that forks it, and the words that host and workers share.
//!
//! A program that links this crate needs no call in main: see [`boot`].

pub mod boot;
pub mod broadcast;
pub mod bulk;
pub mod call;
pub mod codec;
pub mod context;
pub mod cpu_set;
pub mod duty;
pub mod end;
pub mod exit;
pub mod find;
pub mod frame;
pub mod function;
pub mod hold;
pub mod in_flight;
pub mod inline;
pub mod jail;
pub mod lane;
pub mod letter;
pub mod lever;
pub mod message;
pub mod os;
pub mod pace;
pub mod parcel;
pub mod porter;
pub mod range;
mod reader;
pub mod run;
mod squeeze;
mod tenure;
pub mod transit;
pub mod wire;
pub mod zygote;
