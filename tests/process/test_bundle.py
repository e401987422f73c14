"""`vmsdk bundle`: one file that needs no virtual environment, started as a node starts it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmsdk.errors import VMError
from vmsdk.ids import vm_id
from vmsdk.install.bundle import Bundle, bundle, has_python
from vmsdk.install.bundlescript import PYTHON_VARIABLE, UNPACK_DIR_VARIABLE, with_archive
from vmsdk.install.launcher import InstallError, Launcher
from vmsdk.install.plugindirectory import PluginDirectory
from vmsdk.install.trial import start_and_stop
from vmsdk.target import SourceTarget, find

from .installed import TIMESTAMP
from .plugin import PATIENCE_S

# A bundle takes 10 to 30 s of CPU time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Its version shows what it found when it was imported.
VM = """
import sys
from pathlib import Path
from timestampvm import TimestampVM
from helper.text import TEXT

data = Path(__file__).with_name("data.txt").read_text()

class OurVM(TimestampVM):
    version = f"{TEXT}, hash {hash('x')}, utf8 {sys.flags.utf8_mode}, {data}"
"""
FOUND = re.compile(r"packed, hash -?\d+, utf8 1, data")
HAS_TOOLS = shutil.which("flock") and os.path.exists("/proc/self/maps")


def write(folder: Path) -> Path:
    folder.mkdir()
    (folder / "ourvm.py").write_text(VM, encoding="utf-8")
    (folder / "data.txt").write_text("data", encoding="utf-8")
    (folder / "helper").mkdir()
    (folder / "helper" / "__init__.py").touch()
    (folder / "helper" / "text.py").write_text("TEXT = 'packed'\n", encoding="utf-8")
    shutil.copy(TIMESTAMP, folder)
    return folder / "ourvm.py"


def open_to_all(folder: Path) -> None:
    """Let every user enter *folder*, which pytest made for this one."""
    for each in (folder, *folder.parents):
        if each == Path(tempfile.gettempdir()) or each == each.parent:
            break
        each.chmod(0o755)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle, whose sources are gone."""
    folder = tmp_path_factory.mktemp("built")
    open_to_all(folder)
    source = write(folder / "source")
    done = bundle(str(source), output=folder)
    shutil.rmtree(source.parent)
    return done


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A bundle of one file that does nothing, for what only the shell does."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "start").write_text("", encoding="utf-8")
    (tree / "start").chmod(0o755)
    target = find(str(TIMESTAMP))
    assert isinstance(target, SourceTarget)
    launcher = Launcher(name="vm", target=target, python="")
    path = tmp_path / "small"
    path.write_bytes(with_archive(launcher, vm_id("vm"), tree, python=False, unpack_dir=None))
    path.chmod(0o755)
    return path


def environment(folder: Path, user: str | None = None) -> dict[str, str]:
    """What a start needs besides a node's environment, to unpack below *folder*."""
    folder.mkdir(mode=0o755, exist_ok=True)
    if user is not None:
        shutil.chown(folder, user)
    return {UNPACK_DIR_VARIABLE: str(folder), PYTHON_VARIABLE: sys.executable}


def unpacked(folder: Path) -> list[str]:
    return sorted(each.name for each in (folder / "vmsdk-bundles").iterdir())


def version(bundle_file: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bundle_file, "--version"],
        env=environment,
        cwd="/",
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_bundle_has_the_code_its_data_and_its_packages(built: Bundle, tmp_path: Path) -> None:
    assert built.path.name == str(built.vm_id)
    assert built.code == ["data.txt", "helper/__init__.py", "helper/text.py", "ourvm.py", "timestampvm.py"]
    found = start_and_stop(str(built.path), None, environment(tmp_path / "unpacked"))
    assert FOUND.fullmatch(found)
    # Texts have the same hash in each process, as on each node.
    assert start_and_stop(str(built.path), None, environment(tmp_path / "unpacked")) == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as another user")
