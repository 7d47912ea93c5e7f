"""What a person is told when a Hub is none, a token is none, or a request fails: one message with a remedy, and no secret in it."""

from __future__ import annotations

import errno
import http.server
import threading
import uuid

import pytest
from publications import REPO, make_outputs, published

from pipelines import publish_sources
from pipelines.cli import main
from pipelines.errors import AccessDenied, ConfigError, StorageError, StorageFull
from pipelines.hub_endpoint import THE_HUB, hub_endpoint
from pipelines.publish_files import File
from pipelines.published import open_finished
from pipelines.storage import HubStore, open_store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An output with one version."""
    return make_outputs(tmp_path_factory.mktemp("published"))[0]


@pytest.fixture
def answering(monkeypatch):
    """A server that is no Hub: it answers everything with the same body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        body = b""

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body)

        do_POST = do_GET  # noqa: N815 - the name of the base

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield Handler
        server.shutdown()


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"{}", b"[]", b"null", b'"a"', b""])
def test_a_server_that_is_no_hub_is_told(hub, made, answering, body):
    """A page of a proxy that wants a login, or another service."""
    answering.body = body
    for attempt in (
        lambda: published(made),
        lambda: open_finished(f"hf://datasets/{REPO}"),
        lambda: HubStore(f"hf://datasets/{REPO}").commit,
    ):
        with pytest.raises(StorageError, match="check HF_ENDPOINT"):
            attempt()


@pytest.mark.parametrize("token", ["hf_schlüssel", "hf_“quoted”"])
def test_a_token_that_is_none_is_told(hub, made, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    for attempt in (lambda: published(made), lambda: open_finished(f"hf://datasets/{REPO}")):
        with pytest.raises(AccessDenied, match=r"holds characters .* HF_TOKEN") as caught:
            attempt()
        assert token not in caught.value.message


@pytest.mark.parametrize("address", ["nonsense", "huggingface.co", "ftp://example.com", "https://", "http:///api"])
def test_an_address_that_is_none_is_told_at_once(made, monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    for attempt in (lambda: published(made), lambda: open_finished(f"hf://datasets/{REPO}")):
        with pytest.raises(ConfigError, match=r"HF_ENDPOINT: found .* expected an address"):
            attempt()


def test_an_address_may_end_with_a_slash_or_be_empty(hub, made, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint + "/")
    assert published(made).url == f"{hub.endpoint}/datasets/{REPO}"
    assert open_finished(f"hf://datasets/{REPO}").exists("manifest.json")
    assert not any("//" in entry.path for entry in hub.log)
    monkeypatch.setenv("HF_ENDPOINT", " ")
    assert hub_endpoint() == THE_HUB


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_no_signed_address_is_told_also_in_a_traceback(hub, made, capfd, debug):
    """The store of large files refuses; its client says under which address."""
    hub.settings.lfs_bytes = 10
    with hub.fail("status", server="lfs", method="PUT", status=403, times=None):
        assert main(["publish", str(made), "--repo", REPO, *debug]) == 1
    told = "".join(capfd.readouterr())
    assert "upload" in told
    assert ("Traceback" in told) == bool(debug)
    assert "X-Amz-Signature=[redacted]" in told or not debug
    assert not any(f"ignature={digit}" in told for digit in "0123456789abcdef")


def test_a_token_that_ends_meanwhile_is_told_and_a_new_one_goes_on(hub, made, monkeypatch):
    old = hub.token("write", name="ending")
    monkeypatch.setenv("HF_TOKEN", old)
    with hub.fail("status", matching="/commit/main", status=401, times=None), pytest.raises(AccessDenied, match="HF_TOKEN"):
        published(made)
    monkeypatch.setenv("HF_TOKEN", hub.token())
    assert published(made).changed
    assert max(hub.uploads.values()) == 1


def test_a_temporary_folder_that_is_full_is_told(monkeypatch, tmp_path):
    """Large objects of a store that is no folder are copied there before they are sent."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    store.create("data/large.parquet", b"x" * 50)

    class Full:
        def __init__(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(publish_sources, "IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(publish_sources.Path, "open", Full)
    file = File("data/large.parquet", 50, None)
    with pytest.raises(StorageFull, match=r"data/large.parquet .*No space left on device.* TMPDIR"), publish_sources.sources(store, [file]):
        pass
