"""`shardmill diff`: which versions are meant, what it prints for people and as JSON, and what it says where there is nothing to compare."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from corpora import config_of, documents, write_parquet
from made import Output as Made

from pipelines import difference_versions
from pipelines.cli import main
from pipelines.difference_versions import open_version
from pipelines.run import run
from pipelines.storage import open_store

SECRET = "hunter2secret"


@pytest.fixture
def output(shm_path: Path, no_fsync: None) -> Path:
    """Three versions, each with a higher threshold."""
    for number in range(2):
        write_parquet(shm_path / "in" / f"{number}.parquet", documents(50, seed=number))
    for least in (2, 40, 60):
        run(config_of(shm_path / "p.yaml", f"{shm_path}/in/", shm_path / "out", [{"type": "length_filter", "min_chars": least}]))
    return shm_path / "out"


def shell(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> tuple[str, str]:
    found = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert found == status, (out, err)
    assert "Traceback" not in out + err
    return out, err


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell(capsys, "diff", *words, "--json")[0])
    return found


def test_two_versions_are_compared(capsys: pytest.CaptureFixture[str], output: Path) -> None:
    """The setting, the counts and the documents that went, as tables and as one JSON object."""
    found = told(capsys, f"{output}@v1", f"{output}@v2")
    assert (found["old"]["version"], found["new"]["version"], found["lineage"], found["same"]) == ("v1", "v2", "child", False)
    assert found["operators"][0]["settings"] == [{"path": "min_chars", "old": 2, "new": 40}]
    numbers, counts = found["numbers"]["documents"], found["documents"]
    assert counts["removed"] == numbers["old"] - numbers["new"] > 0
    assert counts["removed_by"] == [{"what": "dropped", "operator": "length_filter", "reason": "too_short", "documents": counts["removed"]}]
    text, _ = shell(capsys, "diff", f"{output}@v1", f"{output}@v2", "--examples", "2")
    assert text.startswith("made: v1 \u2192 v2\n")
    assert re.search(r"^length_filter +min_chars +2 +40$", text, re.MULTILINE)
    assert re.search(rf"^removed +\u2212{counts['removed']} ", text, re.MULTILINE)
    assert len(re.findall(r"length_filter: too_short", text)) == 2


def test_one_output_is_compared_with_the_version_before(capsys: pytest.CaptureFixture[str], output: Path) -> None:
    """Its current version, or the one that is named, with its parent; the first has none."""
    assert told(capsys, output)["old"]["version"] == "v2"
    assert told(capsys, f"{output}@v2")["old"]["version"] == "v1"
    first = told(capsys, f"{output}@v1")
    assert (first["old"], first["lineage"], first["documents"]) == (None, "first", None)
    assert "is the first version" in shell(capsys, "diff", f"{output}@v1")[0]


def test_versions_further_apart_are_known_to_descend(capsys: pytest.CaptureFixture[str], output: Path) -> None:
    """The chain of parents is followed through the manifests that are here; without one of them nothing is claimed."""
    assert told(capsys, f"{output}@v1", output)["lineage"] == "descendant"
    assert told(capsys, output, f"{output}@v2")["lineage"] == "ancestor"
    (output / "versions/v2/manifest.json").unlink()
    assert told(capsys, f"{output}@v1", output, "--no-documents")["lineage"] == "unrelated"
    assert "name the version to compare it with" in shell(capsys, "diff", output, status=1)[1]


def test_documents_are_compared_only_if_wanted(capsys: pytest.CaptureFixture[str], output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--no-documents` reads the manifests alone."""
    for path in [*output.rglob("*.parquet")]:
        path.unlink()
    assert told(capsys, output, "--no-documents")["documents"] is None
    lost = told(capsys, output)["documents"]
    assert (lost["by"], "removed" in lost, lost["shards"]) == (None, False, None)
    assert "cannot be compared one by one" in shell(capsys, "diff", output)[0]


def test_no_examples_can_be_asked_for(capsys: pytest.CaptureFixture[str], output: Path) -> None:
    """Then none is named."""
    assert told(capsys, output, "--examples", "0")["documents"]["examples"] == {"removed": [], "added": [], "changed_files": []}
    assert "for example" not in shell(capsys, "diff", output, "--examples", "0")[0]


