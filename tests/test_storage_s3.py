"""What S3 can do wrong: lost answers, storms, conditions that are ignored, uploads in parts; and which errors may pass."""

from __future__ import annotations

import errno
import itertools
import os

import botocore.exceptions
import pytest
from servers import FaultProxy

from pipelines import storage_s3_upload
from pipelines.errors import (
    AccessDenied,
    CommitUnknown,
    InputChanged,
    NotFound,
    Throttled,
    Unavailable,
    UnsafeStore,
)
from pipelines.storage import S3Store, Store, open_store, retryable


def hurried(store: Store, tries: int = 8) -> list[float]:
    """Make a store's retries not wait; returns the list of the waits that it would have made."""
    waits: list[float] = []
    store.backoff.sleep = waits.append
    store.backoff.tries = tries
    return waits


@pytest.fixture
def proxied(s3_server, fault_proxy) -> tuple[S3Store, FaultProxy]:
    """An S3 store behind a proxy that breaks requests by rule; its retries do not wait."""
    store = open_store(f"s3://{s3_server.make_bucket()}/p", fault_proxy.options)
    hurried(store)
    assert isinstance(store, S3Store)
    return store, fault_proxy


class TestS3Faults:
    def test_storms_pass(self, proxied):
        """503, cut connections and 500 in a third of all requests change nothing but the counters."""
        store, proxy = proxied
        for action, seed in (("refuse", 1), ("cut_before", 2), ("cut_after", 3)):
            proxy.add(action, probability=0.12, seed=seed)
        for number in range(40):
            assert store.create(f"o/{number}", b"%d" % number)
            assert store.read(f"o/{number}") == b"%d" % number
        assert len(list(store.list())) == 40
        etag = store.replace("m", b"0", etag=None)
        for number in range(20):
            etag = store.replace("m", b"%d" % number, etag=etag)
        store.delete([f"o/{number}" for number in range(40)])
        assert [found.path for found in store.list()] == ["m"]
        assert store.stats.retries > 10
        assert store.stats.throttled > 5

    def test_a_lost_answer_to_our_own_creation_is_a_success(self, proxied):
        """When the first put happened and its answer was lost, the refusal of the second is recognised as our own."""
        store, proxy = proxied
        proxy.add("cut_after", method="PUT", times=1)
        assert store.create("record", b"mine")
        assert [method for method, _ in proxy.seen] == ["PUT", "PUT", "HEAD"]

    def test_a_lost_answer_does_not_steal_another_creation(self, proxied, s3_server):
        """When the first put was lost on its way and another's happened meanwhile, ours is refused, even with the same bytes."""
        store, proxy = proxied
        other = open_store(store.uri, s3_server.options)
        proxy.add("cut_before", method="PUT", times=1, hook=lambda *_: other.create("record", b"same"))
        assert not store.create("record", b"same")

    def test_a_lost_answer_to_our_own_swap_is_a_success(self, proxied):
        """The swap happened once, its answer was lost, and its repetition is recognised."""
        store, proxy = proxied
        etag = store.replace("m", b"1", etag=None)
        proxy.add("cut_after", method="PUT", times=1)
        new = store.replace("m", b"2", etag=etag)
        assert store.read_versioned("m") == (b"2", new)

    def test_no_answer_at_all_is_commit_unknown(self, proxied):
        """When neither the put nor a look at the object is answered, the commit is unknown, not failed."""
        store, proxy = proxied
        proxy.add("cut_after")
        with pytest.raises(CommitUnknown, match="may or may not"):
            store.create("record", b"mine")
        proxy.clear()
        assert store.read("record") == b"mine"

    def test_puts_that_may_still_arrive_are_commit_unknown(self, proxied):
        """Every put was cut off and nothing is there: a put may still be on its way, so nothing is certain."""
        store, proxy = proxied
        proxy.add("cut_before", method="PUT")
        for call in (lambda: store.create("record", b"x"), lambda: store.replace("record", b"x", etag="00")):
            with pytest.raises(CommitUnknown):
                call()

    def test_puts_that_were_refused_are_not_unknown(self, proxied):
        """503 to every try says that nothing happened: Throttled, after all tries, with waits that grow."""
        store, proxy = proxied
        waits = hurried(store)
        store.backoff.jitter = lambda: 1.0
        proxy.add("refuse")
        with pytest.raises(Throttled, match="slow down"):
            store.create("record", b"x")
        assert waits == [0.1 * 2**n for n in range(7)]
        assert len(proxy.seen) == 8

    def test_the_last_try_can_settle(self, proxied):
        """Every answer to the puts was lost, but the object says that it is ours."""
        store, proxy = proxied
        proxy.add("cut_after", method="PUT")
        assert store.create("record", b"mine")

    def test_retry_after_is_honoured(self, proxied):
        """The store's own word on how long to wait beats a shorter backoff."""
        store, proxy = proxied
        waits = hurried(store)
        store.create("x", b"1")
        proxy.add("refuse", status=429, code="TooManyRequests", times=1, retry_after="7")
        assert store.read("x") == b"1"
        assert waits == [7.0]

    def test_a_store_that_ignores_conditions_is_refused(self, proxied):
        """A store that overwrites what it was asked to create, or swaps whatever is there, does not pass the check."""
        store, proxy = proxied
        proxy.add("ignore_conditions", method="PUT")
        with pytest.raises(UnsafeStore, match="If-None-Match"):
            store.check()
        proxy.clear()
        creations = itertools.count()
        # Two creations keep their condition, what follows them loses it.
        proxy.add("forward", method="PUT", times=2, hook=lambda *_: next(creations))
        proxy.add("ignore_conditions", method="PUT")
        with pytest.raises(UnsafeStore, match="If-Match"):
            store.check()
        assert list(store.list()) == []

    def test_a_store_that_does_not_know_conditions_is_refused(self, proxied):
        """501 to a conditional put is an unsafe store, said at once."""
        store, proxy = proxied
        proxy.add("refuse", method="PUT", status=501, code="NotImplemented")
        with pytest.raises(UnsafeStore, match="NotImplemented"):
            store.check()
        assert store.stats.retries == 0

    def test_a_store_that_ignores_if_match_cannot_fool_a_read(self, proxied):
        """The etag of the answer itself is compared too."""
        store, proxy = proxied
        store.create("x", b"1")
        proxy.add("ignore_conditions", method="GET")
        with pytest.raises(InputChanged):
            store.read("x", etag="0000")

    def test_no_permission_is_not_retried(self, proxied):
        """403 is AccessDenied at once, with the names of the variables to set and no value of them."""
        store, proxy = proxied
        proxy.add("refuse", status=403, code="AccessDenied")
        with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID") as caught:
            store.create("x", b"1")
        assert "'test'" not in str(caught.value)
        assert len(proxy.seen) == 1

    def test_no_server_is_unavailable(self):
        """A refused connection is retried and then Unavailable; nothing was sent, so no commit is unknown."""
        store = open_store("s3://bucket", {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"})
        waits = hurried(store, tries=3)
        with pytest.raises(Unavailable):
            store.create("x", b"1")
        assert len(waits) == 2

    def test_a_missing_bucket_is_said(self, s3_server):
        """Writing to a bucket that does not exist names the remedy."""
        with pytest.raises(NotFound, match="no such bucket"):
            open_store("s3://no-such-bucket-here", s3_server.options).check()

    def test_deletes_one_by_one_where_batches_are_not_known(self, proxied):
        """A store that refuses DeleteObjects gets single deletes."""
        store, proxy = proxied
        for path in ("a", "b"):
            store.create(path, b"")
        proxy.add("refuse", method="POST", status=400, code="MissingContentMD5")
        assert store.delete(["a", "b", "c"]) == 3
        assert list(store.list()) == []


@pytest.fixture
def _small_parts(monkeypatch):
    monkeypatch.setattr(storage_s3_upload, "PART_BYTES", 5 << 20)  # the least that S3 takes


@pytest.mark.usefixtures("_small_parts")
class TestS3Multipart:
    content = os.urandom(1 << 20) * 17

    def write(self, store, path="big", *, opened="creator"):
        with getattr(store, opened)(path) as writer:
            for start in range(0, len(self.content), 700_000):
                writer.write(self.content[start : start + 700_000])
        return writer

    def test_large_objects_go_up_in_parts(self, proxied):
        """A large object is sent in parts, reads back whole, and leaves no unfinished upload."""
        store, proxy = proxied
        self.write(store, opened="writer")
        assert store.read("big") == self.content
        assert len([target for method, target in proxy.seen if method == "PUT" and "partNumber" in target]) == 4
        assert store.discard_unfinished(-3600) == 0

    def test_a_creator_in_parts_does_not_overwrite(self, proxied):
        """A creator whose path was taken while it wrote is refused by the completion, and its parts are gone."""
        store, proxy = proxied
        proxy.add("forward", method="POST", matching="uploadId", times=1, hook=lambda *_: store.create("big", b"first"))
        assert not self.write(store).created
        assert store.read("big") == b"first"
        assert store.discard_unfinished(-3600) == 0

    def test_lost_answers_to_the_completion(self, proxied):
        """The completion happened and its answer was lost: the repetition is refused or finds no upload, and is still a success."""
        store, proxy = proxied
        for opened in ("creator", "writer"):
            proxy.add("cut_after", method="POST", matching="uploadId", times=1)
            writer = self.write(store, opened, opened=opened)
            assert store.read(opened) == self.content
            assert opened == "writer" or writer.created

    def test_storms_while_uploading(self, proxied):
        """Parts that fail are sent again, and the object is right."""
        store, proxy = proxied
        proxy.add("refuse", method="PUT", probability=0.3, seed=5)
        proxy.add("cut_after", method="PUT", probability=0.3, seed=6)
        assert self.write(store).created
        assert store.read("big") == self.content

    def test_a_failure_in_the_block_aborts(self, proxied):
        """An upload whose block raises is aborted, and no object appears."""
        store, _ = proxied
        with pytest.raises(ZeroDivisionError), store.writer("big") as writer:  # noqa: PT012 - the block is what is tested
            writer.write(self.content)
            raise ZeroDivisionError
        assert not store.exists("big")
        assert store.discard_unfinished(-3600) == 0

    def test_a_part_that_cannot_be_sent_fails_the_block(self, proxied):
        """A part that is refused for good is raised to the writer, and the upload is aborted."""
        store, proxy = proxied
        proxy.add("refuse", method="PUT", matching="partNumber=2", status=403, code="AccessDenied")
        with pytest.raises(AccessDenied):
            self.write(store)
        assert store.discard_unfinished(-3600) == 0

    def test_uploads_of_killed_writers_are_found(self, proxied):
        """An upload that nobody finished is no object, and is aborted when it is old."""
        store, _ = proxied
        upload = store._upload("big", conditional=False)
        upload.write(memoryview(self.content))
        upload._close()
        assert list(store.list()) == []
        assert store.discard_unfinished(60) == 1  # moto says of every upload that it is years old


class TestRetryable:
    def test_by_code_status_and_errno(self):
        """What may pass is told by service code, HTTP status and errno, also behind s3fs's wrapping."""

        def answered(code: str, status: int) -> Exception:
            return botocore.exceptions.ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")

        wrapped = OSError(errno.EIO, "x")
        wrapped.__cause__ = answered("SlowDown", 503)
        passing = [
            answered("SlowDown", 503),
            answered("Unheard", 502),
            answered("RequestTimeTooSkewed", 403),
            answered("ConditionalRequestConflict", 409),
            answered("429", 429),
            wrapped,
            TimeoutError(),
            ConnectionResetError(errno.ECONNRESET, "x"),
            OSError(errno.ESTALE, "x"),
            Throttled("x"),
            Unavailable("x"),
        ]
        lasting = [
            answered("AccessDenied", 403),
            answered("NoSuchKey", 404),
            answered("PreconditionFailed", 412),
            answered("NotImplemented", 501),
            FileNotFoundError(errno.ENOENT, "x"),
            OSError(errno.ENOSPC, "x"),
            botocore.exceptions.NoCredentialsError(),
            ValueError("x"),
            NotFound("x"),
            CommitUnknown("x"),
        ]
        assert [error for error in passing if not retryable(error)] == []
        assert [error for error in lasting if retryable(error)] == []

    def test_mistakes_of_ours_are_not_wrapped(self, tmp_path):
        """An error that is not about storage leaves the loop as it is."""
        store = open_store(str(tmp_path))
        with pytest.raises(ZeroDivisionError):
            store.backoff.run("x", lambda: 1 // 0)

    def test_missing_credentials_are_said(self, s3_server, monkeypatch):
        """Without credentials the error says which variables to set."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        with pytest.raises(AccessDenied, match="AWS_SECRET_ACCESS_KEY"):
            open_store("s3://b", s3_server.options).read("x")


def test_an_access_point_is_a_bucket():
    """The ARN of an access point stands where a bucket does; its first part of the path belongs to it."""
    store = open_store("s3://arn:aws:s3:us-west-2:123456789012:accesspoint/mine/some/prefix")
    assert isinstance(store, S3Store)
    assert (store.bucket, store.locate("x")) == ("arn:aws:s3:us-west-2:123456789012:accesspoint/mine", f"{store.uri}/x")