def test_another_user_starts_it_from_a_folder_that_only_root_writes(built: Bundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        open_to_all(tmp_path)
        variables = environment(home, "nobody")
        if has_python():
            del variables[PYTHON_VARIABLE]
        assert FOUND.fullmatch(start_and_stop(str(built.path), "nobody", variables))
        (folder,) = (home / "vmsdk-bundles").iterdir()
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert folder.parent.owner() == "nobody"
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders of another user")
@pytest.mark.parametrize("is_link", [False, True])
def test_it_does_not_run_from_a_folder_of_another_user(small: Path, tmp_path: Path, is_link: bool) -> None:
    variables = environment(tmp_path / "unpacked")
    place = tmp_path / "unpacked" / "vmsdk-bundles"
    if is_link:
        (tmp_path / "other").mkdir()
        place.symlink_to(tmp_path / "other")
    else:
        place.mkdir()
        shutil.chown(place, "nobody")
    done = version(small, variables)
    assert done.returncode == 1
    assert f"{place} can't be made, or belongs to someone else" in done.stderr
    assert "build it with --unpack-dir DIR" in done.stderr


def test_two_first_starts_at_once_leave_one_copy(small: Path, tmp_path: Path) -> None:
    variables = environment(tmp_path / "unpacked")
    with ThreadPoolExecutor(3) as pool:
        starts = list(pool.map(lambda _: version(small, variables), range(3)))
    assert [each.returncode for each in starts] == [0, 0, 0], [each.stderr for each in starts]
    assert len(unpacked(tmp_path / "unpacked")) == 1


@pytest.mark.skipif(not HAS_TOOLS, reason="needs flock")
def test_earlier_builds_are_removed_unless_they_run(small: Path, tmp_path: Path) -> None:
    variables = environment(tmp_path / "unpacked")
    place = tmp_path / "unpacked" / "vmsdk-bundles"
    old, used, broken = (f"{vm_id('vm')}-0", f"{vm_id('vm')}-1", f".new-{vm_id('vm')}-2.3")
    for name in (old, used, broken, "another-0"):
        (place / name).mkdir(parents=True)
    with subprocess.Popen(
        ["flock", "-s", place / used, "sh", "-c", "echo; exec cat"], stdin=-1, stdout=-1
    ) as user:
        assert user.stdout is not None
        user.stdout.readline()
        assert version(small, variables).returncode == 0
        user.communicate()
    (new,) = set(unpacked(tmp_path / "unpacked")) - {used, "another-0"}
    assert new.startswith(f"{vm_id('vm')}-")


@pytest.mark.parametrize("how", ["cut", "changed", "without its archive"])
def test_a_damaged_bundle_says_so_and_leaves_nothing(how: str, small: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    content = bytearray(small.read_bytes())
    if how == "changed":
        content[content.index(b"\x1f\x8b") + 20] ^= 1
    else:
        del content[-100 if how == "cut" else content.index(b"\x1f\x8b") :]
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    done = version(damaged, environment(tmp_path / "unpacked"))
    assert done.returncode == 1
    assert (
        done.stderr == f"vmsdk: {damaged} is damaged: copy it again, and compare its SHA-256 with the "
        "original's\n"
    )
    assert unpacked(tmp_path / "unpacked") == []


def test_a_process_that_ends_by_a_signal_ends_the_bundle(built: Bundle, tmp_path: Path) -> None:
    """The shell is replaced, so the node's signals reach Python, and its process is the plugin."""
    variables = environment(tmp_path / "unpacked")
    assert version(built.path, variables).returncode == 0
    with subprocess.Popen([built.path, "--version"], env=variables, stdout=subprocess.DEVNULL) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_the_same_input_gives_the_same_bytes(built: Bundle, tmp_path: Path) -> None:
    source = write(tmp_path / "elsewhere")
    os.utime(source, (1, 1))
    source.chmod(0o600)
    again = bundle(str(source), plugin_dir=tmp_path)
    assert again.sha256 == built.sha256
    assert again.path.read_bytes() == built.path.read_bytes()
    # A plugin directory knows a bundle, and a later one replaces it.
    entries = {each.path.name: each for each in PluginDirectory(tmp_path).entries()}
    launcher = entries[str(again.vm_id)].launcher
    assert launcher is not None
    assert (launcher.name, launcher.target) == ("ourvm", "ourvm.py")
    PluginDirectory(tmp_path).check(again.vm_id)


def test_a_vm_that_does_not_start_is_not_written(tmp_path: Path) -> None:
    source = tmp_path / "broken.py"
    source.write_text("import nosuchmodule\nimport vmsdk\n", encoding="utf-8")
    with pytest.raises(InstallError, match=r"(?s)nosuchmodule.*--with PACKAGE"):
        bundle(str(source), output=tmp_path / "out", name="broken")
    assert [each.name for each in tmp_path.iterdir()] == ["broken.py"]


@pytest.mark.skipif(sys.platform != "linux", reason="Python goes in on Linux only")
def test_with_python_inside_only_libc_is_used_of_the_machine(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    code = (
        source.read_text(encoding="utf-8")
        + """
import ctypes, hashlib, lzma, sqlite3, ssl, zlib
paths = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
outside = sorted(each for each in paths if "/vmsdk-bundles/" not in each)
OurVM.version = " ".join((*outside, sys.prefix))
"""
    )
    source.write_text(code, encoding="utf-8")
    built = bundle(str(source), output=tmp_path / "bundle", python=True)
    try:
        found = start_and_stop(str(built.path), None, environment(tmp_path / "unpacked"))
    except VMError as error:
        pytest.fail(str(error))
    *outside, prefix = found.split()
    assert prefix.startswith(str(tmp_path / "unpacked"))
    assert not [
        each for each in outside if not re.match(r"/.*/(libc|libm|ld-|libdl|libpthread|librt|libutil)", each)
    ]
