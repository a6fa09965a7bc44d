// From which configuration's key to which meters may be carried.

import { act, all } from '../api.js';
import { confirm } from '../dialog.js';
import { announce, el, fill } from '../element.js';
import { choice, faults, form } from '../form.js';
import { idOf, time } from '../format.js';
import { empty, table } from '../listing.js';
import { refusalBox } from '../refusal.js';
import { may } from '../session.js';
import { t } from '../texts.js';
import { tabs } from './configurations.js';

export async function show(place) {
  const outcome = el('div.outcome');
  const list = el('div');
  const [configurations] = await Promise.all([all('/v1/configurations', 'configurations')]);
  const shown = (name) => configurations.find((one) => one.name === name)?.displayName ?? idOf(name);
  const read = async () => {
    const pairs = await all('/v1/keyChangePairs', 'pairs');
    fill(list, pairs.length ? table({
      caption: t('changes.title'), items: pairs,
      columns: [
        { title: t('changes.source'), cell: ({ source }) => el('a', { href: `#/${source}` }, shown(source)) },
        { title: t('changes.target'), cell: ({ target }) => el('a', { href: `#/${target}` }, shown(target)) },
        { title: t('changes.since'), cell: ({ createTime }) => time(createTime) },
        { title: t('acts'), cell: (pair) => may('CONFIGURATIONS') && el('button', { type: 'button', onclick: () => forbid(pair) }, t('changes.forbid')) },
      ],
    }) : empty(t('changes.none'), el('p', {}, t('changes.none.next'))));
  };
  const forbid = async (pair) => {
    const { source, target } = pair;
    if (!(await confirm({ title: t('changes.forbid.title'), text: t('changes.forbid.text', { source: shown(source), target: shown(target) }), action: t('changes.forbid') }))) return;
    try {
      await act('POST', '/v1/keyChangePairs:forbid', { source, target });
      announce(t('changes.forbidden'));
      await read();
    } catch (error) {
      fill(outcome, refusalBox(error, () => forbid(pair)));
    }
  };
  const usable = configurations.filter(({ state }) => state === 'ENABLED' || state === 'DISABLED');
  const options = [['', t('choose')], ...usable.map(({ name, displayName, kcv }) => [name, `${displayName} · ${kcv || '–'}`])];
  const source = choice({ name: 'source', label: t('changes.source'), options, required: true });
  const target = choice({ name: 'target', label: t('changes.target'), options, required: true });
  const allow = may('CONFIGURATIONS') && form({
    fields: [source, target], action: t('changes.allow'), draft: { name: 'changes', inputs: [source.input, target.input] },
    submit: (signal) => {
      const missing = [source, target].filter((one) => !one.value).map((one) => [one.name, t('choose.one')]);
      if (missing.length) throw faults(missing);
      return act('POST', '/v1/keyChangePairs:allow', { source: source.value, target: target.value }, signal);
    },
    done: async () => {
      announce(t('changes.allowed'));
      await read();
    },
  });
  fill(place, el('h1', {}, t('changes.title')), tabs('configurations/changes'), el('p.lead', {}, t('changes.text')), list, outcome,
    allow && el('section.card', { 'aria-labelledby': 'allow' }, el('h2', { id: 'allow' }, t('changes.allow.title')), allow.whole));
  await read();
  return { refresh: () => read().catch(() => {}) };
}
