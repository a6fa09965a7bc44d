// Numbers, times and digits as people read them.

import { el } from './element.js';
import { language, t } from './texts.js';

const cached = new Map();

function form(kind, options) {
  const key = JSON.stringify([language(), kind.name, options]);
  if (!cached.has(key)) cached.set(key, new kind(language(), options));
  return cached.get(key);
}

// A number, or a decimal text of any length.
export function number(value) {
  return form(Intl.NumberFormat, { maximumFractionDigits: 20 }).format(value);
}

const WHOLE = {
  year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
  timeZoneName: 'short',
};

// A time of RFC 3339, always with its zone.
export function timeText(text) {
  return text ? form(Intl.DateTimeFormat, WHOLE).format(new Date(text)) : '';
}

export function time(text) {
  if (!text) return el('span.faint', {}, '–');
  return el('time', { datetime: text, title: new Date(text).toISOString() }, timeText(text));
}

export function dateText(date) {
  return `${form(Intl.DateTimeFormat, { year: 'numeric', month: 'long', day: 'numeric', timeZone: 'UTC' }).format(date)} UTC`;
}

const UNITS = [['year', 31536000], ['month', 2592000], ['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];

// How far a time is from now, in words.
export function away(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return form(Intl.RelativeTimeFormat, { numeric: 'auto' }).format(Math.trunc(seconds / size), unit);
}

// Digits in groups.
export function grouped(text, size = 4) {
  return (text ?? '').replace(new RegExp(`(.{${size}})(?=.)`, 'g'), '$1 ');
}

// The 20 digits of a token, read out one by one and copied whole.
export function token(text) {
  return el('span.token', {}, grouped(text));
}

// The id in `configurations/{id}`, short enough for a column.
export function idOf(name) {
  return (name ?? '').split('/').slice(1).join('/');
}

// A button that copies a text.
export function copier(text, what) {
  const button = el('button.quiet', { type: 'button' }, t('copy'));
  button.setAttribute('aria-label', t('copy.what', { what }));
  button.addEventListener('click', async () => {
    await navigator.clipboard?.writeText(text);
    button.textContent = t('copied');
    setTimeout(() => { button.textContent = t('copy'); }, 2000);
  });
  return button;
}

// A key check value, in letters that are read out over the telephone.
export function checkValue(kcv) {
  if (!kcv) return el('span.faint', {}, '–');
  return el('span.kcv', { 'aria-label': kcv.split('').join(' ') }, grouped(kcv, 2));
}

// A fingerprint in lines that two people can compare.
export function fingerprint(hex) {
  const groups = hex.match(/.{4}/g) ?? [];
  return el('span.fingerprint', {}, groups.map((group) => el('span', {}, group)));
}
