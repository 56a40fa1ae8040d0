"""Downloads from a local server that misbehaves, and archives that lie."""

import hashlib
import io
import json
import tarfile
import zipfile
from types import SimpleNamespace

import pytest
from local_server import serve

from ssmde_lib.data import download as module
from ssmde_lib.data.download import Remote, download, unpack
from ssmde_lib.errors import UserError

BODY = bytes(range(256)) * 40
SHA = "sha256:" + hashlib.sha256(BODY).hexdigest()


def test_says_size_and_licence_and_downloads_once(tmp_path, capsys):
    with serve({"a.zip": BODY}) as (url, requests):
        remote = Remote(f"{url}/a.zip", "CC BY 4.0", SHA)
        assert download(remote, tmp_path).read_bytes() == BODY
        said = capsys.readouterr().out
        assert "a.zip: 0.0 MB, about 0 min" in said and "licence: CC BY 4.0" in said
        download(remote, tmp_path)
        assert len(requests) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_a_cut_transfer_resumes_where_it_ended(tmp_path):
    with serve({"a.zip": BODY}, cut=3000) as (url, requests):
        remote = Remote(f"{url}/a.zip", "none", SHA)
        with pytest.raises(UserError, match="run again to resume"):
            download(remote, tmp_path)
        assert not (tmp_path / "a.zip").exists() and (tmp_path / "a.zip.part").stat().st_size == 3000
        assert download(remote, tmp_path).read_bytes() == BODY
        assert requests[1]["Range"] == "bytes=3000-"


def test_a_part_of_another_version_is_not_continued(tmp_path):
    with serve({"a.zip": b"old" * 2000}, cut=3000) as (url, _), pytest.raises(UserError):
        download(Remote(f"{url}/a.zip", "none"), tmp_path)
    with serve({"a.zip": BODY}) as (url, _):
        assert download(Remote(f"{url}/a.zip", "none"), tmp_path).read_bytes() == BODY


def test_a_whole_part_is_taken(tmp_path):
    (tmp_path / "a.zip.part").write_bytes(BODY)
    (tmp_path / "a.zip.part-etag").write_text(f'"{hashlib.md5(BODY).hexdigest()}"')
    with serve({"a.zip": BODY}) as (url, _):
        assert download(Remote(f"{url}/a.zip", "none", SHA), tmp_path).read_bytes() == BODY


def test_a_wrong_checksum_keeps_nothing(tmp_path):
    with (
        serve({"a.zip": BODY[:-1] + b"x"}) as (url, _),
        pytest.raises(UserError, match="does not have the checksum sha256"),
    ):
        download(Remote(f"{url}/a.zip", "none", SHA), tmp_path)
    assert not list(tmp_path.glob("a.zip*"))


def test_without_a_published_checksum_the_first_one_is_held_to(tmp_path):
    with serve({"a.zip": BODY}) as (url, _):
        path = download(Remote(f"{url}/a.zip", "none"), tmp_path)
    assert json.loads((tmp_path / "checksums.json").read_text()) == {"a.zip": SHA}
    path.write_bytes(b"spoilt")
    with pytest.raises(UserError, match="delete it to download it again"):
        download(Remote(f"{url}/a.zip", "none"), tmp_path)
    path.unlink()
    with serve({"a.zip": BODY + b"!"}) as (url, _), pytest.raises(UserError, match="does not have the checksum"):
        download(Remote(f"{url}/a.zip", "none"), tmp_path)


def test_absent_files_and_servers(tmp_path):
    with serve({}) as (url, _), pytest.raises(UserError, match="status 404"):
        download(Remote(f"{url}/a.zip", "none"), tmp_path)
    with pytest.raises(UserError, match="ConnectionError"):
        download(Remote(f"{url}/a.zip", "none"), tmp_path)


def test_a_small_disk_is_refused_before_the_transfer(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with (
        serve({"a.zip": BODY}) as (url, _),
        pytest.raises(UserError, match="needed to download a.zip: use another disk"),
    ):
        download(Remote(f"{url}/a.zip", "none", SHA), tmp_path)
    assert not list(tmp_path.glob("a.zip*.part"))
    make_zip(tmp_path / "b.zip", {"x": BODY})
    with pytest.raises(UserError, match="needed to unpack b.zip"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


def make_zip(path, files, **attributes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes.get("mode", 0o100644) << 16
            file.writestr(info, body)
    return path


def make_tar(path, members):
    with tarfile.open(path, "w:gz" if path.suffix in (".tgz", ".gz") else "w") as file:
        for name, body, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = len(body) if kind == tarfile.REGTYPE else 0
            info.linkname = body.decode() if kind != tarfile.REGTYPE else ""
            file.addfile(info, io.BytesIO(body) if kind == tarfile.REGTYPE else None)
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.tar"])
def test_unpacks_what_is_wanted_once(tmp_path, name):
    files = {"d/x.txt": b"x" * 5000, "d/y.txt": b"y"}
    path = tmp_path / name
    if name.endswith("zip"):
        make_zip(path, files)
    else:
        make_tar(path, [(file, body, tarfile.REGTYPE) for file, body in files.items()])
    unpack(path, tmp_path / "out", lambda member: member.endswith("x.txt"))
    assert [p.name for p in (tmp_path / "out").rglob("*.txt")] == ["x.txt"]
    assert (tmp_path / "out/d/x.txt").read_bytes() == b"x" * 5000
    (tmp_path / "out/d/x.txt").unlink()
    unpack(path, tmp_path / "out")
    assert not (tmp_path / "out/d/x.txt").exists()  # it was done


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil"])
def test_hostile_paths_write_nothing(tmp_path, name):
    out = tmp_path / "in" / "out"
    for archive in (
        make_zip(tmp_path / "a.zip", {name: b"x"}),
        make_tar(tmp_path / "a.tar", [(name, b"x", tarfile.REGTYPE)]),
    ):
        with pytest.raises(UserError, match="a path out of its folder"):
            unpack(archive, out)
    assert not list(tmp_path.rglob("evil*")) and not list(out.iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = make_tar(tmp_path / "a.tar", [("link", b"/etc", kind), ("link/evil", b"x", tarfile.REGTYPE)])
    with pytest.raises(UserError, match="a link, a device"):
        unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_zip_links_are_refused_and_links_in_the_way_replaced(tmp_path):
    with pytest.raises(UserError, match="a link"):
        unpack(make_zip(tmp_path / "a.zip", {"link": b"/etc"}, mode=0o120777), tmp_path / "out")
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "out/x").symlink_to(tmp_path / "outside")
    unpack(make_zip(tmp_path / "b.zip", {"x": b"theirs"}), tmp_path / "out")
    assert (tmp_path / "outside").read_text() == "mine" and (tmp_path / "out/x").read_text() == "theirs"


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
@pytest.mark.parametrize("damage", ["truncated", "corrupted", "not an archive"])
def test_damaged_archives(tmp_path, name, damage):
    import random

    body = random.Random(0).randbytes(20000)
    path = tmp_path / name
    make_zip(path, {"x": body}) if name.endswith("zip") else make_tar(path, [("x", body, tarfile.REGTYPE)])
    whole = bytearray(path.read_bytes())
    if damage == "truncated":
        whole = whole[: len(whole) // 2]
    elif damage == "corrupted":
        whole[5000:5100] = bytes(100)
    else:
        whole = b"<html>please log in</html>"
    path.write_bytes(whole)
    with pytest.raises(UserError, match="cannot be unpacked .*download it again"):
        unpack(path, tmp_path / "out")
