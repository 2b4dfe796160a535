// tollctl prefix: what it tells of the prefixes on disk, how it forgets and
// proves them, beside a daemon and without one; and the keys of the config.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'node:test';

import { startEngine } from './lib/engine.mjs';
import { openaiFor } from './lib/openai.mjs';
import { program, runProgram } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';

const DEMO = fileURLToPath(new URL('../../etc/demo.gguf', import.meta.url));
const MIB = 1024 * 1024;
const STORE = { size: '64MiB' };

/** About 200 tokens, other ones for another <n>. */
const prompt = (n = 0) =>
  `Number ${n}. ` + 'the cat and the red dog ran to the sun. '.repeat(20);

class Store {
  static async start({ store = {}, model = {}, config = {} } = {}) {
    const s = new Store();
    s.rig = await startEngine({ file: DEMO, model, config,
      engine: { prefix_store: { ...STORE, ...store } } });
    s.root = store.dir ?? path.join(s.gate.stateDir, 'prefix');
    return s;
  }

  get gate() {
    return this.rig.gate;
  }

  /** A short answer to a prompt; gives its usage. */
  async ask(n) {
    const r = await openaiFor(this.rig).completions.create({ model: 'demo',
      prompt: prompt(n), max_tokens: 2, temperature: 0 });
    return { all: r.usage.prompt_tokens,
      cached: r.usage.prompt_tokens_details.cached_tokens };
  }

  ctl(...args) {
    return this.gate.ctl(['prefix', ...args]);
  }

  text(...args) {
    return this.gate.ctl(['prefix', ...args], { json: false });
  }

  /** The row of the model. */
  async row() {
    const r = await this.ctl('stats');
    assert.equal(r.code, 0, r.stderr);
    return r.json.data.find((x) => x.model === 'demo');
  }

  /** Waits until so many pages are on disk. */
  stored(pages) {
    return until(`${pages} pages are stored`, async () => {
      const row = await this.row();
      return row.pages >= pages && row.queued_bytes === 0 ? row : undefined;
    });
  }

  async open() {
    await until('the store is open', async () => (await this.row()).on);
  }

  async restart(engine) {
    await this.gate.stop();
    if (engine)
      this.gate.writeConfig({ ...this.gate.config, engine: {
        ...this.gate.config.engine, ...engine } });
    await this.gate.start();
    await until('the model is loaded', async () =>
      (await fetch(`${this.gate.origin}/readyz`)).status === 200);
  }

  spaces() {
    if (!fs.existsSync(this.root)) return [];
    return fs.readdirSync(this.root).filter((n) => /^[0-9a-f]{16}$/.test(n))
      .map((n) => path.join(this.root, n));
  }

  /** tollctl with the config alone, as it is called with the daemon down. */
  async offline(args, { json = true, ...options } = {}) {
    const r = await runProgram(program('tollctl'), ['-c', this.gate.configFile,
      ...(json ? ['--json'] : []), 'prefix', ...args], options);
    if (json && r.stdout) r.json = JSON.parse(r.stdout);
    return r;
  }

  async close() {
    try {
      await this.gate.stop();
    } finally {
      this.gate.remove();
    }
  }
}

async function withStore(options, f) {
  const s = await Store.start(options);
  try {
    return await f(s);
  } finally {
    await s.close();
  }
}

/** Changes one byte of the payload of the <i>th page in the file. */
function flip(file, i = 0) {
  const bytes = fs.readFileSync(file);
  let at = -1;
  for (let n = 0; n <= i; n++) {
    at = bytes.indexOf('TGKV', at + 1);
    assert.ok(at >= 0, 'a page');
  }
  const fd = fs.openSync(file, 'r+');
  fs.writeSync(fd, Buffer.from([bytes[at + 4080 + 99] ^ 4]), 0, 1,
    at + 4080 + 99);
  fs.closeSync(fd);
}

/** One command on the control socket, as any program may send it. */
const control = (socket, ask) => new Promise((resolve, reject) => {
  const c = net.connect(socket, () => c.end(`${JSON.stringify(ask)}\n`));
  let text = '';
  c.setEncoding('utf8');
  c.on('data', (t) => (text += t));
  c.on('error', reject);
  c.on('end', () => resolve(JSON.parse(text)));
});

