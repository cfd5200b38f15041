/** A document's comments: read as they come, written, answered, resolved. */

import { avatar, explain, flash, h, icon, time } from "./demo_dom.js";

export class Discussion {
  #session;
  #fileId;
  #list = h("ul.comments");
  #count = h("span.count");
  #empty = h("p.quiet-text", "No comments yet.");
  #kept = new Map(); // comment id -> its parts; kept, so that what is being typed stays

  constructor(session, fileId) {
    this.#session = session;
    this.#fileId = fileId;
    const send = (content) => this.#write("comments.create", { requestBody: { content } });
    this.element = h(
      "section.discussion",
      { "aria-label": "Comments" },
      h("h3", "Comments ", this.#count),
      this.#empty,
      this.#list,
      writing("Write a comment", "Comment", send).form,
    );
  }

  /** All comments there are, oldest first. */
  show(comments) {
    this.#count.textContent = comments.length ? String(comments.length) : "";
    this.#empty.hidden = comments.length > 0;
    const there = new Set(comments.map(({ id }) => id));
    for (const [id, { item }] of this.#kept) {
      if (there.has(id)) continue;
      item.remove();
      this.#kept.delete(id);
    }
    for (const comment of comments) {
      const parts = this.#kept.get(comment.id) ?? this.#make(comment.id);
      this.#fill(parts, comment);
      this.#list.append(parts.item.isConnected ? [] : parts.item);
    }
  }

  flash(id) {
    const parts = this.#kept.get(id);
    if (parts) flash(parts.item);
  }

  #make(id) {
    const parts = { said: h("div"), replies: h("ul.replies"), resolve: h("button.quiet", { type: "button" }) };
    const send = (content) => this.#write("replies.create", { commentId: id, requestBody: { content } });
    const { form, error, field } = writing("Reply", "Reply", send, () => close());
    const close = () => {
      form.hidden = true;
      parts.reply.hidden = false;
    };
    parts.reply = h(
      "button.quiet",
      {
        type: "button",
        onclick: () => {
          form.hidden = false;
          parts.reply.hidden = true;
          field.focus();
        },
      },
      icon("reply"),
      "Reply",
    );
    parts.resolve.addEventListener("click", async () => {
      parts.resolve.disabled = true;
      error.hidden = true;
      try {
        const action = parts.resolved ? "reopen" : "resolve";
        await this.#write("replies.create", { commentId: id, requestBody: { action } });
      } catch (failure) {
        error.textContent = explain(failure);
        error.hidden = false;
        form.after(error);
      }
      parts.resolve.disabled = false;
    });
    form.hidden = true;
    parts.item = h("li.comment", parts.said, parts.replies, h("p.comment-actions", parts.reply, parts.resolve), form);
    this.#kept.set(id, parts);
    return parts;
  }

  #fill(parts, comment) {
    const shown = JSON.stringify(comment);
    if (parts.shown === shown) return;
    parts.shown = shown;
    parts.resolved = comment.resolved === true;
    parts.item.classList.toggle("resolved", parts.resolved);
    const quote = comment.quotedFileContent?.value;
    parts.said.replaceChildren(...(quote ? [h("blockquote", quote)] : []), remark(comment, parts.resolved));
    const replies = (Array.isArray(comment.replies) ? comment.replies : []).filter((reply) => reply && !reply.deleted);
    parts.replies.replaceChildren(...replies.map((reply) => h("li", remark(reply))));
    parts.resolve.replaceChildren(icon(parts.resolved ? "again" : "check"), parts.resolved ? "Reopen" : "Resolve");
  }

  #write(method, params) {
    return this.#session.call(`drive.${method}`, { fileId: this.#fileId, ...params });
  }
}

/** Who said what when. Only text is shown, never somebody else's HTML. */
function remark({ author, createdTime, content, action }, isResolved = false) {
  const name = author?.displayName ?? "Somebody";
  const tag = isResolved && h("span.tag", icon("check"), "resolved");
  const deed = { __proto__: null, resolve: "resolved this", reopen: "reopened this" }[action];
  return h(
    "div.remark",
    avatar(name, author?.photoLink),
    h(
      "div.remark-text",
      h("p.remark-head", h("strong", name), " ", time(createdTime), tag),
      content && h("p.remark-content", content),
      deed && h("p.quiet-text", deed),
    ),
  );
}

/** A field that grows, its button, and the sentence for when it fails; what was typed stays then. */
function writing(label, button, send, onCancel = null) {
  const field = h("textarea", { rows: 1, maxLength: 4000, placeholder: label, "aria-label": label, required: true });
  const error = h("p.inset.warn", { role: "alert", hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    if (!field.value.trim()) return;
    form.inert = true;
    form.classList.add("busy");
    error.hidden = true;
    try {
      await send(field.value.trim());
      field.value = "";
      grow();
      onCancel?.();
    } catch (failure) {
      error.textContent = explain(failure);
      error.hidden = false;
    }
    form.inert = false;
    form.classList.remove("busy");
    if (!form.hidden) field.focus();
  };
  const grow = () => {
    field.rows = Math.min(8, field.value.split("\n").length);
    form.classList.toggle("typed", field.value.trim() !== "");
  };
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    if (event.key === "Escape") onCancel?.();
  };
  const form = h(
    "form.writing",
    { onsubmit: submit, onkeydown: keys, oninput: () => grow() },
    field,
    h(
      "p.writing-actions",
      h("span.quiet-text", "Ctrl + Enter sends"),
      onCancel && h("button.quiet", { type: "button", onclick: onCancel }, "Cancel"),
      h("button.primary", { type: "submit" }, button),
    ),
    error,
  );
  return { form, field, error };
}
