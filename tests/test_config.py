"""Loading a pipeline file: what it means, and what is said about a wrong one."""

from __future__ import annotations

import itertools
import json
import pickle
import re
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
import yaml
from config_files import FULL, MINIMAL, WRONG
from hypothesis import given
from hypothesis import strategies as st

from operators.length import LengthFilter
from pipelines.config import InlineCluster, LocalCluster, PipelineConfig, RayCluster, json_schema, load
from pipelines.config_schema import schema_text
from pipelines.config_sizes import MAX_BYTES, parse_size, show_size
from pipelines.config_yaml import data_of, parse
from pipelines.errors import ConfigError
from pipelines.redaction import REDACTED, is_secret_name, redact

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def loaded(tmp_path):
    numbers = itertools.count()

    def load_text(text: str, *overrides: str, env: dict[str, str] | None = None) -> PipelineConfig:
        path = tmp_path / str(next(numbers)) / "p.yaml"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        try:
            return load(path, overrides, env or {})
        except ConfigError as error:
            raise ConfigError(error.message.replace(f"{path.parent}/", "").replace(str(path.parent), "FOLDER")) from error

    return load_text


@pytest.fixture
def problems(loaded):
    def problems_of(text: str, *overrides: str, env: dict[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            loaded(text, *overrides, env=env)
        return caught.value.problems

    return problems_of


# What a right file means


def test_defaults_are_those_of_the_contract(loaded):
    """A file that names only what has no default is the same as one that spells every default out."""
    short = loaded(
        """\
name: quickstart
input: {uri: s3://raw/crawl/**/*.parquet, format: parquet, path_columns: [dump, date],
        storage_options: {endpoint_url: "https://s3.example.org", anon: false, client_kwargs: {region_name: eu}}}
operators:
  - {type: length_filter, min_chars: 10}
  - {type: exact_dedup, within: [dump]}
  - {type: length_filter, max_chars: 100000}
output: {uri: s3://clean/quickstart}
"""
    )
    assert short.redacted() == loaded(FULL).redacted()
    assert short.output.target_shard_bytes == 512 * 1024**2
    assert short.execution.batch_bytes == 16 * 1024**2


def test_redacted_is_a_pipeline_file_again(loaded):
    """What the manifest stores about a pipeline without secrets loads to the same pipeline."""
    config = loaded(FULL)
    again = loaded(yaml.safe_dump(config.redacted(), sort_keys=False))
    assert again.redacted() == config.redacted()
    assert list(config.redacted()) == list(yaml.safe_load(FULL))


def test_replacements_of_secrets_are_no_secrets(loaded):
    """What takes the place of secrets in documents stays in what is stored, which loads again; passwords in the same setting do not."""
    text = """\
name: p
input: {uri: in}
operators: [{type: pii_redact, replacements: {secret: [KEY, "https://me:hunter1@host/"], email: [MAIL]}}]
output: {uri: out}
"""
    config = loaded(text)
    stored = config.redacted()["operators"][0]["replacements"]
    assert stored == {"secret": ["KEY", "https://[redacted]@host/"], "email": ["MAIL"]}
    again = loaded(yaml.safe_dump(config.redacted(), sort_keys=False))
    assert again.redacted() == config.redacted()
    assert redact({"replacements": {"secret": ["hunter2"]}}) == {"replacements": {"secret": REDACTED}}


@pytest.mark.parametrize(
    ("operator", "read"),
    [
        ("{type: gopher_repetition, dup_n_grams: {5: 0.5, 6: null}}", {"dup_n_grams": {5: 0.5, 6: None}}),
        ("{type: gopher_repetition, top_n_grams: [[2, 0.5]]}", {"top_n_grams": {2: 0.5}}),
        ("{type: gopher_quality, stop_words: [the, of], min_doc_words: 5}", {"stop_words": ["the", "of"], "min_doc_words": 5}),
        ("{type: fineweb_quality, stop_chars: [., '!']}", {"stop_chars": [".", "!"]}),
        ("{type: fineweb_quality, preset: fineweb@v1-code, short_line_thr: 1}", {"short_line_thr": 1.0}),
        ("{type: c4_quality}", {}),
    ],
)
def test_quality_filters_are_set_in_a_file(loaded, operator, read):
    """Lists and mappings of numbers are read from a file as they are given in Python, and again from what is stored."""
    config = loaded(f"name: p\ninput: {{uri: in}}\noperators: [{operator}]\noutput: {{uri: out}}\n")
    assert {name: getattr(config.operators[0], name) for name in read} == read
    assert loaded(yaml.safe_dump(config.redacted(), sort_keys=False)).operators == config.operators


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("{type: gopher_repetition, dup_n_grams: {5: 1.5}}", "gopher_repetition.dup_n_grams: 1.5 is no share; expected a fraction"),
        ("{type: gopher_repetition, dup_n_grams: {five: 0.5}}", "gopher_repetition.dup_n_grams.five: found 0.5, expected a whole number"),
        ("{type: fineweb_quality, stop_chars: []}", "fineweb_quality.stop_chars: found a list, expected at least 1 entry"),
        ("{type: fineweb_quality, line_punct_thr: yes}", "fineweb_quality.line_punct_thr: "),
        ("{type: language_filter, min_scores: {en: .nan}}", "language_filter.min_scores.en: "),
    ],
)
def test_wrong_numbers_of_filters_are_told_by_line(loaded, operator, message):
    """The message names the setting, and what was expected."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        loaded(f"name: p\ninput: {{uri: in}}\noperators: [{operator}]\noutput: {{uri: out}}\n")


def test_operators_have_names(loaded):
    """An operator is named by its type, the second of a type gets a number, and a name that is given stays."""
    config = loaded(
        MINIMAL + "operators: [{type: length_filter}, {type: length_filter}, {type: exact_dedup, name: urls}, {type: length_filter}]"
    )
    assert [operator.name for operator in config.operators] == ["length_filter", "length_filter-2", "urls", "length_filter-3"]


@pytest.mark.parametrize("settings", ["id_column: id", "id_column: key"])
def test_an_id_column_that_is_named_is_required(loaded, settings):
    """Only an id column that the user wrote must be in the input."""
    assert loaded(f"name: p\ninput: {{uri: in, {settings}}}\noutput: {{uri: out}}").input.id_is_required
    assert not loaded(MINIMAL).input.id_is_required
    assert not loaded("name: p\ninput: {uri: in, id_column: null}\noutput: {uri: out}").input.id_is_required


@pytest.mark.parametrize(
    ("text", "cluster"),
    [
        ("", LocalCluster()),
        ("cluster: null", LocalCluster()),
        ("cluster: {num_cpus: 2}", LocalCluster(num_cpus=2)),
        ("cluster: {type: ray}", RayCluster(address="auto")),
        ("cluster: {type: ray, address: 'ray://head:10001'}", RayCluster(address="ray://head:10001")),
        ("cluster: {type: inline}", InlineCluster()),
    ],
)
def test_clusters(loaded, text, cluster):
    """The cluster is told by its type; without one it is this machine."""
    assert loaded(MINIMAL + text).cluster == cluster


def test_configuration_survives_pickling(loaded):
    """A configuration that was sent to another process is the same."""
    config = loaded(FULL)
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_custom_operator_comes_from_the_files_folder(tmp_path):
    """`module:Class` is looked up beside the pipeline file, and its settings are checked like any other's."""
    (tmp_path / "mine.py").write_text(
        dedent(
            """
            from typing import Literal
            from pydantic import Field
            from operators.base import BatchOperator, Result

            class Shout(BatchOperator):
                type: Literal["mine:Shout"] = "mine:Shout"
                loud: int = Field(default=1, ge=1)

                def open(self, assets):
                    return Result
            """
        )
    )
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL + "operators:\n  - type: mine:Shout\n    loud: 3\n")
    config = load(path, (), {})
    assert config.operators[0].model_dump() == {"type": "mine:Shout", "name": "mine:Shout", "loud": 3}
    assert config.folder == tmp_path
    path.write_text(MINIMAL + "operators:\n  - type: mine:Shout\n    loud: 0\n    lout: 3\n")
    with pytest.raises(ConfigError) as caught:
        load(path, (), {})
    assert [line.removeprefix(f"{path}:") for line in caught.value.problems] == [
        "6: operators[0].mine:Shout.loud: found 0, expected at least 1",
        "7: operators[0].mine:Shout: there is no key 'lout'; did you mean 'loud'?",
    ]