const isOneLine = (text) => assert.equal(text.trim().split('\n').length, 1, text);

describe('tollctl prefix beside a daemon', () => {
  test('stats tell what is stored, and after a restart what it saved', () =>
    withStore({}, async (s) => {
      await s.open();
      const empty = await s.row();
      assert.equal(empty.pages, 0);
      assert.equal(empty.hit_ratio, null);
      const { all } = await s.ask(1);
      const pages = Math.floor((all - 1) / 16);
      const full = await s.stored(pages);
      assert.equal(full.on, true);
      assert.equal(full.reason, null);
      assert.match(full.namespace, /^[0-9a-f]{16}$/);
      assert.equal(path.join(s.root, full.namespace), s.spaces()[0]);
      assert.equal(full.max_bytes, 64 * MIB);
      assert.ok(full.bytes > 0 && full.bytes <= full.max_bytes);
      assert.equal(full.bytes, fs.statSync(
        path.join(s.spaces()[0], 'data.mdb')).size);
      assert.ok(full.max_pages > full.pages);
      assert.equal(full.hits, 0);
      for (const [k, v] of Object.entries(full))
        if (!/ratio|second/.test(k) && typeof v === 'number')
          assert.ok(Number.isSafeInteger(v) && v >= 0, `${k} ${v}`);

      await s.restart();
      await s.open();
      const { cached } = await s.ask(1);
      assert.equal(cached, pages * 16);
      const row = await until('it is counted', async () => {
        const x = await s.row();
        return x.restores > 0 ? x : undefined;
      });
      assert.equal(row.lookups, 1);
      assert.equal(row.hits, 1);
      assert.equal(row.hit_ratio, 1);
      assert.equal(row.restored_tokens, cached);
      assert.equal(row.restores, 1);
      assert.equal(row.recomputes, 0);
      assert.ok(row.restored_bytes > 0 && row.restore_bytes_per_second > 0);
      assert.ok(row.saved_seconds > 0);
      assert.equal(await s.rig.metric('prefix_tokens_total',
        'model="demo",source="store"'), cached);
      assert.equal(await s.rig.metric('prefix_tokens_total',
        'model="demo",source="device"'), 0);
      assert.equal(await s.rig.metric('prefix_store_bytes',
        'model="demo"'), row.bytes);
      assert.equal(await s.rig.metric('prefix_restore_seconds_count',
        'model="demo"'), 1);
      assert.ok(await s.rig.metric('prefix_restore_seconds_sum',
        'model="demo"') > 0);
      assert.equal(await s.rig.metric('prefix_decisions_total',
        'model="demo",decision="restore"'), 1);

      const text = (await s.text('stats')).stdout;
      assert.match(text, /^MODEL +STORE +SIZE +BOUND +ENTRIES +HIT RATIO +TOKENS SAVED +GB\/S +SECONDS SAVED +RESTORED +RECOMPUTED +REASON$/m);
      assert.match(text, new RegExp(
        `^demo +on +[\\d.]+ [KM]iB +64\\.0 MiB +${pages} +1\\.000 +${cached} +[\\d.]+ +[\\d.]+ +1 +0 +-$`, 'm'));
      for (const cmd of ['status', 'top']) {
        const r = await s.gate.ctl([cmd], { json: false });
        assert.match(r.stdout, /^demo +on +.* 64\.0 MiB +/m, cmd);
      }
      const [m] = (await s.gate.must(['status'])).engine;
      assert.equal(m.prefix.restored_tokens, cached);
      assert.match((await s.gate.ctl(['top'], { json: false })).stdout,
        /^prompts .* computed .* from memory .* from disk$/m);
    }));

  test('purge forgets what is in memory and on disk', () =>
    withStore({}, async (s) => {
      await s.open();
      await s.ask(1);
      const { cached } = await s.ask(1);
      assert.ok(cached > 0);
      const before = await s.stored(cached / 16);
      const r = await s.ctl('purge', '--model', 'demo');
      assert.equal(r.code, 0, r.stderr);
      assert.equal(r.json.offline, false);
      assert.deepEqual(r.json.data.map((x) => [x.namespace, x.purged_by,
        x.pages]), [[before.namespace, 'daemon', before.pages]]);
      await until('nothing is stored', async () => (await s.row()).pages === 0);
      assert.equal((await s.ask(1)).cached, 0);
      await s.stored(1);
      const all = await s.text('purge');
      assert.equal(all.code, 0, all.stderr);
      assert.match(all.stdout, /^purged$/m);
      await until('nothing is stored', async () => (await s.row()).pages === 0);
      assert.equal((await s.ctl('verify')).json.pages, 0);
    }));

  test('verify reads every page, and says which are damaged', () =>
    withStore({}, async (s) => {
      await s.open();
      const { all } = await s.ask(1);
      const { pages } = await s.stored(Math.floor((all - 1) / 16));
      const good = await s.ctl('verify');
      assert.equal(good.code, 0, good.stderr);
      assert.equal(good.json.ok, true);
      assert.equal(good.json.pages, pages);
      assert.equal(good.json.data[0].in_use, true);
      assert.deepEqual(good.json.data[0].models, ['demo']);
      assert.match((await s.text('verify')).stdout,
        new RegExp(`^ok: pages=${pages}$`, 'm'));

      flip(path.join(s.spaces()[0], 'data.mdb'), 2);
      const bad = await s.ctl('verify', '--model', 'demo');
      assert.equal(bad.code, 1);
      isOneLine(bad.stderr);
      assert.match(bad.stderr, /damaged=1/);
      assert.equal(bad.json.ok, false);
      assert.equal(bad.json.damaged, 1);
      assert.equal(bad.json.pages, pages);

      const drop = await s.ctl('verify', '--drop');
      assert.equal(drop.code, 1);
      assert.equal(drop.json.data[0].dropped, 1);
      const after = await s.ctl('verify');
      assert.equal(after.code, 0, after.stderr);
      assert.equal(after.json.pages, pages - 1);
      assert.equal((await s.row()).pages, pages - 1);
    }));

  test('a model that there is none of is refused', () =>
    withStore({}, async (s) => {
      for (const verb of ['stats', 'purge', 'verify']) {
        const r = await s.ctl(verb, '--model', 'none');
        assert.equal(r.code, 1, verb);
        isOneLine(r.stderr);
        assert.match(r.stderr, /no engine model 'none'/);
        assert.equal(r.stdout, '');
        assert.equal((await s.ctl(verb, '--model', '')).code, 2);
        assert.equal((await s.ctl(verb, '--what')).code, 2);
        assert.equal((await s.ctl(verb, 'demo')).code, 2);
      }
      assert.equal((await s.ctl('burn')).code, 2);
      assert.equal((await s.ctl()).code, 2);
    }));

  test('what is no model does not mean all of them', () =>
    withStore({}, async (s) => {
      await s.open();
      await s.ask(1);
      await s.stored(1);
      for (const model of [5, null, '', ['demo'], 'DEMO', 'demo '])
        for (const cmd of ['prefix purge', 'prefix stats']) {
          const r = await control(s.gate.socketFile, { cmd, args: { model } });
          assert.equal(r.ok, false, JSON.stringify(model));
          assert.match(r.error, /no engine model/);
        }
      assert.ok((await s.row()).pages > 0);
    }));

  test('a purge reaches what another daemon has open', () =>
    withStore({ store: { epoch: 1 } }, async (a) => withStore({
      store: { dir: a.root, epoch: 2 } }, async (b) => {
      for (const s of [a, b]) {
        await s.open();
        await s.ask(1);
      }
      const { pages } = await a.stored(1);
      await b.stored(pages);
      assert.deepEqual((await a.ctl('stats')).json.left_behind.map((x) =>
        [x.namespace, x.in_use, x.pages]),
      [[(await b.row()).namespace, true, pages]]);
      assert.equal((await b.ctl('verify')).json.pages, 2 * pages);

      assert.equal((await a.ctl('purge', '--model', 'demo')).code, 0);
      await until('what is of the model is gone', async () =>
        (await a.row()).pages === 0);
      const r = await a.ctl('purge');
      assert.equal(r.code, 0, r.stderr);
      assert.equal(r.json.data.find((x) => x.purged_by === 'tollctl')
        .namespace, (await b.row()).namespace);
      for (const s of [a, b]) {
        await s.ask(2);
        await s.stored(1);
        assert.equal((await s.ctl('verify')).code, 0);
      }
      await a.gate.stop();
      const offline = await a.offline(['stats']);
      assert.deepEqual(offline.json.data.map((x) => x.in_use).sort(),
        [false, true]);
    })));

  test('a daemon without a store says why', async () => {
    for (const [options, why] of [
      [{ store: { size: 0 } }, /engine\.prefix_store\.size is 0/],
      [{ model: { prefix_store: false } }, /prefix_store of the model is false/],
    ])
      await withStore(options, async (s) => {
        assert.ok((await s.ask(1)).all > 0);
        const row = await s.row();
        assert.equal(row.on, false);
        assert.equal(row.namespace, null);
        assert.match(row.reason, why);
        assert.match((await s.text('stats')).stdout, /^demo +off +/m);
        assert.equal(await s.rig.metric('prefix_store_up', 'model="demo"'), 0);
        for (const verb of ['purge', 'verify']) {
          const r = await s.ctl(verb);
          assert.equal(r.code, 0, r.stderr);
          assert.deepEqual(r.json.data, []);
        }
        assert.deepEqual(s.spaces(), []);
      });
  });
});

