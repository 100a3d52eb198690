//! Filter: which system calls a jailed process may make, and what becomes of the others.
//!
//! One program of the kernel's packet filter, installed once. It jumps to the part for the call's number. There it first
//! looks for the few calls that end the process (SIGSYS, so that the handler of last words can write down which it was)
//! or that do not exist here (ENOSYS, so that the C library takes the older one, whose arguments can be judged). What
//! follows is the list of what is allowed; everything else is EPERM.
// UNSAFETY: the question whether filters are to be had is a raw system call.
#![expect(unsafe_code, reason = "seccomp has no safe form")]

use super::calls::{self, Rule};
use super::descriptors::Held;
use crate::jail::{Jail, JailPart, JailRefusal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Looks whether filters are to be had.
pub(super) fn check() -> Result<(), JailRefusal> {
    let action = libc::SECCOMP_RET_TRAP;
    let question = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: the call reads one number at the pointer, which is valid for that.
    let code = unsafe { libc::syscall(libc::SYS_seccomp, question, 0_u32, &raw const action) };
    if code == 0 {
        return Ok(());
    }
    Err(JailRefusal::lacking(JailPart::SystemCallFilter, &io::Error::last_os_error()))
}

/// Puts the filter of the profile on this process, which must have one thread, for ever.
pub(super) fn install(jail: &Jail, held: &Held) -> Result<(), JailRefusal> {
    let lacking = |error: &io::Error| JailRefusal::lacking(JailPart::SystemCallFilter, error);
    let unknown = || lacking(&io::Error::from_raw_os_error(libc::ENOSYS));
    let program = program(jail, std::process::id(), held.end()).ok_or_else(unknown)?;
    seccompiler::apply_filter(&program).map_err(|error| match error {
        seccompiler::Error::Prctl(cause) | seccompiler::Error::Seccomp(cause) => lacking(&cause),
        _ => unknown(),
    })
}

/// Calls of one part of the program. The kernel tries every call there is when it takes a program in, and a list that is
/// walked from its head each time would make that dear.
const PART_CALLS: usize = 16;

/// The program for a process with this id, whose descriptors below `held_end` are gorun's; none for a machine
/// whose calls nobody has listed.
fn program(jail: &Jail, pid: u32, held_end: u32) -> Option<BpfProgram> {
    let answers = calls::LETHAL.iter().map(|(call, _)| (*call, libc::SECCOMP_RET_TRAP));
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let answers: BTreeMap<i64, u32> =
        answers.chain(calls::MISSING.iter().map(|call| (*call, missing))).collect();
    let allowed: BTreeMap<i64, Vec<Rule>> = calls::allowed(jail, pid, held_end).into_iter().collect();
    let all: BTreeSet<i64> = answers.keys().chain(allowed.keys()).copied().collect();
    let all: Vec<i64> = all.into_iter().collect();
    let part =
        |calls: &[i64]| Some((u32::try_from(*calls.first()?).ok()?, decide(calls, &answers, &allowed)?));
    let parts: Vec<(u32, BpfProgram)> = all.chunks(PART_CALLS).map(part).collect::<Option<_>>()?;
    let mut program = vec![load_call_number()];
    let mut ahead = 2 * parts.len() - 1;
    for (index, (_, part)) in parts.iter().enumerate() {
        if let Some((next, _)) = parts.get(index + 1) {
            // Past the jump if the call is not before the next part's first.
            program.push(instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, (1, 0), *next));
            ahead -= 1;
        }
        ahead -= 1;
        let distance = u32::try_from(ahead).ok()?;
        program.push(instruction(libc::BPF_JMP | libc::BPF_JA, (0, 0), distance));
        ahead += part.len();
    }
    program.extend(parts.into_iter().flat_map(|(_, part)| part));
    Some(program)
}

/// What decides about these calls, and denies all others.
fn decide(
    calls: &[i64],
    answers: &BTreeMap<i64, u32>,
    allowed: &BTreeMap<i64, Vec<Rule>>,
) -> Option<BpfProgram> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let mut program = Vec::new();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in calls {
        if let Some(action) = answers.get(call) {
            program.extend(answer(*call, *action)?);
        }
        if let Some(judged) = allowed.get(call) {
            rules.insert(*call, judged.iter().map(compile).collect::<Option<_>>()?);
        }
    }
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, machine).ok()?;
    program.extend(BpfProgram::try_from(filter).ok()?);
    Some(program)
}

fn compile(rule: &Rule) -> Option<SeccompRule> {
    let conditions = rule.iter().map(|condition| {
        let (argument, length, operator, value) = match *condition {
            calls::Is::Equal(argument, value) => {
                (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(value))
            }
            calls::Is::Other(argument, value) => {
                (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(value))
            }
            calls::Is::Below(argument, value) => {
                (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Lt, u64::from(value))
            }
            calls::Is::AtLeast(argument, value) => {
                (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, u64::from(value))
            }
            calls::Is::Masked(argument, mask, value) => {
                let operator = SeccompCmpOp::MaskedEq(u64::from(mask));
                (argument, SeccompCmpArgLen::Dword, operator, u64::from(value))
            }
            calls::Is::Null(argument) => (argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        };
        SeccompCondition::new(argument, length, operator, value).ok()
    });
    SeccompRule::new(conditions.collect::<Option<Vec<_>>>()?).ok()
}

/// Loads the call's number, which comes first of what the program is given.
fn load_call_number() -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (0, 0), 0)
}

/// Ends with `action` if the loaded number is `call`, and goes on otherwise.
fn answer(call: i64, action: u32) -> Option<[sock_filter; 2]> {
    let call = u32::try_from(call).ok()?;
    let compare = instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, (0, 1), call);
    Some([compare, instruction(libc::BPF_RET | libc::BPF_K, (0, 0), action)])
}

#[expect(clippy::cast_possible_truncation, reason = "codes of instructions have 16 bits")]
fn instruction(code: u32, (skip_if, skip_unless): (u8, u8), operand: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: skip_if, jf: skip_unless, k: operand }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_a_program_that_the_kernel_takes() {
        // The kernel's own limit on instructions.
        const MOST: usize = 4096;
        let all = Jail::read_only(["/a"]).allow_write("/b").allow_threads().allow_executable_memory();
        for jail in [Jail::compute(), Jail::read_only(["/a"]), Jail::custom().allow_threads(), all] {
            let program = program(&jail, 7, 5).expect("a program for this machine");
            assert!((50..MOST).contains(&program.len()), "{} instructions", program.len());
        }
    }

    #[test]
    fn no_call_is_on_two_lists() {
        let jail = Jail::read_only(["/a"]).allow_write("/b").allow_threads();
        let allowed = calls::allowed(&jail, 7, 5);
        for call in calls::LETHAL.iter().map(|(call, _)| call).chain(calls::MISSING) {
            assert!(!allowed.iter().any(|(found, _)| found == call), "call {call}");
        }
        let mut numbers: Vec<i64> = allowed.iter().map(|(call, _)| *call).collect();
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
