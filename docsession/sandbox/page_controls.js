// What may go wrong, what may end, and what was called.

import { sandbox } from "./api.js";
import { byId, el, onDifference, portrait, refill } from "./dom.js";

const FAULTS = {
  "every request fail (500)": { status: 500, reason: "internalError" },
  "Drive be away (503)": { match: { method: "drive.*" }, status: 503, reason: "backendError" },
  "Drive limit the rate (403)": { match: { method: "drive.*" }, status: 403, reason: "userRateLimitExceeded" },
  "Drive limit the rate (429)": { match: { method: "drive.*" }, status: 429, reason: "rateLimitExceeded", retry_after: 5 },
  "the token endpoint be slow (5 s)": { match: { method: "oauth2.token.*" }, delay: 5 },
  "refreshing be refused (invalid_grant)": { match: { method: "oauth2.token.refresh" }, status: 400, reason: "invalid_grant" },
  "every connection drop": { drop: true },
  "a new comment's answer get lost": { match: { method: "drive.comments.create" }, after: true, drop: true },
  "files not be found (404)": { match: { method: "drive.files.get" }, status: 404, reason: "notFound" },
};

const ENDS = {
  revoke: ["Revoke", "grants are revoked"],
  expire_access: ["Expire access", "access tokens are expired"],
  expire_refresh: ["Expire refresh", "refresh tokens are expired"],
};

/** A fault as a sentence. */
function inWords(fault) {
  const { match = {} } = fault;
  const does = [
    fault.delay && `waits ${fault.delay} s`,
    fault.hang && "never answers",
    fault.drop && "drops the connection",
    fault.status && !fault.drop && !fault.hang && `answers ${fault.status}`,
    fault.reason,
    fault.after && "after having done it",
  ].filter(Boolean);
  const whom = [match.method ?? "everything", match.user && `for ${match.user}`, match.file && `on ${match.file}`];
  const often = fault.times ? `${fault.times} more` : "until cleared";
  return `${whom.filter(Boolean).join(" ")}: ${does.join(", ") || "as ordered"} (${often})`;
}

export function controls({ act, personWith }) {
  let faults = [];
  let paused = false;
  const form = byId("fault");
  form.elements.what.append(...Object.keys(FAULTS).map((name) => el("option", {}, name)));

  const order = (list, said) => act(said, () => sandbox("PUT", "faults", list));

  const showFaults = onDifference((list) => {
    refill(
      byId("faults"),
      list.map((fault, place) =>
        el(
          "li",
          {},
          el("span", {}, inWords(fault)),
          el(
            "button",
            {
              type: "button",
              "data-key": String(place),
              "aria-label": `Remove: ${inWords(fault)}`,
              click: () => order(faults.filter((_, other) => other !== place), "The fault is gone."),
            },
            "Remove",
          ),
        ),
      ),
    );
    byId("faults-none").hidden = list.length > 0;
    byId("clear-faults").disabled = list.length === 0;
  });

  const showPeople = onDifference((people) => {
    const chosen = form.elements.whom.value;
    form.elements.whom.replaceChildren(
      el("option", { value: "" }, "everybody"),
      ...people.map((person) => el("option", { value: person.email }, person.name)),
    );
    form.elements.whom.value = people.some((person) => person.email === chosen) ? chosen : "";
    refill(byId("grants"), people.map(grant));
  });

  function grant(person) {
    const buttons = Object.entries(ENDS).map(([how, [label, done]]) =>
      el(
        "button",
        {
          type: "button",
          "data-key": `${how} ${person.email}`,
          "aria-label": `${label} for ${person.name}`,
          click: () =>
            act(`${person.name}’s ${done}.`, () => sandbox("POST", "grants", { email: person.email, do: how })),
        },
        label,
      ),
    );
    return el("li", {}, el("span", { class: "who" }, portrait(person), person.name), el("span", { class: "row" }, ...buttons));
  }

  const showCalls = onDifference((calls) => {
    byId("calls-none").hidden = calls.length > 0;
    byId("calls-table").hidden = calls.length === 0;
    byId("calls").replaceChildren(
      ...calls.map((call) =>
        el(
          "tr",
          { class: call.status >= 400 ? "bad" : "" },
          el("td", {}, new Date(call.time).toLocaleTimeString("en-GB")),
          el("td", { class: "method" }, call.method),
          el("td", {}, personWith(call.user)?.name.split(" ")[0] ?? "–"),
          el("td", { class: "number" }, call.status ? String(call.status) : "…"),
        ),
      ),
    );
  });

  async function showTotals() {
    try {
      const meter = await sandbox("GET", "calls");
      const number = new Intl.NumberFormat("en");
      byId("totals").textContent =
        `${number.format(meter.total.calls)} ${meter.total.calls === 1 ? "call" : "calls"}, ${number.format(meter.total.units)} quota units; ` +
        `at most ${meter.max_in_flight} at once and ${number.format(meter.max_per_minute.calls)} in a minute. Newest first.`;
    } catch {
      // The overview's own trouble says it.
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { what, whom, times } = Object.fromEntries(new FormData(form));
    const fault = structuredClone(FAULTS[what]);
    if (whom) fault.match = { ...fault.match, user: whom };
    if (times) fault.times = Number(times);
    order([...faults, fault], "The fault is in force.");
  });
  byId("clear-faults").addEventListener("click", () => act("All faults are cleared.", () => sandbox("DELETE", "faults")));
  byId("reset-calls").addEventListener("click", () => act("The meter is at zero.", () => sandbox("DELETE", "calls")));
  byId("pause").addEventListener("click", (event) => {
    paused = !paused;
    event.target.setAttribute("aria-pressed", String(paused));
  });

  return {
    show({ overview }) {
      faults = overview.faults;
      showFaults(overview.faults);
      showPeople(overview.people);
      if (paused) return;
      showCalls(overview.calls);
      showTotals();
    },
  };
}
