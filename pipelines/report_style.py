"""How the report looks: one style sheet for phone, desktop, paper, light and dark."""

from __future__ import annotations

from typing import Final

LIGHT: Final = {
    "paper": "#fdfdfc",
    "ink": "#1c1e21",
    "quiet": "#5b6168",
    "line": "#e2e4e7",
    "edge": "#878d95",
    "soft": "#f3f4f5",
    "kept": "#2f6f9f",
    "gone": "#b8701b",
    "ill": "#a32020",
    "good": "#1d6b3a",
    "bad": "#a32020",
    "place": "#ffe9a8",
    "differs": "#ffdfd6",
    "found": "#cfe8ff",
    "c1": "#2f6f9f",
    "c2": "#b8701b",
    "c3": "#3d7f5a",
    "c4": "#8a5aa8",
    "c5": "#a8475c",
    "c6": "#7c828a",
}
DARK: Final = {
    "paper": "#16181b",
    "ink": "#e6e8ea",
    "quiet": "#a2a9b1",
    "line": "#2e3338",
    "edge": "#7d858e",
    "soft": "#202428",
    "kept": "#6fb1e0",
    "gone": "#d99a45",
    "ill": "#ff8f8f",
    "good": "#74cf95",
    "bad": "#ff8f8f",
    "place": "#5a4a12",
    "differs": "#5e2f22",
    "found": "#1d4a70",
    "c1": "#6fb1e0",
    "c2": "#d99a45",
    "c3": "#74bd93",
    "c4": "#bd93d8",
    "c5": "#e08a9b",
    "c6": "#9aa1a9",
}
"""The same names for both; text and marks have enough contrast on `paper` and `soft`, which a test computes."""


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


