"""A user who gives something else than a tokenizer.json is told what it is, and before any unit runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from corpora import documents, pipeline, write_parquet
from hypothesis import given
from hypothesis import strategies as st
from operator_samples import asset, small_tokenizer  # noqa: F401 -- a fixture

from operators.tokenizer_file import REMEDY, remedy_for
from pipelines import prepare, storage_contract
from pipelines.cli import main
from pipelines.errors import AccessDenied, Throttled, Unavailable
from pipelines.storage_retry import Backoff, StoreStats

ROOT = Path(__file__).resolve().parents[1]

FOREIGN = {
    "empty": (b"", "empty"),
    "spaces": (b" \n", "empty"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git lfs pull"),
    "page": (b"\n<!DOCTYPE html><html></html>", "/resolve/"),
    "merges": (b"#version: 0.2\nt h\n", "merges.txt"),
    "tiktoken": (b"IQ== 0\nIg== 1\n", "convert_tiktoken_to_fast"),
    "vocabulary": (b'{"!": 0, "a": 1}', "merges.txt"),
    "settings": (b'{"tokenizer_class": "GPT2Tokenizer"}', "lies beside it"),
    "tekken": (b'{"config": {}, "vocab": [{}]}', "tekken.json"),
    "cut off": (b'{"version": "1.0", "model": {"type": "BPE", "vo', "cut off or damaged"),
    "no UTF-8": (b'{"a": "\xff"}', "cut off or damaged"),
    "nested": (b'{"a":' * 100_000, "cut off or damaged"),
    "archive": (b"PK\x03\x04....", "unpack"),
    "bytes": (bytes(range(128, 256)), REMEDY),
    "list": (b"[1, 2]", REMEDY),
    "object": (b'{"a": []}', REMEDY),
}


@pytest.mark.parametrize(("content", "expected"), FOREIGN.values(), ids=FOREIGN)
def test_what_it_is_and_what_to_do(tmp_path, content, expected):
    """Each kind of file is known by its content, whatever its name."""
    (tmp_path / "tokenizer.json").write_bytes(content)
    assert expected in remedy_for(str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mistral/tokenizer.model.v1", "SentencePiece"),
        ("mistral/mistral_instruct_tokenizer_240323.model.v3", "SentencePiece"),
        ("whisper/gpt2.tiktoken", "convert_tiktoken_to_fast"),
        ("gpt2/vocab.bpe", "merges"),
        ("gpt2/encoder.json", "vocabulary"),
    ],
)
def test_real_files(name, expected):
    """Files as models are published with them are told apart."""
    assert expected in remedy_for(asset(f"tokenizers/{name}"))


def test_a_tokenizer_and_a_missing_file_get_the_general_words(small_tokenizer, tmp_path):  # noqa: F811
    """Nothing is said against a file that looks right, or cannot be looked at."""
    assert remedy_for(str(small_tokenizer)) == remedy_for(str(tmp_path / "none")) == remedy_for(str(tmp_path)) == REMEDY


@given(st.binary(max_size=60) | st.sampled_from([content[:200] for content, _ in FOREIGN.values()]).map(lambda content: content[:-1]))
def test_any_bytes_get_an_answer(tmp_path_factory, content):
    """Nothing that may lie in a file raises."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    assert remedy_for(str(path))


# --- through the command


