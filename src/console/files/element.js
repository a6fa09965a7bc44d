// Elements of a page. Texts become text nodes alone: nothing that a server says is read as HTML.

const SVG = 'http://www.w3.org/2000/svg';

// An element with attributes and children. A function under `onclick` and the like is a listener;
// null, undefined and false leave an attribute or a child out.
export function el(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const made = document.createElement(name || 'div');
  if (classes.length) made.className = classes.join(' ');
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (key === 'value') made.value = value;
    else made.setAttribute(key, value === true ? '' : value);
  }
  put(made, children);
  return made;
}

function put(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
}

// Puts children in the place of those that an element has.
export function fill(parent, ...children) {
  parent.replaceChildren();
  put(parent, children);
  return parent;
}

// The lines of icons, in a square of 24.
const ICONS = {
  overview: 'M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-4H4zM14 4v4h6V4z',
  configurations: 'M14.5 9.5a4 4 0 1 0-3.2 3.9L13 15h2v2h2v2h3v-3l-5-5M9.5 9.5h.01',
  keys: 'M7 3h7l4 4v14H7zM14 3v4h4M10 13h5M10 17h5',
  clients: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.6-4 3-6 6.500-6s5.900 2 6.500 6M16 4.600a3.500 3.500 0 0 1 0 6M18 14.500c2 .8 3.100 2.600 3.500 5.500',
  approvals: 'M4 12l4 4L17 7M12 16l1 1L22 8',
  tokens: 'M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h2M7 14h2M12 14h5',
  trail: 'M6 5h14M6 12h14M6 19h14M3 5h.01M3 12h.01M3 19h.01',
  reports: 'M4 20V4M4 20h16M8 16v-4M12.500 16V8M17 16v-6',
  simulator: 'M5 3h14v18H5zM8 6h8v4H8zM9 14h.01M12 14h.01M15 14h.01M9 17h.01M12 17h.01M15 17h.01',
  menu: 'M4 7h16M4 12h16M4 17h16',
  good: 'M5 12.500l4.500 4.500L19 7.500',
  bad: 'M12 7v6M12 16.500h.01M12 3l9.500 17h-19z',
  out: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
};

// An icon. It says nothing that the text beside it does not.
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name] ?? '');
  svg.append(path);
  return svg;
}

// Says a text to those who do not see the page.
export function announce(text) {
  const place = document.getElementById('announcements');
  place.textContent = '';
  // A text that is the same as before is said again.
  requestAnimationFrame(() => { place.textContent = text; });
}
