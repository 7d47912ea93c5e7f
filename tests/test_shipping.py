"""What is shipped to the nodes of a cluster: our packages, a pipeline's modules, small files; and plain settings of the environment."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from cluster import shippable, shipping
from cluster.forwarding import forwarded
from cluster.shippable import PACKAGES, ShippingError
from cluster.shipping import FILES, PIPELINE, Shipment, staged
from pipelines.assets import local_asset
from pipelines.cluster_target import cluster_target
from pipelines.config import load
from pipelines.errors import InputError
from pipelines.storage import Sources

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "pipeline"
    for name in ("own.py", "deep/er/other.py", "data/big.bin", "words/a.txt", ".hidden/no.py", "__pycache__/no.py", "env/lib/no.py"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    (made / "env" / "pyvenv.cfg").touch()
    (made / "loop").symlink_to(made)
    return made


def held(root, below=""):
    return sorted(str(path.relative_to(root / below)) for path in (root / below).rglob("*") if path.is_file())


def test_the_packages_are_shipped_whole(folder):
    """Every source and every data file of our three packages, and no compiled leftovers."""
    with staged(Shipment(folder)) as root:
        for package in PACKAGES:
            sources = [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
            assert held(root, package) == sorted(str(path.relative_to(ROOT / package)) for path in sources)
        assert held(root, PIPELINE) == []
        assert {path.name for path in root.iterdir()} == {*PACKAGES, PIPELINE}
    assert not root.exists()


def test_of_a_pipeline_its_modules_and_named_files_are_shipped(folder):
    """Not its data, nothing hidden, no environment, and no link to a folder is followed."""
    with staged(Shipment(folder, modules=True, extra=("words/*",))) as root:
        assert held(root, PIPELINE) == ["deep/er/other.py", "own.py", "words/a.txt"]


def test_other_files_are_shipped_by_their_names(folder):
    """A worker finds them under the name that the driver gave."""
    with staged(Shipment(folder, files={"abc": folder / "data/big.bin"})) as root:
        assert (root / FILES / "abc").read_text() == "data/big.bin"


def test_too_much_is_refused(folder, monkeypatch):
    """Too many bytes, too many files and a pattern that matches nothing: each says what to do."""
    with pytest.raises(ShippingError, match=r"^cluster.ship: 'nothing' matches no file in"), staged(Shipment(folder, extra=("nothing",))):
        pass
    monkeypatch.setattr(shipping, "MAX_BYTES", 1000)
    with (
        pytest.raises(ShippingError, match=r"MB would have to be shipped .* the largest are .*put large files where"),
        staged(Shipment(folder)),
    ):
        pass
    monkeypatch.setattr(shippable, "MAX_ENTRIES", 10)
    with pytest.raises(ShippingError, match="more than 10 files"), staged(Shipment(folder, modules=True)):
        pass


def test_a_worker_finds_what_was_shipped(folder, tmp_path, monkeypatch):
    """The pipeline's folder is that of the shipment for the pipeline that was shipped, and itself for every other."""
    unpacked = tmp_path / "working_dir_files" / "_ray_pkg_1"
    (unpacked / PIPELINE).mkdir(parents=True)
    (unpacked / FILES).mkdir()
    (unpacked / FILES / "abc").touch()
    assert shipping.here(str(folder)) == folder
    assert shipping.shipped_file("abc") is None
    monkeypatch.setenv("PYTHONPATH", f"{unpacked}{os.pathsep}/elsewhere")
    for name, value in shipping.addressed(Shipment(folder)).items():
        monkeypatch.setenv(name, value)
    assert shipping.here(str(folder)) == unpacked / PIPELINE
    assert shipping.here("/another") == Path("/another")
    assert shipping.shipped_file("abc") == unpacked / FILES / "abc"
    assert shipping.shipped_file("abd") is None


def test_a_job_ships_nothing_twice(tmp_path, monkeypatch):
    """In a Ray job that has a working directory, workers find the pipeline in theirs; outside it there is nothing to find."""
    unpacked = tmp_path / "working_dir_files" / "_ray_pkg_1"
    (unpacked / "mine").mkdir(parents=True)
    environment = {"working_dir": "gcs://_ray_pkg_1.zip", "env_vars": {"A": "1"}}
    monkeypatch.setenv(shipping.JOB, json.dumps({"runtime_env": environment, "metadata": {}}))
    monkeypatch.setenv("PYTHONPATH", str(unpacked))
    assert shipping.job_environment() == environment
    assert shipping.job_folder(environment) == unpacked
    assert shipping.job_folder({"working_dir": "local:///image/app"}) == Path("/image/app")
    assert shipping.job_folder({}) is None
    found = shipping.inherited(Shipment(unpacked / "mine"), unpacked)
    assert found == {shipping.FROM: str(unpacked / "mine"), shipping.AS: "mine"}
    assert shipping.inherited(Shipment(tmp_path), unpacked) == {}


def test_small_local_assets_are_shipped(tmp_path):
    """A list beside the pipeline goes with it by its content; one in an object store is left to the workers."""
    (tmp_path / "mine.txt").write_text("word\n")
    (tmp_path / "p.yaml").write_text(
        f"name: p\ninput: {{uri: {tmp_path}/in/*.parquet}}\noutput: {{uri: {tmp_path}/out}}\ncluster: {{type: ray}}\n"
        f"operators: [{{type: bad_words, lists: {{en: {tmp_path}/mine.txt}}}}]\n"
    )
    shipment = cluster_target(load(tmp_path / "p.yaml")).shipment
    (path,) = shipment.files.values()
    assert path.read_text() == "word\n"
    assert not shipment.modules


def test_a_worker_takes_a_shipped_asset(tmp_path, monkeypatch):
    """An asset that only the driver's machine has is read from what was shipped; one that was not shipped is named, with what to do."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    unpacked, gone = tmp_path / "unpacked", f"{tmp_path}/gone.txt"
    (unpacked / PIPELINE).mkdir(parents=True)
    (unpacked / FILES).mkdir()
    digest = sha256(b"word\n").hexdigest()
    (unpacked / FILES / digest).write_bytes(b"word\n")
    monkeypatch.setenv("PYTHONPATH", str(unpacked))
    monkeypatch.setenv(shipping.AS, PIPELINE)
    assert local_asset(Sources({}), gone, digest).read_bytes() == b"word\n"
    with pytest.raises(InputError, match=r"gone.txt: there is no such file on this node .*only small ones are shipped"):
        local_asset(Sources({}), gone, "0" * 64)


def test_secrets_are_not_forwarded(monkeypatch):
    """Plain settings of stores and our own go to the workers; credentials, and addresses with a password, never."""
    plain = {
        "AWS_REGION": "eu",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "SHARDMILL_THING": "1",
        "AWS_ENDPOINT_URL": "http://a:9",
    }
    secret = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "HF_TOKEN": "d",
        "RAY_AUTH_TOKEN": "e",
        "SHARDMILL_STORE_SECRET": "f",
        "AWS_ENDPOINT_URL_S3": "http://user:word@a:9",
    }
    for name, value in (plain | secret).items():
        monkeypatch.setenv(name, value)
    found = forwarded()
    assert plain.items() <= found.items()
    assert not set(secret) & set(found)
