// Forms: every input has its label, its hint and, where it was refused, what is wrong with it. What
// was typed stays, whatever happens.

import { draftOf } from './draft.js';
import { announce, el, fill } from './element.js';
import { refusalBox } from './refusal.js';
import { many, t } from './texts.js';

let count = 0;

// An input with its label. `name` is the field of the API, by which a refusal finds it.
export function field({ name, label, hint, control, required = false, ...attributes }) {
  count += 1;
  const id = `f${count}`;
  const input = control ?? el(attributes.rows ? 'textarea' : 'input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...attributes });
  const note = el('p.hint', { id: `${id}-hint` }, hint ?? '');
  const wrong = el('p.wrong', { id: `${id}-wrong`, hidden: true });
  input.id = id;
  if (required) input.required = true;
  input.setAttribute('aria-describedby', `${id}-hint ${id}-wrong`);
  const whole = el('div.field', {}, el('label', { for: id }, label, !required && attributes.optional !== undefined && el('span.faint', {}, ` ${t('optional')}`)),
    input, hint && note, wrong);
  const blame = (text) => {
    wrong.hidden = !text;
    wrong.textContent = text ?? '';
    input.toggleAttribute('aria-invalid', Boolean(text));
    if (text) input.setAttribute('aria-invalid', 'true');
  };
  input.addEventListener('input', () => blame(null));
  return { whole, input, blame, name, label, get value() { return input.value.trim(); } };
}

// A choice; `options` are [value, text].
export function choice({ options, value, ...more }) {
  const control = el('select', {}, options.map(([given, text]) => el('option', { value: given }, text)));
  if (value !== undefined) control.value = value;
  return field({ ...more, control });
}

// A box to tick.
export function tick({ label, checked = false, value }) {
  count += 1;
  const input = el('input', { type: 'checkbox', id: `f${count}`, value: value ?? 'on' });
  input.checked = checked;
  return { input, whole: el('div.tick', {}, input, el('label', { for: `f${count}` }, label)) };
}

// Whether a field of a refusal is this one: `limits.amounts[0].per_day` is one of `limits`.
function concerns(named, violation) {
  const snake = (text) => text.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const field = snake(violation);
  return [named].flat().filter(Boolean).map(snake).some((name) => field === name || field.startsWith(`${name}.`) || field.startsWith(`${name}[`));
}

// A form. `submit(signal)` does it, and may throw a refusal; what it answers is given to `done`.
// `grouped` shows the fields otherwise than one after the other. `draft` says what of it outlasts a
// reload, see draft.js; `draft.lasts`: until somebody else clears it.
export function form({ fields, action, submit, done, kind = 'main', more = [], inline = false, grouped = null, draft = null }) {
  const kept = draft && draftOf(draft);
  const place = el('div', { class: 'outcome' });
  const button = el('button', { type: 'submit', class: kind }, action);
  const stop = el('button', { type: 'button', hidden: true }, t('cancel'));
  let running = null;
  const run = async () => {
    if (running) return;
    for (const one of fields) one.blame?.(null);
    fill(place);
    running = new AbortController();
    button.disabled = true;
    button.setAttribute('aria-busy', 'true');
    stop.hidden = false;
    try {
      const answering = submit(running.signal);
      // With the id of the request that goes out now.
      kept?.save();
      const answer = await answering;
      if (!draft?.lasts) kept?.clear();
      await done?.(answer, place);
    } catch (error) {
      // What others must agree to is asked for, and on record.
      if (error.reason === 'APPROVAL_PENDING') kept?.clear();
      if (error.name !== 'AbortError') show(error);
    } finally {
      running = null;
      button.disabled = false;
      button.removeAttribute('aria-busy');
      stop.hidden = true;
    }
  };
  const show = (error) => {
    const unplaced = [];
    let first = null;
    for (const { field: violation, description } of error.fields ?? []) {
      const found = fields.find((one) => one.name && concerns(one.name, violation));
      if (found) {
        found.blame(description);
        first ??= found.input;
      } else {
        unplaced.push(el('li', {}, el('code', {}, violation), `: ${description}`));
      }
    }
    const box = refusalBox(error, run);
    if (unplaced.length) box.append(el('ul', {}, unplaced));
    fill(place, box);
    if (first) {
      first.focus();
      announce(many('form.wrong', error.fields.length));
    }
  };
  stop.addEventListener('click', () => running?.abort());
  const whole = el('form', { class: inline ? 'inline' : null, novalidate: true }, kept?.back && restored(kept), grouped ?? fields.map((one) => one.whole), more,
    el('div.actions', {}, button, stop), place);
  whole.addEventListener('submit', (event) => {
    event.preventDefault();
    run();
  });
  return { whole, run, place, show, fields, kept };
}

// Says that what was typed before is here again, and how to be rid of it.
function restored(kept) {
  const anew = () => {
    kept.clear();
    dispatchEvent(new Event('hashchange'));
  };
  return el('p.row.faint', { role: 'status' }, t('draft.back'), el('button.quiet', { type: 'button', onclick: anew }, t('draft.anew')));
}

// A fault that is found before anything is sent.
export function faults(list) {
  const error = new Error(t('form.incomplete'));
  error.reason = 'INVALID_FIELDS';
  error.fields = list.map(([name, description]) => ({ field: name, description }));
  error.metadata = {};
  return error;
}