class Trial:
    """A pipeline that tokenizes, and the command on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        write_parquet(folder / "in" / "a.parquet", documents(20))

    def written(self, tokenizer: str | Path, id_type: str | None = None, **sections: object) -> Path:
        """The pipeline with this tokenizer."""
        operators = [{"type": "tokenize", "tokenizer": str(tokenizer), **({"id_type": id_type} if id_type else {})}]
        return pipeline(self.folder / "made.yaml", f"{self.folder}/in/", self.folder / "out", operators, **sections)

    def refused(self, tokenizer: str | Path, status: int, **sections: object) -> str:
        """The one line that `plan` and `run` end with for this tokenizer; the output has no more than what a start leaves."""
        file = self.written(tokenizer, **sections)
        assert main(["validate", str(file)]) == 0, "validate opens nothing"
        self._capsys.readouterr()
        said = [self.ends(command, file, status) for command in ("plan", "run")]
        assert said[0] == said[1]
        assert "Traceback" not in said[0]
        left = {path.relative_to(self.folder / "out").parts[:2] for path in (self.folder / "out").rglob("*") if path.is_file()}
        assert left <= {("_shardmill", "locks")}
        return said[0]

    def ends(self, command: str, file: Path, status: int) -> str:
        """The one line that a command ends with."""
        assert main([command, str(file)]) == status
        out, err = self._capsys.readouterr()
        assert out == ""
        told = ("listing the input", "shardmill runbook the-hub-says-429", "shardmill runbook the-store-throttles")
        lines = [line for line in err.splitlines() if line.startswith("shardmill: ") or not line.endswith(told)]
        assert len(lines) == 1, lines
        return lines[0]


@pytest.fixture
def trial(tmp_path, capsys, monkeypatch) -> Trial:
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    return Trial(tmp_path, capsys)


@pytest.mark.parametrize("name", [name for name in FOREIGN if name != "spaces"])
def test_a_broken_file_starts_no_unit(trial, name):
    """Subject, found and remedy in one line."""
    path = trial.folder / "tokenizer.json"
    path.write_bytes(FOREIGN[name][0])
    said = trial.refused(path, 1)
    assert said.startswith("shardmill: operator 'tokenize': ")
    assert str(path) in said
    assert "cannot be read" in said
    assert FOREIGN[name][1] in said


@pytest.mark.parametrize(
    ("tokenizer", "missing"),
    [
        ("none.json", "no file none.json"),
        ("none/tokenizer.json", "no file none/tokenizer.json"),
        ("{folder}/none", "no folder {folder}/none;"),
        ("./none", "no folder ./none;"),
        ("../none", "no folder ../none;"),
        ("~/none", "no folder ~/none;"),
        ("{folder}/in", "no file {folder}/in/tokenizer.json"),
        ("empty", "no file empty/tokenizer.json"),
        ("folder.json", "no file folder.json/tokenizer.json"),
        ("dangling.json", "no file dangling.json"),
        ("file://{folder}/none.json", "no file file://{folder}/none.json"),
    ],
)
def test_a_file_that_is_not_there(trial, tokenizer, missing):
    """It is named as it was looked for; a path is never looked for on the Hub."""
    for folder in ("empty", "folder.json"):
        (trial.folder / folder).mkdir()
    (trial.folder / "dangling.json").symlink_to("nowhere")
    said = trial.refused(tokenizer.format(folder=trial.folder), 2)
    assert said.startswith("operator 'tokenize': there is " + missing.format(folder=trial.folder))
    assert "give a path or URL" in said


def test_a_folder_comes_before_a_model_of_that_name(trial, small_tokenizer):  # noqa: F811
    """`org/name` is a folder where there is one: nothing is asked of the Hub."""
    (trial.folder / "org" / "name").mkdir(parents=True)
    assert "no file org/name/tokenizer.json" in trial.refused("org/name", 2)
    (trial.folder / "org" / "name" / "tokenizer.json").write_bytes(Path(small_tokenizer).read_bytes())
    assert main(["run", str(trial.folder / "made.yaml"), "--quiet"]) == 0


def test_no_permission(trial, monkeypatch):
    """A file that may not be read is said to be that, and nothing of its content."""
    path = trial.folder / "tokenizer.json"
    path.write_text("{}")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read anything

        def denied(_sources, uri):
            raise AccessDenied(f"{uri}: permission denied (PermissionError: Permission denied); check the owner and mode of the file")

        monkeypatch.setattr(prepare, "asset_digest", denied)
    assert trial.refused(path, 2).startswith(f"operator 'tokenize': {path}: permission denied")


@pytest.mark.parametrize(
    ("tokenizer", "said"),
    [
        ("s3://key:planted@bucket/tokenizer.json", "Invalid bucket name"),
        ("s3://bucket/tokenizer.json?X-Amz-Signature=planted", "credentials"),
        ("foo://bucket/tokenizer.json", "no reader for this kind of URI"),
        ("a b/c", "names nothing on the Hub"),
        ("org/", "names no file on the Hub"),
        ("gpt2", "names no file on the Hub; an id there is OWNER/NAME"),
        ("hf://org", "names no file on the Hub"),
        ("hf://datasets/org/name", "names no file on the Hub"),
    ],
)
def test_places_that_cannot_be_read(trial, tokenizer, said):
    """Without credentials, without a reader, without a name that could be one: said at once, without the secrets of the URI."""
    found = trial.refused(tokenizer, 2)
    assert said in found
    assert "planted" not in found


def test_a_misspelt_learner_is_named(trial):
    """A name that is nearly that of an operator which learns was surely meant to be it."""
    operators = [{"type": "train_tokenizer"}, {"type": "tokenize", "tokenizer": "train_tokeniser"}]
    file = pipeline(trial.folder / "made.yaml", f"{trial.folder}/in/", trial.folder / "out", operators)
    assert "did you mean the operator 'train_tokenizer'?" in trial.ends("run", file, 2)


def test_a_vocabulary_that_the_id_type_cannot_hold(trial):
    """One entry too many for uint16 starts no unit; what fits runs."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    path = trial.folder / "tokenizer.json"
    Tokenizer(WordLevel({f"w{number}": number for number in range((1 << 16) + 1)}, unk_token="w0")).save(str(path))
    assert "uint16" in trial.refused(path, 1, id_type="uint16")
    Tokenizer(WordLevel({f"w{number}": number for number in range(1 << 16)}, unk_token="w0")).save(str(path))
    assert main(["run", str(trial.folder / "made.yaml"), "--quiet"]) == 0


