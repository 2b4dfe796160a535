// doc/faults.md has the rows of the table of faults, no more and no fewer,
// and names tests that are there.  Its cells are compared by each row's tests.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ELSEWHERE, INTRO, OUTRO, SECTIONS } from './lib/faults/table.mjs';

const TOP = fileURLToPath(new URL('../..', import.meta.url));
const read = (name) => fs.readFileSync(TOP + name, 'utf8');

const skip = process.env.E2E_FAULTS_OUT && 'the table is being made';

describe('the table of faults in the documentation', () => {
  test('its rows are those that are run', { skip }, () => {
    const want = SECTIONS.flatMap(({ title, rows }) => [`## ${title}`,
      ...rows.map((r) => `| ${r.id} | ${r.fault} |`)]);
    const got = read('doc/faults.md').split('\n## Shown')[0].split('\n')
      .filter((l) => /^(## |\| (?!name|---))/.test(l))
      .map((l) => (l.startsWith('#') ? l
        : `${l.split(' |').slice(0, 2).join(' |')} |`));
    assert.deepEqual(got, want);
  });

  test('what it says around them is as here', { skip }, () => {
    const doc = read('doc/faults.md');
    assert.ok(doc.startsWith(INTRO.join('\n')));
    assert.ok(doc.includes(OUTRO.join('\n')));
    for (const [fault, shown, file] of ELSEWHERE)
      assert.ok(doc.includes(`| ${fault} | ${shown} | ${file}`), fault);
  });

  test('names are used once', () => {
    const ids = SECTIONS.flatMap((s) => s.rows.map((r) => r.id));
    assert.deepEqual(ids.filter((id, i) => ids.indexOf(id) !== i), []);
  });

  for (const [fault, , file, name] of ELSEWHERE)
    test(`elsewhere: ${fault}`, () => {
      const text = read(file).replace(/'\s*\+\s*'/g, '');
      assert.ok(name === undefined || text.includes(name), `${name}`);
    });
});
