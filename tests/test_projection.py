"""What a dry run foretells of a run: laws of its arithmetic, and a sample that is the whole input against the run itself."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import Document, config_of, documents, finished, write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.tasks import InlineExecutor
from pipelines.config import PipelineConfig
from pipelines.errors import ConfigError
from pipelines.intervals import proportion
from pipelines.prepare import Prepared, prepare
from pipelines.projection import project
from pipelines.projection_census import Census, census_of, sample_group_rows
from pipelines.projection_estimates import added, scaled, times, to_json
from pipelines.projection_measured import Drawn, Measured, measure
from pipelines.projection_output import corrections
from pipelines.projection_prices import Costs, names, parse_prices
from pipelines.projection_rates import fixed_part
from pipelines.projection_text import projection_lines
from pipelines.projection_wall import Machines, wall_seconds
from pipelines.projection_watch import Recorded
from pipelines.projection_work import Phase, Work, shares_for
from pipelines.run import run
from pipelines.sample import read_sample
from pipelines.sampling import draw
from pipelines.settings_publish import PublishConfig
from pipelines.storage import Sources, open_store
from pipelines.study import Estimate, OperatorEstimate

pytestmark = pytest.mark.usefixtures("no_fsync")

LENGTH = {"type": "length_filter", "min_chars": 20}
DUPLICATES = {"type": "exact_dedup"}
PRICES = "core-hour=0.04,put-1000=0.005,get-1000=0.0004,storage-gb-month=0.023,egress-gb=0.09"


@dataclass(frozen=True)
class Foretold:
    """A sample and what was made of it."""

    config: PipelineConfig
    census: Census
    measured: Measured
    operators: Sequence[OperatorEstimate]
    kept: Estimate

    def project(self, *prices: str, cores: Sequence[int] = ()) -> dict[str, Any]:
        return project(self.census, self.measured, self.operators, self.kept, Costs.of(cores, prices, "EUR"))


def prepared_of(config: PipelineConfig) -> Prepared:
    return prepare(config, InlineExecutor)


def foretell(folder: Path, config: PipelineConfig, number: int = 2000, seed: int = 0) -> Foretold:
    """Draw a sample, run the pipeline on it, and read what that left."""
    prepared = prepared_of(config)
    inventory = prepared.inventory
    sample = read_sample(Sources(), inventory, prepared.ingredients.options, draw(inventory, number, seed))
    table = sample.documents.table
    source = folder / "sample" / "sample.parquet"
    source.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, source, row_group_size=sample_group_rows(inventory, table.num_rows, config.execution.batch_bytes))
    output = config.output.model_copy(update={"uri": str(folder / "sample" / "output"), "dropped": True})
    given_to_it = config.model_copy(update={"input": config.input.model_copy(update={"uri": (str(source),)}), "output": output})
    watch = Recorded()
    run(given_to_it, watch=watch)
    measured = measure(config, open_store(output.uri), watch, Drawn.of(sample, inventory))
    everyone = np.ones(table.num_rows, np.bool_)
    kept = proportion(sample.scheme, everyone, measured.documents.kept > 0)
    operators = []
    for place, operator in enumerate(config.operators):
        reach = measured.documents.reach(place) > 0
        last = place + 1 == len(config.operators)
        passed = measured.documents.kept > 0 if last else measured.documents.reach(place + 1) > 0
        rate = proportion(sample.scheme, reach, passed)
        operators.append(OperatorEstimate(str(operator.name), operator.type, int(reach.sum()), int(passed.sum()), {}, rate))
    return Foretold(config, census_of(config, prepared), measured, tuple(operators), kept)


def texts(number: int, seed: int = 0) -> list[Document]:
    """Documents of some lines, a fifth of them too short to be kept, each in its own words."""
    pick = random.Random(seed)
    made = []
    for position, document in enumerate(documents(number, seed)):
        words = " ".join(f"w{pick.randrange(3000)}" for _ in range(pick.randrange(40, 400)))
        made.append({**document, "id": f"d{position}", "text": "short" if position % 5 == 0 else words})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an input of three files."""
    made = tmp_path_factory.mktemp("projection")
    for number in range(3):
        write_parquet(made / "input" / f"f{number}.parquet", texts(300, seed=number), group_rows=100)
    return made


def made_config(folder: Path, operators: Sequence[Mapping[str, Any]], name: str, **sections: Any) -> PipelineConfig:
    return config_of(folder / f"{name}.yaml", folder / "input" / "*.parquet", folder / name, operators, **sections)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Foretold:
    """A sample that has every document of the input."""
    return foretell(folder, made_config(folder, [LENGTH, DUPLICATES], "whole"), number=5000)


