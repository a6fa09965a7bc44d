// Bars over time, as SVG: readable without colour, and with the same numbers as a table.

import { el } from './element.js';
import { number } from './format.js';
import { t } from './texts.js';

const SVG = 'http://www.w3.org/2000/svg';
const [HEIGHT, LEFT, BOTTOM, TOP] = [220, 56, 26, 10];
// A chart is drawn for the window, so that its texts have the size of others.
const width = () => (matchMedia('(max-width: 760px)').matches ? 340 : 720);

function node(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A round number that is no less: 1, 2 or 5 and zeros.
function ceiling(value) {
  if (value <= 0) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * size).find((round) => round >= value);
}

// A chart of `bars`, [{ label, value }], under a title; at most some labels are written.
export function barChart({ title, unit, bars }) {
  const WIDTH = width();
  const most = ceiling(Math.max(...bars.map(({ value }) => value), 0));
  const inner = { width: WIDTH - LEFT - 6, height: HEIGHT - TOP - BOTTOM };
  const step = inner.width / Math.max(bars.length, 1);
  const every = Math.ceil(bars.length / (WIDTH / 90));
  const y = (value) => TOP + inner.height * (1 - value / most);
  const lines = [0, 0.5, 1].map((share) => [
    node('line', { x1: LEFT, x2: WIDTH - 6, y1: y(most * share), y2: y(most * share), class: 'grid' }),
    node('text', { x: LEFT - 8, y: y(most * share) + 4, 'text-anchor': 'end' }, number(most * share)),
  ]).flat();
  const drawn = bars.map(({ label, value }, at) => {
    const bar = node('rect', { x: LEFT + at * step + step * 0.14, width: Math.max(step * 0.72, 1), y: y(value), height: Math.max(inner.height + TOP - y(value), value ? 1 : 0), rx: Math.min(3, step / 4), class: 'bar' });
    bar.append(node('title', {}, `${label}: ${number(value)} ${unit}`));
    return bar;
  });
  const labels = bars.map(({ label }, at) => (at % every ? null
    : node('text', { x: LEFT + at * step + step / 2, y: HEIGHT - 8, 'text-anchor': 'middle' }, label))).filter(Boolean);
  const sum = bars.reduce((all, { value }) => all + value, 0);
  const svg = node('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'chart', role: 'img', 'aria-label': t('chart.told', { title, sum: number(sum), unit }) }, ...lines, ...drawn, ...labels);
  return el('figure', {}, el('figcaption', {}, title), svg,
    el('details', {}, el('summary', {}, t('chart.table')), el('div.scroll', {}, el('table', {}, el('caption.unseen', {}, title),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, t('chart.when')), el('th', { scope: 'col' }, unit))),
      el('tbody', {}, bars.map(({ label, value }) => el('tr', {}, el('th', { scope: 'row', 'data-title': t('chart.when') }, label), el('td.figures', { 'data-title': unit }, number(value)))))))));
}

// Shares of a whole, as bars of one line each.
export function shareList(rows) {
  const most = Math.max(...rows.map(({ value }) => value), 1);
  return el('ul.shares', {}, rows.map(({ label, value, text }) => {
    const bar = node('svg', { viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true', class: 'share' }, node('rect', { x: 0, y: 0, width: (value / most) * 100, height: 6, rx: 1, class: 'bar' }));
    return el('li', {}, el('div.row', {}, el('span', {}, label), el('strong.figures', {}, text)), bar);
  }));
}
