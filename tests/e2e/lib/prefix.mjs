// Daemons whose engine keeps prefixes on disk: the demo model of the sources,
// started, stopped and killed again over one store, and answers that can be
// compared to the last bit of every log probability.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';

import { DEVICE, startEngine } from './engine.mjs';
import { openaiFor } from './openai.mjs';
import { prng } from './prng.mjs';
import { until } from './until.mjs';

/** A trained model of six layers, whose context is 512 tokens. */
export const DEMO = fileURLToPath(
  new URL('../../../etc/demo.gguf', import.meta.url));
export const DEMO_CONTEXT = 512;
export const PAGE = 16;

const made = [];
after(() => made.forEach((d) => fs.rmSync(d, { recursive: true, force: true })));

/** A folder that is gone when the tests of the file are over. */
export function folder(name) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `tg-${name}-`));
  made.push(dir);
  return dir;
}

/** Tokens of a prompt that can be found: all full pages before its last one. */
export const pagesOf = (tokens) => Math.floor((tokens - 1) / PAGE) * PAGE;

/** Token ids, none of them special, the same for a seed. */
export function ids(seed, n) {
  const next = prng(seed);
  return Array.from({ length: n }, () => 300 + Math.floor(next() * 1500));
}

const WORDS = ('a gateway keeps the budget of each team and tells how many ' +
  'tokens were used so that nobody pays for what was never asked of it by ' +
  'the people who have a key and a model to talk with').split(' ');

/** Words, the same for a seed. */
export function words(seed, n) {
  const next = prng(seed);
  return Array.from({ length: n }, () =>
    WORDS[Math.floor(next() * WORDS.length)]).join(' ');
}

/** What is of one request alone taken off a reply: all else must be equal. */
export function answerOf(reply) {
  const { usage, choices, model, system_fingerprint } = reply;
  const { prompt_tokens, completion_tokens } = usage;
  return { model, system_fingerprint, choices, prompt_tokens,
    completion_tokens };
}

export const cachedOf = (reply) =>
  reply.usage.prompt_tokens_details.cached_tokens;

/** The options of startEngine for a store; each can be overridden. */
function options({ store = {}, model = {}, file = DEMO, config = {} }) {
  return { file, model: { slots: 4, ...model },
    engine: { prefix_store: { size: '64MiB', ...store } }, config };
}

/** A daemon with a store; it can be started again with other settings. */
export class PrefixRig {
  /** Options: store (fields of engine.prefix_store), model (fields of its
   * entry), file, config. */
  static async start(opts = {}) {
    const self = new PrefixRig();
    self.opts = opts;
    self.rig = await startEngine(options(opts));
    self.keys = { e2e: self.rig.key };
    await self.ready();
    return self;
  }

  get gate() {
    return this.rig.gate;
  }

  /** Where the store is. */
  get root() {
    return this.opts.store?.dir ?? path.join(this.gate.stateDir, 'prefix');
  }

  /** Folders of namespaces. */
  spaces() {
    if (!fs.existsSync(this.root)) return [];
    return fs.readdirSync(this.root).filter((n) => /^[0-9a-f]{16}$/.test(n))
      .map((n) => path.join(this.root, n));
  }

  /** The file of the only namespace. */
  dataFile() {
    const all = this.spaces();
    assert.equal(all.length, 1, `one namespace: ${all}`);
    return path.join(all[0], 'data.mdb');
  }

  metric(name, labels = '') {
    return this.rig.metric(name, `model="demo"${labels}`);
  }

  /** Waits until the model is loaded and its store is open, or (expected) is
   * known to be of no use. */
  async ready() {
    await until('the model is loaded', async () =>
      (await fetch(`${this.gate.origin}/readyz`)).status === 200);
    if (this.opts.store?.size !== 0 && !this.opts.broken)
      await until('the store is open', async () =>
        (await this.metric('prefix_store_up')) === 1);
  }

  /** Another key of a name: its secret. */
  async key(name, ...args) {
    this.keys[name] ??= (await this.gate.createKey(name, ...args)).key;
    return this.keys[name];
  }

  /** Lines of the log with this level, of the run that goes on. */
  logged(level) {
    return this.gate.log.slice(this.logFrom ?? 0).split('\n')
      .filter((l) => l.startsWith('{')).map((l) => JSON.parse(l))
      .filter((l) => l.level === level).map((l) => l.text);
  }

