"""Becomes a container: started as a script with the path of a spec, it ends by exec.

A helper process, because namespaces belong to processes: unsharing inside the asyncio process would take
the whole devcluster along, and Python 3.11 has no `os.unshare`. Standard library only and no imports from
the project, so it starts in a few milliseconds under `python -I -S`.

With isolation there are two processes. The outer one stays in the host's PID namespace, waits and passes
the exit code on; the inner one is PID 1 of a PID namespace of its own. That gives containers' real signal
semantics (PID 1 ignores a SIGTERM it has no handler for) and the guarantee that nothing survives: when PID
1 dies the kernel kills the rest, and PR_SET_PDEATHSIG kills the outer when the devcluster dies and the
inner when the outer does. Where the pod shares its process namespace, PID 1 is no more than a pause that
passes SIGTERM on and reaps, and the command is its child: a SIGTERM without a handler then ends it at once.

The pipe `status_fd` tells the kubelet what happened: one line `pid N`, then either end of file (exec
succeeded, the descriptor is close-on-exec) or a line `error TEXT`.
"""

import _signal as signal  # The module `signal` builds enums, and `contextlib` its tools, for 4 ms of every start each.
import ctypes
import marshal
import os
import sys
from _stat import S_IFBLK, S_IFMT, S_IFSOCK

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 32, 4096, 16384
MS_UNBINDABLE, MS_PRIVATE = 1 << 17, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}.get(os.uname().machine, 155)

PR_CAPBSET_DROP = 24
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1

# Fresh in every container, so never taken over from the host.
OWN_TOP_LEVEL = ("/proc", "/tmp", "/old_root", "/lost+found")  # noqa: S108 the container's own /tmp
# Raw memory and disks, other programs' shared memory, and the doors of container runtimes and users' sessions.
KEPT_BACK = frozenset(
    [f"/dev/{name}" for name in ("mem", "kmem", "port", "kmsg", "mapper", "shm", "mqueue")]
    + [f"/run/{name}" for name in ("containerd", "crio", "docker", "podman", "user", "credentials")]
)
# What a runtime leaves root by default, less making devices and raw sockets: no cgroup guards the host's devices
# here, and the network is the host's. chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
# net_bind_service, sys_chroot, audit_write, setfcap.
CAPABILITIES = frozenset((0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31))

libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, data=None):
    """mount(2), with the call's arguments in the error."""
    encode = lambda text: None if text is None else os.fsencode(text)  # noqa: E731
    _check(
        libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)),
        f"mount {source} on {target}",
    )


def die_with_parent():
    """On Linux, ask the kernel for SIGKILL when the parent dies."""
    if sys.platform == "linux":
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def drop_capabilities():
    """Keep a container's capabilities only: with the host's, it could unmount what hides the data folder."""
    for number in range(64):
        if number not in CAPABILITIES:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    kept = sum(1 << number for number in CAPABILITIES)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    _check(libc.capset(header, data), "capset")


