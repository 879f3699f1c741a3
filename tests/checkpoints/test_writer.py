"""A model folder is absent or complete, whatever happens while it is written."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from evomerge.checkpoints.reader import INDEX, SINGLE, Checkpoint
from evomerge.checkpoints.writer import Shape, Shards, atomic_folder, check_target, partition
from evomerge.engine import merge
from evomerge.errors import OutputError

MakeModel = Callable[..., Path]
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

NO_PROCESS = 2**22 + 1  # beyond the largest process number of Linux


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def write_numbers(folder: Path, shapes: list[Shape], shard_bytes: int = 1 << 30) -> None:
    """Fill every tensor with bytes 0, 1, 2, …, written in pieces of 7 bytes, last piece first."""

    with Shards(folder, partition(shapes, shard_bytes)) as shards:
        for shape in shapes:
            data = bytes(i % 251 for i in range(shape.bytes))
            for start in reversed(range(0, shape.bytes, 7)):
                shards.write(shape.name, start, memoryview(data)[start : start + 7])


# --------------------------------------------------------------------------------------- files


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(min_value=0, max_value=300), max_size=30),
    limit=st.integers(min_value=1, max_value=400),
)
def test_shards_keep_the_order_and_never_exceed_the_limit_but_by_one_tensor(
    sizes: list[int], limit: int
) -> None:
    shapes = [Shape(f"t{i}", "U8", (size,)) for i, size in enumerate(sizes)]
    shards = partition(shapes, limit)
    assert [shape for shard in shards for shape in shard] == shapes
    for shard in shards:
        assert sum(shape.bytes for shape in shard) <= limit or len(shard) == 1
    for left, right in pairwise(shards):
        assert sum(shape.bytes for shape in left) + right[0].bytes > limit


@pytest.mark.parametrize("shard_bytes", [1 << 30, 40, 1])
def test_safetensors_reads_what_is_written(tmp_path: Path, shard_bytes: int) -> None:
    shapes = [
        Shape("a", "BF16", (3, 5)),
        Shape("b", "F32", ()),
        Shape("c", "I64", (2,)),
        Shape("d", "F16", (0, 4)),
        Shape("ünï", "U8", (11,)),
    ]
    write_numbers(tmp_path, shapes, shard_bytes)
    files = sorted(tmp_path.glob("*.safetensors"))
    found = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert {n: tuple(t.shape) for n, t in found.items()} == {s.name: s.shape for s in shapes}
    assert found["ünï"].tolist() == list(range(11))
    assert found["a"].reshape(-1).view(torch.uint8).tolist() == list(range(30))
    with safe_open(files[0], "pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    if shard_bytes == 1 << 30:
        assert [file.name for file in files] == [SINGLE]
        return
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(shape.bytes for shape in shapes)
    for name, file in index["weight_map"].items():
        assert name in load_file(tmp_path / file)
    assert len(files) == len(partition(shapes, shard_bytes))
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"


@pytest.mark.parametrize(("umask", "file_mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_users_umask(tmp_path: Path, umask: int, file_mode: int) -> None:
    before = os.umask(umask)
    try:
        merged = merge("linear", tmp_path / "out", shard_bytes=200_000)
    finally:
        os.umask(before)
    assert merged.stat().st_mode & 0o777 == 0o777 & ~umask
    modes = {path.name: path.stat().st_mode & 0o777 for path in merged.iterdir()}
    assert set(modes.values()) == {file_mode}, modes
    assert {"config.json", "tokenizer.json", "README.md", "mergekit_config.yml", INDEX} <= set(
        modes
    )


# ------------------------------------------------------------------------------ absent or whole


def test_a_folder_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with atomic_folder(target) as folder:
        (folder / "x").write_text("x")
        assert not target.exists()
    assert (target / "x").read_text() == "x"
    assert os.listdir(target.parent) == ["out"]


def test_an_exception_or_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    for trouble in (ValueError, KeyboardInterrupt):
        with pytest.raises(trouble, match="stop"):
            stop_within(tmp_path / "out", trouble)
        assert os.listdir(tmp_path) == []


def test_folders_made_for_a_result_go_with_it_unless_somebody_uses_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"):
        stop_within(tmp_path / "some" / "deep" / "out", ValueError)
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="stop"):
        stop_within(tmp_path / "some" / "deep" / "out", ValueError, beside=tmp_path / "some/other")
    assert os.listdir(tmp_path / "some") == ["other"]


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    check_target(tmp_path / "some" / "deep" / "out", expected_bytes=1)
    assert os.listdir(tmp_path) == []


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk" / "out").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "out")
    for replace in (False, True):
        with atomic_folder(tmp_path / "link", replace=replace) as folder:
            assert folder.parent == tmp_path / "disk"
            (folder / "new").touch()
        assert (tmp_path / "link").is_symlink()
        assert os.listdir(tmp_path / "link") == ["new"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a place that is mounted")
def test_a_mount_point_is_refused_at_once() -> None:
    with pytest.raises(OutputError, match=r"/proc is a mount point.* Choose a folder in it"):
        check_target(Path("/proc"), replace=True)


def stop_within(
    target: Path,
    trouble: type[BaseException],
    *,
    replace: bool = False,
    beside: Path | None = None,
) -> None:
    with atomic_folder(target, replace=replace) as folder:
        if beside:
            beside.touch()
        (folder / "new").write_text("new")
        raise trouble("stop")


def test_a_failed_replacement_keeps_the_old_result(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(ValueError, match="stop"):
        stop_within(tmp_path / "out", ValueError, replace=True)
    assert os.listdir(tmp_path / "out") == ["old"]
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["folder", "file", "empty", "leftovers"])
def test_replace_puts_the_new_result_in_place_of_the_old(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("old")
    else:
        target.mkdir()
    if kind in ("folder", "leftovers"):
        (target / "old").write_text("old")
    if kind == "leftovers":  # of a process that died in the middle
        left = f".out.partial-{NO_PROCESS}"
        for name in (left, ".out.old", ".out.probe"):
            (tmp_path / name).mkdir()
        (tmp_path / left / "half").write_text("half")
    with atomic_folder(target, replace=True) as folder:
        (folder / "new").write_text("new")
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["out"]


def test_two_processes_that_write_one_target_leave_each_other_alone(tmp_path: Path) -> None:
    other = tmp_path / f".out.partial-{os.getppid()}"  # a process that lives
    other.mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "mine").write_text("mine")
    assert sorted(os.listdir(tmp_path)) == [other.name, "out"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_existing_result_is_refused_without_replace(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(
        OutputError, match=r"out exists already. Choose another place, or pass --fo"
    ):
        merge("linear", target)
    assert (target if kind == "file" else target / "mine").read_text() == "mine"
    assert leftovers(tmp_path) == []


def test_an_empty_folder_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert Checkpoint(str(merge("linear", tmp_path / "out"))).entries
    assert leftovers(tmp_path) == []


# -------------------------------------------------------------------------------- bad places


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file/out", "out cannot be written: .*/file is not a folder. Choose another place"),
        ("file/deep/out", "out cannot be written: .*/file is not a folder. Choose another place"),
        ("a" * 300, "cannot be written: File name too long. Choose another place"),
        ("a" * 250, "cannot be written: File name too long. Choose another place"),
        ("dangling", "dangling cannot be written: Not a directory. Choose another place"),
    ],
)
def test_a_place_that_cannot_be_is_one_clear_line(
    tmp_path: Path, target: str, message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match=message) as caught:
        merge("linear", tmp_path / target)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a place nobody may write to")
def test_an_unwritable_place_is_one_clear_line() -> None:
    with pytest.raises(OutputError, match=r"/proc/out cannot be written: .*Choose another place"):
        check_target(Path("/proc/out"))


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Be somebody whom permissions bind: the superuser becomes nobody for a while."""
    if ROOT:
        os.seteuid(65534)
    yield
    if ROOT:
        os.seteuid(0)