# --- the Hub


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Waits between tries, which pass at once."""
    found: list[float] = []
    monkeypatch.setattr(storage_contract, "Backoff", partial(Backoff, sleep=found.append))
    return found


def hub(port: int) -> dict[str, object]:
    return {"input": {"storage_options": {"endpoint": f"http://127.0.0.1:{port}"}}}


@pytest.fixture
def answering() -> Iterator[Callable[[int], int]]:
    """Starts a Hub that answers every question with one status; returns its port."""
    servers = []

    def start(status: int) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"status": status}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class _Answers(BaseHTTPRequestHandler):
    status = 404

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("X-Error-Code", "GatedRepo" if self.status == 403 else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *words: object) -> None:
        """Tests read standard error."""


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_unknown_or_private_model(trial, answering, waits, status):
    """The Hub does not tell these apart without a token, so neither does the message; nothing is tried twice."""
    said = trial.refused("some-org/some-model", 2, **hub(answering(status)))
    assert said.startswith("operator 'tokenize': there is no file hf://some-org/some-model/tokenizer.json")
    assert "HF_TOKEN" in said
    assert waits == []


def test_without_a_network(trial, waits):
    """A Hub that nobody answers for is asked a bounded number of times; the remedy works without it."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        said = trial.refused("some-org/some-model", 2, **hub(nobody.getsockname()[1]))
    assert said.startswith("operator 'tokenize': hf://some-org/some-model/tokenizer.json: no usable answer")
    assert said.endswith("or give the path of a file on this machine")
    assert 0 < sum(waits) < 2 * prepare.MAX_ASSET_SECONDS


def test_with_the_hub_switched_off(trial):
    """Offline mode is a setting and no failure: it is said at once, and which one it is."""
    file = trial.written("some-org/some-model")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines.cli", "plan", str(file)]
    done = subprocess.run(command, cwd=trial.folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE" in done.stderr
    assert "retries" not in done.stderr


class BusyError(ConnectionError):
    """What a store raises that answers 503."""

    status = 503


@pytest.mark.parametrize(("error", "tries"), [(TimeoutError("no answer"), 2), (BusyError("busy"), 8)])
def test_who_does_not_answer_is_not_waited_for(error, tries):
    """With a bound, no try begins after it, however long each takes; a store that says that it is busy is there, and gets all tries."""
    asked: list[float] = []
    backoff = Backoff(StoreStats(), max_seconds=20.0, sleep=lambda _: None, clock=lambda: 10.0 * len(asked))

    def request() -> None:
        asked.append(0.0)
        raise error

    with pytest.raises((Unavailable, Throttled)):
        backoff.run("hf://a/b", request)
    assert len(asked) == tries
