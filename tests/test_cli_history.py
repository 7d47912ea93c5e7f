"""`shardmill history`: what it lists, what striking does to later runs, and what it says to a file that has no doc_keys."""

from __future__ import annotations

import json

import pytest
from history_made import EXACT, NEAR, Project, corpus, key_of, write_batch

from pipelines.cli import main
from pipelines.errors import InputError
from pipelines.history_adding import strike


@pytest.fixture
def project(shm_path, monkeypatch):
    """Two runs of three that share a history; the third batch has the first one's texts again."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    rows = corpus(24, 3, "a")
    write_batch(shm_path / "a", rows)
    write_batch(shm_path / "b", corpus(12, 4, "b"), files=1)
    write_batch(shm_path / "c", [{**row, "id": f"c{number}"} for number, row in enumerate(rows)])
    made = Project(shm_path, [NEAR, {"type": "line_dedup"}])
    made.run("a", ["a"])
    made.run("b", ["b"])
    return made


def shell(capsys, *words, status=0):
    found = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert found == status, (out, err)
    assert "Traceback" not in out + err
    return out, err


def listed(capsys, project):
    return json.loads(shell(capsys, "history", project.history, "--json")[0])


def keys_file(project, *lines):
    file = project.root / "keys.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def test_generations_are_listed(capsys, project):
    """A row for each: number, run, pipeline, version, files, documents that came in, what each operator kept, output."""
    found = listed(capsys, project)
    manifests = [project.output(name).manifest for name in "ab"]
    assert found["struck"] == 0
    for one, manifest, number, name in zip(found["generations"], manifests, (1, 2), "ab", strict=True):
        assert (one["number"], one["run_id"], one["version"]) == (number, manifest["run_id"], "v1")
        assert (one["rows"], one["num_files"]) == (manifest["input"]["rows"], manifest["input"]["files"])
        assert one["output"].endswith(f"out-{name}")
        without_words = sum(not row["text"].strip() for row in project.output(name).rows())
        kept = manifest["operators"][0]["rows_out"] - without_words
        assert [(operator["name"], operator["documents"]) for operator in one["operators"]] == [
            ("minhash_dedup", kept),
            ("line_dedup", None),
        ]
    table = shell(capsys, "history", project.history)[0].splitlines()
    assert table[0].split() == ["number", "run", "pipeline", "version", "files", "documents", "kept", "output"]
    assert [line.split()[:4] for line in table[1:]] == [[str(n), m["run_id"], "made", "v1"] for n, m in zip((1, 2), manifests, strict=True)]


def test_nothing_is_removed_for_a_document_that_is_struck(capsys, project):
    """Later runs keep what they would have removed for it; a second strike adds. Runs that it touches are done again."""
    project.run("c", ["c"])
    named = [row["kept_doc_key"].hex() for row in project.output("c").table("duplicates")]
    assert named
    for number, key in enumerate(sorted(set(named))[:2], 1):
        out, _ = shell(
            capsys, "history", project.history, "--strike", keys_file(project, "# withdrawn", "", key, f"{key.upper()}  # twice")
        )
        assert out == f"Struck 1 documents: {project.history}/tombstones/t0000{number}.arrow.\n"
        assert not project.run("c", ["c"]).was_finished
        project.prove("c")
        left = [row["kept_doc_key"].hex() for row in project.output("c").table("duplicates")]
        assert not set(left) & set(sorted(set(named))[:number])
        assert project.run("c", ["c"]).was_finished
    assert project.output("c").manifest["version"] == "v3"
    assert project.run("a", ["a"]).was_finished
    assert listed(capsys, project)["struck"] == 2
    assert "2 documents are struck." in shell(capsys, "history", project.history)[0]


def test_all_kept_documents_are_struck(capsys, shm_path, monkeypatch):
    """Then a batch is deduplicated as if it were the first."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    for number, name in enumerate("ab"):
        write_batch(shm_path / name, corpus(24, number, name))
    project = Project(shm_path, [EXACT, NEAR])
    project.run("a", ["a"])
    project.run("b", ["b"])
    named = {row["kept_doc_key"].hex() for row in project.output("b").table("duplicates")}
    while named:  # what nothing is removed for any more may be removed for another one
        shell(capsys, "history", project.history, "--strike", keys_file(project, *named))
        project.run("b", ["b"])
        named = {row["kept_doc_key"].hex() for row in project.output("b").table("duplicates")} - own(project, "b")
    project.run("alone", ["b"], alone=True)
    assert project.kept("b") == project.kept("alone")


def own(project, name):
    """doc_keys of all documents of a batch."""
    return {key_of(path, row).hex() for path in (project.root / name).glob("*.parquet") for row in range(24)}


def test_doc_keys_that_nobody_has_are_counted(capsys, project):
    """They are struck all the same: a run that ends later may have them."""
    project.run("c", ["c"])
    key = project.output("c").table("duplicates")[0]["kept_doc_key"].hex()
    past_the_end = key[:20] + "00000000ffff"
    file = keys_file(project, key, "0" * 32, past_the_end)
    found = json.loads(shell(capsys, "history", project.history, "--strike", file, "--json")[0])
    assert (found["struck"], found["unknown"], found["tombstones"]) == (3, 2, "tombstones/t00001.arrow")
    out, _ = shell(capsys, "history", project.history, "--strike", file)
    assert "2 of them are of no file that a generation has" in out


def test_a_line_that_is_no_doc_key_is_named(capsys, project):
    """Every one of the first is told with file and line, and nothing is struck."""
    file = keys_file(project, "a" * 32, "an id", "#", "b" * 31, *["?"] * 30)
    _, err = shell(capsys, "history", project.history, "--strike", file, status=2)
    lines = err.splitlines()
    assert lines[0].startswith(f"{file}:2: 'an id' is no doc_key; expected 32 hexadecimal digits")
    assert lines[1].startswith(f"{file}:4: ")
    assert len(lines) == 21
    assert lines[-1] == f"{file}:34: this and 11 more lines are none either"
    _, err = shell(capsys, "history", project.history, "--strike", keys_file(project, "# none"), status=2)
    assert "there is no doc_key in it" in err
    assert listed(capsys, project)["struck"] == 0


def test_a_folder_without_generations_is_no_history(capsys, tmp_path):
    """The message says how one comes to be; striking from it is refused too."""
    file = tmp_path / "keys.txt"
    file.write_text("a" * 32)
    for more in ((), ("--strike", file)):
        _, err = shell(capsys, "history", tmp_path, *more, status=1)
        assert "there is no generation" in err
    shell(capsys, "history", tmp_path, "--strike", tmp_path / "absent", status=2)


def test_a_damaged_generation_is_named(capsys, project):
    """Not a traceback, and not a list without it."""
    path = project.root / "history" / "generations" / "g00002.json"
    path.write_bytes(path.read_bytes()[:50])
    _, err = shell(capsys, "history", project.history, status=1)
    assert "generations/g00002.json cannot be read" in err


def test_keys_of_another_length_are_refused(project):
    """By the function behind the command."""
    for keys in ([], [b"short"]):
        with pytest.raises(InputError, match="each of 16 bytes"):
            strike(project.store, keys)