def test_a_sample_that_is_the_input_tells_what_the_run_makes(folder: Path, whole: Foretold) -> None:
    """Rows are those of the run, without doubt; bytes, shards and tables are near those that it writes."""
    made = whole.project()
    real = finished(whole.config).manifest
    assert made["output_rows"] == dict.fromkeys(("value", "low", "high"), real["output"]["rows"])
    assert made["output_shards"]["value"] == real["output"]["shards"]
    assert made["output_bytes"]["value"] == pytest.approx(real["output"]["bytes"], rel=0.1)
    assert made["dropped_rows"]["value"] == real["tables"]["dropped"]["rows"]
    assert made["duplicates_rows"]["value"] == real["tables"]["duplicates"]["rows"]
    assert made["units"] >= 1
    assert made["stages"] == 2


def test_a_sample_of_some_documents_bounds_what_the_run_makes(folder: Path) -> None:
    """Of a third of the documents rows are within twice the bounds (the draw depends on the folder's name), bytes within a fifth."""
    config = made_config(folder, [LENGTH], "some")
    made = foretell(folder / "some", config, number=300, seed=3).project()
    real = finished(config).manifest["output"]
    rows = made["output_rows"]
    assert 2 * rows["low"] - rows["value"] <= real["rows"] <= 2 * rows["high"] - rows["value"]
    assert rows["low"] < rows["high"]
    assert made["output_bytes"]["value"] == pytest.approx(real["bytes"], rel=0.2)


def test_without_documents_nothing_comes_out(tmp_path: Path) -> None:
    """An empty input gives a projection of nothing, that can be shown."""
    write_parquet(tmp_path / "input" / "empty.parquet", [])
    made = foretell(tmp_path, made_config(tmp_path, [LENGTH, DUPLICATES], "none")).project(PRICES)
    assert made["output_rows"] == {"value": 0, "low": 0, "high": 0}
    assert made["output_shards"]["value"] == 1
    assert projection_lines(made)


def test_where_nothing_is_kept_the_bounds_still_tell(folder: Path) -> None:
    """A sample of which nothing stays says how much may stay at most, and says so."""
    config = made_config(folder, [{"type": "length_filter", "min_chars": 1_000_000}], "nothing")
    made = foretell(folder / "nothing", config, number=100).project()
    assert made["output_bytes"]["value"] < made["output_bytes"]["high"]
    assert any("no document of the sample was kept" in note for note in made["notes"])


def test_more_cores_never_take_longer() -> None:
    """Of a pipeline for a cluster, and the longest piece of work is a bound."""
    work = Work(
        (Phase("one", "units", Estimate(900.0, 800.0, 1000.0), 64, 1 / 20), Phase("two", "packing", Estimate(5, 5, 5), 1, 1.0)), {}, None
    )
    walls = [wall_seconds(work, Machines("ray", is_remote=True), cores, 1.0, 64).value for cores in (1, 2, 3, 8, 64, 512, 100_000)]
    assert walls == sorted(walls, reverse=True)
    assert walls[-1] > 900 / 20 + 5
    assert walls[0] > 905


@given(
    st.floats(0, 1e6),
    st.integers(1, 10_000),
    st.floats(1e-4, 1),
    st.integers(1, 1000),
    st.sampled_from(["local", "ray"]),
)
@settings(deadline=None, max_examples=200)
def test_time_falls_with_cores_and_covers_the_work(cpu: float, tasks: int, longest: float, cores: int, kind: str) -> None:
    """For any work: one more core takes no more time, and never less than an even share of the work or its longest piece."""
    work = Work((Phase("one", "units", Estimate(cpu, cpu, cpu), tasks, max(longest, 1 / tasks)),), {}, None)
    less, more = (wall_seconds(work, Machines(kind, is_remote=False), number, 0.0, tasks).value for number in (cores + 1, cores))
    assert less <= more * (1 + 1e-9)
    assert more >= cpu / cores
    assert more >= cpu * longest


def test_a_busy_machine_shows_in_the_upper_bound_alone(whole: Foretold) -> None:
    """Other processes on this machine make a run there longer at worst, and that is told; a cluster elsewhere does not care."""
    quiet, busy = (replace(whole, measured=replace(whole.measured, others=others)).project(cores=(1,)) for others in (0.0, 3.0))
    assert busy["wall_seconds"]["value"] == quiet["wall_seconds"]["value"]
    assert busy["wall_seconds"]["high"] == pytest.approx(4 * quiet["wall_seconds"]["high"], rel=0.01)
    assert any("3.0 processes a core" in note for note in busy["notes"])
    far = Machines("ray", is_remote=True, others=3.0)
    work = Work((Phase("one", "units", Estimate(9.0, 9.0, 9.0), 1, 1.0),), {}, None)
    assert wall_seconds(work, far, 1, 0.0, 1).high == wall_seconds(work, replace(far, others=0.0), 1, 0.0, 1).high


