// Making and changing elements. Text is always text here: nothing is ever parsed as HTML.

/** An element with attributes (functions are listeners, false and null leave out) and children. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** The element with this id, which the page has. */
export function byId(id) {
  return document.getElementById(id);
}

/** Replace what is in an element; the focus stays on whatever has the same data-key. */
export function refill(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren(...children);
  if (focused === undefined) return;
  for (const candidate of parent.querySelectorAll("[data-key]")) {
    if (candidate.dataset.key === focused) candidate.focus({ preventScroll: true });
  }
}

/** Calls show(value) when the value differs from the last one. */
export function onDifference(show) {
  let last;
  return (value) => {
    const now = JSON.stringify(value);
    if (now === last) return;
    last = now;
    show(value);
  };
}

/** Keep one element for each item, in the items' order, so that what is typed in them stays. */
export function keyed(parent, make) {
  const kept = new Map();
  return (items) => {
    const wanted = new Set(items.map((item) => item.id));
    for (const [id, part] of kept) {
      if (wanted.has(id)) continue;
      part.node.remove();
      kept.delete(id);
    }
    items.forEach((item, place) => {
      if (!kept.has(item.id)) kept.set(item.id, make(item));
      const part = kept.get(item.id);
      part.show(item);
      if (parent.children[place] !== part.node) parent.insertBefore(part.node, parent.children[place] ?? null);
    });
  };
}

/** The portrait of a person of the overview; decoration, as the name always stands beside it. */
export function portrait(person) {
  return el("img", { src: new URL(person.picture).pathname, alt: "", width: 24, height: 24, class: "portrait" });
}

/** A time as it stands: what is shown once and stays. */
export function moment(time) {
  const words = new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  return el("time", { datetime: time }, words);
}

/** A time as people say it: what is shown anew as it passes. */
export function when(time, now) {
  const seconds = Math.round((Date.parse(time) - Date.parse(now)) / 1000);
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return words.format(Math.round(seconds / size), unit);
  }
  return "just now";
}