def test_a_custom_module_that_fails_is_a_configuration_error(tmp_path):
    """Whatever a custom module raises when it is imported is told as a problem of the file's line."""
    (tmp_path / "broken.py").write_text("raise KeyError('model')\n")
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL + "operators:\n  - type: broken:Shout\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:5: operators\[0\]: .*KeyError"):
        load(path, (), {})


# Scalars are read by what is wanted


@pytest.mark.parametrize(
    "text", ["no", "on", "off", "yes", "y", "2024-01-01", "12:30:00", "2024", "1e3", "0x1F", "0o17", "007", "true", "1.10", ".5"]
)
def test_text_is_text_without_quotes(loaded, text):
    """Where text is wanted, an unquoted scalar is its own source text, whatever YAML would make of it."""
    config = loaded(
        f"name: {text.replace(':', '').lstrip('.')}\ninput: {{uri: {text}, path_columns: [{text}], text_column: {text}1}}\n"
        f"output: {{uri: out, licence: {text}}}"
    )
    assert config.input.uri == (text,)
    assert config.input.path_columns == (text,)
    assert config.output.licence == text


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("0.5", 0.5), (".5", 0.5), ("0", 0.0), ("1", 1.0), ("1e-05", 1e-5)])
def test_numbers_are_numbers(loaded, text, value):
    """Numbers may have an exponent without a point, which YAML 1.1 would take for text."""
    assert loaded(MINIMAL + f"execution: {{max_quarantined_fraction: {text}}}").execution.max_quarantined_fraction == value


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("1e3", 1000), ("0o17", 15), ("0x1F", 31), ("010", 10), ("2.0", 2)])
def test_whole_numbers(loaded, text, value):
    """A whole number may be written as a float that is one; a leading zero is no octal."""
    assert loaded(MINIMAL + f"execution: {{seed: {text}}}").execution.seed == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("yes", True), ("on", True), ("false", False), ("no", False), ("Off", False)])
