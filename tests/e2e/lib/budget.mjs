// What the suites about budgets share: a rig with prices, clients of a key,
// crowds of them, and how budgets stand.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { OpenAI } from './openai.mjs';
import { startRig } from './rig.mjs';
import { until } from './until.mjs';
import { toYaml } from './yaml.mjs';

const TODAY = new Date().toISOString().slice(0, 10);

/** A rig with these prices; config as for startRig, its prices added. */
export async function startPriced(prices, { config, ...options } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-budget-'));
  const file = path.join(dir, 'prices.yaml');
  fs.writeFileSync(file, toYaml({ updated: TODAY, prices }));
  const rig = await startRig({ ...options, config: (up) => ({
    prices: file, ...(typeof config === 'function' ? config(up) : config) }) });
  const close = rig.close.bind(rig);
  rig.close = async () => {
    fs.rmSync(dir, { recursive: true, force: true });
    await close();
  };
  return rig;
}

/** Nano-dollars as budgets are given. */
export const dollars = (nusd) => {
  const text = String(nusd).padStart(10, '0');
  return `$${text.slice(0, -9)}.${text.slice(-9)}`;
};

/** An amount as tollctl tells it, as a number of tokens or nano-dollars. */
export const amountOf = (v) =>
  typeof v === 'number' ? v : Math.round(Number(v) * 1e9);

/** What is spent and held of each budget of a key or a team. */
export async function standOf(rig, noun, name) {
  const { budgets } = await rig.gate.must([noun, 'show', name]);
  return budgets.map((b) => ({ ...b, amount: amountOf(b.amount),
    spent: amountOf(b.spent), held: amountOf(b.held) }));
}

/** Resolves once nothing is held of the budgets of a key or a team. */
export const noneHeld = (rig, noun, name) =>
  until(`nothing is held of ${noun} ${name}`, async () => {
    const all = await standOf(rig, noun, name);
    return all.every((b) => b.held === 0) && all;
  });

/** All rows of the ledger, once there are n of them. */
export const rowsOf = (rig, n = 0) =>
  until(`${n} rows`, async () => {
    const { data } = await rig.gate.must(['ledger', 'export']);
    return data.length >= n && data;
  });

/** An official client of a key that counts what it sends; it retries as it
 * does by default. */
export function clientOf(rig, key, options = {}) {
  const client = new OpenAI({
    baseURL: rig.baseUrl, apiKey: key.key, timeout: 60000, logLevel: 'off',
    ...options,
    fetch: (...args) => {
      client.sent = (client.sent ?? 0) + 1;
      return fetch(...args);
    } });
  return client;
}

/** n clients at once: what each got, value or error, and what they sent. */
export async function crowd(rig, keys, n, call) {
  const clients = Array.from({ length: n }, (_, i) =>
    clientOf(rig, keys[i % keys.length]));
  const all = await Promise.allSettled(clients.map((c, i) => call(c, i)));
  return {
    served: all.filter((r) => r.status === 'fulfilled').map((r) => r.value),
    errors: all.filter((r) => r.status === 'rejected').map((r) => r.reason),
    sent: clients.reduce((s, c) => s + (c.sent ?? 0), 0),
  };
}
