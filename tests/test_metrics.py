"""The metrics of a run: they count what its ledger counts, Prometheus can scrape them from Ray, and they never stop a run."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
import yaml
from pipelines_made import Runs, write_input, write_pipeline

from cluster.metrics import NO_METRICS, Metrics
from cluster.tasks import InlineExecutor
from pipelines import metrics as names
from pipelines import run_metrics
from pipelines.commit import Part, Record
from pipelines.config import load
from pipelines.drive import Tally
from pipelines.ledger import Ledger
from pipelines.progress import Silent
from pipelines.run import run
from pipelines.run_metrics import MOST_WORDS, OTHER, RunMetrics
from pipelines.work import Work

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


class Kept(Metrics):
    """Keeps what it is told, by name and labels, as a scrape would show it."""

    def __init__(self):
        self.values = Counter()

    def add(self, metric, labels, value):
        assert (metric.kind, tuple(labels)) == ("counter", metric.labels)
        self.values[series(metric.name, labels)] += value

    def set(self, metric, labels, value):
        assert (metric.kind, tuple(labels)) == ("gauge", metric.labels)
        self.values[series(metric.name, labels)] = value


class Broken(Metrics):
    """Fails with every value."""

    def add(self, metric, labels, value):
        raise OSError("nobody is there")

    set = add


def series(name, labels):
    """A series as a key; which run it is of goes without saying."""
    return name, frozenset((key, value) for key, value in labels.items() if key not in names.RUN_LABELS)


def told(values, metric):
    """The values of a metric by those of its own labels."""
    own = metric.labels[len(names.RUN_LABELS) :]
    found = {tuple(dict(labels)[key] for key in own): value for (name, labels), value in values.items() if name == metric.name}
    return found if own else found[()]


def unit(rows=10, dropped=(), quarantined=(), operator="filter", **usage):
    """The record of a unit, and its work."""
    ledger = Ledger(rows, rows - sum(dict(dropped).values()) - sum(dict(quarantined).values()))
    count = ledger.operator(operator)
    count.rows_in, count.rows_out = ledger.rows_in, ledger.rows_out
    count.dropped.update(dict(dropped))
    count.quarantined.update(dict(quarantined))
    return Record("key", "attempt", "unit", {}, ledger, {}, usage), Work("key", lambda: None, rows, 100 * rows, "unit")


def totals(values):
    """What the metrics say in the words of the manifest."""
    dropped, quarantined = {}, Counter()
    for (operator, reason), number in told(values, names.ROWS_DROPPED).items():
        dropped.setdefault(operator, {})[reason] = number
    for (_, error), number in told(values, names.ROWS_QUARANTINED).items():
        quarantined[error] += number
    return {
        "ledger": {
            "rows_in": told(values, names.ROWS_IN),
            "rows_out": told(values, names.ROWS_OUT),
            "dropped": dropped,
            "quarantined": dict(quarantined),
        },
        "operators": {
            name: (rows, told(values, names.OPERATOR_ROWS_OUT)[name,]) for (name,), rows in told(values, names.OPERATOR_ROWS_IN).items()
        },
        "output": (told(values, names.OUTPUT_SHARDS), told(values, names.OUTPUT_BYTES)),
    }


def expected(manifest):
    """The same from the manifest; it has no entry for reading."""
    ledger, output = manifest["ledger"], manifest["output"]
    operators = {one["name"] or one["type"]: (one["rows_in"], one["rows_out"]) for one in manifest["operators"]}
    first = manifest["operators"][0]["rows_in"]
    return {
        "ledger": ledger,
        "operators": {"read": (ledger["rows_in"], first), **operators},
        "output": (output["shards"], output["bytes"]),
    }


@pytest.fixture
def pipeline(tmp_path):
    return write_pipeline(tmp_path / "pipeline", write_input(tmp_path / "input"), str(tmp_path / "out"))


@pytest.fixture
def kept(monkeypatch):
    """What runs without Ray in this process tell."""
    found = Kept()
    monkeypatch.setattr(InlineExecutor, "metrics", property(lambda _: found))
    return found


class Stopping(Silent):
    """Stops the run after some records."""

    def __init__(self, records):
        super().__init__()
        self._left = records

    def record(self, record, work):
        super().record(record, work)
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt


def test_the_counters_of_a_run_are_its_ledger(pipeline, kept):
    """Two stages with an exchange between: rows, drops, quarantines and bytes are the manifest's, and at the end nothing is left to do."""
    manifest = run(load(pipeline)).manifest
    assert totals(kept.values) == expected(manifest)
    assert told(kept.values, names.INPUT_BYTES) > 0
    assert told(kept.values, names.WORK_DONE)["shard",] == manifest["output"]["shards"]
    assert set(told(kept.values, names.RETRIES).values()) == {0}
    for gauge in (names.RUNNING, names.WORK_LEFT):
        assert told(kept.values, gauge) == 0
    assert set(told(kept.values, names.PHASE).values()) == {0}


