// Start, check, reload, drain, stop: the daemon as a Unix program.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Authority } from './lib/certs.mjs';
import { ask, collect, openaiFor, textOf } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { Tollgate, program, runProgram, startTollgate }
  from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

const tollgate = (args, env = {}) => runProgram(program('tollgate'), args, {
  env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env } });

/** A config file with this text, in a folder that goes afterwards. */
async function withFile(text, f) {
  const dir = fs.mkdtempSync('/tmp/tg-conf-');
  const file = path.join(dir, 'c.yaml');
  fs.writeFileSync(file, text, { mode: 0o600 });
  try {
    return await f(file, dir);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

describe('command line', GATE_ONLY, () => {
  test('-V and -h answer and exit 0', async () => {
    const v = await tollgate(['-V']);
    assert.equal(v.code, 0);
    assert.match(v.stdout, /^tollgate \d+\.\d+\.\d+/);
    const h = await tollgate(['-h']);
    assert.equal(h.code, 0);
    assert.match(h.stdout, /-c FILE/);
  });

  test('usage errors exit 2', async () => {
    assert.equal((await tollgate(['-Z'])).code, 2);
    assert.equal((await tollgate(['stray'])).code, 2);
    assert.equal((await tollgate(['-c'])).code, 2);
  });

  test('-t: a good config exits 0', () =>
    withFile('listen:\n  - address: 127.0.0.1:0\n', async (file) => {
      const r = await tollgate(['-t', '-c', file]);
      assert.equal(r.code, 0, r.stderr);
    }));

  const BAD = ['listen:', '  - addres: 127.0.0.1:0', 'workers: many',
    'limits:', '  body: 64 potatoes', 'upstreams:', '  - name: a',
    '    base_url: ftp://x', 'nonsense: 1', ''].join('\n');

  const assertAllListed = (r, file) => {
    const lines = r.stderr.split('\n').filter((l) => l.startsWith(file));
    const seen = lines.map((l) => Number(l.slice(file.length + 1)
      .split(':')[0]));
    for (const want of [2, 3, 5, 8, 9])
      assert.ok(seen.includes(want), `line ${want} is told:\n${r.stderr}`);
    for (const l of lines)
      assert.match(l.slice(file.length), /^:\d+:\d+: .+; .+/);
    assert.match(r.stderr, /address/, 'the nearest known key is named');
  };

  test('-t: every mistake is listed, with line and column; exit 78', () =>
    withFile(BAD, async (file) => {
      const r = await tollgate(['-t', '-c', file]);
      assert.equal(r.code, 78);
      assertAllListed(r, file);
    }));

  test('starting with a bad config: the same, exit 78', () =>
    withFile(BAD, async (file) => {
      const r = await tollgate(['-c', file]);
      assert.equal(r.code, 78);
      assertAllListed(r, file);
    }));

  test('text that is no YAML; a file that is not there', async () => {
    await withFile('listen: [\n', async (file) => {
      const r = await tollgate(['-t', '-c', file]);
      assert.equal(r.code, 78);
      assert.match(r.stderr, new RegExp(`${file}:\\d+:\\d+: `));
    });
    const r = await tollgate(['-t', '-c', '/nonexistent/x.yaml']);
    assert.ok([1, 78].includes(r.code));
    assert.match(r.stderr, /\/nonexistent\/x\.yaml/);
  });

  test('a certificate that is none: exit 78 for -t and for a start',
    async () => {
      const ca = new Authority();
      const good = ca.issue(['a.test']);
      const locked = path.join(ca.dir, 'locked.key');
      const junk = path.join(ca.dir, 'junk.key');
      const made = await runProgram('openssl', ['ec', '-aes128', '-passout',
        'pass:x', '-in', good.keyFile, '-out', locked]);
      assert.equal(made.code, 0, made.stderr);
      fs.writeFileSync(junk, 'junk');
      const text = (dir, key) => 'listen:\n  - address: 127.0.0.1:0\n' +
        `    tls: {cert: ${good.certFile}, key: ${key}}\n` +
        `state_dir: ${dir}/state\n`;
      await withFile('', async (file, dir) => {
        fs.writeFileSync(file, text(dir, good.keyFile));
        assert.equal((await tollgate(['-t', '-c', file])).code, 0);
        for (const key of [junk, locked]) {
          fs.writeFileSync(file, text(dir, key));
          for (const args of [['-t'], []]) {
            const r = await tollgate([...args, '-c', file]);
            assert.equal(r.code, 78, r.stderr);
            assert.ok(r.stderr.includes(key), r.stderr);
          }
        }
        assert.ok(!fs.existsSync(`${dir}/state`), 'nothing was begun');
      });
      ca.remove();
    });

  test('every bad certificate is a mistake among the others, at its place',
    async () => {
      const ca = new Authority();
      const [a, b] = [ca.issue(['a.test']), ca.issue(['b.test'])];
      const old = ca.issue(['old.test'], { days: -1 });
      const text = (dir) => ['workers: lots', 'listen:',
        '  - address: 127.0.0.1:0', '    tls:',
        `      - cert: ${a.certFile}`, `        key: ${b.keyFile}`,
        `      - cert: ${b.keyFile}`, `        key: ${b.keyFile}`,
        `      - cert: ${dir}/none.pem`, `        key: ${a.certFile}`,
        '  - address: 127.0.0.1:0',
        `    tls: {cert: ${a.certFile}, key: ${a.certFile}}`,
        '  - address: 127.0.0.1:0', '    tls:',
        `      cert: ${old.certFile}`, `      key: ${old.keyFile}`,
        `state_dir: ${dir}/state`, ''].join('\n');
      const told = (report, file) => {
        for (const [at, what] of [['1:10', 'workers: .*lots'],
          ['6:14', 'listen\\[\\].tls\\[\\].key: .*does not match'],
          ['7:15', 'listen\\[\\].tls\\[\\].cert: .*no certificate in it'],
          ['9:15', 'listen\\[\\].tls\\[\\].cert: .*cannot be read'],
          ['12:\\d+', 'listen\\[\\].tls\\[\\].key: .*no private key in it'],
          ['15:13', 'warning: listen\\[\\].tls\\[\\].cert: .*expired']])
          assert.match(report, new RegExp(`${file}:${at}: ${what}`));
      };
      const gate = await startTollgate({});
      try {
        await withFile('', async (file, dir) => {
          fs.writeFileSync(file, text(dir));
          for (const args of [['-t'], []]) {
            const r = await tollgate([...args, '-c', file]);
            assert.equal(r.code, 78, r.stderr);
            told(r.stderr, file);
            assert.match(r.stderr, /5 mistakes/);
          }
          fs.writeFileSync(gate.configFile, text(dir));
          const r = await gate.reload();
          assert.equal(r.code, 1);
          told(r.stderr, gate.configFile);
          await until('the log counts them', () =>
            /not loaded.*mistakes=5/.test(gate.log));
        });
      } finally {
        await gate.stop();
        ca.remove();
      }
    });

  test('an environment secret that is not set is a mistake', () =>
    withFile('upstreams:\n  - name: a\n    base_url: http://127.0.0.1:1\n' +
      '    api_key: env:NOT_SET_ANYWHERE\n', async (file) => {
      const r = await tollgate(['-t', '-c', file]);
      assert.equal(r.code, 78);
      assert.match(r.stderr, /NOT_SET_ANYWHERE/);
    }));
});

describe('start', GATE_ONLY, () => {
  test('fewer open files than connections need: a warning with the figures',
    () => withFile('', async (file, dir) => {
      fs.writeFileSync(file, 'listen: [{address: "127.0.0.1:0"}]\n' +
        `state_dir: ${dir}/state\nlimits: {connections: 40}\nworkers: 1\n`);
      const r = await runProgram('sh', ['-c', 'ulimit -n 100; ' +
        `"${program('tollgate')}" -c ${file} & p=$!; ` +
        `until [ -S ${dir}/state/control.sock ] || ! kill -0 $p; ` +
        'do sleep 0.1; done; kill $p; wait $p']);
      assert.match(r.stderr, /limit=100 connections=40 let_in=26/);
    }));

  test('first start: tells how to make a key', async () => {
    const gate = await startTollgate({});
    try {
      await until('the hint', () =>
        gate.log.includes('tollctl key create --name me'));
      await gate.createKey('one');
      await gate.stop();
      gate.log = '';
      await gate.start();
      assert.doesNotMatch(gate.log, /tollctl key create/);
    } finally {
      await gate.stop();
      gate.remove();
    }
  });

  test('each bound address is announced in the log', async () => {
    const gate = await startTollgate({
      listen: [{ address: '127.0.0.1:0' }, { address: '127.0.0.1:0' }] });
    try {
      assert.equal(gate.addresses.length, 2);
      for (const a of gate.addresses) {
        assert.doesNotMatch(a, /:0$/);
        await until(`${a} in the log`, () => gate.log.includes(a));
      }
    } finally {
      await gate.stop();
      gate.remove();
    }
  });

  test('a second daemon on the same state refuses, by name', async () => {
    const gate = await startTollgate({});
    try {
      const second = path.join(gate.dir, 'second.yaml');
      fs.writeFileSync(second, fs.readFileSync(gate.configFile, 'utf8')
        .replace('control.sock', 'other.sock'), { mode: 0o600 });
      const r = await tollgate(['-c', second]);
      assert.equal(r.code, 1);
      assert.ok(r.stderr.includes(gate.stateDir), r.stderr);
      assert.equal((await gate.ctl(['status'])).code, 0);
    } finally {
      await gate.stop();
      gate.remove();
    }
  });

  test('an address in use: exit 1, the address is named', async () => {
    const gate = await startTollgate({});
    try {
      const taken = gate.addresses[0];
      await withFile(`listen:\n  - address: ${taken}\nstate_dir: ` +
        `${gate.dir}/s2\ncontrol_socket: ${gate.dir}/c2\n`, async (file) => {
        const r = await tollgate(['-c', file]);
        assert.equal(r.code, 1);
        assert.ok(r.stderr.includes(taken), r.stderr);
      });
    } finally {
      await gate.stop();
      gate.remove();
    }
  });

  test('the directory of the control socket is made', async () => {
    const dir = fs.mkdtempSync('/tmp/tg-run-');
    const gate = new Tollgate({ control_socket: `${dir}/new/c.sock` }, {});
    gate.socketFile = `${dir}/new/c.sock`;
    try {
      await gate.start();
      assert.equal(fs.statSync(`${dir}/new`).mode & 0o027, 0);
    } finally {
      await gate.stop();
      gate.remove();
      fs.rmSync(dir, { recursive: true });
    }
  });

  test('a state directory that cannot be: exit 1, it is named', () =>
    withFile('', async (file, dir) => {
      fs.writeFileSync(`${dir}/f`, '');
      fs.writeFileSync(file, 'listen:\n  - address: 127.0.0.1:0\n' +
        `state_dir: ${dir}/f/state\n`);
      const r = await tollgate(['-c', file]);
      assert.equal(r.code, 1);
      assert.ok(r.stderr.includes(`${dir}/f/state`), r.stderr);
    }));

  test('a corrupt ledger is refused by name, and not re-created',
    async () => {
      const gate = await startTollgate({});
      await gate.createKey('x');
      await gate.stop();
      const ledger = path.join(gate.stateDir, 'ledger');
      const file = fs.readdirSync(ledger).map((f) => path.join(ledger, f))
        .find((f) => /data\.mdb$/.test(f));
      const bytes = fs.readFileSync(file);
      bytes.fill(0xa5, 0, 8192);
      fs.writeFileSync(file, bytes);
      const r = await tollgate(['-c', gate.configFile],
        { E2E_UPSTREAM_KEY: 'x' });
      assert.equal(r.code, 1);
      assert.ok(r.stderr.includes(ledger), r.stderr);
      assert.ok(fs.readFileSync(file).equals(bytes), 'left as it was');
      gate.remove();
    });
});

describe('service manager', GATE_ONLY, () => {
  /** A datagram socket, which node has not: what comes is printed. */
  const LISTEN = 'import socket, sys\n' +
    's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n' +
    's.bind(sys.argv[1])\nprint("bound", flush=True)\n' +
    'while True: print(s.recv(4096).decode(), flush=True)\n';

  test('is told of start, reload and stop', () =>
    withFile('', async (file, dir) => {
      const socket = `${dir}/notify`;
      const child = spawn('python3', ['-c', LISTEN, socket]);
      let said = '';
      child.stdout.on('data', (d) => (said += d));
      const hears = (what) => until(`${what} in ${said}`, () =>
        what.test(said));
      await hears(/^bound\n/);
      const gate = await startTollgate({}, { env: { NOTIFY_SOCKET: socket } });
      try {
        await hears(/^bound\nREADY=1\n$/);
        gate.child.kill('SIGHUP');
        await hears(/RELOADING=1\nREADY=1\n$/);
        assert.equal((await gate.ctl(['drain'])).code, 0);
        await hears(/STOPPING=1\n$/);
        await within(gate.exited, 'the end');
      } finally {
        await gate.stop();
        gate.remove();
        child.kill();
      }
    }));
});

describe('reload', GATE_ONLY, () => {
  let rig;
  before(async () => {
    rig = await startRig();
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  const routed = (routes) => ({ passthrough: 'up',
    upstreams: [upstreamEntry(rig.up, { models: ['demo'] })], routes });

  const statusOf = async (model) => {
    const r = await rig.fetch('/v1/chat/completions',
      { json: { ...ask('say ok'), model } });
    await r.arrayBuffer();
    return r.status;
  };

  test('a new route holds after tollctl reload', async () => {
    rig.gate.writeConfig(routed([{ model: 'other', targets: [
      { upstream: 'up', model: 'demo' }] }]));
    assert.equal(await statusOf('demo'), 200, 'old config before');
    const r = await rig.gate.reload();
    assert.equal(r.code, 0, r.stderr);
    assert.equal(await statusOf('other'), 200);
  });

  test('SIGHUP reloads too', async () => {
    rig.gate.writeConfig(routed([{ model: 'by-hup', targets: [
      { upstream: 'up', model: 'demo' }] }]));
    rig.gate.child.kill('SIGHUP');
    await until('the new route', async () =>
      (await statusOf('by-hup')) === 200);
  });

  test('a request in flight ends on the config it began with', async () => {
    rig.gate.writeConfig(routed([{ model: 'fast', targets: [
      { upstream: 'up', model: 'demo' }] }]));
    await rig.gate.reload();
    const script = rig.up.script({ gateAfter: 3 });
    const s = await openaiFor(rig).chat.completions.create(
      { ...ask('count to 9', { stream: true }), model: 'fast' });
    await script.reached;
    rig.gate.writeConfig(routed([{ model: 'new', targets: [
      { upstream: 'up', model: 'demo' }] }]));
    assert.equal((await rig.gate.reload()).code, 0);
    assert.equal(await statusOf('fast'), 404);
    script.open();
    const chunks = await collect(s);
    assert.equal(textOf(chunks), '1 2 3 4 5 6 7 8 9');
    assert.ok(chunks.every((c) => c.model === 'fast'));
  });

  test('a bad config: refused with every mistake, the old one runs on',
    async () => {
      rig.gate.writeConfig(routed([{ model: 'good', targets: [
        { upstream: 'up', model: 'demo' }] }]));
      await rig.gate.reload();
      rig.gate.writeConfig('workers: many\nnonsense: 1\n');
      const r = await rig.gate.reload();
      assert.equal(r.code, 1);
      for (const at of ['1:', '2:'])
        assert.ok(r.stderr.includes(`${rig.gate.configFile}:${at}`), r.stderr);
      assert.equal(await statusOf('good'), 200);
      rig.gate.child.kill('SIGHUP');
      await until('the log tells why', () =>
        rig.gate.log.includes(`${rig.gate.configFile}:2:`));
      assert.equal(await statusOf('good'), 200);
    });

  test('tollctl finds the socket in a config with mistakes, to be told them',
    async () => {
      rig.gate.writeConfig(routed([]));
      const good = fs.readFileSync(rig.gate.configFile, 'utf8');
      fs.writeFileSync(rig.gate.configFile, `${good}\nnonsense: 1\n`);
      const r = await runProgram(program('tollctl'),
        ['-c', rig.gate.configFile, 'reload']);
      assert.equal(r.code, 1, r.stderr);
      assert.match(r.stderr, /unknown key nonsense/);
      fs.writeFileSync(rig.gate.configFile, good);
    });

  test('more mistakes than are listed are counted', async () => {
    const text = fs.readFileSync(rig.gate.configFile);
    rig.gate.writeConfig(Array.from({ length: 600 }, (_, i) =>
      `${'long'.repeat(50)}${i}: 1\n`).join(''));
    const r = await rig.gate.reload();
    assert.equal(r.code, 1);
    assert.match(r.stderr, /:200:1: unknown key/);
    assert.match(r.stderr, /\n\.\.\. and 400 more\n$/);
    fs.writeFileSync(rig.gate.configFile, text);
  });

  test('files that cannot be opened: refused whole', async () => {
    const good = routed([{ model: 'whole', targets: [
      { upstream: 'up', model: 'demo' }] }]);
    rig.gate.writeConfig(good);
    assert.equal((await rig.gate.reload()).code, 0);
    rig.gate.writeConfig({ ...routed([]),
      log: { level: 'debug', access: '/nonexistent/access.log' } });
    const r = await rig.gate.reload();
    assert.equal(r.code, 1);
    assert.match(r.stderr, /log cannot be opened/);
    const asked = await rig.fetch('/v1/chat/completions',
      { json: { ...ask('say ok'), model: 'whole' } });
    assert.equal(asked.status, 200);
    await asked.arrayBuffer();
    await rig.gate.accessRow('in the old file', (x) =>
      x.id === asked.headers.get('x-request-id'));
    rig.gate.writeConfig(good);
  });

  test('a file that is gone: refused, the old one runs on', async () => {
    const text = fs.readFileSync(rig.gate.configFile);
    fs.rmSync(rig.gate.configFile);
    const r = await rig.gate.reload();
    assert.equal(r.code, 1);
    assert.ok(r.stderr.includes(rig.gate.configFile), r.stderr);
    assert.equal(await statusOf('whole'), 200);
    fs.writeFileSync(rig.gate.configFile, text);
  });

  test('what needs a restart is told, and told again', async () => {
    const config = routed([{ model: 'whole', targets: [
      { upstream: 'up', model: 'demo' }] }]);
    rig.gate.writeConfig({ ...config, workers: 3 });
    for (let i = 0; i < 2; i++) {
      const r = await rig.gate.reload();
      assert.equal(r.code, 0, r.stderr);
      assert.match(r.json.report, /workers holds only after a restart/);
    }
    assert.equal((await rig.gate.must(['status'])).workers, 2);
    rig.gate.writeConfig(config);
    assert.doesNotMatch((await rig.gate.reload()).json.report, /restart/);
  });

  test('many reloads under load: no request fails', async () => {
    rig.gate.writeConfig(routed([{ model: 'load', targets: [
      { upstream: 'up', model: 'demo' }] }]));
    assert.equal((await rig.gate.reload()).code, 0);
    let stop = false;
    const failures = [];
    const client = openaiFor(rig);
    const load = async (stream) => {
      let n = 0;
      while (!stop) {
        try {
          const r = await client.chat.completions.create(
            { ...ask('count to 5', { stream }), model: 'load' });
          if (stream) assert.equal(textOf(await collect(r)), '1 2 3 4 5');
          n++;
        } catch (e) {
          failures.push(e);
        }
      }
      return n;
    };
    const running = [load(true), load(false), load(true)];
    for (let i = 0; i < 40; i++)
      assert.equal((await rig.gate.reload()).code, 0);
    stop = true;
    const counts = await Promise.all(running);
    assert.deepEqual(failures, []);
    assert.ok(counts.every((n) => n > 0));
  });

  test('the access log moves with a reload', async () => {
    const old = rig.gate.accessFile;
    const moved = `${old}.moved`;
    rig.gate.writeConfig({ ...routed([]), log: {
      level: 'debug', access: moved, format: 'json' } });
    assert.equal((await rig.gate.reload()).code, 0);
    rig.gate.accessFile = moved;
    const r = await rig.fetch('/v1/agents', { json: {} });
    const id = r.headers.get('x-request-id');
    await rig.gate.accessRow('in the new file', (x) => x.id === id);
    assert.ok(!fs.readFileSync(old, 'utf8').includes(id));
    rig.gate.accessFile = old;
    rig.gate.writeConfig(routed([]));
    assert.equal((await rig.gate.reload()).code, 0);
  });

  test('log reopen: SIGUSR1 after a rename', async () => {
    const moved = `${rig.gate.accessFile}.1`;
    fs.renameSync(rig.gate.accessFile, moved);
    rig.gate.child.kill('SIGUSR1');
    await until('a new file', () => fs.existsSync(rig.gate.accessFile));
    const r = await rig.fetch('/v1/agents', { json: {} });
    await rig.gate.accessRow('in the new file', (x) =>
      x.id === r.headers.get('x-request-id'));
    assert.ok(!fs.readFileSync(moved, 'utf8')
      .includes(r.headers.get('x-request-id')));
    fs.rmSync(moved);
  });
});

describe('stop', GATE_ONLY, () => {
  test('SIGTERM drains: what runs ends well, nothing new comes in',
    async () => {
      const rig = await startRig();
      const script = rig.up.script({ gateAfter: 3 });
      const s = await openaiFor(rig).chat.completions.create(
        ask('count to 9', { stream: true }));
      await script.reached;
      const idle = await RawClient.connect(rig.address);
      await idle.send(requestBytes('GET', '/healthz'));
      await idle.readReply();
      rig.gate.child.kill('SIGTERM');
      assert.equal((await idle.readAll()).length, 0, 'idle ones are closed');
      await until('no new connections', () =>
        RawClient.connect(rig.address).then((c) => {
          c.destroy();
          return false;
        }, () => true));
      assert.equal(rig.gate.exit, undefined, 'it waits for the stream');
      script.open();
      assert.equal(textOf(await collect(s)), '1 2 3 4 5 6 7 8 9');
      const exit = await within(rig.gate.exited, 'the end');
      assert.equal(exit.code, 0);
      await rig.close();
    });

  test('the metrics address answers to the end of a drain', async () => {
    const rig = await startRig({ config: {
      metrics: { address: '127.0.0.1:0' } } });
    const told = [...rig.gate.log.matchAll(/address=([\d.:]+)/g)];
    assert.equal(told.length, 2, rig.gate.log);
    const watch = `http://${told[1][1]}`;
    const script = rig.up.script({ gateAfter: 3 });
    const s = await openaiFor(rig).chat.completions.create(
      ask('count to 5', { stream: true }));
    await script.reached;
    assert.equal((await fetch(`${watch}/readyz`)).status, 200);
    rig.gate.child.kill('SIGTERM');
    await until('503', async () =>
      (await fetch(`${watch}/readyz`)).status === 503);
    assert.match(await (await fetch(`${watch}/readyz`)).text(), /draining/);
    assert.equal((await fetch(`${watch}/health/liveliness`)).status, 503);
    assert.equal((await fetch(`${watch}/healthz`)).status, 200);
    assert.equal((await fetch(`${watch}/metrics`)).status, 200);
    const held = await RawClient.connect({ host: '127.0.0.1',
      port: Number(watch.split(':').at(-1)) });
    script.open();
    assert.equal(textOf(await collect(s)), '1 2 3 4 5');
    const exit = await within(rig.gate.exited, 'the end, despite a watcher');
    assert.equal(exit.code, 0);
    held.destroy();
    await rig.close();
  });

  test('tollctl drain does the same', async () => {
    const rig = await startRig();
    const r = await rig.gate.ctl(['drain']);
    assert.equal(r.code, 0, r.stderr);
    const exit = await within(rig.gate.exited, 'the end');
    assert.equal(exit.code, 0);
    await rig.close();
  });

  test('SIGTERM after tollctl drain is the first: what runs ends well',
    async () => {
      const rig = await startRig();
      const script = rig.up.script({ gateAfter: 3 });
      const s = await openaiFor(rig).chat.completions.create(
        ask('count to 9', { stream: true }));
      await script.reached;
      assert.equal((await rig.gate.ctl(['drain'])).code, 0);
      await until('draining', async () =>
        (await rig.gate.must(['status'])).state === 'draining');
      rig.gate.child.kill('SIGTERM');
      assert.equal((await rig.gate.must(['status'])).state, 'draining');
      script.open();
      assert.equal(textOf(await collect(s)), '1 2 3 4 5 6 7 8 9');
      assert.equal((await within(rig.gate.exited, 'the end')).code, 0);
      await rig.close();
    });

  test('after drain_timeout a stream ends with an error event, and is counted',
    async () => {
      const rig = await startRig({ config: { drain_timeout: '200ms' } });
      const script = rig.up.script({ gateAfter: 3 });
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/chat/completions',
        [['Authorization', `Bearer ${rig.key}`]],
        JSON.stringify(ask('count to 9', { stream: true }))));
      await script.reached;
      rig.gate.child.kill('SIGTERM');
      const r = await c.readReply();
      const text = r.body.toString();
      assert.match(text, /\ndata: \{"error":\{[^\n]*\}\}\n\n$/);
      assert.doesNotMatch(text, /\[DONE\]/);
      assert.equal((await within(rig.gate.exited, 'the end')).code, 0);
      await rig.gate.start();
      const row = await rig.gate.must(
        ['request', 'show', r.header('x-request-id')]);
      assert.equal(row.incomplete, true);
      await rig.close();
    });

  test('a second SIGTERM stops at once', async () => {
    const rig = await startRig();
    const script = rig.up.script({ gateAfter: 3 });
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions',
      [['Authorization', `Bearer ${rig.key}`]],
      JSON.stringify(ask('count to 9', { stream: true }))));
    await script.reached;
    rig.gate.child.kill('SIGTERM');
    await until('draining', () => RawClient.connect(rig.address)
      .then((x) => {
        x.destroy();
        return false;
      }, () => true));
    rig.gate.child.kill('SIGTERM');
    await within(rig.gate.exited, 'the end');
    rig.gate.assertHealthy();
    c.destroy();
    await rig.gate.start();
    const [sum] = await rig.gate.usageOf(1, '--key', rig.keyObject.id);
    assert.equal(sum.requests, 1, 'what was cut off is counted, too');
    await rig.close();
  });

  test('SIGINT is a stop too; no file is left behind but the state',
    async () => {
      const rig = await startRig();
      await rig.gate.stop('SIGINT');
      assert.ok(!fs.existsSync(rig.gate.socketFile));
      assert.deepEqual(fs.readdirSync(rig.gate.dir).sort()
        .filter((f) => f !== 'access.log'), ['state', 'tollgate.yaml']);
      await rig.close();
    });
});