def test_bounds_enclose_the_value(whole: Foretold) -> None:
    """Every number that has bounds lies between them."""
    found = list(bounded(whole.project(PRICES)))
    assert len(found) > 20
    for number in found:
        assert 0 <= number["low"] <= number["value"] <= number["high"]


def bounded(value: Any) -> Any:
    """Every {value, low, high} in an object."""
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high"}:
            yield value
        else:
            yield from (found for part in value.values() for found in bounded(part))
    elif isinstance(value, list):
        yield from (found for part in value for found in bounded(part))


def test_the_parts_of_the_cpu_are_the_whole(whole: Foretold) -> None:
    """What each operator, reading, the exchanges and packing take adds up to the CPU of all."""
    made = whole.project()
    parts = made["cpu_seconds_by"]
    assert sum(part["value"] for part in parts.values()) == pytest.approx(made["cpu_seconds"]["value"], abs=0.1 * len(parts))
    assert {"read", "length_filter", "exact_dedup", "exchange of exact_dedup", "packing", "engine"} <= set(parts)


def test_it_is_json(whole: Foretold) -> None:
    """The object is made of what JSON has, numbers of numpy not among it."""
    made = whole.project(PRICES)
    assert json.loads(json.dumps(made)) == made


def test_no_cost_without_prices(whole: Foretold) -> None:
    """No price is made up: without one there is no cost, and the text says how to give one."""
    made = whole.project()
    assert made["cost"] is None
    assert all(one["cost"] is None for one in made["by_cores"])
    assert any("no cost without prices" in line for line in projection_lines(made))


def test_cost_is_the_sum_of_what_has_a_price(whole: Foretold) -> None:
    """Cores are paid for as long as the run takes, requests by the thousand."""
    made = whole.project("core-hour=3600,put-1000=1000", cores=(4,))
    cost = made["cost"]
    assert cost["compute"]["value"] == pytest.approx(4 * made["wall_seconds"]["value"], rel=0.01)
    assert cost["writes"]["value"] == pytest.approx(made["requests"]["write"], rel=0.05)
    assert cost["total"]["value"] == pytest.approx(cost["compute"]["value"] + cost["writes"]["value"])
    assert "storage_a_month" not in cost
    assert [one["cores"] for one in made["by_cores"]] == [4]
    assert any("EUR" in line for line in projection_lines(made))


@pytest.mark.parametrize("text", ["core-hour", "core-hour=x", "core-hour=-1", "core-hour=nan", "core-hour=inf", "cpu-hour=1", "=1"])
def test_a_price_that_is_none_is_an_error(text: str) -> None:
    """What is no price, or the price of nothing known, is told with what is expected."""
    with pytest.raises(ConfigError, match="--price: "):
        parse_prices([text])


def test_a_price_is_given_once() -> None:
    """Twice the same name is a slip of the hand."""
    with pytest.raises(ConfigError, match="core-hour is given twice"):
        parse_prices(["core-hour=1", "core-hour=2"])
    assert parse_prices([",".join(f"{name}=1" for name in names())]).egress_gb == 1


def test_a_corrected_keep_rate_makes_the_output_smaller(whole: Foretold) -> None:
    """Where more duplicates are expected than the sample shows, rows, bytes and CPU behind it become less, and the duplicates more."""
    before = whole.project()
    last = whole.operators[-1]
    half = replace(last, keep_rate=scaled(last.keep_rate, 0.5), is_corrected=True)
    made = replace(whole, operators=(*whole.operators[:-1], half), kept=scaled(whole.kept, 0.5)).project()
    assert made["output_rows"]["value"] == pytest.approx(before["output_rows"]["value"] / 2, abs=1)
    assert made["output_uncompressed_bytes"]["value"] == pytest.approx(before["output_uncompressed_bytes"]["value"] / 2, rel=0.01)
    assert made["duplicates_rows"]["value"] > before["duplicates_rows"]["value"]
    assert corrections((*whole.operators[:-1], half))[-1] == pytest.approx(0.5)


