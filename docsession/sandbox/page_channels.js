// Who is told of changes, and what is to go wrong with that.

import { sandbox } from "./api.js";
import { byId, el, onDifference, refill } from "./dom.js";

const ORDERS = {
  "be lost": { do: "drop" },
  "come twice": { do: "duplicate" },
  "come 10 seconds late": { do: "delay", seconds: 10 },
  "begin 5 seconds after the watch is answered": { do: "late_sync", seconds: 5 },
};

const IN_WORDS = {
  drop: () => "are lost",
  duplicate: () => "come twice",
  delay: ({ seconds }) => `come ${seconds} s late`,
  late_sync: ({ seconds }) => `begin ${seconds} s after the watch is answered`,
};

function inWords(order) {
  const often = order.times ? `${order.times} more` : "until cleared";
  return `Notifications ${IN_WORDS[order.do](order)} (${often})`;
}

export function channels({ act, personWith }) {
  const form = byId("order");
  form.elements.what.append(...Object.keys(ORDERS).map((name) => el("option", {}, name)));

  const order = (asked, said) => act(said, () => sandbox("POST", "channels", asked));

  const showChannels = onDifference((list) => {
    refill(
      byId("channels"),
      list.map((channel) => {
        const name = personWith(channel.user)?.name ?? channel.user;
        const until = new Date(channel.expires).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
        const number = channel.messages === 1 ? "1 message" : `${channel.messages} messages`;
        const what = channel.resource === "changes" ? "changes" : `the file ${channel.resource}`;
        return el("li", {}, el("span", {}, `${name} is told of ${what} at ${channel.address}: ${number}, until ${until}`));
      }),
    );
    byId("channels-none").hidden = list.length > 0;
    byId("end-channels").disabled = list.length === 0;
  });

  const showOrders = onDifference((list) => {
    refill(byId("orders"), list.map((each) => el("li", {}, el("span", {}, inWords(each)))));
    byId("clear-orders").disabled = list.length === 0;
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { what, times } = Object.fromEntries(new FormData(form));
    order({ ...ORDERS[what], ...(times && { times: Number(times) }) }, "The order is in force.");
  });
  byId("end-channels").addEventListener("click", () => order({ do: "expire" }, "All channels have ended."));
  byId("clear-orders").addEventListener("click", () => act("All orders are cleared.", () => sandbox("DELETE", "channels")));

  return {
    show({ overview }) {
      showChannels(overview.channels);
      showOrders(overview.orders);
    },
  };
}
