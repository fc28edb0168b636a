"use strict";

// Whatever a user wrote reaches the page through textContent alone, never as markup.
const $ = (id) => document.getElementById(id);
const user = () => $("user").value.trim();
let turn = 0;

function headers() {
  const key = $("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

async function call(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(path, { headers: headers(), ...options });
  const data = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(data.error?.message ?? `The server answered ${response.status}.`);
  return data;
}

const person = (path, body) => call(`users/${encodeURIComponent(user())}/${path}`, body);

async function load() {
  for (const name of document.querySelectorAll(".name")) name.textContent = user();
  show(await person("preferences"));
}

function show(known) {
  const open = new Set([...document.querySelectorAll("#readings li details[open]")].map((d) => d.dataset.key));
  const readings = known.readings.filter((r) => r.locked || r.confidence >= known.floor);
  $("readings").replaceChildren(...readings.map((r) => line(r, open.has(r.key))));
  $("nothing").hidden = readings.length > 0;
}

function line(reading, open) {
  const item = $("reading").content.cloneNode(true).firstElementChild;
  const details = item.querySelector("details");
  const fill = item.querySelector(".fill");
  const width = Math.abs(reading.value) * 50;
  details.dataset.key = reading.key;
  item.querySelector(".pole").textContent = reading.pole;
  item.querySelector(".number").textContent =
    `${reading.value >= 0 ? "+" : "−"}${Math.abs(reading.value).toFixed(2)} · ${reading.locked ? "set" : `${Math.round(reading.confidence * 100)}%`}`;
  item.querySelector(".number").title = reading.locked ? "set by hand" : `confidence ${reading.confidence.toFixed(2)}`;
  fill.classList.toggle("negative", reading.value < 0);
  fill.style.width = `${width}%`;
  fill.style.left = `${reading.value < 0 ? 50 - width : 50}%`;
  item.querySelector(".low").textContent = reading.low;
  item.querySelector(".high").textContent = reading.high;
  const slider = item.querySelector("input");
  slider.value = reading.value;
  slider.setAttribute("aria-label", `${reading.low} to ${reading.high}`);
  item.querySelector(".release").hidden = !reading.locked;
  item.querySelector(".lock").addEventListener("click", () =>
    act(async () => show(await person("correct", { dimension: reading.key, value: Number(slider.value) })), "Set by hand."));
  item.querySelector(".release").addEventListener("click", () =>
    act(async () => show(await person("correct", { dimension: reading.key, value: null })), "Inferred again."));
  details.addEventListener("toggle", () => details.open && act(() => evidence(item, reading.key)));
  details.open = open;
  return item;
}

async function evidence(item, key) {
  const found = await person(`explain/${encodeURIComponent(key)}`);
  const entries = found.slice(0, 5).map((each) => {
    const entry = document.createElement("li");
    const text = each.kind === "comparison" ? `preferred “${each.texts[1]}” to “${each.texts[2]}”` : `“${each.texts[0] ?? "set by hand"}”`;
    entry.textContent = `${each.weight >= 0 ? "+" : "−"} ${text}`;
    return entry;
  });
  item.querySelector(".evidence").replaceChildren(...entries);
}

async function act(work, done = "") {
  try {
    await work();
    say(done);
  } catch (error) {
    say(error.message, true);
  }
}

async function stream(target, persona, question) {
  const body = { user: user(), messages: [{ role: "user", content: question }], stream: true, persona, max_tokens: 160 };
  const response = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body: JSON.stringify(body) });
  if (!response.ok) throw new Error((await response.json()).error?.message ?? `The server answered ${response.status}.`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let why = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return why;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") continue;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      target.textContent += event.choices[0]?.delta?.content ?? "";
      why = event.persona ?? why;
    }
  }
}

async function ask(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  const question = $("question").value;
  button.disabled = true;
  $("base").textContent = $("aligned").textContent = $("why").textContent = "";
  $("feedback").hidden = true;
  turn += 1;
  await act(async () => {
    const [, why] = await Promise.all([
      stream($("base"), { mode: "off", record: false }, question),
      stream($("aligned"), { thread_id: `page-${turn}` }, question),
    ]);
    const shaped = Object.keys({ ...(why?.dimensions ?? {}), ...(why?.steered ?? {}) });
    $("why").textContent = shaped.length ? `Shaped by: ${shaped.join(", ")}.` : "Nothing known shaped this reply.";
    $("feedback").hidden = $("base").textContent === $("aligned").textContent;
    $("feedback").dataset.question = question;
    await load();
  });
  button.disabled = false;
}

async function prefer(better) {
  const worse = better === "base" ? "aligned" : "base";
  const given = { prompt: $("feedback").dataset.question, chosen: $(better).textContent, rejected: $(worse).textContent };
  await person("feedback", given);
  $("feedback").hidden = true;
  await load();
}

async function save() {
  const data = await person("export");
  const link = document.createElement("a");
  link.href = `data:application/json;charset=utf-8,${encodeURIComponent(JSON.stringify(data, null, 1))}`;
  link.download = `persona-align-${user()}.json`;
  link.click();
}

async function erase() {
  if ($("sure").returnValue !== "erase") return;
  const receipt = await person("forget", {});
  $("receipt").textContent = JSON.stringify(receipt, null, 2);
  $("receipt").hidden = false;
  await load();
}

$("user").value = new URLSearchParams(location.search).get("user") || $("user").value;
$("who").addEventListener("submit", (event) => {
  event.preventDefault();
  $("receipt").hidden = true;
  act(load);
});
$("ask").addEventListener("submit", ask);
for (const button of $("feedback").querySelectorAll("button")) {
  button.addEventListener("click", () => act(() => prefer(button.dataset.better), "Thank you, that counts from now on."));
}
$("export").addEventListener("click", () => act(save, "Exported."));
$("forget").addEventListener("click", () => $("sure").showModal());
$("sure").addEventListener("close", () => act(erase));
act(load);
