// One token, by hand: for those who may vend.

import { act, all, requestId } from '../api.js';
import { el, fill } from '../element.js';
import { choice, faults, field, form } from '../form.js';
import { MANAGED, VENDED, tokenFields } from '../tokenform.js';
import { copier, token as digits } from '../format.js';
import { may } from '../session.js';
import { t } from '../texts.js';
import { tabs, transferred } from './tokens.js';

export async function show(place) {
  const configurations = (await all('/v1/configurations', 'configurations')).filter(({ state }) => state === 'ENABLED');
  const kinds = [...(may('VEND') ? VENDED : []), ...(may('MANAGE') ? MANAGED : [])];
  const meter = field({ name: 'meter', label: t('meter'), hint: t('meter.hint'), inputmode: 'numeric', required: true });
  const configuration = choice({
    name: 'configuration', label: t('configuration'), required: true,
    options: [...(configurations.length === 1 ? [] : [['', t('choose')]]), ...configurations.map(({ name, displayName, kcv }) => [name, `${displayName} · ${kcv}`])],
  });
  const order = tokenFields(kinds, (kind) => {
    for (const one of [meter, configuration]) one.whole.hidden = kind === 'meter_test';
  });
  // The same request keeps its id until it is another, or has its token: asked again after a lost
  // answer, it gives the same token.
  let asked = { id: requestId(), text: '' };
  const make = form({
    fields: [order.kind, order.amount, meter, configuration], action: t('issue.do'),
    draft: {
      name: 'issue', inputs: [order.kind, order.amount, meter, configuration].map(({ input }) => input),
      held: () => asked, hold: (before) => { asked = before; },
    },
    submit: (signal) => {
      const test = order.kind.value === 'meter_test';
      const missing = [order.missing() && order.amount, !test && !meter.value && meter, !test && !configuration.value && configuration].filter(Boolean);
      if (missing.length) throw faults(missing.map((one) => [[one.name].flat()[0], t('missing')]));
      const wanted = order.value();
      if (!test) Object.assign(wanted, { meter: meter.value.replace(/[\s-]/g, ''), configuration: configuration.value });
      const text = JSON.stringify(wanted);
      if (asked.text && asked.text !== text) asked = { id: requestId(), text };
      asked.text = text;
      return act('POST', '/v1/tokens:issue', { requestId: asked.id, ...wanted }, signal);
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