describe('tollctl prefix without a daemon', () => {
  test('stats, verify and purge work on the files, and say so', () =>
    withStore({}, async (s) => {
      await s.open();
      const { all } = await s.ask(1);
      const { pages, namespace } = await s.stored(Math.floor((all - 1) / 16));
      await s.gate.stop();

      const stats = await s.offline(['stats']);
      assert.equal(stats.code, 0, stats.stderr);
      isOneLine(stats.stderr);
      assert.match(stats.stderr, /^note: offline: no daemon answers on .*state\/prefix$/m);
      assert.equal(stats.json.offline, true);
      assert.equal(stats.json.directory, s.root);
      const [x] = stats.json.data;
      assert.equal(x.namespace, namespace);
      assert.deepEqual(x.models, ['demo']);
      assert.equal(x.pages, pages);
      assert.equal(x.in_use, false);
      assert.equal(x.reason, null);
      assert.equal(x.about.page_tokens, 16);
      const text = await s.offline(['stats'], { json: false });
      assert.match(text.stdout, /^NAMESPACE +MODELS +OPEN +USED +SIZE +ENTRIES +DAMAGED +REASON$/m);
      assert.match(text.stdout, new RegExp(`^${namespace} +demo +no +`, 'm'));

      const good = await s.offline(['verify', '--model', 'demo']);
      assert.equal(good.code, 0, good.stderr);
      assert.equal(good.json.pages, pages);
      flip(path.join(s.spaces()[0], 'data.mdb'));
      const bad = await s.offline(['verify']);
      assert.equal(bad.code, 1);
      assert.equal(bad.json.damaged, 1);
      assert.equal((await s.offline(['stats'])).json.data[0].pages, pages,
        'only --drop changes anything');

      const none = await s.offline(['purge', '--model', 'none']);
      assert.equal(none.code, 1);
      assert.match(none.stderr, /called: none/);
      assert.equal(s.spaces().length, 1);
      const purge = await s.offline(['purge', '--model', 'demo']);
      assert.equal(purge.code, 0, purge.stderr);
      assert.equal(purge.json.data[0].purged_by, 'tollctl');
      assert.equal(purge.json.data[0].pages, pages);
      assert.deepEqual((await s.offline(['verify'])).json.data, []);
      const again = await s.offline(['purge', '--model', 'demo'],
        { json: false });
      assert.equal(again.code, 0, again.stderr);
      assert.match(again.stdout, /^nothing was stored$/m);

      await s.gate.start();
      await s.open();
      assert.equal((await s.ask(1)).cached, 0);
      await s.stored(pages);
    }));

  test('so they do after kill -9', () =>
    withStore({}, async (s) => {
      await s.open();
      const { all } = await s.ask(1);
      const { pages } = await s.stored(Math.floor((all - 1) / 16));
      await s.gate.kill9();
      const stats = await s.offline(['stats']);
      assert.equal(stats.json.data[0].pages, pages, stats.stderr);
      assert.equal(stats.json.data[0].in_use, false);
      const verify = await s.offline(['verify']);
      assert.equal(verify.code, 0, verify.stderr);
      assert.equal(verify.json.pages, pages);
      await s.gate.start();
      await s.open();
      assert.equal((await s.ask(1)).cached, pages * 16);
    }));

  test('where nothing was ever stored there is nothing', () =>
    withStore({}, async (s) => {
      await s.gate.stop();
      fs.rmSync(s.root, { recursive: true, force: true });
      for (const verb of ['stats', 'verify', 'purge']) {
        const r = await s.offline([verb]);
        assert.equal(r.code, 0, r.stderr);
        assert.deepEqual(r.json.data, []);
        assert.equal(fs.existsSync(s.root), false);
      }
      assert.match((await s.offline(['stats'], { json: false })).stdout,
        /^no prefixes are stored$/m);
      fs.mkdirSync(s.root, { mode: 0o700 });
      assert.equal((await s.offline(['verify'])).code, 0);
      fs.rmdirSync(s.root);
      fs.writeFileSync(s.root, 'no directory');
      for (const verb of ['stats', 'verify', 'purge']) {
        const r = await s.offline([verb]);
        assert.equal(r.code, 1, verb);
        assert.match(r.stderr, /^tollctl: .*Not a directory$/m);
      }
      fs.rmSync(s.root);
    }));

  test('what is damaged is told, the rest is done, other files stay', () =>
    withStore({}, async (s) => {
      await s.open();
      const { all } = await s.ask(1);
      const { pages } = await s.stored(Math.floor((all - 1) / 16));
      await s.gate.stop();
      const good = s.spaces()[0];
      const copy = (hex) => {
        const to = path.join(s.root, hex.repeat(16));
        fs.cpSync(good, to, { recursive: true });
        return to;
      };
      const cut = copy('a');
      fs.truncateSync(path.join(cut, 'data.mdb'), 5000);
      const noise = copy('b');
      fs.writeFileSync(path.join(noise, 'data.mdb'), Buffer.alloc(65536, 0x5a));
      const nameless = copy('c');
      fs.writeFileSync(path.join(nameless, 'ns.json'), '{"namespace": ');
      fs.mkdirSync(path.join(s.root, 'lost+found'));
      fs.writeFileSync(path.join(s.root, 'lost+found', 'x'), 'x');

      const stats = await s.offline(['stats']);
      assert.equal(stats.code, 0, stats.stderr);
      isOneLine(stats.stderr);
      const by = (r, dir) =>
        r.json.data.find((x) => x.namespace === path.basename(dir));
      assert.equal(by(stats, good).pages, pages);
      for (const dir of [cut, noise]) {
        assert.equal(by(stats, dir).pages, null, dir);
        assert.ok(by(stats, dir).reason.length > 10, dir);
      }
      const verify = await s.offline(['verify']);
      assert.equal(verify.code, 1);
      assert.equal(by(verify, good).damaged, 0);
      for (const dir of [cut, noise, nameless])
        assert.ok(by(verify, dir).reason, dir);
      assert.match(by(verify, nameless).reason, /ns\.json/);
      assert.equal(by(verify, nameless).pages, pages);

      const purge = await s.offline(['purge']);
      assert.equal(purge.code, 0, purge.stderr);
      assert.deepEqual((await s.offline(['stats'])).json.data
        .filter((x) => x.pages !== 0), []);
      assert.ok(fs.existsSync(path.join(s.root, 'lost+found', 'x')));
      await s.gate.start();
      await s.open();
      assert.equal((await s.ask(1)).cached, 0);
    }));

  test('a config with a mistake tells no directory', () =>
    withStore({}, async (s) => {
      await s.gate.stop();
      const text = fs.readFileSync(s.gate.configFile, 'utf8');
      fs.writeFileSync(s.gate.configFile,
        text.replace(/size: .*64MiB.*/, 'size: some'));
      const r = await s.offline(['purge']);
      assert.equal(r.code, 1);
      isOneLine(r.stderr);
      assert.match(r.stderr, /engine\.prefix_store\.size/);
      fs.writeFileSync(s.gate.configFile, text);
      const gone = await runProgram(program('tollctl'),
        ['-c', `${s.gate.configFile}.none`, 'prefix', 'stats']);
      assert.equal(gone.code, 3);
    }));

  test('what root does stays the owner\'s, and nobody else may',
    { skip: process.getuid() !== 0 && 'needs root' }, () =>
      withStore({}, async (s) => {
        await s.open();
        await s.ask(1);
        const { pages } = await s.stored(1);
        await s.gate.stop();
        const chown = (p) => {
          fs.lchownSync(p, 65534, 65534);
          if (fs.lstatSync(p).isDirectory())
            fs.readdirSync(p).forEach((n) => chown(path.join(p, n)));
        };
        chown(s.root);
        fs.chmodSync(s.gate.dir, 0o755);
        fs.chmodSync(s.gate.stateDir, 0o755);
        fs.rmSync(path.join(s.spaces()[0], 'lock.mdb'));
        const stats = await s.offline(['stats']);
        assert.equal(stats.json.data[0].pages, pages, stats.stderr);
        assert.equal((await s.offline(['verify'])).json.pages, pages);
        const owners = (p) => [fs.lstatSync(p).uid,
          ...(fs.lstatSync(p).isDirectory() ? fs.readdirSync(p)
            .flatMap((n) => owners(path.join(p, n))) : [])];
        assert.deepEqual([...new Set(owners(s.root))], [65534]);
        const copy = path.join(s.gate.dir, 'tollctl');
        fs.copyFileSync(program('tollctl'), copy);
        fs.chmodSync(s.gate.configFile, 0o644);
        for (const verb of ['stats', 'verify', 'purge']) {
          const r = await runProgram(copy, ['-c', s.gate.configFile, 'prefix',
            verb], { uid: 65533, gid: 65533 });
          assert.equal(r.code, 1, r.stderr);
          assert.match(r.stderr, /prefix is .*; run this as .* or as root$/m);
          assert.equal(r.stdout, '');
        }
        assert.equal((await s.offline(['purge'])).code, 0);
        assert.deepEqual([...new Set(owners(s.root))], [65534]);
      }));
});