@pytest.mark.parametrize("records", [3, 20])
def test_the_counters_of_a_stopped_run_and_of_the_next_add_up(records, pipeline, kept):
    """What was committed before is not counted again: the sum over all drivers of a run is its ledger."""
    with pytest.raises(KeyboardInterrupt):
        run(load(pipeline), watch=Stopping(records))
    before = kept.values.total()
    assert 0 < told(kept.values, names.WORK_DONE)["unit",] <= records + 1
    manifest = run(load(pipeline)).manifest
    assert kept.values.total() > before
    assert totals(kept.values) == expected(manifest)


def test_gauges_say_how_far_a_phase_is(monkeypatch):
    """Work that an earlier run has committed is not left; a committed piece and a new phase are progress."""
    clock = iter(range(100))
    monkeypatch.setattr(run_metrics, "time", type("Clock", (), {"time": staticmethod(lambda: float(next(clock)))}))
    found = Kept()
    with RunMetrics(found, "p", "r", pytest.fail) as metrics:
        record, work = unit()
        metrics.phase(1, 2, [work] * 5, 2)
        metrics.record(record, work)
        metrics._tell()
        assert told(found.values, names.RUNNING) == 1
        assert told(found.values, names.PHASE) == {("1", "unit"): 1}
        assert (told(found.values, names.WORK_PLANNED), told(found.values, names.WORK_LEFT)) == (5, 2)
        assert told(found.values, names.LAST_PROGRESS) == 2
        metrics.phase(2, 2, [], 0)
        metrics._tell()
        assert told(found.values, names.PHASE) == {("1", "unit"): 0, ("2", "unit"): 1}
        assert told(found.values, names.LAST_PROGRESS) == 3
    assert told(found.values, names.LAST_PROGRESS) == 3


def test_retries_and_losses_are_told_without_a_record():
    """A run in which nothing succeeds tells its retries too, each once."""
    found, tally = Kept(), Tally()
    with RunMetrics(found, "p", "r", pytest.fail) as metrics:
        metrics.follow(tally)
        tally.count("infrastructure")
        tally.losses += 2
        metrics._tell()
        metrics._tell()
        assert told(found.values, names.RETRIES)["infrastructure",] == 1
        tally.count("infrastructure")
        tally.count("worker")
    assert told(found.values, names.RETRIES)["infrastructure",] == 2
    assert told(found.values, names.RETRIES)["worker",] == 1
    assert told(found.values, names.TASKS_LOST) == 2


def test_they_are_told_while_the_run_is_going(monkeypatch):
    """The thread tells without anybody asking."""
    monkeypatch.setattr(run_metrics, "TELL_SECONDS", 0.01)
    heard = threading.Event()

    class Heard(Kept):
        def set(self, metric, labels, value):
            super().set(metric, labels, value)
            if metric is names.RUNNING and value == 1:
                heard.set()

    with RunMetrics(Heard(), "p", "r", pytest.fail):
        assert heard.wait(30)


def test_labels_are_bounded_words():
    """A reason or error that is no word, or comes after the first hundred of an operator, has no series, but its rows are counted."""
    found = Kept()
    with RunMetrics(found, "p", "r", pytest.fail) as metrics:
        metrics.phase(1, 1, [], 0)
        metrics.record(*unit(400, dropped=[(f"reason-{number}", 1) for number in range(MOST_WORDS + 50)]))
        metrics.record(*unit(10, dropped=[("s3://key:secret@bucket/x", 3), ("reason-1", 2), ("a" * 65, 1)]))
        metrics.record(*unit(10, quarantined=[("ValueError", 1), ("", 1), ("token=abc def", 1)]))
    dropped = {reason: number for (_, reason), number in told(found.values, names.ROWS_DROPPED).items()}
    assert len(dropped) == MOST_WORDS + 1
    assert dropped["reason-1"] == 3
    assert dropped[OTHER] == 50 + 4
    assert told(found.values, names.ROWS_QUARANTINED) == {("filter", "ValueError"): 1, ("filter", OTHER): 2}


def test_only_shards_are_output():
    """Bytes of side tables and parts are not counted as output, and an empty shard is none."""
    part = Part("data/v1/x.parquet", 3, 1000, "")
    found = Kept()
    with RunMetrics(found, "p", "r", pytest.fail) as metrics:
        for kind, parts in (("shard", {"file": part}), ("shard", {}), ("table", {"file": part}), ("partition", {"rows": part})):
            metrics.record(Record("key", "attempt", kind, parts), Work("key", lambda: None, 0, 0, kind))
    assert (told(found.values, names.OUTPUT_SHARDS), told(found.values, names.OUTPUT_BYTES)) == (1, 1000)
    assert told(found.values, names.WORK_DONE) == {("shard",): 2, ("table",): 1, ("partition",): 1}


def test_metrics_that_fail_do_not_fail_the_run(pipeline, monkeypatch):
    """The run goes on to its end, and says once that there are no metrics."""
    monkeypatch.setattr(InlineExecutor, "metrics", property(lambda _: Broken()))
    notes = []
    watch = Silent()
    watch.note = notes.append
    assert run(load(pipeline), watch=watch).manifest["version"] == "v1"
    assert [note for note in notes if "metrics" in note] == ["metrics: OSError: nobody is there; the run goes on without them"]