@pytest.mark.parametrize("mode", [0o500, 0o000])
@pytest.mark.usefixtures("ordinary_user")
def test_a_folder_without_permission_is_one_clear_line(mode: int) -> None:
    with TemporaryDirectory() as place:
        locked = Path(place) / "locked"
        locked.mkdir(mode=mode)
        with pytest.raises(OutputError, match=r"out cannot be written: Permission denied\. Choose"):
            check_target(locked / "out")


# ---------------------------------------------------------------------------------- full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1.5 MB, where the user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)]
    if not ROOT or not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("only the superuser can mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_written(small_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"out needs 1.5. MB, only 1.5. MB are free there. Free"):
        merge("linear", small_disk / "out")
    assert os.listdir(small_disk) == []


@pytest.mark.parametrize("shard_bytes", [1 << 30, 200_000])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(small_disk: Path, shard_bytes: int) -> None:
    shapes = [Shape(f"t{i}", "U8", (150_000,)) for i in range(12)]
    with (
        pytest.raises(
            OutputError, match=r"the disk is full: .*out was not written. Free some spac"
        ),
        atomic_folder(small_disk / "out") as folder,
    ):
        write_numbers_fast(folder, shapes, shard_bytes)
    assert os.listdir(small_disk) == []


def write_numbers_fast(folder: Path, shapes: list[Shape], shard_bytes: int) -> None:
    data = memoryview(bytes(150_000))
    with Shards(folder, partition(shapes, shard_bytes)) as shards:
        for shape in shapes:
            shards.write(shape.name, 0, data)


def test_a_file_larger_than_the_user_may_write_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"out cannot be written: File too large. Choose ano"):
            merge("linear", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------------------- kill -9

FORKS_ON_DEMAND = """
import os, sys
import torch
from evomerge.cli.main import main
from evomerge.engine import merge
torch.set_num_threads(1)
merge("linear", sys.argv[2])  # everything is imported and warm before the first fork
print("warm", flush=True)
for line in sys.stdin:
    if (child := os.fork()) == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(quiet, stream)
        sys.argv[0:1] = ["evomerge", "merge", "linear", "--force", "--out-shard-size=300K"]
        del sys.argv[-1]
        main()
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
KILLS = 15


def test_a_killed_merge_leaves_a_complete_folder_or_none(tmp_path: Path) -> None:
    target, twin = tmp_path / "out", tmp_path / "twin"
    with subprocess.Popen(
        [sys.executable, "-c", FORKS_ON_DEMAND, str(target), str(twin)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "warm\n"
        whole = Checkpoint(str(twin)).fingerprint
        start = time.monotonic()
        _kill_one(parent, target, whole, None)
        step = 1.2 * (time.monotonic() - start) / KILLS
        seen = [_kill_one(parent, target, whole, step * number) for number in range(KILLS)]
        assert _kill_one(parent, target, whole, None), "nothing is in the way of the next run"
    assert not all(seen), "no kill came while a merge was under way"
    merge("linear", target, replace=True)  # the next run clears up
    assert sorted(os.listdir(tmp_path)) == ["out", "twin"]


def _kill_one(
    parent: "subprocess.Popen[str]", target: Path, whole: str, delay: float | None
) -> bool:
    """Kill a merge after `delay` seconds; tell whether its folder is there (and then whole)."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("go\n")
    parent.stdin.flush()
    child = int(parent.stdout.readline())
    if delay is not None:
        time.sleep(delay)
        with suppress(ProcessLookupError):  # it was done already
            os.kill(child, signal.SIGKILL)
    assert parent.stdout.readline() == "ended\n"
    if not target.exists():
        return False
    assert Checkpoint(str(target)).fingerprint == whole
    assert (target / "README.md").read_text().endswith("```\n")
    assert (target / "tokenizer.json").is_file()
    shutil.rmtree(target)
    return True
