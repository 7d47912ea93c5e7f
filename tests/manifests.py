"""Manifests made by hand, in the shape of DESIGN 10, for what is shown of them."""

from __future__ import annotations

from typing import Any

# What a custom operator, a file name or a document can put into a name.
NASTY = {
    "markup": "<script>alert('x')</script>",
    "attribute": '" onmouseover="x',
    "entity": "&lt;b&gt;",
    "terminal": "\x1b[2J\x1b[31mred\x07",
    "control": "a\x00b\x7fc\x85d",
    "lines": "one\ntwo\r\n---\nthree\ttab",
    "direction": "abc\u202etxt.exe\u2066",
    "rtl": "שלום עולם مرحبا",
    "wide": "数据清洗",
    "emoji": "👩‍👩‍👧 \U0001f600",
    "surrogate": "lone \ud800 half",
    "unassigned": "\ufffe\uffff",
    "table": "a|b\\|c",
    "code": "`tick` ``two`` ```three",
    "markdown": "# *bold* [x](javascript:alert(1)) ![y](http://e/i.png) $$z$$ http://example.org",
    "yaml": "x: [1, {a: &b *b}] # no\n- y",
    "long": "long " * 50_000,
    "empty": "",
    "rich": "[bold red]x[/] [link=http://e]y[/link]",
}

Step = tuple[str, str, dict[str, Any], dict[str, int], int]
"""Name, type, settings, dropped rows by reason, quarantined rows."""

STEPS: tuple[Step, ...] = (
    (
        "language_filter",
        "language_filter",
        {"languages": ["en"], "min_score": 0.65, "model": None},
        {"language": 9000, "language_score": 321},
        0,
    ),
    (
        "gopher_quality",
        "datatrove",
        {"block": "GopherQualityFilter", "args": {}},
        {"gopher_short_doc": 5000, "gopher_enough_stop_words": 1500, "a": 100, "b": 100, "c": 50, "d": 20, "e": 11},
        0,
    ),
    ("exact_dedup", "exact_dedup", {"keep": "first"}, {"exact_duplicate": 1011}, 0),
    ("tokenize", "tokenize", {"tokenizer": "tokenizer.json"}, {}, 0),
)


def make_manifest(
    steps: tuple[Step, ...] = STEPS, *, rows_in: int = 28_125, unread: int = 12, errors: dict[str, int] | None = None, **changed: Any
) -> dict[str, Any]:
    """A manifest whose numbers add up; `unread` rows are quarantined by reading, `errors` says by which error all quarantined rows are."""
    operators = []
    rows = rows_in - unread
    quarantined = unread
    for position, (name, kind, settings, dropped, bad) in enumerate(steps):
        after = rows - sum(dropped.values()) - bad
        operators.append(
            {
                "name": name,
                "type": kind,
                "settings": settings,
                "rows_in": rows,
                "rows_out": after,
                "seconds": round(40.5 * (position + 1), 3),
            }
        )
        quarantined += bad
        rows = after
    by_error = errors if errors is not None else {"not_a_string": quarantined} if quarantined else {}
    ledger = {
        "rows_in": rows_in,
        "rows_out": rows,
        "dropped": {name: dict(sorted(dropped.items())) for name, _, _, dropped, _ in steps if dropped},
        "quarantined": by_error,
    }
    num_dropped = sum(sum(reasons.values()) for reasons in ledger["dropped"].values())
    manifest: dict[str, Any] = {
        "manifest_version": 1,
        "name": "quickstart",
        "version": "v1",
        "run_id": "1a2b3c4d5e6f7081",
        "created_at": "2026-01-02T03:04:05Z",
        "fingerprints": {"config": "c" * 32, "inputs": "d" * 32, "code": "e" * 32},
        "config": {"name": "quickstart", "output": {"uri": "s3://clean/quickstart"}, "execution": {"max_quarantined_fraction": 0.001}},
        "environment": {"python": "3.11.2", "packages": {"pyarrow": "26.0.0", "numpy": "2.3.1"}},
        "input": {
            "uri": "s3://raw/crawl/**/*.parquet",
            "files": 24,
            "rows": rows_in,
            "bytes": 21_400_000,
            "unreadable_files": 0,
            "unreadable": [],
            "inventory": "_shardmill/inventories/x.parquet",
        },
        "ledger": ledger,
        "operators": operators,
        "output": {"shards": 3, "rows": rows, "bytes": 9_876_543, "tokens": 3_210_987},
        "tokens": {
            "total": 3_210_987,
            "source_column": None,
            "language_column": "language",
            "by_source": {"s3://raw/crawl": {"documents": rows, "tokens": 3_210_987}},
            "by_language": {"de": {"documents": 0, "tokens": 0}, "en": {"documents": rows, "tokens": 3_210_987}},
        },
        "documents": documents_profile(rows),
        "tables": {
            name: {"rows": number, "sha256": "f" * 64}
            for name, number in (("shards", 3), ("dropped", num_dropped), ("duplicates", 1011), ("quarantine", quarantined))
        },
        "schema": [
            {"name": "id", "type": "string", "nullable": True},
            {"name": "input_ids", "type": "list<item: int32>", "nullable": False},
        ],
        "parents": [],
        "licence": "odc-by",
    }
    return {**manifest, **changed}