def test_a_path_with_an_at_sign_that_is_there_is_meant(capsys: pytest.CaptureFixture[str], output: Path) -> None:
    """A folder whose name ends in `@v1` wins over a version of another one."""
    other = output.rename(output.parent / "odd@v1")
    assert told(capsys, other)["new"]["version"] == "v3"
    assert told(capsys, f"{other}@v2")["new"]["version"] == "v2"


def test_versions_in_an_object_store_are_compared(
    capsys: pytest.CaptureFixture[str], s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words name a version there; an output whose address ends so is meant as it is."""
    monkeypatch.setattr(difference_versions, "open_finished", lambda uri: open_store(uri, s3_server.options))
    bucket = s3_server.make_bucket()
    for name in ("out", "odd@v1"):
        Made().write(open_store(f"s3://{bucket}/{name}", s3_server.options))
        Made(version="v2").write(open_store(f"s3://{bucket}/{name}", s3_server.options))
    found = told(capsys, f"s3://{bucket}/out@v1", f"s3://{bucket}/out")
    assert (found["old"]["version"], found["new"]["version"]) == ("v1", "v2")
    assert (found["documents"]["by"], found["documents"]["removed"], found["documents"]["shards"]["both"]["files"]) == ("doc_key", 0, 0)
    assert open_version(f"s3://{bucket}/odd@v1").manifest["version"] == "v2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no manifest.json: nothing is finished here"),
        (["out@v9"], "version v9 is not finished here; finished: v1, v2, v3"),
        (["out", "in"], "no manifest.json: nothing is finished here"),
    ],
)
def test_what_is_not_there_is_one_message(capsys: pytest.CaptureFixture[str], output: Path, words: list[str], message: str) -> None:
    """Which address, and what there is instead."""
    out, err = shell(capsys, "diff", *(output.parent / word for word in words), status=1)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"{}", b'{"version": "v3"}', b'{"manifest_version": 99}', b"\xff\xfe", b"null"]
)
def test_rubbish_instead_of_a_manifest_is_one_message(capsys: pytest.CaptureFixture[str], output: Path, content: bytes) -> None:
    """It is named as no manifest, whichever of the two it is."""
    sound = f"{output}@v1"
    (output / "manifest.json").write_bytes(content)
    for pair in ([output, sound], [sound, output], [output]):
        out, err = shell(capsys, "diff", *pair, status=1)
        assert out == ""
        assert "not a manifest that can be compared" in err
        assert f"{output}/manifest.json" in err
        assert err.count("\n") == 1


def test_a_manifest_in_anothers_place_is_refused(capsys: pytest.CaptureFixture[str], output: Path) -> None:
    """A folder of a version must hold that version."""
    (output / "versions/v1/manifest.json").write_bytes((output / "versions/v2/manifest.json").read_bytes())
    assert "expected 'v1', whose folder it is in" in shell(capsys, "diff", f"{output}@v1", output, status=1)[1]


def test_no_secret_of_an_address_is_printed(capsys: pytest.CaptureFixture[str], shm_path: Path) -> None:
    """Signatures in the addresses of input files are left out of examples."""
    uri = f"https://host/a.parquet?X-Amz-Signature={SECRET}"
    for version, dropped in (("v1", []), ("v2", [((0, 1), "short", "too_short")])):
        kept = [(0, row) for row in range(3) if (0, row) not in [place for place, _, _ in dropped]]
        Made(version=version, inputs=[(uri, [3])], dropped=dropped, quarantined=[], duplicates=[], shards=[("", kept)]).write(
            open_store(str(shm_path / "out"))
        )
    words = (f"{shm_path}/out@v1", f"{shm_path}/out")
    assert told(capsys, *words)["documents"]["removed"] == 1
    for more in ([], ["--json"]):
        out, err = shell(capsys, "diff", *words, *more)
        assert "https://host/a.parquet" in out
        assert SECRET not in out + err


def test_the_parent_of_a_manifest_is_found_by_its_digest(output: Path) -> None:
    """An older version that was changed since is not taken for the parent."""
    path = output / "versions/v2/manifest.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes())))
    with pytest.raises(difference_versions.NotFound, match="the version before v3 is not here"):
        difference_versions.parent_of(open_version(str(output)))
