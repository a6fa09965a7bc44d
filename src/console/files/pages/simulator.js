// A meter in software: to learn what tokens do, with test keys alone. What is here is forgotten when
// somebody signs out.

import { act } from '../api.js';
import { announce, el, fill } from '../element.js';
import { faults, field, form, tick } from '../form.js';
import { copier, token as digits } from '../format.js';
import { keyAttributes, keyFields } from '../keyform.js';
import { KEY_DIGITS } from '../sealing.js';
import { session } from '../session.js';
import { hex } from '../signing.js';
import { t } from '../texts.js';
import { MANAGED, VENDED, tokenFields } from '../tokenform.js';
import { transferred } from './tokens.js';

// The meter, its key, its number, its newest token identifier, and what was typed into it.
let kept = null;
session.addEventListener('out', () => { kept = null; });

const EXAMPLE = '47500150231';

export async function show(place) {
  const head = [el('h1', {}, t('simulator.title')), el('p.lead', {}, t('simulator.text'))];
  if (kept) fill(place, head, board(place));
  else fill(place, head, maker(place));
  return {};
}

// A test key: its attributes and its digits, which chance may choose.
function testKey(revision) {
  const about = keyFields({ krn: revision });
  about.one('supply_group_code').input.value = '123456';
  const key = field({ name: ['key.vending_key', 'target.vending_key'], label: t('simulator.key'), hint: t('simulator.key.hint'), required: true, class: 'digits' });
  const dkga = about.one('decoder_key_generation_algorithm');
  const chance = () => { key.input.value = hex(crypto.getRandomValues(new Uint8Array(KEY_DIGITS[dkga.value] / 2))); };
  dkga.input.addEventListener('change', chance);
  chance();
  const button = el('button.quiet', { type: 'button', onclick: chance }, t('simulator.random'));
  return { about, key, button, value: () => ({ attributes: keyAttributes(about.values()), vendingKey: key.value.replace(/\s/g, '') }) };
}

function maker(place) {
  const key = testKey('1');
  const meter = field({ name: 'meter', label: t('meter'), hint: t('meter.hint'), inputmode: 'numeric', value: EXAMPLE, required: true });
  const made = form({
    fields: [meter, key.key, ...key.about.fields], action: t('simulator.make'), grouped: [
      el('div.box.note', {}, t('simulator.warning')),
      meter.whole, key.key.whole, el('p', {}, key.button),
      el('details', {}, el('summary', {}, t('attributes')), el('div.inside.pairs', {}, key.about.fields.map((one) => one.whole))),
    ],
    submit: (signal) => {
      if (!meter.value) throw faults([['meter', t('missing')]]);
      return act('POST', '/v1/simulator:makeMeter', { key: key.value(), meter: meter.value }, signal);
    },
    done: (simulated) => {
      kept = { simulated, key: key.value(), meter: meter.value, last: 0, typed: [] };
      show(place);
      announce(t('simulator.made'));
      place.querySelector('.display').focus();
    },
  });
  return el('section.card', {}, made.whole);
}

function board(place) {
  const display = el('div.display', { tabindex: '-1', role: 'status', 'aria-live': 'polite' });
  const registers = el('div');
  const log = el('div');
  const typed = field({ name: 'token', label: t('token.digits'), hint: t('simulator.type.hint'), inputmode: 'numeric', class: 'digits' });
  const draw = () => {
    const [last] = kept.typed;
    fill(display, last ? [el('span.sign', {}, last.accepted ? '✓' : '✗'), el('span', {}, t(last.accepted ? 'simulator.accepted' : 'simulator.rejected'), ': ', last.answer)] : el('span', {}, t('simulator.ready')));
    display.classList.toggle('refusing', Boolean(last) && !last.accepted);
    fill(registers, el('dl.facts', {}, kept.simulated.registers.map(({ name, value }) => [el('dt', {}, name), el('dd.figures', {}, value)])));
    fill(log, kept.typed.length > 0 && el('ol.votes', {}, kept.typed.slice(0, 20).map(({ token, accepted, answer }) =>
      el('li', {}, digits(token), ' ', el('span', { class: accepted ? '' : 'faint' }, `${t(accepted ? 'simulator.accepted' : 'simulator.rejected')}: ${answer}`)))));
  };
  const enter = async (token, signal) => {
    const { accepted = false, answer, meter } = await act('POST', '/v1/simulator:enterToken', { state: kept.simulated.state, token }, signal);
    kept.simulated = meter;
    kept.typed.unshift({ token, accepted, answer });
    draw();
  };
  const keypad = form({
    fields: [typed], action: t('simulator.enter'),
    submit: async (signal) => {
      if (!typed.value) throw faults([['token', t('missing')]]);
      await enter(typed.value, signal);
      typed.input.value = '';
    },
  });
  const offered = (token, words) => el('p.offered', {}, el('span.large', {}, digits(token)), ' ',
    el('button', { type: 'button', onclick: () => enter(token).catch((error) => keypad.show(error)) }, t('simulator.enter.this')), copier(token, t('token.digits')), words && el('span.faint', {}, words));
  draw();
  return el('div.simulator', {},
    el('section.card.meter', { 'aria-labelledby': 'meter' }, el('h2', { id: 'meter' }, t('simulator.meter', { meter: kept.meter })), display, keypad.whole,
      el('h3', {}, t('simulator.registers')), registers),
    el('div', {}, generator(offered), changer(offered),
      el('section.card', { 'aria-labelledby': 'log' }, el('h2', { id: 'log' }, t('simulator.log')), log, el('p', {},
        el('button', { type: 'button', onclick: () => { kept = null; show(place); } }, t('simulator.forget'))))));
}

// Tokens of every kind for the meter.
function generator(offered) {
  const order = tokenFields([...VENDED, ...MANAGED]);
  const made = form({
    fields: [order.kind, order.amount], action: t('simulator.token'),
    submit: (signal) => {
      if (order.missing()) throw faults([[order.amount.name[0], t('missing')]]);
      return act('POST', '/v1/simulator:makeToken', { key: kept.key, meter: kept.meter, afterTid: kept.last, content: order.value() }, signal);
    },
    done: (token, outcome) => {
      kept.last = token.tid?.value ?? kept.last;
      fill(outcome, offered(token.token, `${token.kind}, ${transferred(token)}`));
    },
  });
  return el('section.card', { 'aria-labelledby': 'generator' }, el('h2', { id: 'generator' }, t('simulator.generate')), made.whole);
}

// The set that carries the meter to another test key.
function changer(offered) {
  const key = testKey('2');
  const group = tick({ label: t('carry.group'), checked: true });
  const made = form({
    fields: [key.key, ...key.about.fields], action: t('carry.do'), grouped: [
      key.key.whole, el('p', {}, key.button), group.whole,
      el('details', {}, el('summary', {}, t('attributes')), el('div.inside.pairs', {}, key.about.fields.map((one) => one.whole))),
    ],
    submit: async (signal) => {
      const target = key.value();
      const { tokens } = await act('POST', '/v1/simulator:makeKeyChange', { source: kept.key, target, meter: kept.meter, transferSgc: group.input.checked }, signal);
      return { tokens, target };
    },
    done: ({ tokens, target }, outcome) => {
      fill(outcome, tokens.map((token) => offered(token)),
        el('p', {}, el('button', { type: 'button', onclick: () => { kept.key = target; announce(t('simulator.switched')); fill(outcome, el('p', {}, t('simulator.switched'))); } }, t('simulator.switch'))));
    },
  });
  return el('section.card', { 'aria-labelledby': 'changer' }, el('h2', { id: 'changer' }, t('carry.title')), made.whole);
}