def test_tokens_and_their_files_are_told(folder: Path) -> None:
    """With token counts and token shards: tokens, files of each format, and their bytes are those of the run."""
    train = {"type": "train_tokenizer", "vocab_size": 300}
    tokenize = {"type": "tokenize", "tokenizer": "train_tokenizer"}
    config = made_config(folder, [LENGTH, train, tokenize], "tokens", output={"token_shards": {"formats": ["datatrove", "megatron"]}})
    made = foretell(folder / "tokens", config, number=5000).project()
    output = finished(config).manifest["output"]
    shards = output["token_shards"]
    assert made["output_tokens"]["value"] == pytest.approx(output["tokens"], rel=0.05)
    assert made["token_shards"]["files"]["value"] == shards["files"]
    assert made["token_shards"]["bytes"]["value"] == pytest.approx(shards["bytes"], rel=0.1)
    assert "learning of train_tokenizer" in made["cpu_seconds_by"]


def test_the_hub_is_told_what_publishing_sends(folder: Path) -> None:
    """Files and commits of a version with its data, cut as `publish` cuts them; hours where there are more than the Hub takes in one."""
    config = made_config(folder, [LENGTH], "hub", output={"target_shard_bytes": "1KiB"})
    published = config.model_copy(update={"publish": PublishConfig(repo_id="org/made", include_data=True)})
    found = foretell(folder / "hub", config, number=300)
    small = replace(found, census=replace(found.census, config=published)).project()["hub"]
    assert small["files"] > 300
    assert small["commits"] == -(-small["files"] // 100)
    assert small["least_seconds"] == 0
    census = replace(found.census, config=published, rows=found.census.rows * 100, group_bytes=found.census.group_bytes * 100)
    large = replace(found, census=census).project()
    assert large["hub"]["least_seconds"] == 3600 * ((large["hub"]["commits"] - 1) // 128) > 0
    assert any(line.startswith("Hub: org/made") for line in projection_lines(large))
    assert found.project()["hub"] is None


def test_ten_times_the_input_is_ten_times_the_work(whole: Foretold) -> None:
    """What was measured counts by the byte: rows, bytes and CPU grow as the input does; what a worker needs does not."""
    one = whole.project()
    big = replace(whole.census, rows=whole.census.rows * 10, group_bytes=whole.census.group_bytes * 10)
    ten = replace(whole, census=big).project()
    for key in ("output_rows", "output_uncompressed_bytes"):
        assert ten[key]["value"] == pytest.approx(10 * one[key]["value"], rel=0.02)
    assert ten["cpu_seconds_by"]["length_filter"]["value"] >= one["cpu_seconds_by"]["length_filter"]["value"]
    assert ten["wall_seconds"]["value"] >= one["wall_seconds"]["value"]


def test_the_rows_of_a_sample_s_groups_are_those_of_a_batch(folder: Path) -> None:
    """As many rows in a row group as in a batch of the input, so that a document costs the same; fewer where that makes too few units."""
    inventory = prepared_of(made_config(folder, [], "groups")).inventory
    assert sample_group_rows(inventory, 2000, 16 << 20) == 100
    assert sample_group_rows(inventory, 90, 16 << 20) == 20
    assert sample_group_rows(inventory, 0, 16 << 20) == 1


def test_what_every_unit_takes_is_told_from_what_bytes_take() -> None:
    """From units of several sizes by a straight line; from units of one size nothing can be told, so that a usual value counts."""
    assert fixed_part([5 + 2 * size for size in (10, 20, 30)], [10, 20, 30]) == pytest.approx(5)
    assert fixed_part([3.0, 2.0, 1.0], [10, 20, 30]) == 1.0
    assert fixed_part([1.0, 1.0, 1.0], [10, 10, 10]) < 0.01
    assert fixed_part([], []) < 0.01


def test_more_removed_documents_are_more_pairs() -> None:
    """What is assumed of pairs follows the documents that go; that of the usual corpus is the usual."""
    assert shares_for(0.165).pairs == pytest.approx(0.65)
    assert shares_for(0.33).pairs == pytest.approx(1.3)
    assert shares_for(0.0).pairs < 0.001
    assert shares_for(1.0).met <= 1


bounds = (
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6)).map(sorted).map(lambda some: Estimate(some[1], some[0], some[2]))
)


@given(bounds, bounds, st.floats(0, 100))
def test_arithmetic_keeps_the_bounds_around_the_value(one: Estimate, other: Estimate, factor: float) -> None:
    """Sums, products and multiples: low, value and high stay in this order, in JSON too."""
    for made in (added([one, other]), times(one, other), scaled(one, factor)):
        assert made.low <= made.value * (1 + 1e-9) + 1e-9
        assert made.value <= made.high * (1 + 1e-9) + 1e-9
        told = to_json(made, 3)
        assert told["low"] <= told["value"] + 0.001
