"""What reports show, made by hand: as it is after a real run, as hostile and as large as it can be."""

from __future__ import annotations

from dataclasses import replace

from manifests import STEPS, make_manifest

from pipelines.study import (
    DryRun,
    Estimate,
    Example,
    Excerpt,
    Histogram,
    Limit,
    Mark,
    Moved,
    OperatorEstimate,
    Pair,
    QuarantinedRow,
    ReportData,
    Threshold,
    WorkCost,
)

FILE = "s3://raw/crawl/dump=2024-10/part-00017.parquet"
HARBOUR = (
    "The harbour was dredged twice in the nineteenth century, and each time the work uncovered timbers of an older quay.\n\n"
    "Visitors who arrive by the morning ferry see the lighthouse first. It was built in 1843 to replace a wooden beacon that had burned "
    "down, and its keeper's house is now a small museum about the herring trade.\n\n"
    "From May to September the museum is open daily; in winter, ask at the library for the key."
)
SHOP = (
    "BUY NOW!!! Best price on all shoes. Best price on all shoes. Best price on all shoes.\n"
    "Click here | Click here | Click here\nFree shipping on orders over $49 <b>today only</b>!"
)
CODE = (
    "function cart() {\n\treturn items.map((item) => item.price * item.count);\n}\n"
    "var x = '<script>alert(1)</script>';\n// lorem ipsum dolor sit amet"
)
HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'><a href=\"javascript:window.hacked=1\">a</a> "
    "</script></p></main><!-- ]]> --> <!--documents--><!--/documents--> &lt;b&gt; \x00\x07\x1b[31m\x7f\x85 "
    "\u202etxt.exe\u2066 zero\u200bwidth lone \ud800 half \ufffe https://example.org/a.png url(https://example.org/b.png)"
)


def excerpt(text, marks=(), **changed):
    found = Excerpt(id="doc-0017", uri=FILE, row=4711, text=text, num_chars=len(text), marks=tuple(marks))
    return replace(found, **changed)


def marks_of(text, words, why):
    """A mark at each place of some words."""
    found, at = [], text.find(words)
    while at >= 0:
        found.append(Mark(at, at + len(words), why))
        at = text.find(words, at + len(words))
    return tuple(found)


def examples():
    repeated = (*marks_of(SHOP, "Best price on all shoes.", "repeated sentence"), *marks_of(SHOP, "Click here", "repeated words"))
    signals = {"gopher_quality.n_words": 312.0, "gopher_quality.mean_word_length": 4.61, "gopher_quality.symbol_ratio": None}
    return (
        Example(None, None, None, excerpt(HARBOUR, id="urn:uuid:6d1f", signals=signals)),
        Example(None, None, None, excerpt("Ein zweites Dokument, das bleibt.\nEs hat zwei Zeilen.", id="kept-2", row=12)),
        Example("language_filter", "language", "fr 0.98", excerpt("Le port fut dragué deux fois au cours du siècle.", id="fr-1")),
        Example(
            "gopher_quality", "gopher_short_doc", None, excerpt("Page not found.", id="short-1", signals={"gopher_quality.n_words": 3.0})
        ),
        Example("gopher_quality", "gopher_enough_stop_words", None, excerpt(SHOP, repeated, id="shop-1")),
        Example("c4_quality", "javascript", "line 1", excerpt(CODE, marks_of(CODE, "lorem ipsum", "placeholder text"), id="code-1")),
    )


def pairs():
    gone = HARBOUR.replace("1843", "1834").replace("herring", "cod")
    removed = excerpt(
        gone, (*marks_of(gone, "1834", "only in the removed document"), *marks_of(gone, "cod", "only in the removed document")), id="copy-1"
    )
    kept = excerpt(
        HARBOUR,
        (*marks_of(HARBOUR, "1843", "only in the kept document"), *marks_of(HARBOUR, "herring", "only in the kept document")),
        id="kept-1",
    )
    return (
        Pair("minhash_dedup", "near_duplicate", 0.934, removed, kept),
        Pair("exact_dedup", "exact_duplicate", None, excerpt(SHOP), excerpt(SHOP, id="shop-0")),
    )


