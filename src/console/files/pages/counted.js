// What a client vended itself: counted here from its own rows of the ledger.

import { all, pages } from '../api.js';
import { barChart, shareList } from '../chart.js';
import { announce, el, fill } from '../element.js';
import { choice, form } from '../form.js';
import { number } from '../format.js';
import { empty } from '../listing.js';
import { language, many, t } from '../texts.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
// Amounts are decimal texts; they are added as whole numbers of this part.
const PARTS = 100_000n;

function parts(text) {
  const [whole, rest = ''] = text.replace('-', '').split('.');
  const value = BigInt(whole) * PARTS + BigInt(rest.padEnd(5, '0').slice(0, 5));
  return text.startsWith('-') ? -value : value;
}

const inWords = (value) => Number(value) / Number(PARTS);

// What is counted of the rows from a time on, by hours or days of this machine's zone.
class Count {
  constructor(from, hourly) {
    this.hourly = hourly;
    this.tokens = 0;
    this.meters = new Set();
    this.kinds = new Map();
    this.configurations = new Map();
    this.units = new Map();
    this.buckets = [];
    const begin = new Date(from);
    if (hourly) begin.setMinutes(0, 0, 0);
    else begin.setHours(0, 0, 0, 0);
    for (let at = begin; at.getTime() <= Date.now();) {
      this.buckets.push({ at: at.getTime(), tokens: 0, units: new Map() });
      at = new Date(at);
      if (hourly) at.setTime(at.getTime() + HOUR);
      else at.setDate(at.getDate() + 1);
    }
  }

  add({ issueTime, kind, configuration, meterPan, transferred }) {
    const at = Date.parse(issueTime);
    const bucket = this.buckets.findLast((one) => one.at <= at);
    if (!bucket) return;
    this.tokens += 1;
    bucket.tokens += 1;
    if (meterPan) this.meters.add(meterPan);
    const bump = (map, key, value) => map.set(key, (map.get(key) ?? 0n) + value);
    bump(this.kinds, kind, 1n);
    if (configuration) bump(this.configurations, configuration, 1n);
    if (!transferred || transferred.unit === 'W') return;
    bump(this.units, transferred.unit ?? '', parts(transferred.amount));
    bump(bucket.units, transferred.unit ?? '', parts(transferred.amount));
  }
}

export async function show(place) {
  const configurations = await all('/v1/configurations', 'configurations');
  const range = choice({ label: t('reports.range'), value: '1', options: [['1', t('reports.day')], ['7', t('reports.week')], ['30', t('reports.month')]] });
  const bar = el('progress', { max: '1', 'aria-label': t('reports.progress'), hidden: true });
  const told = el('p.faint', {});
  const result = el('div');
  const made = form({
    fields: [range], action: t('reports.do'), more: [bar, told], inline: true,
    submit: async (signal) => {
      const days = Number(range.value);
      const from = Date.now() - days * DAY;
      const count = new Count(from, days === 1);
      bar.hidden = false;
      bar.removeAttribute('value');
      try {
        for await (const { tokens = [] } of pages('/v1/issuedTokens', { startTime: new Date(from).toISOString(), pageSize: 1000 }, signal)) {
          for (const row of tokens) count.add(row);
          // Rows come in the order of their times.
          if (tokens.length) bar.value = Math.min((Date.parse(tokens.at(-1).issueTime) - from) / (days * DAY), 1);
          told.textContent = many('reports.read', count.tokens);
        }
      } finally {
        bar.hidden = true;
        told.textContent = '';
      }
      return count;
    },
    done: (count) => {
      fill(result, count.tokens ? drawn(count, configurations) : empty(t('reports.none'), el('p', {}, t('reports.none.next'))));
      announce(many('reports.read', count.tokens));
    },
  });
  fill(place, el('h1', {}, t('reports.title')), el('p.lead', {}, t('reports.text')), el('section.card', {}, made.whole), result);
  made.run();
  return { refresh: () => made.run() };
}

function drawn(count, configurations) {
  const form = new Intl.DateTimeFormat(language(), count.hourly ? { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } : { day: 'numeric', month: 'short' });
  const named = (name) => configurations.find((one) => one.name === name)?.displayName ?? name;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const shares = (map, label = (key) => key) => [...map].sort((a, b) => Number(b[1] - a[1])).map(([key, value]) => ({ label: label(key), value: Number(value), text: number(Number(value)) }));
  const unitName = (unit) => unit || t('reports.currency');
  return el('div', {},
    el('div.tiles', {},
      tile(t('reports.tokens'), number(count.tokens)),
      tile(t('reports.meters'), number(count.meters.size)),
      [...count.units].map(([unit, sum]) => tile(t('reports.sum', { unit: unitName(unit) }), number(inWords(sum))))),
    el('section.card', { 'aria-label': t('reports.tokens') }, barChart({ title: t('reports.over.time', { zone }), unit: t('reports.tokens'), bars: count.buckets.map(({ at, tokens }) => ({ label: form.format(at), value: tokens })) })),
    [...count.units.keys()].map((unit) => el('section.card', { 'aria-label': t('reports.sum', { unit: unitName(unit) }) },
      barChart({ title: t('reports.sum.time', { unit: unitName(unit), zone }), unit: unitName(unit), bars: count.buckets.map(({ at, units }) => ({ label: form.format(at), value: inWords(units.get(unit) ?? 0n) })) }))),
    el('div.tiles', {},
      el('section.card', { 'aria-labelledby': 'kinds' }, el('h2', { id: 'kinds' }, t('reports.kinds')), shareList(shares(count.kinds))),
      el('section.card', { 'aria-labelledby': 'by-configuration' }, el('h2', { id: 'by-configuration' }, t('reports.configurations')), shareList(shares(count.configurations, named)))));
}

function tile(title, figure) {
  return el('section.card.tile', {}, el('h2', {}, title), el('p.figure', {}, figure));
}
