// The pool explorer. All text of the data is set with textContent; the only markup is built here, element by element.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const root = document.getElementById("explorer");
  const form = root.querySelector("form");
  const status = root.querySelector(".matches");
  const results = root.querySelector(".results");
  const more = root.querySelector(".more");
  const dialog = root.querySelector("dialog");
  const PAGE = 48;
  const FIELDS = ["q", "kind", "source", "style", "selection", "judged", "capability", "low", "high", "sort", "view"];
  const PREFIX = "#explorer?";
  const capabilityAt = new Map(data.capabilities.map(([slug], i) => [slug, i]));

  const samples = data.samples.map((s, at) => ({
    ...s, at, best: Math.max(...(s.scores || []).map((v) => v ?? -1), -1),
    text: [s.id, s.source, ...s.turns.map(([, text]) => text)].join("\n").toLowerCase(),
  }));
  const rejects = data.rejects.rows.map((r, at) => ({
    ...r, at, text: [r.id, r.source, r.reason, r.detail].join("\n").toLowerCase(),
  }));
  let matches = [];
  let shown = PAGE;
  let opener = null;

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  function options(name, pairs) {
    form.elements[name].replaceChildren(...pairs.map(([value, label]) => element("option", { value, textContent: label })));
  }

  function counted(values) {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([v, n]) => [v, `${v} (${n})`]);
  }

  function fillOptions() {
    const reasons = counted(rejects.map((r) => r.reason)).map(([v, label]) => [`rejected:${v}`, `rejected: ${label}`]);
    const rejected = rejects.length ? [["rejected", `rejected (${data.rejects.total})`], ...reasons] : [];
    options("kind", [["", "samples of the pool"], ...rejected]);
    options("source", [["", "all"], ...counted(samples.map((s) => s.source))]);
    options("style", [["", "all"], ...counted(samples.flatMap((s) => s.styles || []))]);
    options("selection", [["", "any"], ["picked", "picked by any"], ["unpicked", "picked by none"],
      ...data.selections.flatMap((n) => [[`in:${n}`, `picked by ${n}`], [`out:${n}`, `not picked by ${n}`]])]);
    options("judged", [["", "all"], ["yes", "judged"], ["no", "not judged"]]);
    options("capability", [["", "any (the highest)"], ...data.capabilities]);
    options("sort", [["", "pool order"], ["high", "score, highest first"], ["low", "score, lowest first"],
      ["long", "longest first"], ["short", "shortest first"], ...data.selections.map((n) => [`pick:${n}`, `pick order of ${n}`])]);
  }

  const score = (s, capability) => (capability ? s.scores?.[capabilityAt.get(capability)] ?? null : s.best < 0 ? null : s.best);

  function inSelection(s, choice) {
    if (!choice) return true;
    const picks = s.picks || {};
    if (choice === "picked") return Object.keys(picks).length > 0;
    if (choice === "unpicked") return Object.keys(picks).length === 0;
    const name = choice.slice(choice.indexOf(":") + 1);
    return choice.startsWith("in:") === (name in picks);
  }

  function accepts(s, state, words) {
    const value = score(s, state.capability);
    return words.every((w) => s.text.includes(w))
      && (!state.source || s.source === state.source)
      && (!state.style || (s.styles || []).includes(state.style))
      && inSelection(s, state.selection)
      && (!state.judged || (state.judged === "yes") === Boolean(s.judged))
      && (state.low === "" || (value !== null && value >= Number(state.low)))
      && (state.high === "" || (value !== null && value <= Number(state.high)));
  }

  function sortKey(state) {
    if (state.sort.startsWith("pick:")) return (s) => s.picks?.[state.sort.slice(5)] ?? Infinity;
    return {
      high: (s) => -(score(s, state.capability) ?? -1),
      low: (s) => score(s, state.capability) ?? Infinity,
      long: (s) => -(s.tokens ?? s.text.length),
      short: (s) => s.tokens ?? s.text.length,
    }[state.sort] || ((s) => s.at);
  }

  const read = () => Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]));

  function update() {
    const state = read();
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const rejected = state.kind.startsWith("rejected");
    if (rejected) {
      const reason = state.kind.slice("rejected:".length);
      matches = rejects.filter((r) => (!reason || r.reason === reason) && (!state.source || r.source === state.source)
        && words.every((w) => r.text.includes(w)));
    } else {
      const key = sortKey(state);
      matches = samples.filter((s) => accepts(s, state, words)).sort((a, b) => key(a) - key(b) || a.at - b.at);
    }
    const total = rejected ? data.rejects.total : samples.length;
    const held = rejected && rejects.length < total ? ` (the page holds the first ${rejects.length})` : "";
    status.textContent = `${matches.length} of ${total} ${rejected ? "rejected records" : "samples"}${held}`;
    draw(state, rejected);
  }

  function draw(state, rejected) {
    const visible = matches.slice(0, shown);
    more.hidden = matches.length <= shown;
    results.className = `results ${rejected || state.view === "table" ? "scroll" : "cards"}`;
    if (rejected) results.replaceChildren(rejectTable(visible));
    else if (state.view === "table") results.replaceChildren(sampleTable(visible, state));
    else results.replaceChildren(...visible.map((s) => card(s, state)));
  }

  function images(s, size) {
    const box = element("div", { className: `images n${Math.max(1, Math.min(s.images.length, 2))} ${size}` });
    s.images.forEach((src, i) => box.append(element("img", { src, alt: `image ${i + 1} of ${s.image_count}`, loading: "lazy" })));
    return box;
  }

  function tags(s, state) {
    const row = element("p", { className: "tags" });
    const value = score(s, state.capability);
    if (value !== null) row.append(element("span", { textContent: `score ${value.toFixed(2)}` }));
    for (const name of Object.keys(s.picks || {}).slice(0, 3)) row.append(element("span", { textContent: name }));
    if (s.flaw) row.append(element("span", { className: "warn", textContent: s.flaw }));
    return row;
  }

  function card(s, state) {
    const button = element("button", { type: "button", className: "open" });
    const turns = s.turns.slice(0, 2).map(([role, text]) => element("p", {
      className: role === "assistant" ? "answered" : "asked", textContent: text.slice(0, 180) }));
    const said = element("div", { className: "said" }, ...turns);
    const footer = element("footer", {}, tags(s, state), element("p", { className: "id", textContent: `${s.id} · ${s.source}` }));
    button.append(...(s.images.length ? [images(s, "small")] : []), said, footer);
    button.addEventListener("click", () => openSample(s, button));
    return element("article", {}, button);
  }

  function table(header, rows) {
    const head = element("tr", {}, ...header.map((h) => element("th", { scope: "col", textContent: h })));
    return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  function sampleTable(list, state) {
    const rows = list.map((s) => {
      const button = element("button", { type: "button", className: "link", textContent: s.id });
      button.addEventListener("click", () => openSample(s, button));
      const value = score(s, state.capability);
      const cells = [s.source, (s.styles || []).join(", "), value === null ? "–" : value.toFixed(2), s.tokens ?? "–",
        Object.entries(s.picks || {}).map(([n, p]) => `${n} ${p}`).join(", "), s.judged ? "yes" : "", s.flaw || ""];
      return element("tr", {}, element("th", { scope: "row" }, button), ...cells.map((c) => element("td", { textContent: c })));
    });
    return table(["id", "source", "styles", "score", "tokens", "picked (number)", "judged", "flaw"], rows);
  }

  function rejectTable(list) {
    const rows = list.map((r) => element("tr", {}, element("th", { scope: "row", textContent: r.id }),
      ...[r.source, r.reason, r.detail].map((c) => element("td", { textContent: c }))));
    return table(["id", "source", "reason", "detail"], rows);
  }

  function scoreBars(s) {
    const list = element("ul", { className: "bars" });
    data.capabilities.forEach(([, name], i) => {
      const value = s.scores[i];
      const bar = element("i", { className: "s0" });
      bar.style.width = `${20 * (value ?? 0)}%`;
      list.append(element("li", {}, element("span", { className: "name", textContent: name }),
        element("span", { className: "lengths" }, bar),
        element("span", { className: "value", textContent: value === null ? "–" : value.toFixed(2) })));
    });
    return list;
  }

  function detail(s) {
    const left = element("div", { className: "left" }, ...(s.images.length ? [images(s, "large")] : []));
    if (s.image_count > s.images.length) {
      left.append(element("p", { className: "note", textContent: `${s.image_count} images, ${s.images.length} shown` }));
    }
    for (const [role, text] of s.turns) {
      left.append(element("p", { className: role === "assistant" ? "answered" : "asked" },
        element("b", { textContent: role }), element("br"), text));
    }
    const right = element("div", { className: "right" });
    const facts = [["source", s.source], ["styles", (s.styles || []).join(", ") || "–"], ["tokens", s.tokens ?? "–"],
      ["judged", s.judged ? "yes" : "no"], ...(s.flaw ? [["flaw", s.flaw]] : [])];
    right.append(element("dl", {}, ...facts.flatMap(([k, v]) => [element("dt", { textContent: k }), element("dd", { textContent: v })])));
    if (s.scores) right.append(element("h4", { textContent: "Scores" }), scoreBars(s));
    if (data.selections.length) right.append(element("h4", { textContent: "Selections" }), reasonList(s));
    return [left, right];
  }

  function reasonList(s) {
    const list = element("ul", { className: "reasons" });
    for (const name of data.selections) {
      const pick = s.picks?.[name];
      const why = s.reasons[name] || (pick ? `taken: pick ${pick}` : "not taken");
      list.append(element("li", { className: pick ? "taken" : "" }, element("b", { textContent: name }), ` ${why}`));
    }
    return list;
  }

  function showSample(s) {
    dialog.dataset.at = s.at;
    dialog.querySelector("h3").textContent = s.id;
    dialog.querySelector(".detail").replaceChildren(...detail(s));
    const at = matches.indexOf(s);
    dialog.querySelector(".previous").disabled = at <= 0;
    dialog.querySelector(".next").disabled = at < 0 || at === matches.length - 1;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function openSample(s, from) {
    opener = from;
    showSample(s);
    store(true);
  }

  function step(by) {
    const next = matches[matches.indexOf(samples[Number(dialog.dataset.at)]) + by];
    if (!next || !("turns" in next)) return;
    showSample(next);
    store(false);
  }

  // The state lives in the address: #explorer?q=…&source=…&id=… A change of a filter replaces the entry of the history
  // while one types and adds one otherwise, so that the back button undoes it.
  function address() {
    const pairs = new URLSearchParams();
    for (const [name, value] of Object.entries(read())) if (value) pairs.set(name, value);
    if (dialog.open) pairs.set("id", samples[Number(dialog.dataset.at)].id);
    const text = pairs.toString();
    return text ? PREFIX + text : "#explorer";
  }

  function store(push) {
    const target = address();
    if (target === location.hash) return;
    history[push ? "pushState" : "replaceState"](null, "", target);
  }

  function restore() {
    const known = location.hash.startsWith(PREFIX);
    if (!known && location.hash !== "#explorer" && location.hash !== "") return;
    const pairs = new URLSearchParams(known ? location.hash.slice(PREFIX.length) : "");
    for (const name of FIELDS) form.elements[name].value = pairs.get(name) || "";
    for (const select of form.querySelectorAll("select")) if (select.selectedIndex < 0) select.selectedIndex = 0;
    shown = PAGE;
    update();
    const sample = pairs.has("id") ? samples.find((s) => s.id === pairs.get("id")) : undefined;
    if (sample) showSample(sample);
    else if (dialog.open) dialog.close();
    if (pairs.has("id") && !sample) status.textContent += `; ${pairs.get("id")} is not among the samples on this page`;
    if (known) root.scrollIntoView();
  }

  function changed(push) {
    shown = PAGE;
    update();
    store(push);
  }

  fillOptions();
  form.hidden = false;
  form.addEventListener("submit", (e) => e.preventDefault());
  form.addEventListener("input", (e) => changed(e.target.tagName === "SELECT"));
  form.addEventListener("reset", () => setTimeout(() => changed(true)));
  more.addEventListener("click", () => { shown += PAGE; draw(read(), read().kind.startsWith("rejected")); });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.querySelector(".previous").addEventListener("click", () => step(-1));
  dialog.querySelector(".next").addEventListener("click", () => step(1));
  dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { store(true); opener?.focus(); });
  document.addEventListener("keydown", (e) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || "");
    if (dialog.open && e.key === "ArrowLeft") step(-1);
    else if (dialog.open && e.key === "ArrowRight") step(1);
    else if (!dialog.open && !typing && e.key === "/") { e.preventDefault(); form.elements.q.focus(); }
  });
  addEventListener("popstate", restore);
  addEventListener("hashchange", restore);
  restore();
})();
