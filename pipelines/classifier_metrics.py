"""How well a classifier does on documents that it was not trained with. Owns the measures; the operator's own code judges the documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.fasttext_model import FastTextModel

THRESHOLDS: Final = (*(step / 20 for step in range(1, 20)), 0.99)

Ints = npt.NDArray[np.int64]


class Tally:
    """Counts over held-out documents, a batch at a time."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        num = len(labels)
        self.confusion: Ints = np.zeros((num, num + 1), np.int64)
        """By the document's label and the likeliest one; the last column is for documents of which the model knows nothing."""
        self.kept: Ints = np.zeros((num, len(THRESHOLDS)), np.int64)
        self.right: Ints = np.zeros((num, len(THRESHOLDS)), np.int64)

    def add(self, truth: Ints, best: Ints, scores: npt.NDArray[np.float32]) -> None:
        """Count documents.

        Args:
            truth: The number of each one's label.
            best: The likeliest, -1 for none.
            scores: float32 (documents, labels).
        """
        np.add.at(self.confusion, (truth, best), 1)
        for place, threshold in enumerate(THRESHOLDS):
            above = scores.astype(np.float64) >= threshold
            self.kept[:, place] += above.sum(axis=0)
            self.right[:, place] += np.bincount(truth[above[np.arange(len(truth)), truth]], minlength=len(self.labels))

    def to_json(self) -> dict[str, Any]:
        """Accuracy; by label precision, recall, F1 and documents; by label and threshold what a pipeline would keep."""
        total = self.confusion.sum(axis=1)
        right = np.diagonal(self.confusion)
        found = self.confusion[:, :-1].sum(axis=0)
        num = int(total.sum())
        by_label = {
            label: {"documents": int(total[i]), **_rates(int(right[i]), int(found[i]), int(total[i]))}
            for i, label in enumerate(self.labels)
        }
        thresholds = {
            label: [
                {"min_score": threshold, "kept": _part(int(self.kept[i, place]), num)}
                | _rates(int(self.right[i, place]), int(self.kept[i, place]), int(total[i]))
                for place, threshold in enumerate(THRESHOLDS)
            ]
            for i, label in enumerate(self.labels)
        }
        return {"documents": num, "accuracy": _part(int(right.sum()), num), "labels": by_label, "thresholds": thresholds}


def measure(model: FastTextModel, held_out: Path, labels: list[str]) -> dict[str, Any]:
    """The measures of a model on held-out documents.

    Args:
        model: The model.
        held_out: An Arrow stream of prepared texts and their labels.
        labels: Every label there.
    """
    tally = Tally(labels)
    known = {label: number for number, label in enumerate(labels)}
    places = [known[label] for label in model.labels]
    with pa.ipc.open_stream(held_out) as stream:
        for batch in stream:
            found = model.score(batch.column(0), wanted=range(len(places)))
            scores = np.zeros((batch.num_rows, len(labels)), np.float32)
            scores[:, places] = found.chosen
            best = np.where(found.best >= 0, np.array(places)[found.best], -1)
            truth = np.array([known[label] for label in batch.column(1).to_pylist()], np.int64)
            tally.add(truth, best, scores)
    return tally.to_json()


def best_threshold(rows: list[dict[str, Any]]) -> float:
    """The threshold with the greatest F1, of equals the one nearest to a half; a half where nothing is known."""
    known = [row for row in rows if row["f1"] is not None]
    best = max(known, key=lambda row: (row["f1"], -abs(row["min_score"] - 0.5)), default={"min_score": 0.5})
    return float(best["min_score"])


def _part(count: int, total: int) -> float | None:
    return round(count / total, 6) if total else None


def _rates(right: int, found: int, total: int) -> dict[str, float | None]:
    """Precision, recall and F1; None where there is nothing to divide by."""
    return {"precision": _part(right, found), "recall": _part(right, total), "f1": _part(2 * right, found + total)}