def test_without_ray_nothing_is_counted():
    """No thread runs where nobody could ask."""
    assert InlineExecutor().metrics is NO_METRICS
    before = threading.active_count()
    with RunMetrics(NO_METRICS, "p", "r", pytest.fail) as metrics:
        metrics.record(*unit())
        assert threading.active_count() == before
        assert not metrics._counts


def test_counting_costs_little():
    """A unit of ten operators with drops costs microseconds: a thousandth of what the driver may need for it, and some reserve."""
    record, work = unit()
    for number in range(10):
        record.ledger.operator(f"operator-{number}").dropped.update({"short": 3, "long": 2})
    with RunMetrics(Kept(), "p", "r", pytest.fail) as metrics:
        metrics.phase(1, 1, [work], 0)
        begun = time.process_time()
        for _ in range(2000):
            metrics.record(record, work)
        assert (time.process_time() - begun) / 2000 < 100e-6


# --- on Ray


def test_ray_takes_every_metric():
    """Ray's side of a metric is bytes of ASCII: its name, description and labels; names end as Prometheus wants them to."""
    for metric in names.METRICS:
        assert "".join((metric.name, metric.description, *metric.labels)).isascii()
        assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert len({metric.name for metric in names.METRICS}) == len(names.METRICS)


def scraped(server, run_id):
    """What the agent of the head tells Prometheus of a run, and the other labels that Ray gives it."""
    from prometheus_client.parser import text_string_to_metric_families

    node = server.head.node
    page = urllib.request.urlopen(f"http://{node.node_ip_address}:{node.metrics_export_port}/metrics", timeout=30).read().decode()
    values, labels = {}, set()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.labels.get("run_id") == run_id:
                metric = next(metric for metric in names.METRICS if sample.name == f"ray_{metric.name}")
                assert family.type == metric.kind
                assert family.documentation == metric.description
                values[series(metric.name, {key: sample.labels[key] for key in metric.labels})] = sample.value
                labels |= set(sample.labels) - set(metric.labels)
    return values, labels


@pytest.mark.ray
@pytest.mark.chaos
def test_prometheus_scrapes_the_ledger_of_a_run_on_ray(tmp_path, ray_cluster):
    """A worker is killed in the run: its retry is told, every row is counted once, and the page names Ray's own labels as documented."""
    source = write_input(tmp_path / "input")
    path = write_pipeline(tmp_path / "pipeline", source, str(tmp_path / "out"), cluster=ray_cluster.settings)
    runs = Runs(path, tmp_path / "runs")
    runs.finish(SHARDMILL_FAULT="unit.parts-written=kill")
    manifest = yaml.safe_load(runs.store().read("manifest.json"))
    values, labels = scraped(ray_cluster, manifest["run_id"])
    assert totals(values) == expected(manifest)
    assert told(values, names.TASKS_LOST) >= 1
    assert sum(told(values, names.RETRIES).values()) >= 1
    assert told(values, names.RUNNING) == 0
    assert {name for name, _ in values} == {metric.name for metric in names.METRICS}
    documented = re.search(r"^Ray adds (.*?)\.$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", documented[1])) == labels


# --- the page


def blocks():
    """The YAML that the page shows."""
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]


def test_the_page_lists_every_metric():
    """docs/metrics.md has each metric with its kind, its labels and what it counts, as the code has them, in its order."""
    lines = [
        f"| `ray_{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels[2:])} | {metric.description} |"
        for metric in names.METRICS
    ]
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| `ray_")]
    assert [re.sub(r" +", " ", line) for line in shown] == [re.sub(r" +", " ", line) for line in lines]


def test_the_rules_of_the_page_use_metrics_that_exist():
    """Three alerts; every metric in them is one of ours, and every label that they group by is one that it has."""
    (rules,) = [block for block in blocks() if "groups" in block]
    alerts = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    assert len(alerts) == 3
    known = {f"ray_{metric.name}": metric for metric in names.METRICS}
    for expression in alerts.values():
        used = re.findall(r"\bray_\w+", expression)
        assert used
        assert set(used) <= set(known)
        for group in re.findall(r"(?:by|on) ?\(([^)]*)\)", expression):
            labels = {label.strip() for label in group.split(",")}
            assert all(labels - {"kind"} <= set(known[name].labels) for name in used)


def test_the_scrape_example_keeps_the_labels_that_tell_drivers_apart():
    """What it drops is the same in every series; without `WorkerId` two drivers of a run would be one series twice."""
    (config,) = [block for block in blocks() if "scrape_configs" in block]
    (job,) = config["scrape_configs"]
    (relabel,) = job["metric_relabel_configs"]
    dropped = re.compile(relabel["regex"])
    assert relabel["action"] == "labeldrop"
    assert dropped.fullmatch("otel_scope_name")
    assert not dropped.fullmatch("WorkerId")
    assert not any(dropped.fullmatch(label) for metric in names.METRICS for label in metric.labels)
