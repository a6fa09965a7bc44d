// What a person who cannot see well, or uses no mouse, would stumble over. Answers a list of faults.
// Colours that still change are waited for.
await Promise.allSettled(document.getAnimations().map((one) => one.finished));
const faults = [];
const name = (element) => {
  const by = element.getAttribute('aria-labelledby');
  if (by) return by.split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ').trim();
  return (element.getAttribute('aria-label') ?? '') || (element.labels?.length ? element.labels[0].textContent : '')
    || element.textContent.trim() || element.getAttribute('alt') || '';
};
const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
  && !element.closest('.unseen') && !element.matches('.skip:not(:focus)');
const told = (element) => `<${element.tagName.toLowerCase()}${element.className ? ` class=${element.className}` : ''}> ${element.textContent.trim().slice(0, 40)}`;

if (!document.documentElement.lang) faults.push('the page has no language');
if (document.querySelectorAll('h1').length !== 1) faults.push(`${document.querySelectorAll('h1').length} headings h1`);
if (document.querySelectorAll('main').length !== 1) faults.push('not one main');
const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) faults.push(`the id ${id} stands twice`);
for (const attribute of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for']) {
  for (const element of document.querySelectorAll(`[${attribute}]`)) {
    for (const id of element.getAttribute(attribute).split(' ')) {
      if (!document.getElementById(id) && !id.endsWith('-hint')) faults.push(`${attribute} names ${id}, which is not there`);
    }
  }
}
for (const element of document.querySelectorAll('input, select, textarea, button, a[href], nav, dialog, table')) {
  if (element.getAttribute('aria-hidden') === 'true') continue;
  const given = element.matches('table') ? element.caption?.textContent : name(element);
  if (!given?.trim()) faults.push(`no name: ${told(element)}`);
}
for (const image of document.querySelectorAll('img')) if (!image.hasAttribute('alt')) faults.push('a picture without alt');
let level = 0;
for (const heading of document.querySelectorAll('main :is(h1, h2, h3, h4)')) {
  if (!seen(heading)) continue;
  const own = Number(heading.tagName[1]);
  if (own > level + 1) faults.push(`h${own} follows h${level}: ${told(heading)}`);
  level = own;
}

// Contrast of texts (WCAG 2.2, 1.4.3), over the first ground that is opaque.
const parsed = (colour) => {
  const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
};
const light = ({ r, g, b }) => {
  const part = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const ground = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const colour = parsed(getComputedStyle(one).backgroundColor);
    if (colour.a === 1) return colour;
  }
  return parsed(getComputedStyle(document.documentElement).colorScheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches ? 'rgb(0,0,0)' : 'rgb(255,255,255)');
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const judged = new Set();
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || judged.has(element) || !seen(element) || element.closest(':disabled')) continue;
  judged.add(element);
  const style = getComputedStyle(element);
  const [a, b] = [light(parsed(style.color)), light(ground(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${told(element)}`);
}
// What is clicked or touched is large enough (2.5.8), and the page is no wider than its window.
for (const element of document.querySelectorAll('button, select, input:not([type=checkbox], [type=radio])')) {
  if (!seen(element)) continue;
  const { width, height } = element.getBoundingClientRect();
  if (width < 24 || height < 24) faults.push(`${Math.round(width)}×${Math.round(height)} pixels: ${told(element)}`);
}
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
  faults.push(`the page is ${document.documentElement.scrollWidth} pixels wide in a window of ${document.documentElement.clientWidth}`);
}
return faults;