def histogram(place=0, *, operator="gopher_quality", signal="n_words", is_log=True):
    """Something like a bell over 24 buckets."""
    size = 24
    counts = tuple(int(400 * 2.718 ** (-(((at - 11 - place % 5) / 5) ** 2))) for at in range(size))
    edges = tuple(round(10 * 1.45**at, 2) for at in range(size + 1)) if is_log else tuple(round(at / size, 4) for at in range(size + 1))
    low, high = edges[6], edges[20]
    limits = (Limit("min_words", "gopher_short_doc", "below", low), Limit("max_words", "gopher_long_doc", "above", high))
    dropped = tuple(number if edges[at] < low or edges[at] >= high else number // 12 for at, number in enumerate(counts))
    doc = "Words, as split at spaces and punctuation."
    return Histogram(operator, signal, "words" if is_log else "", doc, edges, counts, dropped, 7, limits, is_log=is_log)


def thresholds():
    limit = Limit("min_words", "gopher_short_doc", "below", 50.0)
    high = Limit("max_symbol_ratio", "gopher_too_many_symbols", "above", 0.1)
    return (
        Threshold("gopher_quality", limit, "n_words", 1000, Moved(50.0, 210, 260), Moved(45.0, 180, 236), Moved(55.0, 240, 287)),
        Threshold("gopher_quality", high, "symbol_ratio", 1000, Moved(0.1, 31, 260), Moved(0.11, 26, 258), Moved(0.09, 39, 264)),
    )


def works(number=24):
    parts = ("read", "language_filter", "gopher_quality", "exact_dedup", "tokenize", "write", "other")
    return tuple(
        WorkCost(
            1 + at % 2,
            "unit",
            at,
            9000 - 100 * at,
            {name: (8.1 - at / 5) / (1 + place) for place, name in enumerate(parts)},
            (900 - 9 * at) << 20,
            1 + at % 7 // 6,
        )
        for at in range(number)
    )


def data():
    """As after a real run."""
    rows = tuple(
        QuarantinedRow(f"bad-{at}", FILE, at, "normalize_text", "not_a_string", "found a list, expected a string") for at in range(3)
    )
    return ReportData(
        examples=examples(),
        pairs=pairs(),
        histograms=(
            histogram(0),
            histogram(1, signal="symbol_ratio", is_log=False),
            histogram(2, operator="language_filter", signal="score", is_log=False),
        ),
        thresholds=thresholds(),
        studied=1000,
        component_sizes={
            "minhash_dedup": ((2, 812), (3, 120), (4, 31), (7, 4), (19, 1)),
            "exact_dedup": tuple((size, 2000 // size) for size in range(2, 60)),
        },
        works=works(),
        work_totals=(("unit", 240, 812.5, 910 << 20, 3), ("exchange: exact_dedup", 16, 41.2, 512 << 20, 0), ("pack", 3, 12.0, None, 0)),
        quarantined=rows,
        notes=("Texts of 2 dropped documents were not read back: the file is gone.",),
    )


def hostile(text):
    """The same text wherever a report shows one."""
    of = excerpt(
        text, (Mark(0, 5, text), Mark(3, 12, text), Mark(-4, 2, "x"), Mark(9, 10**9, text)), id=text, uri=text, signals={text: 1.5}
    )
    limit = Limit(text, text, "below", 0.5)
    one = replace(
        histogram(0, is_log=False),
        operator=text,
        signal=text,
        unit=text,
        doc=text,
        limits=(limit, limit, replace(limit, value=float("inf"))),
    )
    return ReportData(
        examples=(Example(None, None, text, of), Example(text, text, text, of), Example(text, "b", None, of)),
        pairs=(Pair(text, text, 0.5, of, of),),
        histograms=(one,),
        thresholds=(Threshold(text, limit, text, 10, Moved(0.5, 1, 2), Moved(0.45, 1, 1), Moved(0.55, 2, 3)),),
        studied=10,
        component_sizes={text: ((2, 5),)},
        works=(WorkCost(1, text, 0, 5, {text: 1.0, "b": 2.0}, 1 << 20),),
        work_totals=((text, 1, 2.0, None, 1),),
        quarantined=(QuarantinedRow(text, text, 1, text, text, text),),
        notes=(text,),
    )


def huge(filler):
    """More of everything than a report can hold."""
    long = filler * 8_000
    of = excerpt(
        long, tuple(Mark(at, at + 1, f"why {at}") for at in range(0, 2_000, 2)), signals={f"{filler * 50}{at}": 1.0 for at in range(300)}
    )
    many = 400
    return ReportData(
        examples=tuple(Example(f"{filler * 90}{at % 30}", f"{filler * 90}{at % 300}", long, of) for at in range(many)),
        pairs=tuple(Pair(f"{at % 5}{filler * 90}", "copy", 0.5, of, of) for at in range(many)),
        histograms=tuple(
            Histogram(
                f"{at % 9}", long, long, long, tuple(range(2001)), (3,) * 2000, (1,) * 2000, 5, (Limit(long, long, "below", 7.0),) * 50
            )
            for at in range(many)
        ),
        thresholds=tuple(replace(thresholds()[0], operator=long, signal=long) for _ in range(many)),
        studied=many,
        component_sizes={f"{at}{long}": tuple((size, 3) for size in range(2, 3000)) for at in range(60)},
        works=tuple(WorkCost(1, long, at, 1, {f"{name}{long}": 1.0 for name in range(40)}, 1 << 30) for at in range(many)),
        work_totals=tuple((f"{at}{long}", 1, 1.0, None, 1) for at in range(many)),
        quarantined=tuple(QuarantinedRow(long, long, at, long, long, long) for at in range(many)),
        notes=(long,) * many,
    )


def full_manifest(**changed):
    more = (("minhash_dedup", "minhash_dedup", {}, {"near_duplicate": 640}, 0),)
    return make_manifest((*STEPS[:3], *more, *STEPS[3:]), **changed)


def dry(**changed):
    operators = (
        OperatorEstimate(
            "language_filter",
            "language_filter",
            2000,
            1310,
            {"language": 640, "language_score": 50},
            Estimate(0.655, 0.61, 0.70),
            cpu_seconds=0.8,
        ),
        OperatorEstimate(
            "gopher_quality",
            "gopher_quality",
            1310,
            872,
            {"gopher_short_doc": 300, "gopher_enough_stop_words": 138},
            Estimate(0.666, 0.63, 0.69),
            cpu_seconds=1.3,
        ),
        OperatorEstimate(
            "minhash_dedup",
            "minhash_dedup",
            872,
            860,
            {"near_duplicate": 12},
            Estimate(0.81, 0.72, 0.88),
            is_corrected=True,
            note="a sample holds few pairs",
            cpu_seconds=2.0,
        ),
    )
    projection = {
        "output_rows": {"value": 1.21e6, "low": 1.05e6, "high": 1.33e6},
        "output_tokens": {"value": 8.1e8, "low": 7.0e8, "high": 9.0e8},
        "output_bytes": {"value": 1.9e9, "low": 1.6e9, "high": 2.2e9},
        "cpu_seconds": {"value": 4100.0, "low": 3300.0, "high": 5200.0},
        "cpu_seconds_by": {
            "language_filter": {"value": 700.0, "low": 600.0, "high": 820.0},
            "minhash_dedup": {"value": 2300.0, "low": 1800.0, "high": 3000.0},
        },
        "wall_seconds": {"value": 2100.0, "low": 1700.0, "high": 2700.0},
        "cores": 2,
        "cores_are_an_example": True,
        "by_cores": [
            {"cores": 2, "wall_seconds": {"value": 2100.0, "low": 1.0, "high": 2700.0}, "cost": None},
            {"cores": 64, "wall_seconds": 90.0, "cost": {"total": 1.2}},
        ],
        "worker_peak_bytes": {"value": 9e8, "low": 8e8, "high": 1.2e9},
        "units": 210,
        "requests": {"read": 3100, "write": 900},
        "cost": None,
        "hub": {"repo_id": "org/name", "files": 12, "bytes": 1_900_000_000, "commits": 3, "least_seconds": 41.0},
        "something_new": [1, 2, 3],
        "notes": ["Prices were not given."],
    }
    found = DryRun(
        name="fineweb",
        input={
            "files": 10_000,
            "rows": 3_000_000,
            "bytes": 9_000_000_000,
            "documents": 2000,
            "row_groups": 40,
            "read_bytes": 90_000_000,
            "seed": 0,
        },
        operators=operators,
        kept=Estimate(0.41, 0.37, 0.45),
        thresholds=thresholds(),
        histograms=(histogram(0), histogram(1, signal="symbol_ratio", is_log=False)),
        examples=examples(),
        pairs=pairs(),
        projection=projection,
        notes=("Duplicates: a sample of 2,000 documents holds few of the pairs of 3,000,000.",),
    )
    return replace(found, **changed)


def hostile_dry(text):
    shown = hostile(text)
    operator = OperatorEstimate(text, text, 10, 5, {text: 5}, Estimate(0.5, 0.4, 0.6), note=text)
    odd = {
        text: text,
        "list": [{text: text}],
        "cost": {text: {text: 1.5}},
        "notes": [text],
        "nan": float("nan"),
        "cpu_seconds_by": {text: 1.0},
    }
    return dry(
        name=text, input={text: text, "documents": 10}, operators=(operator,), kept=Estimate(float("nan"), float("-inf"), float("inf")),
        thresholds=shown.thresholds, histograms=shown.histograms, examples=shown.examples, pairs=shown.pairs, projection=odd, notes=(text,),
    )  # fmt: skip
