// What is live: parts of a page are asked for again when something has happened, and logs are followed. Nothing that an
// application says becomes markup here: parts come from the server, escaped, and lines are set as text.
'use strict';

const connection = document.getElementById('connection');
const lost = new Set();

function tell(source, isLost) {
  if (isLost) lost.add(source); else lost.delete(source);
  connection.hidden = lost.size === 0;
  connection.textContent = lost.size === 0 ? '' : 'The connection is lost: trying again.';
}

// An EventSource ends for good where the server is away behind a proxy, or answers with an error: then a new one is made.
function follow(address, begin) {
  let source, wait = 1000, last = '', again = 0;
  function open() {
    const query = last ? (address.includes('?') ? '&' : '?') + 'last=' + encodeURIComponent(last) : '';
    source = new EventSource(address + query);
    source.onopen = () => { wait = 1000; tell(address, false); };
    source.onerror = () => {
      tell(address, true);
      if (source.readyState !== EventSource.CLOSED) return;
      again = setTimeout(open, wait);
      wait = Math.min(wait * 2, 15000);
      check();
    };
    const note = (event) => { if (event.lastEventId) last = event.lastEventId; };
    begin(source, note);
  }
  open();
  // A page that is kept for the way back would open a second one.
  addEventListener('pagehide', () => { clearTimeout(again); source.close(); });
  addEventListener('pageshow', (event) => { if (event.persisted) open(); });
}

// Who is logged out is shown the form.
let checked = 0;
function check() {
  if (Date.now() - checked < 5000) return;
  checked = Date.now();
  fetch(location.href, { headers: { Accept: 'text/html' } }).then((answer) => {
    if (answer.redirected) location.reload();
  }, () => {});
}

// Parts of the page.
let wanted = false, underway = false, timer = 0, refreshed = Date.now();
const live = document.querySelector('[data-live]');
// Seconds after which it is asked for anyway.
const every = () => Number((live && live.dataset.every) || 0);
// However much happens, many who watch cost little.
const quiet = () => (every() && every() < 5 ? 700 : 3000);

function refresh() {
  if (underway || timer) { wanted = true; return; }
  underway = true;
  fetch(location.href, { headers: { Accept: 'text/html' } }).then((answer) => {
    if (answer.redirected) { location.reload(); return ''; }
    return answer.ok ? answer.text() : '';
  }).then((text) => {
    if (text) replace(new DOMParser().parseFromString(text, 'text/html'));
  }, () => {}).finally(() => {
    underway = false;
    refreshed = Date.now();
    timer = setTimeout(() => { timer = 0; if (wanted) { wanted = false; refresh(); } }, quiet());
  });
}

function replace(page) {
  for (const part of document.querySelectorAll('[data-part]')) {
    const fresh = page.querySelector('[data-part="' + part.dataset.part + '"]');
    if (!fresh || fresh.outerHTML === part.outerHTML) continue;
    // What somebody is at stays.
    const held = part.contains(document.activeElement) ? place(document.activeElement, part) : null;
    const isAtEnd = part.scrollTop + part.clientHeight >= part.scrollHeight - 4;
    const top = part.scrollTop;
    part.replaceChildren(...fresh.childNodes);
    part.scrollTop = isAtEnd ? part.scrollHeight : top;
    if (held) { const again = find(held, part); if (again) again.focus({ preventScroll: true }); }
    if (part.dataset.every && !fresh.dataset.every) {
      delete part.dataset.every;
      // Its last lines may come after its end.
      setTimeout(refresh, 2000);
    }
  }
  for (const box of document.querySelectorAll('[data-filter]')) filter(box);
}

function place(element, part) {
  const all = [...part.querySelectorAll(element.tagName)];
  return { tag: element.tagName, at: all.indexOf(element), label: element.textContent };
}

function find(held, part) {
  const all = [...part.querySelectorAll(held.tag)];
  return all.find((one) => held.label && one.textContent === held.label) || all[held.at];
}

if (live) {
  follow(live.dataset.live, (source, note) => {
    let isFirst = true;
    source.addEventListener('open', () => { if (!isFirst) refresh(); isFirst = false; });
    source.onmessage = (event) => { note(event); refresh(); };
    source.addEventListener('lost', refresh);
  });
  setInterval(() => {
    if (every() && !document.hidden && Date.now() - refreshed >= every() * 1000) refresh();
  }, 1000);
}