def documents_profile(rows: int) -> dict[str, Any]:
    """What the manifest says of so many documents: half have 3 bytes, the others 1000, all of them are German."""
    short, long = rows // 2, rows - rows // 2
    size = 3 * short + 1000 * long
    return {
        "text_column": "text",
        "language_column": "language",
        "text_bytes": size,
        "null_texts": 0,
        "lengths": [
            {"from_bytes": 2, "below_bytes": 4, "documents": short, "text_bytes": 3 * short},
            {"from_bytes": 512, "below_bytes": 1024, "documents": long, "text_bytes": 1000 * long},
        ],
        "by_language": {"de": {"documents": rows, "text_bytes": size}},
    }


def warning(operator: str = "minhash_dedup", guard: str = "max_source_share", **changed: Any) -> dict[str, Any]:
    """What the manifest says of a guard that was passed."""
    found = {
        "operator": operator,
        "guard": guard,
        "subject": "s3://raw/dump=7",
        "found": 0.97,
        "limit": 0.5,
        "documents": 9700,
        "examples": ["page-17"],
    }
    return {**found, **changed}


def learned(operator: str, path: str, documents: int = 1234) -> dict[str, Any]:
    """What the manifest says of a file that an operator learned."""
    return {"operator": operator, "path": path, "bytes": 9, "sha256": "f" * 64, "documents": documents, "sample_bytes": 99}


def nasty_manifest() -> dict[str, Any]:
    """A manifest with the worst of strings wherever a stranger's string can stand."""
    texts = list(NASTY.values())
    nested = {text: {"list": [text, {text: text}]} for text in texts}
    steps = tuple(
        (f"{text}{position}", text, nested, {f"{other}{position}": 1 for other in texts}, 1) for position, text in enumerate(texts)
    )
    rows = len(texts) * (len(texts) + 2)
    manifest = make_manifest(steps, rows_in=rows, unread=len(texts), errors=dict.fromkeys(texts, 2))
    manifest.update(
        name=" ".join(text[:30] for text in texts),
        licence=NASTY["markup"] + NASTY["yaml"],
        config=nested,
        schema=[{"name": text, "type": text, "nullable": True} for text in texts],
        parents=texts,
        learned=[learned(text, text) for text in texts],
        warnings=[warning(text, subject=text, examples=texts) for text in texts],
    )
    manifest["tokens"] |= {f"{kind}_column": texts[0] for kind in ("source", "language")}
    manifest["tokens"] |= {f"by_{kind}": {text: {"documents": 1, "tokens": 2} for text in texts} for kind in ("source", "language")}
    by_language = {text: {"documents": 1, "text_bytes": 2} for text in texts}
    manifest["documents"] |= {"text_column": texts[1], "language_column": texts[0], "by_language": by_language}
    manifest["input"].update(
        uri=texts, unreadable_files=len(texts), unreadable=[{"uri": text, "error": text, "message": text} for text in texts]
    )
    manifest["environment"] = {"python": NASTY["markup"], "packages": {text: text for text in texts}}
    return manifest


def huge_manifest(letter: str = "<") -> dict[str, Any]:
    """A manifest of a run with thousands of operators, reasons, errors, files and columns, all with long names."""
    name = letter * 300
    steps = tuple(
        (f"{step}{name}", name, {str(key): name for key in range(300)}, {f"{reason}{name}": 1 for reason in range(20)}, 0)
        for step in range(1000)
    )
    manifest = make_manifest(steps, rows_in=40_000, unread=5000, errors={f"{error}{name}": 1 for error in range(5000)})
    manifest["input"].update(
        uri=[f"{number}{name}" for number in range(5000)],
        unreadable_files=5000,
        unreadable=[{"uri": name, "error": name, "message": name * 10}] * 5000,
    )
    manifest["schema"] = [{"name": f"{number}{name}", "type": name, "nullable": True} for number in range(5000)]
    manifest["environment"] = {"python": "3.11", "packages": {f"{number}{name}": name for number in range(5000)}}
    manifest["config"] = {str(number): name for number in range(5000)}
    manifest["parents"] = [name] * 5000
    manifest["warnings"] = [warning(f"{number}{name}", subject=name, examples=[name] * 3) for number in range(5000)]
    manifest["learned"] = [learned(name, f"{number}{name}", 10**15) for number in range(5000)]
    counts = {"documents": 10**15, "tokens": 10**18}
    manifest["tokens"] |= {f"by_{kind}": {f"{number}{name}": counts for number in range(10_000)} for kind in ("source", "language")}
    most = {"documents": 10**15, "text_bytes": 10**18}
    lengths = [{"from_bytes": 1 << power >> 1, "below_bytes": 1 << power, **most} for power in range(41)]
    by_language = {f"{number}{name}": most for number in range(10_000)}
    manifest["documents"] |= {"text_column": name, "language_column": name, "lengths": lengths, "by_language": by_language}
    for operator in manifest["operators"]:
        operator["removed"] = {"chars": 10**15, "documents": 10**15, "passages": 10**15}
    return manifest
