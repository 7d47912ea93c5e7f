"""py3langid's bundled model, evaluated by our own kernel: its labels, and the likeliest one of each text.

Owns the way from the package's file, read by the package's own loader, to the kernel, and the few texts that the kernel leaves to Python's
`unicodedata`: those all in upper case and those not in composed form.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.base import OperatorError
from operators.kernels import langid_layout
from operators.kernels.buffers import text_buffers
from operators.kernels.composed import composition, find_plain
from operators.kernels.kept import kept
from operators.kernels.langid import Model, num_grams, score
from operators.kernels.langid_layout import LayoutError, laid_out
from operators.kernels.unicode import tables


class BundledModel:
    """py3langid's model: its labels, and the likeliest label of each text with its probability."""

    def __init__(self, names: list[str], model: Model) -> None:
        self.labels = list(dict.fromkeys(names))
        self._numbers = np.array([self.labels.index(name) for name in names], np.int32)
        self._model = model
        self._num_grams = num_grams(model)

    def identify(self, text: pa.LargeStringArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The number of each text's likeliest label, -1 where the text is null, and its probability, as `classify` has them."""
        offsets, data = text_buffers(text)
        valid = text.is_valid().to_numpy(zero_copy_only=False)
        plain = np.empty(len(text), np.bool_)
        find_plain(offsets, data, tables(), composition(), plain)
        classes, scores = np.zeros(len(text), np.int32), np.zeros(len(text), np.float64)
        self._score(offsets, data, plain & valid, classes, scores)
        odd = np.flatnonzero(~plain & valid)
        if len(odd):
            texts = [_as_py3langid_reads(data[offsets[row] : offsets[row + 1]].tobytes()) for row in odd]
            odd_offsets = np.concatenate([[0], np.cumsum([len(each) for each in texts])])
            odd_data = np.frombuffer(b"".join(texts), np.uint8)
            odd_offsets.flags.writeable = False
            odd_classes, odd_scores = np.zeros(len(odd), np.int32), np.zeros(len(odd), np.float64)
            self._score(odd_offsets, odd_data, np.ones(len(odd), np.bool_), odd_classes, odd_scores)
            classes[odd], scores[odd] = odd_classes, odd_scores
        return np.where(valid, self._numbers[classes], np.int32(-1)), scores.astype(np.float32)

    def _score(self, offsets: Any, data: Any, todo: Any, classes: Any, scores: Any) -> None:
        score(self._model, offsets, data, todo, np.zeros(self._num_grams, np.uint32), classes, scores)


def _as_py3langid_reads(data: bytes) -> bytes:
    """The bytes that the model sees of a text: all upper case is lower case, and the form is composed."""
    text = data.decode(errors="replace")
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode()


@cache
def bundled_model() -> BundledModel:
    """The model, read once a process, from this node's cache of arranged models if it was read here before.

    Raises:
        OperatorError: The installed version's model is not one that the kernel can evaluate.
    """
    from importlib.util import find_spec

    found = find_spec("py3langid")
    if found is None or found.origin is None:
        raise OperatorError("language_filter: the package py3langid is not installed; run `pip install py3langid` or set `model`")
    path = Path(found.origin).parent / "data" / "model.npz.xz"
    try:
        arrays = dict(kept("py3langid", langid_layout.__file__, path.read_bytes(), lambda: _arranged(path)))
    except (OSError, KeyError, ValueError, LayoutError) as error:
        raise OperatorError(
            f"language_filter: the model of the installed py3langid cannot be used ({error}); expected that of version 0.4: "
            "run `pip install 'py3langid>=0.4,<0.5'` or set `model`"
        ) from error
    names = arrays.pop("names").tolist()
    return BundledModel(names, Model(**arrays))


def _arranged(path: Path) -> dict[str, Any]:
    from py3langid.modelio import load_model

    weights, prior, names, nextmove, rows, outputs = load_model(path)
    model = laid_out(
        np.asarray(nextmove), np.asarray(rows, np.int64), np.asarray(outputs, np.int64), np.asarray(weights, np.float32), prior, names
    )
    return {**model._asdict(), "names": np.array(names)}
