// Lists that come page by page, as tables that become cards where there is little room.

import { announce, el, fill } from './element.js';
import { refusalBox } from './refusal.js';
import { many, t } from './texts.js';

// A table. `columns` are { title, about, cell(item), kind }, `about` where the title is an abbreviation; `link(item)` is where a row leads.
export function table({ caption, columns, items, link }) {
  const rows = items.map((item) => {
    const cells = columns.map(({ title, cell, kind }, place) => {
      let content = cell(item);
      if (place === 0 && link) content = el('a', { href: link(item) }, content);
      return el(place === 0 ? 'th' : 'td', { scope: place === 0 ? 'row' : null, class: kind, 'data-title': title }, content);
    });
    return el('tr', {}, cells);
  });
  const head = el('thead', {}, el('tr', {}, columns.map(({ title, about, kind }) => el('th', { scope: 'col', class: kind }, about ? el('abbr', { title: about }, title) : title))));
  return el('div.scroll', {}, el('table', {}, el('caption.unseen', {}, caption), head, el('tbody', {}, rows)));
}

// What is shown in the place of a list that has nothing.
export function empty(text, next) {
  return el('div.empty', {}, el('p', {}, text), next);
}

// A list that is read page by page. `read(token, signal)` answers { items, next }.
export function listing({ caption, columns, read, link, none, size = 50 }) {
  const whole = el('section.listing', { 'aria-label': caption });
  let tokens = [''];
  let running = null;
  const load = async (focus) => {
    running?.abort();
    const own = running = new AbortController();
    whole.setAttribute('aria-busy', 'true');
    if (!whole.hasChildNodes()) fill(whole, el('p.faint', {}, t('reading')));
    try {
      const { items, next } = await read(tokens.at(-1), own.signal);
      if (own !== running) return;
      show(items, next, focus);
    } catch (error) {
      if (error.name !== 'AbortError' && own === running) fill(whole, refusalBox(error, () => load(true)));
    } finally {
      if (own === running) whole.removeAttribute('aria-busy');
    }
  };
  const turn = (next) => {
    if (next === null) tokens.pop();
    else tokens.push(next);
    load(true);
  };
  const show = (items, next, focus) => {
    const first = tokens.length === 1;
    const page = el('p.faint', { tabindex: '-1' }, t('page', { page: tokens.length }), ' · ', many('rows', items.length));
    const turns = (!first || next) && el('nav.turns', { 'aria-label': t('pages') },
      el('button', { type: 'button', disabled: first, onclick: () => turn(null) }, t('page.before')),
      page,
      el('button', { type: 'button', disabled: !next, onclick: () => turn(next) }, t('page.next')));
    // A page may be empty while there are more.
    const content = items.length ? table({ caption, columns, items, link })
      : first && !next ? none : el('p.faint', {}, t('page.empty'));
    fill(whole, content, turns);
    if (focus && turns) page.focus();
    if (focus) announce(many('rows', items.length));
  };
  const reload = (again = true) => {
    if (again) tokens = [''];
    return load(again);
  };
  return { whole, reload, refresh: () => load(false), size };
}
