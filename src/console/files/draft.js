// What somebody typed and has not sent yet: kept over a reload in the storage of this tab, for the
// one who typed it alone, until it is done or they sign out. Forms say which of their inputs are
// kept; secrets and files never are.

import { client, session } from './session.js';

const KEPT = 'vendkey.draft.';
const NEVER = ['password', 'file'];

function names() {
  return Object.keys(sessionStorage).filter((name) => name.startsWith(KEPT));
}

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

function forget(is = () => true) {
  try {
    for (const name of names()) if (is(read(name))) sessionStorage.removeItem(name);
  } catch {
    // A browser may keep nothing.
  }
}

session.addEventListener('out', () => forget());
session.addEventListener('in', () => forget((draft) => draft?.owner !== client().name));

const valueOf = (input) => (input.type === 'checkbox' ? input.checked : input.value);

function put(input, value) {
  if (input.type === 'checkbox') input.checked = value;
  else if (!input.options || [...input.options].some((one) => one.value === value)) input.value = value;
  input.dispatchEvent(new Event('change'));
}

// The draft of a form. `inputs` are elements; `held` gives what else belongs to it, such as the id of
// a request that may be on its way, and takes it back.
export function draftOf({ name, inputs, held = () => null, hold = () => {} }) {
  const key = KEPT + name;
  const kept = inputs.filter((input) => !NEVER.includes(input.type));
  const first = JSON.stringify(kept.map(valueOf));
  const save = () => {
    const values = kept.map(valueOf);
    try {
      if (JSON.stringify(values) === first) sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, JSON.stringify({ owner: client()?.name, values, held: held() }));
    } catch {
      // As above.
    }
  };
  const restore = () => {
    const draft = read(key);
    if (draft?.owner !== client()?.name || draft?.values?.length !== kept.length) return false;
    kept.forEach((input, at) => put(input, draft.values[at]));
    if (draft.held) hold(draft.held);
    return true;
  };
  const clear = () => sessionStorage.removeItem(key);
  const back = restore();
  for (const input of kept) for (const event of ['input', 'change']) input.addEventListener(event, save);
  return { save, clear, back };
}
