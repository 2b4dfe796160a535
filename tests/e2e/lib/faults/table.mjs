// The table of faults: its rows, in their sections, and the faults that other
// suites show.

import { BODIES, STREAMS } from './answers.mjs';
import { BREAKERS, CLIENTS } from './breaker.mjs';
import { CLOSED, REACH, SECURE, SILENT } from './connect.mjs';
import { PENDING } from './pending.mjs';
import { CAPS, FAILURES, LIMITS, OVERLOADS, REFUSALS } from './replies.mjs';

export const INTRO = [
  '# Faults',
  '',
  'What becomes of a request when an upstream, or its client, fails at any',
  'point. This file is made of what the end-to-end tests saw (`make doc-faults`);',
  'each run of them compares it with what it sees, so that it cannot be out of',
  'date. Each row of the first tables is run over plain HTTP and over TLS to',
  'the upstream (those about TLS over TLS alone).',
  '',
  '- **not streamed**, **streamed**: three things. What the client gets: the',
  '  answer, or a status and the code of its error, with what it is told of',
  '  another try (`x-should-retry`, `retry-after`). Who was asked, and how often:',
  '  `a` is the target that comes first; `b` is one that stands by, of the same',
  '  route or behind a fallback. What is charged under a hard budget: *free*;',
  '  *what it took*, as the upstream tells; *what came, estimated*; or *all that',
  '  was held*, where nobody knows, with what an attempt before it cost.',
  '- The configuration is that of `etc/tollgate.yaml` but where a row says so,',
  '  with shorter times: `retries.attempts` is 3.',
  '',
  'Of every row it is shown besides that nothing stays held of the budget, that',
  'the ledger and the access log tell of the same attempts, that an error that',
  'the gateway makes is in its log with its reason, and that no key is in any',
  'log.',
];

const ALL = [
  { title: 'Upstreams that cannot be reached', rows: REACH },
  { title: 'TLS with an upstream', rows: SECURE },
  { title: 'Upstreams that close before they answer', rows: CLOSED },
  { title: 'Upstreams that are silent', rows: SILENT },
  { title: 'Answers that are broken', rows: BODIES },
  { title: 'Streams that end before they should', rows: STREAMS },
  { title: 'Limits of a provider', rows: LIMITS },
  { title: 'Spend caps of a provider', rows: CAPS },
  { title: 'Upstreams that fail', rows: FAILURES },
  { title: 'Upstreams that are overloaded', rows: OVERLOADS },
  { title: 'Refusals', rows: REFUSALS },
  { title: 'Breakers', rows: BREAKERS },
  { title: 'Clients that leave', rows: CLIENTS },
];

export const SECTIONS = ALL.map(({ title, rows }) =>
  ({ title, rows: rows.filter((r) => !PENDING.has(r.id)) }))
  .filter(({ rows }) => rows.length > 0);

export const OUTRO = [
  '## Shown by other tests',
  '',
  'Each is a test that runs by itself; `make check` and `make check-e2e` run',
  'them all.',
];

/** Fault, what is shown of it, and the test: its file and its name. */
export const ELSEWHERE = [
  ['a provider reports more usage than was held, or ignores caps',
    'a stream is cut where its budget ends; never more spent than there is',
    'tests/e2e/budget-streams.test.mjs'],
  ['an answer tells no usage',
    'all that was held is charged under a hard budget, else an estimate',
    'tests/e2e/budget-holds.test.mjs', 'no usage told'],
  ['an answer tells usage that cannot be', 'it is clamped',
    'tests/e2e/hostile.test.mjs', 'wrong usage is clamped in the account'],
  ['the client leaves before its request is complete',
    'nothing goes upstream, nothing is charged',
    'tests/e2e/gone.test.mjs',
    'gone before the request is complete: nothing goes upstream'],
  ['the client leaves at any of 12 points, in four ways',
    'the upstream is cancelled, its row is there, the gauge is back at 0',
    'tests/e2e/gone-points.test.mjs'],
  ['the client leaves at any byte of an answer',
    'the ledger has what came', 'tests/e2e/budget-disconnect.test.mjs'],
  ['a half-closed connection', 'it is taken for one that is closed',
    'tests/e2e/gone.test.mjs', 'half-close'],
  ['a client that reads slowly, or not at all',
    'the upstream is paused, memory is bounded',
    'tests/e2e/gone.test.mjs',
    'a reader that stops pauses its provider, and loses nothing'],
  ['kill -9 at any instant',
    'no acknowledged answer without its row; what was open is charged as held',
    'tests/e2e/crash.test.mjs'],
  ['kill -9 under budgets', 'never more spent than there is',
    'tests/e2e/budget-kill.test.mjs'],
  ['the machine loses power', 'what was leased is spent; no overspending',
    'tests/e2e/budget-power.test.mjs',
    'the machine: what was leased is spent, even without journals'],
  ['a corrupt ledger', 'refused by name, never made anew',
    'tests/e2e/lifecycle.test.mjs',
    'a corrupt ledger is refused by name, and not re-created'],
  ['a corrupt store of prefixes', 'set aside and made anew; answers are right',
    'tests/e2e/prefix-damage.test.mjs'],
  ['the disk of stored prefixes fails or is full',
    'requests are served without it', 'tests/e2e/prefix-faults.test.mjs'],
  ['SIGHUP under load', 'no request fails', 'tests/e2e/lifecycle.test.mjs',
    'many reloads under load: no request fails'],
  ['a config with mistakes at a reload', 'the old one runs on',
    'tests/e2e/lifecycle.test.mjs',
    'a bad config: refused with every mistake, the old one runs on'],
  ['SIGTERM with streams under way',
    'they end well; past `drain_timeout` with an error event',
    'tests/e2e/lifecycle.test.mjs',
    'after drain_timeout a stream ends with an error event, and is counted'],
  ['a second SIGTERM', 'it stops at once, its journal is whole',
    'tests/e2e/lifecycle.test.mjs', 'a second SIGTERM stops at once'],
  ['descriptors run out', 'connections wait or are told so; no busy loop',
    'tests/unit/t_front_net.c', 'shortage_of_descriptors'],
  ['a name server that does not answer', 'nobody else is delayed',
    'tests/unit/t_xfer_time.c', 'slow_name_delays_nobody'],
  ['the clock is set back or forward',
    'windows of budgets never go back; waits go on',
    'tests/unit/t_window.c'],
  ['the engine fails, or is being loaded',
    'its state and an error that says so', 'tests/e2e/engine-states.test.mjs'],
];
