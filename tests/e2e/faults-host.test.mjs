// What the machine does to the daemon: it is given more than it can do, its
// descriptors, memory and disk run out, its clock is set, a thread of its own
// or its upstream stands still.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { RawClient, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { memoryFactor, runProgram, startTollgate } from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

const CHECKED = !DIRECT && memoryFactor() > 1 &&
  'a program that is checked as it runs is another in this';
const ROOT = process.getuid() !== 0 && 'needs root';

const CHAT = { model: 'gpt-5-mini', messages: [{ role: 'user', content: 'x' }] };

const chat = (rig, key = rig.key) => rig.fetch('/v1/chat/completions',
  { json: CHAT, headers: { authorization: `Bearer ${key}` } });

/** Status of a request, whose answer is read to its end. */
async function statusOf(answer) {
  const r = await answer;
  await r.text();
  return r.status;
}

async function metric(rig, name) {
  const text = await (await fetch(`${rig.origin}/metrics`)).text();
  return text.split('\n').filter((l) => l.startsWith(`tollgate_${name}`))
    .reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' '))), 0);
}

/** Bytes of a chat request to keep a connection with. */
const chatBytes = (rig) => requestBytes('POST', '/v1/chat/completions', [
  ['Authorization', `Bearer ${rig.key}`],
  ['Content-Type', 'application/json']], JSON.stringify(CHAT));

/** So many connections at once; those that were let in. */
async function connectMany(port, n) {
  const all = await Promise.all(Array.from({ length: n }, () =>
    new Promise((resolve) => {
      const s = net.connect({ host: '127.0.0.1', port });
      s.text = '';
      s.setEncoding('latin1');
      s.on('data', (d) => (s.text += d));
      s.on('error', () => resolve(s));
      s.on('close', () => (s.over = true));
      s.on('connect', () => resolve(s));
    })));
  return all;
}

/** The whole of the one reply that a socket is to get; '' when it got none. */
const replyOf = (s) => until('a reply or the end', () => {
  const end = s.text.indexOf('\r\n\r\n');
  if (end < 0) return s.over ? ' ' : undefined;
  const length = /content-length: (\d+)/i.exec(s.text);
  return s.text.length >= end + 4 + Number(length?.[1] ?? 0) || s.over
    ? s.text : undefined;
});

describe('more than can be done', GATE_ONLY, () => {
  test('10,000 connections in a moment: each is served', async (t) => {
    const rig = await startRig();
    try {
      const n = CHECKED ? 1000 : 10000;
      const all = await connectMany(rig.gate.port, n);
      const bytes = requestBytes('GET', '/v1/models',
        [['Authorization', `Bearer ${rig.key}`]]);
      for (const s of all) s.write(bytes);
      const replies = await Promise.all(all.map(replyOf));
      assert.equal(replies.filter((r) => r.startsWith('HTTP/1.1 200 ')).length,
        n);
      for (const s of all) s.destroy();
      assert.equal(await statusOf(chat(rig)), 200);
      t.diagnostic(`resident ${rig.gate.peakRssBytes() >> 20} MiB at most`);
    } finally {
      await rig.close();
    }
  });

  test('what waits too long to begin is refused, whole, and nobody was asked',
    async (t) => {
      const rig = await startRig({ config: {
        workers: 1, limits: { start_wait: '1ms' } } });
      try {
        const all = await connectMany(rig.gate.port, 400);
        const hits = rig.up.hits;
        rig.gate.child.kill('SIGSTOP'); // they are all there when it looks
        const sent = all.map((s) =>
          new Promise((resolve) => s.write(chatBytes(rig), resolve)));
        await Promise.all(sent);
        rig.gate.child.kill('SIGCONT');
        const replies = await Promise.all(all.map(replyOf));
        const good = replies.filter((r) => r.startsWith('HTTP/1.1 200 '));
        const bad = replies.filter((r) => r.startsWith('HTTP/1.1 503 '));
        assert.equal(good.length + bad.length, all.length);
        assert.ok(good.length >= 32 && bad.length > 0,
          `${good.length} served, ${bad.length} refused`);
        for (const r of bad) {
          assert.match(r, /\r\nretry-after: [1-9]\r\n/);
          assert.match(r, /\r\nx-should-retry: true\r\n/);
          assert.match(r, /"code":"overloaded"/);
          assert.doesNotMatch(r, /connection: close/i);
        }
        assert.equal(rig.up.hits - hits, good.length);
        assert.equal(await metric(rig, 'shed_total'), bad.length);
        assert.match(rig.gate.log, /overloaded, requests are refused/);
        // The refused are served by the same connections, one after another.
        for (const s of all.slice(-20)) {
          s.text = '';
          s.write(chatBytes(rig));
          assert.match(await replyOf(s), /^HTTP\/1.1 200 /);
        }
        for (const s of all) s.destroy();
        await rig.gate.usageOf(good.length + 20);
        t.diagnostic(`${good.length} served, ${bad.length} refused`);
      } finally {
        await rig.close();
      }
    });
});

