// Configurations: one vending key each, with what it is for and what state it is in.

import { act, all, get } from '../api.js';
import { attributeList, cipher, derivation, keyType } from '../attributes.js';
import { badge } from '../badge.js';
import { confirm } from '../dialog.js';
import { announce, el, fill } from '../element.js';
import { checkValue, copier, idOf, time, timeText } from '../format.js';
import { empty, listing } from '../listing.js';
import { refusalBox } from '../refusal.js';
import { may } from '../session.js';
import { t } from '../texts.js';

export async function show(place, [first, ...rest]) {
  if (first === 'upload') return (await import('./upload.js')).show(place, rest);
  if (first === 'seal') return (await import('./seal.js')).show(place, rest);
  if (first === 'changes') return (await import('./changes.js')).show(place, rest);
  return first ? one(place, first) : list(place);
}

// The pages of this subject.
export function tabs(current) {
  const tab = (path, name) => el('li', {}, el('a', { href: `#/${path}`, 'aria-current': path === current ? 'page' : null }, t(name)));
  return el('nav.tabs', { 'aria-label': t('configurations.title') }, el('ul', {},
    tab('configurations', 'configurations.all'),
    tab('configurations/changes', 'changes.title'),
    may('CONFIGURATIONS') && [tab('configurations/seal', 'seal.title'), tab('configurations/upload', 'upload.title')]));
}

function list(place) {
  const found = listing({
    caption: t('configurations.title'),
    link: ({ name }) => `#/${name}`,
    read: async (token, signal) => {
      const page = await get('/v1/configurations', { pageSize: 50, pageToken: token }, signal);
      return { items: page.configurations ?? [], next: page.nextPageToken };
    },
    none: empty(t('configurations.none'), may('CONFIGURATIONS')
      ? el('div.actions.middle', {}, el('a.button.main', { href: '#/configurations/seal' }, t('seal.first')), el('a.button', { href: '#/configurations/upload' }, t('upload.first'))) : el('p', {}, t('configurations.none.ask'))),
    columns: [
      { title: t('name'), cell: ({ displayName }) => displayName },
      { title: t('state'), cell: ({ state }) => badge(state) },
      { title: t('attribute.sgc'), kind: 'figures', cell: ({ attributes }) => attributes.sgc },
      { title: 'TI', about: t('attribute.ti'), kind: 'figures', cell: ({ attributes }) => attributes.ti },
      { title: 'KRN', about: t('attribute.krn'), kind: 'figures', cell: ({ attributes }) => String(attributes.krn) },
      { title: 'KT', about: t('attribute.kt'), cell: ({ attributes }) => keyType(attributes) },
      { title: t('configurations.algorithms'), cell: ({ attributes }) => `${cipher(attributes)} · ${derivation(attributes)}` },
      { title: t('kcv'), cell: ({ kcv }) => checkValue(kcv) },
    ],
  });
  fill(place, el('h1', {}, t('configurations.title')), tabs('configurations'), found.whole);
  found.reload(false);
  return { refresh: found.refresh };
}