def test_truth_values(loaded, text, value):
    """A truth value may be written as yes, no, on or off."""
    assert loaded(f"name: p\ninput: {{uri: in}}\noutput: {{uri: out, dropped: {text}}}").output.dropped is value


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("seed", "'1'", "found '1', expected a whole number"),
        ("seed", "true", "found true, expected a whole number"),
        ("max_quarantined_fraction", "yes", "found 'yes', expected a number"),
        ("max_quarantined_fraction", ".nan", "found .nan, expected at most 1"),
        ("seed", "null", "found nothing, expected a whole number"),
        ("seed", "[1]", "found a list, expected a whole number"),
        ("seed", str(2**63), "found 9223372036854775808, expected less than 9223372036854775808"),
    ],
)
def test_wrong_kinds_are_not_coerced(problems, key, text, found):
    """A quoted number is no number, and a truth value is neither."""
    assert problems(MINIMAL + f"execution: {{{key}: {text}}}") == [f"p.yaml:4: execution.{key}: {found}"]


def test_anchors_aliases_and_merges(loaded):
    """Anchors, aliases and merge keys work, and overriding one copy leaves the others alone."""
    config = loaded(
        """\
name: p
input: {uri: in}
output: {uri: out}
operators:
  - &short
    type: length_filter
    min_chars: 5
  - <<: *short
    name: second
    min_chars: 7
  - *short
""",
        "operators[0].min_chars=6",
    )
    assert [(operator.name, operator.min_chars) for operator in config.operators if isinstance(operator, LengthFilter)] == [
        ("length_filter", 6),
        ("second", 7),
        ("length_filter-3", 5),
    ]