describe('shortage', GATE_ONLY, () => {
  test('of descriptors: some are refused, and those let in are served',
    { skip: CHECKED }, async () => {
      const rig = await startRig({ before: ['prlimit', '--nofile=256:256'] });
      try {
        const kept = await RawClient.connect({ host: '127.0.0.1',
          port: rig.gate.port });
        const all = await connectMany(rig.gate.port, 400);
        await until('the last are closed', () =>
          all.filter((s) => s.over || s.text !== '').length > 200);
        for (const s of all)
          assert.ok(s.text === '' || s.text.startsWith('HTTP/1.1 503 '));
        for (let i = 0; i < 5; i++) {
          await kept.send(chatBytes(rig));
          assert.equal((await kept.readReply()).status, 200);
        }
        for (const s of all) s.destroy();
        await until('all are served again', async () =>
          (await statusOf(chat(rig)).catch(() => 0)) === 200);
        assert.ok((await metric(rig, 'connections_refused_total')) > 200);
        kept.destroy();
      } finally {
        await rig.close();
      }
    });

  test('of memory: all but health is refused, and served once there is some',
    async () => {
      const rig = await startRig();
      try {
        assert.equal(await statusOf(chat(rig)), 200);
        const hits = rig.up.hits;
        rig.gate.writeConfig({ ...rig.gate.config, limits: { memory: '1MiB' } });
        assert.equal((await rig.gate.reload()).code, 0);
        const r = await until('a refusal', async () => {
          const answer = await chat(rig);
          if (answer.status === 503) return answer;
          await answer.text();
          return undefined;
        });
        assert.equal((await r.json()).error.code, 'overloaded');
        assert.ok(Number(r.headers.get('retry-after')) >= 1);
        assert.equal(r.headers.get('x-should-retry'), 'true');
        assert.equal((await fetch(`${rig.origin}/healthz`)).status, 200);
        assert.ok((await metric(rig, 'shed_total{reason="memory"}')) > 0);
        const more = rig.up.hits - hits;
        assert.equal(await statusOf(chat(rig)), 503);
        assert.equal(rig.up.hits - hits, more, 'nobody is asked');
        rig.gate.writeConfig({ ...rig.gate.config, limits: {} });
        assert.equal((await rig.gate.reload()).code, 0);
        await until('all are served again', async () =>
          (await statusOf(chat(rig))) === 200);
        await until('the log tells of both', () =>
          /memory is short/.test(rig.gate.log) &&
          /memory is no longer short/.test(rig.gate.log));
      } finally {
        await rig.close();
      }
    });

  test('of addresses (ulimit -v): large bodies are refused, nothing breaks',
    { skip: CHECKED }, async () => {
      const free = await startRig();
      const text = fs.readFileSync(`/proc/${free.gate.pid}/status`, 'utf8');
      const size = Number(/VmSize:\s+(\d+)/.exec(text)[1]) * 1024;
      await free.close();
      const rig = await startRig({ before: ['prlimit',
        `--as=${size + (48 << 20)}`] });
      const big = { ...CHAT, messages: [{ role: 'user',
        content: 'x '.repeat(1 << 19) }] };
      try {
        const seen = new Set();
        for (let i = 0; i < 5 && !(seen.has(200) && seen.has(503)); i++)
          for (const status of await Promise.all(Array.from({ length: 60 },
            () => statusOf(rig.fetch('/v1/chat/completions', { json: big }))
              .catch(() => 0))))
            seen.add(status);
        for (const status of seen)
          assert.ok([0, 200, 503].includes(status), `status ${status}`);
        assert.ok(seen.has(200) && seen.has(503), `${[...seen]}`);
        await until('all are served again', async () =>
          (await statusOf(chat(rig)).catch(() => 0)) === 200);
        assert.equal(rig.gate.exit, undefined);
      } finally {
        await rig.close();
      }
    });

  test('of disk: 503 with and without a budget, and it heals by itself',
    { skip: ROOT }, async (t) => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-disk-'));
      const mounted = await runProgram('mount',
        ['-t', 'tmpfs', '-o', 'size=6m,mode=700', 'tmpfs', dir]);
      if (mounted.code !== 0) {
        fs.rmdirSync(dir);
        t.skip('no file system can be mounted');
        return;
      }
      try {
        await diskRun(dir);
      } finally {
        await runProgram('umount', [dir]);
        fs.rmdirSync(dir);
      }
    });

  async function diskRun(dir) {
    const rig = await startRig({ config: { state_dir: dir } });
    try {
      const hard = await rig.gate.createKey('hard',
        '--budget', '100M-tokens/day');
      const keys = [rig.key, hard.key];
      for (const k of keys) assert.equal(await statusOf(chat(rig, k)), 200);
      let done = 2;
      fs.writeFileSync(`${dir}/fill`, '');
      try {
        for (;;) fs.appendFileSync(`${dir}/fill`, Buffer.alloc(4096, 1));
      } catch (e) {
        assert.equal(e.code, 'ENOSPC');
      }
      for (const k of keys)
        await until('it is refused', async () => {
          const r = await chat(rig, k);
          if (r.status === 200) done++;
          const body = await r.json();
          return r.status === 503 && body.error.code === 'ledger_unavailable'
            && r.headers.get('x-should-retry') === 'true';
        });
      assert.equal((await fetch(`${rig.origin}/readyz`)).status, 503);
      fs.rmSync(`${dir}/fill`);
      await until('it is ready', async () =>
        (await fetch(`${rig.origin}/readyz`)).status === 200);
      for (const k of keys) assert.equal(await statusOf(chat(rig, k)), 200);
      done += 2;
      await rig.gate.usageOf(done);
      assert.equal((await rig.gate.ctl(['ledger', 'verify'])).code, 0);
    } finally {
      await rig.close();
    }
  }
});