def read_only(path):
    """Make a bind mount and all below it read-only; before Linux 5.12 only the mount itself."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), AT_RECURSIVE, attributes, 32)
    if result != 0:
        try_to(mount, None, path, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def unshare(spec):
    """Leave the host's namespaces; without root, first become root of a user namespace."""
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
    uid, gid = os.getuid(), os.getgid()
    if spec.get("user_namespace"):
        flags |= CLONE_NEWUSER
    _check(libc.unshare(flags), "unshare")
    if spec.get("user_namespace"):
        for name, text in (("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def resolved(path):
    """A mount path with the host's symlinks in its existing part followed (/var/run is /run)."""
    return os.path.realpath(path)


def owned_folders(targets):
    """The host folders that must be ours, since a mount point inside them does not exist on the host.

    A mount point cannot be created inside a bind mount without creating it on the host, so such a folder
    becomes an own folder with the host's entries bound into it one by one.
    """
    owned = {"/", "/dev", "/run"}
    for path in targets:
        if os.path.exists(path):
            continue
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        while path != "/":
            owned.add(path)
            path = os.path.dirname(path)
    return owned


def fill(root, folder, owned):
    """Show the host's `folder` inside the new root, read-only but for devices."""
    for entry in os.scandir(folder):
        path = entry.path
        kind = S_IFMT(entry.stat(follow_symlinks=False).st_mode)
        if path in OWN_TOP_LEVEL or path in KEPT_BACK or kind in (S_IFBLK, S_IFSOCK):
            continue
        target = root + path
        if entry.is_symlink():
            os.symlink(os.readlink(path), target)
        elif path in owned:
            os.mkdir(target)
            fill(root, path, owned)
        elif entry.is_dir(follow_symlinks=False):
            os.mkdir(target)
            mount(path, target, flags=MS_BIND | MS_REC)
            if folder != "/dev":
                read_only(target)
        else:
            try_to(show_file, path, target)  # A file that may not be bound is no loss.


def show_file(path, target):
    """Bind one file of the host into the new root."""
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(path, target, flags=MS_BIND)
    if not path.startswith("/dev/"):
        read_only(target)


def try_to(call, *arguments, **options):
    """Call, and let the operating system say no."""
    try:
        call(*arguments, **options)
    except OSError:
        return


def place(root, item):
    """Bind one volume at its mount path, creating the path in our own part of the tree."""
    target = root + item["target"]
    if os.path.isdir(item["source"]):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(item["source"], target, flags=MS_BIND | MS_REC)
    if item.get("read_only"):
        mount(None, target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def build_root(spec):
    """A private root: the host's folders, the volumes at their paths, own /tmp and /proc, the data folder
    hidden.
    """
    root, mounts = spec["root"], [dict(item, target=resolved(item["target"])) for item in spec["mounts"]]
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID, "mode=755,size=64m")
    # Unbindable, or binding the folder that holds `root` would copy the half-built tree into itself.
    mount(None, root, flags=MS_UNBINDABLE)
    own_tmp = root + "/tmp"  # noqa: S108 the container's own
    os.mkdir(root + "/proc")
    os.mkdir(own_tmp)
    fill(root, "/", owned_folders([spec["cwd"], *(item["target"] for item in mounts)]))
    mount(spec["tmp"], own_tmp, flags=MS_BIND)
    if os.path.isdir(root + "/var/tmp"):  # noqa: S108
        mount(spec["tmp"], root + "/var/tmp", flags=MS_BIND)  # noqa: S108
    os.mkdir(root + "/dev/shm")  # noqa: S108
    mount("shm", root + "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m")  # noqa: S108 a runtime's size
    sources = [(item, os.open(item["source"], os.O_PATH | os.O_CLOEXEC)) for item in mounts]
    for hidden in spec["hidden"]:
        if os.path.isdir(root + hidden):
            mount("tmpfs", root + hidden, "tmpfs", MS_RDONLY, "mode=000,size=4k")
    for item, descriptor in sorted(sources, key=lambda pair: pair[0]["target"].count("/")):
        place(root, dict(item, source=f"/proc/self/fd/{descriptor}"))
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV)


def enter_root(root):
    """pivot_root(2) with both arguments the same folder: the old root ends up on top and is detached."""
    os.chdir(root)
    _check(libc.syscall(SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    _check(libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")


def execute(spec):
    """Replace this process by the container's command; returns the error text where that fails."""
    argv, env = spec["argv"], spec["env"]
    try:
        if spec["isolated"]:  # Without isolation this would leave folders on the host.
            drop_capabilities()
            try_to(os.makedirs, spec["cwd"], exist_ok=True)
        if spec["tty"]:
            import fcntl
            import termios

            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(spec["cwd"])
    except OSError as error:
        return f"mkdir {spec['cwd']}: {error.strerror.lower()}: unknown"
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):  # Python ignores these; a container starts with the defaults.
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606 running the container's command is the purpose
    except FileNotFoundError:
        where = "stat " + argv[0] + ": no such file or directory" if "/" in argv[0] else None
        return f'exec: "{argv[0]}": {where or "executable file not found in $PATH"}'
    except OSError as error:
        return f'exec: "{argv[0]}": {error.strerror.lower()}'


def pause(status_fd):
    """Stay behind as PID 1; returns in the child, which is to become the command.

    PID 1 keeps none of the container's pipes, so that their end is the command's end, and ends with the
    command's exit code, whereupon the kernel kills whatever else is left in the namespace.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    command = os.fork()
    if command == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.setsid()
        return
    drop_capabilities()
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(command, number))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Without a handler the kernel shields PID 1 from its own container.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for descriptor in (0, 1, 2, status_fd):
        os.close(descriptor)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            end_with(status)


def end_with(status):
    """Exit as the awaited process did; a signal becomes 128 and its number, as shells and runtimes have it."""
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def run_inner(spec, status_fd):
    """The container's first process."""
    die_with_parent()
    try:
        groups = [
            os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in spec["cgroups"]
        ]  # Out of sight in the new root.
        if spec["isolated"]:
            os.setsid()  # `kill 0` in a container must not reach the outer process.
            build_root(spec)
            enter_root(spec["root"])
            name = spec["hostname"].encode()
            libc.sethostname(name, len(name))
            if spec["shared_processes"]:
                pause(status_fd)
        for group in groups:  # After the fork: the pause is not the container's memory.
            os.write(group, b"0")
        text = execute(spec)
    except OSError as error:
        text = str(error)
    os.write(status_fd, f"error {text}\n".encode())
    os._exit(127)


def enter(spec, status_fd):
    """Run a command inside a running container: join its namespaces one by one, the user namespace first."""
    base = f"/proc/{spec['enter']}/ns"
    names = (["user"] if spec["user_namespace"] else []) + ["ipc", "uts", "pid", "mnt"]
    descriptors = [os.open(f"{base}/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names]
    groups = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in spec["cgroups"]]
    for descriptor in descriptors:
        _check(libc.setns(descriptor, 0), "setns")
    pid = os.fork()  # A PID namespace is entered by children only.
    if pid == 0:
        die_with_parent()
        os.setsid()
        for group in groups:
            os.write(group, b"0")
        os.write(status_fd, f"error {execute(spec)}\n".encode())
        os._exit(127)
    return pid


def main():
    """Read the spec, isolate where asked, start the command, pass its end on."""
    die_with_parent()
    with open(sys.argv[1], "rb") as file:
        spec = marshal.load(file)  # noqa: S302 written by our own process, 0600; json costs milliseconds more
    os.unlink(sys.argv[1])  # It holds secrets: gone before the container's code runs.
    status_fd = spec["status_fd"]
    os.set_inheritable(status_fd, False)
    os.setsid()
    if not spec["isolated"]:
        os.write(status_fd, f"pid {os.getpid()}\n".encode())
        run_inner(spec, status_fd)
    try:
        if spec["enter"]:
            pid = enter(spec, status_fd)
        else:
            unshare(spec)
            pid = os.fork()
    except OSError as error:
        os.write(status_fd, f"error {error}\n".encode())
        os._exit(127)
    if pid == 0:
        run_inner(spec, status_fd)
    os.write(status_fd, f"pid {pid}\n".encode())
    for descriptor in (0, 1, 2, status_fd):  # The container alone holds its pipes: their end is its end.
        os.close(descriptor)
    end_with(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
