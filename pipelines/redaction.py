"""What a secret looks like, where it belongs, and how it is kept out of everything that is stored or shown.

Owns the names of secret settings and the shapes of secrets in URIs. Knows nothing of files, stores or operators.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

REDACTED = "[redacted]"
SECRET_VARIABLES = ("SECRET", "TOKEN", "PASSWORD", "ACCESS_KEY", "CREDENTIAL")
MIN_SECRET_CHARS = 8
"""A shorter value of such a variable is `true` or `none`, which stand in every message."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = frozenset(
    {"secret", "secrets", "password", "passwd", "passphrase", "pwd", "credential", "credentials", "sas", "signature"}
    | {"authorization", "cookie", "cookies", "token", "bearer"}
)
_SECRET_PAIRS = (("access", "key"), ("account", "key"), ("api", "key"), ("private", "key"), ("customer", "key"), ("connection", "string"))
# Names that say where a credential is, or that there is none; they are no secrets themselves.
_PUBLIC_TOKENS = frozenset({"anon", "google_default", "cloud", "cache", "browser"})
# Settings of pipelines whose tokens are those of texts, or that name where a cluster keeps its secrets.
_PUBLIC_NAMES = frozenset({"max_token_length", "token_path", "token_shards", "auth_secret", "image_pull_secrets", "secret_env"})
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#@]*@")
_QUERY_VALUE = re.compile(r"(?<=[?&;])([^\s=&;#?]+)=([^\s&;#'\"]+)")

_AWS = {
    "key": "AWS_ACCESS_KEY_ID",
    "username": "AWS_ACCESS_KEY_ID",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "password": "AWS_SECRET_ACCESS_KEY",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "aws_session_token": "AWS_SESSION_TOKEN",
}
_AZURE = {
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "sas_token": "AZURE_STORAGE_SAS_TOKEN",
    "connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "client_secret": "AZURE_STORAGE_CLIENT_SECRET",
}
_VARIABLES: dict[str, dict[str, str]] = {
    "s3": _AWS,
    "s3a": _AWS,
    "gs": {"token": "GOOGLE_APPLICATION_CREDENTIALS"},
    "gcs": {"token": "GOOGLE_APPLICATION_CREDENTIALS"},
    "hf": {"token": "HF_TOKEN"},
    "abfs": _AZURE,
    "az": _AZURE,
}


def is_secret_name(name: str, *, in_storage_options: bool = False) -> bool:
    """Whether a setting of this name holds a secret; `key` alone does only among storage options, elsewhere it may be a column."""
    if name in _PUBLIC_NAMES and not in_storage_options:
        return False
    words = tuple(word.lower() for word in _WORDS.findall(name))
    if in_storage_options and "key" in words:
        return True
    return bool(_SECRET_WORDS & set(words)) or any(pair in pairwise(words) for pair in _SECRET_PAIRS)


def secret_paths(options: Mapping[str, Any], parents: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of the secrets in storage options, at any depth; an absent value (null, true or false, a public word) is none."""
    found: list[tuple[str, ...]] = []
    for key, value in options.items():
        path = (*parents, str(key))
        if is_secret_name(str(key), in_storage_options=True):
            if not (value is None or isinstance(value, bool) or value in _PUBLIC_TOKENS):
                found.append(path)
        elif isinstance(value, Mapping):
            found += secret_paths(value, path)
    return found


def variable_for(key: str, uri: str) -> str | None:
    """The environment variable that the store of a URI reads this secret from; None where we know of none."""
    scheme = uri.partition("://")[0].lower()
    return _VARIABLES.get(scheme, {}).get(key.lower())


def redact_uri(text: str) -> str:
    """A text without the passwords and signatures of the URIs in it."""
    if "://" not in text:
        return text
    text = _USERINFO.sub(rf"\g<1>{REDACTED}@", text)
    return _QUERY_VALUE.sub(_redact_query_value, text)


def _redact_query_value(match: re.Match[str]) -> str:
    name = match[1]
    signed = name.lower().startswith(("x-amz-", "x-goog-", "awsaccesskeyid", "googleaccessid"))
    secret = signed or name.lower() in {"sig", "key"} or is_secret_name(name)
    return f"{name}={REDACTED}" if secret else match[0]


def redact_environment(text: str) -> str:
    """A text without the values of the environment's secret-looking variables."""
    for name, value in os.environ.items():
        if len(value) >= MIN_SECRET_CHARS and any(word in name.upper() for word in SECRET_VARIABLES):
            text = text.replace(value, REDACTED)
    return text


def redact(value: Any, *, in_storage_options: bool = False) -> Any:
    """A JSON-like value without its secrets: values under secret names, passwords and signatures in URIs."""
    if isinstance(value, str):
        return redact_uri(value)
    if isinstance(value, Mapping):
        return {key: _redact_entry(str(key), entry, in_storage_options=in_storage_options) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redact(entry, in_storage_options=in_storage_options) for entry in value]
    return value


def redact_settings(settings: Mapping[str, Any], by_kind: Collection[str]) -> dict[str, Any]:
    """The settings of an operator without their secrets. The keys of mappings named in `by_kind` are kinds of data, no names of secrets."""
    kinds = {name: value for name, value in settings.items() if name in by_kind and isinstance(value, Mapping)}
    redacted: dict[str, Any] = redact(settings)
    return redacted | {name: {kind: redact(value) for kind, value in mapping.items()} for name, mapping in kinds.items()}


def _redact_entry(key: str, value: Any, *, in_storage_options: bool) -> Any:
    inside = in_storage_options or key == "storage_options"
    if is_secret_name(key, in_storage_options=in_storage_options) and value is not None and not isinstance(value, bool):
        return REDACTED
    return redact(value, in_storage_options=inside)


def without_redacted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what was redacted, at any depth: who uses them again takes such from the environment."""
    kept = {key: without_redacted(value) if isinstance(value, Mapping) else value for key, value in options.items()}
    return {key: value for key, value in kept.items() if value != REDACTED}
