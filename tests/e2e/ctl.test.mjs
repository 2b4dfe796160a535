// tollctl: commands, exit codes, shapes of --json.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY, program, runProgram } from './lib/tollgate.mjs';
import { toYaml } from './lib/yaml.mjs';

let rig;
const plain = (...args) => rig.gate.ctl(args, { json: false });
const json = (...args) => rig.gate.ctl(args);

/** One line on stderr, as refusals and failures promise. */
const oneLine = (r) => assert.match(r.stderr, /^[^\n]+\n$/, r.stderr);

describe('tollctl', GATE_ONLY, () => {
  before(async () => {
    rig = await startRig({ config: (up) => ({
      upstreams: [upstreamEntry(up, { models: ['demo', 'gpt-5*'] })],
      routes: [
        { model: 'fast', targets: [
          { upstream: 'up', model: 'gpt-5-mini', weight: 3 }] },
        { model: 'demo', targets: [{ upstream: 'up' }] }] }) });
  });
  after(() => rig?.close());

  test('help, and help of each noun: exit 0, on stdout', async () => {
    for (const args of [['help'], ['key', 'help'], ['usage', 'help'],
      ['target', 'help'], ['config', 'help'], ['model', 'help']]) {
      const r = await plain(...args);
      assert.equal(r.code, 0, args.join(' '));
      assert.ok(r.stdout.length > 40);
      assert.equal(r.stderr, '');
    }
  });

  test('help needs no daemon', async () => {
    const r = await runProgram(program('tollctl'), ['help']);
    assert.equal(r.code, 0);
  });

  test('help of a command; none of what is no noun', async () => {
    for (const args of [['help', 'key'], ['key', '--help'],
      ['key', 'create', '--help'], ['key', 'create', '-h'], ['--help']]) {
      const r = await plain(...args);
      assert.equal(r.code, 0, args.join(' '));
      assert.match(r.stdout, /key create/);
    }
    for (const args of [['help', 'nonsense'], ['nonsense', 'help'],
      ['nonsense', '--help']]) {
      const r = await plain(...args);
      assert.equal(r.code, 2, args.join(' '));
      assert.equal(r.stdout, '');
    }
    assert.match((await plain('key')).stderr, /needs a verb[^]*key create/);
  });

  test('usage errors exit 2', async () => {
    for (const args of [[], ['nonsense'], ['key'], ['key', 'nonsense'],
      ['key', 'create'], ['key', 'show'], ['key', 'create', '--name'],
      ['key', 'create', '--nonsense', 'x'], ['log-level'],
      ['key', 'list', 'stray'], ['key', 'show', 'a', 'b'],
      ['key', 'update', 'a', '--rpm', '99999999999999999999'],
      ['key', 'update', 'a', '--rpm', '-1'],
      ['key', 'update', 'a', '--rpm', '1k'],
      ['key', 'update', 'a', '--metadata', 'novalue'],
      ['usage', '--by', 'nonsense']]) {
      const r = await plain(...args);
      assert.equal(r.code, 2, `${args.join(' ')}: ${r.code} ${r.stderr}`);
      assert.notEqual(r.stderr, '');
    }
  });

  test('refusals exit 1 and say why on one line', async () => {
    for (const args of [['key', 'show', 'key_none'],
      ['key', 'block', 'nobody'], ['key', 'delete', 'sk-tg-none'],
      ['usage', '--key', 'nobody'], ['usage', '--since', 'yesterday'],
      ['usage', '--since', '2026-02-31'], ['request', 'show', 'none'],
      ['target', 'drain', 'nobody'], ['team', 'show', 'nobody'],
      ['key', 'update', 'e2e'], ['key', 'rotate', 'e2e', '--grace', 'long'],
      ['log-level', 'loud']]) {
      const r = await plain(...args);
      assert.equal(r.code, 1, `${args.join(' ')}: ${r.stderr}`);
      oneLine(r);
    }
  });

  test('no daemon: exit 3, the socket is named', async () => {
    const r = await rig.gate.ctl(['status'],
      { json: false, socket: '/nonexistent/control.sock' });
    assert.equal(r.code, 3);
    oneLine(r);
    assert.match(r.stderr, /\/nonexistent\/control\.sock/);
  });

  test('the socket is found by the config too', async () => {
    const r = await runProgram(program('tollctl'),
      ['-c', rig.gate.configFile, '--json', 'status']);
    assert.equal(r.code, 0, r.stderr);
    assert.ok(JSON.parse(r.stdout).listen.length > 0);
  });

  test('status', async () => {
    const r = await json('status');
    assert.equal(r.code, 0);
    assert.match(r.json.version, /^\d+\.\d+\.\d+/);
    assert.equal(r.json.pid, rig.gate.pid);
    assert.ok(Number.isInteger(r.json.uptime_seconds));
    const p = await plain('status');
    assert.equal(p.code, 0);
    assert.ok(p.stdout.includes(rig.gate.addresses[0]));
    assert.match(p.stdout, new RegExp(`^pid +${rig.gate.pid}$`, 'm'));
    assert.match(p.stdout, /^uptime +(\d+[dhm] )?\d+[hms]$/m);
    assert.match(p.stdout, /^resident +\d+\.\d MiB$/m);
  });

  test('key list and key show for people', async () => {
    await rig.gate.must(['team', 'create', 'green']);
    await rig.gate.createKey('shown', '--team', 'green');
    const list = await plain('key', 'list');
    assert.equal(list.code, 0);
    assert.match(list.stdout, /shown/);
    assert.match(list.stdout, /green/);
    assert.doesNotMatch(list.stdout, /sk-tg-[\w-]{20}/);
    const show = await plain('key', 'show', 'shown');
    assert.match(show.stdout, /key_/);
  });

  test('key create for people prints the secret once', async () => {
    const r = await plain('key', 'create', '--name', 'human');
    assert.equal(r.code, 0);
    const secret = /sk-tg-[\w-]+/.exec(r.stdout)[0];
    rig.gate.secrets.push(secret);
    assert.match(r.stdout + r.stderr, /key_\w+/);
    assert.doesNotMatch((await plain('key', 'show', 'human')).stdout,
      /sk-tg-[\w-]{20}/);
  });

  test('a budget SPEC is checked', async () => {
    const good = await json('key', 'create', '--name', 'spender',
      '--budget', '$25/month', '--budget', '500k-tokens/day');
    assert.equal(good.code, 0, good.stderr);
    rig.gate.secrets.push(good.json.key);
    assert.deepEqual(good.json.budgets.map((b) => [b.unit, b.window]).sort(),
      [['tokens', 'day'], ['usd', 'month']]);
    const bad = await json('key', 'create', '--name', 'x', '--budget', 'lots');
    assert.notEqual(bad.code, 0);
  });

  test('what would make a key by mistake is refused', async () => {
    for (const args of [['--models', ''], ['--models', ','], ['--soft'],
      ['--expires', '2020-01-01'], ['--expires', '1970-01-01'],
      ['--expires', '0s'], ['--expires', '2099-02-30'],
      ['--expires', '2099-00-10'], ['--expires', '2099-01-00'],
      ['--expires', '2099-01-01T25:00:00Z'], ['--budget', 'none/day'],
      ['--metadata', `${'n'.repeat(65)}=v`]]) {
      const r = await plain('key', 'create', '--name', 'oops', ...args);
      assert.equal(r.code, 1, `${args.join(' ')}: ${r.stdout}`);
      oneLine(r);
    }
    assert.equal((await plain('key', 'show', 'oops')).code, 1);
  });

  test('times are taken as they are shown', async () => {
    for (const [text, ms] of [['2099-01-01', '2099-01-01T00:00:00.000Z'],
      ['2099-01-01T10:20:30Z', '2099-01-01T10:20:30.000Z'],
      ['2099-01-01 10:20:30Z', '2099-01-01T10:20:30.000Z'],
      ['2099-01-01T10:20:30.045678Z', '2099-01-01T10:20:30.045Z'],
      ['2099-01-01T10:20:30+01:30', '2099-01-01T08:50:30.000Z'],
      ['2100-02-28T23:59:59-00:01', '2100-03-01T00:00:59.000Z']]) {
      const k = await rig.gate.must(['key', 'update',
        (await rig.gate.createKey(`at ${text}`)).id, '--expires', text]);
      assert.equal(k.expires, ms);
    }
  });

  test('budgets and a team are taken away again', async () => {
    const k = await rig.gate.createKey('rich', '--budget', '$1/day', '--soft',
      '--budget', '5k-tokens/total', '--team', 'rich ones');
    assert.deepEqual(k.budgets.map((b) => b.soft), [true, false]);
    assert.match((await plain('key', 'show', 'rich')).stdout,
      /\$1\.00\/day \(soft\)/);
    assert.equal((await json('team', 'show', 'rich ones')).code, 0);
    const none = await rig.gate.must(['key', 'update', 'rich', '--budget',
      'none', '--team', '']);
    assert.deepEqual(none.budgets, []);
    assert.equal(none.team, null);
    await rig.gate.must(['team', 'delete', 'rich ones']);
  });

  test('a refused key leaves no team behind', async () => {
    await rig.gate.createKey('taken');
    for (const args of [['create', '--name', 'taken'], ['update', 'nobody'],
      ['update', 'taken', '--name', 'key_x']]) {
      const r = await plain('key', ...args, '--team', 'ghosts');
      assert.equal(r.code, 1, args.join(' '));
      oneLine(r);
      assert.equal((await plain('team', 'show', 'ghosts')).code, 1);
    }
  });

  test('bytes that are no UTF-8 are refused, not left out', async () => {
    for (const arg of ["--name x --team $'\\xff'", "--name $'\\xff'",
      "--name x --models $'a,\\xff'", "--name x --budget $'\\xff'",
      "--name x --metadata $'a=\\xff'"]) {
      const r = await runProgram('bash', ['-c', `${program('tollctl')} ` +
        `--socket ${rig.gate.socketFile} key create ${arg}`]);
      assert.equal(r.code, 2, `${arg}: ${r.stdout}`);
      assert.match(r.stderr, /not UTF-8/);
    }
    assert.equal((await plain('key', 'show', 'x')).code, 1);
  });

  test('an answer that cannot be written is a failure', async () => {
    const r = await runProgram('sh', ['-c', `${program('tollctl')} --socket ` +
      `${rig.gate.socketFile} key create --name lost >/dev/full`]);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /cannot be written/);
  });

  test('model list', async () => {
    const { json: r } = await json('model', 'list');
    const fast = r.data.find((m) => m.model === 'fast' || m.id === 'fast' ||
      m.name === 'fast');
    assert.ok(fast, JSON.stringify(r));
    assert.match(JSON.stringify(fast), /up/);
    assert.match((await plain('model', 'list')).stdout, /fast/);
  });

  test('target list: in flight, last error', async () => {
    const script = rig.up.script({ gateAfter: 'head' });
    const asked = rig.fetch('/v1/chat/completions', { json: ask('x') });
    await script.reached;
    const { json: r } = await json('target', 'list');
    const up = r.data.find((t) => t.name === 'up');
    assert.equal(up.in_flight, 1);
    script.open();
    await asked;
    rig.up.script({ fault: 'reset', at: 0 });
    await rig.fetch('/v1/chat/completions', { json: ask('x') });
    const after2 = (await json('target', 'list')).json.data
      .find((t) => t.name === 'up');
    assert.equal(after2.in_flight, 0);
    assert.ok(after2.last_error, 'the last error is kept');
    assert.match((await plain('target', 'list')).stdout, /up/);
  });

  test('config check, show, explain', async () => {
    const good = await plain('config', 'check', rig.gate.configFile);
    assert.ok([0, 1].includes(good.code), good.stderr);
    const bad = path.join(rig.gate.dir, 'bad.yaml');
    fs.writeFileSync(bad, 'workers: many\nnonsense: 1\n', { mode: 0o600 });
    const b = await plain('config', 'check', bad);
    assert.equal(b.code, 1);
    oneLine(b);
    for (const at of ['1:', '2:'])
      assert.ok((b.stdout + b.stderr).includes(`${bad}:${at}`), b.stderr);
    const show = await plain('config', 'show');
    assert.equal(show.code, 0);
    assert.match(show.stdout, /gpt-5-mini/);
    assert.ok(!show.stdout.includes(UPSTREAM_KEY), 'no secret is shown');
    fs.rmSync(bad);
    const k = await rig.gate.createKey('explained', '--models', 'fast');
    const e = await json('config', 'explain', k.id, 'fast');
    assert.equal(e.code, 0, e.stderr);
    assert.match(e.stdout, /up/);
    assert.match(e.stdout, /gpt-5-mini/);
    const no = await plain('config', 'explain', k.id, 'demo');
    assert.match(no.stdout + no.stderr, /not allowed|allow/);
  });

  test('log-level changes what is logged', async () => {
    assert.equal((await plain('log-level', 'debug')).code, 0);
    assert.equal((await plain('log-level', 'info')).code, 0);
  });

  test('a shape for every object: snake case, RFC 3339, integers',
    async () => {
      const bad = [];
      const walk = (v, at) => {
        if (Array.isArray(v)) return v.forEach((x, i) => walk(x, `${at}[${i}]`));
        if (v === null || typeof v !== 'object') return undefined;
        for (const [k, x] of Object.entries(v)) {
          const where = `${at}.${k}`;
          if (!/^[a-z][a-z0-9_]*$/.test(k) && !/metadata|labels/.test(at))
            bad.push(where);
          if (/^(created|expires|resets|started|time)$/.test(k) && x !== null &&
            !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(x)) bad.push(where);
          if (/_tokens$/.test(k) && !Number.isInteger(x)) bad.push(where);
          walk(x, where);
        }
        return undefined;
      };
      for (const args of [['key', 'list'], ['usage', '--by', 'key'],
        ['target', 'list'], ['model', 'list'], ['status']]) {
        const r = await json(...args);
        assert.equal(r.code, 0, `${args.join(' ')}: ${r.stderr}`);
        walk(r.json, args[0]);
      }
      assert.deepEqual(bad, []);
    });

  test('names with spaces, quotes and UTF-8 survive', async () => {
    for (const name of ['two words', 'say "hi"', 'caf\u00e9', "it's"]) {
      const k = await rig.gate.createKey(name);
      assert.equal((await json('key', 'show', name)).json.id, k.id);
    }
  });

  test('many commands at once', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () =>
      json('status')));
    assert.ok(all.every((r) => r.code === 0));
  });

  test('a peer that has asked all it wants still gets its answers',
    async () => {
      const net = await import('node:net');
      const text = await new Promise((resolve, reject) => {
        let got = '';
        const s = net.connect(
          { path: rig.gate.socketFile, allowHalfOpen: true }, () =>
            s.end('{"cmd":"top"}\n{"cmd":"log-level"}\n{"cmd":"status"}\n'));
        s.setEncoding('utf8');
        s.on('data', (d) => (got += d));
        s.on('error', reject);
        s.on('end', () => resolve(got));
      });
      const answers = text.split('\n').filter((l) => l).map(JSON.parse);
      assert.deepEqual(answers.map((a) => a.ok), [true, false, true]);
      assert.equal(answers[2].data.pid, rig.gate.pid);
    });

  test('the control socket turns away what it cannot read', async () => {
    const net = await import('node:net');
    for (const junk of ['\n', 'nonsense\n', '{"cmd":"nope"}\n', '{}\n',
      `${'x'.repeat(3 << 20)}\n`]) {
      await new Promise((resolve) => {
        const s = net.connect({ path: rig.gate.socketFile }, () =>
          s.end(junk));
        s.on('error', () => {});
        s.on('close', resolve);
        s.resume();
      });
    }
    assert.equal((await json('status')).code, 0);
  });
});

describe('tollctl config without a daemon', GATE_ONLY, () => {
  test('config check works offline', async () => {
    const dir = fs.mkdtempSync('/tmp/tg-ctl-');
    const file = path.join(dir, 'c.yaml');
    fs.writeFileSync(file, toYaml({ listen: [{ address: '127.0.0.1:0' }] }),
      { mode: 0o600 });
    const r = await runProgram(program('tollctl'), ['config', 'check', file]);
    assert.equal(r.code, 0, r.stderr);
    fs.rmSync(dir, { recursive: true });
  });
});
