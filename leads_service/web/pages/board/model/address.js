// The page's address: what is looked at, as a query string. Its filters are the API's own, so a view can be sent on.
const OWN = ["view", "by", "lead"]; // the page's; every other parameter is a filter of the API
export const VIEWS = ["board", "table", "figures", "import"];
export const GROUPS = ["stage", "owner", "source", "segment"];
export const FILTERS = ["q", "stage", "status", "owner", "source", "segment", "city", "company", "tag", "next_step",
  "next_step_from", "next_step_to", "created_from", "created_to", "interest_level_min", "interest_level_max", "without"];

let listener = () => {};

// {view, by, lead, sort, filters}: filters is a URLSearchParams without the page's own parameters and the order.
export function place(address = location) {
  const given = new URL(address, location).searchParams;
  const one = (name, known) => (known.includes(given.get(name)) ? given.get(name) : known[0]);
  const filters = new URLSearchParams([...given].filter(([name]) => ![...OWN, "sort"].includes(name)));
  return { view: one("view", VIEWS), by: one("by", GROUPS), lead: given.get("lead"), sort: given.get("sort"), filters };
}

// The address of another place: this one with `changes`; null takes a parameter out, an array gives it several times.
export function addressOf(changes, keep = location.search) {
  const query = new URLSearchParams(keep);
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of [value].flat()) if (one !== null && one !== "") query.append(name, one);
  }
  return `${location.pathname}${query.size ? `?${query}` : ""}`;
}

// The addresses of many leads at once, by their ids.
export function leadAddresses() {
  const begin = addressOf({ lead: null });
  return (id) => `${begin}${begin.includes("?") ? "&" : "?"}lead=${id}`;
}

// The address of a list that the API names ("/leads/?stage=new"), as a table.
export const listAddress = (href, more = {}) =>
  addressOf({ view: "table", ...more }, href.slice(href.indexOf("?") + 1 || href.length));

// Go there. A place that only a little is typed into is put in the place of the one before.
export function go(changes, { instead = false, keep } = {}) {
  history[instead ? "replaceState" : "pushState"](null, "", addressOf(changes, keep));
  listener();
}

// A link of the page itself leads on without loading it anew.
export function follow(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  history.pushState(null, "", event.currentTarget.getAttribute("href"));
  listener();
}

export function onPlace(act) {
  listener = act;
  addEventListener("popstate", act);
}
