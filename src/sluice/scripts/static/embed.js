/*
 * Sluice: the output of a script, live, in any page.
 *
 *   <script src="https://sluice.example.com/embed.js"></script>
 *   <sluice-log task-id="task-…" token="…"></sluice-log>
 *
 * or new InstallLogViewer(taskId, containerId, { token }),
 * or new InstallManager({ token }).startInstall({ key, version }, { container }).
 *
 * Everything shown is text: nothing of the output is ever read as HTML.
 */
(() => {
  "use strict";
  if (window.SluiceLog) return;

  const WINDOW = 5000; // lines in the page at a time
  const FIRST = 1000; // lines that are read at once, at the start and further back
  const POLL_SECONDS = 2;
  const LIVE_AGAIN_SECONDS = 30;
  const LONGEST_WAIT_SECONDS = 30;
  const PENDING_SECONDS = 5;
  const WAITS = new Set(["unknown", "pending"]);
  const ENDED = new Set(["success", "failed", "canceled", "discarded"]);
  const WORDS = {
    unknown: ["○", "Connecting"],
    refused: ["✕", "Not available"],
    pending: ["○", "Waiting"],
    running: ["▸", "Running"],
    apply_pending: ["◆", "Waits for confirmation"],
    success: ["✓", "Succeeded"],
    failed: ["✕", "Failed"],
    canceled: ["⊘", "Canceled"],
    discarded: ["⊘", "Discarded"],
  };
  const LEVELS = { ERROR: ["✕", "error"], WARN: ["!", "warning"], SUCCESS: ["✓", "success"] };

  const script = document.currentScript;
  const HOME = script?.src ? new URL(".", script.src).href : `${location.origin}/`;

  const sleep = (seconds, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });

  /* --- the way to the server ------------------------------------------------ */

  class Refusal extends Error {
    constructor(status, problem) {
      super(problem.detail || problem.title || `The server answered ${status}.`);
      this.name = "Refusal";
      this.status = status;
      this.problem = problem;
    }

    /** Whether asking again cannot help. */
    get final() {
      return this.status >= 400 && this.status < 500 && this.status !== 408 && this.status !== 429;
    }
  }

  class Server {
    constructor({ server, token, tokenProvider } = {}) {
      this.base = new URL(server ? `${server.replace(/\/+$/, "")}/` : HOME, location.href).href;
      this.provide = tokenProvider || (() => token || "");
    }

    async token() {
      return String((await this.provide()) || "");
    }

    async call(method, path, { query = {}, body, signal } = {}) {
      const url = new URL(path, this.base);
      for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
      const token = await this.token();
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      if (body !== undefined) headers["Content-Type"] = "application/json";
      const answer = await fetch(url, {
        method,
        headers,
        signal,
        cache: "no-store",
        credentials: "omit",
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const read = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Refusal(answer.status, read);
      return read;
    }

    async socket(taskId, after) {
      const url = new URL("v1/log/ws", this.base);
      url.protocol = url.protocol.replace("http", "ws");
      url.searchParams.set("task_id", taskId);
      url.searchParams.set("after", after);
      const token = await this.token();
      return new WebSocket(url, token ? ["sluice.v1", `bearer.${token}`] : ["sluice.v1"]);
    }
  }

  /**
   * Brings every line of a task once and in order: over a WebSocket while that works, over
   * HTTP while it does not, from the last line it brought.
   */
  class Feed {
    constructor(server, taskId, told) {
      this.server = server;
      this.taskId = taskId;
      this.told = told;
      this.next = 0; // lines that were brought or passed over
      this.stopped = new AbortController();
      this.liveAt = 0;
      this.failures = 0;
    }

    stop() {
      this.stopped.abort();
    }

    get over() {
      return this.stopped.signal.aborted;
    }

    history(offset, limit = FIRST) {
      const query = { task_id: this.taskId, offset, limit };
      return this.server.call("GET", "v1/log/history", { query, signal: this.stopped.signal });
    }

    async status() {
      const query = { task_id: this.taskId };
      const signal = this.stopped.signal;
      const status = await this.server.call("GET", "v1/log/status", { query, signal });
      if (!this.over) this.told.status(status);
      return status;
    }

    async run() {
      let begun = false;
      while (!this.over) {
        try {
          begun ||= await this.begin();
          if (begun && (await this.round())) return;
          this.failures = 0;
        } catch (error) {
          if (this.over) return;
          if (error instanceof Refusal && error.final) {
            this.told.refused(error);
            return;
          }
          await this.rest();
        }
      }
    }

    /** Long logs begin with their last lines. */
    async begin() {
      await this.status();
      const { total } = await this.history(0, 1);
      this.next = Math.max(0, total - FIRST);
      this.told.begins(this.next);
      return true;
    }

    /** Live, or over HTTP for a while; true once the log has ended. */
    async round() {
      if (Date.now() >= this.liveAt) {
        const opened = Date.now();
        const { ended, worked } = await this.live();
        if (ended) {
          await this.status().catch(() => {});
          return true;
        }
        if (this.over) return true;
        const stayed = worked && Date.now() - opened > 5000;
        this.liveAt = stayed ? 0 : Date.now() + LIVE_AGAIN_SECONDS * 1000 * (0.5 + Math.random());
        if (stayed) await sleep(Math.random(), this.stopped.signal);
      }
      return this.poll();
    }

    async live() {
      const socket = await this.server.socket(this.taskId, this.next);
      return new Promise((resolve) => {
        let ended = false;
        let worked = false;
        const pending = setInterval(() => this.whilePending(), PENDING_SECONDS * 1000);
        const close = () => socket.close();
        this.stopped.signal.addEventListener("abort", close, { once: true });
        socket.onmessage = ({ data }) => {
          const said = JSON.parse(data);
          if (said.type === "connected") {
            worked = true;
            this.told.connection("live");
          } else if (said.type === "completed") {
            ended = true;
            this.told.status({ status: said.status });
          } else if (said.type === undefined && said.line_num > this.next) {
            this.bring([said], said.line_num);
          }
        };
        socket.onclose = () => {
          clearInterval(pending);
          this.stopped.signal.removeEventListener("abort", close);
          resolve({ ended, worked });
        };
      });
    }

    whilePending() {
      if (this.told.waits()) this.status().catch(() => {});
    }

    async poll() {
      this.told.connection("polling");
      const { messages, next_offset: next, total } = await this.history(this.next);
      if (this.over) return true;
      this.bring(messages, next);
      if (this.next < total) return false;
      const status = await this.status();
      if (ENDED.has(status.status)) {
        // what came between the two answers
        const rest = await this.history(this.next);
        this.bring(rest.messages, rest.next_offset);
        return this.next >= rest.total;
      }
      await sleep(POLL_SECONDS, this.stopped.signal);
      return this.over;
    }

    bring(messages, next) {
      if (this.over) return;
      const first = this.next;
      this.next = next ?? first + messages.length;
      if (messages.length) this.told.lines(first, messages);
    }

    async rest() {
      const most = Math.min(LONGEST_WAIT_SECONDS, 0.5 * 2 ** this.failures++);
      const seconds = most * (0.5 + Math.random() / 2);
      this.told.connection("away", seconds);
      this.liveAt = 0;
      await sleep(seconds, this.stopped.signal);
    }
  }

  /* --- text ------------------------------------------------------------------ */

  const ESCAPES =
    /\x1b\[([0-9;:?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]/g;

  /** The pieces of a line with their classes, as a terminal would show them. */
  function* pieces(line) {
    const text = line.slice(line.replace(/\r+$/, "").lastIndexOf("\r") + 1);
    const style = { bold: false, faint: false, under: false, colour: "" };
    let at = 0;
    for (const found of text.matchAll(ESCAPES)) {
      if (found.index > at) yield [text.slice(at, found.index), classes(style)];
      at = found.index + found[0].length;
      if (found[2] === "m") apply(style, found[1]);
    }
    if (at < text.length) yield [text.slice(at), classes(style)];
  }

  function apply(style, codes) {
    const numbers = codes.split(/[;:]/).map(Number);
    for (let at = 0; at < numbers.length; at++) {
      const code = numbers[at];
      if (code === 0) Object.assign(style, { bold: false, faint: false, under: false, colour: "" });
      else if (code === 1) style.bold = true;
      else if (code === 2) style.faint = true;
      else if (code === 4) style.under = true;
      else if (code === 22) style.bold = style.faint = false;
      else if (code === 24) style.under = false;
      else if (code === 39) style.colour = "";
      else if (code >= 30 && code <= 37) style.colour = `c${code - 30}`;
      else if (code >= 90 && code <= 97) style.colour = `c${code - 90}`;
      else if (code === 38 || code === 48) at += numbers[at + 1] === 5 ? 2 : 4;
    }
  }

  const classes = ({ bold, faint, under, colour }) =>
    [bold && "bold", faint && "faint", under && "under", colour].filter(Boolean).join(" ");

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function lineElement(number, said) {
    const level = LEVELS[said.level];
    const mark = element("span", { class: "mark", "aria-hidden": "true" }, level ? level[0] : "");
    const text = element("span", { class: "text" });
    if (level) text.append(element("span", { class: "hidden" }, `${level[1]}: `));
    for (const [piece, style] of pieces(String(said.message ?? ""))) {
      text.append(style ? element("span", { class: style }, piece) : piece);
    }
    const line = element("div", { class: `line ${level?.[1] ?? ""}` });
    line.append(element("span", { class: "number", "aria-hidden": "true" }, String(number)), mark, text);
    if (said.timestamp) line.title = new Date(said.timestamp).toLocaleString();
    return line;
  }

  /* --- the look -------------------------------------------------------------- */

  const LIGHT = `
    --surface: #ffffff; --raised: #f6f8fa; --edge: #d8dee6; --text: #1c2530; --quiet: #5a6675;
    --accent: #0b7a75; --running: #1a5fd0; --good: #17803d; --bad: #c62828; --warn: #9a5b00;
    --bad-back: #fdecec; --warn-back: #fff5e0;
    --c0: #1c2530; --c1: #c62828; --c2: #17803d; --c3: #9a5b00; --c4: #1a5fd0; --c5: #8a3ab9;
    --c6: #0b7a75; --c7: #5a6675; color-scheme: light;`;
  const DARK = `
    --surface: #10151c; --raised: #18202a; --edge: #2c3744; --text: #dfe6ee; --quiet: #95a3b3;
    --accent: #35c2ba; --running: #6ea8ff; --good: #53c77a; --bad: #ff7b72; --warn: #e3a94a;
    --bad-back: #3a1d20; --warn-back: #33290f;
    --c0: #95a3b3; --c1: #ff7b72; --c2: #53c77a; --c3: #e3a94a; --c4: #6ea8ff; --c5: #d2a8ff;
    --c6: #35c2ba; --c7: #dfe6ee; color-scheme: dark;`;
  const STYLE = `
    :host { ${LIGHT} display: block; height: 24rem; min-height: 9rem; container-type: inline-size; }
    :host([hidden]) { display: none; }
    @media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { ${DARK} } }
    :host([theme="dark"]) { ${DARK} }
    * { box-sizing: border-box; }
    .frame { display: flex; flex-direction: column; height: 100%; color: var(--text);
      background: var(--surface); border: 1px solid var(--edge); border-radius: 8px; overflow: hidden;
      font: 14px/1.4 Inter, system-ui, -apple-system, "Segoe UI", sans-serif; position: relative; }
    header { display: grid; grid-template-columns: auto 1fr auto; gap: 4px 12px; align-items: baseline;
      padding: 10px 12px; background: var(--raised); border-bottom: 1px solid var(--edge); }
    .state { font-weight: 600; white-space: nowrap; color: var(--quiet); }
    .state.running { color: var(--running); } .state.success { color: var(--good); }
    .state.failed, .state.refused { color: var(--bad); } .state.apply_pending { color: var(--c5); }
    .running .icon { animation: pulse 2s ease-in-out infinite; }
    @keyframes pulse { 50% { opacity: .35; } }
    .step { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .connection { color: var(--quiet); font-size: 12px; white-space: nowrap; }
    .bar { grid-column: 1 / -1; display: flex; align-items: center; gap: 8px; }
    .track { flex: 1; height: 6px; border-radius: 3px; background: var(--edge); overflow: hidden; }
    .fill { height: 100%; width: 0; border-radius: 3px; background: var(--running);
      transition: width 120ms linear; }
    .success .fill { background: var(--good); } .failed .fill { background: var(--bad); }
    .canceled .fill, .discarded .fill { background: var(--quiet); }
    .bar.refused { display: none; }
    .unknown .fill { width: 30%; opacity: .5; animation: slide 1.6s ease-in-out infinite; }
    @keyframes slide { 0% { transform: translateX(-100%); } 100% { transform: translateX(340%); } }
    .percent { min-width: 4ch; text-align: right; font-variant-numeric: tabular-nums; }
    .log { flex: 1; overflow: auto; padding: 6px 0; overflow-anchor: none;
      font: 12.5px/18px "JetBrains Mono", ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
    .log:focus-visible, button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
    .line { display: flex; padding: 0 12px 0 0; min-height: 18px; }
    .line:hover { background: var(--raised); }
    .line.error { background: var(--bad-back); } .line.warning { background: var(--warn-back); }
    .number { flex: none; width: calc((var(--digits, 4) + 2) * 1ch); padding-right: 1ch; text-align: right; color: var(--quiet);
      user-select: none; }
    .mark { flex: none; width: 2ch; text-align: center; font-weight: 700; user-select: none; }
    .error .mark { color: var(--bad); } .warning .mark { color: var(--warn); }
    .line.success .mark, .line.success .text { color: var(--good); }
    .text { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 0; }
    .bold { font-weight: 700; } .faint { opacity: .7; } .under { text-decoration: underline; }
    ${[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `.c${n} { color: var(--c${n}); }`).join(" ")}
    button { font: inherit; font-size: 12px; color: var(--text); background: var(--raised);
      border: 1px solid var(--edge); border-radius: 6px; padding: 4px 10px; cursor: pointer; }
    button[hidden] { display: none; }
    .earlier { display: block; margin: 4px auto 8px; }
    .newer { position: absolute; right: 16px; bottom: 14px; background: var(--accent); color: var(--surface);
      border-color: var(--accent); box-shadow: 0 1px 4px rgb(0 0 0 / .25); }
    .notice { margin: 12px; padding: 8px 12px; border: 1px solid var(--edge); border-radius: 6px;
      color: var(--quiet); }
    .notice.bad { color: var(--bad); border-color: var(--bad); }
    .notice[hidden] { display: none; }
    .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
      white-space: nowrap; }
    @container (max-width: 30rem) {
      header { grid-template-columns: 1fr auto; }
      .step { grid-row: 2; grid-column: 1 / -1; white-space: normal; }
      .number { width: calc((var(--digits, 4) + 1) * 1ch); }
    }
    @media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }`;

  let sheet;
  const styles = () => {
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
    }
    return sheet;
  };

  /** The lines in the page: a window on the log that follows its end, or stands still. */
  class Lines {
    constructor(log, history, followed) {
      this.log = log;
      this.history = history;
      this.followed = followed;
      this.rows = element("div");
      this.earlier = element("button", { class: "earlier", type: "button", hidden: "" });
      this.earlier.addEventListener("click", () => this.showEarlier());
      log.append(this.earlier, this.rows);
      log.addEventListener("scroll", () => this.scrolled(), { passive: true });
      this.first = this.end = this.known = 0; // shown: first up to end; known: all
      this.left = 0; // what was known when the reader left the end
      this.following = true;
      this.waiting = [];
      this.timer = 0;
      this.busy = false;
    }

    begin(at) {
      this.rows.replaceChildren();
      this.waiting = [];
      this.following = true;
      this.first = this.end = this.known = at;
      this.refresh();
    }

    add(first, messages) {
      this.known = first + messages.length;
      const held = this.end + this.waiting.length;
      const room = this.following || held - this.first + messages.length <= WINDOW;
      if (first === held && room) {
        for (const said of messages) this.waiting.push(said);
        if (this.waiting.length > WINDOW) this.skip(this.waiting.length - WINDOW);
      }
      this.soon();
    }

    /** More came at once than can be shown: what would not stay is not drawn at all. */
    skip(count) {
      this.rows.replaceChildren();
      this.waiting.splice(0, count);
      this.first = this.end += count;
    }

    soon() {
      if (this.timer) return;
      const draw = () => ((this.timer = 0), this.draw());
      this.timer = document.hidden ? setTimeout(draw, 500) : requestAnimationFrame(draw);
    }

    draw() {
      const drawn = document.createDocumentFragment();
      for (const said of this.waiting) drawn.append(lineElement(++this.end, said));
      this.waiting = [];
      this.rows.append(drawn);
      if (this.following) {
        this.trimTop();
        this.log.scrollTop = this.log.scrollHeight;
      }
      this.refresh();
    }

    trimTop() {
      while (this.end - this.first > WINDOW) {
        this.rows.firstChild.remove();
        this.first++;
      }
    }

    refresh() {
      this.earlier.toggleAttribute("hidden", this.first === 0);
      this.earlier.textContent = `Show earlier lines (${this.first.toLocaleString()})`;
      this.log.style.setProperty("--digits", Math.max(4, String(this.end).length));
      this.followed(this.following ? 0 : this.known - this.left, this.following);
    }

    /** Whether the end is followed from now on. */
    follow(yes) {
      if (this.following && !yes) this.left = this.known;
      this.following = yes;
    }

    scrolled() {
      const { scrollTop, scrollHeight, clientHeight } = this.log;
      const atEnd = scrollTop + clientHeight >= scrollHeight - 24;
      if (atEnd && this.end + this.waiting.length < this.known && !this.following) this.showLater();
      else this.follow(atEnd);
      this.refresh();
    }

    async fetched(offset, limit) {
      if (this.busy) return null;
      this.busy = true;
      try {
        return (await this.history(offset, limit)).messages;
      } catch {
        return null; // the feed says what is wrong with the server
      } finally {
        this.busy = false;
      }
    }

    async showEarlier() {
      const from = Math.max(0, this.first - FIRST);
      const before = this.first;
      const messages = await this.fetched(from, before - from);
      if (!messages || this.first !== before || messages.length !== before - from) return;
      this.follow(false);
      const height = this.log.scrollHeight;
      const drawn = document.createDocumentFragment();
      messages.forEach((said, at) => drawn.append(lineElement(from + at + 1, said)));
      this.rows.prepend(drawn);
      this.first = from;
      this.log.scrollTop += this.log.scrollHeight - height;
      while (this.end - this.first > WINDOW) {
        this.rows.lastChild.remove();
        this.end--;
      }
      this.waiting = [];
      this.refresh();
    }

    async showLater() {
      const at = this.end;
      const messages = await this.fetched(at, FIRST);
      if (!messages || this.end !== at) return;
      const top = this.log.scrollTop;
      for (const said of messages) this.rows.append(lineElement(++this.end, said));
      const height = this.log.scrollHeight;
      this.trimTop();
      // what the reader looks at stays where it is
      this.log.scrollTop = top - (height - this.log.scrollHeight);
      this.refresh();
    }

    async showEnd() {
      if (this.end + this.waiting.length < this.known) {
        const from = Math.max(0, this.known - FIRST);
        const messages = await this.fetched(from, this.known - from);
        if (!messages) return;
        this.rows.replaceChildren();
        this.first = this.end = from;
        this.waiting = messages;
        this.known = Math.max(this.known, from + messages.length);
      }
      this.follow(true);
      this.draw();
      this.log.focus({ preventScroll: true });
    }
  }

  /* --- the element ------------------------------------------------------------ */

  class SluiceLog extends HTMLElement {
    static observedAttributes = ["task-id", "server"];

    constructor() {
      super();
      this.tokenProvider = null;
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [styles()];
      this.build(root);
    }

    get taskId() {
      return this.getAttribute("task-id") || "";
    }

    set taskId(value) {
      this.setAttribute("task-id", value);
    }

    get token() {
      return this.given ?? this.getAttribute("token") ?? "";
    }

    /** Set as a property, the token does not stand in the page. */
    set token(value) {
      this.given = value;
    }

    connectedCallback() {
      // a script that makes the element may set its properties first
      queueMicrotask(() => this.isConnected && !this.feed && this.start());
    }

    disconnectedCallback() {
      this.stop();
    }

    attributeChangedCallback(name, before, after) {
      if (this.feed && before !== after) this.start();
    }

    start() {
      this.stop();
      this.facts = { status: "unknown" };
      this.ui.notice.hidden = true;
      this.lines.begin(0);
      this.show();
      if (!this.taskId) return;
      const provide = () => (this.tokenProvider ? this.tokenProvider() : this.token);
      const server = new Server({ server: this.getAttribute("server"), tokenProvider: provide });
      this.feed = new Feed(server, this.taskId, {
        begins: (at) => this.lines.begin(at),
        lines: (first, messages) => this.take(first, messages),
        status: (status) => this.learn(status),
        connection: (kind, seconds) => this.connected(kind, seconds),
        refused: (error) => this.refused(error),
        waits: () => WAITS.has(this.facts.status),
      });
      this.connected("connecting");
      this.feed.run();
    }

    stop() {
      this.feed?.stop();
      this.feed = null;
    }

    take(first, messages) {
      this.lines.add(first, messages);
      const last = messages.at(-1);
      const facts = { status: WAITS.has(this.facts.status) ? "running" : this.facts.status };
      for (const name of ["progress", "step", "current_step", "total_steps"]) {
        if (last[name] !== undefined && last[name] !== null) facts[name] = last[name];
      }
      this.learn(facts);
    }

    learn(facts) {
      const before = this.facts;
      const ended = ENDED.has(before.status) && !ENDED.has(facts.status);
      this.facts = { ...before, ...facts, status: ended ? before.status : facts.status };
      if (this.facts.status === "success") this.facts.progress = 100;
      const { progress, total_steps: steps, step } = this.facts;
      if (progress === 0 && !steps && !step) this.facts.progress = null; // nothing was said
      this.show();
      this.tell("sluice-progress");
      if (ENDED.has(this.facts.status)) this.connected("ended");
      if (!ENDED.has(before.status) && ENDED.has(this.facts.status)) this.tell("sluice-end");
    }

    tell(name) {
      const detail = { taskId: this.taskId, ...this.facts };
      this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
    }

    connected(kind, seconds) {
      const words = {
        connecting: "connecting…",
        live: "● live",
        polling: "○ read every 2 s",
        away: `◌ reconnecting in ${Math.max(1, Math.round(seconds ?? 0))} s`,
        ended: "",
      };
      const ended = ENDED.has(this.facts.status) && kind !== "away";
      this.ui.connection.textContent = words[ended ? "ended" : kind];
    }

    refused(error) {
      this.ui.notice.textContent = error.message;
      this.ui.notice.hidden = false;
      this.ui.notice.classList.toggle("bad", error.status !== 410);
      this.ui.connection.textContent = "";
      if (WAITS.has(this.facts.status)) this.learn({ status: "refused" });
      this.dispatchEvent(new CustomEvent("sluice-error", { detail: error, bubbles: true, composed: true }));
    }

    build(root) {
      const ui = {
        state: element("span", { class: "state" }),
        step: element("span", { class: "step" }),
        connection: element("span", { class: "connection" }),
        fill: element("div", { class: "fill" }),
        percent: element("span", { class: "percent", "aria-hidden": "true" }),
        log: element("div", { class: "log", role: "log", tabindex: "0", "aria-live": "off", "aria-label": "Output" }),
        newer: element("button", { class: "newer", type: "button", hidden: "" }),
        notice: element("div", { class: "notice", role: "alert", hidden: "" }),
        spoken: element("div", { class: "hidden", role: "status" }),
      };
      this.ui = ui;
      ui.track = element("div", { class: "track", role: "progressbar", "aria-label": "Progress" }, ui.fill);
      ui.track.setAttribute("aria-valuemin", "0");
      ui.track.setAttribute("aria-valuemax", "100");
      ui.bar = element("div", { class: "bar" }, ui.track, ui.percent);
      const head = element("header", {}, ui.state, ui.step, ui.connection, ui.bar);
      ui.frame = element("div", { class: "frame", part: "frame" }, head, ui.notice, ui.log, ui.newer, ui.spoken);
      root.append(ui.frame);
      this.lines = new Lines(
        ui.log,
        (offset, limit) => (this.feed ? this.feed.history(offset, limit) : Promise.reject()),
        (count, following) => {
          ui.newer.hidden = following;
          ui.newer.textContent = count > 0 ? `${count.toLocaleString()} new lines ↓` : "To the end ↓";
        },
      );
      ui.newer.addEventListener("click", () => this.lines.showEnd());
      this.facts = { status: "unknown" };
    }

    show() {
      const { status, progress, step, current_step: at, total_steps: of, exit_code: code } = this.facts;
      const [icon, word] = WORDS[status] || ["?", status];
      const failed = status === "failed" && typeof code === "number";
      this.ui.state.className = `state ${status}`;
      this.ui.state.replaceChildren(
        element("span", { class: "icon", "aria-hidden": "true" }, icon),
        ` ${word}${failed ? ` · exit code ${code}` : ""}`,
      );
      const counted = of > 0 ? `Step ${at} of ${of}` : "";
      const words = [counted, step].filter(Boolean).join(" · ");
      this.ui.step.textContent = this.ui.step.title = words;
      this.showProgress(status, typeof progress === "number" ? progress : null);
      const spoken = [word, words].filter(Boolean).join(". ");
      if (this.ui.spoken.textContent !== spoken) this.ui.spoken.textContent = spoken;
    }

    showProgress(status, progress) {
      const unknown = progress === null && status === "running";
      this.ui.bar.className = `bar ${status} ${unknown ? "unknown" : ""}`;
      const value = progress === null ? 0 : Math.max(0, Math.min(100, progress));
      this.ui.fill.style.width = unknown ? "" : `${value}%`;
      this.ui.percent.textContent = progress === null ? "" : `${Math.floor(value)} %`;
      if (progress === null) this.ui.track.removeAttribute("aria-valuenow");
      else this.ui.track.setAttribute("aria-valuenow", String(Math.floor(value)));
    }
  }

  /* --- for scripts ------------------------------------------------------------- */

  const found = (container) => {
    const place = typeof container === "string" ? document.getElementById(container) : container;
    if (!place) throw new Error(`There is no element ${container} in this page.`);
    return place;
  };

  /** Shows a task in an element of the page, instead of what is there. */
  class InstallLogViewer {
    constructor(taskId, container, { server, token, tokenProvider, theme } = {}) {
      this.element = document.createElement("sluice-log");
      if (server) this.element.setAttribute("server", server);
      if (theme) this.element.setAttribute("theme", theme);
      if (token) this.element.token = token;
      this.element.tokenProvider = tokenProvider || null;
      this.element.taskId = taskId;
      found(container).replaceChildren(this.element);
    }

    close() {
      this.element.remove();
    }
  }

  /** Starts registered scripts. */
  class InstallManager {
    constructor(options = {}) {
      this.options = options;
      this.viewer = null;
    }

    /** The new task's id; it is shown where there is a container. */
    async startInstall(wanted, { container = this.options.container } = {}) {
      const place = container ? found(container) : null;
      const server = new Server(this.options);
      const { task_id: taskId } = await server.call("POST", "v1/soft/install", { body: wanted });
      if (place) this.viewer = new InstallLogViewer(taskId, place, this.options);
      return taskId;
    }
  }

  Object.assign(window, { SluiceLog, InstallLogViewer, InstallManager });
  customElements.define("sluice-log", SluiceLog);
})();
