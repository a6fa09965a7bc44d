// Files and logs of tokens that other systems wrote: dropped here, read by the server as
// `vendkey tokens clean` reads them, and stored nowhere.

import { act, pages } from '../api.js';
import { barChart, shareList } from '../chart.js';
import { csvLine } from '../csv.js';
import { announce, el, fill } from '../element.js';
import { choice, faults, field, form, tick } from '../form.js';
import { number, token as digits } from '../format.js';
import { empty, listing, table } from '../listing.js';
import { pan } from '../meter.js';
import { saver } from '../secret.js';
import { may } from '../session.js';
import { language, many, t } from '../texts.js';
import { tabs } from './tokens.js';

const MOST_BYTES = 2 * 1024 * 1024;
const SHOWN = 50;
// What a meter has is asked for only where digits are given: to those who issued them.
const ISSUES = ['VEND', 'MANAGE', 'CHANGE_KEYS'];

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

// An input for files onto which files can be dropped.
function dropping() {
  const input = field({ name: 'files', label: t('files.files'), hint: t('files.hint'), type: 'file', multiple: true, required: true });
  input.whole.classList.add('drop');
  const over = (event, is) => {
    event.preventDefault();
    input.whole.classList.toggle('over', is);
  };
  input.whole.addEventListener('dragover', (event) => over(event, true));
  input.whole.addEventListener('dragleave', (event) => over(event, false));
  input.whole.addEventListener('drop', (event) => {
    over(event, false);
    if (!event.dataTransfer?.files.length) return;
    input.input.files = event.dataTransfer.files;
    input.input.dispatchEvent(new Event('input'));
    input.input.form.requestSubmit();
  });
  return input;
}

export async function show(place) {
  const files = dropping();
  const order = choice({ label: t('files.order'), options: [['', t('files.shown')], ...['dmy', 'mdy', 'ymd'].map((one) => [one, t(`files.order.${one}`)])] });
  const mark = choice({ label: t('files.mark'), options: [['', t('files.shown')], ['point', '1,234.5'], ['comma', '1.234,5']] });
  const profile = field({ name: 'profile', label: t('files.profile'), hint: t('files.profile.hint'), type: 'file', optional: true });
  const result = el('div');
  const ask = form({
    fields: [files, order, mark, profile], action: t('files.do'),
    grouped: [files.whole, el('details', {}, el('summary', {}, t('files.otherwise')), el('div.inside.pairs', {}, order.whole, mark.whole, profile.whole))],
    submit: async (signal) => {
      const chosen = [...files.input.files];
      if (!chosen.length) throw faults([['files', t('missing')]]);
      if (chosen.reduce((all, { size }) => all + size, 0) > MOST_BYTES) throw faults([['files', t('files.large')]]);
      const said = [order.value && `date_order = "${order.value}"`, mark.value && `decimal_mark = "${mark.value}"`, await profile.input.files[0]?.text()];
      return act('POST', '/v1/tokenFiles:read', {
        files: await Promise.all(chosen.map(async (file) => ({ name: file.name, content: await base64(file) }))),
        profile: said.filter(Boolean).join('\n'),
      }, signal);
    },
    done: (read) => {
      fill(result, shown(read));
      result.querySelector('h2').focus();
      announce(many('files.found', read.entries?.length ?? 0));
    },
  });
  fill(place, el('h1', {}, t('files.title')), tabs('tokens/files'), el('p.lead', {}, t('files.text')), el('section.card', {}, ask.whole), result);
  return {};
}

function shown({ entries = [], files = [], summary = {} }) {
  const list = rows(entries, files);
  return el('div', {},
    el('section.card', { 'aria-labelledby': 'found' },
      el('h2', { id: 'found', tabindex: '-1' }, many('files.found', entries.length)),
      files.map(({ name, tokens = 0, notUnderstoodCount = 0, linesWithoutValues = 0, decisions = [] }) => el('div', {},
        el('p', {}, el('strong', {}, name), ' · ', many('files.tokens', tokens), ' · ', many('files.lost', notUnderstoodCount),
          Number(linesWithoutValues) > 0 && [' · ', many('files.prose', Number(linesWithoutValues))]),
        decisions.length > 0 && el('ul', {}, decisions.map((one) => el('li', {}, one)))))),
    entries.length > 0 ? [strange(entries, files, list), list.whole] : empty(t('files.none'), el('p', {}, t('files.none.next'))),
    lost(files),
    charts(summary));
}

