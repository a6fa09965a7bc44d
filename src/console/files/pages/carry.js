// The set of tokens that carries a meter from one key to another.

import { act, all, requestId } from '../api.js';
import { attributeList } from '../attributes.js';
import { el, fill } from '../element.js';
import { choice, faults, field, form, tick } from '../form.js';
import { copier, token as digits } from '../format.js';
import { empty } from '../listing.js';
import { many, t } from '../texts.js';
import { tabs } from './tokens.js';

export async function show(place) {
  const [pairs, configurations] = await Promise.all([all('/v1/keyChangePairs', 'pairs'), all('/v1/configurations', 'configurations')]);
  const head = [el('h1', {}, t('carry.title')), tabs('tokens/keys'), el('p.lead', {}, t('carry.text'))];
  if (!pairs.length) {
    fill(place, head, empty(t('changes.none'), el('p', {}, t('carry.ask'))));
    return {};
  }
  const named = (name) => {
    const one = configurations.find((known) => known.name === name);
    return one ? `${one.displayName} · ${one.kcv}` : name;
  };
  const pair = choice({ name: ['source', 'target'], label: t('carry.pair'), options: pairs.map(({ source, target }, at) => [String(at), `${named(source)} → ${named(target)}`]) });
  const meter = field({ name: 'meter', label: t('meter'), hint: t('meter.hint'), inputmode: 'numeric', required: true });
  const group = tick({ label: t('carry.group') });
  // The same request keeps its id until it is another, or has its set.
  let asked = { id: requestId(), text: '' };
  const made = form({
    fields: [pair, meter], more: [group.whole], action: t('carry.do'),
    draft: { name: 'carry', inputs: [pair, meter, group].map(({ input }) => input), held: () => asked, hold: (before) => { asked = before; } },
    submit: (signal) => {
      if (!meter.value) throw faults([['meter', t('missing')]]);
      const { source, target } = pairs[Number(pair.value)];
      const order = { source, target, meter: meter.value.replace(/[\s-]/g, ''), transferSgc: group.input.checked };
      const text = JSON.stringify(order);
      if (asked.text && asked.text !== text) asked = { id: requestId(), text };
      asked.text = text;
      return act('POST', '/v1/keyChanges:issue', { requestId: asked.id, ...order }, signal);
    },
    done: (set, outcome) => {
      asked = { id: requestId(), text: '' };
      fill(outcome, el('section.card.inner', { 'aria-labelledby': 'set' },
        el('h2', { id: 'set', tabindex: '-1' }, many('carry.done', set.tokens.length)),
        el('ol', {}, set.tokens.map(({ token }) => el('li', {}, el('span.large', {}, digits(token))))),
        el('p', {}, t('carry.before')),
        set.rollOver && el('p', {}, t('carry.roll')),
        copier(set.tokens.map(({ token }) => token).join('\n'), t('carry.title')),
        el('h3', {}, t('carry.becomes')), attributeList(set.targetAttributes)));
      outcome.querySelector('h2').focus();
    },
  });
  fill(place, head, el('section.card', {}, made.whole));
  return {};
}
