// The rows of a list as a CSV file, page by page, with a progress bar and a way to stop.

import { pages } from './api.js';
import { announce, el, fill } from './element.js';
import { number } from './format.js';
import { refusalBox } from './refusal.js';
import { t } from './texts.js';

// A field that no spreadsheet takes for a formula.
function quoted(value) {
  const text = String(value ?? '');
  const harmless = /^-?[\d.]*$/.test(text) || !/^[=+\-@\t\r]/.test(text) ? text : `'${text}`;
  return /[",\n\r]/.test(harmless) ? `"${harmless.replace(/"/g, '""')}"` : harmless;
}

export function csvLine(values) {
  return `${values.map(quoted).join(',')}\r\n`;
}

// A button that exports. `path`, `query()` and `items` say what is read; `columns` are [title, value];
// `share(item)` how far it has come, from 0 to 1, or null where nobody knows.
export function exporter({ path, query, items, columns, share, file }) {
  const bar = el('progress', { max: '1', 'aria-label': t('export.progress') });
  const told = el('span.faint', {});
  const stop = el('button', { type: 'button' }, t('cancel'));
  const running = el('div.export', { hidden: true }, bar, el('div.row', {}, told, stop));
  const outcome = el('div.outcome');
  const button = el('button', { type: 'button' }, t('export.do'));
  button.addEventListener('click', async () => {
    const control = new AbortController();
    stop.onclick = () => control.abort();
    button.disabled = true;
    running.hidden = false;
    fill(outcome);
    const parts = [csvLine(columns.map(([title]) => title))];
    let count = 0;
    try {
      bar.removeAttribute('value');
      told.textContent = t('export.rows', { count: number(count) });
      for await (const page of pages(path, { ...query(), pageSize: 1000 }, control.signal)) {
        const rows = page[items] ?? [];
        parts.push(rows.map((row) => csvLine(columns.map(([, value]) => value(row)))).join(''));
        count += rows.length;
        const done = rows.length ? share(rows.at(-1)) : null;
        if (done !== null) bar.value = Math.min(done, 1);
        told.textContent = t('export.rows', { count: number(count) });
      }
      const url = URL.createObjectURL(new Blob(parts, { type: 'text/csv' }));
      el('a', { href: url, download: file }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      fill(outcome, el('p.faint', {}, t('export.done', { count: number(count) })));
      announce(t('export.done', { count: number(count) }));
    } catch (error) {
      if (error.name !== 'AbortError') fill(outcome, refusalBox(error, () => button.click()));
      else fill(outcome, el('p.faint', {}, t('export.stopped')));
    } finally {
      button.disabled = false;
      running.hidden = true;
    }
  });
  return el('div', {}, button, running, outcome);
}
