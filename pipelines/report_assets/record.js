// Writes LICENSES.txt and versions.json for what esbuild put into vega.min.js. Usage: node record.js FOLDER
const {createHash} = require('node:crypto');
const {readFileSync, readdirSync, writeFileSync} = require('node:fs');
const {join} = require('node:path');

const folder = process.argv[2];
const read = (...names) => readFileSync(join(folder, ...names));
const lock = JSON.parse(read('package-lock.json')).packages;
const meta = JSON.parse(read('meta.json'));
const bundled = meta.outputs['vega.min.js'].inputs;
const places = new Set();
for (const path of Object.keys(bundled)) {
  if (bundled[path].bytesInOutput === 0 || !path.includes('node_modules/')) continue;
  const at = path.lastIndexOf('node_modules/') + 'node_modules/'.length;
  const [first, second] = path.slice(at).split('/');
  places.add(path.slice(0, at) + (first.startsWith('@') ? `${first}/${second}` : first));
}
const packages = [...places].sort().map((place) => ({
  name: place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length),
  version: lock[place].version,
  licence: lock[place].license,
  integrity: lock[place].integrity,
  place,
}));
// Packages of the Vega monorepo that ship no licence of their own are under that of `vega`.
const ofVega = read('node_modules/vega/LICENSE').toString();
const text = packages.map(({name, version, place}) => {
  const file = readdirSync(join(folder, place)).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file && !name.startsWith('vega')) throw new Error(`${name} ships no licence`);
  return `${name} ${version}\n\n${(file ? read(place, file).toString() : ofVega).trim()}\n`;
});
writeFileSync(join(folder, 'LICENSES.txt'), text.join(`\n${'-'.repeat(80)}\n\n`));
const sha256 = createHash('sha256').update(read('vega.min.js')).digest('hex');
const listed = packages.map(({place, ...shown}) => shown);
writeFileSync(join(folder, 'versions.json'), JSON.stringify({file: 'vega.min.js', sha256, packages: listed}, null, 1) + '\n');
