// The open file: its name, text and people, and what may be done with it as whoever one plays.

import { drive, path, sandbox } from "./api.js";
import { byId, el, onDifference, portrait, refill, when } from "./dom.js";
import { discussion } from "./page_discussion.js";
import { kind } from "./page_files.js";

const RANK = ["", "reader", "commenter", "writer", "fileOrganizer", "organizer", "owner"];
const GIVEN = { "": "no access", reader: "reader", commenter: "commenter", writer: "writer" };
const EDITABLE = 20000;

const atLeast = (role, wanted) => RANK.indexOf(role) >= RANK.indexOf(wanted);

/** A field that follows what the server has, unless somebody is writing in it. */
function following(field, hint) {
  let known = "";
  const typed = () => field.value !== known;
  return {
    follow(value) {
      const changed = value !== known;
      if (!typed()) field.value = value;
      else if (changed && field.value !== value) hint("It was changed meanwhile by somebody else.");
      known = value;
      if (!typed()) hint("");
    },
    reset(value) {
      known = value;
      field.value = value;
      hint("");
    },
  };
}

function hinting(line) {
  return (text) => {
    line.textContent = text;
    line.hidden = !text;
  };
}

export function openFile(tools) {
  const { act, actor, open } = tools;
  let file = null;
  let shownId = null;
  const name = following(byId("rename").elements.name, hinting(byId("rename").querySelector(".hint")));
  const text = following(byId("text"), hinting(byId("text-hint")));
  const comments = discussion(tools);

  const showSharing = onDifference(({ people, roles, anyone, may }) => {
    refill(byId("sharing"), [
      ...people.map((person) => shared(person.name, person, roles[person.email] ?? "", may)),
      shared("Anyone with the link", null, anyone ?? "", may),
    ]);
  });

  function shared(who, person, role, may) {
    const key = person?.email ?? "anyone";
    if (!(role in GIVEN)) return el("li", {}, person && portrait(person), el("span", {}, who), el("span", { class: `role ${role}` }, role));
    const select = el(
      "select",
      { "data-key": key, "aria-label": `Role of ${who}`, disabled: !may, change: () => share(person, role, select.value, who) },
      ...Object.entries(GIVEN).map(([value, words]) => el("option", { value }, words)),
    );
    select.value = role;
    return el("li", {}, person ? portrait(person) : el("span", { class: "portrait" }), el("span", {}, who), select);
  }

  async function share(person, before, role, who) {
    const permissions = path`files/${file.id}/permissions`;
    const done = await act(role ? `${who}: ${role} of “${file.name}”.` : `${who}: no access to “${file.name}” any more.`, async () => {
      const id = before && (await permissionId(permissions, person));
      if (id && role) await drive(actor().email, "PATCH", `${permissions}/${id}`, { body: { role } });
      else if (id) await drive(actor().email, "DELETE", `${permissions}/${id}`);
      else await drive(actor().email, "POST", permissions, { body: { role, ...(person ? { type: "user", emailAddress: person.email } : { type: "anyone" }) } });
    });
    // What is refused goes back to how it is.
    if (!done) byId("sharing").querySelector(`[data-key="${CSS.escape(person?.email ?? "anyone")}"]`).value = before;
  }

  async function permissionId(permissions, person) {
    const answer = await drive(actor().email, "GET", permissions, { query: { fields: "permissions(id,type,emailAddress)", pageSize: "100" } });
    return answer.permissions.find((each) => (person ? each.emailAddress === person.email : each.type === "anyone"))?.id;
  }

  const showRole = onDifference(({ who, role, owner }) => {
    const line = role ? [`${who.name} is `, el("span", { class: `role ${role}` }, role), "."] : [`${who.name} cannot see this file.`];
    if (owner && owner.email !== who.email) {
      line.push(" ", el("button", { type: "button", class: "link", click: () => tools.become(owner.email) }, `Be ${owner.name}, who owns it`));
    }
    byId("file-role").replaceChildren(...line);
  });

  function showFacts(overview, state) {
    const person = actor();
    const role = file.roles[person.email] ?? file.anyone ?? "";
    const editor = tools.personWith(file.modifiedBy);
    byId("file-title").textContent = file.name;
    byId("file-facts").textContent =
      `${kind(file)}, version ${file.version}, changed ${when(file.modifiedTime, overview.time)}` +
      (editor ? ` by ${editor.name}` : "") + (file.trashed ? "; in the trash" : "");
    showRole({ who: person, role, owner: tools.personWith(file.owner) });
    const writes = atLeast(role, "writer");
    const readable = Boolean(role) && file.text !== null;
    const short = file.text !== null && new TextEncoder().encode(file.text).length < EDITABLE;
    byId("edit").hidden = !readable;
    byId("text").readOnly = !writes || !short;
    for (const button of byId("edit").querySelectorAll("button")) button.hidden = !writes || !short;
    for (const control of byId("rename").elements) control.disabled = !writes;
    for (const control of byId("comment").elements) control.disabled = !atLeast(role, "commenter");
    byId("trash").textContent = file.trashed ? "Take out of the trash" : "Move to trash";
    byId("trash").disabled = !atLeast(role, file.driveId ? "writer" : "owner");
    byId("delete").disabled = !atLeast(role, file.driveId ? "organizer" : "owner");
    showSharing({ people: overview.people, roles: file.roles, anyone: file.anyone, may: writes });
    comments.show({ file, role, state });
  }

  function show(state) {
    const { overview, fileId } = state;
    file = overview.files.find((each) => each.id === fileId) ?? null;
    byId("file-parts").hidden = file === null;
    if (file === null) {
      shownId = null;
      byId("file-title").textContent = fileId ? "The file is gone" : "No file is open";
      byId("file-facts").textContent = "Choose one from the list to read, edit, discuss and share it.";
      return;
    }
    if (shownId === file.id) {
      name.follow(file.name);
      text.follow(file.text ?? "");
    } else {
      name.reset(file.name);
      text.reset(file.text ?? "");
      shownId = file.id;
    }
    showFacts(overview, state);
  }

  byId("rename").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = event.target.elements.name.value;
    act(`The file is called “${wanted}” now.`, () => drive(actor().email, "PATCH", path`files/${file.id}`, { body: { name: wanted } }));
  });
  byId("edit").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = { email: actor().email, file: file.id, text: byId("text").value };
    act(`${actor().name} saved “${file.name}”.`, () => sandbox("POST", "edit", body));
  });
  byId("undo").addEventListener("click", () => text.reset(file.text ?? ""));
  byId("trash").addEventListener("click", () => {
    const trashed = !file.trashed;
    act(trashed ? `“${file.name}” is in the trash.` : `“${file.name}” is out of the trash.`, () =>
      drive(actor().email, "PATCH", path`files/${file.id}`, { body: { trashed } }),
    );
  });
  byId("delete").addEventListener("click", () => {
    byId("sure-question").textContent = `Delete “${file.name}” for good?`;
    byId("sure").returnValue = "no";
    byId("sure").showModal();
  });
  byId("sure").addEventListener("close", async () => {
    if (byId("sure").returnValue !== "yes") return;
    const doomed = file;
    const done = await act(`“${doomed.name}” is deleted.`, () => drive(actor().email, "DELETE", path`files/${doomed.id}`));
    if (!done) return;
    open("");
    byId("files").focus();
  });

  return { show };
}
