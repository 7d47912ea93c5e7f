// Draws the charts of a report from the JSON block `charts`, and lets each be read by keyboard: Tab reaches it, arrows walk its marks, Escape leaves.
(() => {
  'use strict';
  const block = document.getElementById('charts');
  if (!block) return;
  const {View, parse, compile, expressionInterpreter} = globalThis.shardmillVega;
  const specs = JSON.parse(block.textContent);
  const told = document.getElementById('told');
  const style = getComputedStyle(document.body);
  const text = {labelColor: 'var(--quiet)', titleColor: 'var(--quiet)', labelFontSize: 12, titleFontSize: 12, titleFontWeight: 400, aria: false};
  const config = (width) => ({
    font: style.fontFamily,
    background: null,
    view: {stroke: null},
    axis: {...text, gridColor: 'var(--line)', domainColor: 'var(--edge)', tickColor: 'var(--edge)', labelLimit: Math.min(240, width * 0.36), labelPadding: 6},
    legend: {...text, labelColor: 'var(--ink)', symbolType: 'square', symbolStrokeWidth: 0, labelLimit: Math.min(200, width * 0.4)},
    text: {fontSize: 12},
  });

  // One tooltip for the whole page; what it shows is text, never markup.
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;
  tip.setAttribute('aria-hidden', 'true');
  document.body.append(tip);
  const hide = () => { tip.hidden = true; };
  const show = (mark) => {
    tip.textContent = mark.getAttribute('aria-label');
    tip.hidden = false;
    const at = mark.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.min(Math.max(at.left + at.width / 2 - tip.offsetWidth / 2, 8), width - tip.offsetWidth - 8);
    const above = at.top - tip.offsetHeight - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 0 ? above : at.bottom + 8) + scrollY}px`;
  };

  const marksOf = (plot) => [...plot.querySelectorAll('[role="graphics-symbol"][aria-label]')];
  const STEPS = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity};

  // Vega says of the plot, of its groups and of an empty form for inputs what no reader can use: here arrow keys walk marks.
  function plain(plot) {
    plot.setAttribute('role', 'application');
    plot.setAttribute('aria-roledescription', 'chart');
    plot.removeAttribute('aria-label');
    plot.querySelectorAll('form').forEach((form) => form.remove());
    for (const group of plot.querySelectorAll('[role="graphics-object"]')) {
      group.removeAttribute('role');
      group.removeAttribute('aria-roledescription');
    }
  }

  function walkable(plot) {
    plain(plot);
    const marks = marksOf(plot);
    const title = document.getElementById(plot.getAttribute('aria-labelledby')).querySelector('strong').textContent;
    const svg = plot.querySelector('svg');
    svg.setAttribute('aria-label', title);
    svg.setAttribute('focusable', 'false');
    marks.forEach((mark, place) => {
      mark.setAttribute('tabindex', place === 0 ? '0' : '-1');
      mark.setAttribute('role', 'img');
      mark.removeAttribute('aria-roledescription');
      mark.dataset.place = place;
    });
    return marks;
  }

  function listen(plot) {
    const markAt = (event) => (event.target.closest ? event.target.closest('[data-place]') : null);
    plot.addEventListener('keydown', (event) => {
      const mark = markAt(event);
      if (!mark || event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key === 'Escape') {
        hide();
        told.textContent = '';
        const next = plot.closest('figure').nextElementSibling;
        (next && next.querySelector('summary') || document.getElementById('content')).focus();
        event.preventDefault();
      } else if (event.key in STEPS) {
        const marks = [...plot.querySelectorAll('[data-place]')];
        const place = Math.min(Math.max(marks.indexOf(mark) + STEPS[event.key], 0), marks.length - 1);
        mark.setAttribute('tabindex', '-1');
        marks[place].setAttribute('tabindex', '0');
        marks[place].focus();
        event.preventDefault();
      }
    });
    plot.addEventListener('focusin', (event) => {
      const mark = markAt(event);
      if (!mark) return;
      show(mark);
      told.textContent = mark.getAttribute('aria-label');
    });
    plot.addEventListener('focusout', hide);
    plot.addEventListener('pointerover', (event) => { const mark = markAt(event); if (mark) show(mark); });
    plot.addEventListener('pointerout', hide);
  }

  async function draw(figure) {
    const plot = figure.querySelector('.plot');
    figure.hidden = false;
    const width = Math.floor(plot.clientWidth);
    if (width < 40 || figure.dataset.width === String(width)) return;
    const spec = {$schema: 'https://vega.github.io/schema/vega-lite/v6.json', autosize: {type: 'fit-x', contains: 'padding'}, ...specs[figure.dataset.chart], width};
    const compiled = compile(spec, {config: config(width)}).spec;
    const held = plot.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    if (figure.view) figure.view.finalize();
    plot.replaceChildren();
    figure.view = new View(parse(compiled, null, {ast: true}), {renderer: 'svg', container: plot, expr: expressionInterpreter, hover: false});
    await figure.view.runAsync();
    const marks = walkable(plot);
    if (held !== null && marks[held]) {
      marks.forEach((mark) => mark.setAttribute('tabindex', '-1'));
      marks[held].setAttribute('tabindex', '0');
      marks[held].focus();
    }
    figure.dataset.width = width;
  }

  const figures = [...document.querySelectorAll('figure[data-chart]')];
  let running = null;
  let again = false;
  async function drawAll() {
    if (running) { again = true; return; }
    running = true;
    for (const figure of figures) {
      try {
        await draw(figure);
      } catch (error) {
        figure.hidden = true; // its table stays open
        figure.dataset.failed = 'true';
        console.error(`The chart ${figure.dataset.chart} could not be drawn:`, error);
      }
    }
    running = null;
    if (again) { again = false; await drawAll(); }
  }

  figures.forEach((figure) => listen(figure.querySelector('.plot')));
  drawAll().then(() => {
    for (const figure of figures) {
      const table = figure.nextElementSibling;
      if (!figure.dataset.failed && table && table.matches('details.numbers')) table.open = false;
    }
    document.documentElement.dataset.charts = 'drawn';
    let waiting = 0;
    addEventListener('resize', () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 120); });
  });
  addEventListener('beforeprint', () => document.querySelectorAll('details.numbers').forEach((table) => { table.open = true; }));
  addEventListener('scroll', hide, {passive: true});
})();