_RULES: Final = """
* { box-sizing: border-box }
[hidden] { display: none !important }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0 auto; padding: 1.5rem 1rem 5rem; max-width: 62rem; background: var(--paper); color: var(--ink); position: relative;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; letter-spacing: -.01em }
h2 { margin: 3rem 0 .5rem; font-size: 1.3rem; line-height: 1.3; letter-spacing: -.005em }
h3 { margin: 1.75rem 0 .25rem; font-size: 1rem }
h3 code, h4 code, h5 code { font-weight: 600 }
.line { display: block }
h4, h5 { margin: 0; font-size: 1rem; font-weight: 600 }
h5 { font-size: .875rem }
p { margin: .5rem 0 }
main:focus { outline: 0 }
.over { margin: 0; color: var(--quiet); font-size: .875rem }
.quiet { color: var(--quiet); font-size: .875rem; font-weight: 400 }
.vh { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; user-select: none }
.skip { position: absolute; left: 1rem; top: -4rem; z-index: 3; padding: .5rem .75rem; background: var(--paper) }
.skip:focus { top: .5rem }
a { color: var(--kept) }
code { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
nav ul { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: 1rem 0 0; padding: 0; list-style: none; font-size: .875rem }
nav a { display: inline-block; padding: .2rem 0; text-decoration: none }
nav a:hover { text-decoration: underline }
.verdict { margin: 1.25rem 0; padding: .6rem .9rem; border-left: .3rem solid var(--edge); background: var(--soft) }
.verdict.good { border-color: var(--good) } .verdict.good strong { color: var(--good) }
.verdict.bad { border-color: var(--bad) } .verdict.bad strong { color: var(--bad) }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem 1.5rem; margin: 1.5rem 0 }
.figures dt { color: var(--quiet); font-size: .875rem }
.figures dd { margin: 0; font-size: 1.35rem; line-height: 1.35; font-variant-numeric: tabular-nums }
.figures small { display: block; color: var(--quiet); font-size: .8125rem }
.scroll { overflow-x: auto; margin: .75rem 0 }
table { width: 100%; border-collapse: collapse; font-size: .9375rem }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th:first-child { padding-left: 0 }
thead th { color: var(--quiet); font-size: .875rem; font-weight: 500; white-space: nowrap }
tbody th { min-width: 10rem; font-weight: 500 }
td { min-width: 9.5rem }
.n { min-width: 4rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
#funnel tbody tr:last-child > * { border-bottom: 0; font-weight: 700 }
.bar { display: flex; height: .4rem; margin: .3rem 0 .15rem; background: var(--soft) }
.bar i, .key { display: block; min-width: 1px; forced-color-adjust: none; print-color-adjust: exact }
.key { display: inline-block; width: .75rem; height: .75rem; vertical-align: -.05rem }
.kept { background: var(--kept) } .gone { background: var(--gone) }
details { border-bottom: 1px solid var(--line); padding: .35rem 0 }
details.numbers, details.signals { border: 0; padding: 0 }
summary { cursor: pointer; padding: .2rem 0 }
details.numbers > summary, details.signals > summary { color: var(--quiet); font-size: .875rem }
pre { margin: .5rem 0; padding: .6rem .8rem; overflow-x: auto; background: var(--soft); overflow-wrap: normal }
:focus-visible { outline: 2px solid var(--kept); outline-offset: 2px }

.chart { margin: 1.25rem 0 .25rem }
.chart figcaption { margin: 0 0 .5rem }
.chart figcaption .quiet { display: block }
.plot { min-height: 3rem; overflow: hidden }
.plot svg { display: block; max-width: 100%; height: auto; overflow: visible; forced-color-adjust: none; print-color-adjust: exact }
.plot [data-place]:focus { outline: 0; stroke: var(--ink); stroke-width: 2.5px; paint-order: stroke }
.plot [data-place]:hover { stroke: var(--ink); stroke-width: 1px }
.tip { position: absolute; z-index: 2; max-width: min(24rem, 100vw - 1rem); padding: .35rem .6rem;
  background: var(--ink); color: var(--paper);
  font-size: .875rem; line-height: 1.4; pointer-events: none; border-radius: .2rem }

.search { display: grid; grid-template-columns: 1fr 1fr; gap: .25rem 1rem; margin: 1rem 0; padding: .75rem 0;
  border-block: 1px solid var(--line) }
.search p { margin: 0 } .search label { display: block; color: var(--quiet); font-size: .875rem }
.search input, .search select { width: 100%; min-width: 0; padding: .45rem .6rem; border: 1px solid var(--edge); border-radius: .2rem;
  background: var(--paper); color: var(--ink); font: inherit }
#found { text-align: right; font-size: .875rem; font-variant-numeric: tabular-nums }
kbd { padding: 0 .3rem; border: 1px solid var(--edge); border-radius: .2rem; font: .8125rem ui-monospace, Menlo, Consolas, monospace }
.group > summary { display: grid; grid-template-columns: 1.25rem minmax(0, 1fr); align-items: baseline; padding: .35rem 0 }
.group > summary::before { content: "+"; width: .75rem; color: var(--quiet); font-family: ui-monospace, Menlo, monospace }
.group[open] > summary::before { content: "\\2212" }
.group > summary::-webkit-details-marker { display: none }
.group h3 { margin: 0 } .sides { margin-top: .5rem }
.sample { margin: .75rem 0 1.5rem; padding-left: .9rem; border-left: 2px solid var(--line) }
.sample:focus { outline: 2px solid var(--kept); outline-offset: 4px }
.why { font-size: .875rem }
.doc { margin: .4rem 0; padding: .6rem .8rem; background: var(--soft); white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4;
  unicode-bidi: isolate; overflow: clip;
  font-size: .9375rem; max-width: 80ch }
h4, h5, .quiet, .why, .signals dt, main li, td, tbody th { overflow: clip; overflow-clip-margin: .2rem }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
.side { min-width: 0 }
mark { color: inherit; background: var(--place); box-shadow: inset 0 -2px 0 var(--gone);
  box-decoration-break: clone; -webkit-box-decoration-break: clone }
mark.difference { background: var(--differs); box-shadow: none; text-decoration: underline wavy 1px var(--ill); text-underline-offset: 3px }
::highlight(found) { background-color: var(--found); color: var(--ink) }
.c { padding: 0 .15em; border: 1px solid var(--edge); border-radius: .2em; color: var(--quiet);
  font: .75em ui-monospace, Menlo, monospace; unicode-bidi: isolate }
.cut { color: var(--quiet) }
.signals dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 0 1.5rem; margin: .25rem 0 }
.signals div { display: flex; justify-content: space-between; gap: .75rem; border-bottom: 1px solid var(--line) }
.signals dd { margin: 0; font-variant-numeric: tabular-nums }

@media (max-width: 40rem) {
  .search { grid-template-columns: 1fr } .sides { grid-template-columns: 1fr }
  #found { text-align: left } .sample { padding-left: .6rem } .doc { padding: .5rem .6rem }
}
@media (min-width: 82rem) {
  body { display: grid; grid-template-columns: 11rem minmax(0, 58rem); column-gap: 3rem; max-width: 76rem }
  header, main { grid-column: 2 } nav { grid-column: 1; grid-row: 2 }
  nav ul { position: sticky; top: 1.5rem; flex-direction: column; gap: .1rem; margin-top: 1.25rem }
}
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth } }
@media print {
  body { display: block; max-width: none; padding: 0 } nav, .search, .tip, .skip { display: none } .scroll, pre { overflow: visible }
  figure, article, tr { break-inside: avoid }
}
"""

STYLE: Final = (
    f"\n:root {{ color-scheme: light dark; {_variables(LIGHT)} }}\n"
    f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}{_RULES}"
)
