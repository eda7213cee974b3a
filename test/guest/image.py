#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels and initial file systems of the guests, from Debian packages and this machine.

A kernel is Debian's cloud kernel of a series, fetched with apt by exact name and version and
unpacked into the cache. The file system is busybox, some programs of this machine with their
libraries, and the modules a guest needs.
"""
import atexit
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("HV_GUEST_CACHE") or pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "hvnetvsc")

# The meta package of each series names the package of today's kernel.
SERIES = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}

MODULES = """hv_vmbus hv_netvsc uio uio_hv_generic uio_pci_generic 8021q vmxnet3 virtio_net
    virtio_pci pktgen af_packet""".split()
PROGRAMS = "ip ethtool".split()


def run(*cmd, **kw):
    done = subprocess.run([str(c) for c in cmd], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **kw)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, cmd))}: {done.stdout}")
    return done.stdout


class Kernel:
    """Of a series: .release, .image (vmlinuz) and .modules (a directory)."""

    def __init__(self, series):
        policy = run("apt-cache", "show", SERIES[series])
        found = re.search(r"^Depends: (linux-image-\S+) \(= (\S+)\)", policy, re.M)
        if not found:
            raise RuntimeError(f"apt knows no {SERIES[series]}: run apt-get update")
        name, version = found.groups()
        self.series, self.release = series, name.removeprefix("linux-image-")
        self.root = CACHE / f"{name}_{version.replace(':', '.')}"
        if not self.root.exists():
            self._fetch(name, version)
        self.image = self.root / "boot" / f"vmlinuz-{self.release}"
        # /lib in older packages, /usr/lib in newer ones
        self.modules = next(p for p in (self.root / "lib/modules" / self.release,
                                        self.root / "usr/lib/modules" / self.release)
                            if p.exists())

    def _fetch(self, name, version):
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
            run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download",
                f"{name}={version}", cwd=tmp)
            (deb,) = pathlib.Path(tmp).glob("*.deb")
            run("dpkg-deb", "-x", deb, f"{tmp}/root")
            modules = next(pathlib.Path(tmp, "root").glob("**/lib/modules"))
            run("depmod", "-b", modules.parents[1] if modules.parent.parent.name != "usr"
                else modules.parents[2], self.release)
            os.rename(f"{tmp}/root", self.root)

    def files_of(self, names):
        """Paths of the modules and of all they need."""
        deps = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            deps[path] = needs.split()
        byname = {pathlib.Path(p).name.split(".")[0].replace("-", "_"): p for p in deps}
        todo, have = [byname[n] for n in names if n in byname], set()
        while todo:
            path = todo.pop()
            if path not in have:
                have.add(path)
                todo += deps[path]
        return sorted(have)


@functools.cache
def kernel(series):
    return Kernel(series)


def libraries(program):
    """Paths that the program needs at run time, as the dynamic linker finds them."""
    out = run("ldd", program)
    return [p for p in re.findall(r"(/\S+) \(0x", out)]


def add_file(root, path):
    """A file of this machine at the same path; a link stays one, so that no file is there twice."""
    real = os.path.realpath(path)
    for p in (real, path):
        dst = root / str(p).lstrip("/")
        dst.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(dst):
            continue
        if p == real:
            shutil.copy(real, dst)
        else:
            dst.symlink_to(real)


def add_program(root, program):
    """A program of this machine and its libraries."""
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise RuntimeError(f"{program} is missing; see test/guest/packages.txt")
    for p in [path, *libraries(path)]:
        add_file(root, p)


def add_modules(root, kern, names):
    base = root / "lib/modules" / kern.release
    for path in kern.files_of(names):
        dst = base / path
        dst.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kern.modules / path, dst)
        if dst.suffix == ".xz":
            run("xz", "-d", dst)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        if (kern.modules / name).exists():
            shutil.copy(kern.modules / name, base)
    run("depmod", "-b", root, kern.release)


def build(kern, out, extra=None):
    """Write an initial file system to `out`. `extra(root)` adds to it."""
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        for d in "bin dev etc lib/modules mnt proc root run sys tmp usr/sbin var/run".split():
            (root / d).mkdir(parents=True, exist_ok=True)
        # Debian's merged /usr: one directory under both names
        for d in ("bin", "sbin", "lib64"):
            (root / "usr" / d).mkdir(parents=True, exist_ok=True)
            if d != "bin":
                (root / d).symlink_to(f"usr/{d}")
        (root / "usr/lib").symlink_to("../lib")
        shutil.copy("/bin/busybox", root / "bin/busybox")
        shutil.copy(HERE / "init.sh", root / "init")
        (root / "init").chmod(0o755)
        for p in PROGRAMS:
            add_program(root, p)
        add_modules(root, kern, MODULES)
        if extra:
            extra(root)
        run("sh", "-c", f"find . | cpio -o -H newc --quiet | gzip -1 > '{out}'", cwd=root)
    return out


@functools.cache
def standard(kern):
    """The file system without additions, rebuilt when what makes it changes."""
    sources = [HERE / "image.py", HERE / "init.sh"]
    out = CACHE / f"initrd-{kern.release}.cpio.gz"
    if not out.exists() or out.stat().st_mtime < max(p.stat().st_mtime for p in sources):
        os.rename(build(kern, f"{out}.new"), out)
    return out


@functools.cache
def qemu():
    """Path of the emulator, built if need be."""
    done = subprocess.run([HERE / "build-qemu.sh"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError("build-qemu.sh failed")
    return done.stdout.strip()


@functools.cache
def plugin():
    """Path of QEMU's plug-in that counts instructions, compiled if need be."""
    source = HERE / "plugin/count.c"
    tree = pathlib.Path(qemu()).parents[1]
    out = tree.parent / "count.so"
    if not out.exists() or out.stat().st_mtime < source.stat().st_mtime:
        run("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
            f"-I{tree}/include/qemu", "-o", out, source)
    return out


