"""The table of system calls against the kernel's own list: a call that is in neither is a hole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")

# Reviewed: these take no path of the file tree, list no directory, change no root, identity or
# mask. Names of memfds, message queues, keys and hosts are no paths; the descriptors they take were
# opened by calls of the table.
WITHOUT_PATHS = """
_sysctl add_key adjtimex afs_syscall alarm arch_prctl brk
clock_adjtime clock_getres clock_gettime clock_nanosleep clock_settime clone close
close_range copy_file_range create_module delete_module dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old eventfd eventfd2 exit
exit_group fadvise64 fallocate fanotify_init fcntl fdatasync finit_module
flock fork fstatfs fsync ftruncate futex futex_waitv get_kernel_syms
get_mempolicy get_robust_list get_thread_area getcpu getitimer getpgid getpgrp getpid
getpmsg getppid getpriority getrandom getrlimit getrusage getsid gettid
gettimeofday init_module inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
io_getevents io_setup io_submit io_uring_enter io_uring_register ioperm iopl
ioprio_get ioprio_set kcmp kexec_file_load kexec_load keyctl kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self lookup_dcookie lseek madvise mbind
membarrier memfd_create memfd_secret migrate_pages mincore mlock mlock2 mlockall mmap
modify_ldt move_pages mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend
mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep
nfsservctl pause perf_event_open personality pidfd_getfd pidfd_open pidfd_send_signal pipe
pipe2 pkey_alloc pkey_free pkey_mprotect poll pread64 preadv preadv2 prlimit64
process_madvise process_mrelease process_vm_readv process_vm_writev putpmsg pwrite64
pwritev pwritev2 query_module quotactl_fd read readahead readv reboot
remap_file_pages request_key restart_syscall rseq rt_sigpending rt_sigqueueinfo
rt_sigreturn rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
security select semctl semget semop semtimedop sendfile set_mempolicy
set_mempolicy_home_node set_robust_list set_thread_area set_tid_address setdomainname
sethostname setitimer setpgid setpriority setrlimit setsid settimeofday shmat
shmctl shmdt shmget shutdown signalfd signalfd4 socket splice sync
sync_file_range syncfs sysfs sysinfo syslog tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
times tkill tuxcall umask uname unshare userfaultfd ustat vfork vhangup vmsplice vserver
wait4 waitid write writev
"""


def kernel_calls() -> set[str]:
    """Every x86-64 system call that the installed kernel headers know."""
    header = next(Path(name) for name in HEADERS if Path(name).exists())
    return set(re.findall(r"^#define __NR_(\w+)", header.read_text(), re.MULTILINE))


def table() -> dict[str, str]:
    """Row name -> CALL or REFUSE."""
    text = (ROOT / "preload" / "calls.def").read_text()
    return {name: kind for kind, name in re.findall(r"^(CALL|REFUSE)\((\w+)", text, re.MULTILINE)}


def test_every_kernel_call_is_handled_refused_or_reviewed() -> None:
    unknown = kernel_calls() - set(table()) - set(WITHOUT_PATHS.split())
    assert unknown == set(), f"add these to calls.def, or here after review: {sorted(unknown)}"


def test_no_call_is_both_handled_and_reviewed_as_pathless() -> None:
    assert set(table()) & set(WITHOUT_PATHS.split()) == set()


def test_table_has_every_at_call() -> None:
    """A call that ends in "at" takes a path, but for shared memory and device numbers."""
    at_calls = {name for name in kernel_calls() if re.search(r"at2?$", name)}
    assert at_calls - set(table()) == {"shmat", "ustat"}


def test_row_names_are_unique() -> None:
    text = (ROOT / "preload" / "calls.def").read_text()
    names = re.findall(r"^(?:CALL|REFUSE)\((\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))


def test_page_of_limits_is_made_from_the_table() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/limits.py", "--check"], check=False)
    assert done.returncode == 0, "run tools/limits.py"
