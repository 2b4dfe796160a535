// Test certificates, made with the openssl program.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const openssl = (cwd, ...args) =>
  execFileSync('openssl', args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });

/** A certificate authority in a folder of its own. */
export class Authority {
  constructor() {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-ca-'));
    this.count = 0;
    openssl(this.dir, 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
      'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj',
      '/CN=tollgate test CA', '-keyout', 'ca.key', '-out', 'ca.pem');
    this.file = path.join(this.dir, 'ca.pem');
    this.pem = fs.readFileSync(this.file, 'utf8');
  }

  /** A server certificate: {certFile, keyFile, cert, key}. */
  issue(names, { days = 30 } = {}) {
    const base = `leaf${++this.count}`;
    const at = (ext) => path.join(this.dir, `${base}.${ext}`);
    const alt = names.map((n) =>
      /^[\d.]+$/.test(n) ? `IP:${n}` : `DNS:${n}`).join(',');
    openssl(this.dir, 'req', '-newkey', 'ec', '-pkeyopt',
      'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${names[0]}`,
      '-keyout', at('key'), '-out', at('csr'));
    fs.writeFileSync(at('ext'), `subjectAltName=${alt}\n`);
    openssl(this.dir, 'x509', '-req', '-in', at('csr'), '-CA', 'ca.pem',
      '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(days),
      '-extfile', at('ext'), '-out', at('pem'));
    return {
      certFile: at('pem'), keyFile: at('key'),
      cert: fs.readFileSync(at('pem'), 'utf8'),
      key: fs.readFileSync(at('key'), 'utf8'),
    };
  }

  remove() {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
