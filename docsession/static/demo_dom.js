/** The demo page's few words for the DOM, for time, for people and for errors. */

/** An element: h("a.name", { href, onclick }, "text", child). What is null or false is left out. */
export function h(selector, ...rest) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  const props = rest.length && rest[0]?.constructor === Object ? rest.shift() : {};
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...rest.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const use = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  use.setAttribute("href", `#i-${name}`);
  return svg;
}

export const $ = (id) => document.getElementById(id);

/** Says it to those who listen instead of looking. */
export function announce(text) {
  $("announcer").textContent = text;
}

/** Lets the eye find what has just changed. */
export function flash(element) {
  element.classList.remove("flash");
  void element.offsetWidth; // starts the animation over
  element.classList.add("flash");
}

// --- time --------------------------------------------------------------------------------------

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

/** "3 minutes ago"; empty for what is no time. */
export function ago(moment, now = Date.now()) {
  let value = (now - new Date(moment).getTime()) / 1000;
  if (!Number.isFinite(value)) return "";
  if (Math.abs(value) < 10) return "just now";
  for (const [unit, size] of STEPS) {
    if (Math.abs(value) < size) return RELATIVE.format(-Math.round(value), unit);
    value /= size;
  }
  return "";
}

/** A <time> that keeps up with the clock. */
export function time(moment) {
  const date = new Date(moment ?? NaN);
  if (Number.isNaN(date.getTime())) return h("span");
  return h("time", { dateTime: date.toISOString(), title: date.toLocaleString() }, ago(date));
}

/** To be called now and then: every <time> on the page says what is true now. */
export function keepTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) element.textContent = ago(element.dateTime);
}

// --- people --------------------------------------------------------------------------------------

const initials = (name) => name.split(/\s+/).slice(0, 2).map((word) => word[0] ?? "").join("").toUpperCase() || "?";

/** A round picture: what Google shows where it is on https, else initials in a colour of their own. */
export function avatar(name = "", picture = null) {
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 6;
  const circle = h(`span.avatar.hue-${hue}`, { "aria-hidden": "true" }, initials(name));
  if (typeof picture === "string" && picture.startsWith("https:")) {
    const image = h("img", { src: picture, alt: "", referrerPolicy: "no-referrer", onerror: () => image.remove() });
    circle.append(image);
  }
  return circle;
}

// --- files ---------------------------------------------------------------------------------------

const KINDS = [
  ["application/vnd.google-apps.folder", "folder", "Folder"],
  ["application/vnd.google-apps.document", "doc", "Google Docs document"],
  ["application/vnd.google-apps.spreadsheet", "sheet", "Google Sheets spreadsheet"],
  ["application/vnd.google-apps.presentation", "slides", "Google Slides presentation"],
  ["application/vnd.google-apps.", "file", "Google file"],
  ["application/pdf", "doc", "PDF"],
  ["text/csv", "sheet", "Table (CSV)"],
  ["text/markdown", "doc", "Markdown text"],
  ["text/plain", "doc", "Text"],
  ["text/html", "doc", "HTML"],
  ["image/", "image", "Picture"],
  ["video/", "media", "Video"],
  ["audio/", "media", "Sound"],
  ["", "file", "File"],
];

/** { icon, label } for a MIME type. */
export function kindOf(mimeType = "") {
  const [, name, label] = KINDS.find(([start]) => mimeType.startsWith(start));
  return { icon: name, label };
}

export const isFolder = (file) => file?.mimeType === "application/vnd.google-apps.folder";

export function bytes(size) {
  let value = Number(size);
  if (size === undefined || !Number.isFinite(value)) return "";
  if (value < 1000) return `${value} bytes`;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    value /= 1000;
    if (value < 1000) return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
  }
  return "";
}

// --- errors --------------------------------------------------------------------------------------

const REASONS = {
  __proto__: null, // names that every object has are no names here
  not_signed_in: "You are signed out.",
  scope_missing: "You have not allowed this. Sign out and in again to be asked once more.",
  forbidden: "You are not allowed to do this here.",
  not_found: "It is not there any more, or not shared with you.",
  rate_limited: "Google asks us to slow down.",
  google_unavailable: "Google does not answer just now.",
  google_rejected: "Google refused this.",
  outcome_unknown: "The line went down: it may or may not have been saved. Look before you do it again.",
  unavailable: "The server cannot save anything just now.",
  too_many: "That is too much at once.",
  too_large: "That is too large.",
  closed: "This page is disconnected.",
};

/** A sentence for a person; with `byItself`, of something that is tried again without their doing. */
export function explain(error, byItself = false) {
  const sentence = REASONS[error?.name] ?? `That did not work: ${error?.message ?? "nobody knows why"}`;
  if (byItself) return `${sentence} This page tries again by itself.`;
  return error?.retryAfter ? `${sentence} Try again in ${Math.ceil(error.retryAfter)} s.` : sentence;
}
