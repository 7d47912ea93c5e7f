"""Token shards read back with the readers of those who train on them: Megatron-LM's IndexedDataset and datatrove's datasets and merger.

Both readers import torch, which this project does not. Where it is not installed these tests are skipped; to run them (torch 2.13 without
CUDA and megatron-core 0.16.1 were used):

    python -m venv /tmp/peers && /tmp/peers/bin/pip install torch --index-url https://download.pytorch.org/whl/cpu
    /tmp/peers/bin/pip install --no-deps megatron-core==0.16.1
    echo "$PWD/.venv/lib/python3.11/site-packages" > /tmp/peers/lib/python3.11/site-packages/project.pth
    PYTHONPATH=$PWD /tmp/peers/bin/python -m pytest tests/test_token_shards_peers.py
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from corpora import config_of, custom, finished
from pipelines_made import write_input
from tokens_made import BOTH, ids_operator, shards_of, shuffled

from pipelines.storage import open_store

SEED = 4


@pytest.fixture(scope="module", params=[False, True], ids=["uint16", "uint32"])
def output(request, tmp_path_factory):
    """A finished output in several folders, its width, and the documents of its token shards by the path of the shard."""
    folder = tmp_path_factory.mktemp("peers")
    source = write_input(folder / "in", rows=40, files=2)
    settings = {"target_shard_bytes": "8KiB", "token_shards": {"formats": BOTH}, "partition_by": ["odd"]}
    odd = {"type": "odd:Mine", "name": "odd"}
    custom(
        folder,
        "n = batch.num_rows\nodd = pc.equal(pc.bit_wise_and(pc.utf8_length(batch.column('text')), 1), 1)\n"
        "return Result(batch.append_column('odd', pc.cast(odd, pa.string())))",
        "odd",
    )
    operators = [{"type": "length_filter", "min_chars": 2}, odd, ids_operator(folder, wide=request.param)]
    execution = {"seed": SEED, "max_quarantined_fraction": 0.2}
    made = finished(config_of(folder / "p.yaml", str(source), folder / "out", operators, output=settings, execution=execution))
    assert len(made.shards()) > 4
    lists = shards_of(open_store(str(made.root)))
    numbers = {path: int(path.rpartition("/part-")[2].partition("-")[0]) for path in lists}
    return made.root, (2, 4)[request.param], {path: shuffled(lists[path], SEED, numbers[path]) for path in lists}


def token_path(root, shard, form, suffix=""):
    _, version, rest = shard.split("/", 2)
    return root / "tokens" / version / form / f"{rest.removesuffix('.parquet')}{suffix}"


def test_megatron_s_indexed_dataset_reads_the_documents(output):
    """Each sequence is one document, with the ids of its row, in the shuffled order; document boundaries are where they belong."""
    pytest.importorskip("torch", reason="Megatron's reader needs torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses Apex and Transformer Engine, and says so
        module = pytest.importorskip("megatron.core.datasets.indexed_dataset", reason="megatron-core is not installed")
    root, width, shards = output
    for shard, documents in shards.items():
        prefix = str(token_path(root, shard, "megatron"))
        assert module.IndexedDataset.exists(prefix)
        dataset = module.IndexedDataset(prefix)
        assert len(dataset) == len(documents)
        assert dataset.index.dtype == {2: np.uint16, 4: np.int32}[width]
        assert [dataset[at].tolist() for at in range(len(documents))] == documents
        assert dataset.document_indices.tolist() == list(range(len(documents) + 1))
        assert dataset.sequence_lengths.tolist() == [len(ids) for ids in documents]


def test_datatrove_s_datasets_read_the_tokens(output):
    """The folder's files one after the other, cut into windows, with each token's position in its document."""
    pytest.importorskip("torch", reason="datatrove's reader needs torch")
    dataset = pytest.importorskip("datatrove.utils.dataset", reason="datatrove is an extra")
    root, width, shards = output
    length, compared = 16, 0
    for shard, documents in shards.items():
        path = str(token_path(root, shard, "datatrove", ".ds"))
        file = dataset.DatatroveFileDataset(path, length, token_size=width, return_positions=True)
        tokens = np.array([token for ids in documents for token in ids])
        begins = np.repeat(np.cumsum([0, *map(len, documents)])[:-1], [len(ids) for ids in documents])
        windows = [np.arange(at, at + length + 1) for at in range(0, len(tokens) - length, length + 1)]
        assert len(file) == len(windows)
        for window, item in zip(windows, (file[number] for number in range(len(file))), strict=True):
            assert item["input_ids"].tolist() == tokens[window].tolist()
            if all(documents):  # it counts on past the end of a document before an empty one, whoever wrote the files
                compared += 1  # positions begin anew in each window
                assert item["positions"].tolist() == (window - np.maximum(begins[window], window[0])).tolist()
    assert compared > 10
    whole = dataset.DatatroveFolderDataset(str(root / "tokens" / "v1" / "datatrove"), length, filename_pattern="**/*.ds", token_size=width)
    assert len(whole) == sum(sum(map(len, documents)) // (length + 1) for documents in shards.values())


def test_datatrove_s_merger_reads_and_merges_them(output, tmp_path):
    """Ends of documents are read by its own functions, and its merger takes the whole folder, keeping each shard's order."""
    merger = pytest.importorskip("datatrove.pipeline.tokens.merger", reason="datatrove is an extra")
    root, width, shards = output
    in_order = []
    for shard, documents in sorted(shards.items()):
        path = token_path(root, shard, "datatrove", ".ds")
        ends = merger.load_doc_ends(path.with_name(f"{path.name}.index").open("rb"))
        assert ends.tolist() == np.cumsum([len(ids) for ids in documents]).tolist()
        read = list(merger.get_data_reader(path.open("rb"), ends, nb_bytes=width))
        assert [np.frombuffer(data, f"<u{width}").tolist() for data in read] == documents
        in_order.append((path, documents))
    flat = tmp_path / "flat"
    flat.mkdir()
    for path, _ in in_order:
        for suffix in ("", ".index", ".metadata"):
            (flat / f"{path.name}{suffix}").write_bytes(path.with_name(f"{path.name}{suffix}").read_bytes())
    step = merger.DocumentTokenizerMerger(str(flat), str(tmp_path / "merged"), "all", shuffle=False, progress=False)
    step.run()
    merged = sorted((tmp_path / "merged").glob("*.ds"))
    tokens = [token for path, documents in sorted(in_order, key=lambda one: one[0].name) for ids in documents for token in ids]
    assert np.concatenate([np.fromfile(path, f"<u{width}") for path in merged]).tolist() == tokens
