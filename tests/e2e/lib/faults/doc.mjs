// The table of faults in the documentation.  Each run of the suites compares
// what it saw with the table that is there; with E2E_FAULTS_OUT=DIR it keeps
// what it saw in DIR instead, and
//
//   node tests/e2e/lib/faults/make.mjs DIR > doc/faults.md
//
// makes the table anew (`make doc-faults` does both).

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const OUT = process.env.E2E_FAULTS_OUT;

const DOC = fileURLToPath(new URL('../../../../doc/faults.md',
  import.meta.url));

export const SCHEMES = ['http', 'https'];

/** The cases of a row: each way to reach the provider and to be answered. */
export const casesOf = (row) =>
  (row.schemes ?? SCHEMES).flatMap((scheme) =>
    (row.streams ?? [false, true]).map((stream) => ({ scheme, stream })));

const BILLED = { Z: 'free', E: 'what it took', C: 'what came, estimated',
  H: 'all that was held' };

const times = (who, n) => (n === 0 ? [] : [n === 1 ? who : `${who} ${n} times`]);

/** What a client got, in the words of the table. */
function clientOf({ status, code, event, ok, headers }) {
  if (status === 499) return 'it is gone';
  if (ok) return 'the answer';
  const said = event ? `its beginning, then the error \`${event}\``
    : `${status} \`${code}\``;
  const retry = { true: ', may retry', false: ', shall not retry' };
  return said + (retry[headers['x-should-retry']] ?? '') +
    (headers['retry-after'] !== undefined ? ', told when' : '');
}

/** What came of a case, in the words of the table. */
export function cellOf(row, seen) {
  const asked = [...times('a', seen.hits[0]), ...times('b', seen.hits[1])];
  const legs = seen.legs === '' ? ''
    : `; before it ${[...seen.legs].map((l) => BILLED[l]).join(', ')}`;
  return row.shown ?? [clientOf(seen), asked.join(', ') || 'nobody',
    (BILLED[seen.billed] ?? seen.billed) + legs].join(' / ');
}

const fileOf = (dir, row, { scheme, stream }) =>
  path.join(dir, `${row.id}.${scheme}.${stream ? 'stream' : 'whole'}`);

/** Keeps what a case came to, where it is asked for. */
export function recordCase(row, way, seen) {
  if (!OUT) return;
  fs.mkdirSync(OUT, { recursive: true });
  fs.writeFileSync(fileOf(OUT, row, way), cellOf(row, seen));
}

let lines;

/** The cells of a row in the documentation. */
function cellsOf(row) {
  lines ??= fs.existsSync(DOC) ? fs.readFileSync(DOC, 'utf8').split('\n') : [];
  const line = lines.find((l) => l.startsWith(`| ${row.id} |`));
  return line?.split('|').slice(1, -1).map((s) => s.trim());
}

/** Fails when the documentation tells something else of a case. */
export function checkDoc(row, { stream }, seen) {
  if (OUT) return;
  const cells = cellsOf(row);
  assert.ok(cells, `${row.id} is not in doc/faults.md: run make doc-faults`);
  const [, fault, whole, streamed] = cells;
  assert.equal(fault, row.fault);
  assert.equal(stream && streamed !== 'the same' ? streamed : whole,
    cellOf(row, seen), 'as in doc/faults.md: run make doc-faults');
}

/** The one cell of the cases of a row that are streamed, or are not. */
function cellIn(dir, row, stream, ways) {
  const all = ways.filter((w) => w.stream === stream)
    .map((w) => fs.readFileSync(fileOf(dir, row, w), 'utf8'));
  assert.ok(new Set(all).size <= 1, `${row.id}: ${all.join(' and ')}`);
  return all[0] ?? '-';
}

function tableOf(dir, rows) {
  const out = ['| name | fault | not streamed | streamed |',
    '| --- | --- | --- | --- |'];
  for (const row of rows) {
    const ways = casesOf(row);
    const whole = cellIn(dir, row, false, ways);
    const streamed = cellIn(dir, row, true, ways);
    out.push(`| ${row.id} | ${row.fault} | ${whole} | ` +
      `${streamed === whole ? 'the same' : streamed} |`);
  }
  return out;
}

/** The whole document. */
export function docOf(dir, { INTRO, SECTIONS, ELSEWHERE, OUTRO }) {
  const out = [...INTRO];
  for (const { title, rows } of SECTIONS)
    out.push('', `## ${title}`, '', ...tableOf(dir, rows));
  out.push('', ...OUTRO, '', '| fault | what is shown | test |',
    '| --- | --- | --- |');
  for (const [fault, shown, file, name] of ELSEWHERE)
    out.push(`| ${fault} | ${shown} | ${file}${name ? `: ${name}` : ''} |`);
  return `${out.join('\n')}\n`;
}
