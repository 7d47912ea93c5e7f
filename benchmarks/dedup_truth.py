r"""What near-duplicate removal finds, and removes wrongly, of a corpus of make_bench.py whose pairs are known.

    python ../shared/data/make_bench.py --pack ../shared/data --out /tmp/mb2 --gb 2
    python benchmarks/dedup_truth.py --corpus /tmp/mb2

A near-copy and its original are a pair of known Jaccard similarity (5-shingles of `\w+`, lower case). *Meets*: in a bucket, without a cap;
*curve*: what bands and rows promise for these very similarities. *Found*: not both stay. *Removed*: one is removed for the other.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from operators.kernels.minhash import signatures
from operators.minhash import MinhashDedup
from pipelines.config import load
from pipelines.run import run

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


def truth_pairs(corpus: Path) -> pa.Table:
    """Near-copies and exact copies: id, id of the original, true similarity."""
    table = pq.read_table(corpus / "truth", columns=["id", "kind", "cluster", "true_j"])
    return table.filter(pc.is_in(table["kind"], value_set=pa.array(["near", "exact"])))


def signed(corpus: Path, wanted: pa.Array, operator: MinhashDedup) -> tuple[np.ndarray, np.ndarray]:
    """Ids of some documents, sorted, and the keys of their bands."""
    ids, bands = [], []
    for file in sorted((corpus / "data").glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(20_000, columns=["id", "text"]):
            some = batch.filter(pc.is_in(batch.column("id"), value_set=wanted))
            curve = operator.curve
            text = some.column("text")
            found = signatures(
                text, operator.shingle, operator.shingle_size, operator.normalize, operator.num_hashes, curve.bands, curve.rows
            )
            ids.append(some.column("id").to_numpy(zero_copy_only=False))
            bands.append(found.bands)
    names, keys = np.concatenate(ids).astype(str), np.concatenate(bands)
    order = np.argsort(names)
    return names[order], keys[order]


def removed_by(corpus: Path, settings: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """Removed documents: the kept one and the similarity, after a run of the pipeline."""
    folder = Path(tempfile.mkdtemp())
    try:
        made = {
            "name": "truth",
            "input": {"uri": f"{corpus}/data/*.parquet"},
            "operators": [{"type": "minhash_dedup", **settings}],
            "output": {"uri": str(folder / "out"), "columns": ["id"]},
            "cluster": {"type": "inline"},
        }
        (folder / "p.yaml").write_text(json.dumps(made))
        run(load(folder / "p.yaml"))
        table = pq.read_table(folder / "out" / "versions" / "v1" / "duplicates", columns=["id", "kept_id", "similarity"])
        columns = (column.to_pylist() for column in table.columns)
        return {name: (kept, similarity) for name, kept, similarity in zip(*columns, strict=True)}
    finally:
        shutil.rmtree(folder)


def report(corpus: Path, settings: dict[str, Any]) -> Iterator[str]:
    """The table, a line a band of similarity."""
    operator = MinhashDedup.model_validate(settings)
    pairs = truth_pairs(corpus)
    one, other = (pairs[name].to_numpy().astype(str) for name in ("id", "cluster"))
    similarity = pairs["true_j"].to_numpy().astype(float)
    ids, bands = signed(corpus, pa.array(sorted({*one.tolist(), *other.tolist()})), operator)
    known = np.isin(other, ids)
    one, other, similarity = one[known], other[known], similarity[known]
    meets = (bands[np.searchsorted(ids, one)] == bands[np.searchsorted(ids, other)]).any(axis=1)
    curve = 1 - (1 - similarity**operator.curve.rows) ** operator.curve.bands
    removed = removed_by(corpus, settings)
    gone = np.array([name in removed or original in removed for name, original in zip(one, other, strict=True)])
    direct = np.array([removed.get(a, ("",))[0] == b or removed.get(b, ("",))[0] == a for a, b in zip(one, other, strict=True)])
    yield f"{len(removed):,} documents removed; lowest similarity {min(value for _, value in removed.values()):.3f}"
    yield "| true similarity | pairs | meets | curve | difference | found | removed |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for low, high in pairwise(EDGES):
        mine = (similarity >= low) & (similarity < high)
        if mine.any():
            cells = [f"{int(mine.sum()):,}", *(f"{values[mine].mean():.4f}" for values in (meets, curve, meets - curve, gone, direct))]
            yield f"| {low:.1f} to {min(high, 1):.1f} | {' | '.join(cells)} |"
    exact = similarity == 1
    yield f"exact copies found: {int(gone[exact].sum()):,} of {int(exact.sum()):,}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="Folder that make_bench.py wrote.")
    parser.add_argument("--settings", type=json.loads, default={}, help="Settings of minhash_dedup, as JSON.")
    given = parser.parse_args()
    print("\n".join(report(given.corpus, given.settings)))


if __name__ == "__main__":
    main()
