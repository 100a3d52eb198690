//! Paths: Landlock, which knows files by where they lie, and denies all that no rule allows.
// UNSAFETY: the question for Landlock's version is a raw system call.
#![expect(
    unsafe_code,
    reason = "the landlock crate does not tell the kernel's version before a ruleset is in force"
)]

use crate::jail::{Jail, JailPart, JailRefusal};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};
use std::io;
use std::path::PathBuf;

/// The newest version whose rights were looked at. What an older kernel does not know is left out: the filter denies
/// it all the same.
const KNOWN: ABI = ABI::V6;

/// The version of Landlock that this kernel has.
pub(super) fn version() -> io::Result<i32> {
    const VERSION: u32 = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes no attributes, and only answers.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    match i32::try_from(version) {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Denies this process all files but those of the profile, all TCP, and signals and abstract sockets of others.
pub(super) fn restrict(jail: &Jail) -> Result<(), JailRefusal> {
    let refused = |_| JailRefusal::lacking(JailPart::Landlock, &io::Error::last_os_error());
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(KNOWN)))
        .and_then(Ruleset::create)
        .map_err(refused)?;
    // Nothing is executed in a jail, whatever the path.
    let reading = AccessFs::from_read(KNOWN) & !BitFlags::from(AccessFs::Execute);
    let making = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::IoctlDev;
    let writing = AccessFs::from_write(KNOWN) & !making;
    let ruleset = allow(ruleset, &jail.read, reading)?;
    let ruleset = allow(ruleset, &jail.write, reading | writing)?;
    let status = ruleset.restrict_self().map_err(refused)?;
    if status.ruleset == RulesetStatus::NotEnforced && !jail.best_effort {
        return Err(JailRefusal::Lacking { part: JailPart::Landlock, errno: libc::ENOSYS });
    }
    Ok(())
}

fn allow(
    mut ruleset: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, JailRefusal> {
    for path in paths {
        let refused = |errno: i32| JailRefusal::Path { path: path.clone(), errno };
        let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| refused(errno.raw_os_error()))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| refused(errno.raw_os_error()))?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let access = if is_folder { access } else { access & AccessFs::from_file(KNOWN) };
        let added = ruleset.add_rule(PathBeneath::new(file, access));
        ruleset = added.map_err(|_| refused(io::Error::last_os_error().raw_os_error().unwrap_or(0)))?;
    }
    Ok(ruleset)
}