  /** What of the store the log warns of. */
  warnings() {
    return [...this.logged('warn'), ...this.logged('err')]
      .filter((l) => /prefix|secret|pages|store/.test(l));
  }

  async stop() {
    await this.gate.stop();
  }

  /** Starts what was stopped, with the settings given changed. */
  async startAgain(opts = {}) {
    this.opts = { ...this.opts, ...opts,
      store: { ...this.opts.store, ...opts.store },
      model: { ...this.opts.model, ...opts.model } };
    const { file, model, engine, config } = options(this.opts);
    this.gate.writeConfig({ ...this.gate.config, ...config, engine: {
      ...this.gate.config.engine,
      models: [{ name: 'demo', path: file, ...DEVICE, ...model }],
      ...engine } });
    this.logFrom = this.gate.log.length;
    await this.gate.start();
    await this.ready();
  }

  /** Ends the daemon and starts it again. */
  async restart(opts = {}) {
    await this.stop();
    await this.startAgain(opts);
  }

  /** Waits until all that was offered is stored. */
  async settled(pages = 0) {
    await until(`${pages} pages are stored`, async () =>
      (await this.metric('prefix_store_pages')) >= pages &&
      (await this.metric('prefix_queued_bytes')) === 0);
  }

  /** The official client of a key. */
  client(key = this.keys.e2e) {
    return openaiFor(this.rig, { apiKey: key });
  }

  /** A completion of token ids or of text, greedy, with log probabilities. */
  complete(prompt, more = {}, key = undefined) {
    return this.client(key).completions.create({ model: 'demo', prompt,
      temperature: 0, max_tokens: 8, logprobs: 5, ignore_eos: true, ...more });
  }

  /** A chat of messages or of one text, likewise. */
  chat(messages, more = {}, key = undefined) {
    return this.client(key).chat.completions.create({ model: 'demo',
      messages: typeof messages === 'string'
        ? [{ role: 'user', content: messages }] : messages,
      temperature: 0, max_tokens: 8, logprobs: true, top_logprobs: 5,
      ignore_eos: true, ...more });
  }

  async close() {
    try {
      await this.gate.stop();
    } finally {
      this.gate.remove();
    }
  }
}

/** Runs a test with a daemon of its own. */
export async function withStore(opts, f) {
  const s = await PrefixRig.start(opts);
  try {
    return await f(s);
  } finally {
    await s.close();
  }
}

/** Answers of a daemon that keeps nothing on disk, each request of a scope of
 * its own, so that it finds nothing in memory either. */
export class Cold {
  static async start(opts = {}) {
    const self = new Cold();
    self.s = await PrefixRig.start({ ...opts, store: { size: 0 } });
    self.n = 0;
    return self;
  }

  /** <kind>: 'chat' or 'complete'. */
  async ask(kind, what, more = {}) {
    const r = await this.s[kind](what, { ...more, cache_salt: `${this.n++}` });
    assert.equal(cachedOf(r), 0, 'a cold answer');
    return r;
  }

  close() {
    return this.s?.close();
  }
}

/** A text that tests of faults keep, and what of it can be found. */
export const TEXT = ids(31, 330);
export const FULL = pagesOf(TEXT.length);

let cold; /* a promise: tests may run side by side */
after(async () => (await cold)?.close());

/** Asks <s> for <prompt>: the answer must be that of a daemon which keeps
 * nothing; gives how many tokens were reused. */
export async function right(s, prompt = TEXT, key = undefined) {
  const r = await s.complete(prompt, {}, key);
  cold ??= Cold.start();
  assert.deepEqual(answerOf(r),
    answerOf(await (await cold).ask('complete', prompt)));
  return cachedOf(r);
}

/** Where stored values begin in a file: header, then payload. */
export function values(file) {
  const bytes = fs.readFileSync(file);
  const all = [];
  for (let at = 16; at + 4080 < bytes.length; at += 4096)
    if (bytes.toString('latin1', at, at + 4) === 'TGKV')
      all.push({ at, index: bytes.readUInt32LE(at + 104),
        bytes: 4080 + Number(bytes.readBigUInt64LE(at + 112)) });
  return all;
}

/** Flips one bit of a file. */
export function flip(file, at, bit = 0) {
  const fd = fs.openSync(file, 'r+');
  const b = Buffer.alloc(1);
  assert.equal(fs.readSync(fd, b, 0, 1, at), 1);
  b[0] ^= 1 << bit;
  fs.writeSync(fd, b, 0, 1, at);
  fs.closeSync(fd);
}
