"""The pipeline that `shardmill init` writes: small, commented, and valid as it is."""

from __future__ import annotations

from pathlib import Path

from operators.base import NAME
from pipelines.errors import ConfigError, shown

TEMPLATE = """\
# A shardmill pipeline. Check it with `shardmill validate {file}`, see what it would do with
# `shardmill plan {file}`, run it with `shardmill run {file}`. A run that was stopped goes on where it was.
name: {name}

input:
  uri: data/**/*.parquet            # any path or fsspec URL (s3://…, hf://datasets/…), or a list of them
  # format: jsonl                   # parquet | jsonl; default: from each file's extension
  text_column: text
  # id_column: id                   # without ids in the input, documents get one
  # path_columns: [dump]            # columns from folder names like dump=2026-01/
  # storage_options: {{endpoint_url: "https://…"}}   # secrets come from the environment, never from here

operators:                          # in this order; `shardmill operators` lists them all
  - type: language_filter
    languages: [en]
    min_score: 0.65

  - type: length_filter
    min_chars: 200

  - type: gopher_quality            # words that make prose; `shardmill operators gopher_quality` tells every threshold
    # preset: gopher@paper          # thresholds under a versioned name; each can be set alone too

  - type: minhash_dedup             # copies and near-duplicates; `exact_dedup` finds copies alone, at less cost
    # within: [dump]                # compare only documents with equal values here

  # - type: tokenize                # adds input_ids and num_tokens
  #   tokenizer: openai-community/gpt2  # a tokenizer.json, or the id of a model on the Hub

output:
  uri: out/{name}                   # a path, or s3://bucket/folder
  # target_shard_bytes: 512MiB      # size of a shard, uncompressed
  # columns: [id, text, language]   # default: all
  # partition_by: [language]        # folders data/v1/language=en/…
  # token_shards: {{formats: [megatron]}}     # .bin and .idx for trainers beside the Parquet files; also: datatrove
  # licence: odc-by

# execution: {{max_quarantined_fraction: 0.001, keep_intermediates: latest}}
# cluster: {{type: local, num_cpus: 2}}    # local: Ray on this machine | ray: a cluster's address | inline: no Ray
# publish: {{repo_id: org/{name}}}     # a dataset repo on the Hub, private; include_data: true uploads the shards too
"""


def write_starter(name: str, folder: Path) -> Path:
    """Write NAME.yaml into a folder and return its path; a file that is there stays as it is.

    Raises:
        ConfigError: The name cannot be one, or the file cannot be made.
    """
    name = name.removesuffix(".yaml").removesuffix(".yml")
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{shown(name)!r} cannot name a pipeline; expected 1 to 64 letters, digits, '_', '.' or '-' (use --path for a folder)"
        )
    path = folder / f"{name}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(name=name, file=path))
    except FileExistsError:
        raise ConfigError(f"{path} exists already, and is left as it is; choose another name, or remove it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({shown(error.strerror)}); choose another folder with --path") from error
    return path
