"""Pipeline files for the tests of the configuration: a short one, a full one, and wrong ones with the exact messages about them."""

from __future__ import annotations

MINIMAL = "name: p\ninput: {uri: in/*.parquet}\noutput: {uri: out}\n"

FULL = """\
name: quickstart
input:
  uri: s3://raw/crawl/**/*.parquet
  format: parquet
  text_column: text
  id_column: id
  path_columns: [dump, date]
  storage_options: {endpoint_url: "https://s3.example.org", anon: false, client_kwargs: {region_name: eu}}
operators:
  - type: length_filter
    min_chars: 10
  - type: exact_dedup
    within: [dump]
  - type: length_filter
    max_chars: 100000
output:
  uri: s3://clean/quickstart
  storage_options: {}
  target_shard_bytes: 512MiB
  compression: zstd
  columns: null
  partition_by: []
  token_shards: null
  dropped: false
  licence: null
history: null
execution: {unit_bytes: auto, batch_bytes: 16MiB, on_error: quarantine, max_quarantined_fraction: 0.001,
            keep_intermediates: none, seed: 0}
cluster: {type: local}
publish: null
schedule: null
ingest: {changed: fail, vanished: keep}
submit: {}
"""

WRONG = {
    "unknown operator": (
        MINIMAL + "operators:\n  - type: length_filter\n  - type: lenght_filter\n",
        ["p.yaml:6: operators[1]: no operator is called 'lenght_filter'; did you mean 'length_filter'?"],
    ),
    "rule of an operator": (
        MINIMAL + "operators:\n  - type: length_filter\n    min_chars: 100\n    max_chars: 10\n",
        ["p.yaml:5: operators[0].length_filter: max_chars (10) is below min_chars (100); no document could pass"],
    ),
    "settings of an operator": (
        MINIMAL + "operators:\n  - type: length_filter\n    min_chars: -1\n    max_char: 3\n    name: a b\n",
        [
            "p.yaml:6: operators[0].length_filter.min_chars: found -1, expected at least 0",
            "p.yaml:7: operators[0].length_filter: there is no key 'max_char'; did you mean 'max_chars'?",
            "p.yaml:8: operators[0].length_filter.name: a name is at most 128 letters, digits, '_', '.', ':' or '-'",
        ],
    ),
    "operators of a wrong shape": (
        MINIMAL + "operators:\n  - length_filter\n  - {min_chars: 1}\n  - {type: [a]}\n  -\n",
        [
            "p.yaml:5: operators[0]: found 'length_filter', expected a mapping with the key `type`; write `- type: length_filter`",
            "p.yaml:6: operators[1]: the key 'type' is missing; it names the operator (`shardmill operators` lists them)",
            "p.yaml:7: operators[2]: the key 'type' is missing: found a list; it names the operator (`shardmill operators` lists them)",
            "p.yaml:8: operators[3]: found nothing, expected a mapping with the key `type`",
        ],
    ),
    "operators as a mapping": (
        MINIMAL + "operators:\n  type: length_filter\n",
        ["p.yaml:4: operators: found a mapping, expected a list, each `- type: …`"],
    ),
    "names twice": (
        MINIMAL + "operators:\n  - {type: length_filter, name: a}\n  - type: exact_dedup\n    name: a\n",
        ["p.yaml:7: operators[1]: the name 'a' is taken by operators[0]; give one of them another `name`"],
    ),
    "a name that a default takes": (
        MINIMAL + "operators:\n  - {type: exact_dedup, name: length_filter}\n  - type: length_filter\n",
        ["p.yaml:6: operators[1]: the name 'length_filter' is taken by operators[0]; give one of them another `name`"],
    ),
    "settings inside a setting": (
        MINIMAL + "operators:\n  - type: minhash_dedup\n    bands: 14\n    guards: {max_source_shar: 0.1}\n",
        [
            "p.yaml:7: operators[0].minhash_dedup.guards: there is no key 'max_source_shar'; did you mean 'max_source_share'?",
        ],
    ),
    "bands without rows": (
        MINIMAL + "operators:\n  - type: minhash_dedup\n    bands: 14\n",
        ["p.yaml:5: operators[0].minhash_dedup: rows is null, bands is not; set rows too, or neither and a preset"],
    ),
    "custom operator that is not there": (
        MINIMAL + "operators:\n  - type: nowhere:Thing\n",
        ["p.yaml:5: operators[0]: nowhere:Thing: there is no module 'nowhere' in FOLDER; put the module beside the pipeline file"],
    ),
    "unknown keys at any depth": (
        "nam: p\ninput:\n  uri: in\n  text_colum: t\noutput:\n  uri: out\n  zzz: 1\nexecution: {sed: 1}\ncluster: {type: local, cpus: 2}\n",
        [
            "p.yaml:1: there is no key 'nam'; did you mean 'name'?",
            "p.yaml:4: input: there is no key 'text_colum'; did you mean 'text_column'?",
            (
                "p.yaml:7: output: there is no key 'zzz'; the keys are: uri, storage_options, target_shard_bytes, compression, columns, "
                "partition_by, token_shards, source_column, language_column, dropped, "
                "report_samples, licence"
            ),
            "p.yaml:8: execution: there is no key 'sed'; did you mean 'seed'?",
            "p.yaml:9: cluster: there is no key 'cpus'; did you mean 'num_cpus'?",
        ],
    ),
    "a misspelt key is one problem": (
        "nme: p\ninputs: {uri: in}\noutput: {urii: out}\n",
        [
            "p.yaml:1: there is no key 'nme'; did you mean 'name'?",
            "p.yaml:2: there is no key 'inputs'; did you mean 'input'?",
            "p.yaml:3: output: there is no key 'urii'; did you mean 'uri'?",
        ],
    ),
    "passwords in what is shown": (
        "name: p\ninput: {uri: s3://me:hunter2@b/x, storage_options: password=hunter2}\noutput: {uri: 's3://me:hunter2@b/*'}\n",
        [
            "p.yaml:2: input.storage_options: found a value, expected a mapping of keys to values",
            "p.yaml:3: output.uri: s3://[redacted]@b/* is a pattern; expected one folder, without `*`, `?` or `[`",
        ],
    ),
    "missing keys": (
        "# a comment\nname: p\n\noutput:\n  compression: zstd\n",
        [
            (
                "p.yaml:2: the key 'input' is missing (Where the documents come from); "
                'write, for example, `input: {"uri": "s3://raw/**/*.parquet"}`'
            ),
            (
                "p.yaml:4: output: the key 'uri' is missing (Folder of the dataset: a local path or an S3 URL); "
                "write, for example, `uri: s3://clean/quickstart`"
            ),
        ],
    ),
    "sections of a wrong kind": (
        "name: [a]\ninput: in\noutput:\nexecution: 3\ncluster: ray\n",
        [
            "p.yaml:1: name: found a list, expected text",
            "p.yaml:2: input: found 'in', expected a mapping of keys to values",
            "p.yaml:3: output: found nothing, expected a mapping of keys to values",
            "p.yaml:4: execution: found 3, expected a mapping of keys to values",
            "p.yaml:5: cluster: found 'ray', expected a mapping of keys to values",
        ],
    ),
    "values out of range": (
        (
            "name: a/b\ninput:\n  uri: []\noutput:\n  uri: ''\n  compression: zst\n  columns: []\n"
            "execution:\n  on_error: no\n  max_quarantined_fraction: 1.5\ncluster:\n  num_cpus: 0\n"
        ),
        [
            "p.yaml:1: name: found 'a/b', expected text that matches ^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
            "p.yaml:3: input.uri: found a list, expected at least 1 entry",
            "p.yaml:5: output.uri: found '', expected text of at least 1 characters",
            "p.yaml:6: output.compression: found 'zst', expected 'zstd', 'snappy', 'gzip', 'lz4', 'brotli' or 'none'; did you mean 'zstd'?",
            "p.yaml:7: output.columns: found a list, expected at least 1 entry",
            "p.yaml:9: execution.on_error: found 'no', expected 'fail' or 'quarantine'",
            "p.yaml:10: execution.max_quarantined_fraction: found 1.5, expected at most 1",
            "p.yaml:12: cluster.num_cpus: found 0, expected at least 1",
        ],
    ),
    "sizes": (
        ("name: p\ninput: {uri: in}\noutput:\n  uri: out\n  target_shard_bytes: 12XB\nexecution:\n  unit_bytes: -1\n  batch_bytes: 0\n"),
        [
            "p.yaml:5: output.target_shard_bytes: found '12XB', expected a size in bytes, such as 512MiB, 100MB or 1048576",
            "p.yaml:7: execution.unit_bytes: found -1, expected at least 1KiB",
            "p.yaml:8: execution.batch_bytes: found 0, expected at least 1KiB",
        ],
    ),
    "a batch above its unit": (
        MINIMAL + "execution:\n  unit_bytes: 1MiB\n  batch_bytes: 16MiB\n",
        [
            (
                "p.yaml:6: execution.batch_bytes: batch_bytes (16MiB) is above unit_bytes (1MiB); "
                "a batch is cut from one unit, so make it at most as large"
            )
        ],
    ),
    "secrets": (
        (
            "name: p\ninput:\n  uri: s3://b/x\n  text_colum: t\n  storage_options:\n"
            "    key: AKIA\n    client_kwargs:\n      aws_secret_access_key: shh\n"
            "output: {uri: out, storage_options: {password: shh}}\n"
        ),
        [
            "p.yaml:4: input: there is no key 'text_colum'; did you mean 'text_column'?",
            (
                "p.yaml:6: input.storage_options.key: 'key' is a secret, and secrets come from the environment, never from here; "
                "set the environment variable AWS_ACCESS_KEY_ID"
            ),
            (
                "p.yaml:8: input.storage_options.client_kwargs.aws_secret_access_key: 'aws_secret_access_key' is a secret, "
                "and secrets come from the environment, never from here; set the environment variable AWS_SECRET_ACCESS_KEY"
            ),
            (
                "p.yaml:9: output.storage_options.password: 'password' is a secret, and secrets come from the environment, "
                "never from here; use the environment or the credential files that the store's client reads"
            ),
        ],
    ),
    "ingest": (
        MINIMAL + "ingest: {changed: ignore}\n",
        ["p.yaml:4: ingest.changed: found 'ignore', expected 'fail', 'keep' or 'rebuild'"],
    ),
    "schedule": (
        MINIMAL + "schedule:\n  cron: 0 25 * * *\n  timezone: Europe/Berln\n  catch_up: lst\n",
        [
            "p.yaml:5: schedule.cron: hour '25' is none; expected 0 to 23; ranges, lists and steps of them; or `*`",
            "p.yaml:6: schedule.timezone: there is no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?",
            "p.yaml:7: schedule.catch_up: found 'lst', expected 'skip', 'last' or 'all'; did you mean 'last'?",
        ],
    ),
    "later format": (
        "name: p\ninput: {uri: x, format: wat}\noutput: {uri: out}",
        ["p.yaml:2: input.format: the format 'wat' is not in this build yet; convert the files to parquet or jsonl first"],
    ),
    "reading its own output": (
        (
            "name: p\ninput:\n  uri:\n    - s3://b/raw/*.parquet\n    - s3://b/**/*.parquet\n"
            "    - s3://b/clean/data\noutput: {uri: s3://b/clean/}\n"
        ),
        [
            (
                "p.yaml:5: input.uri[1]: s3://b/**/*.parquet would read what the pipeline writes to output.uri (s3://b/clean/); "
                "keep the two apart"
            ),
            (
                "p.yaml:6: input.uri[2]: s3://b/clean/data would read what the pipeline writes to output.uri (s3://b/clean/); "
                "keep the two apart"
            ),
        ],
    ),
    "outputs that cannot be": (
        "name: p\ninput: {uri: in}\noutput: {uri: gs://b/x}",
        [
            (
                "p.yaml:3: output.uri: gs://b/x cannot be written exactly once by this build; "
                "expected a local path, file://, s3:// or (for tests) memory://"
            )
        ],
    ),
    "output that lacks a slash": (
        "name: p\ninput: {uri: in}\noutput: {uri: 's3:/b/x'}",
        ["p.yaml:3: output.uri: s3:/b/x looks like a URL that lacks a slash; write s3://…"],
    ),
    "output as a pattern": (
        "name: p\ninput: {uri: in}\noutput: {uri: out/*}",
        ["p.yaml:3: output.uri: out/* is a pattern; expected one folder, without `*`, `?` or `[`"],
    ),
    "memory of several processes": (
        "name: p\ninput: {uri: in}\noutput: {uri: memory://x}",
        [
            (
                "p.yaml:3: output.uri: memory://x is the memory of one process, but cluster.type local has several; "
                "use `cluster: {type: inline}`"
            )
        ],
    ),
    "columns": (
        "name: p\ninput:\n  uri: in\n  path_columns: [text, a, a]\noutput:\n  uri: out\n  columns: [id, id]\n  partition_by: [language]\n",
        [
            "p.yaml:4: input.path_columns[2]: 'a' is there twice; name it once",
            "p.yaml:4: input.path_columns[0]: 'text' is the text column; a folder's name cannot be the text of a document",
            "p.yaml:7: output.columns[1]: 'id' is there twice; name it once",
            "p.yaml:8: output.partition_by[0]: 'language' is not among output.columns (id, id); add it there, or don't partition by it",
        ],
    ),
    "cluster of no kind": (
        MINIMAL + "cluster:\n  type: rayy\n",
        ["p.yaml:5: cluster.type: no cluster is of type 'rayy'; did you mean 'ray'?"],
    ),
    "duplicate keys": (
        MINIMAL + "execution:\n  seed: 1\n  seed: 2\nname: q\n",
        [
            "p.yaml:6: execution: the key 'seed' is already there, in line 5; remove one of them",
            "p.yaml:7: the key 'name' is already there, in line 1; remove one of them",
        ],
    ),
    "tab": ("name: p\ninput:\n\turi: in\n", ["p.yaml:3: a tab stands where YAML wants spaces; indent with spaces"]),
    "syntax": (
        "name: p\ninput:\n  uri: a: b\n",
        ["p.yaml:3: not readable as YAML: mapping values are not allowed here; check the indentation, and quote text that holds ': '"],
    ),
    "open bracket": ("name: [p\n", ["p.yaml:2: not readable as YAML: expected ',' or ']', but got '<stream end>'"]),
    "glob without quotes": (
        "name: p\ninput:\n  uri: *.parquet\n",
        [
            (
                "p.yaml:3: not readable as YAML: expected alphabetic or numeric character, but found '.'; "
                "quote text that begins with `*`, like '*.parquet'"
            )
        ],
    ),
    "empty": ("", ["p.yaml:1: the file is empty; expected a pipeline (`shardmill init NAME` writes one to begin with)"]),
    "only a comment": ("# x\n", ["p.yaml:1: the file is empty; expected a pipeline (`shardmill init NAME` writes one to begin with)"]),
    "a list": (
        "\n- a\n",
        [
            (
                "p.yaml:2: found a list, expected a mapping with the keys name, input, operators, output, history, execution, cluster, "
                "publish, schedule, ingest, submit"
            )
        ],
    ),
    "two documents": (MINIMAL + "---\nname: q\n", ["p.yaml:4: a second document begins here (`---`); a pipeline file holds one"]),
    "a tag": (
        MINIMAL.replace("p\n", "!!python/name:os.system p\n", 1),
        [("p.yaml:1: name: the tag tag:yaml.org,2002:python/name:os.system is not known here; remove it")],
    ),
    "a key that is a list": (MINIMAL + "[a]: 1\n", ["p.yaml:4: a key is a list or a mapping; expected a word, like `name: …`"]),
    "an anchor that holds itself": (
        MINIMAL + "operators: &a\n  - *a\n",
        [("p.yaml:4: not readable as YAML: the anchor holds itself; write the values out")],
    ),
    "half a surrogate pair": (
        MINIMAL + 'cluster: {type: "\\ud800"}\n',
        [
            "p.yaml:4: cluster.type: the text holds half of a surrogate pair, which is no character",
            "p.yaml:4: cluster.type: no cluster is of type '\ufffd'; the types are: local, ray, inline",
        ],
    ),
    "a control character": ("name: p\ninput: {uri: 'a\x00'}\n", ["p.yaml:2: the character U+0000 is not allowed in YAML; remove it"]),
}
