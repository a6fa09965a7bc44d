// What somebody's 20 digits are.

import { act, all } from '../api.js';
import { badge } from '../badge.js';
import { el, fill } from '../element.js';
import { choice, faults, field, form } from '../form.js';
import { time } from '../format.js';
import { t } from '../texts.js';
import { bits, tabs, transferred } from './tokens.js';

export async function show(place) {
  const configurations = await all('/v1/configurations', 'configurations');
  const token = field({ name: 'token', label: t('token.digits'), hint: t('verify.token.hint'), inputmode: 'numeric', required: true, class: 'digits' });
  const meter = field({ name: 'meter', label: t('meter'), hint: t('meter.hint'), inputmode: 'numeric', required: true });
  const configuration = choice({
    name: 'configuration', label: t('configuration'), required: true,
    options: [...(configurations.length === 1 ? [] : [['', t('choose')]]), ...configurations.map(({ name, displayName, kcv }) => [name, `${displayName} · ${kcv || '–'}`])],
  });
  const ask = form({
    fields: [token, meter, configuration], action: t('verify.do'),
    submit: (signal) => {
      const missing = [token, meter, configuration].filter((one) => !one.value).map((one) => [one.name, t('missing')]);
      if (missing.length) throw faults(missing);
      return act('POST', '/v1/tokens:verify', { token: token.value, meter: meter.value.replace(/[\s-]/g, ''), configuration: configuration.value, bitLayout: true }, signal);
    },
    done: (answer, outcome) => {
      fill(outcome, found(answer));
      outcome.querySelector('h2').focus();
    },
  });
  fill(place, el('h1', {}, t('verify.title')), tabs('tokens/verify'), el('p.lead', {}, t('verify.text')), el('section.card', {}, ask.whole));
  return {};
}

function found(answer) {
  const row = (name, ...value) => value[0] !== undefined && value[0] !== '' && [el('dt', {}, name), el('dd', {}, value)];
  return el('section.card.inner', { 'aria-labelledby': 'verified' },
    el('div.heading', {}, el('h2', { id: 'verified', tabindex: '-1' }, answer.kind || t('verify.result')), badge(answer.result)),
    el('p', {}, t(`result.${answer.result}`)),
    answer.explanation && el('p', {}, answer.explanation),
    el('dl.facts', {},
      answer.transferred && row(t('token.transfers'), transferred(answer)),
      answer.tid && row(t('token.tid'), String(answer.tid.value ?? 0), ' · ', time(answer.tid.time)),
      row(t('token.register'), answer.register),
      row(t('token.control'), answer.control),
      answer.issueTime && row(t('token.issued'), time(answer.issueTime)),
      answer.issuedToken && row(t('token.row'), el('a', { href: `#/tokens/${answer.issuedToken.split('/')[1]}` }, answer.issuedToken))),
    bits(answer.bitLayout));
}
