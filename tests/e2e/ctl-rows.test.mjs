// tollctl where it shows what happens: rows, the live view, tables on a
// terminal, completion.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ask } from './lib/openai.mjs';
import { Plan } from './lib/provider/http.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY, program, runProgram } from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

const TOP = fileURLToPath(new URL('../..', import.meta.url));

let rig;
const plain = (...args) => rig.gate.ctl(args, { json: false });
const json = async (...args) => {
  const r = await rig.gate.ctl(args);
  assert.equal(r.code, 0, r.stderr);
  return r.json;
};

/** A chat request; gives its id. */
async function chat(model = 'demo', key = rig.key) {
  const r = await fetch(`${rig.baseUrl}/chat/completions`, {
    method: 'POST', headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify({ ...ask('say ok'), model }) });
  await r.arrayBuffer();
  return r.headers.get('x-request-id');
}

/** Runs a shell command on a terminal of its own: `script` makes it. */
class Terminal {
  constructor(command) {
    this.text = '';
    this.child = spawn('script', ['-qec', command, '/dev/null'],
      { env: { ...process.env, SHELL: '/bin/sh', TERM: 'xterm' } });
    this.child.stdout.setEncoding('utf8');
    this.child.stdout.on('data', (s) => (this.text += s));
    this.ended = new Promise((resolve) =>
      this.child.on('close', (code) => resolve(code)));
  }

  shows(what) {
    return until(`${what} on the terminal, which shows ${this.text}`, () =>
      what.exec(this.text));
  }

  type(keys) {
    this.child.stdin.write(keys);
  }

  end() {
    return within(this.ended, 'the terminal to close');
  }
}

const ctl = () => `${program('tollctl')} --socket ${rig.gate.socketFile}`;

