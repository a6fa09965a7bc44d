// Texts, by a table for each language.

export const LANGUAGES = { en: 'English', fr: 'Français', pt: 'Português' };
// The one thing that the browser keeps: which language somebody reads. See draft.js for the tab.
const KEPT = 'vendkey.language';

let table = {};
let current = 'en';
let rules = new Intl.PluralRules('en');

export function language() {
  return current;
}

function wished() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEPT);
  } catch {
    // A browser may keep nothing.
  }
  const wishes = [kept, ...navigator.languages].filter(Boolean).map((tag) => tag.split('-')[0]);
  return wishes.find((tag) => tag in LANGUAGES) ?? 'en';
}

// Reads the table of a language, the browser's unless one is named.
export async function speak(named) {
  current = named ?? wished();
  if (named) {
    try {
      localStorage.setItem(KEPT, named);
    } catch {
      // As above.
    }
  }
  table = (await import(`./texts/${current}.js`)).default;
  rules = new Intl.PluralRules(current);
  document.documentElement.lang = current;
}

// The text of a name, with values in the place of {words}.
export function t(name, values = {}) {
  const text = table[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, word) => values[word] ?? whole);
}

// Whether there is such a text.
export function has(name) {
  return name in table;
}

// The text for a number of things: `name.one`, `name.other`.
export function many(name, count, values = {}) {
  const shown = new Intl.NumberFormat(current).format(count);
  const form = `${name}.${rules.select(count)}`;
  return t(form in table ? form : `${name}.other`, { count: shown, ...values });
}
