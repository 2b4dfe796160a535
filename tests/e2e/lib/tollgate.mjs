// Runs the daemon under test: config in a folder of its own, programs from
// the build tree, logs captured, exit and sanitizer reports checked.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { DEADLINE_MS, until, within } from './until.mjs';
import { toYaml } from './yaml.mjs';

const TOP = fileURLToPath(new URL('../../..', import.meta.url));
const BUILD = process.env.TOLLGATE_BUILD ?? TOP;
const WRAPPER = (process.env.TOLLGATE_WRAPPER ?? '').split(' ').filter(Boolean);

const SANITIZER_REPORT =
  /ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:/;

/** Daemons that run now: none may outlive the tests of its file. */
const live = new Set();

/** Kills what a failed test left running. */
export async function killStrays() {
  for (const gate of live) {
    await gate.kill9();
    gate.remove();
  }
}

let factor;

/** How much more memory the programs take for being checked as they run. */
export function memoryFactor() {
  if (factor === undefined) {
    const code = fs.readFileSync(program('tollgate'));
    factor = WRAPPER.length > 0 ? 20
      : code.includes('__tsan_init') ? 10
        : code.includes('__asan_init') ? 3 : 1;
  }
  return factor;
}

/** The provider's key in every test; it must never reach a client or a log. */
export const UPSTREAM_KEY = 'sk-upstream-canary-7f3a9c51e2';

/** Where a program under test lives. */
export const program = (name) => path.join(BUILD, name);

export const haveDaemon = () => fs.existsSync(program('tollgate'));

/** Collects what a child writes. */
function capture(stream, sink) {
  stream.setEncoding('utf8');
  stream.on('data', (s) => sink(s));
}

/** Runs a program to its end: {code, signal, stdout, stderr}. */
export function runProgram(file, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'], ...options,
    });
    const out = { stdout: '', stderr: '' };
    capture(child.stdout, (s) => (out.stdout += s));
    capture(child.stderr, (s) => (out.stderr += s));
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...out }));
  });
}

