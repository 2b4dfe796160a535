// kill -9 at any instant: every reply that a client has whole has its row
// when the daemon is back.  One seed reproduces the moments of the kills.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ask } from './lib/openai.mjs';
import { prng } from './lib/prng.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';
import { memoryFactor, runProgram } from './lib/tollgate.mjs';
import { within } from './lib/until.mjs';

const ROUNDS = Number(process.env.E2E_CRASH_ROUNDS ?? 12);
const SEED = Number(process.env.E2E_SEED ?? 20260101);

/** Sends requests until the daemon dies; ids of the replies that came whole. */
async function lane(rig, key, seen, i) {
  for (let n = 0; ; n++) {
    try {
      const stream = (n + i) % 2 === 0;
      const r = await fetch(`${rig.baseUrl}/chat/completions`, {
        method: 'POST', headers: { authorization: `Bearer ${key.key}` },
        body: JSON.stringify(ask('count to 3', { stream })) });
      const text = await r.text();
      if (r.status !== 200) throw new Error(text);
      if (stream && !text.endsWith('data: [DONE]\n\n')) return;
      seen.push(r.headers.get('x-request-id'));
    } catch {
      return;
    }
  }
}

describe('kill -9', GATE_ONLY, () => {
  test(`${ROUNDS} rounds: no acknowledged reply without its row`,
    async (t) => {
      const rig = await startRig();
      const next = prng(SEED);
      const key = await rig.gate.createKey('crash');
      const seen = [];
      let slowest = 0;
      try {
        for (let round = 0; round < ROUNDS; round++) {
          const target = seen.length + 5 + Math.floor(next() * 120);
          const lanes = [0, 1, 2, 3].map((i) => lane(rig, key, seen, i));
          while (seen.length < target)
            await new Promise((r) => setImmediate(r));
          await rig.gate.kill9();
          await Promise.all(lanes);
          const from = performance.now();
          await rig.gate.start();
          slowest = Math.max(slowest, performance.now() - from);
          const acked = seen.length;
          const [total] = await rig.gate.usageOf(acked, '--key', key.id);
          assert.ok(total.requests >= acked,
            `round ${round}: ${total.requests} rows, ${acked} replies`);
          assert.ok(total.requests <= rig.up.hits,
            `round ${round}: more rows than requests the provider saw`);
        }
        assert.equal(new Set(seen).size, seen.length, 'ids are unique');
        t.diagnostic(`${seen.length} replies, slowest start ` +
          `${slowest.toFixed(0)} ms (tollctl included)`);
        const whole = await rig.gate.ctl(['ledger', 'verify']);
        if (whole.code !== 2) assert.equal(whole.code, 0, whole.stderr);
      } finally {
        await rig.close();
      }
    });

  test('a ledger that cannot be opened again ends the daemon, losing nothing',
    { skip: !DIRECT && memoryFactor() > 1 && 'a checked program cannot be preloaded' },
    async () => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-fail-'));
      const made = await runProgram('cc', ['-shared', '-fPIC', '-D_GNU_SOURCE',
        '-o', `${dir}/failhead.so`, fileURLToPath(
          new URL('lib/failhead.c', import.meta.url)), '-ldl']);
      assert.equal(made.code, 0, made.stderr);
      const rig = await startRig({ env: {
        LD_PRELOAD: `${dir}/failhead.so`, FAILHEAD: `${dir}/now` } });
      const seen = [];
      try {
        const key = await rig.gate.createKey('unlucky');
        fs.writeFileSync(`${dir}/now`, '');
        await within(lane(rig, key, seen, 0), 'the refusals');
        const exit = await within(rig.gate.exited, 'the end');
        assert.deepEqual(exit, { code: 1, signal: null });
        assert.match(rig.gate.log, /the ledger is broken, stopping/);
        assert.ok(seen.length > 0, 'some were answered before');
        fs.rmSync(`${dir}/now`);
        await rig.gate.start();
        const [sum] = await rig.gate.usageOf(seen.length, '--key', key.id);
        assert.ok(sum.requests >= seen.length);
        assert.equal((await rig.gate.ctl(['ledger', 'verify'])).code, 0);
      } finally {
        await rig.close();
        fs.rmSync(dir, { recursive: true });
      }
    });

  test('keys made just before the kill are there afterwards', async () => {
    const rig = await startRig();
    try {
      for (let i = 0; i < 5; i++) {
        const k = await rig.gate.createKey(`k${i}`);
        if (i % 2) await rig.gate.must(['key', 'block', k.id]);
        await rig.gate.kill9();
        await rig.gate.start();
        const shown = await rig.gate.must(['key', 'show', k.id]);
        assert.equal(shown.blocked, i % 2 === 1);
      }
    } finally {
      await rig.close();
    }
  });
});
