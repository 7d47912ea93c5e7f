// Search over the documents of a report: hides what does not match, says how many are left, marks what was found. Documents are only ever read as text.
(() => {
  'use strict';
  const form = document.querySelector('form.search');
  if (!form) return;
  const find = document.getElementById('find');
  const only = document.getElementById('only');
  const found = document.getElementById('found');
  const groups = [...document.querySelectorAll('details.group')].map((element) => ({
    element,
    number: element.dataset.group,
    wasOpen: element.open,
    samples: [...element.querySelectorAll('article.sample')].map((article) => ({article, text: null})),
  }));
  const total = groups.reduce((sum, group) => sum + group.samples.length, 0);
  const MAX_MARKED = 2000;

  // Words that are there for screen readers alone are not what was written; the signs at marks are not either.
  function nodesOf(article) {
    const accept = (node) => (node.parentElement.closest('.vh, sup, .cut') ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT, accept);
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    return nodes;
  }

  const textOf = (sample) => {
    sample.text ??= nodesOf(sample.article).map((node) => node.data).join('').toLowerCase();
    return sample.text;
  };

  function highlight(shown, wanted) {
    if (!globalThis.Highlight || !CSS.highlights) return;
    CSS.highlights.delete('found');
    if (!wanted) return;
    const ranges = [];
    for (const {article} of shown) {
      for (const node of nodesOf(article)) {
        const text = node.data.toLowerCase();
        if (text.length !== node.data.length) continue; // a letter that is two in lower case moves all that follow
        for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
          const range = new Range();
          range.setStart(node, at);
          range.setEnd(node, at + wanted.length);
          ranges.push(range);
          if (ranges.length >= MAX_MARKED) break;
        }
        if (ranges.length >= MAX_MARKED) break;
      }
    }
    CSS.highlights.set('found', new Highlight(...ranges));
  }

  function apply() {
    const wanted = find.value.trim().toLowerCase();
    const numbers = only.value === '' ? null : new Set(only.value.split(' '));
    const narrowed = wanted !== '' || numbers !== null;
    const shown = [];
    for (const group of groups) {
      const here = numbers === null || numbers.has(group.number);
      let left = 0;
      for (const sample of group.samples) {
        const is = here && (wanted === '' || textOf(sample).includes(wanted));
        sample.article.hidden = !is;
        if (is) { left += 1; shown.push(sample); }
      }
      group.element.hidden = left === 0;
      group.element.open = narrowed ? left > 0 : group.wasOpen;
    }
    const noun = total === 1 ? 'document' : 'documents';
    found.textContent = narrowed ? `${shown.length} of ${total} ${noun}` : `${total} ${noun}`;
    highlight(shown, wanted);
    document.documentElement.dataset.found = String(shown.length);
  }

  let waiting = 0;
  find.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(apply, 120); });
  only.addEventListener('change', apply);
  form.addEventListener('submit', (event) => event.preventDefault());
  find.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      find.value = '';
      apply();
      event.preventDefault();
    } else if (event.key === 'Enter') {
      clearTimeout(waiting);
      apply();
      const first = groups.flatMap((group) => (group.element.hidden ? [] : group.samples)).find((sample) => !sample.article.hidden);
      if (first) first.article.focus();
      event.preventDefault();
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.altKey || event.metaKey || event.target.closest('input, select, textarea')) return;
    find.focus();
    find.select();
    event.preventDefault();
  });
  addEventListener('beforeprint', () => groups.forEach((group) => { group.element.open = true; }));
  form.hidden = false;
  apply();
})();
