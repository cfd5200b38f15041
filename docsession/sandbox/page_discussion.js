// The open file's comments, as whoever one plays sees them.

import { drive, path } from "./api.js";
import { byId, el, keyed, moment, onDifference } from "./dom.js";

const FIELDS =
  "nextPageToken,comments(id,content,createdTime,modifiedTime,resolved,author(displayName,me),quotedFileContent(value)," +
  "replies(id,content,action,createdTime,author(displayName,me)))";

export function discussion({ act, actor, say }) {
  let place = null;
  let wanted = "";
  const showComments = keyed(byId("comments"), comment);

  function said(part, extra = "") {
    return el("p", { class: "by" }, el("strong", {}, part.author.displayName), " ", moment(part.createdTime), extra && ` · ${extra}`);
  }

  function comment({ id }) {
    const body = el("div");
    const reply = el("input", { name: "content", "aria-label": "Reply", placeholder: "Reply", autocomplete: "off" });
    const resolve = el("button", { type: "button", class: "link" });
    const remove = el("button", { type: "button", class: "link danger", "aria-label": "Delete this comment" }, "Delete");
    const form = el("form", { class: "inline", submit: answer }, reply, el("button", {}, "Reply"));
    const node = el("li", {}, body, form, el("div", { class: "row" }, resolve, remove));
    let shown = null;

    async function answer(event) {
      event.preventDefault();
      if (!reply.value.trim()) return reply.focus();
      if (await answered("The reply is there.", { content: reply.value })) reply.value = "";
    }

    function answered(words, content) {
      const replies = path`files/${place.file}/comments/${id}/replies`;
      return act(words, () => drive(actor().email, "POST", replies, { body: content, query: { fields: "id" } }));
    }

    resolve.addEventListener("click", () =>
      shown.resolved ? answered("The comment is open again.", { action: "reopen" }) : answered("The comment is resolved.", { action: "resolve" }),
    );
    remove.addEventListener("click", () =>
      act("The comment is deleted.", () => drive(actor().email, "DELETE", path`files/${place.file}/comments/${id}`)),
    );

    const draw = onDifference((now) => {
      body.replaceChildren(
        said(now, now.resolved ? "resolved" : ""),
        ...(now.quotedFileContent ? [el("blockquote", {}, now.quotedFileContent.value)] : []),
        el("p", {}, now.content),
        ...(now.replies ?? []).map((each) =>
          el("div", { class: "reply" }, said(each, { resolve: "resolved it", reopen: "opened it again" }[each.action] ?? ""), el("p", {}, each.content ?? "")),
        ),
      );
      node.className = now.resolved ? "resolved" : "";
      resolve.textContent = now.resolved ? "Open again" : "Resolve";
    });
    return {
      node,
      show(now) {
        shown = now;
        draw(now);
        for (const control of [...form.elements, resolve, remove]) control.disabled = !place.may;
      },
    };
  }

  async function fetched(file) {
    const found = [];
    let pageToken = "";
    do {
      const query = { fields: FIELDS, pageSize: "100", ...(pageToken && { pageToken }) };
      const page = await drive(actor().email, "GET", path`files/${file}/comments`, { query });
      found.push(...page.comments);
      pageToken = page.nextPageToken ?? "";
    } while (pageToken);
    return found;
  }

  async function refresh(key) {
    try {
      const found = await fetched(place.file);
      if (key !== wanted) return;
      showComments(found);
      none(...(found.length ? [] : ["Nobody has said anything yet."]));
    } catch (error) {
      if (key !== wanted) return;
      // Not asked again by itself: it may be a fault that somebody else is meant to meet.
      say(error.message, { trouble: true });
      none("The comments could not be read. ", el("button", { type: "button", click: () => refresh(key) }, "Try again"));
    }
  }

  function none(...words) {
    byId("comments-none").replaceChildren(...words);
    byId("comments-none").hidden = words.length === 0;
  }

  byId("comment").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const body = { content: form.elements.content.value };
    const done = await act(`${actor().name} commented.`, () =>
      drive(actor().email, "POST", path`files/${place.file}/comments`, { body, query: { fields: "id" } }),
    );
    if (done) form.reset();
  });

  return {
    show({ file, role, state }) {
      place = { file: file.id, may: role !== "" && role !== "reader" };
      const key = JSON.stringify([file.id, file.version, state.actor, role]);
      if (key === wanted) return;
      const another = JSON.parse(wanted || "[]")[0] !== file.id;
      wanted = key;
      if (another || !role) showComments([]);
      if (role) refresh(key);
      else none(`${actor().name} cannot see what is said here.`);
    },
  };
}
