// What was vended over a time, from the sums that the ledger keeps by the hour: a month of a million
// tokens is read at once. Who may not read these counts their own rows.

import { get } from '../api.js';
import { barChart, shareList } from '../chart.js';
import { csvLine } from '../csv.js';
import { announce, el, fill } from '../element.js';
import { choice, form } from '../form.js';
import { number, timeText } from '../format.js';
import { empty } from '../listing.js';
import { saver } from '../secret.js';
import { may } from '../session.js';
import { has, language, t } from '../texts.js';

const DAY = 86_400_000;

export async function show(place) {
  if (!may('READ_LEDGER', 'LEDGER', 'AUDIT')) return (await import('./counted.js')).show(place);
  const range = choice({ label: t('reports.range'), value: '7', options: [['1', t('reports.day')], ['7', t('reports.week')], ['30', t('reports.month')], ['365', t('reports.year')]] });
  const result = el('div');
  const made = form({
    fields: [range], action: t('reports.show'), inline: true,
    submit: (signal) => {
      const now = Date.now();
      return get('/v1/ledger/vendingReport', {
        startTime: new Date(now - Number(range.value) * DAY).toISOString(), endTime: new Date(now).toISOString(), utcOffsetHours: offset(),
      }, signal);
    },
    done: (report) => {
      fill(result, report.kinds?.length || report.refused?.length ? drawn(report) : empty(t('reports.none'), el('p', {}, t('reports.none.next'))));
      announce(t('reports.ready'));
    },
  });
  fill(place, el('h1', {}, t('reports.title')), el('p.lead', {}, t('reports.sums')), el('section.card', {}, made.whole), result);
  made.run();
  return { refresh: () => made.run() };
}

// Of zones of whole hours, the one of this machine.
function offset() {
  return Math.round(-new Date().getTimezoneOffset() / 60);
}

const kindText = (kind) => (has(`kind.${kind}`) ? t(`kind.${kind}`) : t('carry.title'));
const amountOf = ({ amount, unit }) => (amount ? `${number(amount)} ${unit || t('reports.currency')}` : '');
const count = (sums) => sums.reduce((all, { tokens }) => all + Number(tokens), 0);

// Every date of a time, so that days on which nothing was vended are seen.
function dates({ startTime, endTime, utcOffsetHours = 0 }) {
  const shift = utcOffsetHours * 3_600_000;
  const found = [];
  for (let at = Date.parse(startTime) + shift; at < Date.parse(endTime) + shift; at += DAY) found.push(new Date(at).toISOString().slice(0, 10));
  const last = new Date(Date.parse(endTime) + shift - 1).toISOString().slice(0, 10);
  return found.at(-1) === last ? found : [...found, last];
}

function drawn(report) {
  const { kinds = [], days = [], hours = [], supplyGroups = [], clients = [], refused = [], utcOffsetHours = 0 } = report;
  const zone = `UTC${utcOffsetHours < 0 ? '−' : '+'}${Math.abs(utcOffsetHours)}`;
  const form = new Intl.DateTimeFormat(language(), { day: 'numeric', month: 'short', timeZone: 'UTC' });
  const byDay = (of) => dates(report).map((date) => ({ label: form.format(new Date(`${date}T00:00Z`)), value: of(days.filter(({ key }) => key === date)) }));
  const units = [...new Set(kinds.filter(({ amount }) => amount).map(({ unit = '' }) => unit))];
  const sum = (rows, unit) => rows.filter((row) => row.amount && (row.unit ?? '') === unit).reduce((all, { amount }) => all + Number(amount), 0);
  const unitName = (unit) => unit || t('reports.currency');
  const share = (label) => (row) => ({ label: label(row), value: Number(row.tokens), text: [number(Number(row.tokens)), amountOf(row)].filter(Boolean).join(' · ') });
  const card = (title, rows, label) => rows.length > 0 && el('section.card', { 'aria-label': title }, el('h2', {}, title), shareList(rows.slice(0, 15).map(share(label))));
  return el('div', {},
    el('p.faint', {}, t('reports.span', { from: timeText(report.startTime), until: timeText(report.endTime) })),
    el('div.tiles', {}, tile(t('reports.tokens'), number(count(kinds))), units.map((unit) => tile(t('reports.sum', { unit: unitName(unit) }), number(sum(kinds, unit)))),
      tile(t('reports.refused'), number(refused.reduce((all, { calls }) => all + Number(calls), 0)))),
    el('section.card', { 'aria-label': t('reports.tokens') }, barChart({ title: t('reports.over.time', { zone }), unit: t('reports.tokens'), bars: byDay(count) })),
    units.map((unit) => el('section.card', { 'aria-label': t('reports.sum', { unit: unitName(unit) }) },
      barChart({ title: t('reports.sum.time', { unit: unitName(unit), zone }), unit: unitName(unit), bars: byDay((rows) => sum(rows, unit)) }))),
    el('section.card', { 'aria-label': t('reports.hours', { zone }) }, barChart({
      title: t('reports.hours', { zone }), unit: t('reports.tokens'),
      bars: Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, '0')).map((hour) => ({ label: `${hour}:00`, value: count(hours.filter(({ key }) => key === hour)) })),
    })),
    el('div.tiles', {},
      card(t('reports.kinds'), kinds, ({ kind }) => kindText(kind)),
      card(t('reports.groups'), supplyGroups, ({ key, kind }) => `${key || t('none')} · ${kindText(kind)}`),
      card(t('reports.clients'), clients, ({ displayName, key, kind }) => `${displayName || key} · ${kindText(kind)}`),
      refused.length > 0 && el('section.card', { 'aria-label': t('reports.refused') }, el('h2', {}, t('reports.refused')),
        shareList(refused.map(({ key, calls }) => ({ label: el('code', {}, key), value: Number(calls), text: number(Number(calls)) }))))),
    saver(csvLine(['date', 'kind', 'tokens', 'amount', 'unit']) + days.map(({ key, kind, tokens, amount, unit }) => csvLine([key, kind, tokens, amount, unit])).join(''), 'vending.csv', t('export.do')),
    report.keptSince && el('p.faint', {}, t('reports.kept', { time: timeText(report.keptSince) })));
}

function tile(title, figure) {
  return el('section.card.tile', {}, el('h2', {}, title), el('p.figure', {}, figure));
}
