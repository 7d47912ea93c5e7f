"""Reading ahead: bounded by its window, in the planned order, and never in the way of what is asked for."""

from __future__ import annotations

import random
import threading

import pytest

from pipelines.readahead import AheadFile, ReadAhead, blocks_of

DATA = random.Random(0).randbytes(100_000)


class Bytes:
    """One object in memory that counts what is asked of it."""

    def __init__(self):
        self.asked = []
        self.lock = threading.Lock()

    def read_range(self, uri, start, stop, *, etag=None):
        assert (uri, etag) == ("s3://b/k", "e")
        with self.lock:
            self.asked.append((start, stop))
        return DATA[start:stop]


def sent(segment):
    return [block.future is not None for block in segment.blocks]


def test_no_more_than_the_window_is_outstanding():
    """Requests stop at the window and go on as blocks are used up."""
    with ReadAhead(Bytes(), window_bytes=30_000, num_threads=2) as ahead:
        segment = ahead.append("s3://b/k", "e", blocks_of(0, 100_000, 10_000))
        ahead.start()
        assert sent(segment) == [True] * 3 + [False] * 7
        file = AheadFile(ahead, "s3://b/k", "e", 100_000)
        file.segments = [segment]
        assert bytes(file.read(15_000)) == DATA[:15_000]
        assert sent(segment) == [False] + [True] * 3 + [False] * 6


def test_a_block_larger_than_the_window_is_fetched_alone():
    """The window never stops the next block when nothing else is outstanding."""
    with ReadAhead(Bytes(), window_bytes=10) as ahead:
        first = ahead.append("s3://b/k", "e", [(0, 50_000)])
        second = ahead.append("s3://b/k", "e", [(50_000, 60_000)])
        ahead.start()
        assert (sent(first), sent(second)) == ([True], [False])
        ahead.release(first)
        assert sent(second) == [True]


def test_what_comes_after_an_unknown_segment_waits_for_it():
    """Blocks behind a reserved segment are sent after those that fill it."""
    with ReadAhead(Bytes(), window_bytes=20_000) as ahead:
        unknown = ahead.reserve()
        later = ahead.append("s3://b/k", "e", [(0, 10_000)])
        ahead.start()
        assert sent(later) == [False]
        ahead.fill(unknown, "s3://b/k", "e", [(30_000, 40_000), (40_000, 50_000)])
        assert (sent(unknown), sent(later)) == ([True, True], [False])


def test_any_read_is_answered_whatever_the_plan():
    """Reads in any order, across blocks, outside the plan and of blocks long let go give the object's bytes, with a window of nothing."""
    rng = random.Random(1)
    with ReadAhead(Bytes(), window_bytes=1) as ahead:
        segment = ahead.append("s3://b/k", "e", blocks_of(20_000, 90_000, 7_000))
        ahead.start()
        file = AheadFile(ahead, "s3://b/k", "e", 100_000)
        file.segments = [segment]
        for _ in range(300):
            start, length = rng.randrange(100_000), rng.randrange(20_000)
            file.seek(start)
            assert bytes(file.read(length)) == DATA[start : start + length]


def test_sequential_reading_asks_for_every_byte_once():
    """Reading a planned object through sends exactly the planned requests."""
    source = Bytes()
    with ReadAhead(source, window_bytes=25_000) as ahead:
        segment = ahead.append("s3://b/k", "e", blocks_of(0, 100_000, 8_000))
        ahead.start()
        file = AheadFile(ahead, "s3://b/k", "e", 100_000)
        file.segments = [segment]
        assert b"".join(bytes(file.read(3_333)) for _ in range(31)) == DATA
        assert file.read(1) == b""
    assert sorted(source.asked) == blocks_of(0, 100_000, 8_000)


def test_a_failure_surfaces_where_the_bytes_are_needed():
    """An error of a request, or of what is done with its bytes, is raised to the reader and kept."""

    def refuse(_):
        raise KeyError("no")

    with ReadAhead(Bytes()) as ahead:
        segment = ahead.append("s3://b/k", "e", [(0, 10)], refuse)
        ahead.start()
        file = AheadFile(ahead, "s3://b/k", "e", 100_000)
        file.segments = [segment]
        with pytest.raises(KeyError):
            file.read(5)
        assert isinstance(ahead.failure, KeyError)