export class Tollgate {
  constructor(config, options) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-e2e-'));
    this.configFile = path.join(this.dir, 'tollgate.yaml');
    this.accessFile = path.join(this.dir, 'access.log');
    this.socketFile = path.join(this.dir, 'control.sock');
    this.stateDir = path.join(this.dir, 'state');
    this.options = options;
    this.secrets = [UPSTREAM_KEY];
    this.log = '';
    this.writeConfig(config);
  }

  /** Writes config over the defaults of the tests; a string goes as it is. */
  writeConfig(config) {
    if (typeof config === 'string') {
      fs.writeFileSync(this.configFile, config, { mode: 0o600 });
      return;
    }
    this.config = {
      listen: [{ address: '127.0.0.1:0' }],
      state_dir: this.stateDir,
      control_socket: this.socketFile,
      workers: 2,
      auth: { failures: { limit: 0 } },
      log: { level: 'debug', access: this.accessFile, format: 'json' },
      ...config,
      // whoever else works on this machine may not make requests fail
      limits: { start_wait: '0s', ...config.limits },
    };
    fs.writeFileSync(this.configFile, toYaml(this.config), { mode: 0o600 });
  }

  /** Starts the daemon and waits until it answers on its control socket. */
  async start() {
    this.exit = undefined;
    const [file, ...before] = [...(this.options.before ?? []), ...WRAPPER,
      program('tollgate')];
    this.child = spawn(file, [...before, '-c', this.configFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: this.dir,
      env: { ...baseEnv(), ...this.options.env },
    });
    capture(this.child.stdout, (s) => (this.log += s));
    capture(this.child.stderr, (s) => (this.log += s));
    live.add(this);
    this.exited = new Promise((resolve) => {
      this.child.on('error', (e) => resolve({ code: null, error: e }));
      this.child.on('close', (code, signal) => resolve({ code, signal }));
    }).then((exit) => {
      live.delete(this);
      this.exit = exit;
      return exit;
    });
    await until('tollgate listens on its control socket', () =>
      this.exit ? true : canConnect(this.socketFile));
    if (this.exit)
      throw new Error(
        `tollgate ended at once: ${JSON.stringify(this.exit)}\n` +
        tail(this.log));
    const status = await until('tollctl status answers', async () => {
      if (this.exit) throw new Error(`tollgate ended: ${tail(this.log)}`);
      const r = await this.ctl(['status']);
      return r.code === 0 ? r.json : undefined;
    });
    this.addresses = status.listen.map((l) => l.address);
    const tcp = this.addresses.find((a) => !a.startsWith('unix:'));
    this.port = tcp ? Number(tcp.slice(tcp.lastIndexOf(':') + 1)) : undefined;
    return this;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  get baseUrl() {
    return `${this.origin}/v1`;
  }

  get pid() {
    return this.child.pid;
  }

  /** Runs tollctl --json; {code, stdout, stderr, json}. */
  async ctl(args, { json = true, socket = this.socketFile } = {}) {
    const all = ['--socket', socket, ...(json ? ['--json'] : []), ...args];
    const r = await runProgram(program('tollctl'), all, { env: baseEnv() });
    if (json && r.stdout.trim() !== '') {
      try {
        r.json = JSON.parse(r.stdout);
      } catch {
        r.json = undefined;
      }
    }
    return r;
  }

  /** Like ctl, and throws when the command was not done. */
  async must(args) {
    const r = await this.ctl(args);
    if (r.code !== 0)
      throw new Error(`tollctl ${args.join(' ')}: ${r.code} ${r.stderr}`);
    return r.json;
  }

  /** Creates a key; returns it with its secret in `key`. */
  async createKey(name, ...args) {
    const key = await this.must(['key', 'create', '--name', name, ...args]);
    this.secrets.push(key.key);
    return key;
  }

  /** Access log so far, parsed. */
  accessRows() {
    if (!fs.existsSync(this.accessFile)) return [];
    /* What follows the last end of a line is still being written. */
    return fs.readFileSync(this.accessFile, 'utf8').split('\n').slice(0, -1)
      .map((l) => JSON.parse(l));
  }

  /** The first access row, present or to come, that the predicate accepts. */
  accessRow(what, accepts) {
    return until(`access row: ${what}`, () =>
      this.accessRows().find(accepts));
  }

  /** `tollctl usage` with these arguments, once it counts n requests. */
  usageOf(n, ...args) {
    return until(`usage of ${n} requests`, async () => {
      const { data } = await this.must(['usage', ...args]);
      const requests = data.reduce((s, x) => s + x.requests, 0);
      return requests >= n ? data : undefined;
    });
  }

  /** Sends SIGHUP's command and waits until it took effect. */
  reload() {
    return this.ctl(['reload']);
  }

  /** Ends the daemon and checks how it ended. */
  async stop(signal = 'SIGTERM') {
    if (!this.child || this.exit) return this.exit;
    this.child.kill(signal);
    const exit = await within(this.exited, 'tollgate to stop', 2 * DEADLINE_MS);
    this.assertHealthy();
    if (exit.code !== 0)
      throw new Error(
        `tollgate ended with ${JSON.stringify(exit)}\n${tail(this.log)}`);
    return exit;
  }

  /** Ends it as a crash would. */
  async kill9() {
    this.child.kill('SIGKILL');
    return within(this.exited, 'tollgate to die');
  }

  /** No sanitizer report, no secret in any log. */
  assertHealthy() {
    if (SANITIZER_REPORT.test(this.log))
      throw new Error(`sanitizer report:\n${tail(this.log, 20000)}`);
    const access = fs.existsSync(this.accessFile)
      ? fs.readFileSync(this.accessFile, 'utf8') : '';
    for (const s of this.secrets)
      for (const [where, text] of [['log', this.log], ['access log', access]])
        if (text.includes(s)) throw new Error(`a key is in the ${where}`);
  }

  /** Resident memory in bytes. */
  rssBytes() {
    const text = fs.readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)[1]) * 1024;
  }

  /** Highest resident memory since start, in bytes. */
  peakRssBytes() {
    const text = fs.readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(text)[1]) * 1024;
  }

  /** Removes the folder; call after stop(). */
  remove() {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

const tail = (text, n = 4000) => text.slice(-n);

function baseEnv() {
  const keep = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'LSAN_OPTIONS',
    'LD_LIBRARY_PATH', 'LLVM_PROFILE_FILE', 'GCOV_PREFIX',
    'CUDA_VISIBLE_DEVICES', 'TOLLGATE_CUDA_DRIVER', 'TOLLGATE_CUBLASLT'];
  const env = {
    E2E_UPSTREAM_KEY: UPSTREAM_KEY,
    ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? 'exitcode=99',
    UBSAN_OPTIONS: process.env.UBSAN_OPTIONS ??
      'print_stacktrace=1:halt_on_error=1:exitcode=99',
    TSAN_OPTIONS: process.env.TSAN_OPTIONS ?? 'exitcode=99',
  };
  for (const k of keep)
    if (process.env[k] !== undefined) env[k] = process.env[k];
  return env;
}

function canConnect(file) {
  return new Promise((resolve) => {
    const s = net.connect({ path: file });
    s.on('connect', () => {
      s.destroy();
      resolve(true);
    });
    s.on('error', () => resolve(false));
  });
}

/** Starts a daemon with this config over the tests' defaults. */
export async function startTollgate(config, options = {}) {
  const gate = new Tollgate(config, options);
  try {
    return await gate.start();
  } catch (e) {
    gate.child?.kill('SIGKILL');
    if (gate.child) await gate.exited;
    gate.remove();
    throw e;
  }
}