# The environment and --set


def test_environment(loaded):
    """`${NAME}` reads the environment inside any scalar, `:-` gives a default, and `$${` is the characters themselves."""
    config = loaded(
        """\
name: ${NAME}
input: {uri: "s3://${BUCKET}/${PREFIX:-all}/x", text_column: "$${NAME}"}
output: {uri: out, licence: "${EMPTY:-mit}", dropped: "${DROPPED}"}
execution:
  seed: ${NOT:-}7
  max_quarantined_fraction: ${FRACTION}
cluster: {num_cpus: "${CPUS}"}
""",
        env={"NAME": "no", "BUCKET": "b", "FRACTION": "0.5", "EMPTY": "", "CPUS": "2", "DROPPED": "true"},
    )
    assert (config.cluster, config.output.dropped) == (LocalCluster(num_cpus=2), True)
    assert (config.name, config.input.uri, config.input.text_column) == ("no", ("s3://b/all/x",), "${NAME}")
    assert (config.output.licence, config.execution.seed, config.execution.max_quarantined_fraction) == ("mit", 7, 0.5)


def test_a_value_from_the_environment_is_no_yaml(loaded):
    """What a variable holds is one value, whatever characters are in it."""
    value = "[a, b]: {c: d} # e\n- f"
    assert loaded("name: p\ninput: {uri: $X}\noutput: {uri: out}".replace("$X", "'${X}'"), env={"X": value}).input.uri == (value,)
    assert loaded("name: p\ninput:\n  uri: ${X}\noutput: {uri: out}", env={"X": value}).input.uri == (value,)


def test_missing_variables(problems):
    """A variable that is not set, and a reference that is none, are errors of their lines."""
    assert problems("name: p\ninput:\n  uri: ${A}/x\noutput: {uri: out}\nexecution:\n  seed: ${B-1}\n") == [
        "p.yaml:3: input.uri: the environment has no variable A; set it, or give a default: `${A:-default}`",
        "p.yaml:6: execution.seed: `${` does not begin a `${NAME}` or `${NAME:-default}`; write `$${` for the characters themselves",
        "p.yaml:6: execution.seed: found '${B-1}', expected a whole number",
    ]


def test_overrides(loaded):
    """`--set` replaces and adds keys, by path, by position and by the operator's name."""
    config = loaded(
        FULL,
        "output.uri=s3://other/x",
        "execution.seed=7",
        "operators[0].min_chars=20",
        "operators.length_filter-2.max_chars=5000",
        "input.uri=[a.parquet, b.parquet]",
        "input.uri[1]=c.parquet",
        "input.storage_options.client_kwargs.region_name=us",
        "cluster={type: inline}",
        "output.licence=${L}",
        env={"L": "mit"},
    )
    assert config.output.uri == "s3://other/x"
    assert config.execution.seed == 7
    assert [operator.model_dump().get("min_chars") for operator in config.operators] == [20, None, 0]
    assert config.operators[2].model_dump()["max_chars"] == 5000
    assert config.input.uri == ("a.parquet", "c.parquet")
    assert config.input.storage_options["client_kwargs"] == {"region_name": "us"}
    assert config.cluster == InlineCluster()
    assert config.output.licence == "mit"