// Lists.
function filter(box) {
  const text = box.value.toLowerCase();
  for (const row of document.querySelectorAll('[data-list="' + box.dataset.filter + '"] > tr')) {
    row.hidden = text !== '' && !row.textContent.toLowerCase().includes(text);
  }
}
for (const box of document.querySelectorAll('[data-filter]')) box.addEventListener('input', () => filter(box));

// Forms.
for (const slider of document.querySelectorAll('[data-slider]')) {
  const number = document.getElementById(slider.dataset.slider);
  slider.hidden = false;
  slider.addEventListener('input', () => { number.value = slider.value; });
  number.addEventListener('input', () => { slider.value = number.value; });
}
document.addEventListener('submit', (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// Logs.
const log = document.querySelector('[data-stream]');
if (log) {
  const MOST = Number(log.dataset.most);
  const state = document.getElementById('log-state');
  const button = document.querySelector('[data-follow]');
  let queue = [], scheduled = false, isFresh = true, missed = 0, follows = true;

  // Sequences for terminals, then control characters and what turns the direction of text.
  const ANSI = /\u001b\[[ -?]*[@-~]?/g;
  const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
  const plain = (text) => String(text).replace(ANSI, '').replace(CONTROL, '\ufffd');

  const part = (kind, text) => {
    const span = document.createElement('span');
    span.className = kind;
    span.textContent = text;
    return span;
  };
  const rendered = (record) => {
    const line = document.createElement('div');
    line.className = record.stream === 'stderr' ? 'line stderr' : 'line';
    line.append(part('when', String(record.time).slice(11, 23)), ' ', part('source', plain(record.process)), ' ',
      part('text', plain(record.text)));
    return line;
  };
  const flush = () => {
    scheduled = false;
    if (queue.length > MOST) { missed += queue.length - MOST; queue = queue.slice(-MOST); }
    const lines = document.createDocumentFragment();
    for (const record of queue) lines.append(rendered(JSON.parse(record)));
    queue = [];
    log.append(lines);
    const surplus = log.childElementCount - MOST;
    if (surplus > 0) {
      const range = document.createRange();
      range.setStartBefore(log.firstChild);
      range.setEndAfter(log.children[surplus - 1]);
      range.deleteContents();
    }
    if (follows) log.scrollTop = log.scrollHeight;
    if (missed) state.textContent = missed + ' lines were left out: they came too fast.';
    const empty = document.querySelector('[data-empty]');
    if (empty && log.childElementCount) empty.remove();
  };
  const flushSoon = () => { if (!scheduled) { scheduled = true; setTimeout(flush, 100); } };
  const add = (record) => {
    queue.push(record);
    // However fast they come, few are held, and only those that are shown are read.
    if (queue.length > 4 * MOST) { missed += queue.length - MOST; queue = queue.slice(-MOST); }
    flushSoon();
  };
  button.hidden = false;
  const set = (wanted) => {
    follows = wanted;
    button.setAttribute('aria-pressed', String(follows));
    if (follows) log.scrollTop = log.scrollHeight;
  };
  button.addEventListener('click', () => set(!follows));
  // Who reads, or selects, is not carried away.
  log.addEventListener('wheel', (event) => { if (event.deltaY < 0) set(false); }, { passive: true });
  log.addEventListener('pointerdown', () => set(false));
  log.addEventListener('keydown', (event) => {
    if (['ArrowUp', 'PageUp', 'Home'].includes(event.key)) set(false);
  });
  log.scrollTop = log.scrollHeight;
  if (!new URLSearchParams(location.search).has('tail')) {
    follow(log.dataset.stream, (source, note) => {
      source.onmessage = (event) => {
        // What the page came with comes again, with all that was written meanwhile.
        if (isFresh) { isFresh = false; log.replaceChildren(); }
        note(event);
        add(event.data);
      };
      source.addEventListener('current', note);
      source.addEventListener('lost', (event) => { missed += JSON.parse(event.data).lost; flushSoon(); });
    });
  }
}
