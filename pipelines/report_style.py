"""How the report looks: one style sheet for phone, desktop, paper, light and dark."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  --paper: #fdfdfc; --ink: #1c1e21; --quiet: #5b6168; --line: #d9dce0; --soft: #f1f2f4;
  --kept: #2f6f9f; --gone: #d08a2e; --good: #1d6b3a; --bad: #a32020;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --ink: #e6e8ea; --quiet: #a2a9b1; --line: #363b41; --soft: #212529;
    --kept: #6fb1e0; --gone: #d99a45; --good: #74cf95; --bad: #ff8f8f;
  }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2 }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.2rem }
p { margin: .5rem 0 }
.over { margin: 0; color: var(--quiet); font-size: .875rem }
.quiet { color: var(--quiet); font-size: .875rem; font-weight: 400 }
a { color: var(--kept) }
code { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
.verdict { margin: 1.25rem 0; padding: .6rem .9rem; border-left: .3rem solid; background: var(--soft) }
.verdict.good { border-color: var(--good) } .verdict.good strong { color: var(--good) }
.verdict.bad { border-color: var(--bad) } .verdict.bad strong { color: var(--bad) }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem 1.5rem; margin: 1.25rem 0 }
.figures dt { color: var(--quiet); font-size: .875rem }
.figures dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums }
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
summary { cursor: pointer }
pre { margin: .5rem 0; padding: .6rem .8rem; overflow-x: auto; background: var(--soft); overflow-wrap: normal }
:focus-visible { outline: 2px solid var(--kept); outline-offset: 2px }
@media print { body { max-width: none } .scroll, pre { overflow: visible } }
"""
