// What every page needs: elements, requests, keys, messages. Text is only ever set as text.

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
export const TOKEN = meta("token");
export const ALBUM = meta("album");
export const SESSION = meta("session");
export const $ = (query, root = document) => root.querySelector(query);

export const TAB = (() => {
  let name = sessionStorage.getItem("decoupe-tab");
  if (!name) {
    name = crypto.getRandomValues(new Uint32Array(2)).join("-");
    sessionStorage.setItem("decoupe-tab", name);
  }
  return name;
})();

/** An element: `on` holds listeners, `data` data-*, `style` CSS properties, other names are properties or attributes. */
export function el(tag, about = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name === "on") for (const [kind, run] of Object.entries(value)) node.addEventListener(kind, run);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else if (name in node && !name.startsWith("aria")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export class Refused extends Error {
  constructor(message, status, stale) {
    super(message);
    this.status = status;
    this.stale = Boolean(stale);
  }
}

/** One request; JSON in and out unless `bytes` go out or `raw` is asked for. Throws Refused with the server's line. */
export async function ask(path, { json, bytes, method, raw } = {}) {
  const changing = json !== undefined || bytes !== undefined;
  const headers = changing
    ? { "X-Decoupe-Token": TOKEN, "X-Decoupe-Tab": TAB,
        "Content-Type": json !== undefined ? "application/json" : "application/octet-stream" }
    : { "X-Decoupe-Tab": TAB };
  let reply;
  try {
    reply = await fetch(path, {
      method: method ?? (changing ? "POST" : "GET"), headers, credentials: "same-origin", cache: "no-store",
      body: changing ? (json !== undefined ? JSON.stringify(json) : bytes) : undefined,
    });
  } catch {
    throw new Refused("decoupe review does not answer: is it still running in the terminal?", 0);
  }
  if (reply.ok) return raw ? reply : reply.json();
  const text = await reply.text();
  let told = { error: text };
  try { told = JSON.parse(text); } catch { /* plain text */ }
  throw new Refused(told.error || `error ${reply.status}`, reply.status, told.stale);
}

export function tell(message, kind = "bad") {
  const note = el("p", { className: `toast ${kind}`, textContent: message });
  $("#toasts").append(note);
  while ($("#toasts").childElementCount > 3) $("#toasts").firstElementChild.remove();
  setTimeout(() => note.remove(), kind === "bad" ? 9000 : 3500);
}

let waiting = 0;
/** Show that something is being stored until it is; tells what went wrong. Returns undefined after a refusal. */
export async function storing(work) {
  const sign = $("#saved");
  waiting += 1;
  sign.textContent = "saving …";
  sign.className = "saved now";
  try {
    const result = await work();
    if (waiting === 1) { sign.textContent = "saved"; sign.className = "saved"; }
    return result;
  } catch (error) {
    sign.textContent = "not saved";
    sign.className = "saved wrong";
    if (!(error instanceof Refused)) throw error;
    tell(error.message);
    return undefined;
  } finally {
    waiting -= 1;
  }
}
export const busy = () => waiting > 0;

addEventListener("beforeunload", (event) => { if (waiting > 0) event.preventDefault(); });

const writing = (node) => node instanceof HTMLElement && (node.isContentEditable ||
  (node.matches("input, select, textarea") && !node.matches("[type=range], [type=checkbox], [type=radio], [type=color]")));

/** Keys of a page: name (as `event.key`, letters small) -> what they do. Not while somebody writes or a dialog is open. */
export function keys(table) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    if (writing(event.target)) return;
    const command = event.ctrlKey || event.metaKey;
    let name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (command) name = event.shiftKey ? `ctrl+shift+${name}` : `ctrl+${name}`;
    const pressed = event.target instanceof HTMLElement && event.target.matches("button, a, summary, input, select");
    if (pressed && (name === "Enter" || name === " ")) return;
    if (event.target instanceof HTMLElement && event.target.matches("input[type=range]") && name.startsWith("Arrow")) return;
    const run = table[name];
    if (!run) return;
    event.preventDefault();
    run(event);
  });
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
export const WORDS = { ".": "not judged", a: "accepted", r: "rejected", f: "flagged" };
export const VERDICTS = { a: "accepted", r: "rejected", f: "flagged" };

/** Bytes packed with zlib, both ways. */
export async function unpack(reply) {
  const stream = reply.body.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
export async function pack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** An image, decoded and ready to be shown without a flicker. Rejects where it cannot be had. */
export async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

const dialog = $("#keys");
$("#help").addEventListener("click", () => dialog.showModal());
keys({ "?": () => dialog.showModal() });
const here = $('nav [aria-current="page"]');
if (here) here.parentElement.scrollLeft = Math.max(0, here.offsetLeft - here.parentElement.clientWidth / 2 + here.offsetWidth / 2);