describe('keys of engine.prefix_store', () => {
  test('a reload says that they wait for a restart', () =>
    withStore({}, async (s) => {
      const { engine } = s.gate.config;
      s.gate.writeConfig({ ...s.gate.config, engine: { ...engine,
        prefix_store: { size: '32MiB', scope: 'team', admission: 'auto',
          write_per_hour: '1GiB', epoch: 3, dir: `${s.gate.dir}/p` } } });
      const r = await s.gate.reload();
      assert.equal(r.code, 0, r.stderr);
      for (const key of ['size', 'scope', 'admission', 'write_per_hour',
        'epoch', 'dir'])
        assert.match(r.json.report, new RegExp(
          `engine\\.prefix_store\\.${key} .*only after a restart`), key);
      const stats = (await s.ctl('stats')).json;
      assert.equal(stats.directory, s.root);
      assert.equal(stats.max_bytes, 64 * MIB);
      assert.equal(stats.scope, 'key');
      await s.restart();
      await s.open();
      const now = (await s.ctl('stats')).json;
      assert.equal(now.directory, `${s.gate.dir}/p`);
      assert.equal(now.max_bytes, 32 * MIB);
      assert.equal(now.scope, 'team');
      assert.equal(now.admission, 'auto');
      assert.equal(now.write_per_hour_bytes, 1024 * MIB);
    }));

  test('mistakes are told with their place', async () => {
    for (const [store, why] of [
      [{ size: '1MiB' }, /engine\.prefix_store\.size is too small/],
      [{ dir: 'here' }, /engine\.prefix_store\.dir: "here" will not do/],
      [{ admission: 'never' }, /engine\.prefix_store\.admission/],
      [{ epoch: -1 }, /engine\.prefix_store\.epoch/],
      [{ scope: 'all' }, /engine\.prefix_store\.scope/],
      [{ room: 1 }, /unknown key room in engine\.prefix_store/],
    ])
      await assert.rejects(Store.start({ store }), (e) =>
        why.test(e.message) || assert.fail(e.message));
  });

  test('another epoch begins empty and leaves the old one behind', () =>
    withStore({}, async (s) => {
      await s.open();
      const { all } = await s.ask(1);
      const { namespace, pages } =
        await s.stored(Math.floor((all - 1) / 16));
      await s.restart({ prefix_store: { ...STORE, epoch: 1 } });
      await s.open();
      assert.equal((await s.ask(1)).cached, 0);
      const row = await s.stored(pages);
      assert.notEqual(row.namespace, namespace);
      const stats = await s.ctl('stats');
      assert.deepEqual(stats.json.left_behind.map((x) =>
        [x.namespace, x.pages, x.in_use]), [[namespace, pages, false]]);
      assert.match((await s.text('stats')).stdout, /^not open in this daemon:$/m);
      const verify = await s.ctl('verify');
      assert.equal(verify.json.pages, 2 * pages);

      await s.restart({ prefix_store: { ...STORE, epoch: 0 } });
      await s.open();
      assert.equal((await s.ask(1)).cached, pages * 16);
      const purge = await s.ctl('purge');
      assert.equal(purge.code, 0, purge.stderr);
      assert.deepEqual(purge.json.data.map((x) => x.purged_by).sort(),
        ['daemon', 'tollctl']);
      await until('nothing is stored', async () => (await s.row()).pages === 0);
      assert.deepEqual((await s.ctl('stats')).json.left_behind
        .filter((x) => x.pages !== 0), []);
    }));

  test('size is never passed, and what was used longest ago goes first', () =>
    withStore({ store: { size: '16MiB' } }, async (s) => {
      await s.open();
      let most = 0;
      for (let n = 0; n < 60; n++) {
        await s.ask(n);
        most = Math.max(most, fs.statSync(
          path.join(s.spaces()[0], 'data.mdb')).size);
      }
      const row = await until('old pages are given up', async () => {
        const x = await s.row();
        return x.evicted_pages > 0 && x.queued_bytes === 0 ? x : undefined;
      });
      assert.ok(most > 8 * MIB && most <= 16 * MIB, `${most}`);
      assert.equal(row.max_bytes, 16 * MIB);
      assert.ok(row.bytes <= 16 * MIB && row.pages <= row.max_pages);
      assert.equal(row.stored_pages, row.pages + row.evicted_pages);
      assert.equal(row.evicted_unread_pages, row.evicted_pages);
      assert.equal(await s.rig.metric('prefix_evicted_pages_total',
        'model="demo",read="false"'), row.evicted_pages);
      assert.equal((await s.ctl('verify')).json.pages, row.pages);
      await s.restart();
      await s.open();
      assert.ok((await s.ask(59)).cached > 0);
      assert.equal((await s.ask(0)).cached, 0);
    }));

  test('write_per_hour bounds what is written', () =>
    withStore({ store: { write_per_hour: '1KiB' } }, async (s) => {
      await s.open();
      await s.ask(1);
      await until('pages are turned away', async () =>
        (await s.row()).dropped_budget_pages > 0);
      assert.ok((await s.row()).stored_pages <= 1);
      assert.ok(await s.rig.metric('prefix_dropped_pages_total',
        'model="demo",reason="budget"') > 0);
    }));

  test('admission: second stores what is seen again', () =>
    withStore({ store: { admission: 'second' } }, async (s) => {
      await s.open();
      const { all } = await s.ask(1);
      await until('pages are turned away', async () =>
        (await s.row()).dropped_admission_pages > 0);
      assert.equal((await s.row()).pages, 0);
      await s.ask(1);
      await s.stored(Math.floor((all - 1) / 16));
    }));
});