def test_an_override_may_add_a_whole_section(loaded):
    """A section that the file lacks, or has as null, is made."""
    assert loaded(MINIMAL + "execution: null\n", "execution.seed=3", "cluster.type=inline").execution.seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("output.urii=x", "--set output.urii: output: there is no key 'urii'; did you mean 'uri'?"),
        ("output.uri", "--set output.uri: there is no value; expected `--set path.to.key=value`"),
        ("=x", "--set : no key is named; expected one like output.uri, input.uri[0] or operators.NAME.min_score"),
        ("a..b=x", "--set a..b: not a path of keys; expected one like output.uri, input.uri[0] or operators.NAME.min_score"),
        ("name=[", "--set name: not readable as YAML: expected the node content, but found '<stream end>'"),
        ("name.x=1", "--set name.x: name is 'quickstart' in the file; it has no entry x"),
        ("operators[7].min_chars=1", "--set operators[7].min_chars: operators has 3 entries, counted from 0"),
        (
            "operators.exact_dedupe.keep=first",
            ("--set operators.exact_dedupe.keep: no operator is named 'exact_dedupe'; did you mean 'exact_dedup'?"),
        ),
        (
            "input.path_columns.x=1",
            ("--set input.path_columns.x: input.path_columns is a list; expected a position, like input.path_columns[0]"),
        ),
        ("execution.seed=x", "--set execution.seed: found 'x', expected a whole number"),
        (
            "output.compression=zstdd",
            ("--set output.compression: found 'zstdd', expected 'zstd', 'snappy', 'gzip', 'lz4', 'brotli' or 'none'; did you mean 'zstd'?"),
        ),
        (
            "operators[0].type=lenght_filter",
            ("--set operators[0].type: operators[0]: no operator is called 'lenght_filter'; did you mean 'length_filter'?"),
        ),
    ],
)
def test_wrong_overrides(problems, override, message):
    """A wrong override is reported under the option's name."""
    assert problems(FULL, override) == [message]


# Wrong files


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files(problems, case):
    """Everything that is wrong is reported at once, in the order of the lines, each with what was found, expected and to do."""
    text, expected = WRONG[case]
    assert problems(text) == expected


def test_billion_laughs_end_soon(problems):
    """Aliases of aliases that would fill the memory are refused."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    (problem,) = problems("\n".join(lines))
    assert re.fullmatch(
        r"p\.yaml:\d+: not readable as YAML: aliases make more than 100,000 values of the file; write the values out", problem
    )


def test_deep_nesting_is_an_error(problems):
    """A file nested too deeply for the parser is one problem, not a crash."""
    assert problems("a: " + "[" * 20_000) == ["p.yaml:1: the file is nested too deeply; a pipeline file has a few levels"]


def test_files_that_cannot_be_read(tmp_path):
    """A path that is no readable text file is said to be that."""
    (tmp_path / "latin.yaml").write_bytes(b"name: p\ninput: caf\xe9\n")
    expected = {
        "none.yaml": "none.yaml: there is no such file; give the path of a pipeline file",
        ".": "found a folder, expected a pipeline file",
        "latin.yaml": "latin.yaml:2: the text is not UTF-8; save the file as UTF-8",
    }
    for name, message in expected.items():
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name, (), {})
        assert message in caught.value.message


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    """Editors that write a byte order mark do no harm."""
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(path, (), {}).name == "p"


def test_values_shown_are_bounded_and_hold_no_secret(problems):
    """A message shows at most 200 characters of a value, in one line, and no password of a URI."""
    lines = problems(MINIMAL + 'execution: {seed: "a\\nb' + "x" * 5000 + '", on_error: "s3://user:hunter2@host/x?sig=hunter3"}')
    assert len(lines) == 2
    assert all(len(line) < 400 for line in lines)
    assert "hunter" not in "".join(lines)


# Overlap of input and output


@pytest.mark.parametrize(
    ("source", "target", "overlaps"),
    [
        ("data", "data/out", True),
        ("data/*.parquet", "data/out", False),
        ("data/**/*.parquet", "data/out", True),
        ("data/*/data/v[12]/*.parquet", "data/out", True),
        ("data/**/*.jsonl", "data/out", False),
        ("out", "out", True),
        ("./out/../out/data/**", "out", True),
        ("out2/*.parquet", "out", False),
        ("file:///x/y/*.parquet", "/x/y", True),
        ("s3a://b/out/data/*", "s3://b/out", True),
        ("s3://b/out/x", "memory://b/out", False),
        ("data/[z-a]/*", "data/out", False),
        ("data/[!a]ut/manifest.json", "data/out", True),
    ],
)
def test_inputs_that_would_read_the_output(tmp_path, source, target, overlaps):
    """An input may lie beside the output, never in it or around it."""
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"name": "p", "input": {"uri": source}, "output": {"uri": target}, "cluster": {"type": "inline"}}))
    if overlaps:
        with pytest.raises(ConfigError, match="keep the two apart"):
            load(path, (), {})
    else:
        assert load(path, (), {}).output.uri == target


# Secrets


def test_redacted_holds_no_secret(loaded):
    """Passwords, tokens and signatures of URIs are replaced wherever they stand; the rest stays as it is."""
    config = loaded(
        """\
