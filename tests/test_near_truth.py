"""Near-duplicate removal on real documents whose true similarities are known: what must be found is, and what must stay does.

The documents are those that `truth/near_pairs.parquet` names: revisions, editions, planted copies, chains, templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from corpora import config_of, finished
from operator_samples import ASSETS, SHARED

from operators.minhash import MinhashDedup

DATA = SHARED / "data"
WORD = re.compile(r"\w+")

pytestmark = [
    pytest.mark.usefixtures("no_fsync"),
    pytest.mark.skipif(not (DATA / "truth" / "near_pairs.parquet").is_file(), reason=f"real documents are absent: {DATA}"),
]


@dataclass(frozen=True)
class Truth:
    """The documents that are named, in the inventory's order, and their pairs."""

    folder: Path
    text: Mapping[str, str]
    pairs: list[dict[str, Any]]

    @cached_property
    def order(self) -> dict[str, int]:
        """Place of each document in keep order."""
        return {name: number for number, name in enumerate(self.text)}

    def of_kind(self, *kinds: str) -> Iterator[tuple[str, str]]:
        """Pairs of some kinds: the earlier document, the later one."""
        for pair in self.pairs:
            if pair["kind"].split(":")[0] in kinds:
                earlier, later = sorted((pair["id_a"], pair["id_b"]), key=self.order.__getitem__)
                yield earlier, later

    def jaccard(self, one: str, other: str) -> float:
        """`jaccard_w5` as the truth file has it: 5-word shingles of the lower-cased text."""
        first, second = self._shingles(one), self._shingles(other)
        return len(first & second) / len(first | second)

    def _shingles(self, name: str) -> set[tuple[str, ...]]:
        words = WORD.findall(self.text[name].lower())
        return set(zip(*(words[start:] for start in range(5)), strict=False)) or {tuple(words)}


@dataclass(frozen=True)
class Removed:
    """What a run removed.

    Attributes:
        kept: The document that each removed one names.
        similarity: What it says of both.
    """

    kept: dict[str, str]
    similarity: dict[str, float]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("truth")
    pairs = pq.read_table(DATA / "truth" / "near_pairs.parquet")
    named = pc.unique(pa.chunked_array([*pairs["id_a"].chunks, *pairs["id_b"].chunks]))
    texts: dict[str, str] = {}
    (folder / "in").mkdir()
    for path in sorted((DATA / "docs").glob("*.parquet")):
        table = pq.read_table(path, columns=["id", "text"])
        table = table.filter(pc.is_in(table["id"], named))
        if table.num_rows:
            pq.write_table(table, folder / "in" / path.name, row_group_size=200)
            texts.update(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    return Truth(folder, texts, pairs.to_pylist())


@pytest.fixture(scope="module", params=["estimate", "exact"])
def removed(truth: Truth, request: pytest.FixtureRequest) -> Removed:
    """What a plain run with the default settings removed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        operators = [{"type": "minhash_dedup", "verify": request.param}]
        config = config_of(truth.folder / f"{request.param}.yaml", truth.folder / "in", truth.folder / request.param, operators)
        rows = finished(config).table("duplicates")
    return Removed({row["id"]: row["kept_id"] for row in rows}, {row["id"]: row["similarity"] for row in rows})


def test_copies_go(truth, removed):
    """Of two documents that are equal, or differ only in case, white space, Unicode form or punctuation, the later goes."""
    pairs = list(truth.of_kind("exact", "norm"))
    assert len(pairs) > 300
    assert [pair for pair in pairs if pair[1] not in removed.kept] == []


def test_near_copies_are_found(truth, removed):
    """Of pairs of a true similarity of 0.9 and more, at least 99 in 100 do not both stay."""
    pairs = [(pair["id_a"], pair["id_b"]) for pair in truth.pairs if pair["jaccard_w5"] >= 0.9]
    both = [pair for pair in pairs if not set(pair) & set(removed.kept)]
    assert len(pairs) > 1000
    assert len(both) <= len(pairs) // 100


def test_what_is_named_is_kept_and_earlier(truth, removed):
    """Nothing goes for a document that goes itself, nor for a later one."""
    assert set(removed.kept).isdisjoint(removed.kept.values())
    assert all(truth.order[kept] < truth.order[name] for name, kept in removed.kept.items())


def test_what_is_removed_is_similar(truth, removed, request):
    """Exact verification removes nothing below the threshold and says the true similarity; an estimate is far off once in 1,000."""
    operator = MinhashDedup()
    if "exact" in request.node.name:
        texts = pa.array([truth.text[name] for pair in removed.kept.items() for name in pair], pa.large_string())
        sets = [frozenset(np.frombuffer(found, np.uint64).tolist()) for found in _shingles(texts)]
        jaccard = [len(one & other) / len(one | other) for one, other in zip(sets[::2], sets[1::2], strict=True)]
        assert min(jaccard) >= operator.threshold
        assert np.array_equal(np.float32(jaccard), np.float32(list(removed.similarity.values())))
    far = [pair for pair in removed.kept.items() if truth.jaccard(*pair) < 0.6]
    assert len(far) <= len(removed.kept) // 1000


def _shingles(texts: pa.Array) -> list[bytes]:
    operator = MinhashDedup(verify="exact")
    found: list[bytes] = operator.shingles(ASSETS)(pa.RecordBatch.from_pydict({"text": texts})).to_pylist()
    return found


def test_chains_are_not_followed(truth, removed):
    """A step of a chain goes only for a document that it resembles itself; where its neighbour is gone, it stays."""
    names = {name for pair in truth.of_kind("chain") for name in pair}
    gone = {name: kept for name, kept in removed.kept.items() if name in names}
    assert 0 < len(gone) < len(names) - len({pair["cluster"] for pair in truth.pairs if pair["kind"].startswith("chain")})
    assert all(truth.jaccard(name, kept) > 0.6 for name, kept in gone.items())
    stays = names - set(gone)
    near_gone = [pair for pair in truth.of_kind("chain") if len(stays & set(pair)) == 1]
    assert near_gone
