//! Keeps an app from taking its files out of the project that its quota counts (`install::quota`), by seccomp(2): their owner
//! may change project and flags of each (FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS, file_setattr(2)). Nothing else is looked at: the
//! kernel notes for each other system call that the filter lets it pass, and asks no more (Linux 5.11).

use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use seccompiler::{BpfProgram, sock_filter};

static REQUIRED: AtomicBool = AtomicBool::new(false);

/// Whatever is started from now on is kept from it.
pub fn require() {
    REQUIRED.store(true, Ordering::Relaxed);
}

pub(super) fn is_required() -> bool {
    REQUIRED.load(Ordering::Relaxed)
}

/// The ways that a machine offers to call the kernel: AUDIT_ARCH_*, and the number of ioctl(2) there. `None`: the numbers
/// of file_setattr(2) alone are looked at.
#[cfg(target_arch = "x86_64")]
const WAYS: [(u32, &[u32]); 2] = [
    // x32's, too.
    (0xC000_003E, &[16, 0x4000_0000 + 514]),
    // 32-bit programs.
    (0x4000_0003, &[54]),
];
#[cfg(target_arch = "aarch64")]
const WAYS: [(u32, &[u32]); 2] = [(0xC000_00B7, &[29]), (0x4000_0028, &[54])];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const WAYS: [(u32, &[u32]); 0] = [];

/// The same on all architectures.
const FILE_SETATTR: u32 = 469;

/// FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS of 64-bit and of 32-bit programs.
const REQUESTS: [u32; 3] = [0x401C_5820, 0x4008_6602, 0x4004_6602];

/// Offsets in seccomp_data, little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const REQUEST: u32 = 24;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Restricts the calling process, which has one thread and no_new_privs, and all that it starts, for good.
pub(super) fn apply() -> Result<(), seccompiler::Error> {
    seccompiler::apply_filter(&filter())
}

fn filter() -> BpfProgram {
    let load = |offset| instruction(LOAD, 0, 0, offset);
    let mut program = Vec::new();
    for (architecture, ioctls) in WAYS {
        let mut way = vec![load(NUMBER)];
        // What is refused is behind each comparison, so that no jump is to be counted.
        way.extend(if_equal(FILE_SETATTR, vec![refuse(libc::EOPNOTSUPP)]));
        for ioctl in ioctls {
            let mut asked = vec![load(REQUEST)];
            for request in REQUESTS {
                asked.extend(if_equal(request, vec![refuse(libc::EOPNOTSUPP)]));
            }
            asked.push(allow());
            way.extend(if_equal(*ioctl, asked));
        }
        way.push(allow());
        program.push(load(ARCHITECTURE));
        program.extend(if_equal(architecture, way));
    }
    program.push(allow());
    program
}

/// `then` where what is loaded is `value`, else on behind it.
fn if_equal(value: u32, then: Vec<sock_filter>) -> Vec<sock_filter> {
    let otherwise = u8::try_from(then.len()).unwrap_or(u8::MAX);
    let mut all = vec![instruction(IF_EQUAL, 0, otherwise, value)];
    all.extend(then);
    all
}

fn refuse(errno: i32) -> sock_filter {
    instruction(
        RETURN,
        0,
        0,
        libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
    )
}

fn allow() -> sock_filter {
    instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW)
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with the filter.
    fn answer(architecture: u32, number: u32, request: u32) -> u32 {
        let (program, mut at, mut loaded) = (filter(), 0, 0);
        loop {
            let now = &program[at];
            at += 1;
            match now.code {
                RETURN => return now.k,
                LOAD => {
                    loaded = match now.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        _ => request,
                    }
                }
                _ if loaded == now.k => at += usize::from(now.jt),
                _ => at += usize::from(now.jf),
            }
        }
    }

    #[test]
    fn only_what_changes_project_or_flags_is_refused_in_each_way_to_call() {
        let refused = libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP.cast_unsigned();
        for (architecture, ioctls) in WAYS {
            let answer = |number, request| answer(architecture, number, request);
            for ioctl in ioctls {
                for request in REQUESTS {
                    assert_eq!(answer(*ioctl, request), refused);
                    assert_eq!(answer(*ioctl + 1, request), libc::SECCOMP_RET_ALLOW);
                }
                // TCGETS, FS_IOC_GETFLAGS.
                for request in [0x5401, 0x8008_6601] {
                    assert_eq!(answer(*ioctl, request), libc::SECCOMP_RET_ALLOW);
                }
            }
            assert_eq!(answer(FILE_SETATTR, 0), refused);
            assert_eq!(answer(0, REQUESTS[0]), libc::SECCOMP_RET_ALLOW);
        }
        assert_eq!(answer(1, 16, REQUESTS[0]), libc::SECCOMP_RET_ALLOW);
    }
}