// The marks with their counts, the ledger's word, and the clean table as a file.
function strange(entries, files, list) {
  const counts = el('div');
  const only = tick({ label: t('files.marked') });
  only.input.addEventListener('change', () => list.filter(only.input.checked));
  const count = () => {
    const all = new Map();
    for (const { marks = [] } of entries) for (const one of marks) all.set(one, (all.get(one) ?? 0) + 1);
    const told = [...all].sort(([, one], [, other]) => other - one)
      .map(([one, value]) => ({ label: t(`files.mark.${one}`), value, text: number(value) }));
    fill(counts, told.length ? shareList(told) : el('p.faint', {}, t('files.clean')));
  };
  count();
  const lines = () => csvLine(COLUMNS) + entries.map((one) => csvLine(row(one, files))).join('');
  const saved = el('div');
  const save = () => fill(saved, saver(lines(), 'tokens.csv', t('files.save')));
  save();
  const marked = () => {
    count();
    save();
    list.filter(only.input.checked);
  };
  return el('section.card', { 'aria-labelledby': 'strange' }, el('h2', { id: 'strange' }, t('files.strange')), counts, only.whole,
    el('div.actions', {}, saved), may(...ISSUES) && ledger(entries, marked));
}

// Which of them the ledger of this server has: asked for meter by meter, with a bar and a way out.
function ledger(entries, marked) {
  const bar = el('progress', { max: '1', 'aria-label': t('files.ledger'), hidden: true });
  return form({
    fields: [], action: t('files.ledger'), kind: 'quiet', more: [el('p.hint', {}, t('files.ledger.text')), bar],
    submit: async (signal) => {
      const meters = Map.groupBy(entries.filter(({ meter, marks = [] }) => meter && pan(meter) && !marks.includes('check_digit')), ({ meter }) => pan(meter));
      let asked = 0;
      bar.hidden = false;
      try {
        for (const [meterPan, own] of meters) {
          const known = new Set();
          for await (const { tokens = [] } of pages('/v1/issuedTokens', { meterPan, digits: true, pageSize: 1000 }, signal)) for (const { token } of tokens) known.add(token);
          for (const one of own) {
            const others = (one.marks ?? []).filter((mark) => !['in_ledger', 'not_in_ledger'].includes(mark));
            one.marks = [...others, known.has(one.token) ? 'in_ledger' : 'not_in_ledger'];
          }
          asked += 1;
          bar.value = asked / meters.size;
        }
      } finally {
        bar.hidden = true;
        marked();
      }
      return entries.filter(({ marks = [] }) => marks.includes('in_ledger')).length;
    },
    done: (count, place) => {
      fill(place, el('p.strong', {}, many('files.known', count)));
      announce(many('files.known', count));
    },
  }).whole;
}

// The columns of `vendkey tokens clean`.
const COLUMNS = ['file', 'line', 'time', 'meter', 'token', 'class', 'units', 'unit', 'amount', 'currency', 'marks', 'notes'];

function row({ file = 0, line, time, meter, token, tokenClass, units, unit, amount, currency, marks = [], notes = [] }, files) {
  return [files[file]?.name, line, time, meter, token, tokenClass, units, unit, amount, currency, marks.join(' '), notes.join('; ')];
}

