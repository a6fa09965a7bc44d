// One token, by hand: for those who may vend.

import { act, all, requestId } from '../api.js';
import { el, fill } from '../element.js';
import { choice, faults, field, form } from '../form.js';
import { copier, token as digits } from '../format.js';
import { may } from '../session.js';
import { t } from '../texts.js';
import { tabs, transferred } from './tokens.js';

// What each kind of token asks for.
const UNITS = ['electricity_credit', 'water_credit', 'gas_credit', 'time_credit'];
const CURRENCIES = UNITS.map((kind) => kind.replace('_credit', '_currency_credit'));
const POWERS = ['maximum_power_limit', 'maximum_phase_power_unbalance'];
const REGISTERS = ['tariff_rate', 'water_meter_factor'];
const VENDED = [...UNITS, ...CURRENCIES, 'meter_test'];
const MANAGED = [...POWERS, ...REGISTERS, 'clear_credit', 'clear_tamper'];

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

function content(kind, amount) {
  if ([...UNITS, ...CURRENCIES].includes(kind)) return { decimal: amount };
  if (POWERS.includes(kind)) return { watts: amount };
  if (REGISTERS.includes(kind)) return { value: Number(amount) };
  if (kind === 'clear_credit') return { register: 'ALL' };
  if (kind === 'meter_test') return { all: {} };
  return {};
}

export async function show(place) {
  const configurations = (await all('/v1/configurations', 'configurations')).filter(({ state }) => state === 'ENABLED');
  const kinds = [...(may('VEND') ? VENDED : []), ...(may('MANAGE') ? MANAGED : [])];
  const kind = choice({ name: 'content', label: t('token.kind'), options: kinds.map((one) => [one, t(`kind.${one}`)]), required: true });
  const amount = field({ name: kinds, label: t('issue.amount'), inputmode: 'decimal', required: true });
  const meter = field({ name: 'meter', label: t('meter'), hint: t('meter.hint'), inputmode: 'numeric', required: true });
  const configuration = choice({
    name: 'configuration', label: t('configuration'), required: true,
    options: [...(configurations.length === 1 ? [] : [['', t('choose')]]), ...configurations.map(({ name, displayName, kcv }) => [name, `${displayName} · ${kcv}`])],
  });
  const needsAmount = () => !['clear_credit', 'clear_tamper', 'meter_test'].includes(kind.value);
  const fit = () => {
    amount.whole.hidden = !needsAmount();
    amount.whole.querySelector('label').textContent = has(kind.value);
    for (const one of [meter, configuration]) one.whole.hidden = kind.value === 'meter_test';
  };
  const has = (one) => t(UNITS.includes(one) ? `unit.${one}` : CURRENCIES.includes(one) ? 'unit.currency' : POWERS.includes(one) ? 'unit.watts' : 'unit.register');
  kind.input.addEventListener('change', fit);
  fit();
  // The same request keeps its id until it is another, or has its token: asked again after a lost
  // answer, it gives the same token.
  let asked = { id: requestId(), text: '' };
  const make = form({
    fields: [kind, amount, meter, configuration], action: t('issue.do'),
    submit: (signal) => {
      const test = kind.value === 'meter_test';
      const missing = [needsAmount() && amount, !test && meter, !test && configuration].filter((one) => one && !one.value);
      if (missing.length) throw faults(missing.map((one) => [[one.name].flat()[0], t('missing')]));
      const order = { [camel(kind.value)]: content(kind.value, amount.value.replace(',', '.')) };
      if (!test) Object.assign(order, { meter: meter.value.replace(/[\s-]/g, ''), configuration: configuration.value });
      const text = JSON.stringify(order);
      if (asked.text && asked.text !== text) asked = { id: requestId(), text };
      asked.text = text;
      return act('POST', '/v1/tokens:issue', { requestId: asked.id, ...order }, signal);
    },
    done: (issued, outcome) => {
      asked = { id: requestId(), text: '' };
      fill(outcome, el('section.card.inner', { 'aria-labelledby': 'issued' },
        el('h2', { id: 'issued', tabindex: '-1' }, t('issue.done')),
        el('p.large', {}, digits(issued.token)),
        el('p', {}, `${issued.kind}, ${transferred(issued)}${issued.drn ? ` · ${t('meter')} ${issued.drn}` : ''}`),
        el('div.actions', {}, copier(issued.token, t('token.digits')), el('a', { href: `#/tokens/${issued.name.split('/')[1]}` }, t('token.open')))));
      outcome.querySelector('h2').focus();
    },
  });
  fill(place, el('h1', {}, t('issue.title')), tabs('tokens/issue'), el('p.lead', {}, t('issue.text')),
    configurations.length || may('VEND') ? el('section.card', {}, make.whole) : el('p', {}, t('issue.no.configuration')));
  return {};
}
