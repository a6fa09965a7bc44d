// Which page is shown: the address after # says it, so that a reload and the browser's buttons lead
// back. Each page is a module of its own, read when it is first wanted.

import { announce, el, fill } from './element.js';
import { refusalBox } from './refusal.js';
import { may } from './session.js';
import { t } from './texts.js';

const READS_TOKENS = ['VEND', 'MANAGE', 'CHANGE_KEYS', 'READ_LEDGER', 'VERIFY'];
const SEES_APPROVALS = ['CONFIGURATIONS', 'PUBLIC_KEYS', 'CLIENTS', 'LEDGER', 'AUDIT'];

// Every page: its path, who may see it, and its module. `show(main, rest)` draws it, and may answer
// { refresh, leave }.
export const PAGES = [
  { path: 'overview', icon: 'overview', seen: () => true },
  { path: 'configurations', icon: 'configurations', seen: () => true },
  { path: 'publicKeys', icon: 'keys', seen: () => true },
  { path: 'clients', icon: 'clients', seen: () => may('CLIENTS', 'AUDIT') },
  { path: 'approvals', icon: 'approvals', seen: () => may(...SEES_APPROVALS) },
  { path: 'tokens', icon: 'tokens', seen: () => may(...READS_TOKENS) },
  { path: 'reports', icon: 'reports', seen: () => may('READ_LEDGER', 'LEDGER', 'AUDIT') || may('VEND', 'MANAGE', 'CHANGE_KEYS') },
  { path: 'simulator', icon: 'simulator', seen: () => may('VERIFY', 'CONFIGURATIONS') },
  { path: 'trail', icon: 'trail', seen: () => may('AUDIT') },
];

// Names of resources lead to their pages.
const KINDS = { issuedTokens: 'tokens' };

let current = null;
let drawing = 0;

export function seenPages() {
  return PAGES.filter((page) => page.seen());
}

function wanted() {
  const [first, ...rest] = location.hash.replace(/^#\/?/, '').split('/');
  const path = KINDS[first] ?? first;
  const page = seenPages().find((known) => known.path === path) ?? seenPages()[0];
  return { page, rest: page.path === path ? rest.map(decodeURIComponent).filter(Boolean) : [] };
}

// Draws the page of the address.
export async function draw(focus = true) {
  drawing += 1;
  const own = drawing;
  leave();
  const main = document.getElementById('main');
  if (!main) return;
  const { page, rest } = wanted();
  for (const link of document.querySelectorAll('nav.pages a')) {
    link.toggleAttribute('aria-current', link.dataset.page === page.path);
    if (link.dataset.page === page.path) link.setAttribute('aria-current', 'page');
  }
  fill(main, el('p.faint', {}, t('reading')));
  try {
    const module = await import(`./pages/${page.path}.js`);
    if (own !== drawing) return;
    const place = el('div.page', {});
    fill(main, place);
    const shown = await module.show(place, rest);
    if (own !== drawing) {
      shown?.leave?.();
      return;
    }
    current = shown ?? {};
  } catch (error) {
    if (own !== drawing || error.name === 'AbortError') return;
    fill(main, el('h1', {}, t(`${page.path}.title`)), refusalBox(error, () => draw()));
  }
  const heading = main.querySelector('h1');
  document.title = `${heading?.textContent ?? t(`${page.path}.title`)} – Vendkey`;
  if (heading && focus) {
    heading.tabIndex = -1;
    heading.focus();
    announce(heading.textContent);
  }
}

export function leave() {
  current?.leave?.();
  current = null;
}

// Reads again what the page shows, where it can do so in place.
export function refresh() {
  if (current?.refresh) current.refresh();
}

export function go(path) {
  if (location.hash === `#/${path}`) draw();
  else location.hash = `#/${path}`;
}
