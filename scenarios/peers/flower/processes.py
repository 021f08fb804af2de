"""The processes this benchmark started: who they are, how much memory they peaked at, and how they end. Linux only.

SuperLink and SuperNode start workers in sessions of their own, which outlive them. So this process makes itself the
subreaper: an orphan becomes its child instead of init's, and whatever descends from it is exactly what it started.
"""

import ctypes
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TERMINATE_GRACE_S = 8.0
KILL_GRACE_S = 8.0
END_POLL_S = 0.1
KIB = 1024

# What a command line contains, and the role it plays. The first match wins: a worker's arguments may name its parent.
ROLES = (
    ("flwr-serverapp", "serverapp"),
    ("flwr-clientapp", "clientapp"),
    ("flower-superexec", "superexec"),
    ("flower-superlink", "superlink"),
    ("flower-supernode", "supernode"),
)


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl refused to make this process a subreaper")


def descendants(root: int) -> dict[int, int]:
    """All living processes below `root`: pid to parent's pid."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := _parent(int(entry))) is not None:
            children.setdefault(parent, []).append(int(entry))
    found: dict[int, int] = {}
    todo = [root]
    while todo:
        parent = todo.pop()
        for child in children.get(parent, ()):
            if child not in found:
                found[child] = parent
                todo.append(child)
    return found


def role(command_line: str) -> str | None:
    """Which of Flower's processes this command line is, or None for anything else."""
    for part in command_line.split("\0"):
        for name, found in ROLES:
            if os.path.basename(part) == name:
                return found
    return None


def memory_bytes(status: str) -> tuple[int, int] | None:
    """(peak, current) resident bytes from the text of /proc/PID/status; None for a process that has ended."""
    sizes: dict[str, int] = {}
    for line in status.splitlines():
        key, _, rest = line.partition(":")
        if key in ("VmHWM", "VmRSS"):
            sizes[key] = int(rest.split()[0]) * KIB
    return (sizes["VmHWM"], sizes["VmRSS"]) if len(sizes) == 2 else None


def available_bytes() -> int:
    """Memory that new work on this machine could still take, by the kernel's estimate."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * KIB
    raise RuntimeError("no `MemAvailable` in /proc/meminfo: this benchmark needs Linux")


@dataclass
class MemoryWatch:
    """Peaks over a whole case, sampled.

    A process's own peak (VmHWM) only grows, so a sample misses at most what it gained after the last sample; a
    ServerApp therefore also reports its own. Sums are of current sizes (VmRSS) at one instant and count shared
    pages once per process.
    """

    peaks: dict[int, int] = field(default_factory=dict)
    roles: dict[int, str] = field(default_factory=dict)
    server_side_sum: int = 0
    all_sum: int = 0
    serverapp_alive: bool = False

    def sample(self) -> None:
        """Look once at every process that descends from this one."""
        server_side = everything = 0
        self.serverapp_alive = False
        parents = descendants(os.getpid())
        for pid in parents:
            look = _look(pid)
            if look is None:
                continue
            name, peak, current = look
            # A pid seen as one role may later show as another: exec replaces the launcher by the worker.
            if self.roles.get(pid) != name:
                self.roles[pid], self.peaks[pid] = name, 0
            self.peaks[pid] = max(self.peaks[pid], peak)
            everything += current
            if name in ("superlink", "serverapp"):
                server_side += current
            self.serverapp_alive |= name == "serverapp"
        self.server_side_sum = max(self.server_side_sum, server_side)
        self.all_sum = max(self.all_sum, everything)

    def peak(self, wanted: str) -> int | None:
        """The largest peak of any one process in that role; None if none was seen."""
        return max((peak for pid, peak in self.peaks.items() if self.roles[pid] == wanted), default=None)


def end_all() -> list[int]:
    """Ask every descendant to stop, then kill what is left. Returns the pids that were still there after both."""
    for ending, grace_s in ((signal.SIGTERM, TERMINATE_GRACE_S), (signal.SIGKILL, KILL_GRACE_S)):
        deadline = time.monotonic() + grace_s
        asked: set[int] = set()
        while left := _alive():
            # A dying parent may still start a worker: each pid is told once, whenever it first shows up.
            for pid in left - asked:
                _tell(pid, ending)
            asked |= left
            if time.monotonic() > deadline:
                break
            time.sleep(END_POLL_S)
    return sorted(_alive())


def _alive() -> set[int]:
    """Descendants that have not ended; those that have are reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass
    return {pid for pid in descendants(os.getpid()) if _look(pid, any_role=True) is not None}


def _tell(pid: int, ending: signal.Signals) -> None:
    try:
        os.kill(pid, ending)
    except ProcessLookupError:
        pass


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    return int(stat.rpartition(")")[2].split()[1])


def _look(pid: int, any_role: bool = False) -> tuple[str, int, int] | None:
    """(role, peak bytes, current bytes), or None if the process has ended or is none of Flower's."""
    try:
        name = role(Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace"))
        memory = memory_bytes(Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    if memory is None or (name is None and not any_role):
        return None
    return (name or "other", *memory)