const FAKETIME = ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib',
  '/usr/lib/aarch64-linux-gnu'].map((d) => `${d}/faketime/libfaketimeMT.so.1`)
  .find((f) => fs.existsSync(f));

describe('clocks', GATE_ONLY, () => {
  test('set back and forth: no request suffers, windows never go back',
    { skip: CHECKED || (!FAKETIME && 'needs faketime') }, async () => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-time-'));
      const set = (offset) => {
        fs.writeFileSync(`${dir}/new`, offset);
        fs.renameSync(`${dir}/new`, `${dir}/now`);
      };
      set('+0');
      const rig = await startRig({ env: { LD_PRELOAD: FAKETIME,
        FAKETIME_TIMESTAMP_FILE: `${dir}/now`, FAKETIME_NO_CACHE: '1',
        DONT_FAKE_MONOTONIC: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' } });
      try {
        const key = await rig.gate.createKey('day', '--rpm', '1000',
          '--budget', '100M-tokens/day');
        let resets = '';
        let jumps = 0;
        for (const offset of ['+0', '-2d', '+3d', '-1d', '+0']) {
          set(offset);
          for (let i = 0; i < 3; i++)
            assert.equal(await statusOf(chat(rig, key.key)), 200, offset);
          const now = await rig.gate.must(['key', 'show', key.id]);
          assert.ok(now.budgets[0].resets >= resets, offset);
          resets = now.budgets[0].resets;
          await until('the jump is in the log', () =>
            rig.gate.log.split('the clock was set').length > jumps);
          jumps++;
        }
        assert.equal((await rig.gate.ctl(['ledger', 'verify'])).code, 0);
      } finally {
        await rig.close();
        fs.rmSync(dir, { recursive: true });
      }
    });
});

/** Holds a thread of the daemon; gives what lets it go, or nothing. */
async function holdThread(gate, name, dir) {
  const made = await runProgram('cc', ['-o', `${dir}/stall`,
    fileURLToPath(new URL('lib/stall.c', import.meta.url))]);
  assert.equal(made.code, 0, made.stderr);
  const tasks = `/proc/${gate.pid}/task`;
  const tid = fs.readdirSync(tasks).find((t) =>
    fs.readFileSync(`${tasks}/${t}/comm`, 'utf8').trim() === name);
  const child = spawn(`${dir}/stall`, [tid], {
    stdio: ['pipe', 'pipe', 'inherit'] });
  const over = new Promise((resolve) => child.on('close', resolve));
  const stopped = await within(Promise.race([over.then(() => false),
    new Promise((resolve) => child.stdout.on('data', () => resolve(true)))]),
  'the thread to be held');
  return stopped && (async () => {
    child.stdin.end();
    await within(over, 'the thread to be let go');
  });
}

/** What /readyz says, asked by new connections until somebody answers. */
const ready = (rig) => until('an answer of /readyz', async () => {
  const c = new AbortController();
  const timer = setTimeout(() => c.abort(), 300);
  try {
    const r = await fetch(`${rig.origin}/readyz`, { signal: c.signal,
      headers: { connection: 'close' } });
    return { status: r.status, text: await r.text() };
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
});

describe('what stands still', GATE_ONLY, () => {
  test('a worker: /readyz and the log say so until it is back',
    { skip: CHECKED }, async (t) => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-stall-'));
      const rig = await startRig({ config: { workers: 3 } });
      try {
        const letGo = await holdThread(rig.gate, 'worker-1', dir);
        if (!letGo) {
          t.skip('no thread may be held here');
          return;
        }
        await until('it is not ready', async () => {
          const { status, text } = await ready(rig);
          return status === 503 && /a worker is stuck/.test(text);
        });
        await until('the log says so', () =>
          /worker is stuck: index=1/.test(rig.gate.log));
        await letGo();
        await until('it is ready', async () =>
          (await ready(rig)).status === 200);
        await until('the log says so', () =>
          /worker is back: index=1/.test(rig.gate.log));
        assert.equal(await metric(rig, 'worker_stalls_total'), 1);
        assert.equal(await statusOf(chat(rig)), 200);
      } finally {
        await rig.close();
        fs.rmSync(dir, { recursive: true });
      }
    });

  test('an upstream (SIGSTOP): 504, left alone, and asked again by itself',
    async () => {
      const child = spawn(process.execPath, [fileURLToPath(
        new URL('lib/upstream.mjs', import.meta.url)), '--print-port'],
      { stdio: ['ignore', 'pipe', 'inherit'] });
      const port = await new Promise((resolve) =>
        child.stdout.on('data', (d) => resolve(Number(d))));
      const gate = await startTollgate({ upstreams: [upstreamEntry(
        { baseUrl: `http://127.0.0.1:${port}/v1` }, {
          timeouts: { connect: '1s', first_byte: '300ms', total: '5s' },
          breaker: { failures: 3, window: '60s', open: '500ms' } })] });
      const key = (await gate.createKey('k')).key;
      const ask = () => statusOf(fetch(`${gate.baseUrl}/chat/completions`, {
        method: 'POST', body: JSON.stringify(CHAT), headers: {
          authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      }));
      try {
        assert.equal(await ask(), 200);
        child.kill('SIGSTOP');
        for (let i = 0; i < 3; i++) assert.equal(await ask(), 504);
        assert.equal(await ask(), 503);
        const [shut] = (await gate.must(['target', 'list'])).data;
        assert.equal(shut.breaker, 'open');
        child.kill('SIGCONT');
        await until('it is asked again', async () => (await ask()) === 200);
        assert.equal(await ask(), 200);
        const [well] = (await gate.must(['target', 'list'])).data;
        assert.equal(well.breaker, 'closed');
      } finally {
        child.kill('SIGKILL');
        await gate.stop();
        gate.remove();
      }
    });
});
