"""What tests of takedowns share: outputs to take documents out of, takedowns in processes that may be killed, and what must hold after."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from corpora import Output, config_of, custom, finished, output_of, prove, write_parquet

from pipelines.config import PipelineConfig
from pipelines.identity import doc_keys, uri_prefix
from pipelines.storage import Store
from pipelines.takedown import Takedown, takedown
from pipelines.takedown_ids import wanted_of

Document = dict[str, Any]

SECRET = "unmistakable"
"""In the text of every document, followed by its number."""


def corpus(number: int = 60, prefix: str = "d") -> list[Document]:
    """Documents of several lengths and languages, some short, some equal, some with an id that others have too; one is damaged."""
    made = []
    for position in range(number):
        text = f"{SECRET}-{prefix}{position} " + f"word{position} " * (3 + position % 17)
        if position % 9 == 4:
            text = f"{SECRET}-{prefix}-copy-{position % 4} is what several documents say"
        elif position % 13 == 5:
            text = f"{SECRET}-{prefix}s{position}."
        name = f"{prefix}{position // 2 if position % 10 == 1 else position}"
        made.append({"id": name, "text": text, "lang": ("en", "de", None)[position % 3]})
    return made


def write_without_ids(folder: Path) -> None:
    """A file of a corpus without ids."""
    schema = pa.schema([("text", pa.string()), ("lang", pa.string())])
    write_parquet(folder / "f0.parquet", [{name: row[name] for name in schema.names} for row in corpus()], 15, schema)


def write_corpus(folder: Path, files: int = 2, number: int = 60) -> Path:
    """Files of `corpus`, each with ids and texts of its own."""
    for file in range(files):
        write_parquet(folder / f"f{file}.parquet", corpus(number, "abcdef"[file]), 15)
    return folder


def config(folder: Path, operators: Sequence[dict[str, Any]] | None = None, **sections: Any) -> PipelineConfig:
    """A pipeline over a corpus in `folder/in` that drops short texts and equal ones, into shards of a few documents."""
    source = folder / "in"
    if not source.exists():
        write_corpus(source)
    made = [{"type": "length_filter", "min_chars": 20}, {"type": "exact_dedup"}] if operators is None else operators
    output = {"target_shard_bytes": "3KiB", **sections.pop("output", {})}
    execution = {"unit_bytes": "4KiB", "max_quarantined_fraction": 0.5, **sections.pop("execution", {})}
    history = sections.pop("history", None)
    found = config_of(folder / "p.yaml", source, folder / "out", made, output=output, execution=execution, **sections)
    return found.model_copy(update={"history": history})


def quarantining(folder: Path) -> dict[str, Any]:
    """An operator that cannot process some documents, and says so in the words of these."""
    return dict(
        custom(
            folder,
            """
texts = batch.column("text").to_pylist()
return Result(batch, errors={at: RowError("odd", text) for at, text in enumerate(texts) if "word7 " in text or "word20 " in text})
""",
        )
    )


def made(folder: Path, *args: Any, **sections: Any) -> Output:
    """The output of `config`, proven."""
    return finished(config(folder, *args, **sections))


def take(folder: Path, names: Iterable[str] | None, **options: Any) -> Takedown:
    """Take documents out of the output in `folder/out`."""
    return takedown(str(folder / "out"), None if names is None else wanted_of(names), **options)


def after(folder: Path) -> Output:
    """The current version, proven."""
    found = output_of(folder / "out")
    prove(found)
    return found


def assert_without(before: Output, now: Output, names: Iterable[str], keys: Iterable[bytes] = ()) -> None:
    """The documents of `before` but for those with these ids, in the same order; their rows are those of the last operator."""
    gone = set(names)
    kept = [row for row in before.rows() if row["id"] not in gone]
    assert now.rows() == kept
    operator = now.manifest["operators"][-1]
    taken = [row for row in now.table("dropped") if row["operator"] == operator["name"]]
    assert Counter(row["id"] for row in taken) == Counter(row["id"] for row in before.rows() if row["id"] in gone)
    assert {row["reason"] for row in taken} <= {"taken_down"}
    assert not set(keys) - {row["doc_key"] for row in taken}
    assert operator["rows_in"] - operator["rows_out"] == len(taken) == operator["settings"]["documents"]


def holding(store: Store, text: str) -> list[str]:
    """Every object in which a text is, as it lies there or in a column of it, also in frames and in what a store hides."""
    found = []
    objects = {info.path: store.read(info.path) for info in store.list()}
    hidden = Path(store.uri, "_shardmill", "tmp") if store.kind == "local" else None
    if hidden is not None and hidden.exists():
        objects |= {f"_shardmill/tmp/{path.name}": path.read_bytes() for path in hidden.iterdir()}
    for path, data in objects.items():
        if text.encode() in data or (data[:4] == b"PAR1" and text in str(pq.read_table(io.BytesIO(data)).to_pylist())):
            found.append(path)
        elif path.startswith("_shardmill/parts/"):
            found.append(path)  # frames are compressed; after a purge there are none
    return found


def key_of(folder: Path, file: int, row: int) -> bytes:
    """doc_key of a row of the corpus."""
    prefix = uri_prefix(str(folder / "in" / f"f{file}.parquet"))
    return bytes(doc_keys([prefix], np.zeros(1, np.int64), np.array([row]))[0].as_py())


def kept_ids(output: Output) -> list[str]:
    """Ids of the documents of an output, in order."""
    return [row["id"] for row in output.rows()]