name: p
input:
  uri: ["https://user:hunter1@host/a.parquet?X-Amz-Signature=hunter2&X-Amz-Credential=hunter3&part=1", "http::s3://hunter4@b/x"]
  storage_options: {endpoint_url: "https://me:hunter5@s3.example.org?sas_token=hunter6", region: eu, anon: true}
output: {uri: out}
"""
    )
    stored = json.dumps(config.redacted())
    assert "hunter" not in stored
    assert "part=1" in stored
    assert config.redacted()["input"]["storage_options"]["region"] == "eu"
    assert "hunter1" in config.input.uri[0]


SECRETS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=12, max_size=30)


@given(
    secret=SECRETS,
    name=st.sampled_from(
        ["key", "secret", "token", "password", "account_key", "sas_token", "accessKeyId", "AWS_SECRET_ACCESS_KEY", "clientSecret"]
    ),
    nest=st.lists(st.sampled_from(["client_kwargs", "config_kwargs", "s3"]), max_size=3),
)
def test_redact_finds_secrets_at_any_depth(secret, name, nest):
    """A secret among storage options is replaced at any depth."""
    options: dict[str, object] = {name: secret, "url": f"https://u:{secret}@h/p?sig={secret}"}
    for step in nest:
        options = {step: [options]}
    assert secret not in json.dumps(redact({"storage_options": options}))


def test_no_setting_of_a_pipeline_is_taken_for_a_secret():
    """Of all keys that a pipeline file may have none is hidden from plans and manifests, but for what storage options hold."""

    def names(part):
        for key, value in part.items() if isinstance(part, dict) else ():
            yield from value if key == "properties" else ()
            yield from names(value)
        for value in part if isinstance(part, list) else ():
            yield from names(value)

    found = set(names(json_schema()))
    assert {"token_shards", "max_token_length", "append", "cache_bytes"} <= found
    assert not {name for name in found if is_secret_name(name)}


@pytest.mark.parametrize(
    "name", ["tokenizer", "num_tokens", "max_tokens", "key_column", "id_column", "keep", "author", "keywords", "within"]
)
def test_settings_that_only_sound_like_secrets(name):
    """Names that hold a secret word's letters but not the word are no secrets."""
    assert not is_secret_name(name)
    assert redact({name: "x"}) == {name: "x"}
    assert redact({"api_key": "x", "passphrase": "y"}) == {"api_key": REDACTED, "passphrase": REDACTED}


# Sizes


@given(st.integers(min_value=1, max_value=MAX_BYTES))
def test_sizes_round_trip(num_bytes):
    """A size that was shown is read as the same number of bytes."""
    assert parse_size(show_size(num_bytes)) == num_bytes
    assert parse_size(num_bytes) == num_bytes


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("512MiB", 2**29),
        ("1.5GiB", 3 * 2**29),
        ("100MB", 10**8),
        ("1024", 1024),
        ("1 kb", 1000),
        ("64 KIB", 65536),
        (1e6, 10**6),
        ("7B", 7),
    ],
)
def test_sizes_as_people_write_them(text, num_bytes):
    """Units of 1000 and of 1024, with fractions, in either case."""
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MiB",
        "12XB",
        "-5",
        "1e3",
        "1,5MiB",
        "0.3B",
        "1.2.3MB",
        "inf",
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        "9" * 30,
        "9999PiB",
        "0",
        0,
    ],
)
def test_sizes_that_are_none(text):
    """Nonsense, zero, fractions of a byte and more than any store holds are refused."""
    with pytest.raises(ValueError, match="expected"):
        parse_size(text)