// The clean table, a page at a time.
function rows(entries, files) {
  let picked = entries;
  const several = files.length > 1;
  const list = listing({
    caption: t('files.rows'),
    read: async (token) => {
      const from = Number(token);
      const next = from + SHOWN < picked.length ? String(from + SHOWN) : '';
      return { items: picked.slice(from, from + SHOWN), next };
    },
    none: empty(t('files.clean'), null),
    columns: [
      { title: t('files.line'), kind: 'figures', cell: ({ file = 0, line }) => (several ? `${files[file]?.name}: ${line}` : String(line)) },
      { title: t('files.time'), cell: ({ time }) => time || '–' },
      { title: t('meter'), kind: 'figures', cell: ({ meter }) => meter || '–' },
      { title: t('token.digits'), cell: ({ token }) => digits(token) },
      { title: t('files.units'), kind: 'figures', cell: ({ units, unit = '' }) => (units ? `${number(units)} ${unit}` : '–') },
      { title: t('files.amount'), kind: 'figures', cell: ({ amount, currency = '' }) => (amount ? `${number(amount)} ${currency}` : '–') },
      { title: t('files.strange'), cell: ({ marks = [], notes = [] }) => (marks.length || notes.length
        ? [el('div', {}, marks.map((one) => t(`files.mark.${one}`)).join(' · ')), notes.map((note) => el('div.faint', {}, note))] : '–') },
    ],
  });
  list.reload(false);
  return { whole: list.whole, filter: (only) => { picked = only ? entries.filter(({ marks = [] }) => marks.some((one) => one !== 'in_ledger')) : entries; list.reload(); } };
}

function lost(files) {
  const all = files.flatMap(({ name, notUnderstood = [] }) => notUnderstood.map((one) => ({ name, ...one })));
  return all.length > 0 && el('section.card', { 'aria-labelledby': 'lost' }, el('h2', { id: 'lost' }, t('files.not.understood')),
    table({
      caption: t('files.not.understood'), items: all.slice(0, 200),
      columns: [
        { title: t('files.line'), cell: ({ name, line }) => (files.length > 1 ? `${name}: ${line}` : String(line)) },
        { title: t('files.why'), cell: ({ why }) => why },
      ],
    }),
    all.length > 200 && el('p.faint', {}, many('files.more', all.length - 200)));
}

function charts({ units = [], amounts = [], prices = [], meters = [], meterCount = 0, doubles = 0 }) {
  const form = new Intl.DateTimeFormat(language(), { day: 'numeric', month: 'short', year: '2-digit', timeZone: 'UTC' });
  // Many days are shown by month, as the report of `vendkey tokens report` has them.
  const bars = (days, mean = false) => {
    const long = days.length > 92;
    const by = Map.groupBy(days, ({ date }) => (long ? date.slice(0, 7) : date));
    return [...by].map(([key, own]) => {
      const sum = own.reduce((all, { sum: one }) => all + Number(one), 0);
      return { label: long ? key : form.format(new Date(`${key}T00:00Z`)), value: mean ? sum / own.length : sum };
    });
  };
  const card = (title, unit, days, mean) => days.length > 0 && el('section.card', { 'aria-label': title }, barChart({ title, unit, bars: bars(days, mean) }));
  const gap = ({ longestGapDays = 0, gapIsStrange }) => longestGapDays > 1 && `${many('files.gap', longestGapDays)}${gapIsStrange ? ` (${t('files.gap.strange')})` : ''}`;
  const most = meters.filter(({ number: meter }) => meter);
  return [
    doubles > 0 && el('p.faint', {}, many('files.doubles', doubles)),
    units.slice(0, 2).map(({ name = '', days = [] }) => card(t('files.units.days', { unit: name || t('files.unit.unknown') }), name || t('files.unit.unknown'), days)),
    amounts.slice(0, 2).map(({ name = '', days = [] }) => card(t('files.amount.days', { unit: name || t('reports.currency') }), name || t('reports.currency'), days)),
    prices.slice(0, 2).map(({ currency = '', unit = '', days = [] }) => {
      const name = `${currency || '?'} / ${unit || '?'}`;
      return card(t('files.price.days', { unit: name }), name, days, true);
    }),
    most.length > 0 && el('section.card', { 'aria-labelledby': 'meters' }, el('h2', { id: 'meters' }, many('files.meters', meterCount)),
      shareList(most.slice(0, 25).map(({ number: meter, tokens = 0, units: sum = '0', amount, ...days }) => ({
        label: el('span.figures', {}, meter), value: Number(sum),
        text: [number(sum), many('files.tokens', tokens), amount && Number(amount) > 0 && number(amount), gap(days)].filter(Boolean).join(' · '),
      })))),
  ];
}
