#!/bin/sh
# Builds vega.min.js, LICENSES.txt and versions.json anew from npm: needs node, npm and the network. `make assets` runs it.
# The same package-lock.json gives the same bytes. Maps, force layouts, voronoi cells and CSV are left out: no chart here has them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$here/entry.js" "$work"
cd "$work"
npm ci --no-audit --no-fund --loglevel=error
printf 'module.exports = {};\n' > absent.cjs
printf "export * from 'vega-util';\n" > vega.js # of the whole of Vega, Vega-Lite imports four functions that come from there
./node_modules/.bin/esbuild entry.js --bundle --minify --format=iife --target=es2022 --charset=ascii --legal-comments=none --log-level=warning \
  --alias:vega=./vega.js --alias:d3-geo=./absent.cjs --alias:d3-dsv=./absent.cjs --alias:topojson-client=./absent.cjs \
  --metafile=meta.json --outfile=vega.min.js
node "$here/record.js" "$work"
cp vega.min.js LICENSES.txt versions.json "$here"