# The schema for editors


def test_schema_accepts_what_load_accepts():
    """Editors don't underline a valid file, `${NAME}` and sizes as text included."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = yaml.safe_load(FULL)
    assert list(validator.iter_errors(document)) == []
    document["execution"] = {"seed": "${SEED}", "unit_bytes": "1.5 GiB", "batch_bytes": 1024, "max_quarantined_fraction": "${F:-0.1}"}
    document["input"]["uri"] = ["a", "b"]
    document["operators"] = [{"type": "mine:Thing", "any": 1}, {"type": "length_filter", "min_chars": "${N}"}]
    document["output"] |= {"compression": "${COMPRESSION}", "target_shard_bytes": "${SIZE:-4MiB}"}
    assert list(validator.iter_errors(document)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.name)
def test_editors_find_the_schema_of_every_config(path):
    """The first line names the schema of this build, by a path that counts from the file, and nothing of the file is underlined."""
    text = path.read_text()
    first, problems = text.partition("\n")[0], []
    schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert schema.read_text() == schema_text(), "`make docs` writes it anew"
    tree = parse(text, path.name, {}, lambda *problem: problems.append(problem))
    assert list(jsonschema.Draft202012Validator(json.loads(schema.read_text())).iter_errors(data_of(tree))) == problems == []


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (("output", "target_shard_bytes"), "512MiB"),
        (("output", "compression"), "zstd"),
        (("output", "columns"), "null"),
        (("input", "text_column"), "text"),
    ],
)
def test_editors_show_defaults_as_people_write_them(part, shown):
    """What rests under the pointer is told with its default, sizes with their unit."""
    section, key = part
    about = json_schema()["properties"][section]["properties"][key]
    assert about["markdownDescription"].endswith(f"\n\nDefault: `{shown}`")


def test_what_is_wrong_is_underlined_alone():
    """A setting that an operator has not is the only problem of its operator, and a misspelt operator is told as that."""
    validator = jsonschema.Draft202012Validator(json_schema())

    def problems(operator):
        return [error.message for error in validator.iter_errors(yaml.safe_load(FULL) | {"operators": [operator]})]

    assert problems({"type": "length_filter", "min_char": 1}) == ["Additional properties are not allowed ('min_char' was unexpected)"]
    (problem,) = problems({"type": "lenght_filter", "min_chars": 1})
    assert "'lenght_filter' is not valid" in problem


@pytest.mark.parametrize(
    "change",
    [
        {"nam": "x"},
        {"input": {"uri": "x", "uris": 1}},
        {"output": {}},
        {"operators": [{"type": "lenght_filter"}]},
        {"operators": [{"type": "length_filter", "min_char": 1}]},
        {"operators": [{"type": "length_filter", "min_chars": -1}]},
        {"execution": {"batch_bytes": "12XB"}},
        {"execution": {"seed": "x"}},
        {"cluster": {"type": "rai"}},
    ],
)
def test_schema_refuses_what_load_refuses(change):
    """Editors underline an unknown key, operator or value."""
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid(yaml.safe_load(FULL) | change)


def test_schema_describes_every_key():
    """Every key of the file and of its sections has a description for the editor to show."""
    schema = json_schema()
    assert all(about.get("description") for about in schema["properties"].values())
    for section in ("input", "output"):
        assert all(about.get("description") for about in schema["properties"][section]["properties"].values())
        assert schema["properties"][section]["additionalProperties"] is False