async function one(place, id) {
  const read = async () => {
    const [configuration, pairs, key] = await Promise.all([
      get(`/v1/configurations/${id}`),
      all('/v1/keyChangePairs', 'pairs'),
      get('/v1/serverState'),
    ]);
    draw(configuration, pairs, key.approvalsNeeded > 1);
  };
  const outcome = el('div.outcome');
  const draw = (configuration, pairs, several) => {
    const { name, displayName, state, kcv, warnings = [], unservable = [], destroyTime } = configuration;
    const own = pairs.filter((pair) => pair.source === name || pair.target === name);
    fill(place,
      el('p.back', {}, el('a', { href: '#/configurations' }, t('configurations.back'))),
      el('div.heading', {}, el('h1', {}, displayName), badge(state)),
      state === 'DESTROY_SCHEDULED' && el('div.box.bad', {}, t('configuration.destroyed.at', { time: timeText(destroyTime) })),
      state === 'DESTROYED' && el('div.box.note', {}, t('configuration.destroyed', { time: timeText(destroyTime) })),
      unservable.length > 0 && el('div.box.bad', {}, el('p.strong', {}, t('configuration.unservable')), el('ul', {}, unservable.map(warning))),
      warnings.length > 0 && el('div.box.note', {}, el('p.strong', {}, t('configuration.warnings')), el('ul', {}, warnings.map(warning))),
      el('section.card', { 'aria-labelledby': 'kcv' },
        el('h2', { id: 'kcv' }, t('kcv')), el('p.large', {}, checkValue(kcv)), el('p.faint', {}, t('kcv.text'))),
      acts(configuration, several),
      outcome,
      el('section.card', { 'aria-labelledby': 'attributes' }, el('h2', { id: 'attributes' }, t('attributes')), attributeList(configuration.attributes)),
      el('section.card', { 'aria-labelledby': 'origin' }, el('h2', { id: 'origin' }, t('configuration.origin')), el('dl.facts', {},
        el('dt', {}, t('name.resource')), el('dd', {}, el('code.long', {}, name), ' ', copier(name, t('name.resource'))),
        el('dt', {}, t('created')), el('dd', {}, time(configuration.createTime)),
        el('dt', {}, t('changed')), el('dd', {}, time(configuration.updateTime)),
        el('dt', {}, t('configuration.signer')), el('dd', {}, el('code.long', {}, configuration.signer || '–')),
        el('dt', {}, t('configuration.uploader')), el('dd', {}, configuration.uploader ? el('code.long', {}, configuration.uploader) : '–'))),
      el('section.card', { 'aria-labelledby': 'changes' }, el('h2', { id: 'changes' }, t('changes.title')),
        own.length ? el('ul', {}, own.map((pair) => el('li', {}, pair.source === name
          ? [t('changes.to'), ' ', el('a', { href: `#/${pair.target}` }, idOf(pair.target))]
          : [t('changes.from'), ' ', el('a', { href: `#/${pair.source}` }, idOf(pair.source))])))
          : el('p.faint', {}, t('changes.none.of')),
        el('p', {}, el('a', { href: '#/configurations/changes' }, t('changes.see')))));
  };
  const acts = ({ name, displayName, state, unservable = [], kcv }, several) => {
    if (!may('CONFIGURATIONS')) return null;
    const button = (verb, kind, question) => el('button', {
      type: 'button', class: kind, onclick: async (event) => {
        const pressed = event.currentTarget;
        if (question && !(await confirm({ title: t(`configuration.${verb}.title`, { name: displayName }), action: t(`configuration.${verb}`), ...question }))) return;
        pressed.disabled = true;
        fill(outcome);
        try {
          await act('POST', `/v1/${name}:${verb}`);
          announce(t(`configuration.${verb}.done`));
          await read();
        } catch (error) {
          fill(outcome, refusalBox(error, () => pressed.click()));
        } finally {
          pressed.disabled = false;
        }
      },
    }, t(`configuration.${verb}`));
    const others = several && el('p.faint', {}, t('others.agree'));
    const buttons = {
      ENABLED: () => button('disable', '', { text: t('configuration.disable.text') }),
      DISABLED: () => [
        !unservable.length && button('enable', 'main', several ? null : { text: [t('configuration.enable.text'), el('p.large', {}, checkValue(kcv))] }),
        button('scheduleDestroy', 'grave', { text: t('configuration.scheduleDestroy.text'), grave: true, word: displayName }),
      ],
      DESTROY_SCHEDULED: () => button('restore', 'main'),
    }[state]?.();
    return buttons ? el('section', { 'aria-label': t('acts') }, el('div.actions', {}, buttons), others) : null;
  };
  await read();
  return { refresh: () => read().catch((error) => fill(outcome, refusalBox(error))) };
}

function warning({ code, message }) {
  return el('li', {}, message, ' ', el('code', {}, code));
}