STOCK = """bus_pci bus_vdev bus_vmbus mempool_ring mempool_stack net_netvsc net_vmxnet3 net_virtio
    net_ring net_null net_failsafe net_af_packet""".split()


def add_dpdk(root, objects):
    """dpdk-testpmd, stock plug-ins and ours beside them as `make install` puts them, tools."""
    add_program(root, "dpdk-testpmd")
    add_program(root, "stdbuf")
    add_file(root, "/usr/libexec/coreutils/libstdbuf.so")
    add_file(root, "/lib/x86_64-linux-gnu/libgcc_s.so.1")  # for pthread_cancel
    libs = pathlib.Path(run("pkg-config", "--variable=libdir", "libdpdk").strip())
    (plugins,) = (libs / "dpdk").glob("pmds-*")
    abi = plugins.name.removeprefix("pmds-").split(".")[0]
    # EAL loads what ends in .so, as ours is installed, or in .so.<ABI>, as Debian's are.
    for name in STOCK:
        add_file(root, plugins / f"librte_{name}.so.{abi}.0")
    # What is there because testpmd is linked with it, other applications load as a plug-in.
    for path in list((root / str(plugins).lstrip("/")).iterdir()):
        for lib in libraries(plugins / path.name):
            add_file(root, lib)
    for path in (objects / "lib/vmbus" / f"librte_bus_hv_vmbus.so.{abi}",
                 objects / "drivers/net/hvnetvsc" / f"librte_net_hvnetvsc.so.{abi}"):
        to = root / str(plugins / path.name).lstrip("/")
        shutil.copy(path, to)
        to.with_suffix("").symlink_to(path.name)
        # Our driver names our bus: the dynamic linker finds it where EAL does.
        (root / str(libs / path.name).lstrip("/")).symlink_to(plugins / path.name)
    # Without it testpmd forwards nothing by the stock driver (test/peer/qstate.c).
    shutil.copy(objects / "test/peer/libhvqstate.so", root / "lib")
    shutil.copy(HERE.parents[1] / "tools/hv-devbind", root / "usr/bin")
    for name in ("rx_intr", "l3fwd"):
        shutil.copy(objects / "test/e2e" / name, root / "usr/bin")
        for lib in libraries(objects / "test/e2e" / name):
            add_file(root, lib)


@functools.cache
def with_dpdk(kern, objects):
    """The file system with the drivers under test: made anew in each run.

    It has no name: what a run left that was killed, nobody would remove.
    """
    out = tempfile.TemporaryFile(dir=CACHE)
    atexit.register(out.close)
    return build(kern, f"/proc/{os.getpid()}/fd/{out.fileno()}",
                 extra=lambda root: add_dpdk(root, objects))
