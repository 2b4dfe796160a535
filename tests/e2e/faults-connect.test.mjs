// Upstreams that cannot be reached, that close before they answer, and that
// do not answer, as the table of faults has it.

import { faultTests } from './lib/faultmatrix.mjs';
import { CLOSED, REACH, SECURE, SILENT } from './lib/faults/connect.mjs';

faultTests('faults: an upstream that cannot be reached', REACH);
faultTests('faults: TLS with an upstream', SECURE);
faultTests('faults: an upstream that closes before it answers', CLOSED);
faultTests('faults: an upstream that is silent', SILENT);
