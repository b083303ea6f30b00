import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from sandboxes.bundle import Bundle, build, check, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "inner" / "a.py").write_text("a = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    return folder


def names(bundle: Bundle) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(bundle.archive)) as tar:
        return tar.getnames()


def test_what_is_packed_is_unpacked(folder, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    unpack(build({"part": folder, "other": folder / "inner"}), target)
    assert (target / "part" / "inner" / "a.py").read_text() == "a = 1\n"
    assert (target / "other" / "a.py").read_text() == "a = 1\n"
    assert os.access(target / "part" / "run.sh", os.X_OK)
    assert not os.access(target / "part" / "b.txt", os.X_OK)


def test_the_same_content_gives_the_same_bundle(folder):
    first = build({"part": folder})
    os.utime(folder / "b.txt", (1, 1))
    (folder / "b.txt").chmod(0o600)
    (folder / "inner" / "a.py").rename(folder / "moved")
    (folder / "moved").rename(folder / "inner" / "a.py")
    assert build({"part": folder}) == first


def test_hard_links_do_not_show(folder):
    (folder / "copy.txt").write_text("b")
    first = build({"part": folder})
    (folder / "copy.txt").unlink()
    (folder / "copy.txt").hardlink_to(folder / "b.txt")
    assert build({"part": folder}) == first


@pytest.mark.parametrize("change", ["content", "name", "mode", "part"])
def test_other_content_gives_another_digest(folder, change):
    first = build({"part": folder})
    if change == "content":
        (folder / "b.txt").write_text("c")
    if change == "name":
        (folder / "b.txt").rename(folder / "c.txt")
    if change == "mode":
        (folder / "b.txt").chmod(0o755)
    assert build({"other" if change == "part" else "part": folder}).digest != first.digest


def test_the_digest_is_that_of_the_uncompressed_content(folder):
    bundle = build({"part": folder})
    assert hashlib.sha256(gzip.decompress(bundle.archive)).hexdigest() == bundle.digest


@pytest.mark.parametrize("name", ["__pycache__", "target", ".git", ".mypy_cache"])
def test_what_builds_and_tools_leave_is_left_out(folder, name):
    first = build({"part": folder})
    (folder / "inner" / name).mkdir()
    (folder / "inner" / name / "big.bin").write_bytes(b"0" * 1000)
    assert build({"part": folder}) == first


def test_a_link_inside_is_packed_as_the_file(folder):
    (folder / "inner" / "link.txt").symlink_to("../b.txt")
    bundle = build({"part": folder})
    with tarfile.open(fileobj=io.BytesIO(bundle.archive)) as tar:
        assert tar.getmember("part/inner/link.txt").isreg()
        assert tar.extractfile("part/inner/link.txt").read() == b"b"


@pytest.mark.parametrize("target", ["../../secret.txt", "/etc/hostname", "..", "missing.txt"])
def test_a_link_that_leads_out_or_nowhere_is_refused(folder, tmp_path, target):
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "inner" / "link").symlink_to(target)
    with pytest.raises(ConfigurationError, match=r"inner/link"):
        build({"part": folder})


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere.*`part`"):
        build({"part": tmp_path / "nowhere"})


def test_a_pipe_is_refused(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(ConfigurationError, match="pipe"):
        build({"part": folder})


def test_nothing_is_written_outside_of_the_folder(tmp_path):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("fine.txt"))
        tar.addfile(tarfile.TarInfo("../escaped.txt"))
    target = tmp_path / "target"
    target.mkdir()
    bundle = Bundle(gzip.compress(plain.getvalue()), hashlib.sha256(plain.getvalue()).hexdigest())
    with pytest.raises(ConfigurationError, match="escaped"):
        unpack(bundle, target)
    assert not (tmp_path / "escaped.txt").exists()
    with pytest.raises(ConfigurationError, match="escaped"):
        check(bundle)


def test_a_bundle_is_checked_without_a_trace(folder, tmp_path, monkeypatch):
    """A process that is killed meanwhile would leave it behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    check(build({"part": folder}))
