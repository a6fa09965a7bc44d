// The frame around the pages: who is signed in, the way to the pages, and whether the server is there.

import { events } from './api.js';
import { ask } from './dialog.js';
import { announce, el, fill, icon } from './element.js';
import { draw, leave, refresh, seenPages } from './navigation.js';
import { client, readOffers, seen, session, signOut } from './session.js';
import { languages, showSignIn } from './signin.js';
import { many, speak, t } from './texts.js';

const app = document.getElementById('app');

function pageLink({ path, icon: name }) {
  return el('li', {}, el('a', { href: `#/${path}`, 'data-page': path }, icon(name), el('span', {}, t(`${path}.title`))));
}

function frame() {
  const pages = el('nav.pages', { 'aria-label': t('pages.nav'), id: 'pages' }, el('ul', {}, seenPages().map(pageLink)));
  const menu = el('button.menu', { type: 'button', 'aria-expanded': 'false', 'aria-controls': 'side' }, icon('menu'), el('span', {}, t('menu')));
  const side = el('div.side', { id: 'side' }, pages,
    el('div.person', {},
      el('p', {}, el('span.faint', {}, t('signed.in')), el('strong', {}, client().displayName)),
      el('div.row', {}, languages(() => { frame(); draw(); }),
        el('button.quiet', { type: 'button', id: 'sign-out', onclick: () => signOut() }, icon('out'), t('signout')))));
  const open = (wide) => {
    menu.setAttribute('aria-expanded', String(wide));
    side.classList.toggle('open', wide);
  };
  menu.addEventListener('click', () => open(menu.getAttribute('aria-expanded') !== 'true'));
  pages.addEventListener('click', (event) => { if (event.target.closest('a')) open(false); });
  const main = el('main', { id: 'main', tabindex: '-1' });
  const skip = el('a.skip', { href: '#main' }, t('skip'));
  skip.addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
  fill(app, skip, el('div.frame', {},
    el('header.top', {}, el('a.brand', { href: '#/overview' }, el('img', { src: 'icon.svg', alt: '', width: '28', height: '28' }), el('span', {}, 'Vendkey')), menu),
    side, main));
}

// The line that says that the server is away, or back.
const line = el('div.connection', { role: 'alert', hidden: true });
document.body.prepend(line);
events.addEventListener('away', () => {
  line.className = 'connection away';
  fill(line, t('away'));
  line.hidden = false;
});
events.addEventListener('back', () => {
  line.className = 'connection back';
  fill(line, t('back'));
  setTimeout(() => { if (line.classList.contains('back')) line.hidden = true; }, 4000);
  refresh();
});

let warned = null;
session.addEventListener('warning', ({ detail: left }) => {
  const text = many('idle.left', left);
  if (warned) {
    warned.textContent = text;
    return;
  }
  warned = el('p', {}, text);
  ask({ title: t('idle.title'), content: warned, buttons: [['out', t('signout')], ['stay', t('idle.stay'), 'main']] }).then((said) => {
    warned = null;
    if (said === 'out') signOut();
    else seen();
  });
});
session.addEventListener('in', () => {
  frame();
  draw();
});
session.addEventListener('out', ({ detail: why }) => {
  leave();
  for (const dialog of document.querySelectorAll('dialog')) dialog.close('left');
  showSignIn(app, why);
  announce(t(`signin.why.${why}`));
});
addEventListener('hashchange', () => { if (client()) draw(); });
// A page that a browser took out of its memory again shall not be signed in.
addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });

// What is offered is only needed once somebody has signed in, and is asked for meanwhile.
readOffers();
await speak();
showSignIn(app);
