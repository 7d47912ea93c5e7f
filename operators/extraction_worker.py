"""The process that extracts text from web pages, so that a page which hangs, eats memory or crashes the parser costs that page alone.

Owns the other end of the pipes of extraction_process.py and the calls of the extractors. Runs by itself (`python -P extraction_worker.py
SETTINGS`), so it imports nothing of this project. It limits itself: the kernel kills it when a page took its time or its memory, whatever
the parser is busy with and whether or not the parent still lives; without a parent its input ends, and so does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

LENGTH: Final = struct.Struct("<q")
"""Before a page: its bytes. Before a field of an answer: its bytes, or -1 for null."""
ANSWER: Final = struct.Struct("<BI")
"""Before an answer: whether it is a text or a failure, and the number of its fields."""
TEXT, FAILURE = 0, 1
NULL: Final = -1
OUT_OF_MEMORY: Final = 70
"""Exit status when a page needs more memory than there may be."""
FIRST_TO_GO: Final = "1000"
"""When the machine is out of memory, rather this process than a worker."""

WARM_UP: Final = (
    "<html><head><title>A page</title></head><body><article><h1>A page</h1><p>The people of the town have been to the market, and that is "
    "what they came back with. It was a good day for all of them.</p><table><tr><td>1</td></tr></table></article></body></html>"
)

Fields = Sequence[str | None]
"""The text, then the metadata asked for."""
Extract = Callable[[str], Fields]


def trafilatura_extractor(settings: dict[str, Any]) -> Extract:
    """Extraction as `trafilatura.extract` does it, without its memory of earlier pages (`deduplicate`)."""
    from trafilatura import extract
    from trafilatura.metadata import extract_metadata

    options = {
        "output_format": "markdown" if settings["output"] == "markdown" else "txt",
        "favor_precision": settings["favor"] == "precision",
        "favor_recall": settings["favor"] == "recall",
        "include_comments": settings["include_comments"],
        "include_tables": settings["include_tables"],
        "deduplicate": False,
    }
    names: list[str] = settings["metadata"]
    # The latest date that a page may have is today's by default, which would make results depend on the day.
    dates = {"original_date": True, "extensive_search": False, "max_date": "2100-01-01"}

    def run(page: str) -> Fields:
        text = extract(page, **options)
        if not names:
            return [text]
        about = extract_metadata(page, date_config=dates, extensive=False)
        return [text, *(getattr(about, name, None) for name in names)]

    return run


def resiliparse_extractor(settings: dict[str, Any]) -> Extract:
    """Extraction as `resiliparse.extract.html2text.extract_plain_text` does it; DCLM's settings are precision and comments."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    options = {
        "main_content": settings["favor"] == "precision",
        "alt_texts": False,
        "comments": settings["include_comments"],
        "skip_elements": [] if settings["include_tables"] else ["table"],
    }
    wants_title = bool(settings["metadata"])

    def run(page: str) -> Fields:
        tree = HTMLTree.parse(page)
        text = extract_plain_text(tree, **options)
        return [text, tree.title or None] if wants_title else [text]

    return run


EXTRACTORS: Final[dict[str, Callable[[dict[str, Any]], Extract]]] = {
    "trafilatura": trafilatura_extractor,
    "resiliparse": resiliparse_extractor,
}


def main(settings: dict[str, Any]) -> None:
    """Answer pages until there are no more; the first answer, to no page, tells whether the extractor could be loaded."""
    source, sink = _own_pipes()
    _limit_itself(settings["max_memory_bytes"])
    try:
        extract = EXTRACTORS[settings["extractor"]](settings)
        extract(WARM_UP)
    except Exception as error:  # noqa: BLE001  told to the parent, whatever it is
        _answer(sink, FAILURE, [f"{type(error).__name__}: {error}"])
        return
    _answer(sink, TEXT, [])
    while (page := _next_page(source)) is not None:
        signal.setitimer(signal.ITIMER_PROF, settings["timeout_seconds"])
        try:
            kind, fields = TEXT, extract(page)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # it may be the pages before that took the memory: the parent tries again in a new process
        except Exception as error:  # noqa: BLE001  whatever a parser raises is a failure of its page
            kind, fields = FAILURE, [f"{type(error).__name__}: {error}"]
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(sink, kind, fields)


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the parent, out of reach of whatever prints or reads."""
    source, sink = os.fdopen(os.dup(0), "rb", buffering=1 << 20), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return source, sink


def _limit_itself(max_memory_bytes: int) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")


def _next_page(source: BinaryIO) -> str | None:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (num_bytes,) = LENGTH.unpack(head)
    return source.read(num_bytes).decode("utf-8", "replace")


def _answer(sink: BinaryIO, kind: int, fields: Fields) -> None:
    parts = [ANSWER.pack(kind, len(fields))]
    for each in fields:
        data = None if each is None else str(each).encode("utf-8", "replace")
        parts.append(LENGTH.pack(NULL if data is None else len(data)))
        parts.append(data or b"")
    rest = memoryview(b"".join(parts))
    while rest:
        rest = rest[sink.write(rest) :]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