describe('tollctl shows', GATE_ONLY, () => {
  before(async () => {
    rig = await startRig();
  });
  after(() => rig?.close());

  test('ledger export: the rows themselves, of a span', async () => {
    const from = new Date().toISOString();
    const ids = [await chat(), await chat()];
    await rig.gate.usageOf(2, '--since', from);
    const { data } = await json('ledger', 'export', '--since', from);
    assert.deepEqual(data.map((r) => r.id), ids);
    for (const r of data) {
      assert.equal(r.model, 'demo');
      assert.equal(r.status, 200);
      assert.equal(r.usage_source, 'upstream');
      assert.equal(r.finish, 'stop');
      assert.ok(r.time >= from);
      assert.match(r.cost_usd, /^\d+\.\d+$/);
    }
    assert.deepEqual((await json('ledger', 'export', '--until', from)).data
      .filter((r) => ids.includes(r.id)), []);
    const table = await plain('ledger', 'export', '--since', from);
    assert.equal(table.code, 0, table.stderr);
    assert.match(table.stdout, /^TIME +ID +KEY/);
    for (const id of ids) assert.ok(table.stdout.includes(id));
    const none = await plain('ledger', 'export', '--since',
      '2100-01-01T00:00:00Z');
    assert.match(none.stdout, /no rows/);
    assert.deepEqual(
      await json('ledger', 'export', '--since', '2100-01-01'), { data: [] });
  });

  test('a row tells audio that is billed by its time', async () => {
    rig.up.script({ plan: () => Plan.json({ text: 'x',
      usage: { type: 'duration', seconds: 7.25 } }) });
    const form = new FormData();
    form.append('model', 'whisper-1');
    form.append('file', new Blob(['RIFF']), 'a.wav');
    const r = await rig.fetch('/v1/audio/transcriptions',
      { method: 'POST', body: form });
    assert.equal(r.status, 200);
    await r.arrayBuffer();
    const row = await until('the row', async () => {
      const shown = await rig.gate.ctl(
        ['request', 'show', r.headers.get('x-request-id')]);
      return shown.code === 0 && shown.json;
    });
    assert.equal(row.audio_ms, 7250);
    assert.equal(row.usage_source, 'upstream');
  });

  test('ledger export: more rows than fit one answer, none twice',
    async () => {
      const key = await rig.gate.createKey('many');
      const from = new Date().toISOString();
      const ids = [];
      const lane = async () => {
        while (ids.length < 2100) {
          const r = await fetch(`${rig.baseUrl}/nowhere`, {
            headers: { authorization: `Bearer ${key.key}` } });
          await r.arrayBuffer();
          ids.push(r.headers.get('x-request-id'));
        }
      };
      await Promise.all(Array.from({ length: 16 }, lane));
      await rig.gate.usageOf(ids.length, '--key', key.id);
      const { data } = await json('ledger', 'export', '--since', from);
      assert.deepEqual(data.map((r) => r.id).sort(), ids.sort());
      const times = data.map((r) => r.time);
      assert.deepEqual(times, [...times].sort(), 'oldest first');
    });

  test('a model name that was cut in a character has its row', async () => {
    const id = await chat(`a${'\u00e9'.repeat(90)}`);
    const row = await until('the row', async () => {
      const r = await rig.gate.ctl(['request', 'show', id]);
      return r.code === 0 && r.json;
    });
    assert.match(row.model, /^a\u00e9{50,}\??$/);
    const { data } = await json('ledger', 'export');
    assert.ok(data.some((r) => r.id === id));
    const by = await json('usage', '--by', 'model');
    assert.ok(by.data.every((r) => typeof r.model === 'string'));
  });

  test('a row never commands the terminal', async () => {
    const id = await chat('x\u001b[31m\u009b2J\u202egnp.exe');
    await until('the row', async () =>
      (await rig.gate.ctl(['request', 'show', id])).code === 0);
    for (const args of [['ledger', 'export'], ['request', 'show', id],
      ['usage', '--by', 'model']])
      assert.doesNotMatch((await plain(...args)).stdout,
        /[\u001b\u0080-\u009f\u202a-\u202e]/);
  });

  test('ledger verify', async () => {
    const r = await plain('ledger', 'verify');
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stdout, /ok\n$/);
  });

  test('top without a terminal: one view of a second', async () => {
    await chat();
    const r = await plain('top');
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stdout, /^requests +\d+\.\d \/s .* connections +\d+\n/);
    assert.match(r.stdout, /\ntokens +\d+\.\d \/s in /);
    assert.match(r.stdout, /\nlatency +p50 .* p99 .* memory \d+\.\d MiB\n/);
    assert.match(r.stdout, /\nup +upstream +up +0 +[\d,]+ /);
    assert.doesNotMatch(r.stdout, /\u001b/);
  });

  test('top counts what happens meanwhile', async () => {
    let over = false;
    let done = 0;
    const load = async () => {
      while (!over) {
        await chat();
        done++;
      }
    };
    const lanes = [load(), load()];
    await until('the load', () => done > 10);
    const { stdout } = await plain('top');
    over = true;
    await Promise.all(lanes);
    assert.ok(Number(/^requests +([\d.]+)/.exec(stdout)[1]) > 0, stdout);
    assert.ok(Number(/\ntokens +([\d.]+)/.exec(stdout)[1]) > 0, stdout);
    assert.match(stdout, /p50 <= [\d.]+ ms +p99 (<=| >) [\d.]+ ms/);
  });

  test('top --json gives the counters and the targets', async () => {
    const r = await json('top');
    assert.match(r.metrics, /^tollgate_requests_total\{/m);
    assert.equal(r.targets.data[0].name, 'up');
  });

  test('top on a terminal: until q, and the terminal is as before',
    async () => {
      const t = new Terminal(`${ctl()} top; echo code=$?; stty -a`);
      await t.shows(/\u001b\[2J.*requests/s);
      t.type('x');
      t.type('q');
      await t.shows(/code=0/);
      await t.shows(/[^-]icanon/);
      await t.shows(/[^-]echo\b/);
      assert.equal(await t.end(), 0);
    });

  test('top on a terminal: SIGTERM leaves it as before, too', async () => {
    const t = new Terminal(
      `sh -c 'echo pid=$$; exec ${ctl()} top'; stty -a`);
    const pid = Number((await t.shows(/pid=(\d+)/))[1]);
    await t.shows(/\u001b\[2J.*requests/s);
    process.kill(pid, 'SIGTERM');
    await t.shows(/[^-]icanon/);
    await t.shows(/[^-]echo\b/);
    await t.end();
  });

  test('top ends with the daemon', async () => {
    const other = await startRig();
    const t = new Terminal(`${program('tollctl')} --socket ` +
      `${other.gate.socketFile} top; echo code=$?; stty -a`);
    await t.shows(/\u001b\[2J.*requests/s);
    await other.close();
    await t.shows(/code=3/);
    await t.shows(/[^-]icanon/);
    await t.end();
  });

  test('a table fits the terminal, and is whole without one', async () => {
    const name = `${'wide '.repeat(11)}name`;
    await rig.gate.must(['team', 'create', `team of ${name}`.slice(0, 60)]);
    await rig.gate.createKey(name, '--models', 'gpt-5*,text-embedding-*',
      '--team', `team of ${name}`.slice(0, 60));
    const t = new Terminal(`stty cols 110; ${ctl()} key list`);
    await t.end();
    const lines = t.text.split('\r\n').filter((l) => l !== '');
    assert.ok(lines.length >= 3, t.text);
    for (const l of lines) assert.ok(l.length <= 110, `${l.length}: ${l}`);
    assert.ok(lines.some((l) => /^key_\w{16} .*\.\./.test(l)), t.text);
    assert.ok((await plain('key', 'list')).stdout.includes(name));
  });

  test('columns stand below each other for wide characters', async () => {
    await rig.gate.createKey('\u6771\u4eac\u306e\u9375');
    const { stdout } = await plain('key', 'list');
    const width = (s) => [...s].reduce((n, c) =>
      n + (c >= '\u3000' && c <= '\u9fff' ? 2 : 1), 0);
    const [head, ...rows] = stdout.split('\n').filter((l) => l !== '');
    const at = head.indexOf('CREATED');
    for (const r of rows) {
      const day = r.search(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/);
      assert.equal(width(r.slice(0, day)), at, r);
    }
  });

  test('config explain names the upstreams that serve the model, no other',
    async () => {
      const other = await startRig({ config: (up) => ({ upstreams: [
        upstreamEntry(up, { models: ['demo', 'gpt-5*'] }),
        upstreamEntry(up, { name: 'asked', models: undefined })] }) });
      const found = (await (await fetch(`${other.up.baseUrl}/models`, {
        headers: { authorization: `Bearer ${UPSTREAM_KEY}` } })).json())
        .data.map((m) => m.id);
      const only = found.find((m) => m !== 'demo' && !m.startsWith('gpt-5'));
      const explain = (model) => other.gate.must(
        ['config', 'explain', 'e2e', model]);
      await until('the upstream to be asked', async () =>
        (await explain('nobody-has-this')).allowed === false);
      assert.deepEqual((await explain('nobody-has-this')).targets, []);
      assert.deepEqual((await explain('gpt-5-of-mine')).targets,
        ['up/gpt-5-of-mine']);
      assert.ok(only, 'a model to look for');
      const { allowed, targets } = await explain(only);
      assert.ok(allowed);
      assert.deepEqual(targets, [`asked/${only}`]);
      await other.close();
    });

  test('completion for bash', async () => {
    const complete = async (...words) => {
      const quoted = words.map((w) => `'${w}'`).join(' ');
      const r = await runProgram('bash', ['-c',
        `source ${path.join(TOP, 'contrib/completion/tollctl.bash')}\n` +
        `COMP_WORDS=(${program('tollctl')} ${quoted})\n` +
        `COMP_CWORD=${words.length}\n_tollctl\n` +
        'printf "%s\\n" "${COMPREPLY[@]}"']);
      assert.equal(r.stderr, '');
      return r.stdout.split('\n').filter((w) => w !== '').sort();
    };
    assert.deepEqual(await complete('key', ''), ['block', 'create', 'delete',
      'list', 'rotate', 'show', 'unblock', 'update']);
    assert.deepEqual(await complete('ke'), ['key']);
    assert.deepEqual(await complete('--json', 'team', 'l'), ['list']);
    assert.ok((await complete('')).includes('status'));
    assert.ok((await complete('')).includes('--json'));
    assert.ok((await complete('help', '')).includes('ledger'));
    assert.deepEqual(await complete('key', 'create', '--m'),
      ['--metadata', '--models']);
    assert.deepEqual(await complete('key', 'create', '--name', ''), []);
    assert.ok((await complete('key', 'create', '--soft', '--'))
      .includes('--name'));
    assert.deepEqual(await complete('usage', '--by', ''),
      ['day', 'key', 'model', 'target', 'team']);
    assert.deepEqual(await complete('log-level', 'd'), ['debug']);
    assert.deepEqual(await complete('config', 'check', `${TOP}README.`),
      [`${TOP}README.md`]);
  });
});
